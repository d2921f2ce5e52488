// Optimizers race on a landscape of two weights. A place is [w₁, w₂].

// ---- Arithmetic: no DOM, checked against d2lite.optim and autograd ------------------------------

const STEPS = 200;
const LIMIT = 1e3; // a weight beyond it, or one that is no number, has diverged
// In the order in which they are shown: a saved page sorts the names of a trait's entries.
const LANDSCAPES = ["ravine", "saddle", "Rosenbrock", "Beale", "noisy bowl"];
const NAMES = ["SGD", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW"];
const racing = (optimizers) => NAMES.filter((name) => name in optimizers);

const turn = (angle) => [Math.cos(angle / 180 * Math.PI), Math.sin(angle / 180 * Math.PI)];
const BEALE = [[1, 1.5], [2, 2.25], [3, 2.625]];

/** The height of the landscape; 0 at its lowest places. */
export function lossAt({ landscape, condition, angle }, [x, y]) {
  if (landscape === "ravine") {
    const [c, s] = turn(angle);
    return ((c * x + s * y) ** 2 + condition * (c * y - s * x) ** 2) / 2;
  }
  if (landscape === "saddle") return x ** 2 / 2 + (y ** 2 - 1) ** 2 / 4;
  if (landscape === "Rosenbrock") return (1 - x) ** 2 + 100 * (y - x ** 2) ** 2;
  if (landscape === "Beale")
    return BEALE.reduce((sum, [n, c]) => sum + (c - x * (1 - y ** n)) ** 2, 0);
  return (x ** 2 + y ** 2) / 2;
}

/** Its slope along each weight. */
export function gradientAt({ landscape, condition, angle }, [x, y]) {
  if (landscape === "ravine") {
    const [c, s] = turn(angle), along = c * x + s * y, across = condition * (c * y - s * x);
    return [c * along - s * across, s * along + c * across];
  }
  if (landscape === "saddle") return [x, y * (y ** 2 - 1)];
  if (landscape === "Rosenbrock")
    return [-2 * (1 - x) - 400 * x * (y - x ** 2), 200 * (y - x ** 2)];
  if (landscape === "Beale") return BEALE.reduce(([a, b], [n, c]) => {
    const error = 2 * (c - x * (1 - y ** n));
    return [a - error * (1 - y ** n), b + error * x * n * y ** (n - 1)];
  }, [0, 0]);
  return [x, y];
}

/** One weight's next value from its gradient; `memory` keeps from step to step, t counts from 1. */
function update(name, settings, w, g, memory, t) {
  const { lr, momentum, alpha, beta1, beta2, weight_decay } = settings;
  switch (name) {
    case "SGD": return w - lr * g;
    case "momentum": case "Nesterov":
      memory.v = momentum * memory.v + g;
      return w - lr * (name === "Nesterov" ? g + momentum * memory.v : memory.v);
    case "AdaGrad":
      memory.s += g ** 2;
      return w - lr * g / (Math.sqrt(memory.s) + 1e-10);
    case "RMSProp":
      memory.s = alpha * memory.s + (1 - alpha) * g ** 2;
      return w - lr * g / (Math.sqrt(memory.s) + 1e-8);
  }
  if (name === "AdamW") w -= lr * weight_decay * w;
  else g += weight_decay * w;
  memory.m = beta1 * memory.m + (1 - beta1) * g;
  memory.v = beta2 * memory.v + (1 - beta2) * g ** 2;
  const m = memory.m / (1 - beta1 ** t), v = memory.v / (1 - beta2 ** t);
  return w - lr * m / (Math.sqrt(v) + 1e-8);
}

/**
 * The way of one optimizer: its `places`, the start and one a step, the `losses` there, and the
 * `gradients` that it was given at each, noise included. A way that diverges ends before that step,
 * `diverged`, which is null otherwise.
 */
export function race(state, name, steps = STEPS) {
  const settings = state.optimizers[name], noise = normals(state.seed, 0, 2 * steps);
  const memories = [0, 1].map(() => ({ m: 0, v: 0, s: 0 }));
  const way = { places: [[...state.start]], losses: [], gradients: [], diverged: null };
  for (let t = 1; t <= steps; t++) {
    const at = way.places.at(-1);
    const g = gradientAt(state, at).map((slope, i) => slope + state.noise * noise[2 * t - 2 + i]);
    const next = at.map((w, i) => update(name, settings, w, g[i], memories[i], t));
    way.gradients.push(g);
    if (!next.every((w) => Math.abs(w) <= LIMIT)) { way.diverged = t; break; }
    way.places.push(next);
  }
  way.losses = way.places.map((place) => lossAt(state, place));
  return way;
}

/** |Δw| of each weight at each step, or as a "rate" |Δw / g|; null where the gradient is 0. */
export function lengths({ places, gradients }, measure) {
  return places.slice(1).map((place, k) => place.map((w, i) => {
    const length = Math.abs(w - places[k][i]), g = Math.abs(gradients[k][i]);
    return measure === "step" ? length : g ? length / g : null;
  }));
}

/**
 * Where a function is at most `level`, between the points of a grid of `values` (rows of columns):
 * its `area` as polygons and its `line` as segments, in units of the grid.
 */
export function contour(values, level) {
  const area = [], line = [], rows = values.length - 1, columns = values[0].length - 1;
  for (let i = 0; i < rows; i++) for (let j = 0, run = -1; j <= columns; j++) {
    const [above, below] = [values[i], values[i + 1]]; // one past the last column, all are outside
    const inside = (above[j] <= level) + (above[j + 1] <= level) + (below[j] <= level) +
      (below[j + 1] <= level);
    if (inside === 4) { if (run < 0) run = j; continue; } // whole cells: a strip
    if (run >= 0) { area.push([[run, i], [j, i], [j, i + 1], [run, i + 1]]); run = -1; }
    if (!inside || j === columns) continue;
    const polygon = [], cuts = [], corners = [[j, i, above[j]], [j + 1, i, above[j + 1]],
      [j + 1, i + 1, below[j + 1]], [j, i + 1, below[j]]];
    corners.forEach(([x, y, value], n) => {
      const [x2, y2, next] = corners[(n + 1) % 4];
      if (value <= level) polygon.push([x, y]);
      if ((value <= level) === (next <= level)) return;
      const share = (level - value) / (next - value);
      cuts.push([x + share * (x2 - x), y + share * (y2 - y)]);
      polygon.push(cuts.at(-1));
    });
    area.push(polygon);
    for (let n = 0; n < cuts.length; n += 2) line.push([cuts[n], cuts[n + 1]]);
  }
  return { area, line };
}

// ---- Words --------------------------------------------------------------------------------------

/** A number in three digits: 0.0123, 4.5, 2.1·10⁻⁷. */
function brief(x) {
  if (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1e4))
    return minus(Number(x.toPrecision(Math.abs(x) < 0.01 ? 2 : 3)));
  const [digits, exponent] = x.toExponential(1).split("e");
  return `${minus(Number(digits))}·10${raised(Number(exponent))}`;
}
const raised = (n) => [...String(n)].map((c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join("");
const near = ([x, y]) => `(${minus(Number(x.toFixed(2)))}, ${minus(Number(y.toFixed(2)))})`;
const listed = (names) => names.join(", ").replace(/, ([^,]*)$/, " and $1");
/** Has it diverged by the present step? */
const gone = ({ diverged }, step) => diverged !== null && diverged <= step;

/** Who is first after the present step, and where all are. */
export function reading(state, ways = waysOf(state)) {
  const { step } = state, names = Object.keys(ways);
  const alive = names.filter((name) => !gone(ways[name], step));
  const best = Math.min(...alive.map((name) => ways[name].losses[step]));
  const first = alive.filter((name) => ways[name].losses[step] === best);
  const places = names.map((name) => gone(ways[name], step)
    ? `${name} has diverged, at step ${ways[name].diverged}`
    : `${name} is at ${near(ways[name].places[step])}, loss ${brief(ways[name].losses[step])}`);
  const lead = !alive.length ? "nobody is left" : names.length === 1 ? null
    : first.length === names.length ? "all are level"
    : `${listed(first)} ${first.length > 1 ? "are" : "is"} first`;
  const when = `After ${step} step${step === 1 ? "" : "s"}`;
  return lead ? `${when} ${lead}. ${places.join("; ")}.` : `${when} ${places[0]}.`;
}

const waysOf = (state) => Object.fromEntries(racing(state.optimizers)
  .map((name) => [name, race(state, name)]));

// ---- Looks: a colour, a dash and a marker for each optimizer ------------------------------------

const tone = (name) => `var(--d2-${name})`;
const mixed = (a, b) => `color-mix(in srgb, ${tone(a)}, ${tone(b)})`;
const star = (n, inner) => Array.from({ length: 2 * n }, (_, i) => {
  const r = i % 2 ? inner : 6, a = Math.PI * i / n;
  return `${i ? "L" : "M"}${(r * Math.sin(a)).toFixed(1)} ${(-r * Math.cos(a)).toFixed(1)}`;
}).join("") + "z";
const LOOKS = {
  SGD: [tone("ink"), null, "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"],
  momentum: [tone("kernel"), "8 3", "M-4.5 -4.5h9v9h-9z"],
  Nesterov: [mixed("kernel", "output"), "2 3", "M0 -6L6 0L0 6L-6 0z"],
  AdaGrad: [tone("output"), "9 3 2 3", "M0 -5.5L6 4.5H-6z"],
  RMSProp: [tone("gradient"), "5 2", "M0 5.5L6 -4.5H-6z"],
  Adam: [tone("input"), "12 2", star(5, 2.6)],
  AdamW: [mixed("input", "gradient"), "4 2 1 2", star(4, 2)],
};
const CROSS = "M-5 -5L5 5M-5 5L5 -5"; // where one has diverged

/** The marker of an optimizer at a place, or a cross. */
function marker(name, x, y, lost = false) {
  const [colour, , shape] = LOOKS[name];
  return h("path", { d: lost ? CROSS : shape, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    fill: lost ? "none" : colour, stroke: lost ? colour : tone("paper"),
    "stroke-width": lost ? 3 : 1 });
}

/** Its line through points [x, y], with a light edge if it lies on a ground; gaps where null. */
function lines(name, points, { edge = false, dash = LOOKS[name][1] } = {}) {
  const far = (x) => px(within(x, -5000, 5000));
  const d = points.map((p, i) => p ? `${points[i - 1] ? "L" : "M"}${far(p[0])} ${far(p[1])}` : "")
    .join("");
  const line = (stroke, width, dashes) => h("path", { d, fill: "none", stroke,
    "stroke-width": width, "stroke-linejoin": "round", "stroke-dasharray": dashes });
  return [edge && line(tone("paper"), 4, null), line(LOOKS[name][0], 2, dash)].filter(Boolean);
}

// ---- Pictures -----------------------------------------------------------------------------------

const text = (words, x, y, anchor = "middle") =>
  h("text", { x, y, fill: tone("muted"), "text-anchor": anchor }, words);
const px = (x) => Math.round(x * 10) / 10;
const within = (x, low, high) => Math.max(low, Math.min(high, x));

/** Ticks at round numbers, some five of them. */
function ticks(low, high) {
  const unit = high - low > 6 ? 2 : 1, first = Math.ceil(low / unit) * unit;
  return Array.from({ length: Math.floor((high - first) / unit) + 1 }, (_, i) => first + i * unit);
}

/** A frame of `width` × `height` whose inside clips, with axes; `x` and `y` map into it. */
function frame(width, height, x, y, xTicks, yTicks, names) {
  const marks = [h("rect", { x: 0.5, y: 0.5, width, height, fill: "none", stroke: tone("line") })];
  for (const [value, words] of xTicks) marks.push(text(words, x(value), height + 15));
  for (const [value, words] of yTicks) marks.push(text(words, -5, y(value) + 4, "end"));
  marks.push(text(names[0], width, height + 30, "end"), text(names[1], 0, -7, "start"));
  return marks;
}

const [LEFT, TOP, BOTTOM] = [38, 20, 34];

/** A chart of curves over the steps, with a logarithmic axis. */
function chart(svg, width, height, title, curves, step) {
  const known = curves.flatMap(({ values }) => values).filter((v) => v > 0);
  const top = Math.log10(Math.max(...known.map((v) => Math.min(v, 1e5)), 1e-9));
  const bottom = Math.max(Math.log10(Math.min(...known, 10 ** top / 10)), top - 12, -12);
  const [low, high] = [Math.floor(bottom), Math.max(Math.ceil(top), Math.floor(bottom) + 1)];
  const inner = width - LEFT - 14, x = (k) => k / STEPS * inner;
  const y = (value) => (high - Math.log10(value)) / (high - low) * height;
  const every = Math.ceil((high - low) / 4);
  const decades = Array.from({ length: high - low + 1 }, (_, i) => high - i)
    .filter((n) => (n - low) % every === 0);
  const grid = decades.map((n) => h("line", { x1: 0, x2: inner, y1: y(10 ** n), y2: y(10 ** n),
    stroke: tone("line"), "stroke-width": 0.6 }));
  const drawn = curves.flatMap(({ name, values, dash, lost }) => {
    const points = values.slice(0, step + 1)
      .map((v, k) => v === null ? null : [x(k), y(Math.max(v, 10 ** low / 100))]);
    const [ex, ey] = points.findLast(Boolean) ?? [0, 0];
    const end = marker(name, ex, within(ey, 6, height - 6), lost);
    return [...lines(name, points, dash === undefined ? {} : { dash }), points.some(Boolean) && end];
  }).filter(Boolean);
  svg.setAttribute("viewBox", `0 0 ${width} ${height + TOP + BOTTOM}`);
  svg.setAttribute("height", height + TOP + BOTTOM);
  svg.replaceChildren(h("g", { transform: `translate(${LEFT} ${TOP})` },
    ...grid, ...frame(inner, height, x, y, [0, 50, 100, 150, 200].map((k) => [k, k]),
      decades.map((n) => [10 ** n, `10${raised(n)}`]), ["step", title]),
    h("svg", { width: inner + 8, height, overflow: "hidden" }, ...drawn)));
}

// ---- Controls -----------------------------------------------------------------------------------

const power = { min: -4, max: 1, step: 0.05, read: Math.log10,
  write: (x) => Number((10 ** x).toPrecision(2)) };
const plain = (max, step, min = 0) => ({ min, max, step, read: (x) => x, write: (x) => x });
const SLIDERS = { lr: ["lr", power], momentum: ["momentum", plain(0.99, 0.01)],
  alpha: ["alpha", plain(0.999, 0.001)], beta1: ["beta1", plain(0.99, 0.01)],
  beta2: ["beta2", plain(0.999, 0.001)], weight_decay: ["weight decay", plain(1, 0.01)] };

/** A labelled slider of anything: `show(value)` sets it, `hear(value)` is told what the reader does. */
function dial(label, { min, max, step, read, write }, hear, name = label) {
  const shown = h("b", { "aria-hidden": true });
  const input = h("input", { type: "range", min, max, step, "aria-label": name,
    oninput: () => hear(write(Number(input.value))) });
  const show = (value) => {
    shown.textContent = input.ariaValueText = brief(value);
    if (!input.matches(":active")) input.value = read(value);
  };
  return { element: h("label", { class: "d2-field" }, h("span", {}, `${label} `, shown), input), show };
}

function render({ model: shared, el }) {
  const model = hold(shared);
  const defaults = model.get("_defaults"), landscapes = model.get("_landscapes");
  const TRAITS = ["landscape", "condition", "angle", "noise", "seed", "start", "optimizers", "step",
    "selected", "measure"];
  const current = () => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
  const remembered = {}; // settings of those that the reader has taken out

  function change(traits) {
    for (const [name, value] of Object.entries(traits)) model.set(name, value);
    model.save_changes();
  }

  // The landscape, and what it asks for.
  const choose = h("select", { onchange() {
    const { start, noise, lr } = landscapes[choose.value];
    change({ landscape: choose.value, start: [...start], noise, optimizers: Object.fromEntries(
      Object.entries(model.get("optimizers")).map(([name, own]) => [name, { ...own, lr: lr[name] }])) });
    for (const name of Object.keys(remembered)) delete remembered[name].lr;
  } }, ...LANDSCAPES.map((name) => h("option", {}, name)));
  const scale = { min: 0, max: 3, step: 0.05, read: Math.log10,
    write: (x) => Number((10 ** x).toPrecision(2)) };
  const tell = (name) => (value) => set(model, name, value);
  const dials = {
    condition: dial("Condition number", scale, tell("condition")),
    angle: dial("Turned by, °", plain(90, 1), tell("angle")),
    noise: dial("Noise of the gradient", plain(5, 0.1), tell("noise")),
  };
  const other = button("Other noise", () => set(model, "seed", (model.get("seed") + 1) % 2 ** 31));

  // Who races: a box to tick for each, and a row of sliders for those that do.
  const boxes = Object.fromEntries(NAMES.map((name) => [name, h("input", {
    type: "checkbox", onchange() {
      const { [name]: own, ...rest } = model.get("optimizers");
      if (own) remembered[name] = own;
      const all = { ...rest, ...(own ? {} : { [name]: { lr: landscapes[model.get("landscape")].lr[name],
        ...defaults[name], ...remembered[name] } }) };
      const traits = { optimizers: all };
      if (!own) traits.selected = name;
      change(traits);
    } })]));
  const swatch = (name) => h("svg", { viewBox: "0 0 34 14", width: 34, height: 14, "aria-hidden": true },
    ...lines(name, [[1, 7], [33, 7]]), marker(name, 17, 7));
  const field = h("fieldset", {}, h("legend", {}, "Who races"), ...NAMES.map((name) =>
    h("label", {}, boxes[name], swatch(name), name)));
  const rows = h("div", { class: "d2-rows" });
  let built = "", settingDials = [];
  function build(optimizers) {
    const names = racing(optimizers);
    if (built === names.join()) return;
    built = names.join();
    settingDials = [];
    rows.replaceChildren(...names.map((name) => {
      const fields = Object.keys(SLIDERS).filter((setting) => setting in optimizers[name])
        .map((setting) => {
        const [label, kind] = SLIDERS[setting];
        const limits = name === "Nesterov" && setting === "momentum" ? plain(0.99, 0.01, 0.01) : kind;
        const made = dial(label, limits, (value) => {
          const all = model.get("optimizers");
          set(model, "optimizers", { ...all, [name]: { ...all[name], [setting]: value } });
        }, `${name}: ${label}`);
        settingDials.push([name, setting, made]);
        return made.element;
      });
      return h("div", { class: "d2-row", role: "group", "aria-label": name },
        h("span", { class: "d2-name" }, swatch(name), name), ...fields);
    }));
  }

  // The landscape seen from above; the start is a button that the arrow keys and a press move.
  const map = h("svg", { role: "img", "aria-label": "Seen from above, darker where it is lower, " +
    "with the path of each optimizer.", onpointerdown: point, onpointermove: point });
  const start = h("button", { type: "button", class: "d2-start", onkeydown(event) {
    const move = ARROWS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { x, y } = landscapes[model.get("landscape")], [w1, w2] = model.get("start");
    const share = event.shiftKey ? 1 / 400 : 1 / 40;
    put(w1 + move[1] * share * (x[1] - x[0]), w2 - move[0] * share * (y[1] - y[0]));
  } });
  const put = (w1, w2) => {
    const { x, y } = landscapes[model.get("landscape")];
    set(model, "start", [[w1, x], [w2, y]].map(([w, [low, high]]) =>
      Number(within(w, low, high).toFixed(3))));
  };
  let size = { width: 1, height: 1 };
  function point({ type, buttons, clientX, clientY }) {
    if (type === "pointermove" && !buttons) return;
    const box = map.getBoundingClientRect(), { x, y } = landscapes[model.get("landscape")];
    const u = (clientX - box.left - LEFT) / size.width, v = (clientY - box.top - TOP) / size.height;
    if (type === "pointerdown" && (u < 0 || u > 1 || v < 0 || v > 1)) return;
    put(x[0] + u * (x[1] - x[0]), y[1] - v * (y[1] - y[0]));
  }

  // The charts, and what the second one shows.
  const lossChart = h("svg", { role: "img", "aria-label": "The loss of each optimizer, step by step." });
  const stepChart = h("svg", { role: "img",
    "aria-label": "The steps of the selected optimizer along each weight." });
  const whose = h("select", { "aria-label": "Whose steps",
    onchange: () => set(model, "selected", whose.value) });
  const measure = menu(model, "measure", { label: "", options:
    { step: "step |Δw|", rate: "effective rate |Δw / g|" } });
  measure.querySelector("select").ariaLabel = "Measured as";

  // Time.
  let timer = null, speech = null;
  const { later } = model;
  const shown = h("b", { "aria-hidden": true });
  const time = h("input", { type: "range", min: 0, max: STEPS, "aria-label": "Step",
    oninput() { pause(); set(model, "step", Number(time.value)); } });
  const pause = () => { clearInterval(timer); timer = null; later(); };
  function play() {
    if (timer) return pause();
    if (prefersStillness()) return set(model, "step", STEPS);
    if (model.get("step") === STEPS) set(model, "step", 0);
    timer = setInterval(() => {
      set(model, "step", model.get("step") + 1);
      if (model.get("step") >= STEPS) pause();
    }, 50);
    later();
  }
  const playButton = button("Play", play);
  const stepButton = button("Step", () => {
    pause();
    set(model, "step", Math.min(model.get("step") + 1, STEPS));
  });
  const reset = button("Reset", () => { pause(); set(model, "step", 0); });

  const words = readout();
  const root = figure(model, "d2-optimizer",
    h("div", { class: "d2-controls" }, h("label", { class: "d2-field" }, "Landscape", choose),
      ...Object.values(dials).map(({ element }) => element), other),
    field, rows,
    h("div", { class: "d2-scene" }, h("div", { class: "d2-map" }, map, start),
      h("div", { class: "d2-charts" }, lossChart,
        h("div", { class: "d2-whose" }, whose, measure), stepChart)),
    h("div", { class: "d2-time" }, reset, stepButton, playButton,
      h("label", { class: "d2-field" }, h("span", {}, "Step ", shown), time)),
    words);

  /** The ways of all, computed anew only where something that they depend on has changed. */
  const known = {};
  function raceAll(state) {
    const { step, selected, measure, optimizers, ...where } = state;
    return Object.fromEntries(racing(optimizers).map((name) => {
      const key = JSON.stringify([where, optimizers[name]]);
      if (known[name]?.key !== key) known[name] = { key, way: race(state, name) };
      return [name, known[name].way];
    }));
  }

  // What is drawn on the map: the landscape, the paths clipped to it, the axes.
  const ground = h("g"), overlay = h("g"), axes = h("g");
  const inner = h("svg", { overflow: "hidden" }, ground, overlay);
  map.append(h("g", { transform: `translate(${LEFT} ${TOP})` }, inner, axes));
  let painted = "";
  /** The landscape itself: areas below nine levels, one on another, so that low places are dark. */
  function paint(state, { x, y }, { width, height }) {
    const { landscape, condition, angle } = state;
    const key = JSON.stringify([landscape, condition, angle, width, height]);
    if (key === painted) return;
    painted = key;
    const n = 40, values = matrix(n + 1, n + 1, (i, j) =>
      lossAt(state, [x[0] + j / n * (x[1] - x[0]), y[1] - i / n * (y[1] - y[0])]));
    const sorted = values.flat().sort((a, b) => a - b);
    const [low, high] = [Math.max(sorted[Math.floor(sorted.length / 50)], 1e-3), sorted.at(-1)];
    const place = ([j, i]) => `${px(j / n * width)} ${px(i / n * height)}`;
    const path = (pieces, close, name) => h("path", { class: name,
      d: pieces.map((piece) => `M${piece.map(place).join("L")}${close}`).join("") });
    const levels = Array.from({ length: 9 }, (_, k) =>
      contour(values, high * (low / high) ** ((k + 1) / 9)));
    ground.replaceChildren(...levels.map(({ area }) => path(area, "z", "d2-area")),
      path(levels.flatMap(({ line }) => line), "", "d2-line"));
  }

  function show() {
    const state = current(), { optimizers, step } = state, names = racing(optimizers);
    const [wide, box] = [map, lossChart].map((svg) => // asked before anything changes, for speed
      svg.parentElement.getBoundingClientRect().width || 340);
    choose.value = state.landscape;
    for (const [name, { element, show }] of Object.entries(dials)) {
      show(state[name]);
      element.hidden = name !== "noise" && state.landscape !== "ravine";
    }
    other.hidden = !state.noise;
    for (const [name, box] of Object.entries(boxes)) {
      box.checked = name in optimizers;
      box.disabled = names.length === 1 && box.checked;
    }
    build(optimizers);
    for (const [name, setting, { show }] of settingDials) show(optimizers[name][setting]);
    const selected = names.includes(state.selected) ? state.selected : names[0];
    if ([...whose.options].map(({ value }) => value).join() !== names.join())
      whose.replaceChildren(...names.map((name) => h("option", {}, name)));
    whose.value = selected;

    const ways = raceAll(state), view = landscapes[state.landscape];
    const ratio = (view.y[1] - view.y[0]) / (view.x[1] - view.x[0]);
    size = { width: wide - LEFT - 8, height: Math.round((wide - LEFT - 8) * Math.min(ratio, 0.95)) };
    const { width, height } = size;
    const x = (w) => (w - view.x[0]) / (view.x[1] - view.x[0]) * width;
    const y = (w) => (view.y[1] - w) / (view.y[1] - view.y[0]) * height;
    const at = ([w1, w2]) => [x(w1), y(w2)];
    const inside = ([a, b]) => a >= 0 && a <= width && b >= 0 && b <= height;
    const seen = names.map((name) => {
      const points = ways[name].places.slice(0, step + 1).map(at);
      const last = points.findLastIndex(inside), lost = gone(ways[name], step);
      return { name, lost, points: lost ? points.slice(0, last + 2) : points,
        end: lost ? points[Math.max(last, 0)] : points.at(-1) };
    });
    const ends = seen.map(({ name, lost, end: [a, b] }) =>
      marker(name, within(a, 6, width - 6), within(b, 6, height - 6), lost));
    map.setAttribute("viewBox", `0 0 ${wide} ${height + TOP + BOTTOM}`);
    map.setAttribute("height", height + TOP + BOTTOM);
    const label = (values) => values.map((value) => [value, minus(value)]);
    inner.setAttribute("width", width);
    inner.setAttribute("height", height);
    paint(state, view, size);
    overlay.replaceChildren(
      ...seen.flatMap(({ name, points }) => lines(name, points, { edge: true })), ...ends);
    axes.replaceChildren(...frame(width, height, x, y, label(ticks(...view.x)),
      label(ticks(...view.y)), ["w₁", "w₂"]));
    const [sx, sy] = at(state.start);
    start.style.translate = `${(LEFT + sx - 13).toFixed(1)}px ${(TOP + sy - 13).toFixed(1)}px`;
    start.ariaLabel = `Start at ${near(state.start)}: the arrow keys move it`;

    chart(lossChart, box, 108, "loss", names.map((name) =>
      ({ name, values: ways[name].losses, lost: gone(ways[name], step) })), step);
    const each = lengths(ways[selected], state.measure);
    chart(stepChart, box, 108, "w₁ full, w₂ dotted", [0, 1].map((i) => ({ name: selected,
      values: [null, ...each.map((pair) => pair[i])], dash: i ? "2 3" : null,
      lost: gone(ways[selected], step) })), step);

    time.value = shown.textContent = step;
    playButton.textContent = timer ? "Pause" : "Play";
    stepButton.disabled = step === STEPS;
    clearTimeout(speech);
    speech = setTimeout(() => { if (!timer) words.textContent = reading(state, ways); }, 150);
  }
  const release = model.mount(el, root, TRAITS, show);
  return () => {
    release();
    clearInterval(timer);
    clearTimeout(speech);
  };
}

export default { render };
