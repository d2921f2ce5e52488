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

// ---- Words --------------------------------------------------------------------------------------

/** A number in three digits: 0.0123, 4.5, 2.1·10⁻⁷. */
const brief = (x) => x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1e4)
  ? minus(Number(x.toPrecision(Math.abs(x) < 0.01 ? 2 : 3))) : scientific(x, 1);
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

// ---- Pictures -----------------------------------------------------------------------------------

const LEFT = 38, RIGHT = 14, TOP = 20, BOTTOM = 34;
const scales = ({ left, right, top, bottom }, x, y) =>
  [linear(x, [left, right]), linear(y, [bottom, top])];
const inner = ({ left, right, top, bottom }, ...marks) => h("svg", { x: left, y: top,
  width: right - left, height: bottom - top, viewBox: `${left} ${top} ${right - left} ${bottom - top}`,
  overflow: "hidden" }, ...marks); // clips

/** A chart of curves over the steps, with a logarithmic axis. */
function chart(svg, width, height, title, curves, step) {
  const known = curves.flatMap(({ values }) => values).filter((v) => v > 0);
  const top = Math.log10(Math.max(...known.map((v) => Math.min(v, 1e5)), 1e-9));
  const bottom = Math.max(Math.log10(Math.min(...known, 10 ** top / 10)), top - 12, -12);
  const [low, high] = [Math.floor(bottom), Math.max(Math.ceil(top), Math.floor(bottom) + 1)];
  const box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: TOP + height };
  const x = linear([0, STEPS], [LEFT, box.right]);
  const y = logarithmic([10 ** low, 10 ** high], [box.bottom, TOP]);
  const drawn = curves.flatMap(({ name, values, dash = LOOKS[name][1], lost }) => {
    const points = values.slice(0, step + 1)
      .map((v, k) => v === null ? null : [x(k), y(Math.max(v, 10 ** low / 100))]);
    const end = points.findLast(Boolean);
    return end ? [line(curve(points), LOOKS[name][0], 2, dash),
      marker(name, end[0], within(end[1], TOP + 6, box.bottom - 6), lost)] : [];
  });
  paint(svg, width, box.bottom + BOTTOM, [
    ...axes(box, x, ticks(0, STEPS).map((k) => [k, k]), y,
      powers(low, high, 4).map((value) => [value, powerOfTen(Math.round(Math.log10(value)))])),
    write("step", box.right, box.bottom + 30, "end"), write(title, LEFT, TOP - 7, "start"),
    inner({ ...box, right: box.right + 8 }, ...drawn)]);
}

// ---- Controls -----------------------------------------------------------------------------------

const SETTINGS = {
  lr: { label: "lr", min: 1e-4, max: 10, step: 0.05, log: true },
  momentum: { label: "momentum", max: 0.99, step: 0.01 },
  alpha: { label: "alpha", max: 0.999, step: 0.001 },
  beta1: { label: "beta1", max: 0.99, step: 0.01 },
  beta2: { label: "beta2", max: 0.999, step: 0.001 },
  weight_decay: { label: "weight decay", max: 1, step: 0.01 },
};

