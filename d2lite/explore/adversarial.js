// Garments changed a little, step by step, until small networks err, which run here.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** The engine's networks with the weights that `pack` in adversarial.py has written. Before the first
 *  layer stands one that changes nothing: the engine gives the gradients of what layers give, not
 *  that of the images. */
function networksOf({ layers, weights: { buffer, byteOffset }, side }) {
  const wasm = TRAINING_KERNELS && Uint8Array.from(atob(TRAINING_KERNELS), (c) => c.charCodeAt(0));
  const engine = trainingEngine(wasm || null);
  let at = byteOffset;
  const take = (Type, count) => new Type(buffer.slice(at, at += count * Type.BYTES_PER_ELEMENT));
  return layers.map((each) => {
    const net = engine.network([{ kind: "avgpool", size: 1 }, ...each], [1, side, side]);
    for (let i = 0; i < net.parameters.length; i += 2) {
      const [weight, bias] = net.parameters.slice(i).map(({ data }) => data), units = bias.length;
      bias.set(take(Float32Array, units));
      const worth = take(Float32Array, units), inputs = weight.length / units;
      weight.set(take(Int8Array, weight.length));
      weight.forEach((steps, w) => { weight[w] = steps * worth[Math.floor(w / inputs)]; });
    }
    return net;
  });
}

const MOST = 20; // steps

/** How many steps a method takes. */
const stepsOf = ({ method, steps }) => method === "pgd" ? steps : 1;

/** The class whose loss is looked at. */
const aimOf = ({ method, target }, own) => method === "noise" || target < 0 ? own : target;

/** Numbers from 0 to 1, evenly: Box and Muller, backwards. */
function even(seed, count) {
  const pairs = normals(seed, 0, 2 * count);
  return Float32Array.from({ length: count }, (_, i) =>
    Math.exp(-(pairs[2 * i] ** 2 + pairs[2 * i + 1] ** 2) / 2));
}

/** Change images against a network: yields pixels, scores, mean loss and its gradient, as they were
 *  or at a random start, and after each step. `aims` are the classes whose loss is to grow or, with a
 *  target, to shrink. */
function* attack(net, images, aims, noise, { method, epsilon, step_size, random_start, target }) {
  const budget = epsilon / 255, rate = budget * (method === "pgd" ? step_size : 1);
  const way = target < 0 ? rate : -rate;
  const low = images.map((x) => Math.max(x - budget, 0));
  const high = images.map((x) => Math.min(x + budget, 1));
  const inside = (pixel) => images.map((x, i) => within(pixel(x, i), low[i], high[i]));
  let pixels = method === "pgd" && random_start
    ? inside((_, i) => low[i] + (high[i] - low[i]) * noise[i]) : images;
  for (;;) {
    const { loss } = net.backward(pixels, aims, aims.length), before = pixels;
    const scores = net.activation(net.shapes.length - 1), slopes = net.activationGradient(0);
    yield { pixels, scores, loss, slopes };
    pixels = inside(method === "noise" ? (x, i) => x + budget * Math.sign(noise[i] - 0.5)
      : (_, i) => before[i] + way * Math.sign(slopes[i]));
  }
}

const TOGETHER = 4; // garments of a survey that take a step at once: a few milliseconds

