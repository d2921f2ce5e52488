// One spatial dimension as a strip: which windows fit, where they start, what is left over.
// Positions count cells from the first input, 0; padding to its left is negative.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const DEFAULTS = { size: 10, kernel_size: 3, stride: 1, padding: 0, dilation: 1, output_padding: 0,
  ceil_mode: false, operation: "convolution" };

const isTransposed = (state) => state.operation === "transposed convolution";
const isCeiled = (state) => state.operation === "pooling" && state.ceil_mode;

/** The kernel's width with its gaps, and the cells that its taps read, from `start` on. */
const extentOf = ({ kernel_size, dilation }) => dilation * (kernel_size - 1) + 1;
const tapsFrom = (start, { kernel_size, dilation }) =>
  Array.from({ length: kernel_size }, (_, j) => start + j * dilation);

/** Cells of padding at the left and the right; of an odd "same", the right gets one more. */
function sides(state) {
  const { padding } = state, half = (extentOf(state) - 1) / 2;
  return [Math.floor, Math.ceil].map((round) => padding === "same" ? round(half) : padding);
}

/** How many cells a window can move on from the left end; below 0 where it does not fit. */
const roomOf = (state) => state.size + sides(state)[0] + sides(state)[1] - extentOf(state);

/** The output size by formula; below 1 where nothing is left. */
function formulaSize(state) {
  const { size, stride, output_padding: extra } = state, [left, right] = sides(state);
  if (isTransposed(state)) return (size - 1) * stride - left - right + extentOf(state) + extra;
  const strides = Math[isCeiled(state) ? "ceil" : "floor"](roomOf(state) / stride);
  // With ceil_mode the last window may hang over the edge, but not start beyond the input.
  return isCeiled(state) && strides * stride >= size + left ? strides : strides + 1;
}

/** Why PyTorch refuses these settings, or null. */
function refusal(state) {
  const { size, kernel_size, stride, padding, dilation, output_padding, operation } = state;
  const [left, right] = sides(state), same = padding === "same", nothing = formulaSize(state) < 1;
  return [
    [same && operation !== "convolution", `${operation} has no padding="same"`],
    [same && stride > 1, 'padding="same" needs stride 1'],
    [operation === "pooling" && left > Math.floor(kernel_size / 2),
      `padding ${left} is more than half the kernel size, ${kernel_size}`],
    [isTransposed(state) && output_padding >= Math.max(stride, dilation),
      `output padding ${output_padding} must be smaller than the stride or the dilation`],
    [nothing && isTransposed(state), `padding takes ${cells(left)} off either end: nothing left`],
    [nothing, `no window fits: the kernel spans ${cells(extentOf(state))}, ` +
      `input and padding only ${size + left + right}`],
  ].find(([broken]) => broken)?.[1] ?? null;
}

/** How many outputs PyTorch gives, or null where it refuses. */
export const outputSize = (state) => refusal(state) === null ? formulaSize(state) : null;

/**
 * Where everything lies. `starts`: where each output's window starts; `extent`: a window's width;
 * `spread`: the distance between inputs; `kind(p)`: an "input", a "zero" (padding, or inserted) or
 * "outside"; `overlap`: how many inputs each output reads; `unread`: cells that none reads;
 * `misfit`: where the window starts that no longer fits, or null; `strip`: first and last cell.
 */
export function layout(state) {
  const { size, stride } = state, [left, right] = sides(state), extent = extentOf(state);
  // A transposed convolution is one of stride 1 over an input spread out, with zeros between.
  const transposed = isTransposed(state), [spread, jump] = transposed ? [stride, 1] : [1, stride];
  const first = transposed ? left + 1 - extent : -left, last = (size - 1) * spread;
  const starts = Array.from({ length: outputSize(state) ?? 0 }, (_, o) => first + o * jump);
  const end = (starts.at(-1) ?? first) + extent - 1;
  const [from, to] = transposed ? [0, last] : [-left, last + right]; // what should be read
  const kind = (p) => p >= 0 && p <= last && p % spread === 0 ? "input"
    : transposed || (p >= from && p <= to) ? "zero" : "outside";

  const taps = tapsFrom(first, state), overlap = starts.map(() => 0), unread = [];
  for (let p = from; p <= to && starts.length; p += spread) {
    const readers = taps.map((tap) => (p - tap) / jump).filter((o) => o in overlap);
    if (!readers.length) unread.push(p);
    if (kind(p) === "input") for (const o of readers) overlap[o]++;
  }
  const misfit = !transposed && starts.length && end < to ? starts.at(-1) + stride : null;
  return { starts, extent, spread, kind, overlap, unread, misfit,
    strip: [Math.min(from, first), Math.max(to, end, (misfit ?? first) + extent - 1)] };
}

