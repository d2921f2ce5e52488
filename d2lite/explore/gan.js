// A GAN in the plane that trains here: a generator learns eight Gaussians on a ring.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const MODES = 8, RADIUS = 2, DEVIATION = 0.05, BATCH = 64, HIDDEN = 32;
const CENTERS = Array.from({ length: MODES }, (_, i) =>
  [Math.cos, Math.sin].map((f) => RADIUS * f(2 * Math.PI * i / MODES)));
const LEAK = 0.2; // of the discriminator's ReLUs; the generator's have none
const BETAS = [0.5, 0.999], EPS = 1e-8; // Adam's

/** Dense layers with (leaky) ReLUs between them. All numbers stand in one list: layer by layer the
 *  weights (inputs × outputs), then the biases; drawn as PyTorch does, evenly up to 1/√inputs. */
function networkOf(sizes, leak, seed) {
  const layers = [];
  let count = 0;
  for (let k = 1; k < sizes.length; k++) {
    const [inputs, outputs] = [sizes[k - 1], sizes[k]];
    layers.push({ inputs, outputs, weight: count, bias: count + inputs * outputs });
    count += (inputs + 1) * outputs;
  }
  const pairs = normals(seed, 0, 2 * count), zeros = () => new Float64Array(count), values = zeros();
  for (const { inputs, outputs, weight, bias } of layers)
    for (let i = weight; i < bias + outputs; i++) { // an even number: Box and Muller, backwards
      const even = Math.exp(-(pairs[2 * i] ** 2 + pairs[2 * i + 1] ** 2) / 2);
      values[i] = (2 * even - 1) / Math.sqrt(inputs);
    }
  return { layers, leak, values, slopes: zeros(), first: zeros(), second: zeros(), steps: 0 };
}

/** What each layer gives for `rows` rows of numbers, the input first. */
function forward({ layers, leak, values }, input, rows) {
  const given = [input];
  layers.forEach(({ inputs, outputs, weight, bias }, k) => {
    const x = given[k], y = new Float64Array(rows * outputs);
    for (let row = 0, to = 0; row < rows; row++, to += outputs) {
      for (let unit = 0; unit < outputs; unit++) y[to + unit] = values[bias + unit];
      for (let i = 0, w = weight; i < inputs; i++, w += outputs) {
        const factor = x[row * inputs + i];
        if (factor) for (let unit = 0; unit < outputs; unit++) y[to + unit] += factor * values[w + unit];
      }
    }
    if (k + 1 < layers.length) for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] *= leak;
    given.push(y);
  });
  return given;
}

/** From the slopes of a loss in what the last layer gave, those in the weights, which the network
 *  keeps, and those in its input, which are returned. */
function backward({ layers, leak, values, slopes }, given, output, rows) {
  slopes.fill(0);
  let after = output;
  for (let k = layers.length - 1; k >= 0; k--) {
    const { inputs, outputs, weight, bias } = layers[k], x = given[k];
    const before = new Float64Array(rows * inputs);
    for (let row = 0, to = 0, at = 0; row < rows; row++, to += outputs) {
      for (let unit = 0; unit < outputs; unit++) slopes[bias + unit] += after[to + unit];
      for (let i = 0, w = weight; i < inputs; i++, w += outputs, at++) {
        const factor = x[at];
        let sum = 0;
        for (let unit = 0; unit < outputs; unit++) {
          slopes[w + unit] += after[to + unit] * factor;
          sum += after[to + unit] * values[w + unit];
        }
        before[at] = k && !(factor > 0) ? leak * sum : sum;
      }
    }
    after = before;
  }
  return after;
}

