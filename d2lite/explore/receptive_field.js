// A stack of layers along one row of pixels, and the cone that one unit at its end looks through.
// Rows: 0 is the input, row i + 1 what layer i gives. Positions count pixels from the input's 0.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const MOST = 40; // layers
const reach = ({ kernel_size, dilation }) => dilation * (kernel_size - 1);

/**
 * What the units of each row see: `size` pixels, `jump` pixels from one unit to the next, `start`,
 * the middle of the first unit's field; and how many `units` there are. It ends before a layer whose
 * kernel does not fit.
 */
export function fieldsOf(size, layers) {
  const rows = [{ size: 1, jump: 1, start: 0, units: size }];
  for (const layer of layers) {
    const { size, jump, start, units } = rows.at(-1), { stride, padding } = layer;
    const room = units + 2 * padding - reach(layer) - 1;
    if (room < 0) break;
    rows.push({
      size: size + reach(layer) * jump,
      jump: jump * stride,
      start: start + (reach(layer) / 2 - padding) * jump,
      units: Math.floor(room / stride) + 1,
    });
  }
  return rows;
}

/**
 * The units of each row that the chosen unit of the last row depends on, through all of `layers`:
 * `first` and `last`, padding included, and `read`, those that exist.
 */
export function cone(size, layers, unit) {
  const rows = fieldsOf(size, layers);
  const found = [{ first: unit, last: unit, read: [unit] }];
  for (let i = layers.length - 1; i >= 0; i--) {
    const { stride, padding, dilation, kernel_size } = layers[i], below = found[0], read = new Set();
    for (const u of below.read)
      for (let tap = 0; tap < kernel_size; tap++) read.add(u * stride - padding + tap * dilation);
    found.unshift({
      first: below.first * stride - padding,
      last: below.last * stride - padding + reach(layers[i]),
      read: [...read].filter((u) => u >= 0 && u < rows[i].units).sort((a, b) => a - b),
    });
  }
  return found;
}

/** A layer with everything that is not given; pooling steps by its window. */
const layer = (operation, kernel_size, stride, padding = 0, dilation = 1) => ({ operation,
  kernel_size, stride: stride ?? (operation === "pooling" ? kernel_size : 1), padding, dilation });
const conv = (...settings) => layer("convolution", ...settings);
const pool = (...settings) => layer("pooling", ...settings);
const times = (n, each) => Array.from({ length: n }, () => ({ ...each }));

/** Why PyTorch refuses a layer by itself, or null. */
const refusal = ({ operation, kernel_size, padding }) =>
  operation === "pooling" && padding > Math.floor(kernel_size / 2)
    ? `padding ${padding} is more than half the window, ${kernel_size}` : null;

/** Are these layers, and is there such a unit? As Python checks; a page asks it of a link. */
export function fits({ size, layers, unit }) {
  const units = fieldsOf(size, layers)[layers.length]?.units ?? Infinity;
  return !layers.some(refusal) && unit < units;
}

// ---- Words --------------------------------------------------------------------------------------

/** What the chosen unit sees, in words. */
export function reading({ size, layers, unit }) {
  const rows = fieldsOf(size, layers), depth = rows.length - 1;
  const broken = layers.findIndex(refusal);
  if (broken >= 0) return `PyTorch refuses layer ${broken + 1}: ${refusal(layers[broken])}.`;
  if (depth < layers.length) {
    const { padding } = layers[depth], cells = rows[depth].units + 2 * padding;
    return `Layer ${depth + 1} does not fit: its kernel spans ${reach(layers[depth]) + 1}, it ` +
      `finds ${counted(cells, "cell")}${padding ? " with its padding" : ""}.`;
  }
  const { size: field, jump, start, units } = rows[depth];
  const { first, last, read } = cone(size, layers, unit)[0];
  const from = Math.max(first, 0), to = Math.min(last, size - 1), inside = Math.max(to - from + 1, 0);
  const place = inside ? `pixels ${from} to ${to}` : "no pixel";
  const beyond = field > inside ? `; ${field - inside} of them lie in the padding` : "";
  const gaps = inside > read.length ? ` It passes over ${counted(inside - read.length, "pixel")} ` +
    "between them." : "";
  const step = units > 1 ? ` The next unit's field lies ${counted(jump, "pixel")} further on.` : "";
  return `Unit ${unit} (of 0 to ${units - 1}) has a field of ${counted(field, "pixel")}: ${place}` +
    `${beyond}.${gaps}${step}`;
}

