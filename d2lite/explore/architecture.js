// One or two published networks, drawn to scale: maps, and below each its parameters and its work.

// ---- Arithmetic: no DOM, checked against d2lite.shapes --------------------------------------------

/** All of a network's parameters and multiply-adds, and the share of each kind of layer. */
export function totals({ layers, unused }) {
  const of = (key, kind) => sum(layers.filter((l) => !kind || l.kind === kind).map((l) => l[key]));
  return {
    parameters: of("parameters"), unused, multiply_adds: of("multiply_adds"),
    dense: of("parameters", "dense") / (of("parameters") || 1),
    convolution: of("multiply_adds", "convolution") / (of("multiply_adds") || 1),
    weighted: layers.filter((layer) => layer.parameters).length,
  };
}

/** What the bars of networks drawn to one scale are measured with: the largest of each. */
export function scales(networks) {
  const largest = (value) => Math.max(...networks.map(value));
  const most = (key) => largest(({ layers }) => Math.max(1, ...layers.map((layer) => layer[key])));
  return { pixels: largest(({ input }) => input[1]), parameters: most("parameters"),
    multiply_adds: most("multiply_adds") };
}

const MAPS = 112, BARS = 56; // pixels on the screen, at full scale
const LETTER = 6.7; // as wide as most letters are
const PACE = 24; // pixels a layer, on average, where one is told from the next

/**
 * Where each map and its bars stand in a figure `width` pixels wide, the image first. Heights are
 * to scale (`tall`: the map's height; `parameters` and `multiply_adds`: the bars'); widths grow with
 * the root of the channels and fill the figure.
 */
export function layout({ input, layers }, scale, width) {
  const shapes = [input, ...layers.map(({ shape }) => shape)];
  const roots = shapes.map(([channels]) => Math.sqrt(channels)), unit = width / sum(roots);
  let x = 0;
  return shapes.map((shape, i) => {
    const { parameters = 0, multiply_adds = 0 } = layers[i - 1] ?? {};
    const place = { x, width: roots[i] * unit, tall: MAPS * (shape[1] ?? 1) / scale.pixels,
      parameters: BARS * parameters / scale.parameters,
      multiply_adds: BARS * multiply_adds / scale.multiply_adds };
    x += place.width;
    return place;
  });
}

/** Are there such networks, with so many layers? As Python checks; a page asks it of a link. */
export const fits = ({ networks, network, other, layer, other_layer }) =>
  [[network, layer], [other, other_layer]].every(([name, at]) =>
    !name || (Object.hasOwn(networks, name) && at < networks[name].layers.length));

/**
 * Names below the picture, none over another: { text, x, width, row }, from the left. Layers whose names
 * begin alike are one part, which row 1 names; row 0 names its own parts, by what follows, as far down
 * as names fill the most of their room.
 */
export function labels({ layers }, places) {
  const parts = (from, to, depth, row) => {
    const beginning = ({ name }) => name.split(".").slice(0, depth).join(".");
    const found = [];
    for (let i = from, end; i < to; i = end) {
      for (end = i + 1; end < to && beginning(layers[end]) === beginning(layers[i]);) end++;
      const { x } = places[i + 1], width = places[end].x + places[end].width - x;
      const text = beginning(layers[i]).split(".").slice(1 - row).join(".");
      found.push({ text, x, width, row, from: i, to: end });
    }
    return found;
  };
  const fits = ({ text, width }) => text && text.length * LETTER + 6 <= width;
  const inner = (from, to, depth) => parts(from, to, depth, 0).flatMap((part) => {
    const isOne = part.to - part.from === 1 || layers[part.from].name.split(".").length <= depth;
    const deeper = isOne ? [] : inner(part.from, part.to, depth + 1);
    return sum(deeper.map(({ width }) => width)) > 0.75 * part.width ? deeper : [part].filter(fits);
  });
  return [...inner(0, layers.length, 2), ...parts(0, layers.length, 1, 1).filter(fits)];
}

// ---- Words --------------------------------------------------------------------------------------

/** A number in three digits: 102,764,544 → 103 million. */
export function rounded(n) {
  const [power, name] = n >= 1e9 ? [1e9, " billion"] : n >= 1e6 ? [1e6, " million"] : [1, ""];
  return power === 1 ? thousands(n) : Number((n / power).toPrecision(3)) + name;
}

function percent(share) {
  const value = 100 * share;
  if (value > 99.95 || value === 0) return `${Math.round(value)} %`;
  return value < 0.1 ? "less than 0.1 %" : `${value.toFixed(value < 10 || value > 90 ? 1 : 0)} %`;
}