/** One step of Adam, by torch.optim's definition. */
function adam(net, lr) {
  const { values, slopes, first, second } = net, t = net.steps += 1;
  const rate = lr / (1 - BETAS[0] ** t), correction = Math.sqrt(1 - BETAS[1] ** t);
  for (let i = 0; i < values.length; i++) {
    first[i] += (1 - BETAS[0]) * (slopes[i] - first[i]);
    second[i] = BETAS[1] * second[i] + (1 - BETAS[1]) * slopes[i] ** 2;
    values[i] -= rate * first[i] / (Math.sqrt(second[i]) / correction + EPS);
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const below = (x) => [Math.max(1 - x, 0), x < 1 ? -1 : 0];
const crossEntropy = { real: (s) => [softplus(-s), -sigmoid(-s)], made: (s) => [softplus(s), sigmoid(s)] };
const negated = (f) => (s) => f(s).map((x) => -x);
/** Of a score, the loss and its slope: the discriminator's for real and made points, and the
 *  generator's. */
const LOSSES = {
  "non-saturating": { ...crossEntropy, generator: crossEntropy.real },
  saturating: { ...crossEntropy, generator: negated(crossEntropy.made) },
  hinge: { real: below, made: (s) => below(-s).map((x, k) => k ? -x : x), generator: (s) => [-s, -1] },
};

/** Real points: each of one of the modes. `start` counts the points that were drawn before. */
function realPoints(seed, start, count) {
  const points = normals(seed, 2 * start, 2 * count);
  for (let n = 0; n < count; n++) {
    const center = CENTERS[mix(Math.imul(start + n + 1, 0x9e3779b9) + mix(seed + 1)) % MODES];
    for (let k = 0; k < 2; k++) points[2 * n + k] = center[k] + DEVIATION * points[2 * n + k];
  }
  return points;
}

/** How many modes the points cover, and how many of the points are near one: at most three deviations
 *  away. A mode is covered if a quarter of its fair share of the points is there. */
export function coverage(points) {
  const count = points.length / 2, near = CENTERS.map(() => 0);
  for (let n = 0; n < count; n++)
    CENTERS.forEach(([a, b], i) => {
      if (Math.hypot(points[2 * n] - a, points[2 * n + 1] - b) <= 3 * DEVIATION) near[i] += 1;
    });
  return { modes: near.filter((each) => each >= count / MODES / 4).length, near, share: sum(near) / count };
}

const SHOWN = 400, EVERY = 20; // points that are shown; steps between notes

/** A generator and a discriminator of a seed, and what takes them further. */
function duel({ loss, lr_generator, lr_discriminator, discriminator_steps, seed }) {
  const generator = networkOf([2, HIDDEN, HIDDEN, 2], 0, 4 * seed);
  const discriminator = networkOf([2, HIDDEN, HIDDEN, 1], LEAK, 4 * seed + 1);
  const { real, made, generator: wanted } = LOSSES[loss];
  const noise = normals(4 * seed + 3, 0, 2 * SHOWN), target = realPoints(4 * seed + 2, 1e6, SHOWN);
  const noted = { step: [], discriminator: [], generator: [], modes: [], share: [] };
  let steps = 0, drawn = 0, losses = [0, 0];

  /** The mean loss of scores, and its slopes. */
  const judge = (scores, from, count, rule, slopes) => {
    let total = 0;
    for (let n = from; n < from + count; n++) {
      const [value, slope] = rule(scores[n]);
      total += value / count;
      slopes[n] = slope / count;
    }
    return total;
  };
  const fresh = () => normals(4 * seed + 3, 2 * (SHOWN + BATCH * drawn++), 2 * BATCH);

  function improveDiscriminator() {
    const both = new Float64Array(4 * BATCH), slopes = new Float64Array(2 * BATCH);
    both.set(realPoints(4 * seed + 2, BATCH * drawn, BATCH));
    both.set(forward(generator, fresh(), BATCH).at(-1), 2 * BATCH);
    const given = forward(discriminator, both, 2 * BATCH), scores = given.at(-1);
    const value = judge(scores, 0, BATCH, real, slopes) + judge(scores, BATCH, BATCH, made, slopes);
    backward(discriminator, given, slopes, 2 * BATCH);
    adam(discriminator, lr_discriminator);
    return value;
  }
  function improveGenerator() {
    const points = forward(generator, fresh(), BATCH), slopes = new Float64Array(BATCH);
    const given = forward(discriminator, points.at(-1), BATCH);
    const value = judge(given.at(-1), 0, BATCH, wanted, slopes);
    backward(generator, points, backward(discriminator, given, slopes, BATCH), BATCH);
    adam(generator, lr_generator);
    return value;
  }
  const points = () => forward(generator, noise, SHOWN).at(-1);
  function note() {
    const { modes, share } = coverage(points());
    noted.step.push(steps);
    noted.modes.push(modes);
    noted.share.push(Number(share.toFixed(4)));
  }
  return {
    generator, discriminator, noted, target, points, steps: () => steps,
    scores: (places) => forward(discriminator, places, places.length / 2).at(-1),
    /** The discriminator's steps, then one of the generator. */
    step() {
      if (!steps) note();
      let mean = 0;
      for (let n = 0; n < discriminator_steps; n++) mean += improveDiscriminator() / discriminator_steps;
      const found = [mean, improveGenerator()];
      losses = losses.map((value, k) => value + found[k] / EVERY);
      steps += 1;
      if (steps % EVERY) return;
      ["discriminator", "generator"].forEach((name, k) => noted[name].push(Number(losses[k].toFixed(4))));
      losses = [0, 0];
      note();
    },
  };
}

/** For tests: batches and both networks' weights, before and after steps. */
export function trial(settings, steps) {
  const { seed, discriminator_steps } = settings, game = duel(settings);
  const listed = () => ({ generator: [...game.generator.values], discriminator: [...game.discriminator.values] });
  const before = listed(), slopes = [], batches = [];
  for (let n = 0, drawn = 0; n < steps; n++) {
    for (let k = 0; k <= discriminator_steps; k++, drawn++)
      batches.push({ noise: [...normals(4 * seed + 3, 2 * (SHOWN + BATCH * drawn), 2 * BATCH)],
        real: k < discriminator_steps ? [...realPoints(4 * seed + 2, BATCH * drawn, BATCH)] : [] });
    game.step();
    slopes.push([...game.generator.slopes]);
  }
  return { before, after: listed(), slopes, batches, noted: game.noted, points: [...game.points()] };
}

// ---- Words --------------------------------------------------------------------------------------

const NAMES = { "non-saturating": "non-saturating", saturating: "saturating (minimax)", hinge: "hinge" };
const rate = (x) => String(Number(x.toPrecision(2)));
const digits = (x) => minus(Number(x.toPrecision(2)));

/** How far it has come. */
function reading({ noted, steps }, last) {
  if (!steps()) return "Press Train. It learns here, in this page.";
  const { modes, share } = last;
  const losses = noted.generator.length ? ` The discriminator's loss is ` +
    `${digits(noted.discriminator.at(-1))}, the generator's ${digits(noted.generator.at(-1))}.` : "";
  return `After ${thousands(steps())} ${steps() === 1 ? "step" : "steps"}: ${modes} of ${MODES} modes ` +
    `covered; ${percent(share)} of the made points are near one.${losses}`;
}

// ---- Pictures -----------------------------------------------------------------------------------

const REACH = 3, FINE = 40; // the plane is seen from −3 to 3; cells of the shading along each side
const SIDE = 320; // of the plane's pictures, in units of their own
const LOOKS = { discriminator: ["output", null], generator: ["kernel", "7 3"], modes: ["input", null] };
const seen = (x) => (SIDE / 2 + SIDE / 2 / REACH * x).toFixed(1);
const each = (points, mark) => Array.from({ length: points.length / 2 }, (_, n) =>
  mark(seen(points[2 * n]), seen(-points[2 * n + 1]))).join("");
const dot = (x, y) => `M${x} ${y}m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z`;
const cross = (x, y) => `M${x} ${y}m-2.5 -2.5l5 5m0 -5l-5 5`;
const middle = linear([0, FINE], [-REACH, REACH]); // of a cell
const PLACES = Float64Array.from(matrix(FINE, FINE, (i, j) => [middle(j + 0.5), -middle(i + 0.5)]).flat(2));

/** What the discriminator says of places: from −1, made, to 1, real. */
const opinions = (scores, loss) =>
  scores.map((s) => loss === "hinge" ? within(s, -1, 1) : 2 * sigmoid(s) - 1);

/** A chart over the steps: of lists of numbers, by their names. */
function chart(svg, title, noted, names, end, [low, high], marks) {
  const width = widthOf(svg), box = { left: 40, right: width - 18, bottom: 126 };
  const x = linear([0, end], [box.left, box.right]), y = linear([low, high], [box.bottom, 22]);
  const lines = names.map((name) => {
    const values = noted[name], first = noted.step.length - values.length; // losses begin later
    const apart = Math.ceil(values.length / 250) || 1;
    const points = Array.from({ length: Math.ceil(values.length / apart) }, (_, i) => {
      const part = values.slice(i * apart, (i + 1) * apart), mean = sum(part) / part.length;
      return Number.isFinite(mean) ? [x(noted.step[first + i * apart]), y(within(mean, low, high))] : null;
    });
    return line(curve(points), tone(LOOKS[name][0]), 2, LOOKS[name][1]);
  });
  paint(svg, width, box.bottom + 32, [
    ...axes(box, x, ticks(0, end).map((n) => [n, thousands(n)]), y, marks.map((v) => [v, minus(v)])),
    write(title, 4, 10, "start", "ink"), write("step", box.right, box.bottom + 29, "end"), ...lines]);
}

// ---- The figure ---------------------------------------------------------------------------------

const MOST = 20_000, SLICE = 10, APART = 100; // steps; milliseconds of a frame, and between pictures
const ENDS = [1000, 2000, 5000, 10_000, MOST]; // of the charts
const STILL = 500; // steps until it stops and is drawn, for who asks for stillness

function render({ model, el }) {
  const settings = ["loss", "lr_generator", "lr_discriminator", "discriminator_steps", "seed"];
  const view = hold(model, [...settings, "history"]), { get, later } = view;
  let game, played = "", until = 0, told = 0, heard = 0, drawn = 0;

  const going = () => until > game.steps();
  const stop = () => { until = 0; later(); };
  const start = button("Train", () => {
    until = going() ? 0 : prefersStillness() ? Math.min(game.steps() + STILL, MOST) : MOST;
    later();
  }, { class: "d2-start" });
  const one = button("Step", () => { until = game.steps() + 1; later(); });
  const reset = button("Reset", () => { [played, until] = ["", 0]; later(); });
  const progress = h("span", { class: "d2-progress" }), words = readout();
  const rates = ["generator", "discriminator"].map((name) => slider(view, `lr_${name}`, {
    label: `${name[0].toUpperCase()}${name.slice(1)}'s rate`, min: 1e-5, max: 0.1, step: 0.02, log: true,
    tell: rate }));

  const field = tiled(1, FINE, FINE, 1, 0, { "aria-label":
    "The plane: real points, made points, and what the discriminator says of each place" });
  const layer = () => h("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" });
  const ground = layer(), marks = layer();
  const lossChart = h("svg", { role: "img", "aria-label": "Both losses over the steps" });
  const modeChart = h("svg", { role: "img", "aria-label": "Modes that are covered over the steps" });
  const point = (mark, name) => h("path", { d: mark(14, 7), fill: mark === dot ? tone(name) : "none",
    stroke: tone(name), "stroke-width": mark === dot ? 0 : 2 });
  const shade = (name, text) => [h("i", { class: `d2-shade d2-${name}`, "aria-hidden": "true" }), text];
  const root = figure(view, "d2-gan",
    h("div", { class: "d2-controls" },
      menu(view, "loss", { label: "Loss", options: NAMES }), ...rates,
      slider(view, "discriminator_steps", { label: "Its steps per generator step", min: 1,
        max: 10 })),
    h("div", { class: "d2-controls d2-run" },
      h("div", { class: "d2-tools" }, start, one, reset,
        button("Other seed", () => view.set("seed", (get("seed") + 1) % 10_000)), progress)),
    h("div", { class: "d2-both" },
      h("div", {},
        h("div", { class: "d2-plane" }, field.canvas, ground, marks),
        h("p", { class: "d2-hint" },
          h("span", {}, key("none", null, point(dot, "input")), "real"), " ",
          h("span", {}, key("none", null, point(cross, "kernel")), "made"), " ",
          h("span", {}, ...shade("real", "judged real")), " ",
          h("span", {}, ...shade("made", "judged made")), " ",
          h("span", {}, "ring: a mode, bold if covered"))),
      h("div", { class: "d2-charts" }, lossChart,
        h("p", { class: "d2-hint" }, ...["discriminator", "generator"].flatMap((name) =>
          [h("span", {}, key(tone(LOOKS[name][0]), LOOKS[name][1]), ` ${name}`), " "])), modeChart)),
    words);

  /** Tell Python, and other views, what was noted. */
  function tell() {
    [told, heard] = [performance.now(), game.steps()];
    model.set("history", structuredClone(game.noted));
    model.save_changes();
  }

  function show() {
    const state = view.state(), asked = JSON.stringify(settings.map((name) => state[name]));
    const anew = played !== asked;
    if (anew) {
      [game, played, until] = [duel(state), asked, until === MOST ? MOST : 0]; // what trains goes on
      paint(ground, SIDE, SIDE, [h("path", { d: each(game.target, dot), fill: tone("input") })]);
      ground.removeAttribute("height");
    }
    const started = performance.now();
    const turn = until === MOST && started > drawn + APART && !prefersStillness(); // for a picture
    while (going() && !turn && performance.now() < started + SLICE) game.step();
    if (game.steps() !== heard && (!going() || performance.now() > told + 1000)) tell();
    if (going()) later();
    else until = 0;
    say(start, going() ? "Pause" : "Train");
    one.disabled = going() || game.steps() >= MOST;
    start.disabled = game.steps() >= MOST;
    reset.disabled = !game.steps();
    say(progress, `step ${thousands(game.steps())}`);
    if (!going() || anew || turn) draw(state);
  }

  function draw({ loss }) {
    drawn = performance.now();
    const [input, kernel, paper] = colours(root, "input", "kernel", "paper");
    field.paint(opinions(game.scores(PLACES), loss), { positive: input, negative: kernel, paper }, 2.5);
    const points = game.points(), { noted } = game, found = coverage(points), d = each(points, cross);
    const enough = points.length / 2 / MODES / 4;
    const rings = CENTERS.map(([a, b], i) => h("circle", { cx: seen(a), cy: seen(-b), fill: "none",
      r: 3 * DEVIATION * SIDE / 2 / REACH + 2, stroke: tone("ink"),
      "stroke-width": found.near[i] >= enough ? 2.5 : 0.7 }));
    paint(marks, SIDE, SIDE, [...rings, line(d, tone("paper"), 4), line(d, tone("kernel"), 1.7)]);
    marks.removeAttribute("height");
    const end = ENDS.find((each) => each >= game.steps());
    const losses = [...noted.discriminator, ...noted.generator].filter(Number.isFinite);
    const range = [Math.min(0, ...losses), Math.max(...losses, Math.min(0, ...losses) + 0.01)];
    const whole = losses.length ? range : [0, 2];
    chart(lossChart, "loss", noted, ["discriminator", "generator"], end, whole, ticks(...whole));
    chart(modeChart, "modes covered, of 8", noted, ["modes"], end, [0, MODES], [0, 2, 4, 6, 8]);
    if (!going()) say(words, reading(game, found));
  }

  const unwatch = pauseUnseen(root, stop), unfollow = followTheme(later);
  return view.mount(el, root, show, () => {
    unwatch();
    unfollow();
  });
}

export default { render };
