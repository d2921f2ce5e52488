// Which numbers share a mean. The numbers x have the shape (N, C, P): N images, C channels, and
// P = H·W places, so x[n][c][p]. A set is what shares one mean and one variance; it always consists
// of whole channels of images.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const MOST = { images: 4, channels: 6, places: 4 };
const EPS = 1e-5; // PyTorch's
const NAMES = { batch: "Batch", layer: "Layer", instance: "Instance", group: "Group" };

/** The shape (N, C, P). */
export const shapeOf = (x) => [x.length, x[0].length, x[0][0].length];

/** The numbers of groups that channels can be split into. */
export const divisors = (channels) =>
  Array.from({ length: channels }, (_, i) => i + 1).filter((g) => channels % g === 0);

const channelwise = (N, C, value) => matrix(N, C, value);

/** The set of each channel of each image, (N, C), counted from 0. */
export const setsOf = (method, groups, N, C) => channelwise(N, C, (n, c) => ({
  batch: c, layer: n, instance: n * C + c, group: n * groups + Math.floor(c * groups / C) })[method]);

/** How many means there are. */
export const countOf = (method, groups, N, C) =>
  ({ batch: C, layer: N, instance: N * C, group: N * groups })[method];

/** The mean and the (biased) variance of each set, and how many numbers a set has. */
export function statistics(x, method, groups) {
  const [N, C] = shapeOf(x), sets = setsOf(method, groups, N, C);
  const members = Array.from({ length: countOf(method, groups, N, C) }, () => []);
  x.forEach((image, n) => image.forEach((channel, c) => members[sets[n][c]].push(...channel)));
  const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const means = members.map(average);
  const variances = members.map((set, k) => average(set.map((value) => (value - means[k]) ** 2)));
  return { means, variances, size: members[0].length };
}

const isRunning = (state) => state.method === "batch" && state.mode === "eval";

/**
 * What the layer computes: the `means` and `variances` that it uses, the `sets` they belong to, x̂,
 * and y = γx̂ + β, with a γ and a β for each channel.
 */
export function normalize(state, eps = EPS) {
  const { values, method, groups, weight, bias, running_mean, running_var } = state;
  const [N, C] = shapeOf(values), sets = setsOf(method, groups, N, C);
  const { means, variances, size } = isRunning(state)
    ? { ...statistics(values, method, groups), means: running_mean, variances: running_var }
    : statistics(values, method, groups);
  const normal = channelwise(N, C, (n, c) => values[n][c].map((value) =>
    (value - means[sets[n][c]]) / Math.sqrt(variances[sets[n][c]] + eps)));
  const output = channelwise(N, C, (n, c) =>
    normal[n][c].map((value) => weight[c] * value + bias[c]));
  return { sets, means, variances, size, normal, output };
}

/** The running statistics after one training step: the variance that they take up is unbiased. */
export function step({ values, running_mean, running_var, momentum }) {
  const { means, variances, size } = statistics(values, "batch", 1);
  const towards = (old, now) => (1 - momentum) * old + momentum * now;
  return {
    running_mean: running_mean.map((old, c) => towards(old, means[c])),
    running_var: running_var.map((old, c) => towards(old, variances[c] * size / (size - 1))),
  };
}

/** Numbers of another shape: the old ones where there are any. */
export const resize = (x, N, C, P) => matrix(N, C, (n, c) => Array.from({ length: P },
  (_, p) => x[n]?.[c]?.[p] ?? (5 * n + 3 * c + 4 * p + 2 * n * p + 2) % 10));

/** The state that goes with numbers of another shape. */
export function agree(state, values) {
  const [N, C, P] = shapeOf(values);
  const fit = (vector, filling) => Array.from({ length: C }, (_, c) => vector[c] ?? filling);
  return {
    values, weight: fit(state.weight, 1), bias: fit(state.bias, 0),
    running_mean: fit(state.running_mean, 0), running_var: fit(state.running_var, 1),
    groups: divisors(C).findLast((g) => g <= state.groups),
    selected: state.selected.map((i, axis) => Math.min(i, [N, C, P][axis] - 1)),
  };
}

/** Do all shapes agree? As Python checks; a page asks it of a link. */
export function fits({ values, weight, bias, running_mean, running_var, groups, selected }) {
  const shape = shapeOf(values), vectors = [weight, bias, running_mean, running_var];
  return isMatrix(values) && isMatrix(values.flat()) && shape[1] % groups === 0 &&
    vectors.every(({ length }) => length === shape[1]) && selected.every((at, axis) => at < shape[axis]);
}

