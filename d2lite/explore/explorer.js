// What all explorers share. explorer.py puts this text before each explorer's own module.

/** Make an element: h("button", { type: "button", onclick }, "Step"). SVG tags work too. */
function h(tag, attributes = {}, ...children) {
  const svg = /^(svg|g|rect|line|path|text|circle|polygon|title)$/.test(tag);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** One of the book's colours, for an attribute or a style. */
const tone = (name) => `var(--d2-${name})`;

const sum = (values) => values.reduce((a, b) => a + b, 0);
const within = (x, low, high) => Math.max(low, Math.min(high, x));
/** Are all rows of one length? */
const isMatrix = (rows) => rows.every((row) => row.length === rows[0].length);
const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** "1 layer", "2 layers" */
const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** 138,357,544 */
const thousands = (n) => Math.round(n).toLocaleString("en");

// ---- The view: the model, controls and frames ---------------------------------------------------

/**
 * One view of the model's traits `names`, and its frames. `set(name, value)` and `set({ name: value })`
 * are what the reader does, in the page and, where there is a kernel, in Python: there is no other
 * way. `mount` puts the view's `root` into `el` and draws it, its `controls` first, then by `draw`: as
 * soon as it is in the page, where sizes and colours are known, and again whenever a trait changes,
 * `root` changes its size or the view asks for it with `later()`, at most once a frame. `now()` does
 * not wait for the frame. What `mount` returns, render's clean-up, takes all of this away and calls
 * `leave`.
 */
function hold(model, names) {
  const controls = [], hovers = new Map(), watched = [...names, "label"].map((name) => `change:${name}`);
  let root, draw, frame = 0;
  const now = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!root.isConnected) return; // resized will tell
    for (const show of controls) show();
    draw();
  };
  const later = () => { frame ||= requestAnimationFrame(now); };
  const resized = new ResizeObserver(later);
  return {
    controls, hovers, now, later,
    get: (name) => model.get(name),
    state: () => Object.fromEntries(names.map((name) => [name, model.get(name)])),
    set(name, value) {
      const traits = typeof name === "object" ? name : { [name]: value };
      hovers.clear(); // what a mouse rests on counts no more
      for (const each in traits) model.set(each, traits[each]);
      model.save_changes();
    },
    mount(el, element, show, leave = () => {}) {
      [root, draw] = [element, show];
      for (const event of watched) model.on(event, later);
      el.append(root);
      now();
      resized.observe(root);
      return () => {
        for (const event of watched) model.off(event, later);
        resized.disconnect();
        cancelAnimationFrame(frame);
        leave();
      };
    },
  };
}

// Controls. Each is bound both ways to the trait `name`, or to what `read` gives and `write` takes;
// `hidden` says when it is of no use.

function control(view, element, hidden, show) {
  view.controls.push(() => { if (!(element.hidden = hidden())) show(); });
  return element;
}

const binding = (view, name, { read, write, hidden }) => [read ?? (() => view.get(name)),
  write ?? ((value) => view.set(name, value)), hidden ?? (() => false)];

/**
 * A labelled slider. With `log` it goes by the logarithm, to two digits; `max` may be a function; a
 * value beyond it stretches the slider. `tell` writes the value, `spoken` names the slider where its
 * label does not do.
 */
function slider(view, name, { label, min = 0, max, step = 1, log = false, tell = String, spoken,
  ...binds }) {
  const [read, write, hidden] = binding(view, name, binds);
  const place = log ? Math.log10 : (x) => x;
  const value = () => log ? Number((10 ** input.value).toPrecision(2)) : Number(input.value);
  let known = null;
  const shown = h("b", { "aria-hidden": true }); // a slider says its value itself
  const input = h("input", { type: "range", min: place(min), step, "aria-label": spoken,
    oninput: () => write(value()) });
  return control(view, h("label", { class: "d2-field" }, h("span", {}, `${label} `, shown), input),
    hidden, () => {
      const now = read(), most = typeof max === "function" ? max() : max;
      if (equal(known, known = [now, most, tell(now)]) && value() === now) return; // for speed
      const reach = place(now > most ? 2 ** Math.ceil(Math.log2(now + 1)) : most);
      input.max = input.matches(":active") ? Math.max(input.max, reach) : reach; // steady in a drag
      input.disabled = Number(input.max) === place(min);
      if (value() !== now) input.value = place(now);
      shown.textContent = input.ariaValueText = known[2];
    });
}

/** A labelled menu of `options`: { value: text } or a list of what is both; `own` is the text for
 *  what is none of them. */
