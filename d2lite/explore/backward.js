// The way back through a convolution: what an output's gradient sends to the inputs it read and to
// the weights that met them. Rows and columns count from 0, as in Python.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** How many windows fit along an axis of n cells. */
export function outputSize(n, k, stride, padding) {
  return Math.floor((n + 2 * padding - k) / stride) + 1;
}

/** Every product of the forward pass: which output it is part of, which input met which weight. The
 *  value x is null where the input is padding. */
export function products(input, kernel, stride, padding) {
  const rows = outputSize(input.length, kernel.length, stride, padding);
  const columns = outputSize(input[0].length, kernel[0].length, stride, padding);
  return matrix(rows, columns, (row, column) => kernel.flatMap((line, a) => line.map((w, b) => {
    const [i, j] = [row * stride - padding + a, column * stride - padding + b];
    return { output: [row, column], input: [i, j], kernel: [a, b], w, x: input[i]?.[j] ?? null };
  }))).flat(2);
}

/** The gradients of the input and of the kernel, given that of the output. */
export function backward(input, kernel, gradient, stride, padding) {
  const [toInput, toKernel] = [input, kernel].map((values) => values.map((row) => row.map(() => 0)));
  for (const product of products(input, kernel, stride, padding)) {
    const { output: [row, column], input: [i, j], kernel: [a, b], w, x } = product;
    const g = gradient[row][column];
    if (x === null) continue; // the padding is no input, and a weight that meets it sees zero
    toInput[i][j] += g * w;
    toKernel[a][b] += g * x;
  }
  return { input: toInput, kernel: toKernel };
}

/** The matrix in another shape: cropped, or filled up with zeros. */
export function resized(values, rows, columns) {
  return matrix(rows, columns, (i, j) => values[i]?.[j] ?? 0);
}

/** Are these matrices? As Python checks; a page asks it of a link. */
export const fits = ({ input, kernel, gradient }) => [input, kernel, gradient].every(isMatrix);

// ---- Words --------------------------------------------------------------------------------------

const at = ([i, j]) => `[${i}, ${j}]`;
const size = (m) => `${m.length}×${m[0].length}`;
const factor = (x) => x < 0 ? `(${short(x)})` : short(x);

const same = ([i, j], [k, l]) => i === k && j === l; // called for each product

/** What one output sends back, over the kernel's shape: "−2, 0 / 4, 1". */
const sent = (found, kernel, amount) => kernel.map((row, a) => row.map((_, b) =>
  short(amount(found[a * row.length + b]))).join(", ")).join(" / ");

/** The result in words and numbers. `found`: the products that meet what was `asked` for. */
function sentence({ kind, place }, found, gradient, kernel, alone) {
  const g = (p) => gradient[p.output[0]][p.output[1]];
  if (kind === "output") {
    const value = gradient[place[0]][place[1]], lost = found.filter((p) => p.x === null).length;
    if (value === 0) return `Output ${at(place)} has gradient 0: it sends nothing back.`;
    const other = gradient.flat().filter((x) => x !== 0).length - 1;
    return `Output ${at(place)} has gradient ${short(value)}. Its inputs receive ${short(value)} `
      + `times the weights: ${sent(found, kernel, (p) => value * p.w)}`
      + (lost ? `; ${lost} of these are lost in the padding` : "")
      + `. The weights receive ${short(value)} times the inputs: `
      + `${sent(found, kernel, (p) => value * p.x)}.`
      + (alone || !other ? "" : ` The lower grids add up ${counted(other + 1, "output")}.`);
  }
  const met = found.filter((p) => p.x !== null), live = met.filter((p) => g(p) !== 0);
  const value = (p) => kind === "input" ? p.w : p.x, name = kind === "input" ? "Input" : "Weight";
  const sum = minus(Number(met.reduce((total, p) => total + g(p) * value(p), 0).toPrecision(5)));
  const was = kind === "input" ? `was read by ${counted(met.length, "output")}`
    : `met ${counted(met.length, "input")}`;
  const terms = live.length > 9 ? `the sum of ${live.length} products, ${sum}`
    : live.length ? `${live.map((p) => `${factor(g(p))}·${factor(value(p))}`).join(" + ")} = ${sum}`
    : "0";
  return `${name} ${at(place)} ${was}${alone ? " that you chose" : ""} and receives ${terms}.`;
}

const MOST = 2; // cells of padding on each side

// ---- The explorer -------------------------------------------------------------------------------

