// Which weights connect what: a picture of the channels, and a kernel for each connection.
// A table has a row for each output channel, a column for each input channel, cells 0 or 1.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const MOST = 16; // channels on either side
const isSeparable = (state) => state.layer === "depthwise separable";

/** The table of a grouped convolution: blocks of ones on its diagonal. */
export function blocks(outputs, inputs, groups) {
  const group = (channel, channels) => Math.floor(channel * groups / channels);
  return matrix(outputs, inputs, (o, i) => Number(group(o, outputs) === group(i, inputs)));
}

/** The numbers of groups that a and b channels can be split into. */
export const commonDivisors = (a, b) =>
  Array.from({ length: Math.min(a, b) }, (_, d) => d + 1).filter((d) => a % d === 0 && b % d === 0);

/** The number of groups that a table describes; 0 if it is no grouped convolution. */
export const groupsOf = (table) => commonDivisors(table.length, table[0].length)
  .find((groups) => equal(blocks(table.length, table[0].length, groups), table)) ?? 0;

/** Give a table another size: still in groups, if it was; else cropped, or with ones added. */
export function resize(table, outputs, inputs, groups) {
  const most = commonDivisors(outputs, inputs).findLast((divisor) => divisor <= groups);
  return groups ? blocks(outputs, inputs, most)
    : matrix(outputs, inputs, (o, i) => table[o]?.[i] ?? 1);
}

/** The input channels that an output channel sees. */
export const seenBy = (state, output) => state.table[output]
  .flatMap((connected, i) => connected || isSeparable(state) ? [i] : []);

/** Kernels, parameters and multiply-adds for one image; of this layer, or of the full one. */
export function count({ in_channels, out_channels, kernel_size, table, layer, size }, full) {
  const area = kernel_size ** 2, pairs = in_channels * out_channels;
  const weights = full ? area * pairs : isSeparable({ layer }) ? area * in_channels + pairs
    : area * sum(table.map(sum));
  return { weights, parameters: weights + out_channels, multiplyAdds: weights * size ** 2 };
}

/** Do all numbers agree with the table? As Python checks; a page asks it of a link. */
export const fits = ({ table, in_channels, out_channels, groups, output }) => isMatrix(table) &&
  table.length === out_channels && table[0].length === in_channels && groupsOf(table) === groups &&
  output < out_channels;

// ---- Layers with a name -------------------------------------------------------------------------

// LeCun et al., 1998, Table I: a line for each map of S2, a column for each map of C3.
const LENET = ["X...XXX..XXXX.XX", "XX...XXX..XXXX.X", "XXX...XXX..X.XXX", ".XXX..XXXX..X.XX",
  "..XXX..XXXX.XX.X", "...XXX..XXXX.XXX"];
const LENET_TABLE = matrix(16, 6, (o, i) => Number(LENET[i][o] === "X"));

const KINDS = { "full": "full", "grouped": "grouped", "depthwise": "depthwise",
  "1 × 1": "1 × 1, or pointwise", "separable": "depthwise, then 1 × 1",
  "LeNet-5": "LeNet-5, layer C3" };

/** What the layer is called; "" for a table of the reader's own. */
export function kindOf(state) {
  const { in_channels, kernel_size, table } = state, groups = groupsOf(table);
  return isSeparable(state) ? "separable" : equal(table, LENET_TABLE) ? "LeNet-5"
    : groups === 1 ? (kernel_size === 1 ? "1 × 1" : "full")
    : groups === in_channels ? "depthwise" : groups ? "grouped" : "";
}

