// An activation function and its slope; and what becomes of a signal, and of a gradient, on the way
// through many random layers of it.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const BATCH = 16; // inputs that the network sees
const LARGEST = 64; // units a layer: what is computed and drawn within a frame
const BLOCK = 80; // weights are drawn for as many units; a network's are cut out of them

/** f and its derivative. At a corner the derivative is that of the left side, as in PyTorch. */
function functionOf(activation, slope) {
  const squash = (x) => { // σ(x) and σ′(x), without a large exponential
    const e = Math.exp(-Math.abs(x)), s = 1 / (1 + e);
    return [x >= 0 ? s : e * s, e * s * s];
  };
  const inner = (x) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3); // GELU's, for tanh
  return {
    identity: { f: (x) => x, df: () => 1 },
    sigmoid: { f: (x) => squash(x)[0], df: (x) => squash(x)[1] },
    tanh: { f: Math.tanh, df: (x) => 4 * squash(2 * x)[1] },
    relu: { f: (x) => x > 0 ? x : 0, df: (x) => x > 0 ? 1 : 0 },
    leaky_relu: { f: (x) => x > 0 ? x : slope * x, df: (x) => x > 0 ? 1 : slope },
    gelu: {
      f: (x) => x * squash(2 * inner(x))[0],
      df(x) {
        const [s, ds] = squash(2 * inner(x));
        return s + x * ds * 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
      },
    },
  }[activation];
}

/** [f(x), f′(x)] */
export function evaluate(activation, slope, x) {
  const { f, df } = functionOf(activation, slope);
  return [f(x), df(x)];
}

/** The standard deviation of the weights. */
export function deviationOf({ initialization, activation, negative_slope, sigma, width }) {
  if (initialization === "normal") return sigma;
  const slope = activation === "leaky_relu" ? negative_slope : 0;
  return Math.sqrt((initialization === "he" ? 2 / (1 + slope ** 2) : 1) / width);
}

/** scale · W · x, or with the transpose of W, for the first `width` rows and columns of the square
 *  table `W`; x has a row for each unit, `batch` long. */
function times(W, scale, width, x, batch, transposed) {
  const out = new Float64Array(width * batch), stride = Math.sqrt(W.length);
  const [row, column] = transposed ? [1, stride] : [stride, 1];
  for (let i = 0; i < width; i++) for (let n = 0; n < batch; n += 8) { // eight inputs at a time
    let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, k = 0;
    for (let j = 0, at = i * row, from = n; j < width; j++, at += column, from += batch) {
      const w = W[at];
      a += w * x[from]; b += w * x[from + 1]; c += w * x[from + 2]; d += w * x[from + 3];
      e += w * x[from + 4]; f += w * x[from + 5]; g += w * x[from + 6]; k += w * x[from + 7];
    }
    const to = i * batch + n;
    out[to] = scale * a; out[to + 1] = scale * b; out[to + 2] = scale * c; out[to + 3] = scale * d;
    out[to + 4] = scale * e; out[to + 5] = scale * f; out[to + 6] = scale * g; out[to + 7] = scale * k;
  }
  return out;
}

/**
 * Send `input` through the layers and `sent`, the gradient of the last one's activations, back. Both
 * have a row for each unit, a multiple of 8 long. Layer l has the weights scale · weights[l], of
 * which the first `width` rows and columns count. Gives the `signals` and the `gradients` at the
 * input and after each layer, and `sums`, what each layer adds up, before its activation.
 */
export function propagate(weights, scale, width, input, sent, activation, slope) {
  const { f, df } = functionOf(activation, slope), batch = input.length / width;
  const signals = [input], sums = [], gradients = [sent];
  for (const W of weights) {
    sums.push(times(W, scale, width, signals.at(-1), batch, false));
    signals.push(sums.at(-1).map(f));
  }
  for (let l = weights.length - 1; l >= 0; l--) {
    const back = sums[l].map((z, i) => gradients[0][i] * df(z));
    gradients.unshift(times(weights[l], scale, width, back, batch, true));
  }
  return { signals, sums, gradients };
}

/** The standard deviation of the values from one place up to another. */
function spreadOf(values, from = 0, to = values.length) {
  let sum = 0, squares = 0;
  for (let i = from; i < to; i++) sum += values[i];
  const mean = sum / (to - from);
  for (let i = from; i < to; i++) squares += (values[i] - mean) ** 2;
  return Math.sqrt(squares / (to - from));
}

