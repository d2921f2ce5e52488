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
  let total = 0;
  return rates.map((rate, step) => (total += rate) / (step + 1) / lr);
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

/** Is there such a step? As Python checks; a page asks it of a link. */
export const fits = ({ step, total_steps }) => step < total_steps;

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
const LEFT = 46, RIGHT = 8, TOP = 22, BOTTOM = 172, BELOW = 22;

/** Draw lines over the steps into `svg`. A line: { name, values, faint }. */
function draw(svg, { title, lines, low, high, logarithm, total, step, marks, width }) {
  const box = { left: LEFT, right: width - RIGHT, bottom: BOTTOM };
  const x = linear([0, total], [LEFT, box.right]);
  const scale = (logarithm ? logarithmic : linear)([low, high], [BOTTOM, TOP]);
  const y = (value) => within(scale(Math.max(value, 1e-30)), TOP - 3, BOTTOM + 3); // no log of 0
  const every = Math.ceil(total / (box.right - LEFT)); // no more points than pixels
  const levels = logarithm ? powers(Math.log10(low), Math.log10(high)) : ticks(low, high);
  paint(svg, width, BOTTOM + BELOW, [
    write(title, 0, 12, "start"),
    ...axes(box, x, ticks(0, total).map((at) => [at, at]), y,
      levels.map((value) => [value, tell(Number(value.toPrecision(6)))])),
    line(`M${x(step).toFixed(1)} ${TOP - 4}V${BOTTOM}`, tone("ink"), 1, "2 2"),
    ...lines.map(({ name, values, faint }) => {
      const points = values.map((value, at) => [x(at), y(value)])
        .filter((_, at) => at % every === 0 || at === values.length - 1);
      const drawn = line(curve(points), tone(TONES[name][0]), faint ? 1 : 2.5,
        faint ? null : TONES[name][1]);
      if (faint) drawn.setAttribute("opacity", 0.55);
      return drawn;
    }),
    ...marks.filter(({ value }) => Number.isFinite(value)).map(({ name, value }) =>
      h("circle", { cx: x(step), cy: y(value), r: 4.5, fill: tone(TONES[name][0]) }))]);
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["schedules", "total_steps", "lr", "warmup", "start_factor", "step_size",
    "gamma", "end_factor", "noise", "seed", "step", "log_scale"]);
  const drawn = (name) => view.get("schedules").includes(name);
  const boxes = Object.entries(NAMES).map(([name, text]) => tick(view, null, {
    label: [key(tone(TONES[name][0]), TONES[name][1]), text], read: () => drawn(name), write(on) {
      const chosen = Object.keys(NAMES).filter((each) => each === name ? on : drawn(each));
      if (chosen.length) view.set("schedules", chosen);
      else view.later(); // one stays
    } }));
  const share = { max: 1, step: 0.01, tell };
  const sliders = [
    slider(view, "total_steps", { label: "Steps in all", min: 10, max: 1000, step: 10 }),
    slider(view, "lr", { label: "Learning rate", min: 1e-3, max: 10, step: 0.05, log: true, tell }),
    slider(view, "warmup", { label: "Warm-up", max: 0.5, step: 0.01, tell: percent }),
    slider(view, "start_factor", { ...share, label: "… from a factor of",
      tell: (x) => tell(Number(x.toFixed(2))), hidden: () => !rise(view.state()) }),
    slider(view, "step_size", { label: "Decay every", min: 1, max: () => view.get("total_steps"),
      hidden: () => !drawn("step_decay") }),
    slider(view, "gamma", { ...share, label: "… by a factor of", min: 0.01,
      hidden: () => !drawn("step_decay") }),
    slider(view, "end_factor", { ...share, label: "Cosine ends at", hidden: () => !drawn("cosine") }),
  ];
  const cursor = h("input", { type: "range", min: 0, "aria-label": "Step",
    oninput: () => view.set("step", Number(cursor.value)) });

  const picture = (label) => {
    const svg = h("svg", { role: "img", "aria-label": label,
      onclick: () => cursor.focus({ preventScroll: true }) });
    const over = pointing(view, svg, ({ clientX }) => {
      const { left, width } = svg.getBoundingClientRect(), total = view.get("total_steps");
      const at = linear([left + LEFT, left + width - RIGHT], [0, total])(clientX);
      return within(Math.round(at), 0, total - 1);
    }, (step) => view.set("step", step));
    return [svg, over];
  };
  const [above, overAbove] = picture("The learning rate against the step, a line for each schedule.");
  const [below, overBelow] = picture("The loss of a noisy descent against the step, logarithmic, a " +
    "line for each schedule, and its mean over all noise.");
  const body = h("tbody"), words = readout();
  const heads = ["", "learning rate", "distance so far", "distance in all", "loss"];
  const table = h("table", { class: "d2-facts", "aria-label": "At the cursor" }, h("thead", {}, h("tr", {},
    ...heads.map((text) => text ? h("th", { scope: "col" }, text) : h("td")))), body);
  const note = h("p", { class: "d2-note" }, "Distance: the sum of the learning rates, as a share " +
    "of what the constant schedule covers. The bowl has ten directions with curvatures from 1 to " +
    "0.05, so that a learning rate that stays above 2 diverges.");
  const root = figure(view, "d2-schedule",
    h("div", { class: "d2-controls d2-ticks", role: "group", "aria-label": "Schedules" }, ...boxes),
    h("div", { class: "d2-sliders" }, ...sliders), above, below, cursor,
    h("div", { class: "d2-controls d2-below" }, slider(view, "noise", { ...share, label: "Noise σ" }),
      button("Other noise", () => view.set("seed", (view.get("seed") + 1) % 10000)),
      tick(view, "log_scale", { label: "logarithmic learning rate" })),
    words, table, note);

  let kept = [], keptSeed = null;
  /** The noise of the present seed, made once. */
  function noise(count, seed) {
    if (seed !== keptSeed || kept.length < count) [kept, keptSeed] = [normals(seed, 0, count), seed];
    return kept;
  }

  function show() {
    const state = view.state(), { total_steps: total, lr } = state;
    if (state.step >= total) view.set("step", total - 1);
    const step = Math.min(overAbove() ?? overBelow() ?? state.step, total - 1);
    Object.assign(cursor, { max: total - 1, value: step });

    const random = noise(total * CURVATURES.length, state.seed);
    const all = state.schedules.map((name) => facts(state, name, random));
    const width = widthOf(above);
    const mark = (values) => all.map((each) => ({ name: each.name, value: each[values][step] }));
    draw(above, { title: "learning rate", logarithm: state.log_scale, width, total, step,
      low: state.log_scale ? lr / 1000 : 0, high: lr * 1.05, marks: mark("rates"),
      lines: all.map(({ name, rates }) => ({ name, values: rates })) });
    const losses = all.flatMap(({ run, mean }) => [...run, ...mean]);
    const lowest = losses.reduce((a, b) => Math.min(a, b));
    const highest = losses.reduce((a, b) => Math.max(a, b));
    draw(below, { title: "loss on a noisy bowl (thin: one run; thick: mean)",
      logarithm: true, width, total, step, marks: mark("run"),
      low: within(lowest, 1e-8, 0.1), high: within(highest, 2, DIVERGED),
      lines: all.flatMap(({ name, run, mean }) =>
        [{ name, values: run, faint: true }, { name, values: mean }]) });
    say(words, reading({ ...state, step }, all));
    body.replaceChildren(...all.map(({ name, rates, far, run }) => {
      const told = [tell(rates[step]), percent(far[step]), percent(far.at(-1)),
        step < run.length ? tell(run[step]) : "∞"];
      return h("tr", {}, h("th", { scope: "row", style: `color: ${tone(TONES[name][0])}` },
        NAMES[name]), ...told.map((text) => h("td", {}, text)));
    }));
  }
  return view.mount(el, root, show);
}

export default { render, fits };