/** The state in which the layer is one of that name; channels and kernel stay where they can. */
export function become(kind, state) {
  const { in_channels: inputs, out_channels: outputs, kernel_size } = state;
  const layer = "convolution", wide = kernel_size > 1 ? kernel_size : 3;
  const grouped = (out_channels, in_channels, groups, kernel_size) => ({ layer, in_channels,
    out_channels, kernel_size, groups, table: blocks(out_channels, in_channels, groups) });
  switch (kind) {
    case "full": return grouped(outputs, inputs, 1, wide);
    case "1 × 1": return grouped(outputs, inputs, 1, 1);
    case "separable": return { ...grouped(outputs, inputs, 1, wide), layer: "depthwise separable" };
    case "LeNet-5": return { layer, in_channels: 6, out_channels: 16, kernel_size: 5, groups: 0,
      table: LENET_TABLE, size: 10 };
    case "depthwise": return inputs === 1 ? grouped(8, 8, 8, wide)
      : grouped(outputs % inputs ? inputs : outputs, inputs, inputs, wide);
    case "grouped": {
      const groups = commonDivisors(outputs, inputs).find((g) => g > 1 && g < inputs);
      return groups ? grouped(outputs, inputs, groups, wide) : grouped(8, 8, 2, wide);
    }
  }
}

// ---- Words --------------------------------------------------------------------------------------

/** "input 3", "inputs 3 and 4", "inputs 3 to 6", "all 8 inputs", "no input" */
function inputsNamed(seen, inputs) {
  const first = seen[0], last = seen.at(-1);
  if (seen.length < 2) return seen.length ? `input ${first}` : "no input";
  if (seen.length === inputs) return `all ${inputs} inputs`;
  if (seen.length > 2 && last - first === seen.length - 1) return `inputs ${first} to ${last}`;
  return `inputs ${seen.slice(0, -1).join(", ")} and ${last}`;
}

/** What the chosen output channel sees, and the weights that it has for it. */
function seeing(state, output) {
  const { in_channels, kernel_size: k } = state, seen = seenBy(state, output);
  const named = `Output ${output} sees ${inputsNamed(seen, in_channels)}`;
  if (isSeparable(state)) return `${named}, each through the one ${k} × ${k} kernel that the input ` +
    `has. Its own are ${counted(in_channels, "weight")}, one for each input, and a bias.`;
  if (!seen.length) return `${named}: it is its bias, everywhere.`;
  return `${named}: ${counted(seen.length, "kernel")} of ${k} × ${k}, ` +
    `${counted(seen.length * k * k, "weight")} and a bias.`;
}

/** Which numbers of groups are possible, and why; of a separable layer, its two steps. */
function hint({ in_channels, out_channels, groups, layer, kernel_size: k }) {
  if (isSeparable({ layer })) return `Top row: a ${k} × ${k} kernel for each input (depthwise). ` +
    "Below: one weight for each pair (pointwise).";
  const divisors = commonDivisors(out_channels, in_channels), last = divisors.at(-1);
  const numbers = divisors.length > 1 ? `${divisors.slice(0, -1).join(", ")} or ${last}` : "only 1";
  return `The groups must divide ${in_channels} and ${out_channels}: ${numbers}.` +
    (groups ? "" : " This table has none.");
}

/** Parameters and multiply-adds as sums, beside those of the full convolution. */
function costs(state) {
  const { in_channels, out_channels, kernel_size: k, table, size } = state;
  const mine = count(state), full = count(state, true), kernels = sum(table.map(sum));
  const weights = isSeparable(state) ? `${k}²·${in_channels} + ${in_channels}·${out_channels}`
    : `${k}²·${kernels}`;
  const row = (name, formula, a, b) => h("tr", {}, h("th", { scope: "row" }, name,
    h("small", {}, formula)), h("td", {}, thousands(a)), h("td", {}, thousands(b)),
    h("td", {}, h("span", { class: "d2-bar", style: `--share: ${a / b}` }), `${Math.round(100 * a / b)} %`));
  return [row("Parameters", `${weights} + ${out_channels}`, mine.parameters, full.parameters),
    row("Multiply-adds", `(${weights})·${size}²`, mine.multiplyAdds, full.multiplyAdds)];
}

// ---- Picture ------------------------------------------------------------------------------------