/** What a layer is, gives, costs and sees, in words. */
export function reading(network, i) {
  const { text, name, shape, parameters, multiply_adds, field } = network.layers[i];
  const all = totals(network), side = network.input[1];
  const size = shape.join(" × "), numbers = shape.reduce((a, b) => a * b, 1);
  const gives = shape.length > 1 ? `${size} = ${thousands(numbers)} numbers` : `${thousands(numbers)} numbers`;
  const owns = parameters ? `${thousands(parameters)} parameters, ${percent(parameters / all.parameters)}` +
    ` of the network's` : "no parameters";
  const works = multiply_adds ? `${rounded(multiply_adds)} multiply-adds, ` +
    percent(multiply_adds / all.multiply_adds) : "no multiply-adds";
  const sees = field ? ` A unit's field is ${field} × ${field} pixels; the picture has ` +
    `${side} × ${side}.` : "";
  return `Layer ${i + 1} of ${network.layers.length}, ${name}: ${text}. It gives ${gives}. ` +
    `It has ${owns}; ${works}.${sees}`;
}

/** Where a network's parameters sit, and its work. */
export function summary(network) {
  const { parameters, unused, multiply_adds, dense, convolution, weighted } = totals(network);
  const spare = unused ? `, and ${rounded(unused)} in heads that only training uses` : "";
  return `${weighted} layers with weights. ${rounded(parameters)} parameters, ${percent(dense)} of ` +
    `them in dense layers${spare}. ${rounded(multiply_adds)} multiply-adds, ` +
    `${percent(convolution)} of them in convolutions.`;
}

// ---- Picture ------------------------------------------------------------------------------------

const TONES = { input: "input", convolution: "output", pooling: "muted", dense: "kernel",
  other: "gradient" };
const TOP = 18, LINE = 17; // room for the name of the chosen layer, and for a row of names of parts
const ROWS = { parameters: TOP + MAPS + 22 + BARS, multiply_adds: TOP + MAPS + 2 * (22 + BARS) }; // the bars' feet

/** Draw a network into `svg`, a path for each colour, for speed; return its places. */
function draw(svg, network, scale, chosen, width) {
  const places = layout(network, scale, width), { layers } = network, bottom = ROWS.multiply_adds;
  const box = (x, y, w, tall) =>
    `M${x.toFixed(2)} ${y.toFixed(2)}h${w.toFixed(2)}v${tall.toFixed(2)}h${(-w).toFixed(2)}z`;
  const column = ({ x, width: w }, foot, tall) =>
    box(x, foot - tall, w - (w > 6 ? 1 : 0.15 * w), tall); // with a gap to the next
  const path = (d, name, opacity) => h("path", { d, fill: tone(name), "fill-opacity": opacity });

  let ground = ""; // every other block of several layers stands on it
  for (let i = 0, odd = false; i < layers.length;) {
    let end = i;
    while (layers[end + 1]?.block === layers[i].block) end++;
    const { x } = places[i + 1], last = places[end + 1];
    if (end > i && (odd = !odd)) ground += box(x, TOP, last.x + last.width - x, bottom - TOP);
    i = end + 1;
  }
  const { x, width: w } = places[chosen + 1], { name, shape } = layers[chosen];
  const title = `${name}: ${shape.join(" × ")}`, half = title.length * LETTER / 2;
  const marks = [path(ground, "panel"), path(box(x - 1, TOP, w + 2, bottom + 2 - TOP), "gradient", 0.3),
    write(title, within(x + w / 2, half, Math.max(width - half, half)), TOP - 5, "middle", "ink")];

  const maps = Object.fromEntries(Object.keys(TONES).map((kind) => [kind, ""]));
  places.forEach((place, i) => {
    const tall = Math.max(place.tall, 2);
    maps[i ? layers[i - 1].kind : "input"] += column(place, TOP + (MAPS + tall) / 2, tall);
  });
  for (const [kind, d] of Object.entries(maps)) marks.push(path(d, TONES[kind]));
  for (const [key, foot] of Object.entries(ROWS)) {
    const most = Math.max(...layers.map((layer) => layer[key]));
    const { x, width: w } = places[1 + layers.findIndex((layer) => layer[key] === most)];
    marks.push(
      path(places.filter((place) => place[key]).map((place) =>
        column(place, foot, Math.max(place[key], 0.5))).join(""), "kernel"),
      h("path", { d: `M0 ${foot}h${width}`, stroke: tone("line") }),
      write(key.replace("_", "-"), 0, foot - BARS - 6, "start"),
      write(rounded(most), within(x + w / 2, 130, width - 40), foot - BARS - 6, "middle", "ink"));
  }
  const names = labels(network, places), hasTwoRows = names.some(({ row }) => !row);
  for (const { text, x, width: w, row } of names) {
    const y = bottom + 4 + (hasTwoRows ? LINE * row : 0);
    marks.push(h("path", { d: `M${x + 1} ${y}h${w - 2}`, stroke: tone("muted") }),
      write(text, x + w / 2, y + LINE - 4));
  }
  paint(svg, width, bottom + 2 * LINE + 4, marks);
  return places;
}