/**
 * What becomes of it, layer by layer, as standard deviations: the `signal`; the `difference` from
 * input to input, root mean square of the units; the `gradient`. And as shares: `saturated`, the
 * outputs within 5 % of a squashing function's range from either end; `dead`, the units that give
 * 0 for every input.
 */
export function measured({ signals, gradients }, width, activation) {
  const depth = signals.length - 1, batch = signals[0].length / width;
  const units = Array.from({ length: width }, (_, i) => [i * batch, (i + 1) * batch]);
  const low = { sigmoid: 0, tanh: -1 }[activation], margin = 0.05 * (1 - low);
  const count = (values, [from, to], holds) => {
    let found = 0;
    for (let i = from; i < to; i++) if (holds(values[i])) found++;
    return found;
  };
  let saturated = 0, dead = 0;
  for (const values of signals.slice(1)) {
    if (low !== undefined)
      saturated += count(values, [0, values.length], (y) => y < low + margin || y > 1 - margin);
    if (activation === "relu")
      for (const unit of units) dead += count(values, unit, (y) => y === 0) === batch;
  }
  return {
    signal: signals.map((values) => spreadOf(values)),
    gradient: gradients.map((values) => spreadOf(values)),
    difference: signals.map((values) => Math.sqrt(
      units.reduce((sum, unit) => sum + spreadOf(values, ...unit) ** 2, 0) / width)),
    saturated: saturated / (depth * width * batch), dead: dead / (depth * width),
  };
}

/** The network's random numbers, kept as long as the seed stays: tables for every layer so far. */
const drawn = { seed: null, layers: [] };
function draws(seed, depth) {
  const start = 2 * BLOCK * BATCH, square = BLOCK ** 2;
  if (drawn.seed !== seed) Object.assign(drawn, { seed, layers: [],
    input: normals(seed, 0, start / 2), sent: normals(seed, start / 2, start / 2) });
  for (let l = drawn.layers.length; l < depth; l++)
    drawn.layers.push(normals(seed, start + l * square, square));
  return drawn;
}

/** The passage through the network of a state. */
export function passage(state) {
  const { seed, depth, width, activation, negative_slope } = state;
  const { layers, input, sent } = draws(seed, depth), size = width * BATCH;
  return measured(propagate(layers.slice(0, depth), deviationOf(state), width, input.slice(0, size),
    sent.slice(0, size), activation, negative_slope), width, activation);
}

// ---- Words --------------------------------------------------------------------------------------

const NAMES = { identity: "identity", sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU",
  leaky_relu: "leaky ReLU", gelu: "GELU" };
const power = (n) => `10${minus(n).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["−0123456789".indexOf(c)])}`;

/** A number to two digits: 0.25, 3·10⁻⁹. */
function rounded(x) {
  if (x === 0 || (Math.abs(x) >= 0.000995 && Math.abs(x) < 9950)) return minus(Number(x.toPrecision(2)));
  const [digits, exponent] = x.toExponential(0).split("e");
  return `${digits === "1" ? "" : `${minus(digits)}·`}${power(Number(exponent))}`;
}
const percent = (share) => share > 0 && share < 0.005 ? "< 1 %" : `${(100 * share).toFixed(0)} %`;

/** What the function does at x. */
export function readingAt({ activation, negative_slope, x }) {
  const [y, slope] = evaluate(activation, negative_slope, x), at = minus(x);
  const fixed = (value) => minus(Number(value.toFixed(3)));
  return `${NAMES[activation]}(${at}) = ${fixed(y)}. The slope there is ${fixed(slope)}: a gradient ` +
    `on its way back is multiplied by ${fixed(slope)}.`;
}

/** What the layers do. */
export function readingThrough(state, { signal, difference, gradient, saturated, dead }) {
  const { depth, activation } = state, layers = depth === 1 ? "1 layer" : `${depth} layers`;
  const way = (from, to) => `from ${rounded(from)} to ${rounded(to)}, ` +
    `×\u00a0${rounded((to / from) ** (1 / depth))} a layer`;
  const lost = ["sigmoid", "tanh"].includes(activation)
    ? ` ${percent(saturated)} of the outputs are saturated.`
    : activation === "relu" ? ` ${percent(dead)} of the units are dead: 0 for all ${BATCH} inputs.` : "";
  return `Weights of standard deviation ${rounded(deviationOf(state))}. Through ${layers} the signal ` +
    `goes ${way(signal[0], signal[depth])}; the gradient, on its way back, ` +
    `${way(gradient[depth], gradient[0])}. At the end the inputs differ by ` +
    `${rounded(difference[depth])}.${lost}`;
}

// ---- Pictures -----------------------------------------------------------------------------------