/** What the stack's convolutions cost, with C channels everywhere. */
export function cost(layers) {
  const weights = layers.filter((each) => each.operation === "convolution")
    .map((each) => each.kernel_size ** 2);
  return weights.length ? `As square kernels between C channels, ${counted(weights.length,
    "convolution")}: ${thousands(sum(weights))} C² weights.` : "No weights: nothing but pooling.";
}

// ---- Picture ------------------------------------------------------------------------------------

const MARGIN = 44; // for the names of the rows

/** Draw the rows and the cone, `width` pixels wide, into `svg`; return the x of each output unit. */
function draw(svg, { size, layers, unit }, width) {
  const rows = fieldsOf(size, layers), depth = rows.length - 1;
  const seen = depth === layers.length ? cone(size, layers, unit) : [];
  const edge = (i, u) => rows[i].start + (u - 0.5) * rows[i].jump; // left edge of a unit
  const low = Math.min(-0.5, ...rows.map(({ start, size }) => start - size / 2));
  const high = Math.max(...rows.map(({ start, size, jump, units }) =>
    start + (units - 1) * jump + size / 2));
  const scale = Math.min((width - MARGIN - 34) / (high - low), 40), cells = scale >= 5;
  const left = MARGIN + (width - MARGIN - 34 - scale * (high - low)) / 2;
  const tall = cells ? (depth < 7 ? 24 : 16) : depth < 9 ? 16 : 9;
  const pitch = tall + (cells ? (depth < 7 ? 26 : 16) : depth < 9 ? 14 : 5);
  const x = (pixel) => (left + (pixel - low) * scale).toFixed(1), y = (i) => 20 + i * pitch;
  const box = (i, a, b) => `M${x(a)} ${y(i)}H${x(b)}v${tall}H${x(a)}z`;
  const gap = cells ? 1 / scale : 0;
  const one = (i, u) => box(i, edge(i, u) + gap, edge(i, u + 1) - gap);
  const path = (d, name, fill, dashes) => h("path", { d, fill: tone(name), stroke: tone(name),
    "fill-opacity": fill, "stroke-width": cells ? 1 : 0.5, "stroke-dasharray": dashes });
  const label = (text, x, i, ...look) => write(text, x, y(i) + tall / 2 + 4, ...look);
  const marks = [write("layer", MARGIN - 8, 11, "end"), write("units", width - 2, 11, "end")];

  // The cone, behind everything: from the edges of its units in one row to those in the next.
  seen.slice(1).forEach((below, i) => {
    const above = seen[i], [a, b] = [edge(i, above.first), edge(i, above.last + 1)];
    const [c, d] = [edge(i + 1, below.first), edge(i + 1, below.last + 1)];
    marks.push(path(`M${x(a)} ${y(i) + tall}H${x(b)}L${x(d)} ${y(i + 1)}H${x(c)}z`, "kernel", 0.12));
  });
  const crowded = !cells && pitch < 18; // then name every other row
  rows.forEach(({ units, jump }, i) => {
    const name = i === 0 ? "input" : i === depth ? "output" : "kernel";
    const apart = jump * scale >= 3; // each unit can be told from the next
    const all = apart ? Array.from({ length: units }, (_, u) => one(i, u)).join("")
      : box(i, edge(i, 0), edge(i, units));
    marks.push(path(all, name, 0.14));
    if (seen.length) {
      const { first, last, read } = seen[i];
      const beyond = Array.from({ length: last - first + 1 }, (_, u) => first + u)
        .filter((u) => u < 0 || u >= units);
      if (apart) marks.push(path(beyond.map((u) => one(i, u)).join(""), "muted", 0, "2 2"));
      else for (const [a, b] of [[first, Math.min(last, -1)], [Math.max(first, units), last]])
        if (a <= b) marks.push(path(box(i, edge(i, a), edge(i, b + 1)), "muted", 0, "2 2"));
      const dense = read.length === Math.min(last, units - 1) - Math.max(first, 0) + 1;
      marks.push(path(apart || !dense ? read.map((u) => one(i, u)).join("")
        : box(i, edge(i, read[0] ?? 0), edge(i, (read.at(-1) ?? -1) + 1)), name, 1));
      if (cells && i === 0 && scale >= 15 + 5 * (size > 100)) for (let u = 0; u < size; u++)
        marks.push(label(u, x(u), i, "middle", read.includes(u) ? "paper" : "muted"));
    }
    if (!crowded || i === 0 || i === depth || (i % 3 === 0 && depth - i > 1)) marks.push(
      label(i ? i : "input", MARGIN - 8, i, "end"), label(units, width - 2, i, "end"));
  });
  paint(svg, width, y(depth) + tall + 4, marks);
  return Array.from({ length: seen.length ? rows[depth].units : 0 },
    (_, u) => Number(x(rows[depth].start + u * rows[depth].jump)));
}