// ---- Words --------------------------------------------------------------------------------------

const subscript = (k) => [...String(k)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");

/** What the layer computes, and which set the chosen number belongs to. */
export function reading(state, [n, c, p] = state.selected) {
  const { values, method, groups } = state, [N, C, P] = shapeOf(values);
  const { sets, means, variances, size, normal, output } = normalize(state), k = sets[n][c];
  const number = `The number ${short(values[n][c][p])} (image ${n}, channel ${c}, place ${p})`;
  const becomes = `it becomes ${short(normal[n][c][p])}, and with γ and β ${short(output[n][c][p])}.`;
  if (isRunning(state)) return "No mean is computed from these images: every channel has its " +
    `running mean and variance. ${number} takes ${short(means[k])} and ${short(variances[k])}; ${becomes}`;
  const count = countOf(method, groups, N, C), images = counted(N, "image");
  const whose = {
    batch: `of a channel in all ${images}`, layer: `of all ${counted(C, "channel")} of an image`,
    instance: "of a channel of an image", group: `of ${counted(C / groups, "channel")} of an image`,
  }[method];
  return `${counted(count, "mean")} and ${counted(count, "variance")}, each of ` +
    `${counted(size, "number")}: those ${whose}. ${number} is in set ${k}, of mean ` +
    `${short(means[k])} and variance ${short(variances[k])}; ${becomes}`;
}

/** What else there is to know, in small letters. */
function hint({ values, method, groups, mode }) {
  const [N, C, P] = shapeOf(values), { size } = statistics(values, method, groups);
  if (method === "batch" && mode === "eval") return "Change a number: the outputs of all other " +
    "numbers stay as they are.";
  if (size === 1) return "A mean of one number is that number: every x̂ is 0. d2lite refuses this.";
  return {
    batch: "Change a number of one image: the outputs of the other images change too.",
    layer: `nn.LayerNorm learns a γ and a β for each of the ${C * P} numbers of an image; here ` +
      "there is one for each channel.",
    instance: "nn.InstanceNorm2d has γ and β only if asked: affine=True.",
    group: groups === 1 ? "One group: the sets of layer normalization."
      : groups === C ? "A group for each channel: the sets of instance normalization."
      : `The first group of each image: channels 0 ${C / groups > 2 ? "to" : "and"} ${C / groups - 1}.`,
  }[method];
}

/** x̂ and y of the chosen number, worked out, as MathML. */
function formulas(state, [n, c, p]) {
  const { sets, means, variances, normal, output } = normalize(state), k = sets[n][c];
  const leaf = (tag) => (text) => `<${tag}>${text}</${tag}>`;
  const mi = leaf("mi"), mo = leaf("mo"), mn = (x) => `<mn>${typeof x === "number" ? short(x) : x}</mn>`;
  const row = (...parts) => `<mrow>${parts.join("")}</mrow>`;
  const fraction = (top, bottom) => `<mfrac>${top}<msqrt>${bottom}</msqrt></mfrac>`;
  const signed = (x) => x < 0 ? row(mo("("), mn(x), mo(")")) : mn(x);
  const variable = (text, tone) => `<mi class="d2-${tone}">${text}</mi>`;
  const math = (...parts) => `<math displaystyle="true">${row(...parts)}</math>`;
  const hat = `<mover>${variable("x", "x")}<mo>ˆ</mo></mover>`;
  return math(hat, mo("="),
    fraction(row(variable("x", "x"), mo("−"), mi("μ")), row("<msup><mi>σ</mi><mn>2</mn></msup>", mo("+"), mi("ε"))),
    mo("="), fraction(row(mn(state.values[n][c][p]), mo("−"), signed(means[k])),
      row(mn(variances[k]), mo("+"), mi("ε"))),
    mo("="), mn(normal[n][c][p])) +
    math(variable("y", "y"), mo("="), mi("γ"), hat, mo("+"), mi("β"), mo("="),
      signed(state.weight[c]), mo("·"), signed(normal[n][c][p]), mo("+"), signed(state.bias[c]),
      mo("="), `<mn class="d2-y">${short(output[n][c][p])}</mn>`);
}

// ---- Grids --------------------------------------------------------------------------------------

/** Numbers (N, C, P) as rows of a table: a row for each place of each image. */
const rowsOf = (x) => x.flatMap((image) =>
  image[0].map((_, p) => image.map((channel) => channel[p])));

/**
 * Give a table of N·P rows and C columns its headings: channels above, images at the left, and above
 * each block of places the name of its set. Returns the cells of the names, (N, C).
 */
function frame({ element, cells }, [N, C, P]) {
  const rows = [...element.rows];
  const names = matrix(N, C, () => h("td", { class: "d2-set" }));
  for (let n = 0; n < N; n++) rows[n * P].before(h("tr", {},
    h("th", { scope: "rowgroup", rowspan: P + 1 }, h("span", {}, `image ${n}`)), ...names[n]));
  element.prepend(h("thead", {}, h("tr", {}, h("td"), ...Array.from({ length: C },
    (_, c) => h("th", { scope: "col" }, h("span", {}, "channel "), c)))));
  cells.forEach((row, i) => row.forEach((cell, c) => {
    if (cell.localName === "input")
      cell.ariaLabel = `image ${Math.floor(i / P)}, channel ${c}, place ${i % P}`;
  }));
  return names;
}

// ---- The explorer -------------------------------------------------------------------------------

const VECTORS = { weight: "γ", bias: "β", running_mean: "running mean", running_var: "running var." };
let figures = 0; // radio buttons of one figure share a name

function render({ model, el }) {
  const view = hold(model, ["values", "method", "groups", "weight", "bias", "running_mean",
    "running_var", "momentum", "mode", "selected"]);
  const initial = view.state(), name = `d2-normalization-${figures++}`;

  const radios = (trait, label, options) => {
    const inputs = {}, notes = {};
    const element = h("fieldset", { class: "d2-radios" }, h("legend", {}, label),
      ...Object.entries(options).map(([value, text]) => h("label", {},
        inputs[value] = h("input", { type: "radio", name: `${name}-${trait}`, value,
          onchange: () => view.set(trait, value) }), h("span", {}, text, notes[value] = h("small")))));
    return { element, inputs, notes };
  };
  const methods = radios("method", "Layer: which numbers share a mean?", NAMES);
  const modes = radios("mode", "Mode", { train: "train", eval: "eval" });
  const channels = () => shapeOf(view.get("values"))[1];
  const size = (axis, label, max) => slider(view, null, { label, min: 1, max,
    read: () => shapeOf(view.get("values"))[axis],
    write(n) {
      const values = view.get("values"), shape = shapeOf(values).with(axis, n);
      view.set(agree(view.state(), resize(values, ...shape)));
    } });
  const groups = slider(view, null, { label: "Groups g", max: () => divisors(channels()).length - 1,
    hidden: () => view.get("method") !== "group", tell: () => String(view.get("groups")),
    read: () => divisors(channels()).indexOf(view.get("groups")),
    write: (i) => view.set("groups", divisors(channels())[i]) });
  const momentum = slider(view, "momentum", { label: "Momentum", max: 1, step: 0.1 });
  const stepButton = button("One training step", () => view.set(step(view.state())));
  const restart = button("Reset running statistics", () => view.set({
    running_mean: Array(channels()).fill(0), running_var: Array(channels()).fill(1) }));
  const normal = () => Math.random() + Math.random() + Math.random() + Math.random() - 2;
  const draw = button("New numbers", () => {
    const [N, C, P] = shapeOf(view.get("values"));
    view.set("values", matrix(N, C, (n, c) => Array.from({ length: P },
      () => Math.round(3 + (c * 5) % 7 + (2 + c % 3) * normal() * 1.7))));
  });
  const reset = button("Reset all", () => view.set(initial));

  let shape = "", grids = {};
  const choose = (place) => view.set("selected", place);
  const panels = { x: h("div"), y: h("div"), vectors: h("div") };
  const maths = h("div", { class: "d2-maths" });
  const scene = h("div", { class: "d2-scene" },
    h("div", { class: "d2-room" }, h("p", {}, "input ", h("b", { class: "d2-x" }, "x"), ": type a number"), panels.x),
    h("div", { class: "d2-room" }, h("p", {}, "output ", h("b", { class: "d2-y" }, "y = γx̂ + β")), panels.y),
    h("div", { class: "d2-room d2-vectors" }, h("p", {}, "for each channel"), panels.vectors), maths);
  const over = pointing(view, scene, // the focus chooses, a mouse only looks
    ({ target }) => grids.places.get(target.closest("td")) ?? null, () => {});
  const words = readout();
  const small = h("p", { class: "d2-hint" });
  const controls = h("div", { class: "d2-controls" }, size(0, "Images N", MOST.images),
    size(1, "Channels C", MOST.channels), size(2, "Places H·W", MOST.places), groups);
  const ofBatch = h("div", { class: "d2-controls d2-batch" }, modes.element, momentum, stepButton, restart);
  const root = figure(view, "d2-normalization", methods.element, controls, scene, words, small,
    ofBatch, h("div", { class: "d2-controls" }, draw, reset));

  /** Make the tables anew, for another shape. */
  function build([N, C, P], vectors) {
    const place = (i, c) => [Math.floor(i / P), c, i % P];
    const x = fields("input x", N * P, C, 0, (i, c, value) => {
      const [n, , p] = place(i, c);
      view.set("values", view.get("values").map((image, m) => m !== n ? image
        : image.map((channel, d) => d !== c ? channel : channel.with(p, value))));
    });
    const y = numbers("output y", N * P, C, (i, c) => choose(place(i, c)));
    const vector = fields("γ and β, and running statistics", vectors.length, C, 0, (i, c, value) => {
      const name = vectors[i];
      if (name === "running_var" && value < 0) vector.cells[i][c].ariaInvalid = true;
      else view.set(name, view.get(name).with(c, value));
    });
    const places = new Map(); // of the cells of both tables
    for (const grid of [x, y]) grid.cells.forEach((row, i) => row.forEach((cell, c) =>
      places.set(cell.closest("td"), place(i, c))));
    x.element.addEventListener("focusin", ({ target }) => {
      const chosen = places.get(target.closest("td"));
      if (chosen) choose(chosen);
    });
    [...vector.element.rows].forEach((row, i) => {
      row.prepend(h("th", { scope: "row" }, VECTORS[vectors[i]]));
      vector.cells[i].forEach((cell, c) => { cell.ariaLabel = `${VECTORS[vectors[i]]}, channel ${c}`; });
    });
    grids = { x, y, vector, vectors, places,
      names: [frame(x, [N, C, P]), frame(y, [N, C, P])] };
    for (const [key, grid] of [["x", x], ["y", y], ["vectors", vector]]) {
      grid.element.style.setProperty("--c", C);
      panels[key].replaceChildren(grid.element);
    }
  }

  function show() {
    const state = view.state(), { values, method } = state, [N, C, P] = shapeOf(values);
    const isBatch = method === "batch", found = normalize(state);
    const vectors = Object.keys(VECTORS).slice(0, isBatch ? 4 : 2);
    if (shape !== `${[N, C, P]} ${isBatch}`) {
      shape = `${[N, C, P]} ${isBatch}`;
      build([N, C, P], vectors);
    }
    methods.inputs[method].checked = modes.inputs[state.mode].checked = true;
    for (const each in NAMES)
      methods.notes[each].textContent = counted(countOf(each, state.groups, N, C), "mean");
    ofBatch.hidden = !isBatch;
    stepButton.disabled = state.mode === "eval" || found.size < 2;

    const [n, c, p] = state.selected, [i, j, k] = over() ?? []; // over a cell that there still is?
    const place = values[i]?.[j]?.[k] === undefined ? state.selected : [i, j, k];
    const set = found.sets[place[0]][place[1]];
    const plain = () => 0;
    grids.x.fill(rowsOf(values), plain);
    grids.y.fill(rowsOf(found.output), plain);
    grids.vector.fill(vectors.map((name) => state[name]), plain);
    grids.y.select(n * P + p, c);
    const mark = (cell, k, chosen) => {
      cell.dataset.tone = k % 4;
      cell.dataset.pattern = Math.floor(k / 4) % 6;
      cell.classList.toggle("member", k === set);
      cell.classList.toggle("chosen", chosen);
    };
    for (const [cell, at] of grids.places)
      mark(cell, found.sets[at[0]][at[1]], String(at) === String(place));
    for (const names of grids.names) names.forEach((row, i) => row.forEach((cell, j) => {
      mark(cell, found.sets[i][j], false);
      cell.textContent = `μ${subscript(found.sets[i][j])}`;
    }));
    say(words, reading(state, place));
    maths.innerHTML = formulas(state, place);
    small.textContent = hint(state);
  }
  return view.mount(el, root, show);
}

export default { render, fits };
