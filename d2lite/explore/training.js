// A small convolutional network that trains where the figure is. training_session.js has the work.

// ---- Where a session runs: in a Worker, or else in the page, between its frames -------------------

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const SESSION = () =>
  [trainingEngine, uniform, rateAt, batchOf, blocks, sizes, trainingSession].join("\n");
const WORKER = `
let session, busy = false;
function turn() {
  busy = session.work(30);
  if (busy) setTimeout(turn);
}
onmessage = ({ data }) => {
  session ??= trainingSession(trainingEngine(data.wasm), postMessage);
  session.hear(data);
  if (!busy) turn();
};`;

/** Begin a session; `hear` gets its reports. */
function beginSession(hear) {
  let worker = null, session = null, timer = 0, heard = false;
  const sent = [], wasm = TRAINING_KERNELS ? bytesOf(TRAINING_KERNELS) : null;
  const turn = () => { timer = session.work(6) ? setTimeout(turn, 8) : 0; };
  const inPage = (message) => {
    session ??= trainingSession(trainingEngine(wasm), hear);
    session.hear(message);
    timer ||= setTimeout(turn);
  };
  try {
    const url = URL.createObjectURL(new Blob([SESSION(), WORKER], { type: "text/javascript" }));
    worker = new Worker(url);
    worker.onmessage = ({ data }) => { heard = true; hear(data); };
    worker.onerror = (event) => { // refused, as some pages do, or a mistake of ours
      if (heard || !worker) return;
      event.preventDefault();
      worker = null;
      for (const message of sent) inPage(message);
    };
  } catch { worker = null; }
  return {
    tell(message) {
      if (!sent.length) message.wasm = wasm;
      if (!heard) sent.push(message);
      if (worker) worker.postMessage(message);
      else inPage(message);
    },
    end() { worker?.terminate(); worker = session = null; clearTimeout(timer); },
  };
}

// ---- Garments: by the site's own script, or from Python -------------------------------------------

let coming = null;

/** The garments, asked for once; one shade a byte. */
function garments(model) {
  coming ??= ask(model).then(unpackGarments).catch((error) => { coming = null; throw error; });
  return coming;
}

const hostScript = () => document.querySelector('script[src*="explorers.js"]');

function ask(model) {
  const host = hostScript();
  return new Promise((resolve, reject) => {
    const refuse = () => reject(Error("The garments could not be loaded"));
    if (globalThis.D2_GARMENTS) return resolve(globalThis.D2_GARMENTS);
    if (host) {
      document.head.append(h("script", { src: new URL("garments.js", host.src).href, onerror: refuse,
        onload: () => resolve(globalThis.D2_GARMENTS) }));
      return;
    }
    const late = setTimeout(refuse, 20_000);
    model.on("msg:custom", function hear({ type, labels }, [images]) {
      if (type !== "garments") return;
      clearTimeout(late);
      model.off("msg:custom", hear);
      resolve({ labels, images, held_out: 1000 });
    });
    model.send({ type: "garments" });
  });
}

export async function unpackGarments({ labels, images, held_out: heldOut }) {
  const packed = typeof images === "string" ? bytesOf(images) : images;
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(unpacked).arrayBuffer());
  const shades = new Uint8Array(2 * bytes.length);
  bytes.forEach((both, i) => { shades[2 * i] = both >> 4; shades[2 * i + 1] = both & 15; });
  return { images: shades, labels: Uint8Array.from(labels, Number),
    count: labels.length - heldOut, heldOut };
}

/** For tests: a session without a page, to its end; the last report. */
export async function trained(given, settings, train = "all") {
  let last;
  const engine = trainingEngine(bytesOf(TRAINING_KERNELS));
  const session = trainingSession(engine, (report) => { last = report; });
  session.hear({ garments: await unpackGarments(given), settings, train, pace: Infinity });
  while (session.work(1000));
  return { ...last, weights: [...last.weights] };
}

// ---- Words --------------------------------------------------------------------------------------

