// The learning rate as a function of the step, and a noisy descent that follows it. Steps count
// from 0. `settings` are the explorer's traits, in Python's spelling.

// ---- Arithmetic: no DOM, checked against d2lite.schedules and PyTorch ---------------------------

const cosineFrom = (start, end, way) => end + (start - end) * (1 + Math.cos(Math.PI * way)) / 2;

/** How many steps the warm-up takes. */
const rise = ({ warmup, total_steps }) => Math.floor(warmup * total_steps + 0.5);

/** Each schedule over `total` steps: what the learning rate is multiplied by at `step`. */
const SCHEDULES = {
  constant: () => 1,
  step_decay: (step, total, { step_size, gamma }) => gamma ** Math.floor(step / step_size),
  cosine: (step, total, { end_factor }) => cosineFrom(1, end_factor, Math.min(step / total, 1)),
  one_cycle(step, total) {
    const peak = 0.3 * total - 1, last = total - 1, at = Math.min(step, last);
    return at <= peak ? cosineFrom(1 / 25, 1, at / peak)
      : cosineFrom(1, 1 / 25e4, (at - peak) / (last - peak));
  },
  triangular(step, total) {
    const peak = Math.max(1, Math.round(0.2 * total));
    return Math.max(0, Math.min((step + 1) / peak, (total - step) / (total - peak + 1)));
  },
};

/** The learning rate of every step: a warm-up in a line, then the schedule called `name`. */
export function ratesOf(settings, name) {
  const { total_steps, lr, start_factor } = settings, up = rise(settings);
  const factor = (step) => SCHEDULES[name](step, total_steps - up, settings), first = factor(0);
  return Array.from({ length: total_steps }, (_, step) => lr * (step < up
    ? first * (start_factor + (1 - start_factor) * step / up) : factor(step - up)));
}

/** The sums of the first 1, 2, … rates, each as a share of that of `lr` at every step. */
export function distances(rates, lr) {
  let sum = 0;
  return rates.map((rate, step) => (sum += rate) / (step + 1) / lr);
}

const DIVERGED = 100; // a loss

/** The curvatures of the bowl's ten directions: from 1 to 0.05. */
const CURVATURES = Array.from({ length: 10 }, (_, i) => 0.05 ** (i / 9));

/**
 * The losses ½ Σ λw² of gradient descent from w = 1, before the first step and after each, with
 * σ times `noise` (steps × directions) added to the gradient. It ends where it has diverged.
 */
export function descend(rates, sigma, noise) {
  const w = CURVATURES.map(() => 1), losses = [];
  for (let step = 0; step <= rates.length; step++) {
    let loss = 0;
    for (let i = 0; i < w.length; i++) {
      loss += CURVATURES[i] * w[i] * w[i] / 2;
      w[i] -= rates[step] * (CURVATURES[i] * w[i] + sigma * noise[step * w.length + i]);
    }
    losses.push(loss);
    if (!(loss < DIVERGED)) break;
  }
  return losses;
}

/** The mean of such losses over all noise: by the recursion for the mean of each w². */
export function expected(rates, sigma) {
  const squares = CURVATURES.map(() => 1), losses = [];
  for (let step = 0; step <= rates.length; step++) {
    const added = (rates[step] * sigma) ** 2;
    let loss = 0;
    for (let i = 0; i < squares.length; i++) {
      const kept = 1 - rates[step] * CURVATURES[i];
      loss += CURVATURES[i] * squares[i] / 2;
      squares[i] = kept * kept * squares[i] + added;
    }
    losses.push(loss);
    if (!(loss < DIVERGED)) break;
  }
  return losses;
}

// ---- Words --------------------------------------------------------------------------------------

const NAMES = { constant: "constant", step_decay: "step decay", cosine: "cosine",
  one_cycle: "one-cycle", triangular: "triangular" };
const DIGITS = 3;

/** A number to read: three digits, no exponent unless it is tiny. */
const tell = (x) => x === 0 ? "0" : x < 1e-4 ? x.toExponential(0).replace("-", "−")
  : String(Number(x.toPrecision(DIGITS)));