/** Is there such an output? As Python checks; a page asks it of a link. */
export const fits = (state) => state.position < (outputSize(state) ?? Infinity);

// ---- Words --------------------------------------------------------------------------------------

const cells = (n) => counted(n, "cell");

/** "3", "3 and 4", "3 to 9", "0, 2, …, 20" */
function listed(numbers) {
  const [a, b] = numbers, z = numbers.at(-1);
  if (numbers.length > 4) return b === a + 1 ? `${a} to ${z}` : `${a}, ${b}, …, ${z}`;
  return numbers.join(", ").replace(/, (?=\d+$)/, " and ");
}

/** What the chosen output reads. */
function reading(state, { starts, spread, kind }, chosen) {
  const found = { input: [], zero: [], outside: [] };
  for (const p of tapsFrom(starts[chosen], state)) found[kind(p)].push(p / spread);
  const { input, zero, outside } = found, zeros = isTransposed(state) ? "zero" : "padding cell";
  const parts = [input.length && `input${input.length > 1 ? "s" : ""} ${listed(input)}`,
    zero.length && counted(zero.length, zeros),
    outside.length && `${cells(outside.length)} beyond the edge, ignored`].filter(Boolean);
  return `Output ${chosen} (of 0 to ${starts.length - 1}) reads ${parts.join(", and ")}.`;
}

/** Which cells no output reads. */
function leftOver({ stride }, { starts, extent, kind, unread }) {
  const end = starts.at(-1) + extent, gaps = stride > extent ? "between windows" : "in the gaps";
  const place = (p) => p < starts[0] ? "at the left" : p >= end ? "at the right" : gaps;
  return [...new Set(unread.map(place))].map((where) => {
    const here = unread.filter((p) => place(p) === where), kinds = new Set(here.map(kind));
    const noun = kinds.size > 1 ? "cell" : kinds.has("input") ? "input" : "padding cell";
    return ` ${counted(here.length, noun)} ${where} ${here.length > 1 ? "are" : "is"} never read.`;
  }).join("");
}

/** The formula's parts, told with the present numbers. */
function explanation(state, { extent, misfit }) {
  const { size, kernel_size, stride, dilation, padding, output_padding } = state;
  if (isTransposed(state)) {
    const meets = Array(stride).fill(0), wide = (size - 1) * stride + 1;
    for (let j = 0; j < kernel_size; j++) meets[(j * dilation) % stride]++; // at each phase
    const few = Math.min(...meets), many = Math.max(...meets);
    return `Spread out, the inputs take ${cells(wide)}. The kernel writes each onto ${extent}, ` +
      `all of them onto ${wide + extent - 1}. Padding takes ${padding} off either end, output ` +
      `padding adds ${output_padding}. Away from the edges every output sums ` +
      (few < many ? `${few} to ${many} inputs: uneven overlap.` : `${many}: even overlap.`);
  }
  const room = roomOf(state), strides = Math.floor(room / stride), rest = room - strides * stride;
  if (room < 0) return "The one window hangs over the edge: ceil_mode allows it.";
  return `Input and padding make ${cells(room + extent)}, the kernel spans ${extent}: it can ` +
    `move on by ${room}. That is ${counted(strides, "stride")} of ${stride}` +
    `${rest ? `, and ${rest} left over` : " exactly"}. Add the window at the start: ` +
    (!isCeiled(state) || !rest ? `${strides + 1}.`
      : misfit === null ? `${strides + 1}; add the one that hangs over the edge: ${strides + 2}.`
      : `${strides + 1}. One more would start beyond the input: ceil_mode does not add it.`);
}

// ---- Formula ------------------------------------------------------------------------------------

const COLOUR = { n: "input", k: "kernel", d: "kernel", s: "ink", p: "muted", a: "muted" };