const LAYERS = { conv: "convolution", batchnorm: "batch norm", relu: "ReLU", leakyrelu: "leaky ReLU",
  tanh: "tanh", sigmoid: "sigmoid", gelu: "GELU", maxpool: "max pool", avgpool: "average pool",
  dropout: "dropout", flatten: "flatten", dense: "dense" };
const OPTIMIZERS = { sgd: "SGD", momentum: "momentum", nesterov: "Nesterov", adam: "Adam",
  adamw: "AdamW", rmsprop: "RMSProp" };
const STARTS = { he: "He", xavier: "Xavier", torch: "PyTorch's", small: "small (0.01)" };
const SCHEDULES = { constant: "constant", cosine: "cosine", step: "÷ 10, twice", "warm-up": "warm-up" };
const decimal = (x) => String(Number(x.toPrecision(2)));
const TOLD = { layers: (layers, all) => toldLayers(layers, all),
  initialization: (x) => `start ${STARTS[x]}`, optimizer: (x) => OPTIMIZERS[x],
  lr: (x) => `rate ${decimal(x)}`, momentum: (x) => `momentum ${x}`, schedule: (x) => `${x} rate`,
  batch_size: (x) => `batches of ${x}`, weight_decay: (x) => `weight decay ${decimal(x)}`,
  flip: (x) => x ? "flipped" : "not flipped", shift: (x) => `shift ${x}`,
  garments: (x) => counted(x, "garment"), label_noise: (x) => `${percent(x)} wrong labels`,
  seed: (x) => `seed ${x}` };

/** What sets a network apart from the others: kinds of layers that it has or has not. */
function toldLayers(layers, all) {
  const has = (list, kind) => list.some((layer) => layer.kind === kind);
  const apart = Object.keys(LAYERS)
    .filter((kind) => all.some((list) => has(list, kind) !== has(all[0], kind)));
  const told = [true, false].map((own) => [own ? "with" : "without", apart.filter((kind) =>
    has(layers, kind) === own).map((kind) => LAYERS[kind]).join(", ")]).filter(([, list]) => list);
  return told.map((words) => words.join(" ")).join(", ") || `channels ` +
    layers.map(({ channels, units }) => channels ?? units).filter(Boolean).join("-");
}

/** A letter for each run, and in what it differs from the others. */
export function namesOf(runs) {
  const apart = Object.keys(TOLD).filter((name) => runs.some((run) => !equal(run[name], runs[0][name])));
  return runs.map((run, i) => [`ABC`[i], apart.map((name) =>
    TOLD[name](run[name], runs.map((each) => each[name]))).join(", ")].filter(Boolean).join(": "));
}

/** How far all runs are, and how good. */
export function reading(runs, history, reports = []) {
  return namesOf(runs).map((name, i) => {
    const noted = history[i], lead = runs.length > 1 ? `${name}: ` : "";
    if (reports[i]?.error) return `${lead}${reports[i].error}.`;
    if (!noted?.step.length) return `${lead}not trained yet.`.replace(/^n/, "N");
    const [step, train, held] = [noted.loss.length, noted.train_accuracy.at(-1),
      noted.held_out_accuracy.at(-1)];
    const time = reports[i]?.seconds ? ` (${reports[i].seconds.toFixed(1)} s)` : "";
    const lost = reports[i]?.lost ? `, then it diverged` : "";
    const told = `after ${counted(step, "step")}${time}${lost}, right on ${percent(held)} of the ` +
      `held-out garments, ${percent(train)} of those it learns from.`;
    return lead + (lead ? told : `A${told.slice(1)}`);
  }).join(" ");
}

// ---- Pictures -----------------------------------------------------------------------------------

const LOOKS = ["input", "kernel", "output"].map(tone), DOTTED = "2 3"; // of each run, and training
const LEFT = 40, RIGHT = 18, TOP = 22, BOTTOM = 32;