/** Draw inputs above, outputs below, and a line for each kernel; return the x of each output. */
function draw(svg, state, chosen) {
  const { in_channels, out_channels } = state, separable = isSeparable(state);
  const most = Math.max(in_channels, out_channels, 8), pitch = most > 12 ? 21 : 28, box = 18;
  const width = most * pitch, top = 24, bottom = 168, middle = 84;
  const at = (channels) => (channel) => width / 2 + (channel - (channels - 1) / 2) * pitch;
  const input = at(in_channels), output = at(out_channels), seen = new Set(seenBy(state, chosen));
  const lines = { others: "", chosen: "" };
  for (let o = 0; o < out_channels; o++) for (const i of seenBy(state, o))
    lines[o === chosen ? "chosen" : "others"] +=
      `M${input(i)} ${(separable ? middle : top) + box / 2}L${output(o)} ${bottom - box / 2}`;
  if (separable) for (let i = 0; i < in_channels; i++)
    lines.chosen += `M${input(i)} ${top + box / 2}V${middle - box / 2}`;
  const node = (x, y, text, kind, full) => h("g", { class: `d2-node ${kind}${full ? " full" : ""}` },
    h("rect", { x: x - box / 2, y: y - box / 2, width: box, height: box, rx: 3 }),
    h("text", { x, y: y + 4.5 }, text));
  const channels = (n, x, y, kind, full) =>
    Array.from({ length: n }, (_, c) => node(x(c), y, c, kind, full(c)));
  const title = (text, y) => h("text", { x: 0, y, class: "d2-title" }, text);
  svg.setAttribute("viewBox", `0 0 ${width} 194`);
  svg.style.maxWidth = `${width}px`;
  svg.replaceChildren(title("input channels", 10), title("output channels", 192),
    h("path", { d: lines.others, class: "d2-others" }), h("path", { d: lines.chosen }),
    ...channels(in_channels, input, top, "input", (i) => seen.has(i)),
    ...separable ? channels(in_channels, input, middle, "kernel", () => false) : [],
    ...channels(out_channels, output, bottom, "output", (o) => o === chosen));
  return Array.from({ length: out_channels }, (_, o) => output(o) / width);
}