/** Set one line in MathML: letters as symbols or, given `values`, as numbers with "·" for "*". */
function typeset(text, values) {
  const letter = (x) => values ? `<mn>${values[x]}</mn>` : `<mi>${x}</mi>`;
  return text.replaceAll("-", "−").replace(/\d+|\S/g, (x) => /\d/.test(x) ? `<mn>${x}</mn>`
    : COLOUR[x] ? `<mrow style="color: var(--d2-${COLOUR[x]})">${letter(x)}</mrow>`
    : x !== "*" ? `<mo>${x}</mo>` : values ? "<mo>·</mo>" : "");
}

/** The formula in symbols, below it in numbers, and the result. */
export function formula(state) {
  const { size: n, kernel_size: k, stride: s, dilation: d, output_padding: a, padding } = state;
  const values = { n, k, s, d, a, p: padding }, both = padding === "same" ? "d*(k - 1)" : "2*p";
  // Brackets enlarged, not stretched: without a mathematical font, browsers cannot stretch.
  const [open, close] = [...(isCeiled(state) ? "⌈⌉" : "⌊⌋")].map((sign) =>
    `<mpadded voffset="-0.3em"><mo stretchy="false" class="d2-tall">${sign}</mo></mpadded>`);
  const dropped = isCeiled(state) && formulaSize(state) === Math.ceil(roomOf(state) / s);
  const rounded = (top, values) => open + `<mfrac><mrow>${typeset(top, values)}</mrow>` +
    `${typeset("s", values)}</mfrac>${close}${typeset(dropped ? "+ 1 - 1" : "+ 1")}`;
  const equals = typeset("="), bold = (text) => `<mtext class="d2-result">${text}</mtext>`;
  const result = bold(outputSize(state) ?? "refused");
  const full = `(n - 1)*s - ${both} + d*(k - 1) + a + 1`, room = `n + ${both} - d*(k - 1) - 1`;
  const lines = isTransposed(state) ? [typeset(full), typeset(full, values), result]
    : [rounded(room), rounded(room, values), rounded(`${roomOf(state)}`, values) + equals + result];
  return `<math display="block"><mtable displaystyle="true">${lines.map((line, i) =>
    `<mtr><mtd>${i ? "" : bold("outputs")}</mtd><mtd>${equals}</mtd><mtd>${line}</mtd></mtr>`,
  ).join("")}</mtable></math>`;
}

// ---- Picture ------------------------------------------------------------------------------------

const line = (d, name, dashes) =>
  h("path", { d, fill: "none", stroke: tone(name), "stroke-dasharray": dashes });
const filled = (d, name, opacity) =>
  h("path", { d, fill: tone(name), stroke: tone(name), "fill-opacity": opacity });