// ---- Controls -----------------------------------------------------------------------------------

const three = (n, stride) => [conv(3, stride, 1), ...times(n - 1, conv(3, 1, 1))];
const PRESETS = {
  "Three 3 × 3": { size: 12, layers: times(3, conv(3)) },
  "One 7 × 7": { size: 12, layers: [conv(7)] },
  "Two 3 × 3": { size: 12, layers: times(2, conv(3)) },
  "3 × 3 with stride 2, three times": { size: 31, layers: times(3, conv(3, 2, 1)) },
  "3 × 3, dilated by 1, 2 and 4": { size: 24, layers: [1, 2, 4].map((d) => conv(3, 1, 0, d)) },
  "3 × 3, dilated by 2, twice": { size: 16, layers: times(2, conv(3, 1, 0, 2)) },
  "LeNet": { size: 28, layers: [conv(5, 1, 2), pool(2), conv(5), pool(2)] },
  "AlexNet": { size: 224, layers: [conv(11, 4, 2), pool(3, 2), conv(5, 1, 2), pool(3, 2),
    ...times(3, conv(3, 1, 1)), pool(3, 2)] },
  "VGG-16": { size: 224, layers: [2, 2, 3, 3, 3].flatMap((n) => [...three(n), pool(2)]) },
  "ResNet-18, the longest path": { size: 224, layers: [conv(7, 2, 3), pool(3, 2, 1),
    ...three(4), ...three(4, 2), ...three(4, 2), ...three(4, 2)] },
};
const SETTINGS = { kernel_size: ["kernel", 1, 64], stride: ["stride", 1, 16],
  padding: ["padding", 0, 64], dilation: ["dilation", 1, 32] };

