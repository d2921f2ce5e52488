// Up-sampling in two dimensions: each input pixel stamps its kernel on the output. The input shown
// is white, all ones, so that whatever pattern the output has comes from the layer.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const NEAREST = "nearest, then convolution";
const isNearest = (state) => state.method === NEAREST;

/** The kernel: all ones, pseudo-random between −1 and 1, or a tent, which interpolates bilinearly. */
export function kernelOf({ kernel_size: k, weights }) {
  const tent = (i) => 1 - Math.abs(i - (k - 1) / 2) / Math.floor((k + 1) / 2);
  return matrix(k, k, (i, j) => weights === "tent" ? tent(i) * tent(j)
    : weights === "random" ? ((37 * i + 61 * j + 17 * i * j + 11) % 19 - 9) / 10 : 1);
}

/** Each pixel of x adds its multiple of the kernel, `stride` apart; padding is taken off. */
export function transposed(x, kernel, stride, padding) {
  const k = kernel.length, side = (x.length - 1) * stride + k - 2 * padding;
  const y = matrix(side, side, () => 0);
  x.forEach((row, i) => row.forEach((value, j) => kernel.forEach((weights, a) => {
    const target = y[i * stride + a - padding];
    if (target) for (let b = 0; b < k; b++) {
      const column = j * stride + b - padding;
      if (column >= 0 && column < side) target[column] += value * weights[b];
    }
  })));
  return y;
}

/** Repeat each pixel of x `scale` times along both axes, then convolve with stride 1. */
export function nearest(x, kernel, scale, padding) {
  const k = kernel.length, side = x.length * scale, out = side + 2 * padding - k + 1;
  const pixel = (i, j) =>
    i >= 0 && j >= 0 && i < side && j < side ? x[Math.floor(i / scale)][Math.floor(j / scale)] : 0;
  return matrix(out, out, (i, j) => {
    let total = 0;
    for (let a = 0; a < k; a++)
      for (let b = 0; b < k; b++) total += kernel[a][b] * pixel(i + a - padding, j + b - padding);
    return total;
  });
}

/** Why these settings leave no output, so that PyTorch refuses them, or null. */
export function refusal(state) {
  const { size: n, kernel_size: k, stride: s, padding: p } = state;
  if (isNearest(state)) return k <= n * s + 2 * p ? null
    : `no window fits: the kernel spans ${k}, the enlarged input and its padding ${n * s + 2 * p}`;
  return (n - 1) * s + k > 2 * p ? null : `padding ${p} takes off all there is`;
}

/** The layer's output for an input x; of white, unless given. */
export function output(state, x = matrix(state.size, state.size, () => 1)) {
  return (isNearest(state) ? nearest : transposed)(x, kernelOf(state), state.stride, state.padding);
}

/** What outputs of a white image are away from the edge: stride × stride values, repeated. */
export function phases(state) {
  const { stride: s, padding: p } = state, sums = matrix(s, s, () => 0);
  kernelOf(state).forEach((row, a) => row.forEach((weight, b) => {
    for (let i = 0; i < s; i++) for (let j = 0; j < s; j++)
      if (isNearest(state) || ((a - p - i) % s === 0 && (b - p - j) % s === 0)) sums[i][j] += weight;
  }));
  return sums;
}

/** The rows (and columns) of the output that input pixel i stamps: [first, last], cut to size. */
function reach({ kernel_size: k, stride: s, padding: p, ...state }, i, side) {
  const first = isNearest(state) ? i * s + p - k + 1 : i * s - p;
  const last = isNearest(state) ? i * s + p + s - 1 : first + k - 1;
  return [Math.max(first, 0), Math.min(last, side - 1)];
}

/** Is there such a pixel? As Python checks; a page asks it of a link. */
export const fits = ({ size, row, column }) => row < size && column < size;

// ---- Words --------------------------------------------------------------------------------------

const span = ([a, b]) => a === b ? `${a}` : `${a} to ${b}`;
const distinct = (values) => [...new Set(values.map((x) => Number(x.toFixed(6))))];
const extremes = (values) => [Math.min(...values), Math.max(...values)];

