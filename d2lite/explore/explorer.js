// What all explorers share. explorer.py puts this text before each explorer's own module.

const NAMESPACES = {
  "http://www.w3.org/2000/svg": /^(svg|g|rect|line|path|text|circle|polygon|title)$/,
  "http://www.w3.org/1998/Math/MathML": /^(math|mrow|mn|mi|mo|mtext|mfrac|msub|msup)$/,
};

/** Make an element: h("button", { type: "button", onclick }, "Step"). SVG and MathML tags too. */
function h(tag, attributes = {}, ...children) {
  const namespace = Object.keys(NAMESPACES).find((uri) => NAMESPACES[uri].test(tag));
  const element = document.createElementNS(namespace ?? "http://www.w3.org/1999/xhtml", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Set a trait as the reader does: in the page and, where there is a kernel, in Python. */
function set(model, name, value) {
  model.set(name, value);
  model.save_changes();
}

/**
 * The model as one view sees it. `release()` takes away every handler that the view has added, here
 * or through `slider` and `menu`: render returns it as its clean-up.
 */
function hold(model) {
  const held = [];
  return {
    get: (name) => model.get(name),
    set: (name, value) => model.set(name, value),
    save_changes: () => model.save_changes(),
    on(event, handler) { model.on(event, handler); held.push([event, handler]); },
    release() { for (const [event, handler] of held.splice(0)) model.off(event, handler); },
  };
}

/**
 * A labelled slider, bound both ways to the trait `name`. Where the trait is no number, `read` makes
 * one of it, and `write` makes a trait's value of the slider's.
 */
function slider(model, name, { label, min, max, step = 1, read = (x) => x, write = (x) => x }) {
  const output = h("output");
  const input = h("input", {
    type: "range", min, max, step,
    oninput: () => set(model, name, write(Number(input.value))),
  });
  const show = () => {
    const value = read(model.get(name));
    input.max = Math.max(max, value);
    input.value = output.textContent = value;
  };
  model.on(`change:${name}`, show);
  show();
  return h("label", { class: "d2-field" }, h("span", {}, `${label} `, output), input);
}

/** A labelled menu, bound both ways to the trait `name`. `options`: { value: text }. */
function menu(model, name, { label, options, read = (x) => x, write = (x) => x }) {
  const input = h("select", { onchange: () => set(model, name, write(input.value)) },
    ...Object.entries(options).map(([value, text]) => h("option", { value }, text)));
  const show = () => { input.value = read(model.get(name)); };
  model.on(`change:${name}`, show);
  show();
  return h("label", { class: "d2-field" }, label, input);
}

/** A push button. */
function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

/** The line of text that says the result aloud: screen readers hear it change. */
function readout() {
  return h("p", { class: "d2-readout", role: "status", "aria-live": "polite" });
}

/** Does the reader ask for stillness? */
function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// ---- Grids: numbers in cells, and pixels --------------------------------------------------------

/** Rows of columns of values: matrix(2, 3, (i, j) => i + j). */
const matrix = (rows, columns, value) =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => value(i, j)));

const minus = (text) => String(text).replace("-", "−");

/** A number in as few digits as a cell has room for. */
function short(x) {
  const size = Math.abs(x);
  const rounded = size >= 100 ? x.toPrecision(4) : size >= 0.01 ? x.toFixed(2) : x.toPrecision(1);
  return minus(Number(rounded));
}

/** The numbers as their fields show them: as ninths, 1/9, where decimals would be long. */
function exact(values) {
  const decimals = (x) => String(x).length <= (x < 0 ? 6 : 5);
  const whole = (d) => values.flat().every((x) => Math.abs(x * d - Math.round(x * d)) < 1e-9);
  const d = values.flat().every(decimals) ? undefined : [9, 16, 25, 256].find(whole);
  const text = (x) => d && x % 1 ? `${Math.round(x * d)}/${d}` : decimals(x) ? x : short(x);
  return values.map((row) => row.map((x) => minus(text(x))));
}

/** What the reader typed, such as "2", "−0,5" or "1/9"; NaN if it is no number. */
function parse(text) {
  const [top, bottom = 1] = text.replace("−", "-").replace(",", ".").split("/")
    .map((part) => part.trim() === "" ? NaN : Number(part));
  return Number.isFinite(top / bottom) ? top / bottom : NaN;
}