function render({ model, el }) {
  const all = "all outputs", alone = "this output only";
  const view = hold(model,
    ["input", "kernel", "gradient", "stride", "padding", "view", "row", "column"]);
  const initial = view.state(), grids = {};
  const settings = () => ["input", "kernel", "stride", "padding"].map((name) => view.get(name));
  let shape, asked = null; // a cell of a lower grid, or null: the chosen output

  const shapeOf = (input, kernel, ...others) =>
    [outputSize(input.length, kernel.length, ...others),
      outputSize(input[0].length, kernel[0].length, ...others)];
  const gradientOf = () => resized(view.get("gradient"), ...shape);
  const chosen = () =>
    ["row", "column"].map((name, axis) => Math.min(view.get(name), shape[axis] - 1));

  function choose(row, column) {
    asked = null;
    view.set({ row, column });
    view.later();
  }
  const ask = (kind) => (i, j) => { asked = { kind, place: [i, j] }; view.later(); };
  const fill = (value) => view.set("gradient", matrix(...shape, value));

  const controls = h("div", { class: "d2-controls" },
    slider(view, "stride", { label: "Stride", min: 1, max: 3 }),
    slider(view, "padding", { label: "Padding", max: MOST }),
    menu(view, "view",
      { label: "Send back", options: { [all]: "all outputs, added up", [alone]: alone } }));
  const buttons = h("div", { class: "d2-controls" },
    button("All gradients 1", () => fill(() => 1)),
    button("Only the chosen one 1", () => {
      const place = chosen();
      fill((i, j) => Number(same(place, [i, j])));
    }),
    button("Reset", () => { asked = null; view.set(initial); }));
  const panel = (kind, name, symbol) => {
    const frame = h("div"), shown = h("span");
    return { frame, shown, element: h("div", { class: `d2-of-${kind}` },
      h("p", {}, `${name} `, h("b", {}, symbol), " ", shown), frame) };
  };
  const panels = {
    gradient: panel("gradient", "Gradient", "∂L/∂Y"),
    input: panel("input", "Input", "X"), toInput: panel("gradient", "Gradient", "∂L/∂X"),
    kernel: panel("kernel", "Kernel", "W"), toKernel: panel("gradient", "Gradient", "∂L/∂W"),
  };
  const column = (...names) => h("div", {}, ...names.map((name) => panels[name].element));
  const scene = h("div", { class: "d2-scene" }, column("gradient"),
    h("span", { class: "d2-sign", "aria-hidden": "true" }, "→"),
    column("input", "toInput"), column("kernel", "toKernel"));
  panels.gradient.frame.addEventListener("focusin", ({ target }) => {
    const flat = grids.gradient.cells.flat();
    choose(Math.floor(flat.indexOf(target) / shape[1]), flat.indexOf(target) % shape[1]);
  });
  const words = readout();
  const room = h("div", { class: "d2-room" }, scene);
  const root = figure(view, "d2-backward", controls, room, buttons, words);

  /** Make the grids whose shapes are new. */
  function build() {
    const [input, kernel, , padding] = settings(), gradient = gradientOf();
    const editable = (name, label, border = 0) => (rows, columns) =>
      fields(label, rows, columns, border, (i, j, value) => {
        const values = name === "gradient" ? gradientOf() : view.get(name);
        view.set(name, values.map((row, y) => y === i ? row.with(j, value) : row));
      });
    const readable = (kind, label) => (...sizes) => numbers(label, ...sizes, ask(kind));
    for (const [name, values, make] of [
      ["gradient", gradient, editable("gradient", "Gradient of the output")],
      ["input", input, editable("input", "Input", MOST)],
      ["toInput", input, readable("input", "Gradient of the input")],
      ["kernel", kernel, editable("kernel", "Kernel")],
      ["toKernel", kernel, readable("kernel", "Gradient of the kernel")],
    ]) {
      if (panels[name].shown.textContent === size(values)) continue;
      asked = null;
      panels[name].shown.textContent = size(values);
      grids[name] = make(values.length, values[0].length);
      panels[name].frame.replaceChildren(grids[name].element);
    }
    grids.input.element.dataset.padding = padding; // the style sheet hides what is beyond it
  }

  /** Mark the cells that the products meet. */
  function mark({ element }, border, places) {
    const marked = new Set(places.map(String));
    [...element.rows].forEach((row, i) => [...row.cells].forEach((cell, j) =>
      cell.classList.toggle("met", marked.has(String([i - border, j - border])))));
  }

  function draw() {
    const [input, kernel, stride, padding] = settings();
    shape = shapeOf(input, kernel, stride, padding);
    build();
    const gradient = gradientOf(), place = chosen(), only = view.get("view") === alone;
    const back = backward(input, kernel, only
      ? gradient.map((row, i) => row.map((g, j) => same(place, [i, j]) ? g : 0)) : gradient,
    stride, padding);
    const shown = { gradient, input, toInput: back.input, kernel, toKernel: back.kernel };
    for (const [name, values] of Object.entries(shown)) {
      const text = JSON.stringify(values);
      if (grids[name].shown !== text) grids[name].fill(values, shareOf(values));
      grids[name].shown = text;
    }
    const wanted = asked ?? { kind: "output", place };
    const found = products(input, kernel, stride, padding).filter((p) =>
      same(p[wanted.kind], wanted.place) && (!asked || !only || same(p.output, place)));
    mark(grids.gradient, 0, found.map((p) => p.output));
    mark(grids.input, MOST, found.map((p) => p.input));
    mark(grids.toInput, 0, wanted.kind === "kernel" ? [] : found.map((p) => p.input));
    mark(grids.kernel, 0, found.map((p) => p.kernel));
    mark(grids.toKernel, 0, wanted.kind === "input" ? [] : found.map((p) => p.kernel));
    say(words, sentence(wanted, found, gradient, kernel, only));
  }

  return view.mount(el, root, draw);
}

export default { render, fits };