/** Is there a checkerboard, and why? */
export function verdict(state) {
  const { kernel_size: k, stride: s, weights } = state, values = distinct(phases(state).flat());
  const board = values.length > 1, [low, high] = extremes(values).map(short);
  if (isNearest(state))
    return `All of the kernel's weights meet equal pixels: ${low} everywhere. No pattern.`;
  const few = Math.floor(k / s), many = Math.ceil(k / s);
  const counts = [...new Set([few * few, few * many, many * many])];
  const one = counts.length === 1;
  const overlap = (one ? `${counts}` : counts.join(", ").replace(/, (?=\d+$)/, " or ")) +
    ` stamp${one && few === 1 ? " falls" : few === many ? "s overlap" : "s fall"}` +
    " on each output away from the edge";
  const ending = board ? `, with a period of ${s}: a checkerboard.` : ": no pattern.";
  if (weights === "ones") return `Kernel ${k} is ${few * s === k ? "a" : "not a"} multiple of ` +
    `stride ${s}: ${overlap}${ending}`;
  return `${overlap[0].toUpperCase()}${overlap.slice(1)}; the weights of all of them add up to ` +
    `${board ? `${low} to ${high}` : `${low} everywhere`}${ending}`;
}

/** What the chosen input pixel does. */
function stamping(state, i, j, side) {
  const rows = reach(state, i, side), columns = reach(state, j, side);
  const none = rows[1] < rows[0] || columns[1] < columns[0];
  return `Input (${i}, ${j}) ` + (none ? "stamps outside: padding has taken it off. "
    : `stamps rows ${span(rows)}, columns ${span(columns)}. `);
}

// ---- Picture ------------------------------------------------------------------------------------

const drawn = (d, attributes) => h("path", { d, fill: "none", ...attributes });

/** A square picture of `side` × `side` cells, `width` pixels wide. */
function canvas(svg, side) {
  const width = Math.max(svg.getBoundingClientRect().width, 60);
  const cell = Math.min(width / side, 44), gap = cell > 7 ? 0.5 : 0, left = (width - cell * side) / 2;
  svg.setAttribute("viewBox", `0 0 ${width} ${cell * side + 4}`);
  const x = (column) => left + column * cell, y = (row) => 2 + row * cell;
  return {
    cell, side,
    at: (event) => {
      const box = svg.getBoundingClientRect();
      return [event.clientY - box.top - 2, event.clientX - box.left - left].map((d) => d / cell);
    },
    box: (i, j, tall = 1, wide = tall) => `M${x(j) + gap} ${y(i) + gap}H${x(j + wide) - gap}` +
      `V${y(i + tall) - gap}H${x(j) + gap}z`,
    label: (text, i, j) => write(text, x(j + 0.5), y(i + 0.5) + 4.5, "middle", "ink"),
  };
}

/** The input as the layer sees it: spread out, or enlarged, with the zeros around it. */
function drawInput(svg, state, chosen) {
  const { size: n, kernel_size: k, stride: s, padding: p } = state, flat = isNearest(state);
  const border = flat ? p : Math.max(k - 1 - p, 0), core = flat ? n * s : (n - 1) * s + 1;
  const view = canvas(svg, core + 2 * border), marks = { zero: "", input: "", chosen: "" };
  for (let i = 0; i < view.side; i++) for (let j = 0; j < view.side; j++) {
    const [r, c] = [i - border, j - border], inside = Math.min(r, c) >= 0 && Math.max(r, c) < core;
    const pixel = inside && (flat || (r % s === 0 && c % s === 0));
    const mine = pixel && Math.floor(r / s) === chosen[0] && Math.floor(c / s) === chosen[1];
    marks[mine ? "chosen" : pixel ? "input" : "zero"] += view.box(i, j);
  }
  const dots = view.cell > 7 ? "1.5 2.5" : null;
  svg.replaceChildren(
    drawn(marks.zero, { stroke: tone(dots ? "muted" : "line"), "stroke-dasharray": dots }),
    drawn(marks.input, { stroke: tone("input"), fill: tone("input"), "fill-opacity": 0.25 }),
    drawn(marks.chosen, { stroke: tone("input"), fill: tone("input") }));
  const index = (d) => Math.floor(flat ? (d - border) / s : (d - border) / s + 0.5 - 0.5 / s);
  return (event) => view.at(event).map(index);
}