/** The picture as a file of its own: with its size, and colours in the place of variables. */
function standalone(svg) {
  const copy = svg.cloneNode(true), { width, height } = svg.getBoundingClientRect();
  for (const [name, value] of Object.entries({ xmlns: svg.namespaceURI, width, height }))
    copy.setAttribute(name, value);
  const style = getComputedStyle(svg);
  for (const mark of copy.querySelectorAll("*"))
    for (const name of ["fill", "stroke"]) {
      const variable = mark.getAttribute(name)?.match(/^var\((--[\w-]+)\)$/)?.[1];
      if (variable) mark.setAttribute(name, style.getPropertyValue(variable).trim());
    }
  copy.setAttribute("font-family", "sans-serif");
  copy.setAttribute("font-size", style.fontSize);
  return new XMLSerializer().serializeToString(copy);
}

/** Hand the reader a file. */
function save(text, name, type) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["network", "other", "layer", "other_layer", "same_scale"]);
  const networks = view.get("networks"), names = Object.keys(networks);
  let magnified = false;

  /** One network: its picture, a slider over its layers, and what the chosen one is. */
  function panel(trait, chosen, title) {
    let places = [];
    const network = () => networks[view.get(trait)];
    const svg = h("svg", { role: "img", onclick: () => input.focus({ preventScroll: true }) });
    const strip = h("div", { class: "d2-strip", role: "group", "aria-label": `The ${title} network` }, svg);
    let seen = null;
    const over = pointing(view, svg, ({ clientX }) => {
      const x = clientX - svg.getBoundingClientRect().left;
      return Math.max(places.findLastIndex((place) => place.x <= x) - 1, 0);
    }, (layer) => view.set(chosen, layer));
    const input = h("input", { type: "range", min: 0, "aria-label": `Layer of the ${title} network`,
      oninput: () => view.set(chosen, Number(input.value)) });
    const head = h("p", { class: "d2-name" }), words = readout();
    const element = h("div", { class: "d2-network" }, head, strip, input, words);
    const draws = (scale, room) => {
      const width = magnified ? Math.max(room, PACE * network().layers.length) : room;
      const last = network().layers.length - 1, at = Math.min(over() ?? view.get(chosen), last);
      Object.assign(input, { max: last, value: at, ariaValueText: network().layers[at].name });
      head.replaceChildren(h("b", {}, view.get(trait)), ` ${summary(network())}`);
      svg.setAttribute("aria-label", `${view.get(trait)}, layer by layer from left to right: ` +
        "above, the maps to scale; below, bars of each layer's parameters and multiply-adds.");
      svg.style.width = width > room ? `${width}px` : "100%";
      strip.tabIndex = width > room ? 0 : -1; // the keyboard scrolls it too
      places = draw(svg, network(), scale, at, width);
      if (seen !== (seen = [view.get(trait), view.get(chosen), width].join())) {
        const { x, width: w } = places[Math.min(view.get(chosen), last) + 1];
        if (x < strip.scrollLeft || x + w > strip.scrollLeft + room) strip.scrollLeft = x + (w - room) / 2;
      }
      say(words, reading(network(), at));
    };
    return { element, draws, network, svg };
  }

  const choose = (trait, chosen) => ({ write(name) {
    const last = name ? networks[name].layers.length - 1 : 0;
    view.set({ [trait]: name, [chosen]: Math.min(view.get(chosen), last) });
  } });
  const first = panel("network", "layer", "first"), second = panel("other", "other_layer", "second");
  const others = Object.values(networks).some(({ layers }) => layers.some((l) => l.kind === "other"));
  const keys = Object.entries({ input: "picture", convolution: "convolution", pooling: "pooling",
    dense: "dense layer", ...(others && { other: "other layer" }) }).map(([kind, text]) =>
    h("span", { class: "d2-key", style: `--tone: ${tone(TONES[kind])}` }, text));
  const isRoomy = () => ["network", "other"].every((trait) =>
    (networks[view.get(trait)]?.layers.length ?? 0) * PACE <= widthOf(first.element));
  const root = figure(view, "d2-architecture",
    h("div", { class: "d2-controls" },
      menu(view, "network", { label: "Network", options: names, ...choose("network", "layer") }),
      menu(view, "other", { label: "Beside it", ...choose("other", "other_layer"),
        options: { "": "none", ...Object.fromEntries(names.map((name) => [name, name])) } }),
      tick(view, "same_scale", { label: "same scale for both", hidden: () => !view.get("other") }),
      tick(view, null, { label: "room for each layer", read: () => magnified, hidden: isRoomy,
        write: (on) => { magnified = on; view.later(); } }),
      button("Save as SVG", () => {
        for (const [trait, { svg }] of [["network", first], ["other", second]])
          if (view.get(trait)) save(standalone(svg), `${view.get(trait)}.svg`, "image/svg+xml");
      })),
    h("p", { class: "d2-keys" }, ...keys), first.element, second.element);

  function show() {
    const panels = view.get("other") ? [first, second] : [first];
    second.element.hidden = panels.length === 1;
    const shared = scales(panels.map(({ network }) => network())), width = widthOf(first.element);
    for (const { draws, network } of panels)
      draws(view.get("same_scale") ? shared : scales([network()]), width);
  }
  return view.mount(el, root, show);
}

export default { render, fits };