/** The kernels: a row for each output, a column for each input; a tick connects the two. */
function kernels(state, toggle, choose) {
  const { in_channels, out_channels } = state, separable = isSeparable(state);
  const number = (scope, channel) => h("th", { scope }, channel);
  const head = [h("tr", {}, h("td"), ...Array.from({ length: in_channels },
    (_, i) => number("col", i)))];
  if (separable) head.push(h("tr", { class: "d2-depthwise" }, h("td"),
    ...Array.from({ length: in_channels }, () => h("td", {}, h("span")))));
  const grid = table("Kernels: rows are outputs, columns inputs", out_channels, in_channels, 0,
    (o, i) => h("input", { type: "checkbox", "aria-label": `output ${o} sees input ${i}`,
      disabled: separable }));
  const rows = [...grid.element.rows];
  const place = ({ target }) => {
    const o = rows.indexOf(target.closest("tr"));
    return [o, grid.cells[o].indexOf(target)];
  };
  grid.element.addEventListener("change", (event) => toggle(...place(event)));
  grid.element.addEventListener("focusin", (event) => choose(place(event)[0]));
  rows.forEach((row, o) => row.prepend(number("row", o)));
  grid.element.prepend(h("thead", {}, ...head));
  grid.element.classList.toggle("d2-small", Math.max(in_channels, out_channels) > 12);
  const fill = ({ table, kernel_size }, chosen) => {
    const weight = kernel_size > 3 ? Math.max(2, Math.floor(21 / kernel_size)) : 5; // pixels
    grid.element.style.setProperty("--k", kernel_size);
    grid.element.style.setProperty("--weight", `${weight}px`);
    rows.forEach((row, o) => {
      row.classList.toggle("chosen", o === chosen);
      grid.cells[o].forEach((cell, i) => { cell.checked = separable || table[o][i] === 1; });
    });
  };
  return { element: grid.element, rows, fill };
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["in_channels", "out_channels", "kernel_size", "groups", "table", "layer",
    "size", "output"]);
  const divisors = () => commonDivisors(view.get("out_channels"), view.get("in_channels"));

  /** Channels, groups and table always agree: what the reader sets changes all that it must. */
  const agree = (table, more = {}) => view.set({ table, groups: groupsOf(table),
    in_channels: table[0].length, out_channels: table.length,
    output: Math.min(view.get("output"), table.length - 1), ...more });
  const rescale = (name) => (value) => {
    const { table, in_channels, out_channels, groups } = { ...view.state(), [name]: value };
    agree(resize(table, out_channels, in_channels, groups));
  };
  const output = slider(view, "output", { label: "Look at output channel",
    max: () => view.get("out_channels") - 1 });
  const toggle = (o, i) => agree(matrix(view.get("out_channels"), view.get("in_channels"),
    (row, column) => Number(view.get("table")[row][column] ^ (row === o && column === i))));
  const choose = (o) => view.set("output", o);

  let places = [], grid = null, shape = "";
  const svg = h("svg", { role: "img", "aria-label": "Above, the input channels; below, the output " +
    "channels; a line for each kernel." });
  const overNet = pointing(view, svg, (event) => {
    const { left, width } = svg.getBoundingClientRect();
    return closest(places, (event.clientX - left) / width);
  }, choose);
  const place = h("div", { class: "d2-kernels" });
  const overRow = pointing(view, place, (event) => {
    const row = grid.rows.indexOf(event.target.closest("tr"));
    return row < 0 ? null : row;
  }, choose);
  const words = readout(), small = h("p", { class: "d2-hint" }), body = h("tbody");
  const head = h("thead", {}, h("tr", {}, h("td"), ...["this layer", "full convolution", "share"]
    .map((text) => h("th", { scope: "col" }, text))));
  const root = figure(view, "d2-channels",
    h("div", { class: "d2-controls" },
      menu(view, null, { label: "Layer", options: KINDS, own: "your own table",
        read: () => kindOf(view.state()),
        write: (kind) => { const state = become(kind, view.state()); agree(state.table, state); } }),
      slider(view, "in_channels",
        { label: "Channels in", min: 1, max: MOST, write: rescale("in_channels") }),
      slider(view, "out_channels",
        { label: "Channels out", min: 1, max: MOST, write: rescale("out_channels") }),
      slider(view, null, { label: "Groups", max: () => divisors().length - 1,
        hidden: () => isSeparable(view.state()), tell: () => view.get("groups") || "none",
        read: () => Math.max(divisors().indexOf(view.get("groups")), 0),
        write: (i) => agree(blocks(view.get("out_channels"), view.get("in_channels"), divisors()[i]),
          { layer: "convolution" }) }),
      slider(view, "kernel_size", { label: "Kernel k", min: 1, max: 7 }),
      slider(view, "size", { label: "Output H = W", min: 1, max: 64 })),
    h("div", { class: "d2-both" }, h("div", { class: "d2-net" }, svg, output), place),
    words, small, h("table", { class: "d2-costs" }, head, body));

  function show() {
    const state = view.state(), { in_channels, out_channels, layer } = state;
    if (shape !== `${in_channels} ${out_channels} ${layer}`) { // another table of kernels
      shape = `${in_channels} ${out_channels} ${layer}`;
      grid = kernels(state, toggle, choose);
      place.replaceChildren(grid.element);
    }
    const chosen = Math.min(overNet() ?? overRow() ?? state.output, out_channels - 1);
    grid.fill(state, chosen);
    places = draw(svg, state, chosen);
    say(words, seeing(state, chosen));
    small.textContent = hint(state);
    body.replaceChildren(...costs(state));
  }
  return view.mount(el, root, show);
}

export default { render, fits };