/** Draw the strip, `width` pixels wide, into `svg`; return the x of each output's centre. */
function draw(svg, state, plan, chosen, width) {
  const { size, kernel_size, stride } = state, transposed = isTransposed(state);
  const { starts, extent, spread, kind, overlap, misfit } = plan, [lo, hi] = plan.strip;
  const room = Math.min((width - 4) / (hi - lo + 1), 44), cell = room < 8 ? room : Math.floor(room);
  const gap = cell < 8 ? 0 : 1, height = Math.max(16, Math.min(cell, 36));
  const x = (p) => (width - cell * (hi - lo + 1)) / 2 + (p - lo) * cell;
  const middle = (p) => x(p + 0.5), centre = (start) => x(start + extent / 2);
  const yStrip = 46, yKernel = yStrip + height + 6, yOutput = yKernel + height + 48;
  const yBars = yOutput + height + 6, bottom = transposed ? yBars + 50 : yBars;
  const box = (a, b, y, tall = height) => `M${a + gap} ${y}H${b - gap}v${tall}H${a + gap}z`;
  const label = (text, x, y, name = "ink") => write(text, x, y, "middle", name);

  // The padded input. Cells too narrow to tell apart are drawn as one box for each run of a kind.
  const unread = new Set(plan.unread), boxes = { input: "", zero: "", outside: "", hatching: "" };
  const look = (p) => kind(p) + unread.has(p);
  for (let a = lo, b; a <= hi; a = b) {
    for (b = a + 1; cell < 4 && b <= hi && look(b) === look(a);) b++;
    boxes[kind(a)] += box(x(a), x(b), yStrip);
    const from = x(a) + gap, to = x(b) - gap, y = yStrip + height;
    for (let c = from - height + 4; unread.has(a) && c < to; c += 5) { // strokes inside the box
      const u = Math.max(c, from), v = Math.min(c + height, to);
      boxes.hatching += `M${u} ${y - u + c}L${v} ${y - v + c}`;
    }
  }
  const marks = [filled(boxes.input, "input", 0.16), line(boxes.zero, "muted", "1.5 2.5"),
    line(boxes.hatching, "muted")];

  // Hops of the stride: from window to window, or between inputs that are spread out.
  const stops = transposed ? Array.from({ length: size }, (_, i) => i * stride) : starts;
  const hop = (a, b) =>
    `M${middle(a)} ${yStrip - 3}Q${middle((a + b) / 2)} ${yStrip - 41} ${middle(b)} ${yStrip - 3}`;
  if (stride * cell >= 4) // each of them can be told from the next
    marks.push(line(stops.slice(1).map((stop, i) => hop(stops[i], stop)).join(""), "muted"));
  if (stops.length > 1)
    marks.push(label(`+${stride}`, Math.max(middle((stops[0] + stops[1]) / 2), 12), 14, "muted"));

  // The kernel below the cells it reads, its taps joined to the output; dashed, one that misses.
  const start = starts[chosen] ?? lo, taps = tapsFrom(start, state);
  const read = taps.filter((p) => !starts.length || kind(p) !== "outside");
  const kernel = (cells) => cells.map((p) => box(x(p), x(p + 1), yKernel)).join("");
  const join = (p) => `M${middle(p)} ${yKernel + height}L${centre(start)} ${yOutput}`;
  if (misfit !== null) marks.push(line(hop(starts.at(-1), misfit), "kernel", "3 3"),
    line(kernel(taps.map((p) => p - start + misfit)), "kernel", "3 3"));
  const bar = `M${middle(start)} ${yKernel + height / 2}H${middle(read.at(-1))}`;
  marks.push(line(kernel(taps) + bar, "kernel"), filled(kernel(read), "kernel"));

  // The outputs, each below the middle of its window, and how many inputs each of them sums.
  const pitch = transposed ? cell : stride * cell, wide = Math.min(Math.max(cell, 12), pitch) / 2;
  const below = (a, b, y, tall) => box(centre(a) - wide, centre(b) + wide, y, tall);
  const row = pitch < 4 && starts.length ? below(starts[0], starts.at(-1), yOutput)
    : starts.map((s) => below(s, s, yOutput)).join("");
  const most = overlap.reduce((a, b) => Math.max(a, b), 1), bars = transposed && pitch > 0.5;
  marks.push(filled(row, "output", 0.16), filled(bars ? starts.map((s, o) =>
    below(s, s, yBars, overlap[o] * 28 / most)).join("") : "", "input", 0.16));
  if (starts.length) marks.push(line(read.map(join).join(""), "kernel"),
    filled(below(start, start, yOutput), "output"));
  if (cell >= 9 + 7 * String(Math.max(size, starts.length) - 1).length) { // numbers, where they fit
    const mid = height / 2 + 4.5;
    for (let i = 0; i < size; i++) marks.push(label(i, middle(i * spread), yStrip + mid));
    if (state.operation !== "pooling") taps.forEach((p, j) => // transposed: the kernel is turned
      marks.push(label(transposed ? kernel_size - 1 - j : j, middle(p), yKernel + mid, "paper")));
    starts.forEach((start, o) => marks.push(
      label(o, centre(start), yOutput + mid, o === chosen ? "paper" : "ink"),
      label(transposed ? overlap[o] : "", centre(start), yBars + 44)));
  }
  paint(svg, width, bottom, marks);
  return starts.map(centre);
}

// ---- Controls -----------------------------------------------------------------------------------