/** Colour a cell by its share of the largest value, from 0 to 1. */
function tint(cell, share, negative = false) {
  cell.style.setProperty("--tint", share.toFixed(3));
  cell.classList.toggle("negative", negative);
  cell.classList.toggle("bright", share > 0.46);
}

/** The share function of a matrix: of the largest absolute value. */
function shareOf(values) {
  const largest = Math.max(...values.flat().map(Math.abs)) || 1;
  return (x) => Math.abs(x) / largest;
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * A table of numbers around which `border` cells are padding. `cell(i, j)` makes what is focused:
 * Tab stops at one cell, the arrow keys lead to the others.
 */
function table(label, rows, columns, border, cell) {
  const cells = matrix(rows, columns, cell);
  const line = (i) => h("tr", {}, ...Array.from({ length: columns + 2 * border }, (_, j) => {
    const focused = cells[i - border]?.[j - border];
    if (!focused) return h("td", { class: "padding", "aria-label": "padding" }, "0");
    return focused.localName === "td" ? focused : h("td", {}, focused);
  }));
  const element = h("table", { class: "d2-grid", role: "grid", "aria-label": label },
    h("tbody", {}, ...Array.from({ length: rows + 2 * border }, (_, i) => line(i))));
  let stop = cells[0]?.[0];
  const rest = (at) => { stop.tabIndex = -1; stop = at; stop.tabIndex = 0; };
  for (const each of cells.flat()) each.tabIndex = -1;
  if (stop) rest(stop);
  const find = (target) => cells.flat().indexOf(target);
  element.addEventListener("focusin", ({ target }) => rest(target));
  element.addEventListener("keydown", (event) => {
    const move = ARROWS[event.key] ?? (event.key === "Enter" ? [1, 0] : null);
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const at = find(event.target);
    cells[Math.floor(at / columns) + move[0]]?.[at % columns + move[1]]?.focus();
  });
  return { element, cells, rest };
}

/** A table whose cells are fields; `edit(i, j, value)` hears each number that the reader types. */
function fields(label, rows, columns, border, edit) {
  let shown;
  const grid = table(label, rows, columns, border, (i, j) => {
    const refuse = (wrong) => field.setAttribute("aria-invalid", wrong);
    const restore = () => { field.value = shown[i][j]; refuse(false); };
    const field = h("input", {
      "aria-label": `row ${i}, column ${j}`, autocomplete: "off", enterkeyhint: "done",
      onfocus: () => field.select(),
      onblur: restore,
      onkeydown: ({ key }) => { if (key === "Escape") restore(); },
      oninput: () => {
        const value = parse(field.value);
        refuse(Number.isNaN(value));
        if (!Number.isNaN(value)) edit(i, j, value);
      },
    });
    return field;
  });
  const fill = (values, share) => {
    shown = exact(values);
    grid.cells.forEach((row, i) => row.forEach((field, j) => {
      if (parse(field.value) !== values[i][j]) field.value = shown[i][j];
      tint(field.parentElement, share(values[i][j]), values[i][j] < 0);
    }));
  };
  return { ...grid, fill };
}

/** A table to look at; `choose(i, j)` hears which cell has the focus. */
function numbers(label, rows, columns, choose) {
  const grid = table(label, rows, columns, 0, (i, j) => h("td", { onfocus: () => choose(i, j) }));
  const fill = (values, share) => grid.cells.forEach((row, i) => row.forEach((cell, j) => {
    cell.textContent = short(values[i][j]);
    tint(cell, share(values[i][j]), values[i][j] < 0);
  }));
  let chosen = null;
  const select = (i, j) => {
    if (chosen === grid.cells[i][j]) return;
    chosen?.removeAttribute("aria-selected");
    chosen = grid.cells[i][j];
    chosen.setAttribute("aria-selected", true);
    grid.rest(chosen);
  };
  return { ...grid, fill, select };
}

/** An image of crisp pixels. */
function pixels(label, rows, columns, border) {
  const cells = matrix(rows, columns, (i, j) =>
    h("rect", { x: j + border, y: i + border, width: 1, height: 1 }));
  const [width, height] = [columns + 2 * border, rows + 2 * border];
  const element = h("svg", { class: "d2-pixels", viewBox: `0 0 ${width} ${height}`, style: `--width: ${width}`,
    role: "img", "aria-label": label },
    ...cells.flat());
  const fill = (values, share) => cells.forEach((row, i) => row.forEach((cell, j) =>
    tint(cell, share(values[i][j]), values[i][j] < 0)));
  return { element, cells, fill };
}