const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/** What there is to know at a step of one schedule. */
function facts(settings, name, noise) {
  const rates = ratesOf(settings, name);
  return { name, rates, far: distances(rates, settings.lr),
    run: descend(rates, settings.noise, noise), mean: expected(rates, settings.noise) };
}

/** The state at the cursor, in words. */
function reading({ step, total_steps }, all) {
  const most = (value) => all.reduce((a, b) => value(a) >= value(b) ? a : b);
  const least = (value) => most((each) => -value(each)), end = ({ mean }) => mean.at(-1);
  const rates = all.map(({ name, rates }) => `${NAMES[name]} ${tell(rates[step])}`).join(", ");
  const gone = all.filter(({ run }) => run.length <= total_steps);
  const best = least((each) => each.mean.length > total_steps ? end(each) : Infinity);
  return `Step ${step} of 0 to ${total_steps - 1}, learning rate: ${rates}. ` +
    (gone.length ? `Diverged: ${gone.map(({ name, run }) =>
      `${NAMES[name]} in step ${run.length - 2}`).join(", ")}. ` : "") +
    (gone.length < all.length && all.length > 1
      ? `Lowest mean loss at the end: ${NAMES[best.name]}, ${tell(end(best))}.` : "");
}

// ---- Pictures -----------------------------------------------------------------------------------

const TONES = { constant: ["muted", null], step_decay: ["kernel", "7 3"], cosine: ["input", null],
  one_cycle: ["output", "9 3 2 3"], triangular: ["gradient", "3 3"] };
const LEFT = 46, RIGHT = 8, TOP = 22, TALL = 150, BELOW = 22;
const tone = (name) => `var(--d2-${name})`, tenth = (x) => Math.round(10 * x) / 10;

/** Round numbers for the ticks of an axis from `low` to `high`. */
function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    const apart = Math.ceil((last - first + 1) / 5);
    return Array.from({ length: Math.max(0, Math.floor((last - first) / apart) + 1) },
      (_, i) => 10 ** (last - i * apart));
  }
  const raw = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(raw));
  const apart = [1, 2, 5, 10].map((m) => m * unit).find((each) => each >= raw * 0.999);
  return Array.from({ length: Math.floor((high - low) / apart + 1e-9) + 1 }, (_, i) => low + i * apart);
}