const END = 5; // of the x axis, both ways
const HEIGHT = 240, MARGIN = { left: 34, right: 8, top: 8, bottom: 34 };
const tone = (name) => `var(--d2-${name})`;
const stroke = (d, name, width = 1, dashes = null) => h("path", { d, fill: "none",
  stroke: tone(name), "stroke-width": width, "stroke-dasharray": dashes, "stroke-linejoin": "round" });
const write = (text, x, y, anchor = "middle") =>
  h("text", { x, y, fill: tone("muted"), "text-anchor": anchor }, text);

/** The frame of a diagram: where numbers lie in pixels, and its axes with their marks. */
function frame(svg, width, [x0, x1], [y0, y1], left, xMarks, yMarks, name) {
  const right = width - MARGIN.right, bottom = HEIGHT - MARGIN.bottom;
  const x = (value) => left + (value - x0) / (x1 - x0) * (right - left);
  const y = (value) => bottom - (value - y0) / (y1 - y0) * (bottom - MARGIN.top);
  const marks = [
    ...yMarks.flatMap(([value, text]) => [
      stroke(`M${left} ${y(value).toFixed(1)}H${right}`, "line"),
      write(text, left - 5, y(value) + 4, "end")]),
    ...xMarks.map((value) => write(minus(value), x(value), bottom + 15)),
    write(name, (left + right) / 2, HEIGHT - 4)];
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const curve = (points) => points.map(([a, b], i) =>
    `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  return { x, y, marks, curve, left, right, bottom };
}

const RANGES = { sigmoid: [-0.25, 1.25], tanh: [-1.25, 1.25], identity: [-5, 5] };

/** Draw f, f′, the point and its tangent; return how to read x from a place in pixels. */
function drawFunction(svg, { activation, negative_slope, x: at }, width) {
  const { f, df } = functionOf(activation, negative_slope);
  const [low, high] = RANGES[activation] ?? [-1.25, 5], step = high > 2 ? 1 : 0.5;
  const yMarks = [];
  for (let y = Math.ceil(low / step) * step; y <= high; y += step) yMarks.push([y, minus(y)]);
  const { x, y, marks, curve, left, right, bottom } = frame(svg, width, [-END, END], [low, high],
    MARGIN.left, [-4, -2, 0, 2, 4], yMarks, "x");
  const steps = Array.from({ length: 201 }, (_, i) => -END + i * END / 100);
  const points = (g) => steps.flatMap((a) => // both sides of the corner at 0
    a === 0 ? [[-1e-9, g(-1e-9)], [1e-9, g(1e-9)]] : [[a, g(a)]]);
  const value = f(at), slope = df(at);
  const run = 46 / Math.hypot(x(1) - x(0), slope * (y(0) - y(1))); // 46 pixels to each side
  svg.replaceChildren(...marks, stroke(`M${x(0)} ${MARGIN.top}V${bottom}M${left} ${y(0)}H${right}`, "muted"),
    stroke(`M${x(at)} ${MARGIN.top}V${bottom}`, "input", 1, "2 3"),
    stroke(curve(points(f)), "output", 2.5), stroke(curve(points(df)), "gradient", 2, "7 4"),
    stroke(curve([[at - run, value - run * slope], [at + run, value + run * slope]]), "gradient", 1.5),
    h("circle", { cx: x(at), cy: y(df(at)), r: 4.5, fill: tone("gradient"), stroke: tone("paper") }),
    h("circle", { cx: x(at), cy: y(value), r: 6, fill: tone("output"), stroke: tone("paper"), "stroke-width": 1.5 }));
  return (pixel) => (pixel - left) / (right - left) * 2 * END - END;
}

/** The ends of the logarithmic axis, in few steps, so that it is steady while a slider moves. */
export function decades(values) {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  const beyond = (x) => [3, 6, 9, 12, 18, 24, 36, 48, 72, 96, 144].find((end) => end >= x) ?? 288;
  return [-beyond(-Math.min(0, ...logs)), beyond(Math.max(0, ...logs))];
}

const LINES = { difference: ["muted", 1.5, "2 3"], signal: ["output", 2.5, null],
  gradient: ["gradient", 2.5, "7 4"] };

/** Draw the signal and the gradient, layer by layer. */
function drawLayers(svg, { depth }, passed, width) {
  const [low, high] = decades(Object.keys(LINES).flatMap((name) => passed[name]));
  const step = [1, 3, 6, 12, 24, 48].find((n) => (high - low) / n <= 8) ?? 96, yMarks = [];
  for (let n = Math.ceil(low / step) * step; n <= high; n += step)
    yMarks.push([n, n === 0 ? "1" : power(n)]);
  const every = [1, 2, 5, 10].find((n) => depth / n <= 6);
  const xMarks = Array.from({ length: Math.floor(depth / every) + 1 }, (_, i) => i * every);
  const { marks, curve, x, y } = frame(svg, width, [0, depth], [low, high],
    MARGIN.left + 14, xMarks, yMarks, "layer (0: the input)");
  const place = (value) => Math.max(value > 0 ? Math.log10(value) : low, low);
  const dots = (name) => depth > 30 ? [] : passed[name].map((value, l) =>
    h("circle", { cx: x(l).toFixed(1), cy: y(place(value)).toFixed(1), r: 2.5, fill: tone(LINES[name][0]) }));
  svg.replaceChildren(...marks, ...Object.entries(LINES).map(([name, style]) =>
    stroke(curve(passed[name].map((value, l) => [l, place(value)])), ...style)),
  ...dots("signal"), ...dots("gradient"));
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model: shared, el }) {
  const model = hold(shared);
  const TRAITS = ["activation", "negative_slope", "x", "initialization", "sigma", "depth", "width", "seed"];
  const current = () => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));

  const leak = slider(model, "negative_slope", { label: "Slope for x < 0", min: 0, max: 1, step: 0.01 });
  const deviation = slider(model, "sigma",
    { label: "Std of the weights", min: 0.005, max: 0.5, step: 0.005 });
  const controls = h("div", { class: "d2-controls" },
    menu(model, "activation", { label: "Activation", options: NAMES }), leak,
    menu(model, "initialization", { label: "Initialisation", options: {
      normal: "normal, your σ", xavier: "Xavier", he: "He" } }), deviation,
    slider(model, "depth", { label: "Layers", min: 1, max: 50 }),
    slider(model, "width", { label: "Units a layer", min: 4, max: LARGEST }),
    button("Draw again", () => set(model, "seed", (model.get("seed") + 1) % 2 ** 31)));

  const legend = (...entries) => h("p", { class: "d2-legend" },
    ...entries.map(([kind, text]) => h("span", { class: `d2-key-${kind}` }, text)));
  const x = h("input", { type: "range", min: -END, max: END, step: 0.05, "aria-label": "x",
    oninput: () => set(model, "x", Number(x.value)) });
  let toX = () => 0;
  function drag({ clientX, buttons, type }) {
    if (type === "pointermove" && !buttons) return;
    const place = toX(clientX - curves.getBoundingClientRect().left);
    set(model, "x", Math.min(Math.max(Math.round(place * 20) / 20, -END), END));
  }
  const curves = h("svg", { role: "img", onpointerdown: drag, onpointermove: drag,
    onclick: () => x.focus({ preventScroll: true }),
    "aria-label": "The function and, dashed, its derivative; a point at x with its tangent." });
  const chart = h("svg", { role: "img", "aria-label": "Standard deviations at each layer, on a " +
    "logarithmic axis: of the signal, of the differences between inputs, and of the gradient." });
  const there = readout(), through = readout();
  const panels = {
    function: h("div", { class: "d2-function" },
      legend(["signal", "f(x)"], ["gradient", "slope f′(x)"]), curves, x, there),
    layers: h("div", { class: "d2-layers" }, legend(["title", "Standard deviation:"], ["signal", "signal →"],
      ["gradient", "← gradient"], ["difference", "differences between inputs →"]), chart, through),
  };
  const scene = h("div", { class: "d2-scene" }, ...Object.values(panels));
  const root = figure(model, "d2-activation", controls, scene);

  let before = "";
  const say = (line, text) => { if (line.textContent !== text) line.textContent = text; };
  const widthOf = (svg) => Math.max(svg.getBoundingClientRect().width, 200);

  function show() {
    const state = current(), first = panels[model.get("first")];
    if (scene.firstChild !== first) scene.prepend(first);
    leak.hidden = state.activation !== "leaky_relu";
    deviation.hidden = state.initialization !== "normal";
    x.value = state.x;
    toX = drawFunction(curves, state, widthOf(curves));
    say(there, readingAt(state));
    const { x: _, ...rest } = state, now = JSON.stringify([rest, widthOf(chart)]);
    if (now === before) return; // only x has moved
    before = now;
    const passed = passage(state);
    drawLayers(chart, state, passed, widthOf(chart));
    say(through, readingThrough(state, passed));
  }
  return model.mount(el, root, [...TRAITS, "first"], show);
}

export default { render };
