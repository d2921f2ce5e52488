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

/** A number to two digits: 0.25, 3·10⁻⁹. */
const rounded = (x) => x === 0 || (Math.abs(x) >= 0.000995 && Math.abs(x) < 9950)
  ? minus(Number(x.toPrecision(2))) : scientific(x, 0);
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
const HEIGHT = 240, TOP = 8, BOTTOM = HEIGHT - 34, RIGHT = 8;

/** The inside of a diagram, in pixels, and where numbers lie in it. */
function frame(width, left, xEnds, yEnds) {
  const box = { left, right: width - RIGHT, top: TOP, bottom: BOTTOM };
  return { box, x: linear(xEnds, [left, box.right]), y: linear(yEnds, [BOTTOM, TOP]) };
}

const RANGES = { sigmoid: [-0.25, 1.25], tanh: [-1.25, 1.25], identity: [-5, 5] };

/** Draw f, f′, the point and its tangent; return how to read x from a place in pixels. */
function drawFunction(svg, { activation, negative_slope, x: at }, width) {
  const { f, df } = functionOf(activation, negative_slope);
  const ends = RANGES[activation] ?? [-1.25, 5], { box, x, y } = frame(width, 34, [-END, END], ends);
  const told = (ticks) => ticks.map((value) => [value, minus(value)]);
  const steps = Array.from({ length: 201 }, (_, i) => -END + i * END / 100);
  const points = (g) => steps.flatMap((a) => // both sides of the corner at 0
    a === 0 ? [[-1e-9, g(-1e-9)], [1e-9, g(1e-9)]] : [[a, g(a)]]);
  const drawn = (points, ...look) => line(curve(points.map(([a, b]) => [x(a), y(b)])), ...look);
  const value = f(at), slope = df(at);
  const run = 46 / Math.hypot(x(1) - x(0), slope * (y(0) - y(1))); // 46 pixels to each side
  const dot = (r, value, name) => h("circle",
    { cx: x(at), cy: y(value), r, fill: tone(name), stroke: tone("paper"), "stroke-width": 1.5 });
  paint(svg, width, HEIGHT, [
    ...axes(box, x, told(ticks(-END, END)), y, told(ticks(...ends))),
    write("x", (box.left + box.right) / 2, HEIGHT - 4),
    line(`M${x(0)} ${TOP}V${BOTTOM}M${box.left} ${y(0)}H${box.right}`, tone("muted")),
    line(`M${x(at)} ${TOP}V${BOTTOM}`, tone("input"), 1, "2 3"),
    drawn(points(f), tone("output"), 2.5), drawn(points(df), tone("gradient"), 2, "7 4"),
    drawn([[at - run, value - run * slope], [at + run, value + run * slope]], tone("gradient"), 1.5),
    dot(4.5, slope, "gradient"), dot(6, value, "output")]);
  return linear([box.left, box.right], [-END, END]);
}

/** The ends of the logarithmic axis, in few steps, so that it is steady while a slider moves. */
export function decades(values) {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  const beyond = (x) => [3, 6, 9, 12, 18, 24, 36, 48, 72, 96, 144].find((end) => end >= x) ?? 288;
  return [-beyond(-Math.min(0, ...logs)), beyond(Math.max(0, ...logs))];
}

const LINES = { signal: ["output", 2.5, null], gradient: ["gradient", 2.5, "7 4"],
  difference: ["muted", 1.5, "2 3"] };