/** The networks, and what becomes of the garments; `traits` are the explorer's. */
export function laboratory(traits) {
  const nets = networksOf(traits), { gallery, labels, side } = traits, size = side ** 2;
  const bytes = new Uint8Array(gallery.buffer, gallery.byteOffset, gallery.byteLength);
  const images = Float32Array.from(bytes, (byte) => byte / 255);
  let noise = null, drawn = null;

  /** A network's scores of a garment as it was. */
  const clean = (i, garment) =>
    nets[i].forward(images.subarray(garment * size, (garment + 1) * size), 1);

  /** An attack of a network on garments from `first` to before `end`. */
  function begin(net, first, end, state) {
    const part = (all) => all.subarray(first * size, end * size);
    const aims = labels.slice(first, end).map((own) => aimOf(state, own));
    if (drawn !== state.seed) [noise, drawn] = [even(state.seed, images.length), state.seed];
    return attack(net, part(images), aims, part(noise), state);
  }

  /** Where an attack on one garment leads: a function of the network and the step. */
  function path(state) {
    const { garment } = state;
    const known = nets.map((net) => ({ places: [], walk: begin(net, garment, garment + 1, state) }));
    return (i, step) => {
      const { places, walk } = known[i];
      while (places.length <= step) places.push(walk.next().value);
      return places[step];
    };
  }

  /** For each network, which garments it gets right after the whole attack; yields as it goes. */
  function* survey(state) {
    const right = nets.map(() => []), steps = state.epsilon ? stepsOf(state) : 0;
    for (const [i, net] of nets.entries())
      for (let first = 0; first < labels.length; first += TOGETHER) {
        const own = labels.slice(first, first + TOGETHER);
        const walk = begin(net, first, first + own.length, state);
        for (let step = 0; step < steps; step++) {
          walk.next();
          yield;
        }
        const { scores } = walk.next().value;
        own.forEach((label, n) => {
          const each = scores.subarray(10 * n, 10 * n + 10);
          right[i].push(each.indexOf(Math.max(...each)) === label);
        });
        yield;
      }
    return right;
  }
  return { images, clean, path, survey };
}

/** For tests: what is known at each step of each network, and which garments are right at the end. */
export function outcome(traits, states) {
  const views = Object.fromEntries(["weights", "gallery"].map((name) =>
    [name, new DataView(Uint8Array.from(traits[name]).buffer)]));
  const lab = laboratory({ ...traits, ...views });
  return states.map((state) => {
    const at = lab.path(state), survey = lab.survey(state), listed = ({ loss, ...lists }) =>
      ({ loss, ...Object.fromEntries(Object.entries(lists).map(([name, x]) => [name, [...x]])) });
    let last;
    do last = survey.next(); while (!last.done);
    return { right: last.value, places: traits.names.map((_, i) =>
      Array.from({ length: stepsOf(state) + 1 }, (_, step) => listed(at(i, step)))) };
  });
}

/** Is there such a garment? As Python checks; a page asks it of a link. */
export const fits = ({ garment, labels }) => garment < labels.length;

// ---- Words --------------------------------------------------------------------------------------

const METHODS = { noise: "random noise", fgsm: "FGSM: one step", pgd: "PGD: many steps" };
const levels = (x) => Number(x.toFixed(1));

/** What the networks say of a garment, before and after. */
function reading(state, { names, labels, classes }, step, both, most) {
  const best = (shares) => shares.indexOf(Math.max(...shares));
  const told = (shares) => `${classes[best(shares)]} ${percent(shares[best(shares)])}`;
  const own = classes[labels[state.garment]];
  return `Garment ${state.garment + 1}, ${own}. ` + both.map(([before, after], i) =>
    `${names.length > 1 ? names[i] : "The network"}: ${told(before)} → ${told(after)}`).join("; ") +
    `; after ${counted(step, "step")}, no pixel changed by more than ${levels(most)} of 255.`;
}

/** How many garments each network gets right. */
function tally(state, { names, labels }, right, clean) {
  const how = { noise: "random noise", fgsm: "FGSM", pgd: `PGD, ${counted(state.steps, "step")}` };
  const many = (list) => list.filter(Boolean).length;
  return `All ${labels.length} garments, ${how[state.method]}, ε = ${state.epsilon}: ` +
    names.map((name, i) => `${name} gets ${many(right[i])} right, ${many(clean[i])} without a change`)
      .join("; ") + ".";
}

// ---- Pictures -----------------------------------------------------------------------------------

const LOOKS = [["input", null], ["kernel", "7 3"]]; // of each network
const HIGHEST = 48, BUDGETS = [0, 4, 8, 16, 24, 32, 48];
const LEFT = 44, RIGHT = 18, TOP = 22, BOTTOM = 150;