/** A chart over the steps: of each run what it learns from, dotted, and what is held out. */
function chart(svg, title, steps, [low, high], tell, runs) {
  const width = widthOf(svg), box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: TOP + 124 };
  const x = linear([0, steps], [box.left, box.right]), y = linear([low, high], [box.bottom, box.top]);
  const at = ([step, value]) =>
    Number.isFinite(value) ? [x(step), y(within(value, low, high))] : null;
  const marks = runs.flatMap(([dotted, full], i) => {
    const lines = [line(curve(dotted.map(at)), LOOKS[i], 1.5, DOTTED),
      line(curve(full.map(at)), LOOKS[i], 2.5)];
    const [cx, cy] = full.map(at).findLast(Boolean) ?? [];
    if (cx === undefined) return lines;
    return [...lines, h("circle", { cx, cy, r: 3.5, fill: LOOKS[i] }),
      runs.length > 1 && write("ABC"[i], cx + 6, cy + 4, "start")].filter(Boolean);
  });
  paint(svg, width, box.bottom + BOTTOM, [
    ...axes(box, x, ticks(0, steps).map((n) => [n, n]), y, ticks(low, high).map((v) => [v, tell(v)])),
    write(title, 4, TOP - 12, "start", "ink"), write("step", box.right, box.bottom + 29, "end"),
    ...marks]);
}

/** Means of neighbours, 60 points at most, each at the middle of its steps. */
export function thinned(values) {
  const each = Math.ceil(values.length / 60);
  return Array.from({ length: Math.ceil(values.length / each) || 0 }, (_, i) => {
    const part = values.slice(i * each, (i + 1) * each);
    return [i * each + part.length / 2, sum(part) / part.length];
  });
}

/** How large activations and gradients are, layer by layer: a histogram of each run upon another. */
function insides(svg, layers, runs) {
  const shown = runs.map((found) => found ?? []), longest = Math.max(...shown.map((f) => f.length));
  const width = widthOf(svg), narrow = width < 520, label = narrow ? 0 : 108, row = narrow ? 66 : 46;
  const half = (width - label - 16) / 2, columns = ["activation", "gradient"];
  const marks = columns.map((name, c) =>
    write(`${name}s: how large`, label + c * (half + 16), 13, "start", "ink"));
  const bar = (half - 2) / 24, scale = (left) => (n) => left + (2 * (n + 9)) * bar;
  for (let k = 0; k < longest; k++) {
    const base = 24 + (k + 1) * row - 8, first = shown.find((found) => found[k])[k].first;
    marks.push(write(`${first + 1} ${LAYERS[layers[first]?.kind] ?? ""}`, 0, base - (narrow ? 36 : 8),
      "start"));
    columns.forEach((name, c) => {
      const left = label + c * (half + 16);
      marks.push(line(`M${left} ${base}h${half}`, tone("line")));
      shown.forEach((found, i) => {
        if (!found[k]) return;
        const { shares, std } = found[k][name], top = Math.max(...shares, 0.01);
        const outline = shares.map((share, b) =>
          `V${(base - 28 * share / top).toFixed(1)}H${(left + (b + 1) * bar).toFixed(1)}`).join("");
        marks.push(h("path", { d: `M${left} ${base}${outline}V${base}z`, stroke: LOOKS[i],
          fill: LOOKS[i], "fill-opacity": 0.25, "stroke-width": 1.2 },
        h("title", {}, `${"ABC"[i]}: standard deviation ${std.toExponential(1)}`)));
      });
    });
    const dead = shown.map((found, i) => found[k]?.relu && found[k].activation.dead > 0
      ? `${runs.length > 1 ? `${"ABC"[i]} ` : ""}${percent(found[k].activation.dead)} dead` : "");
    marks.push(write(dead.filter(Boolean).join(", "), label + half, base - 30, "end"));
  }
  const end = 24 + longest * row + 8;
  columns.forEach((_, c) => [-8, -4, 0].forEach((n) => marks.push(
    write(n ? powerOfTen(n) : "1", scale(label + c * (half + 16))(n), end))));
  paint(svg, width, end + 6, marks);
}