function menu(view, name, { label, options, own, spoken, ...binds }) {
  const [read, write, hidden] = binding(view, name, binds);
  const pairs = Array.isArray(options) ? options.map((each) => [each, each]) : Object.entries(options);
  const input = h("select", { "aria-label": spoken, onchange: () => write(input.value) },
    own && h("option", { value: "", disabled: true }, own),
    ...pairs.map(([value, text]) => h("option", { value }, text)));
  return control(view, h("label", { class: "d2-field" }, label, input), hidden,
    () => { const now = read(); if (input.value !== now) input.value = now; });
}

/** A box to tick, `label` (text or elements) beside it. */
function tick(view, name, { label, ...binds }) {
  const [read, write, hidden] = binding(view, name, binds);
  const input = h("input", { type: "checkbox", onchange: () => write(input.checked) });
  return control(view, h("label", { class: "d2-tick" }, input, ...[label].flat()), hidden,
    () => { input.checked = read(); });
}

/** A push button. */
function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

/**
 * Let a pointer choose in a picture: `find(event)` gives what is there, or null. `choose` hears what is
 * clicked, and what a mouse passes while it is pressed; a finger that moves scrolls the page. Returns
 * a function that tells what a mouse is over.
 */
function pointing(view, picture, find, choose) {
  const hear = (event) => {
    const { type, buttons, pointerType } = event, clicked = type === "click";
    if (!clicked && pointerType !== "mouse") return;
    const found = type === "pointerleave" ? null : find(event);
    if (found !== null && (clicked || buttons)) choose(found);
    else view.hovers.set(picture, found);
    view.later();
  };
  for (const type of ["pointermove", "pointerdown", "pointerleave", "click"])
    picture.addEventListener(type, hear);
  return () => view.hovers.get(picture) ?? null;
}

/** The place of the number that is nearest to x. */
const closest = (numbers, x) => numbers.reduce((best, each, i) =>
  Math.abs(each - x) < Math.abs(numbers[best] - x) ? i : best, 0);

/** An explorer's outermost element, named by the trait `label`; Jupyter's shortcuts stay outside. */
function figure(view, kind, ...children) {
  const attributes = { class: `d2 ${kind}`, role: "figure", "data-lm-suppress-shortcuts": "true" };
  const element = h("div", attributes, ...children);
  view.controls.push(() => {
    const label = view.get("label");
    if (element.ariaLabel !== label) element.ariaLabel = label;
  });
  return element;
}

/** The line of text that says the result aloud: screen readers hear it change. */
function readout() {
  return h("p", { class: "d2-readout", role: "status", "aria-live": "polite" });
}

/** Write a line of text, where it is another one. */
function say(line, text) {
  if (line.textContent !== text) line.textContent = text;
}

/** Text in a picture. */
const write = (text, x, y, anchor = "middle", name = "muted") =>
  h("text", { x, y, fill: tone(name), "text-anchor": anchor }, text);

/** Give a picture its size, in pixels, and what is drawn in it. */
function paint(svg, width, height, marks) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren(...marks);
}

/** The width that there is for a picture, in pixels. */
const widthOf = (svg) => Math.max(svg.getBoundingClientRect().width, 240);

/** Does the reader ask for stillness? */
function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// ---- Random numbers ------------------------------------------------------------------------------

function mix(z) {
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}

/** Standard normal numbers, those from `start` on: uniform ones by a hash of the place, from two of
 *  them two normal ones (Box and Muller). `start` and `count` are even. */
export function normals(seed, start, count) {
  const drawn = new Float64Array(count), from = mix(seed);
  const uniform = (place) => (mix(Math.imul(place, 0x9e3779b9) + from) + 0.5) / 2 ** 32;
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform(start + i + 1)));
    const angle = 2 * Math.PI * uniform(start + i + 2);
    drawn[i] = radius * Math.cos(angle);
    drawn[i + 1] = radius * Math.sin(angle);
  }
  return drawn;
}

// ---- Grids: numbers in cells, and pixels --------------------------------------------------------

/** Rows of columns of values: matrix(2, 3, (i, j) => i + j). */
const matrix = (rows, columns, value) =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => value(i, j)));

const minus = (text) => String(text).replace("-", "−");

/** A number in the few digits that a cell has room for: 0.67, −12.3, 4096. */
function short(x) {
  const size = Math.abs(x), decimals = size < 10 ? 2 : size < 100 ? 1 : 0;
  return minus(Number(size < 0.01 ? x.toPrecision(1) : x.toFixed(decimals)));
}

