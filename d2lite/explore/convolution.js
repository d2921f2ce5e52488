// A kernel slides over an input: drag it, edit any number, see every product and the sum.
// Rows and columns count from 0, as in Python.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** How many windows fit along an axis of n cells. Below 1: the kernel does not fit. */
export function outputSize(n, k, stride, padding, dilation) {
  return Math.floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1;
}

/** The weights as they slide over the input: a convolution turns the kernel by 180°. */
export function weights(kernel, operation) {
  const [last, end] = [kernel.length - 1, kernel[0].length - 1];
  return operation !== "convolution" ? kernel
    : kernel.map((row, i) => row.map((_, j) => kernel[last - i][end - j]));
}

/** One output cell: what its window sees (null for padding), the weights, the products, the sum. */
export function explain(input, kernel, stride, padding, dilation, operation, row, column) {
  const [top, left] = [row * stride - padding, column * stride - padding];
  const seen = matrix(kernel.length, kernel[0].length, (i, j) =>
    input[top + i * dilation]?.[left + j * dilation] ?? null);
  const weight = weights(kernel, operation);
  const products = seen.map((line, i) => line.map((x, j) => (x ?? 0) * weight[i][j]));
  return { seen, weight, products, sum: products.flat().reduce((a, b) => a + b, 0) };
}

/** The whole output, as rows; empty where the kernel does not fit. */
export function correlate(input, kernel, stride, padding, dilation, operation) {
  const rows = outputSize(input.length, kernel.length, stride, padding, dilation);
  const columns = outputSize(input[0].length, kernel[0].length, stride, padding, dilation);
  if (columns < 1) return [];
  return matrix(rows, columns, (i, j) =>
    explain(input, kernel, stride, padding, dilation, operation, i, j).sum);
}

/** Are these matrices, and is there such an output? As Python checks; a page asks it of a link. */
export const fits = ({ input, kernel, stride, padding, dilation, row, column }) =>
  isMatrix(input) && isMatrix(kernel) && [[row, 0], [column, 1]].every(([at, axis]) =>
    at < Math.max(1, outputSize(sides(input)[axis], sides(kernel)[axis], stride, padding, dilation)));

// ---- Presets ------------------------------------------------------------------------------------

const pascal = (k) =>
  k === 1 ? [1] : [...pascal(k - 1), 0].map((x, i, row) => x + (row[i - 1] ?? 0));