function render({ model, el }) {
  const view = hold(model, ["landscape", "condition", "angle", "noise", "seed", "start",
    "optimizers", "step", "selected", "measure"]);
  const defaults = view.get("_defaults"), landscapes = view.get("_landscapes");
  const optimizers = () => view.get("optimizers"), here = () => landscapes[view.get("landscape")];
  const remembered = {}; // settings of those that the reader has taken out

  // The landscape, and what it asks for.
  const isRavine = () => view.get("landscape") === "ravine";
  const controls = h("div", { class: "d2-controls" },
    menu(view, "landscape", { label: "Landscape", options: LANDSCAPES, write(landscape) {
      const { start, noise, lr } = landscapes[landscape];
      view.set({ landscape, start: [...start], noise, optimizers: Object.fromEntries(
        Object.entries(optimizers()).map(([name, own]) => [name, { ...own, lr: lr[name] }])) });
      for (const name in remembered) delete remembered[name].lr;
    } }),
    slider(view, "condition", { label: "Condition number", min: 1, max: 1000, step: 0.05, log: true,
      tell: brief, hidden: () => !isRavine() }),
    slider(view, "angle", { label: "Turned by, °", max: 90, tell: brief, hidden: () => !isRavine() }),
    slider(view, "noise", { label: "Noise of the gradient", max: 5, step: 0.1, tell: brief }),
    control(view, button("Other noise", () => view.set("seed", (view.get("seed") + 1) % 2 ** 31)),
      () => !view.get("noise"), () => {}));

  // Who races: a box to tick for each, and a row of sliders for those that do.
  const settingsOf = (name) => optimizers()[name] ??
    { lr: here().lr[name], ...defaults[name], ...remembered[name] };
  const swatch = (name) => key(LOOKS[name][0], LOOKS[name][1], marker(name, 14, 7));
  const boxes = h("fieldset", {}, h("legend", {}, "Who races"), ...NAMES.map((name) =>
    tick(view, null, { label: [swatch(name), name], read: () => name in optimizers(), write(on) {
      const { [name]: own, ...rest } = optimizers();
      if (on) return view.set({ optimizers: { ...rest, [name]: settingsOf(name) }, selected: name });
      remembered[name] = own;
      view.set("optimizers", rest);
    } })));
  const rows = NAMES.map((name) => control(view,
    h("div", { class: "d2-row", role: "group", "aria-label": name },
      h("span", { class: "d2-name" }, swatch(name), name),
      ...["lr", ...Object.keys(defaults[name])].map((setting) => slider(view, null, {
        ...SETTINGS[setting], spoken: `${name}: ${SETTINGS[setting].label}`, tell: brief,
        ...(name === "Nesterov" && setting === "momentum" ? { min: 0.01 } : {}),
        read: () => settingsOf(name)[setting],
        write: (value) => view.set("optimizers",
          { ...optimizers(), [name]: { ...optimizers()[name], [setting]: value } }),
      }))), () => !(name in optimizers()), () => {}));

  // The landscape seen from above; the start is a button that the arrow keys and a press move.
  const map = h("svg", { role: "img", "aria-label": "Seen from above, darker where it is lower, " +
    "with the path of each optimizer." });
  const start = h("button", { type: "button", class: "d2-start", onkeydown(event) {
    const move = ARROWS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { x, y } = here(), [w1, w2] = view.get("start"), share = event.shiftKey ? 1 / 400 : 1 / 40;
    put([w1 + move[1] * share * (x[1] - x[0]), w2 - move[0] * share * (y[1] - y[0])]);
  } });
  const put = (weights) => view.set("start", weights.map((w, i) =>
    Number(within(w, ...here()["xy"[i]]).toFixed(3))));
  let box = { left: LEFT, right: LEFT + 1, top: TOP, bottom: TOP + 1 };
  pointing(view, map, ({ type, clientX, clientY }) => {
    const { left, top } = map.getBoundingClientRect(), [u, v] = [clientX - left, clientY - top];
    if (type !== "pointermove" && (u < box.left || u > box.right || v < box.top || v > box.bottom))
      return null;
    const { x, y } = here();
    return [linear([box.left, box.right], x)(u), linear([box.bottom, box.top], y)(v)];
  }, put);

  // The charts, and what the second one shows.
  const lossChart = h("svg", { role: "img", "aria-label": "The loss of each optimizer, step by step." });
  const stepChart = h("svg", { role: "img",
    "aria-label": "The steps of the selected optimizer along each weight." });
  const whose = h("select", { "aria-label": "Whose steps",
    onchange: () => view.set("selected", whose.value) });
  const measure = menu(view, "measure", { label: "", spoken: "Measured as", options:
    { step: "step |Δw|", rate: "effective rate |Δw / g|" } });

  // Time.
  let timer = null, speech = null;
  const shown = h("b", { "aria-hidden": true });
  const time = h("input", { type: "range", min: 0, max: STEPS, "aria-label": "Step",
    oninput() { pause(); view.set("step", Number(time.value)); } });
  const pause = () => { clearInterval(timer); timer = null; view.later(); };
  function play() {
    if (timer) return pause();
    if (prefersStillness()) return view.set("step", STEPS);
    if (view.get("step") === STEPS) view.set("step", 0);
    timer = setInterval(() => {
      view.set("step", view.get("step") + 1);
      if (view.get("step") >= STEPS) pause();
    }, 50);
    view.later();
  }
  const playButton = button("Play", play);
  const stepButton = button("Step", () => {
    pause();
    view.set("step", Math.min(view.get("step") + 1, STEPS));
  });
  const reset = button("Reset", () => { pause(); view.set("step", 0); });

  const words = readout();
  const root = figure(view, "d2-optimizer", controls, boxes, h("div", {}, ...rows),
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

  const ground = h("g");
  let painted = "";
  /** The landscape itself: areas below nine levels, one on another, so that low places are dark. */
  function paintGround(state, { x, y }) {
    const { landscape, condition, angle } = state, { left, right, top, bottom } = box;
    const key = JSON.stringify([landscape, condition, angle, right, bottom]);
    if (key === painted) return;
    painted = key;
    const n = 40, [across, down] = [linear([0, n], x), linear([n, 0], y)];
    const values = matrix(n + 1, n + 1, (i, j) => lossAt(state, [across(j), down(i)]));
    const sorted = values.flat().sort((a, b) => a - b);
    const [low, high] = [Math.max(sorted[Math.floor(sorted.length / 50)], 1e-3), sorted.at(-1)];
    const [toX, toY] = scales({ left, right, top: bottom, bottom: top }, [0, n], [0, n]);
    const path = (pieces, close, name) => h("path", { class: name,
      d: pieces.map((piece) => curve(piece.map(([j, i]) => [toX(j), toY(i)])) + close).join("") });
    const levels = Array.from({ length: 9 }, (_, k) =>
      contour(values, high * (low / high) ** ((k + 1) / 9)));
    ground.replaceChildren(...levels.map(({ area }) => path(area, "z", "d2-area")),
      path(levels.flatMap(({ line }) => line), "", "d2-line"));
  }

  function show() {
    const state = view.state(), { step } = state, names = racing(state.optimizers);
    const [wide, beside] = [map, lossChart].map((svg) => // asked before anything changes, for speed
      svg.parentElement.getBoundingClientRect().width || 340);
    for (const input of boxes.querySelectorAll("input"))
      input.disabled = names.length === 1 && input.checked; // one stays
    const selected = names.includes(state.selected) ? state.selected : names[0];
    if ([...whose.options].map(({ value }) => value).join() !== names.join())
      whose.replaceChildren(...names.map((name) => h("option", {}, name)));
    whose.value = selected;

    const ways = raceAll(state), ends = here(), across = wide - LEFT - 8;
    const ratio = (ends.y[1] - ends.y[0]) / (ends.x[1] - ends.x[0]);
    box = { left: LEFT, right: LEFT + across, top: TOP,
      bottom: TOP + Math.round(across * Math.min(ratio, 0.95)) };
    const { left, right, top, bottom } = box, [x, y] = scales(box, ends.x, ends.y);
    const at = ([w1, w2]) => [x(w1), y(w2)];
    const inside = ([a, b]) => a >= left && a <= right && b >= top && b <= bottom;
    const seen = names.map((name) => {
      const points = ways[name].places.slice(0, step + 1).map(at);
      const last = points.findLastIndex(inside), lost = gone(ways[name], step);
      return { name, lost, points: lost ? points.slice(0, last + 2) : points,
        end: lost ? points[Math.max(last, 0)] : points.at(-1) };
    });
    const told = (ticks) => ticks.map((value) => [value, minus(value)]);
    paintGround(state, ends);
    paint(map, wide, bottom + BOTTOM, [
      inner(box, ground,
        ...seen.flatMap(({ name, points }) => [line(curve(points), tone("paper"), 4), // a light edge
          line(curve(points), LOOKS[name][0], 2, LOOKS[name][1])]),
        ...seen.map(({ name, lost, end: [a, b] }) => marker(name,
          within(a, left + 6, right - 6), within(b, top + 6, bottom - 6), lost))),
      h("rect", { x: left + 0.5, y: top + 0.5, width: right - left, height: bottom - top, fill: "none",
        stroke: tone("line") }),
      ...axes(box, x, told(ticks(...ends.x)), y, told(ticks(...ends.y)), false),
      write("w₁", right, bottom + 30, "end"), write("w₂", left, top - 7, "start")]);
    const [sx, sy] = at(state.start);
    start.style.translate = `${(sx - 13).toFixed(1)}px ${(sy - 13).toFixed(1)}px`;
    start.ariaLabel = `Start at ${near(state.start)}: the arrow keys move it`;

    chart(lossChart, beside, 108, "loss", names.map((name) =>
      ({ name, values: ways[name].losses, lost: gone(ways[name], step) })), step);
    const each = lengths(ways[selected], state.measure);
    chart(stepChart, beside, 108, "w₁ full, w₂ dotted", [0, 1].map((i) => ({ name: selected,
      values: [null, ...each.map((pair) => pair[i])], dash: i ? "2 3" : null,
      lost: gone(ways[selected], step) })), step);

    time.value = shown.textContent = step;
    playButton.textContent = timer ? "Pause" : "Play";
    stepButton.disabled = step === STEPS;
    clearTimeout(speech);
    speech = setTimeout(() => { if (!timer) say(words, reading(state, ways)); }, 150);
  }
  return view.mount(el, root, show, () => { clearInterval(timer); clearTimeout(speech); });
}

export default { render };