/** Draw lines over the steps into `svg`. A line: { name, values, faint }. */
function draw(svg, { title, lines, low, high, logarithmic, total, step, marks, width }) {
  const right = width - RIGHT, bottom = TOP + TALL, scale = logarithmic ? Math.log10 : (v) => v;
  const x = (at) => LEFT + (right - LEFT) * at / total;
  const floor = scale(low), reach = scale(high) - floor;
  const y = (value) => bottom - TALL * Math.min(Math.max( // 1e-30: no logarithm of 0
    (scale(Math.max(value, 1e-30)) - floor) / reach, -0.02), 1.02);
  const text = (content, x, y, anchor) =>
    h("text", { x, y, fill: tone("muted"), "text-anchor": anchor }, content);
  const line = (d, name, attributes) =>
    h("path", { d, fill: "none", stroke: tone(name), ...attributes });
  const elements = [text(title, 0, 12, "start")];
  for (const value of ticks(low, high, logarithmic)) elements.push(
    line(`M${LEFT} ${tenth(y(value))}H${right}`, "line", { "stroke-width": 1 }),
    text(tell(Number(value.toPrecision(6))), LEFT - 6, y(value) + 4, "end"));
  const along = ticks(0, total, false);
  for (const at of along)
    elements.push(text(at, x(at), bottom + 16, x(at) > right - 20 ? "end" : "middle"));
  const here = `M${tenth(x(step))} ${TOP - 4}V${bottom}`;
  elements.push(line(here, "ink", { "stroke-dasharray": "2 2" }));
  const every = Math.ceil(total / (right - LEFT)); // no more points than pixels
  for (const { name, values, faint } of lines) {
    const last = values.length - 1;
    let d = "";
    for (let at = 0; at <= last; at++) if (at % every === 0 || at === last)
      d += `${at ? "L" : "M"}${tenth(x(at))} ${tenth(y(values[at]))}`;
    elements.push(line(d, TONES[name][0], faint ? { "stroke-width": 1, opacity: 0.55 }
      : { "stroke-width": 2.5, "stroke-dasharray": TONES[name][1], "stroke-linejoin": "round" }));
  }
  for (const { name, value } of marks) if (Number.isFinite(value)) elements.push(h("circle",
    { cx: x(step), cy: y(value), r: 4.5, fill: tone(TONES[name][0]) }));
  svg.setAttribute("viewBox", `0 0 ${width} ${bottom + BELOW}`);
  svg.setAttribute("height", bottom + BELOW);
  svg.replaceChildren(...elements);
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model: shared, el }) {
  const model = hold(shared);
  const traits = ["schedules", "total_steps", "lr", "warmup", "start_factor", "step_size", "gamma",
    "end_factor", "noise", "seed", "step", "log_scale"];
  const current = () => Object.fromEntries(traits.map((name) => [name, model.get(name)]));

  const boxes = Object.entries(NAMES).map(([name, text]) => {
    const [colour, dashes] = TONES[name];
    const box = h("input", { type: "checkbox", onchange() {
      const chosen = Object.keys(NAMES).filter((each, i) => boxes[i].box.checked);
      if (chosen.length) set(model, "schedules", chosen);
      else box.checked = true; // one stays
    } });
    const key = h("svg", { viewBox: "0 0 26 10", width: 26, height: 10, "aria-hidden": true },
      h("path", { d: "M1 5H25", stroke: tone(colour), "stroke-width": 3, "stroke-dasharray": dashes }));
    return { name, box, element: h("label", { class: "d2-tick" }, box, key, text) };
  });
  const logarithmic = h("input", { type: "checkbox",
    onchange: () => set(model, "log_scale", logarithmic.checked) });

  /** A slider from `min` to `max` whose value is told by `write`; `log` makes it logarithmic. */
  function range(name, label, { min, max, step = 1, log = false, write = tell }) {
    const shown = h("b", { "aria-hidden": true });
    const to = log ? Math.log10 : (x) => x;
    const from = log ? (x) => Number((10 ** x).toPrecision(2)) : (x) => x;
    const input = h("input", { type: "range", min: to(min), max: to(max), step,
      oninput: () => set(model, name, from(Number(input.value))) });
    const show = (value) => {
      if (from(Number(input.value)) !== value) input.value = to(value);
      shown.textContent = write(value);
      input.setAttribute("aria-valuetext", write(value));
    };
    const words = h("span", {}, `${label} `, shown);
    return { name, show, input, element: h("label", { class: "d2-field" }, words, input) };
  }
  const sliders = [
    range("total_steps", "Steps in all", { min: 10, max: 1000, step: 10 }),
    range("lr", "Learning rate", { min: 1e-3, max: 10, step: 0.05, log: true }),
    range("warmup", "Warm-up", { min: 0, max: 0.5, step: 0.01, write: percent }),
    range("start_factor", "… from a factor of", { min: 0, max: 1, step: 0.01,
      write: (x) => tell(Number(x.toFixed(2))) }),
    range("step_size", "Decay every", { min: 1, max: 300 }),
    range("gamma", "… by a factor of", { min: 0.01, max: 1, step: 0.01 }),
    range("end_factor", "Cosine ends at", { min: 0, max: 1, step: 0.01 }),
    range("noise", "Noise σ", { min: 0, max: 1, step: 0.01 }),
  ];
  const named = Object.fromEntries(sliders.map((each) => [each.name, each]));
  const again = button("Other noise", () => set(model, "seed", (model.get("seed") + 1) % 10000));
  const cursor = h("input", { type: "range", min: 0, "aria-label": "Step",
    oninput: () => set(model, "step", Number(cursor.value)) });

  // A pointer over a picture moves the cursor as long as it is there; a press, for good.
  let hovered = null;
  const { later } = model;
  function point({ clientX, type, buttons, currentTarget }) {
    const { left, width } = currentTarget.getBoundingClientRect(), total = model.get("total_steps");
    const at = Math.round((clientX - left - LEFT) / (width - LEFT - RIGHT) * total);
    hovered = Math.min(Math.max(at, 0), total - 1);
    if (buttons) set(model, "step", hovered);
    if (type === "pointerleave") hovered = null;
    later();
  }
  const picture = (label) => h("svg", { role: "img", "aria-label": label, onpointermove: point,
    onpointerdown: point, onpointerleave: point, onclick: () => cursor.focus({ preventScroll: true }) });
  const above = picture("The learning rate against the step, a line for each schedule.");
  const below = picture("The loss of a noisy descent against the step, logarithmic, a line for " +
    "each schedule, and its mean over all noise.");
  const body = h("tbody"), words = readout();
  const heads = ["", "learning rate", "distance so far", "distance in all", "loss"];
  const table = h("table", { class: "d2-facts", "aria-label": "At the cursor" }, h("thead", {}, h("tr", {},
    ...heads.map((text) => text ? h("th", { scope: "col" }, text) : h("td")))), body);
  const note = h("p", { class: "d2-note" }, "Distance: the sum of the learning rates, as a share " +
    "of what the constant schedule covers. The bowl has ten directions with curvatures from 1 to " +
    "0.05, so that a learning rate that stays above 2 diverges.");
  const root = figure(model, "d2-schedule",
    h("div", { class: "d2-controls d2-ticks", role: "group", "aria-label": "Schedules" },
      ...boxes.map(({ element }) => element)),
    h("div", { class: "d2-sliders" }, ...sliders.slice(0, 7).map(({ element }) => element)),
    above, below, cursor,
    h("div", { class: "d2-controls d2-below" }, named.noise.element, again,
      h("label", { class: "d2-tick" }, logarithmic, "logarithmic learning rate")),
    words, table, note);

  let kept = [], keptSeed = null;
  /** The noise of the present seed, made once. */
  function noise(count, seed) {
    if (seed !== keptSeed || kept.length < count) [kept, keptSeed] = [normals(seed, 0, count), seed];
    return kept;
  }

  function show() {
    const state = current(), { total_steps: total, lr } = state;
    if (state.step >= total) set(model, "step", total - 1);
    for (const { name, box } of boxes) box.checked = state.schedules.includes(name);
    logarithmic.checked = state.log_scale;
    named.step_size.input.max = Math.max(total, state.step_size);
    for (const each of sliders) each.show(state[each.name]);
    named.start_factor.element.hidden = !rise(state);
    const drawn = (name) => state.schedules.includes(name);
    named.step_size.element.hidden = named.gamma.element.hidden = !drawn("step_decay");
    named.end_factor.element.hidden = !drawn("cosine");
    const step = Math.min(hovered ?? state.step, total - 1);
    Object.assign(cursor, { max: total - 1, value: step });

    const random = noise(total * CURVATURES.length, state.seed);
    const all = state.schedules.map((name) => facts(state, name, random));
    const width = Math.max(above.getBoundingClientRect().width, 240);
    const mark = (values) => all.map((each) => ({ name: each.name, value: each[values][step] }));
    draw(above, { title: "learning rate", logarithmic: state.log_scale, width, total, step,
      low: state.log_scale ? lr / 1000 : 0, high: lr * 1.05, marks: mark("rates"),
      lines: all.map(({ name, rates }) => ({ name, values: rates })) });
    const losses = all.flatMap(({ run, mean }) => [...run, ...mean]);
    const lowest = losses.reduce((a, b) => Math.min(a, b));
    const highest = losses.reduce((a, b) => Math.max(a, b));
    draw(below, { title: "loss on a noisy bowl (thin: one run; thick: mean)",
      logarithmic: true, width, total, step, marks: mark("run"),
      low: Math.min(Math.max(lowest, 1e-8), 0.1), high: Math.min(Math.max(highest, 2), DIVERGED),
      lines: all.flatMap(({ name, run, mean }) =>
        [{ name, values: run, faint: true }, { name, values: mean }]) });
    words.textContent = reading({ ...state, step }, all);
    body.replaceChildren(...all.map(({ name, rates, far, run }) => {
      const told = [tell(rates[step]), percent(far[step]), percent(far.at(-1)),
        step < run.length ? tell(run[step]) : "∞"];
      return h("tr", {}, h("th", { scope: "row", style: `color: ${tone(TONES[name][0])}` },
        NAMES[name]), ...told.map((text) => h("td", {}, text)));
    }));
  }
  return model.mount(el, root, traits, show);
}

export default { render };