// ---- The figure ---------------------------------------------------------------------------------

let numbered = 0;
const LARGEST = 300_000; // parameters

/** The shapes and the number of parameters of layers, and what is wrong with them. */
function examined(layers) {
  try {
    const net = trainingEngine(null).network(layers, [1, 28, 28], { initialization: "torch" });
    const size = sum(net.parameters.map(({ data }) => data.length));
    return { shapes: net.shapes, size, fault: size <= LARGEST ? ""
      : `${thousands(size)} parameters: this figure takes ${thousands(LARGEST)}.` };
  } catch ({ message }) { return { shapes: [], size: 0, fault: `${message}.` }; }
}

/** Is there such a run, and do all layers fit? As Python checks; a page asks it of a link. */
export function fits({ runs, selected }) {
  return selected < runs.length && runs.every(({ layers }) =>
    equal(layers.at(-1), { kind: "dense", units: 10 }) && !examined(layers).fault);
}

/** A layer in a chip. */
const chipText = ({ kind, channels, kernel, size, p, units }) => ({
  conv: `conv ${channels}, ${kernel}×${kernel}`, dense: `dense ${units}`, dropout: `dropout ${p}`,
  maxpool: `max pool ${size}`, avgpool: `average pool ${size}` })[kind] ?? LAYERS[kind];

/** The first layer's kernels and each convolution's maps of a garment. */
function mapsPanel(panel, { kernels, maps }) {
  const picture = (label, count, rows, columns, size) => {
    const across = Math.min(count, 16);
    const made = tiled(count, rows, columns, across, 1, { "aria-label": label });
    made.canvas.style.maxWidth = `${across * size}px`;
    return made;
  };
  const row = (name, { canvas }) =>
    panel.append(h("div", { class: "d2-layer" }, h("b", {}, name), canvas));
  const garment = picture("The garment", 1, 28, 28, 84), says = h("p", { class: "d2-hint" });
  panel.append(h("div", { class: "d2-layer d2-garment" }, garment.canvas, says));
  const { count, side } = kernels ?? {};
  const own = kernels && picture("Kernels of the first layer", count, side, side, side > 9 ? 60 : 40);
  if (own) row(maps.length ? "First kernels" : "First weights", own);
  const each = maps.map(({ first, shape: [count, rows, columns] }) => {
    const made = picture(`Maps of layer ${first + 1}`, count, rows, columns, 60);
    row(`Maps of ${first + 1}`, made);
    return made;
  });
  return (seen, classes, tones) => {
    garment.paint(seen.image, tones, 1);
    own?.paint(seen.kernels.values, tones.kernels);
    each.forEach((made, i) => made.paint(seen.maps[i].values, tones.maps));
    say(says, `${classes[seen.label]}. ${verdict(softmax(seen.scores), classes)}`);
  };
}

/** The mistakes that it is most sure of. */
function mistakesPanel(panel) {
  const list = h("ol", { class: "d2-mistakes" });
  panel.append(list);
  return (mistakes, classes, tones) => {
    while (list.children.length > mistakes.length) list.lastChild.remove();
    mistakes.forEach(({ pixels, label, says, share }, i) => {
      if (!list.children[i]) {
        const made = tiled(1, 28, 28, 1, 0, { "aria-hidden": "true", role: "presentation" });
        list.append(Object.assign(h("li", {}, made.canvas, h("b"), h("span")), { made }));
      }
      const item = list.children[i], [, is, as] = item.children;
      item.made.paint(pixels, tones, 1);
      say(is, classes[label]);
      say(as, `“${classes[says]}”, ${percent(share)}`);
    });
  };
}