/** Kernels of any size k; those that exist in one size only leave k aside. */
const KERNELS = {
  "identity": (k) => matrix(k, k, (i, j) => Number(i === k >> 1 && j === k >> 1)),
  "box blur": (k) => matrix(k, k, () => 1 / (k * k)),
  "Gaussian blur": (k) => matrix(k, k, (i, j) => pascal(k)[i] * pascal(k)[j] / 4 ** (k - 1)),
  "Sobel x": () => [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
  "Sobel y": () => [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
  "Laplacian": () => [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
  "sharpen": () => [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
  "emboss": () => [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
  "difference": () => [[-1, 1]],
};

/** Inputs with n rows and m columns. */
const INPUTS = {
  "vertical bar": (n, m) => matrix(n, m, (i, j) => Number(Math.abs(j - (m - 1) / 2) < 1)),
  "edge": (n, m) => matrix(n, m, (i, j) => Number(j >= m / 2)),
  "cross": (n, m) => matrix(n, m, (i, j) => Number(i === n >> 1 || j === m >> 1)),
  "diagonal": (n, m) => matrix(n, m, (i, j) => Number(i === j)),
  "single 1": (n, m) => matrix(n, m, (i, j) => Number(i === n >> 1 && j === m >> 1)),
  "0, 1, 2, …": (n, m) => matrix(n, m, (i, j) => i * m + j),
};

const presetOf = (kernel) =>
  Object.keys(KERNELS).find((name) => equal(KERNELS[name](kernel.length), kernel)) ?? "";

/** The kernel in another size: a preset stays one, others are cropped or framed with zeros. */
function resize(kernel, k) {
  const preset = KERNELS[presetOf(kernel)]?.(k);
  const [up, left] = [kernel.length, kernel[0].length].map((size) => (size >> 1) - (k >> 1));
  return preset?.length === k ? preset : matrix(k, k, (i, j) => kernel[i + up]?.[j + left] ?? 0);
}

// ---- What is shown of one output cell -----------------------------------------------------------

const sides = (m) => [m.length, m[0]?.length ?? 0];
const size = (m) => sides(m).join("×");
const signed = (x) => x < 0 ? `(${short(x)})` : short(x);
const rounded = (x) => Number(x.toPrecision(5));
const isExact = (x) => Math.abs(rounded(x) - x) < 1e-9;

/** The formula for an axis, with its numbers put in. */
function formula(name, n, k, stride, padding, dilation) {
  const coloured = (x, kind) => h("span", { style: `color: var(--d2-${kind})` }, minus(x));
  return h("p", {}, `Output ${name} = ⌊(`, coloured(n, "input"), ` + 2·${padding} − ${dilation}·(`,
    coloured(k, "kernel"), ` − 1) − 1) / ${stride}⌋ + 1 = `,
    coloured(outputSize(n, k, stride, padding, dilation), "output"));
}

/** The products behind one output cell: a card each, and a line of terms where they are few. */
function products(rows, columns) {
  const span = (kind) => h("span", { class: `d2-${kind}` });
  const cards = matrix(rows, columns, () => ({
    seen: span("seen"), weight: span("weight"), product: span("product"),
    term: [span("seen"), span("weight")],
  }));
  const element = h("div", { class: "d2-cards", style: `--columns: ${columns}` },
    ...cards.flat().map(({ seen, weight, product }) => h("div", {}, seen, weight, product)));
  element.classList.toggle("d2-many", columns > 5);
  const terms = rows * columns > 9 ? [`the sum of ${rows * columns} products`]
    : cards.flat().flatMap(({ term: [x, w] }, i) => [i ? " + " : "", h("span", {}, x, "·", w)]);
  const fill = ({ seen, weight, products }, grey) => {
    const share = shareOf(products);
    cards.forEach((row, i) => row.forEach((card, j) => {
      const [x, w, product] = [seen[i][j] ?? 0, weight[i][j], products[i][j]];
      card.seen.textContent = short(x);
      card.weight.textContent = short(w);
      card.product.textContent = short(product);
      card.term[0].textContent = signed(x);
      card.term[1].textContent = signed(w);
      card.seen.classList.toggle("padding", seen[i][j] === null);
      tint(card.seen, grey(x));
      tint(card.product, share(product), product < 0);
    }));
  };
  return { element, terms, fill };
}

// ---- The pointer --------------------------------------------------------------------------------

/**
 * Drag the window: with a mouse from anywhere in the frame, with a finger from the window itself,
 * so that a finger elsewhere scrolls the page. A press without a drag is a click.
 */
function draggable(frame, handle, { start, drag, click }) {
  let press = null, dragging = false;
  const place = ({ clientX, clientY }) => {
    const { left, top } = frame.getBoundingClientRect();
    return [clientY - top, clientX - left];
  };
  frame.addEventListener("pointerdown", (event) => {
    dragging = false;
    if (event.button || event.pointerType === "touch" && !handle.contains(event.target)) return;
    press = { id: event.pointerId, at: place(event), on: handle.contains(event.target) };
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (press?.id !== event.pointerId) return;
    const at = place(event);
    if (!dragging && Math.hypot(at[0] - press.at[0], at[1] - press.at[1]) < 3) return;
    if (!dragging) start(press.at, press.on);
    dragging = true;
    drag(at);
  });
  frame.addEventListener("lostpointercapture", () => { press = null; });
  frame.addEventListener("mousedown", (event) => event.preventDefault()); // selects no text
  frame.addEventListener("click", (event) => { if (!dragging) click(place(event)); });
}

// ---- The explorer -------------------------------------------------------------------------------

const SETTINGS = ["input", "kernel", "stride", "padding", "dilation", "operation"];
const isLarge = (input) => Math.max(...sides(input)) > 8; // an image, no numbers

function render({ model, el }) {
  const view = hold(model, [...SETTINGS, "row", "column"]);
  const settings = () => SETTINGS.map((name) => view.get(name));
  const initial = view.state();
  let output = [];

  // ---- The chosen output cell: by hand, by step, by the clock ----

  function choose(row, column) {
    const inside = (at, size) => Math.max(0, Math.min(size - 1, at));
    const place = [inside(row, output.length), inside(column, output[0]?.length ?? 0)];
    if (equal(place, [view.get("row"), view.get("column")])) return;
    view.set({ row: place[0], column: place[1] });
  }

  const pick = (row, column) => { pause(); choose(row, column); };

  /** On to the next output cell in reading order, and from the last to the first. */
  function step() {
    const columns = output[0].length;
    const next = (view.get("row") * columns + view.get("column") + 1) % output.flat().length;
    choose(Math.floor(next / columns), next % columns);
    return next;
  }

  let timer = null;
  /** Step through the output, which appears cell by cell, in 20 s at most. */
  function play() {
    const count = output.flat().length;
    let at = view.get("row") * output[0].length + view.get("column");
    if (at === count - 1) choose(0, at = 0);
    grids.output.reveal(at + 1);
    timer = setInterval(() => {
      at = step();
      grids.output.reveal(at + 1);
      if (at >= output.flat().length - 1) pause();
    }, Math.max(40, Math.min(700, 20000 / count)));
    view.later();
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    grids.output.reveal(Infinity);
    view.later();
  }

  function reset() {
    pause();
    view.set(initial);
  }

  // ---- What stays: controls, panels ----

  const given = view.get("input");
  const shape = isLarge(given) ? [6, 6] : sides(given);
  const inputs = { "as given": given };
  for (const name of Object.keys(INPUTS)) inputs[name] = INPUTS[name](...shape);

  const menus = h("div", { class: "d2-controls" },
    menu(view, "input", {
      label: "Input", options: Object.keys(inputs), own: "your own",
      read: () => Object.keys(inputs).find((name) => equal(inputs[name], view.get("input"))) ?? "",
      write: (name) => view.set("input", inputs[name]),
    }),
    menu(view, "kernel", {
      label: "Kernel", options: Object.keys(KERNELS), own: "your own",
      read: () => presetOf(view.get("kernel")),
      write: (name) => view.set("kernel", KERNELS[name](Math.max(3, view.get("kernel").length))),
    }),
    menu(view, "operation",
      { label: "Operation", options: ["cross-correlation", "convolution"] }));
  const sliders = h("div", { class: "d2-controls" },
    slider(view, "kernel", {
      label: "Kernel size", min: 1, max: 5, read: () => Math.max(...sides(view.get("kernel"))),
      write: (k) => view.set("kernel", resize(view.get("kernel"), k)),
    }),
    slider(view, "stride", { label: "Stride", min: 1, max: 3 }),
    slider(view, "padding", { label: "Padding", max: 3 }),
    slider(view, "dilation", { label: "Dilation", min: 1, max: 3 }));

  const handle = h("div", {
    class: "d2-window", role: "slider", tabindex: 0, "aria-label": "Kernel window",
    "aria-roledescription": "2-D slider", "aria-valuemin": 0,
    onkeydown: (event) => {
      if (!ARROWS[event.key]) return;
      event.preventDefault();
      const [down, right] = ARROWS[event.key];
      pick(view.get("row") + down, view.get("column") + right);
    },
  });
  const ring = h("div", { class: "d2-ring" });
  const panel = (name) => {
    const title = h("span"), note = h("p", { class: "d2-note" });
    const frame = h("div", { class: "d2-frame" });
    const element = h("div", { class: `d2-of-${name.toLowerCase()}` },
      h("p", { class: "d2-title" }, h("b", {}, name), " ", title), frame, note);
    return { element, title, frame, note };
  };
  const panels = { input: panel("Input"), kernel: panel("Kernel"), output: panel("Output") };
  const sign = (text) => h("span", { class: "d2-sign", "aria-hidden": "true" }, text);
  const operator = sign("⋆");
  const scene = h("div", { class: "d2-scene" }, panels.input.element, operator,
    panels.kernel.element, sign("="), panels.output.element);

  const playButton = button("Play", () => timer ? pause() : play());
  const stepButton = button("Step", () => { pause(); step(); });
  const buttons = h("div", { class: "d2-controls" },
    stepButton, prefersStillness() ? null : playButton, button("Reset", reset),
    h("p", { class: "d2-note" }, "Drag the window. Type into the cells."));
  const place = h("span"), sum = h("b"), terms = h("p", { class: "d2-terms" });
  const holder = h("div"), formulas = h("div"), words = readout();
  const explanation = h("div", { class: "d2-result" }, holder,
    h("div", {}, h("p", { class: "d2-sum" }, place, " ", sum), terms, formulas, words));
  const root = figure(view, "d2-convolution", menus, sliders, scene, buttons, explanation);

  // ---- Drawing: build when a shape changes, fill when a number does, point when a place does ----

  let grids, cards, taps, grey, cell, built, drawn = [], fitted, speech = null;

  function draw() {
    if (settings().some((value, i) => value !== drawn[i])) {
      drawn = settings();
      output = correlate(...settings());
      choose(view.get("row"), view.get("column"));
      const [input, kernel, ...others] = settings();
      const shapes = [size(input), size(kernel), ...others].join();
      if (shapes !== built) { built = shapes; build(); }
      fill();
    }
    if (scene.clientWidth !== fitted) fit();
    point();
  }

  function build() {
    const [input, kernel, stride, padding, dilation] = settings();
    const [[n, m], [k, l]] = [input, kernel].map(sides);
    const edit = (name) => (i, j, value) =>
      view.set(name, view.get(name).map((row, y) => y === i ? row.with(j, value) : row));
    grids = {
      input: isLarge(input) ? pixels(`Input, ${size(input)} pixels`, n, m, padding)
        : fields("Input", n, m, padding, edit("input")),
      kernel: fields("Kernel", k, l, 0, edit("kernel")),
      output: isLarge(input) ? pixels(`Output, ${size(output)} pixels`, output.length, output[0]?.length, 0)
        : numbers("Output", output.length, output[0]?.length, pick),
    };
    panels.input.frame.replaceChildren(grids.input.element, handle);
    panels.kernel.frame.replaceChildren(grids.kernel.element);
    panels.output.frame.replaceChildren(grids.output.element, ring);
    taps = matrix(k, l, () => h("b"));
    handle.style.cssText = `--columns: ${l}; --dilation: ${dilation}`;
    handle.replaceChildren(...taps.flat().map((tap) => h("span", {}, tap)));
    cards = products(k, l);
    holder.replaceChildren(cards.element);
    terms.replaceChildren(...cards.terms);
    formulas.replaceChildren(
      h("p", { class: "d2-note" }, "⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1"),
      ...(n === m && k === l ? [["size", n, k]] : [["height", n, k], ["width", m, l]])
        .map((axis) => formula(...axis, stride, padding, dilation)));
    root.classList.toggle("d2-large", isLarge(input));
    root.classList.toggle("d2-empty", !output.length);
    stepButton.disabled = playButton.disabled = !output.length;
    if (!output.length) pause();
    fit();
  }

  /** Make the cells as large as there is room for: all panels side by side, or images in a pair above
   *  the kernel, or one above the other. */
  function fit() {
    const [input, kernel, , padding] = settings();
    const [wide, narrow] = [input[0].length + 2 * padding, output[0]?.length ?? 3];
    const [least, most] = isLarge(input) ? [7, Math.min(14, 448 / Math.max(wide, narrow))] : [32, 44];
    const room = fitted = scene.clientWidth, kernelAndSigns = kernel[0].length * 42 + 2 * 34;
    const beside = (room - kernelAndSigns) / (wide + narrow);
    const stacked = beside < Math.min(least, most), inPair = (room - 12) / (wide + narrow);
    const paired = stacked && isLarge(input) && inPair >= 5;
    const dots = window.devicePixelRatio; // a cell is a whole number of the screen's dots
    const side = (cells) => Math.floor(
      dots * Math.min(most, paired ? inPair : stacked ? room / cells : beside)) / dots;
    cell = { input: side(wide), output: side(narrow) };
    for (const name of ["input", "output"])
      panels[name].element.style.setProperty("--cell", `${cell[name]}px`);
    root.classList.toggle("d2-stacked", stacked);
    root.classList.toggle("d2-paired", paired);
    root.classList.toggle("d2-tight", cell.input < 36);
  }

  function fill() {
    const [input, kernel, , , , operation] = settings();
    const all = input.flat();
    const low = Math.min(0, ...all), range = Math.max(...all) - low || 1;
    grey = (x) => (x - low) / range;
    grids.input.fill(input, grey);
    grids.kernel.fill(kernel, shareOf(kernel));
    grids.output.fill(output, shareOf(output));
    weights(kernel, operation).forEach((row, i) =>
      row.forEach((w, j) => { taps[i][j].textContent = short(w); }));
    for (const [name, values] of Object.entries({ input, kernel, output }))
      panels[name].title.textContent = size(values);
    operator.textContent = operation === "convolution" ? "∗" : "⋆";
    panels.kernel.note.textContent = operation === "convolution" ? "slides turned by 180°" : "";
    const largest = Math.max(...output.flat().map(Math.abs));
    panels.output.note.classList.toggle("d2-scale", isLarge(input) && output.length > 0);
    panels.output.note.replaceChildren(...!output.length ? ["The kernel does not fit."]
      : isLarge(input) ? [short(-largest), h("i"), short(largest)] : []);
  }

  function point() {
    const [row, column, stride] = ["row", "column", "stride"].map((name) => view.get(name));
    playButton.textContent = timer ? "Pause" : "Play";
    clearTimeout(speech);
    speech = setTimeout(() => { if (!timer) say(words, sentence()); }, 300);
    if (!output.length) return;
    const found = explain(...settings(), row, column);
    cards.fill(found, grey);
    place.textContent = `Output[${row}, ${column}]`;
    sum.textContent = `${isExact(found.sum) ? "=" : "≈"} ${minus(rounded(found.sum))}`;
    const jump = stride * cell.input;
    handle.style.translate = `${column * jump}px ${row * jump}px`;
    handle.ariaValueMax = output.flat().length - 1;
    handle.ariaValueNow = row * output[0].length + column;
    handle.ariaValueText = `row ${row}, column ${column} of the output`;
    ring.style.translate = `${column * cell.output}px ${row * cell.output}px`;
    grids.output.select?.(row, column);
  }

  function sentence() {
    const [input, kernel, , padding, dilation] = settings();
    if (!output.length) {
      const [tall, wide] = [kernel.length, kernel[0].length].map((k) => dilation * (k - 1) + 1);
      const [height, width] = [input.length, input[0].length].map((n) => n + 2 * padding);
      return `The kernel spans ${tall}×${wide} cells, the padded input only ${height}×${width}: `
        + "it does not fit, and there is no output. PyTorch raises an error.";
    }
    const [row, column] = [view.get("row"), view.get("column")];
    const { seen, sum } = explain(...settings(), row, column);
    const [count, zeros] = [seen.flat().length, seen.flat().filter((x) => x === null).length];
    return `Row ${row}, column ${column} of the output is `
      + `${isExact(sum) ? "" : "about "}${minus(rounded(sum))}: the sum of ${count} `
      + `product${count > 1 ? "s" : ""}${zeros ? `, ${zeros} of them with padding` : ""}.`;
  }

  // ---- Events ----

  let grab;
  const half = () => [handle.offsetHeight / 2, handle.offsetWidth / 2];
  const drag = (at) => {
    const jump = view.get("stride") * cell.input;
    pick(...at.map((x, axis) => Math.round((x - grab[axis]) / jump)));
  };
  draggable(panels.input.frame, handle, {
    start: ([y, x], onWindow) => {
      const jump = view.get("stride") * cell.input;
      grab = onWindow ? [y - view.get("row") * jump, x - view.get("column") * jump] : half();
      handle.focus({ preventScroll: true });
    },
    drag,
    click: (at) => {
      const [i, j] = at.map((x) => Math.floor(x / cell.input) - view.get("padding"));
      const target = grids.input.cells[i]?.[j];
      if (target?.localName === "input") return target.focus();
      grab = half();
      drag(at);
      handle.focus({ preventScroll: true });
    },
  });
  for (const event of ["pointermove", "click"])
    panels.output.frame.addEventListener(event, ({ clientX, clientY, pointerType }) => {
      if (event === "pointermove" && pointerType !== "mouse") return; // a finger scrolls the page
      const { left, top } = panels.output.frame.getBoundingClientRect();
      pick(...[clientY - top, clientX - left].map((x) => Math.floor(x / cell.output)));
    });

  return view.mount(el, root, draw, () => { pause(); clearTimeout(speech); });
}

export default { render, fits };