/** Draw the signal and the gradient, layer by layer. */
function drawLayers(svg, { depth }, passed, width) {
  const [low, high] = decades(Object.keys(LINES).flatMap((name) => passed[name]));
  const { box, x, y } = frame(width, 48, [0, depth], [low, high]);
  const place = (value) => y(Math.max(value > 0 ? Math.log10(value) : low, low));
  const points = (name) => passed[name].map((value, l) => [x(l), place(value)]);
  const dots = (name) => depth > 30 ? [] : points(name).map(([cx, cy]) =>
    h("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.5, fill: tone(LINES[name][0]) }));
  paint(svg, width, HEIGHT, [
    ...axes(box, x, ticks(0, depth).filter(Number.isInteger).map((l) => [l, l]),
      (value) => y(Math.log10(value)), powers(low, high, 8).map((value) =>
        [value, value === 1 ? "1" : powerOfTen(Math.round(Math.log10(value)))])),
    write("layer (0: the input)", (box.left + box.right) / 2, HEIGHT - 4),
    ...Object.entries(LINES).reverse().map(([name, [colour, ...look]]) =>
      line(curve(points(name)), tone(colour), ...look)),
    ...dots("signal"), ...dots("gradient")]);
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["activation", "negative_slope", "x", "initialization", "sigma", "depth",
    "width", "seed", "first"]);
  const controls = h("div", { class: "d2-controls" },
    menu(view, "activation", { label: "Activation", options: NAMES }),
    slider(view, "negative_slope", { label: "Slope for x < 0", max: 1, step: 0.01,
      hidden: () => view.get("activation") !== "leaky_relu" }),
    menu(view, "initialization", { label: "Initialization", options: {
      normal: "normal, your σ", xavier: "Xavier", he: "He" } }),
    slider(view, "sigma", { label: "Std of the weights", min: 0.005, max: 0.5, step: 0.005,
      hidden: () => view.get("initialization") !== "normal" }),
    slider(view, "depth", { label: "Layers", min: 1, max: 50 }),
    slider(view, "width", { label: "Units a layer", min: 4, max: LARGEST }),
    button("Draw again", () => view.set("seed", (view.get("seed") + 1) % 2 ** 31)));

  const legend = (title, entries) => h("p", { class: "d2-legend" }, title,
    ...Object.entries(entries).map(([name, text]) =>
      h("span", {}, key(tone(LINES[name][0]), LINES[name][2]), text)));
  const x = h("input", { type: "range", min: -END, max: END, step: 0.05, "aria-label": "x",
    oninput: () => view.set("x", Number(x.value)) });
  let toX = () => 0;
  const curves = h("svg", { role: "img", onclick: () => x.focus({ preventScroll: true }),
    "aria-label": "The function and, dashed, its derivative; a point at x with its tangent." });
  pointing(view, curves,
    ({ clientX }) => toX(clientX - curves.getBoundingClientRect().left),
    (place) => view.set("x", within(Math.round(place * 20) / 20, -END, END)));
  const chart = h("svg", { role: "img", "aria-label": "Standard deviations at each layer, on a " +
    "logarithmic axis: of the signal, of the differences between inputs, and of the gradient." });
  const there = readout(), through = readout();
  const panels = {
    function: h("div", { class: "d2-function" },
      legend(null, { signal: "f(x)", gradient: "slope f′(x)" }), curves, x, there),
    layers: h("div", { class: "d2-layers" }, legend(h("span", {}, "Standard deviation:"),
      { signal: "signal →", gradient: "← gradient", difference: "differences between inputs →" }),
    chart, through),
  };
  const scene = h("div", { class: "d2-scene" }, ...Object.values(panels));

  let before = "";
  function show() {
    const { first, x: at, ...rest } = view.state(), state = { ...rest, x: at };
    if (scene.firstChild !== panels[first]) scene.prepend(panels[first]);
    x.value = at;
    toX = drawFunction(curves, state, widthOf(curves));
    say(there, readingAt(state));
    const now = JSON.stringify([rest, widthOf(chart)]);
    if (now === before) return; // only x has moved
    before = now;
    const passed = passage(state);
    drawLayers(chart, state, passed, widthOf(chart));
    say(through, readingThrough(state, passed));
  }
  return view.mount(el, figure(view, "d2-activation", controls, scene), show);
}

export default { render };