/** The output of a white image: the deeper the colour the larger; the chosen stamp outlined. */
function drawOutput(svg, state, values, chosen) {
  const { stride: s, kernel_size: k, padding: p } = state, view = canvas(svg, values.length);
  const texts = values.map((row) => row.map(short)), wide = Math.max(...texts.flat().map((t) => t.length));
  const numbers = view.cell >= 10 + 7 * wide, share = shareOf(values), paths = new Map(), marks = [];
  values.forEach((row, i) => row.forEach((value, j) => {
    const shade = Math.round(40 * share(value)) * (value < 0 ? -1 : 1);
    paths.set(shade, (paths.get(shade) ?? "") + view.box(i, j));
    if (numbers) marks.push(view.label(texts[i][j], i, j));
  }));
  const [rows, columns] = chosen.map((i) => reach(state, i, values.length));
  const stamp = rows[0] <= rows[1] && columns[0] <= columns[1] &&
    view.box(rows[0], columns[0], rows[1] - rows[0] + 1, columns[1] - columns[0] + 1);
  svg.replaceChildren(
    ...[...paths].map(([shade, d]) => drawn(d, {
      fill: tone(shade < 0 ? "kernel" : "output"), "fill-opacity": Math.abs(shade) / 40 * (numbers ? 0.55 : 0.9),
      stroke: view.cell > 7 && tone("line"), "stroke-width": 0.5,
    })), ...marks, drawn(stamp || "", { stroke: tone("ink"), "stroke-width": 2.5 }));
  const middle = isNearest(state) ? p - (k - 1) / 2 + s / 2 : (k - 1) / 2 - p + 0.5;
  return (event) => view.at(event).map((d) => Math.round((d - middle) / s));
}

// ---- Controls -----------------------------------------------------------------------------------

const NUMBERS = { size: ["Input n", 1, 8], kernel_size: ["Kernel k", 1, 7], stride: ["Stride s", 1, 4],
  padding: ["Padding p", 0, 4] };

function render({ model, el }) {
  const view = hold(model, [...Object.keys(NUMBERS), "method", "weights", "row", "column"]);
  const controls = h("div", { class: "d2-controls" },
    menu(view, "method", { label: "Way up", options: ["transposed convolution", NEAREST] }),
    menu(view, "weights",
      { label: "Weights", options: { ones: "all ones", random: "random", tent: "tent (bilinear)" } }));
  const sliders = Object.entries(NUMBERS).map(([name, [label, min, max]]) =>
    slider(view, name, { label, min, max }));
  const places = ["row", "column"].map((name) => slider(view, name,
    { label: `Pixel: ${name}`, max: () => view.get("size") - 1 }));

  const finders = new Map(), overs = [];
  const picture = (label) => {
    const svg = h("svg", { role: "img", "aria-label": label });
    overs.push(pointing(view, svg, (event) =>
      finders.get(svg)?.(event).map((i) => within(i, 0, view.get("size") - 1)) ?? null,
    ([row, column]) => view.set({ row, column })));
    return svg;
  };
  const before = picture("The input, as the kernel meets it."), after = picture("The output.");
  const above = [h("figcaption"), h("figcaption")], words = readout();
  const root = figure(view, "d2-transposed", controls, h("div", { class: "d2-sliders" }, ...sliders),
    h("div", { class: "d2-pictures" },
      h("figure", {}, above[0], before), h("figure", {}, above[1], after)),
    h("div", { class: "d2-sliders d2-places" }, ...places), words);

  function show() {
    const state = view.state(), reason = refusal(state), { size: n, stride: s, row, column } = state;
    if (Math.max(row, column) >= n)
      view.set({ row: Math.min(row, n - 1), column: Math.min(column, n - 1) });
    const chosen = (overs[0]() ?? overs[1]() ?? [row, column]).map((i) => Math.min(i, n - 1));
    finders.set(before, drawInput(before, state, chosen));
    above[0].textContent = isNearest(state) ? `Input, ${n} × ${n}, each pixel ${s} × ${s} times`
      : `Input, ${n} × ${n}` + (s > 1 ? `, ${s - 1} zero${s > 2 ? "s" : ""} between pixels` : "");
    if (reason) {
      finders.delete(after);
      after.replaceChildren();
      above[1].textContent = "No output";
      return say(words, `No output: ${reason}.`);
    }
    const rounded = (x) => Math.round(x * 1e9) / 1e9; // 0, not 1e-17
    const values = output(state).map((row) => row.map(rounded));
    const [low, high] = extremes(values.flat()).map(short);
    finders.set(after, drawOutput(after, state, values, chosen));
    above[1].textContent = `Output of white, ${values.length} × ${values.length}, ` +
      (low === high ? `${low} everywhere` : `from ${low} to ${high}`);
    say(words, stamping(state, ...chosen, values.length) + verdict(state));
  }
  return view.mount(el, root, show);
}

export default { render, fits };