/** A dot, and a cross of the same size, as path data. */
const dot = (x, y, r) =>
  `M${(x - r).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
const cross = (x, y) => `M${x - 4.5} ${y - 3}l3 3l-3 3l1.5 1.5l3 -3l3 3l1.5 -1.5l-3 -3l3 -3l-1.5 -1.5` +
  "l-3 3l-3 -3z";

/** A line for each network over steps or budgets; a dashed line stands at `cursor`. */
function chart(svg, { title, below, x: [xTicks, end], y: [yTicks, top, tell], lines, cursor }) {
  const width = widthOf(svg), box = { left: LEFT, right: width - RIGHT, bottom: BOTTOM };
  const x = linear([0, end], [box.left, box.right]);
  const y = linear([0, top], [BOTTOM, TOP]);
  paint(svg, width, BOTTOM + 32, [
    ...axes(box, x, xTicks.map((v) => [v, v]), y, yTicks.map((v) => [v, tell(v)])),
    write(title, 4, 10, "start", "ink"), write(below, box.right, BOTTOM + 29, "end"),
    line(`M${x(cursor).toFixed(1)} ${TOP}V${BOTTOM}`, tone("ink"), 1, "2 2"),
    ...lines.flatMap((points, i) => {
      const [colour, dashes] = LOOKS[i], places = points.map(([a, b]) => [x(a), y(b)]);
      return [line(curve(places), tone(colour), 2.5, dashes),
        h("path", { d: places.map((at) => dot(...at, 3)).join(""), fill: tone(colour) })];
    })]);
}

/** What is seen of a network: the garment, its change, what it becomes, and the classes' bars. */
function panelOf(name, look, side, classes, alone) {
  const picture = (what) => tiled(1, side, side, 1, 0, { "aria-label": `${what}, ${name}` });
  const pictures = ["The garment", "The change", "The changed garment"].map(picture);
  const texts = ["garment", "", "changed"].map((text) => h("span", {}, text));
  const bars = chances(classes);
  const before = bars.elements.map((each) => {
    const bar = h("i", { class: "d2-before" });
    each.children[1].prepend(bar);
    return bar;
  });
  const element = h("div", { class: "d2-panel" },
    alone ? null : h("b", {}, key(tone(look[0]), look[1]), ` ${name}`),
    h("div", { class: "d2-three" }, ...pictures.map(({ canvas }, i) =>
      h("div", {}, canvas, texts[i]))),
    h("div", { class: "d2-bars" }, ...bars.elements));
  return { element,
    show(image, pixels, epsilon, [shares, after], tones) {
      const budget = Math.max(epsilon, 1) / 255;
      pictures[0].paint(image, tones, 1);
      pictures[1].paint(pixels.map((x, i) => x - image[i]), tones, budget);
      pictures[2].paint(pixels, tones, 1);
      say(texts[1], `change × ${Math.round(1 / budget)}`);
      bars.show(after);
      before.forEach((bar, i) => { bar.style.width = `${100 * shares[i]}%`; });
    } };
}

/** Buttons with the garments, and a mark for each network: a dot where it is right, or a cross. */
function rack(lab, { side, labels, classes, names }, choose) {
  const size = side ** 2;
  const all = labels.map((label, i) => {
    const { canvas, paint } = tiled(1, side, side, 1, 0,
      { "aria-hidden": "true", role: "presentation" });
    const marks = names.map((_, n) => h("path", { fill: tone(LOOKS[n][0]) }));
    const element = button("", () => choose(i), { class: "d2-thumb" });
    element.append(canvas, h("svg", { viewBox: `0 0 ${14 * names.length} 12`, "aria-hidden": true },
      ...marks));
    return { element, marks, image: lab.images.subarray(size * i, size * (i + 1)), paint,
      name: `garment ${i + 1}: ${classes[label]}` };
  });
  return { element: h("div", { class: "d2-thumbs", role: "group", "aria-label": "Garments" },
    ...all.map(({ element }) => element)),
    paint(tones) { for (const { paint, image } of all) paint(image, tones, 1); },
    show(chosen, right) {
      all.forEach(({ element, marks, name }, i) => {
        element.ariaPressed = i === chosen;
        const told = right ? names.map((each, n) => `${each} ${right[n][i] ? "right" : "wrong"}`) : [];
        element.ariaLabel = [name, ...told].join(", ");
        marks.forEach((mark, n) => mark.setAttribute("d", !right ? ""
          : right[n][i] ? dot(14 * n + 7, 6, 4) : cross(14 * n + 7, 6)));
      });
    } };
}

// ---- The figure ---------------------------------------------------------------------------------

const OF_ALL = ["method", "steps", "step_size", "random_start", "target", "seed"];

function render({ model, el }) {
  const view = hold(model, ["garment", "epsilon", ...OF_ALL, "step"]), { get, later } = view;
  const traits = Object.fromEntries(["names", "layers", "weights", "side", "gallery", "labels",
    "classes"].map((name) => [name, get(name)]));
  const { names, side, labels, classes } = traits, lab = laboratory(traits), size = side ** 2;
  const total = () => stepsOf(view.state()), asked = () => Math.min(get("step"), total());
  let timer = 0;

  // The controls.
  const go = (step) => view.set("step", step < total() ? step : MOST); // the end stays the end
  const stop = () => { clearInterval(timer); timer = 0; later(); };
  const forward = () => { if (asked() < total()) go(asked() + 1); else stop(); };
  function play() {
    if (timer) return stop();
    if (prefersStillness()) return go(total());
    go(asked() < total() ? asked() + 1 : 0);
    timer = setInterval(forward, 400);
  }
  const start = button("Play", play, { class: "d2-start" });
  const onward = button("Step", () => { stop(); forward(); });
  const isPGD = () => get("method") === "pgd", notPGD = { hidden: () => !isPGD() };
  const another = control(view, button("Other noise", () => view.set("seed", (get("seed") + 1) % 10000)),
    () => get("method") === "fgsm" || (isPGD() && !get("random_start")), () => {});
  const any = "any other class";
  const panels = names.map((name, i) => panelOf(name, LOOKS[i], side, classes, names.length === 1));
  const words = readout(), count = readout();
  const garments = rack(lab, traits, (i) => view.set("garment", i));
  const lossChart = h("svg", { role: "img", "aria-label": "The loss over the steps" });
  const rightChart = h("svg", { role: "img",
    "aria-label": "How many garments are right, over the budget" });
  const root = figure(view, "d2-adversarial",
    h("div", { class: "d2-controls" },
      menu(view, "method", { label: "Method", options: METHODS }),
      menu(view, null, { label: "Toward", options: [any, ...classes],
        read: () => classes[get("target")] ?? any,
        write: (name) => view.set("target", classes.indexOf(name)),
        hidden: () => get("method") === "noise" }),
      slider(view, "epsilon", { label: "Budget ε", max: HIGHEST, tell: (x) => `${x} of 255` }),
      slider(view, "step_size", { label: "Step size", min: 0.05, max: 1.25, step: 0.05,
        tell: (share) => `${levels(share * get("epsilon"))} of 255`, ...notPGD }),
      slider(view, "steps", { label: "Steps in all", min: 1, max: MOST, ...notPGD })),
    h("div", { class: "d2-controls d2-run" },
      h("div", { class: "d2-tools" }, start, onward),
      slider(view, null, { label: "Steps done", max: total, read: asked,
        write: go, tell: (step) => `${step} of ${total()}` }),
      tick(view, "random_start", { label: "random start", ...notPGD }), another),
    h("div", { class: "d2-panels" }, ...panels.map(({ element }) => element)),
    h("p", { class: "d2-hint" }, "Bars: thin gray before the change, green after it. Blue raises a ",
      "pixel, orange lowers it; full color is ε."),
    words, h("div", { class: "d2-all" }, garments.element,
      h("p", { class: "d2-hint" }, "A dot: right after all steps. A cross: wrong.",
        ...names.length > 1 ? names.flatMap((name, i) =>
          [" ", h("span", {}, key(tone(LOOKS[i][0]), LOOKS[i][1]), ` ${name}`)]) : []),
      h("div", { class: "d2-charts" }, lossChart, rightChart), count));

  // In a chart, a press sets what it stands over.
  const place = (svg, end) => ({ clientX }) => {
    const { left, right } = svg.getBoundingClientRect();
    return within(Math.round(linear([left + LEFT, right - RIGHT], [0, end()])(clientX)), 0, end());
  };
  pointing(view, lossChart, place(lossChart, total), go);
  pointing(view, rightChart, place(rightChart, () => HIGHEST), (x) => view.set("epsilon", x));

  // The work, in slices, so that a frame stays short: the garment's path first, then all garments.
  let path, pathOf = "", surveys, surveysOf = "", running = null, drawn = "", look = "";

  /** Go on with the survey of all garments at the present budget, then at the others; is there more? */
  function survey(state) {
    const next = [state.epsilon, ...BUDGETS].find((budget) => !surveys.has(budget));
    if (next === undefined) return false;
    if (running?.epsilon !== next)
      running = { epsilon: next, walk: lab.survey({ ...state, epsilon: next }) };
    const { value, done } = running.walk.next();
    if (done) surveys.set(next, value);
    return true;
  }

  function show() {
    const state = view.state(), { step: _step, steps: _steps, ...course } = state;
    if (pathOf !== (pathOf = JSON.stringify(course))) path = lab.path(state);
    if (surveysOf !== (surveysOf = JSON.stringify(OF_ALL.map((name) => state[name]))))
      [surveys, running] = [new Map(), null];
    const started = performance.now(), inTime = () => performance.now() < started + 8;
    let step = 0;
    for (; step < asked() && inTime(); step++) names.forEach((_, i) => path(i, step + 1));
    let more = step < asked();
    if (!more) do more = survey(state); while (more && inTime());
    if (more) later();
    const tones = colours(root, "input", "kernel", "paper");
    const news = [state, step, [...surveys.keys()], tones, widthOf(lossChart), timer === 0];
    if (drawn !== (drawn = JSON.stringify(news))) draw(state, step, tones);
  }

  function draw(state, step, [input, kernel, paper]) {
    const { garment, epsilon } = state, tones = { positive: input, negative: kernel, paper };
    if (look !== (look = JSON.stringify(tones))) garments.paint(tones);
    const image = lab.images.subarray(size * garment, size * (garment + 1));
    const places = names.map((_, i) => Array.from({ length: step + 1 }, (_, k) => path(i, k)));
    const last = places.map((list) => list.at(-1));
    const both = last.map(({ scores }, i) => [lab.clean(i, garment), scores].map(softmax));
    panels.forEach((panel, i) => panel.show(image, last[i].pixels, epsilon, both[i], tones));
    const most = Math.max(...last.flatMap(({ pixels }) =>
      Array.from(pixels, (x, i) => Math.abs(x - image[i]))));
    say(words, reading(state, traits, step, both, 255 * most));

    const losses = places.map((list) => list.map(({ loss }, k) => [k, loss]));
    const top = Math.max(1, ...losses.flat().map(([, loss]) => loss));
    const aim = classes[aimOf(state, labels[garment])];
    chart(lossChart, { title: `loss of the class ${aim}`, below: "step", lines: losses,
      cursor: step, x: [ticks(0, total()).filter(Number.isInteger), total()],
      y: [ticks(0, top), top, String] });
    const tested = [...surveys].sort(([a], [b]) => a - b);
    const share = (list) => list.filter(Boolean).length / list.length;
    chart(rightChart, { title: "garments right after all steps", below: "ε, of 255", cursor: epsilon,
      x: [ticks(0, HIGHEST), HIGHEST], y: [[0, 0.25, 0.5, 0.75, 1], 1, percent],
      lines: names.map((_, i) => tested.map(([budget, right]) => [budget, share(right[i])])) });
    garments.show(garment, surveys.get(epsilon));
    say(count, BUDGETS.every((budget) => surveys.has(budget)) && surveys.has(epsilon)
      ? tally(state, traits, surveys.get(epsilon), surveys.get(0)) : "");
    say(start, timer ? "Pause" : "Play");
    onward.disabled = asked() >= total();
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, () => {
    clearInterval(timer);
    unfollow();
  });
}

export default { render, fits };