function render({ model, el }) {
  const view = hold(model, ["runs", "steps", "selected", "view", "garment", "history", "packed"]);
  const { get, later } = view, kinds = get("_kinds"), classes = get("_classes");
  let session = null, reports = [], seen = {}, going = false, opening = null, last = 0;
  let chosen = null, all = false, news = "", sent = "", mine = get("packed"), done = false, fault = "";
  let shownNames, shownLayers, shownHistory, shownChart, shownForm, paintPanel;
  const id = numbered++;

  // What the reader changes: of the chosen run, or of all.
  const runs = () => get("runs"), run = () => runs()[get("selected")] ?? runs()[0];
  const several = () => runs().length > 1;
  const change = (settings) => view.set("runs", runs().map((each, i) =>
    all || i === get("selected") ? { ...each, ...settings } : each)); // a session begins them anew
  const of = (name, more) => ({ read: () => run()[name], write: (x) => change({ [name]: x }), ...more });
  const choice = (name, options) => ({ options, ...of(name) });
  const layers = () => run().layers, layer = () => layers()[chosen] ?? {};
  const isLast = () => chosen === layers().length - 1;
  const setLayers = (changed) => change({ layers: changed });
  const setLayer = (settings) =>
    setLayers(layers().map((each, i) => i === chosen ? { ...each, ...settings } : each));

  // The runs.
  const runsRow = h("fieldset", { class: "d2-runs" });
  const compare = button("Compare", () => {
    view.set({ runs: [...runs(), structuredClone(run())], selected: runs().length });
    news = "Another run with the same settings: change what you want to compare, and train.";
  });
  const remove = button("Remove", () => {
    const others = (list) => list.filter((_, i) => i !== get("selected"));
    view.set({ selected: 0, history: others(get("history")), runs: others(runs()) });
  });

  const everyRun = tick(view, null, { label: "change all runs", read: () => all,
    write: (on) => { all = on; } });

  // The network: a chip for each layer. The one that is pressed can be changed.
  const chips = h("ol", { class: "d2-chips", "aria-label": "Layers", onkeydown({ key, target }) {
    const at = [...chips.children].findIndex((each) => each.contains(target));
    const move = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (move) chips.children[at + move]?.firstChild.focus();
    if (key === "Delete" && at >= 0 && at < layers().length - 1) drop(at);
  } });
  const drop = (at) => {
    chosen = null;
    setLayers(layers().filter((_, i) => i !== at));
    chips.children[at].firstChild.focus();
  };
  const swap = (by) => {
    const changed = [...layers()];
    [changed[chosen], changed[chosen + by]] = [changed[chosen + by], changed[chosen]];
    chosen += by;
    setLayers(changed);
  };
  const fresh = (kind) => ({ kind, ...kinds[kind], ...kind === "conv" ? { padding: 1 } : {} });
  const add = h("select", { "aria-label": "Add a layer", onchange() {
    const at = chosen === null || isLast() ? layers().length - 1 : chosen + 1, kind = add.value;
    chosen = at;
    add.value = "";
    setLayers([...layers().slice(0, at), fresh(kind), ...layers().slice(at)]);
  } }, h("option", { value: "" }, "Add …"),
    ...Object.entries(LAYERS).map(([value, text]) => h("option", { value }, text)));
  const isNo = (...names) => () => isLast() || !names.includes(layer().kind);
  const its = (name, kind, more) => ({ read: () => layer()[name], hidden: isNo(...[kind].flat()),
    write: (x) => setLayer({ [name]: Number(x) }), ...more });
  const text = (name, kind, options, more) =>
    ({ options, own: "other", ...its(name, kind), read: () => String(layer()[name]), ...more });
  const editor = h("div", { class: "d2-controls d2-editor", role: "group",
    "aria-label": "The chosen layer" },
    menu(view, null, { label: "Layer", options: LAYERS, read: () => layer().kind, hidden: isLast,
      write: (kind) => setLayers(layers().map((each, i) => i === chosen ? fresh(kind) : each)) }),
    slider(view, null, { label: "Channels", min: 1, max: 32, ...its("channels", "conv") }),
    menu(view, null, { label: "Kernel", ...text("kernel", "conv",
      { 1: "1 × 1", 3: "3 × 3", 5: "5 × 5", 7: "7 × 7" },
      { write: (k) => setLayer({ kernel: Number(k), padding: (k - 1) / 2 }) }) }),
    menu(view, null, { label: "Stride", ...text("stride", "conv", [1, 2]) }),
    menu(view, null, { label: "Size", ...text("size", ["maxpool", "avgpool"], [2, 3, 4]) }),
    slider(view, null, { label: "Dropped", max: 0.9, step: 0.05, tell: percent, ...its("p", "dropout") }),
    slider(view, null, { label: "Units", min: 1, max: 256, step: 0.02, log: true,
      ...its("units", "dense") }),
    h("div", { class: "d2-tools" },
      control(view, button("← Earlier", () => swap(-1)), () => isLast() || !chosen, () => {}),
      control(view, button("Later →", () => swap(1)), () => chosen >= layers().length - 2, () => {}),
      control(view, button("Remove layer", () => drop(chosen)), isLast, () => {})),
    control(view, h("span", { class: "d2-hint" }, "The scores of the ten classes: this layer stays."),
      () => !isLast(), () => {}));

  // The training.
  const start = button("Train", () => {
    if (done) end();
    train(going ? "none" : "all");
  }, { class: "d2-start" });
  const one = button("Step", () => train("one"));
  const reset = button("Reset", () => {
    end();
    news = "Reset: nothing is trained.";
    view.set({ history: [], packed: mine = none() });
  });
  const progress = h("span", { class: "d2-progress" });
  const inRuns = [menu(view, null, { label: "Optimizer", ...choice("optimizer", OPTIMIZERS) }),
    slider(view, null, { label: "Learning rate", min: 1e-4, max: 1, step: 0.02, log: true, tell: decimal,
      ...of("lr") })];
  const batches = [4, 8, 16, 32, 64, 128];
  const more = h("details", { class: "d2-more" }, h("summary", {}, "More settings"),
    h("div", { class: "d2-controls" },
      menu(view, null, { label: "Initialization", ...choice("initialization", STARTS) }),
      menu(view, null, { label: "Schedule", ...choice("schedule", SCHEDULES) }),
      menu(view, null, { label: "Batch size", options: batches, own: "other",
        read: () => String(run().batch_size), write: (n) => change({ batch_size: Number(n) }) }),
      slider(view, null, { label: "Momentum", min: 0.01, max: 0.99, step: 0.01, ...of("momentum", {
        hidden: () => !["momentum", "nesterov"].includes(run().optimizer) }) }),
      slider(view, null, { label: "Weight decay", max: 0.1, step: 0.001, tell: decimal,
        ...of("weight_decay") }),
      slider(view, "steps", { label: "Steps", min: 10, max: 2000, step: 0.02, log: true }),
      slider(view, null, { label: "Garments", min: 10, max: 3000, step: 0.02, log: true,
        tell: thousands, ...of("garments") }),
      slider(view, null, { label: "Wrong labels", max: 0.9, step: 0.05, tell: percent,
        ...of("label_noise") }),
      slider(view, null, { label: "Shifted by up to", max: 4, ...of("shift") }),
      tick(view, null, { label: "flipped at random", ...of("flip") }),
      button("Other seed", () => change({ seed: (run().seed + 1) % 2 ** 31 }))));

  // What is seen.
  const lossChart = h("svg", { role: "img", "aria-label": "Loss over the steps" });
  const accuracyChart = h("svg", { role: "img", "aria-label": "Accuracy over the steps" });
  const tabs = h("fieldset", { class: "d2-tabs" }, h("legend", { class: "d2-hidden" }, "Inside"),
    ...Object.entries({ maps: "Kernels and maps", layers: "Activations and gradients",
      mistakes: "Worst mistakes" }).map(([value, label]) => {
      const input = h("input", { type: "radio", name: `d2-inside-${id}`, value,
        onchange: () => view.set("view", value) });
      view.controls.push(() => { input.checked = get("view") === value; });
      return h("label", {}, input, label);
    }));
  const panel = h("div", { class: "d2-panel" }), words = readout();
  const problem = h("p", { class: "d2-problem" });
  const garment = slider(view, "garment", { label: "Garment", max: 199,
    hidden: () => get("view") !== "maps" });
  const root = figure(view, "d2-training", control(view, runsRow, () => !several(), () => {}),
    h("div", { class: "d2-layers" }, chips, add), problem, editor,
    h("div", { class: "d2-controls d2-main" }, ...inRuns,
      h("div", { class: "d2-tools" }, start, one, reset, compare)),
    more, h("div", { class: "d2-both" }, h("div", { class: "d2-charts" }, lossChart, accuracyChart),
      h("p", { class: "d2-hint d2-legend" }, h("span", {}, key(tone("muted"), null), " held out"),
        h("span", {}, key(tone("muted"), DOTTED), " what it learns from"), progress),
      h("div", { class: "d2-inside" }, tabs, garment), panel), words);

  // The session.
  const none = () => new DataView(new ArrayBuffer(0));
  const settings = () => ({ runs: runs(), steps: get("steps"),
    seen: { view: get("view"), selected: get("selected"), garment: get("garment") } });
  const end = () => {
    session?.end();
    [session, reports, seen, going, sent] = [null, [], {}, false, ""];
  };
  function hear(found) {
    if (going && !found.going) news = reading(runs(), found.runs.map(({ noted }) => noted), found.runs);
    ({ going, runs: reports, look: seen } = found);
    const changed = { history: reports.map(({ noted }) => noted) };
    if (found.weights) changed.packed = mine = new DataView(found.weights.buffer);
    for (const name in changed) model.set(name, changed[name]);
    if (!going || performance.now() > last + 1000) { model.save_changes(); last = performance.now(); }
    later();
  }
  /** Open the session, where there is none, once the garments are there. */
  async function open() {
    if (session) return session;
    opening ??= garments(model).then((data) => {
      if (!root.isConnected) return;
      session = beginSession(hear);
      sent = JSON.stringify(settings());
      session.tell({ garments: data, settings: settings(), pace: prefersStillness() ? 1000 : 150 });
    }).catch(({ message }) => {
      news = `${message}: without them there is nothing to learn from. Try again; the rest works.`;
    }).finally(() => { opening = null; later(); });
    await opening;
    return session;
  }
  async function train(how) {
    if (how === "all") news = session ? "Training." : "The garments are coming.";
    later();
    if (how === "none" ? !session : !await open()) return;
    if (how === "all") { news = "Training."; going = true; }
    session.tell({ train: how });
    later();
  }

  /** Runs, layers and buttons, as they are now. */
  function showControls() {
    const names = namesOf(runs());
    if (!equal(shownNames, shownNames = names))
      runsRow.replaceChildren(h("legend", {}, "Runs"), ...names.map((name, i) =>
        h("label", { class: "d2-tick" }, h("input", { type: "radio", name: `d2-run-${id}`, value: i,
          onchange: () => view.set("selected", i) }), key(LOOKS[i], null), name)),
      remove, everyRun);
    for (const input of runsRow.querySelectorAll("[type=radio]"))
      input.checked = Number(input.value) === get("selected");
    compare.disabled = runs().length === 3;

    if (!equal(shownLayers, shownLayers = layers())) {
      const { size, ...found } = examined(layers());
      fault = found.fault;
      const bad = Number(fault.match(/layers\[(\d+)\]/)?.[1] ?? -1);
      while (chips.children.length > layers().length) chips.lastChild.remove();
      layers().forEach((each, i) => {
        if (!chips.children[i]) chips.append(h("li", {}, h("button", { type: "button",
          onclick: () => { chosen = chosen === i ? null : i; later(); } }, h("b"), h("span"))));
        const [name, shape] = chips.children[i].firstChild.children;
        say(name, chipText(each));
        say(shape, found.shapes[i]?.join("×") ?? "?");
        chips.children[i].classList.toggle("bad", i === bad);
      });
      say(problem, fault || `${thousands(size)} weights and biases.`);
    }
    [...chips.children].forEach(({ firstChild }, i) => { firstChild.ariaPressed = i === chosen; });
    editor.hidden = chosen === null || chosen >= layers().length;

    const steps = reports.map(({ step }) => step), least = Math.min(...steps);
    done = session && !going && least >= get("steps");
    say(start, going ? "Pause" : done ? "Train again" : "Train");
    start.disabled = one.disabled = fault !== "";
    one.disabled ||= going || done;
    reset.disabled = !session && !get("history").length;
    say(progress, session ? `step ${reports[get("selected")]?.step ?? 0} of ${get("steps")}` : "");
  }

  function showCharts() {
    const noted = get("history"), steps = get("steps"), both = (list, name) =>
      list.step.map((step, i) => [step, list[name][i]]);
    chart(lossChart, "loss", steps, [0, 3], (v) => v, noted.map((list) =>
      [thinned(list.loss), both(list, "held_out_loss")]));
    chart(accuracyChart, "right", steps, [0, 1], percent, noted.map((list) =>
      [both(list, "train_accuracy"), both(list, "held_out_accuracy")]));
  }

  /** What is inside: `build` makes the elements once for each form and gives what paints them. */
  function showPanel() {
    const { maps, layers: inside, mistakes } = seen, [input, output, kernel, paper] =
      colours(root, "input", "output", "kernel", "paper");
    const form = (text, build) => {
      if (text !== shownForm) { shownForm = text; panel.replaceChildren(); paintPanel = build(); }
    };
    const ink = { positive: input, negative: kernel, paper };
    if (maps) {
      form(JSON.stringify([maps.maps.map(({ shape }) => shape), maps.kernels?.values.length]),
        () => mapsPanel(panel, maps));
      paintPanel(maps, classes, { ...ink, kernels: { positive: kernel, negative: input, paper },
        maps: { positive: output, negative: kernel, paper } });
    } else if (mistakes) {
      form("mistakes", () => mistakesPanel(panel));
      paintPanel(mistakes, classes, ink);
    } else if (inside) {
      form("layers", () => {
        const svg = h("svg", { role: "img", "aria-label": "How large activations and gradients are" });
        panel.append(svg, h("p", { class: "d2-hint" }, "For each layer, how many of its numbers have " +
          "which size, after 64 garments. A dead unit is 0 for all of them."));
        return (found) => insides(svg, layers(), found);
      });
      paintPanel(inside);
    } else form("none", () => {
      panel.append(h("p", { class: "d2-hint" }, "Press Train to see inside."));
      return () => {};
    });
  }

  function show() {
    const now = settings(), text = JSON.stringify(now), packed = get("packed");
    if (session && text !== sent) {
      if (going && !equal(JSON.parse(sent).runs, now.runs)) news = "Changed: it begins anew.";
      session.tell({ settings: now });
      sent = text;
    }
    if (packed !== mine && packed?.byteLength) {
      mine = packed;
      load(packed);
    }
    showControls();
    if (!going || !prefersStillness()) {
      const look = JSON.stringify([get("steps"), widthOf(lossChart)]);
      if (shownHistory !== get("history") || shownChart !== look) showCharts();
      [shownHistory, shownChart] = [get("history"), look];
      showPanel();
    }
    say(words, news || (get("history").length ? reading(runs(), get("history"), reports)
      : "Press Train. It learns here, in this page."));
  }
  async function load(packed) {
    const { buffer, byteOffset, byteLength } = packed;
    const values = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
    (await open())?.tell({ load: values });
  }

  const pause = () => { if (going) train("none"); };
  const unwatch = pauseUnseen(root, pause), unfollow = followTheme(later);
  return view.mount(el, root, show, () => {
    if (session && hostScript()) model.set({ history: [], packed: none() }); // the page keeps nothing
    end();
    unwatch();
    unfollow();
  });
}

export default { render, fits };