const pooling = { operation: "pooling" }, transposed = { operation: "transposed convolution" };
const PRESETS = {
  "LeNet-5, layer C1": { size: 32, kernel_size: 5 },
  "AlexNet, first layer: 224?": { size: 224, kernel_size: 11, stride: 4 },
  "AlexNet, first layer: 227?": { size: 227, kernel_size: 11, stride: 4 },
  "AlexNet, last pooling": { size: 13, stride: 2, ...pooling },
  "VGG, every convolution": { size: 14, padding: 1 },
  "GoogLeNet, last max pooling": { size: 14, stride: 2, ceil_mode: true, ...pooling },
  "ResNet, first layer": { size: 224, kernel_size: 7, stride: 2, padding: 3 },
  "Doubling: kernel 4, stride 2": { size: 8, kernel_size: 4, stride: 2, padding: 1, ...transposed },
  "Checkerboard: kernel 3, stride 2": { size: 6, stride: 2, ...transposed },
};
for (const name in PRESETS) PRESETS[name] = { ...DEFAULTS, ...PRESETS[name] };

function render({ model, el }) {
  const view = hold(model, [...Object.keys(DEFAULTS), "position"]);
  const isSame = () => view.get("padding") === "same", isOf = (name) => view.get("operation") === name;
  const range = (name, label, min, max, hidden) => slider(view, name, { label, min, max, hidden });
  const controls = h("div", { class: "d2-controls" },
    menu(view, null, { label: "Example", options: Object.keys(PRESETS), own: "your own settings",
      read: () => Object.keys(PRESETS).find((name) =>
        Object.entries(PRESETS[name]).every(([trait, value]) => view.get(trait) === value)) ?? "",
      write: (name) =>
        view.set({ ...PRESETS[name], position: outputSize(PRESETS[name]) - 1 }) }),
    menu(view, "operation", { label: "Operation",
      options: ["convolution", "pooling", "transposed convolution"] }),
    tick(view, "padding", { label: 'padding="same"', read: isSame,
      write: (on) => view.set("padding", on ? "same" : 0),
      hidden: () => !isOf("convolution") && !isSame() }),
    tick(view, "ceil_mode", { label: "ceil_mode", hidden: () => !isOf("pooling") }),
    range("output_padding", "Output padding a", 0, 7, () => !isOf("transposed convolution")));
  const sliders = h("div", { class: "d2-sliders" }, range("size", "Size n", 1, 32),
    range("kernel_size", "Kernel k", 1, 11), range("stride", "Stride s", 1, 8),
    range("padding", "Padding p", 0, 5, isSame), range("dilation", "Dilation d", 1, 4));
  const position = h("input", { type: "range", min: 0, "aria-label": "Output",
    oninput: () => view.set("position", Number(position.value)) });

  let centres = [];
  const svg = h("svg", { onclick: () => position.focus({ preventScroll: true }), role: "img",
    "aria-label":
    "Above, the input; below the cells that it reads, the kernel; at the bottom, the outputs." });
  const over = pointing(view, svg,
    ({ clientX }) => closest(centres, clientX - svg.getBoundingClientRect().left),
    (output) => view.set("position", output));
  const legend = h("p", { class: "d2-legend" }), words = readout(), maths = h("div"), told = h("p");
  const root = figure(view, "d2-output-size", controls, sliders, legend, svg, position, words,
    h("div", { class: "d2-formula" }, maths, told));

  function show() {
    const state = view.state(), plan = layout(state), reason = refusal(state);
    const [left, right] = sides(state), last = Math.max(plan.starts.length - 1, 0);
    if (!reason && state.position > last) view.set("position", last);
    Object.assign(position, { hidden: reason !== null, max: last, value: state.position });
    const chosen = Math.min(over() ?? state.position, last);
    centres = draw(svg, state, plan, chosen, widthOf(svg));
    legend.replaceChildren(...Object.entries({
      input: counted(state.size, "input"),
      zero: isTransposed(state) ? "zeros" : right && `padding ${left} + ${right}`,
      kernel: `${state.operation === "pooling" ? "window" : "kernel"}, spans ${plan.extent}`,
      misfit: plan.misfit !== null && "does not fit",
      unread: plan.unread.length && `${plan.unread.length} never read`,
      output: counted(plan.starts.length, "output"),
      overlap: isTransposed(state) && "how many inputs an output sums",
    }).flatMap(([name, text]) => text ? [h("span", { class: `d2-key-${name}` }, text)] : []));
    say(words, reason ? `PyTorch refuses: ${reason}.`
      : reading(state, plan, chosen) + leftOver(state, plan));
    maths.innerHTML = formula(state);
    told.textContent = reason ? "" : explanation(state, plan);
  }
  return view.mount(el, root, show);
}

export default { render, fits };