function render({ model, el }) {
  const view = hold(model, ["layers", "size", "unit"]), current = view.state;

  /** Take over a change of the stack; the unit stays among those there are. */
  function change(state) {
    const { size, layers, unit } = { ...current(), ...state };
    const rows = fieldsOf(size, layers), fits = rows.length > layers.length;
    view.set({ layers, size, ...(fits ? { unit: Math.min(unit, rows.at(-1).units - 1) } : {}) });
  }
  const edit = (i, settings) => change({ layers: current().layers.map((each, j) =>
    j === i ? { ...each, ...settings } : each) });

  const same = (a, b) => equal(...[a, b].map((layers) =>
    layers.map((each) => Object.entries(each).sort())));
  const presets = menu(view, null, { label: "Example", options: Object.keys(PRESETS),
    own: "your own stack",
    read: () => Object.keys(PRESETS).find((name) =>
      PRESETS[name].size === view.get("size") && same(PRESETS[name].layers, view.get("layers"))) ?? "",
    write(name) {
      const { size, layers } = PRESETS[name];
      change({ size, layers, unit: Math.floor((fieldsOf(size, layers).at(-1).units - 1) / 2) });
    } });
  const size = slider(view, "size", { label: "Input size n", min: 1, max: 64,
    write: (size) => change({ size }) });
  const add = button("Add a layer", () => {
    const { layers } = current();
    if (layers.length >= MOST) return;
    change({ layers: [...layers, { ...layers.at(-1) }] });
    view.now();
    lines.at(-1).inputs.kernel_size.focus();
  });
  const unit = h("input", { type: "range", min: 0, "aria-label": "Unit of the last layer",
    oninput: () => view.set("unit", Number(unit.value)) });

  let centres = [], lines = [];
  const svg = h("svg", { role: "img", "aria-label": "Above, the input; below it a row for each " +
    "layer; shaded, the cone from the chosen unit up to the pixels that it sees.",
    onclick: () => unit.focus({ preventScroll: true }) });
  const over = pointing(view, svg, ({ clientX }) => centres.length
    ? closest(centres, clientX - svg.getBoundingClientRect().left) : null,
    (unit) => view.set("unit", unit));
  const words = readout(), price = h("p", { class: "d2-price" }), body = h("tbody");
  const heads = ["", "layer", ...Object.values(SETTINGS).map(([name]) => name), "field", "jump",
    "start", ""];
  const head = h("thead", {}, h("tr", {}, ...heads.map((name) => name ? h("th", { scope: "col" },
    name.slice(0, 3), h("span", {}, name.slice(3))) : h("td")))); // short where there is no room
  const root = figure(view, "d2-receptive-field",
    h("div", { class: "d2-controls" }, presets, size, add),
    svg, unit, words,
    h("table", { class: "d2-stack", "aria-label": "The stack of layers" }, head, body), price);

  /** One line of the table: a layer's settings as fields, and what its units see. */
  function line(i) {
    const name = `layer ${i + 1}`, inputs = {};
    inputs.operation = h("select", { "aria-label": `${name}: operation`,
      onchange: (event) => edit(i, { operation: event.target.value }) },
      h("option", { value: "convolution" }, "conv"), h("option", { value: "pooling" }, "pool"));
    for (const [setting, [label, min, max]] of Object.entries(SETTINGS))
      inputs[setting] = h("input", { type: "number", min, max, inputmode: "numeric",
        "aria-label": `${name}: ${label}`,
        oninput({ target }) {
          const value = Number(target.value), whole = target.value !== "" && value % 1 === 0;
          target.ariaInvalid = !(whole && value >= min && value <= max);
          if (target.ariaInvalid === "false") edit(i, { [setting]: value });
        },
        onblur({ target }) { target.value = current().layers[i]?.[setting] ?? ""; target.ariaInvalid = false; } });
    const remove = button("×", () => {
      const { layers } = current();
      if (layers.length === 1) return;
      change({ layers: layers.filter((_, j) => j !== i) });
      view.now();
      lines[Math.min(i, lines.length - 1)].remove.focus();
    }, { "aria-label": `remove ${name}` });
    const results = ["field", "jump", "start"].map((kind) => h("td", { class: `d2-${kind}` }));
    const element = h("tr", {}, h("th", { scope: "row" }, i + 1),
      ...Object.values(inputs).map((input) => h("td", {}, input)), ...results, h("td", {}, remove));
    return { element, inputs, results, remove };
  }

  function show() {
    const state = current(), { layers } = state, rows = fieldsOf(state.size, layers);
    const fits = rows.length > layers.length, refused = layers.some(refusal);
    const last = fits ? rows.at(-1).units - 1 : 0;
    if (fits && state.unit > last) view.set("unit", last);
    if (lines.length !== layers.length) {
      lines = layers.map((_, i) => line(i));
      body.replaceChildren(...lines.map(({ element }) => element));
    }
    layers.forEach((each, i) => {
      const { inputs, results, remove } = lines[i], row = rows[i + 1];
      for (const [setting, input] of Object.entries(inputs))
        if (input.value !== String(each[setting]) && !(input.matches(":focus") &&
          input.ariaInvalid === "true")) input.value = each[setting];
      const told = row ? [row.size, row.jump, row.start] : ["–", "–", "–"];
      results.forEach((cell, j) => { cell.textContent = minus(told[j]); });
      remove.disabled = layers.length === 1;
    });
    add.disabled = layers.length === MOST;
    const chosen = Math.min(over() ?? state.unit, last);
    Object.assign(unit, { max: last, value: chosen, hidden: !fits || refused });
    const now = { ...state, unit: chosen };
    centres = draw(svg, now, widthOf(svg));
    say(words, reading(now));
    price.textContent = cost(layers);
  }
  return view.mount(el, root, show);
}

export default { render, fits };