/** The numbers as their fields show them: as ninths, 1/9, where decimals would be long. */
function exact(values) {
  const decimals = (x) => String(x).length <= (x < 0 ? 6 : 5);
  const whole = (d) => values.flat().every((x) => Math.abs(x * d - Math.round(x * d)) < 1e-9);
  const d = values.flat().every(decimals) ? undefined : [9, 16, 25].find(whole);
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

/** The share function of a matrix: of its largest absolute value. */
function shareOf(values) {
  const largest = Math.max(...values.flat().map(Math.abs)) || 1;
  return (x) => Math.abs(x) / largest;
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * A table of numbers around which `border` cells are padding. `cell(i, j)` makes what gets the
 * focus: Tab stops at one cell, the arrow keys lead to the others.
 */
function table(label, rows, columns, border, cell) {
  const cells = matrix(rows, columns, cell), flat = cells.flat();
  const all = matrix(rows + 2 * border, columns + 2 * border, (i, j) => {
    const inner = cells[i - border]?.[j - border];
    if (!inner) return h("td", { class: "padding", "aria-label": "padding" }, "0");
    return inner.localName === "td" ? inner : h("td", {}, inner);
  });
  let stop = flat[0];
  const rest = (at) => { stop.tabIndex = -1; stop = at; stop.tabIndex = 0; };
  for (const each of flat) each.tabIndex = each === stop ? 0 : -1;
  const element = h("table", {
    class: "d2-grid", role: "grid", "aria-label": label,
    onfocusin: (event) => rest(event.target),
    onkeydown: (event) => {
      const move = event.key === "Enter" ? [1, 0] : ARROWS[event.key];
      if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const at = flat.indexOf(event.target);
      cells[Math.floor(at / columns) + move[0]]?.[at % columns + move[1]]?.focus();
    },
  }, h("tbody", {}, ...all.map((row) => h("tr", {}, ...row))));
  return { element, cells, rest };
}

/** A table whose cells are fields; `edit(i, j, value)` hears each number that the reader types. */
function fields(label, rows, columns, border, edit) {
  let current, shown, before;
  const grid = table(label, rows, columns, border, (i, j) => {
    const show = (text) => { field.value = text; field.ariaInvalid = false; };
    const field = h("input", {
      "aria-label": `row ${i}, column ${j}`, autocomplete: "off", enterkeyhint: "done",
      onfocus: () => { before = current[i][j]; field.select(); },
      onblur: () => show(shown[i][j]),
      onkeydown: ({ key }) => {
        if (key !== "Escape") return;
        edit(i, j, before);
        show(minus(before));
      },
      oninput: () => {
        const value = parse(field.value);
        field.ariaInvalid = Number.isNaN(value);
        if (!Number.isNaN(value)) edit(i, j, value);
      },
    });
    return field;
  });
  const fill = (values, share) => {
    current = values;
    shown = exact(values);
    grid.cells.forEach((row, i) => row.forEach((field, j) => {
      if (parse(field.value) !== values[i][j]) field.value = shown[i][j];
      tint(field.parentElement, share(values[i][j]), values[i][j] < 0);
    }));
  };
  return { ...grid, fill };
}

/** A table to look at; `choose(i, j)` hears which cell has the focus, `select(i, j)` marks one, and
 *  `reveal(n)` hides all cells but the first n. */
function numbers(label, rows, columns, choose) {
  const grid = table(label, rows, columns, 0, (i, j) => h("td", { onfocus: () => choose(i, j) }));
  let chosen = null;
  const fill = (values, share) => grid.cells.forEach((row, i) => row.forEach((cell, j) => {
    cell.textContent = short(values[i][j]);
    tint(cell, share(values[i][j]), values[i][j] < 0);
  }));
  const select = (i, j) => {
    if (chosen) chosen.ariaSelected = null;
    chosen = grid.cells[i][j];
    chosen.ariaSelected = true;
    grid.rest(chosen);
  };
  const reveal = (count) =>
    grid.cells.flat().forEach((cell, i) => cell.classList.toggle("pending", i >= count));
  return { ...grid, fill, select, reveal };
}

/** An image with `border` empty pixels around it: a path for each shade, for speed. */
function pixels(label, rows, columns, border) {
  const shades = 100;
  const ground = h("path",
    { class: "d2-ground", d: `M${border} ${border}h${columns}v${rows}h${-columns}z` });
  const element = h("svg", {
    class: "d2-pixels", role: "img", "aria-label": label, style: `--width: ${columns + 2 * border}`,
    viewBox: `0 0 ${columns + 2 * border} ${rows + 2 * border}`,
  });
  let values, share;
  const reveal = (count) => {
    const paths = new Map();
    values.forEach((row, i) => row.forEach((value, j) => {
      const shade = Math.round(shades * share(value)) * (value < 0 ? -1 : 1);
      if (shade && i * columns + j < count)
        paths.set(shade, `${paths.get(shade) ?? ""}M${j + border} ${i + border}h1v1h-1z`);
    }));
    element.replaceChildren(ground, ...[...paths].map(([shade, d]) => h("path",
      { d, class: shade < 0 && "negative", "fill-opacity": Math.abs(shade) / shades })));
  };
  const fill = (...shown) => { [values, share] = shown; reveal(Infinity); };
  return { element, cells: [], fill, reveal };
}
