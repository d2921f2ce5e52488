// The latent map of a VAE with two dimensions: its decoder runs here, at every point of the map.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** A 16-bit float of the two bytes at a place. */
function half(view, at) {
  const bits = view.getUint16(at, true), exponent = bits >> 10 & 31, fraction = bits & 1023;
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024;
  return bits >> 15 ? -size : size;
}

/** The decoders with the weights that `pack` in vit.py has written, each of its width. */
function decodersOf({ widths, weights }) {
  let at = 0;
  const take = (count) => Float32Array.from({ length: count }, () => half(weights, 2 * at++));
  return widths.map((width) => {
    const layer = (size, channels) => ({ weight: take(size * channels), bias: take(channels) });
    return { dense: layer(2, 2 * width * 49), first: layer(2 * width * 16, width, width),
      second: layer(width * 16, 1) };
  });
}

/** A transposed convolution with a kernel of 4, stride 2 and padding 1: maps of `side` × `side`
 *  become twice as large. */
function transposed({ weight, bias }, x, side) {
  const outputs = bias.length, inputs = x.length / side ** 2, wide = 2 * side, area = wide ** 2;
  const y = new Float32Array(outputs * area);
  for (let o = 0; o < outputs; o++) y.fill(bias[o], o * area, (o + 1) * area);
  for (let c = 0, w = 0; c < inputs; c++)
    for (let o = 0; o < outputs; o++)
      for (let u = 0; u < 4; u++)
        for (let v = 0; v < 4; v++, w++) {
          const factor = weight[w], first = v ? 0 : 1, last = v < 3 ? side : side - 1;
          for (let i = u ? 0 : 1, rows = u < 3 ? side : side - 1; i < rows; i++) {
            const from = (c * side + i) * side, to = o * area + (2 * i - 1 + u) * wide - 1 + v;
            for (let j = first; j < last; j++) y[to + 2 * j] += factor * x[from + j];
          }
        }
  return y;
}

const rectified = (x) => x.map((value) => Math.max(value, 0));

/** What stands at a point: 784 numbers from 0 to 1. */
function decode({ dense: { weight, bias }, first, second }, [a, b]) {
  const x = bias.map((shift, unit) => Math.max(weight[2 * unit] * a + weight[2 * unit + 1] * b + shift, 0));
  const logits = transposed(second, rectified(transposed(first, x, 7)), 14);
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}

/** For tests: what each decoder makes of points, as plain lists. */
export function pictures({ widths, weights }, points) {
  const decoders = decodersOf({ widths, weights: new DataView(Uint8Array.from(weights).buffer) });
  return decoders.map((decoder) => points.map((z) => [...decode(decoder, z)]));
}

const DRAWS = 8;

/** Points that are drawn at random: mean + deviation · noise. */
export function drawn({ draws, seed }, code) {
  const noise = normals(seed, 0, 2 * DRAWS), [mean, std] = [code.slice(0, 2), code.slice(2)];
  return Array.from({ length: DRAWS }, (_, n) => [0, 1].map((k) => draws === "prior"
    ? noise[2 * n + k] : mean[k] + std[k] * noise[2 * n + k]));
}

/** The share of the way along the line at which a point, or the nearest one, stands: 0 to 1. */
export function shareOfWay(z, start, end) {
  const way = [0, 1].map((k) => end[k] - start[k]), length = way[0] ** 2 + way[1] ** 2;
  return length ? within(sum(way.map((w, k) => w * (z[k] - start[k]))) / length, 0, 1) : 0;
}

const along = (start, end, share) => start.map((x, k) => x + share * (end[k] - x));

/** The place of the code that is nearest to a point. */
export function nearest(z, codes) {
  const far = codes.map(([x, y]) => Math.hypot(x - z[0], y - z[1]));
  return far.indexOf(Math.min(...far));
}

/** Are there such a network and such a garment? As Python checks; a page asks it of a link. */
export const fits = ({ network, names, garment, labels }) =>
  network < names.length && garment < labels.length;

// ---- Words --------------------------------------------------------------------------------------

const decimals = (x, count = 2) => minus((Math.round(x * 10 ** count) / 10 ** count).toFixed(count));
const place = (z) => `(${z.map((x) => decimals(x)).join(", ")})`;

/** Where the point stands, and beside which garment. */
function whereabouts(z, near, codes, { labels, classes }) {
  const far = Math.hypot(...[0, 1].map((k) => codes[near][k] - z[k]));
  return `At ${place(z)}. The nearest garment's code, a ${classes[labels[near]]}'s, is ` +
    `${decimals(far)} away.`;
}

/** The garment's posterior. */
function posterior(garment, [a, b, s, t], { labels, classes }) {
  const name = `Garment ${garment + 1}, ${classes[labels[garment]]}: its code is `;
  return Math.max(s, t) < 1e-4 ? `${name}the point ${place([a, b])}; it has no spread.`
    : `${name}a Gaussian with mean ${place([a, b])} and standard deviations ${decimals(s)} and ` +
      `${decimals(t)}. The ellipse is at two of them.`;
}

// ---- Pictures -----------------------------------------------------------------------------------

// Each class has a color and a shape, of which five are full and five are not.
const TONES = ["input", "kernel", "output", "gradient"];
const SHAPES = ["m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "m-3.5 -3.5h7v7h-7z", "m0 -4.5l4.5 8h-9z",
  "m0 4.5l4.5 -8h-9z", "m0 -5l5 5l-5 5l-5 -5z"];
const lookOf = (label) => ({ fill: label < 5 ? tone(TONES[label % 4]) : "none",
  stroke: tone(TONES[label % 4]), "stroke-width": 1.4 });
const LEFT = 34, RIGHT = 6, TOP = 6, BOTTOM = 36, ACROSS = 13; // pictures in a row of the map

/** One picture of 28 × 28 with a name below it. */
function pictureOf(name) {
  const { canvas, paint } = tiled(1, 28, 28, 1, 0, { "aria-label": name });
  const text = h("span", {}, name);
  return { element: h("div", { class: "d2-picture" }, canvas, text), paint, text };
}

// ---- The figure ---------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["network", "background", "z", "start", "end", "garment", "draws", "seed",
    "highlight"]);
  const { get, later } = view;
  const fixed = Object.fromEntries(["names", "widths", "weights", "labels", "classes"].map((name) =>
    [name, get(name)]));
  const { names, labels, classes } = fixed, decoders = decodersOf(fixed), count = labels.length;
  const gallery = get("gallery"), bytes = get("codes");
  const image = (garment) => Float32Array.from({ length: 784 }, (_, at) => {
    const both = gallery.getUint8(392 * garment + (at >> 1));
    return (at % 2 ? both & 15 : both >> 4) / 15;
  });
  const codesOf = names.map((_, n) => Array.from({ length: count }, (_, i) =>
    Array.from({ length: 4 }, (_, k) => bytes.getFloat32(4 * (4 * (n * count + i) + k), true))));
  const reaches = codesOf.map((codes) =>
    Math.max(3, Math.ceil(2.1 * Math.max(...codes.flatMap(([a, b]) => [Math.abs(a), Math.abs(b)]))) / 2));
  const codes = () => codesOf[get("network")], reach = () => reaches[get("network")];
  const decoded = (z) => decode(decoders[get("network")], z);
  const go = (z) => view.set("z", z.map((x) => within(Math.round(100 * x) / 100, -reach(), reach())));
  const choose = (garment) => view.set({ garment, z: codes()[garment].slice(0, 2)
    .map((x) => Math.round(100 * x) / 100) });

  // The map. A mouse drags the point; a finger, which also scrolls, its handle.
  const grid = tiled(ACROSS ** 2, 28, 28, ACROSS, 0, { "aria-hidden": "true", role: "presentation" });
  const ground = h("svg", { "aria-hidden": "true" }), marks = h("svg", { "aria-hidden": "true" });
  const handle = h("i", { class: "d2-handle" });
  const stage = h("div", { class: "d2-stage", tabindex: 0, role: "application",
    "aria-label": "Latent map: arrow keys move the point, with Shift further; Enter chooses the " +
      "nearest garment", onkeydown },
  grid.canvas, ground, marks, handle);
  let width = 0, x, y; // of the stage, in pixels; scales of the map

  function onkeydown(event) {
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event, move = ARROWS[key];
    if (!(move || key === "Enter") || ctrlKey || metaKey || altKey) return;
    event.preventDefault();
    const step = shiftKey ? 0.5 : 0.1;
    if (move) go([get("z")[0] + step * move[1], get("z")[1] - step * move[0]]);
    else choose(nearest(get("z"), codes()));
  }
  const pixelsOf = ({ clientX, clientY }) => {
    const { left, top } = stage.getBoundingClientRect();
    return [clientX - left, clientY - top];
  };
  const placeOf = (event) => {
    const [u, v] = pixelsOf(event), side = width - LEFT - RIGHT;
    return [(2 * (u - LEFT) / side - 1) * reach(), (1 - 2 * (v - TOP) / side) * reach()];
  };
  let press = null, dragged = false;
  stage.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button || event.pointerType === "touch" && event.target !== handle) return;
    press = { id: event.pointerId, at: pixelsOf(event) };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (press?.id !== event.pointerId) return;
    dragged ||= Math.hypot(...pixelsOf(event).map((each, k) => each - press.at[k])) > 3;
    if (dragged) go(placeOf(event));
  });
  stage.addEventListener("lostpointercapture", () => { press = null; });
  stage.addEventListener("click", (event) => { // on a garment's mark: that garment
    if (dragged) return;
    const at = pixelsOf(event), near = nearest(placeOf(event), codes()), [a, b] = codes()[near];
    if (get("background") === "garments" && Math.hypot(x(a) - at[0], y(b) - at[1]) < 5) choose(near);
    else go(placeOf(event));
  });

  // The classes: a press makes one stand out.
  const legend = classes.map((name, label) => button("", () =>
    view.set("highlight", get("highlight") === label ? -1 : label), { class: "d2-class" }));
  legend.forEach((each, label) => each.append(h("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14,
    "aria-hidden": true }, h("path", { d: `M0 0${SHAPES[label % 5]}`, ...lookOf(label) })), classes[label]));

  // The point.
  const here = pictureOf("The picture at the point"), beside = pictureOf("The nearest garment");
  const fields = ["z₁", "z₂"].map((name, k) => {
    const input = h("input", { type: "number", step: 0.1, autocomplete: "off",
      oninput() {
        const bad = !input.value || Math.abs(input.valueAsNumber) > reach();
        input.ariaInvalid = bad;
        if (!bad) view.set("z", get("z").map((x, n) => n === k ? input.valueAsNumber : x));
      }, onblur() { input.ariaInvalid = false; later(); } });
    return control(view, h("label", { class: "d2-field" }, name, input), () => false, () => {
      [input.min, input.max] = [-reach(), reach()];
      const rounded = (x) => Number(x.toFixed(3)), value = rounded(get("z")[k]);
      if (input.ariaInvalid !== "true" && rounded(input.valueAsNumber) !== value) input.value = value;
    });
  });
  const says = readout(), tells = readout();

  // The line, and what is drawn at random: a row of pictures each.
  const shares = Array.from({ length: 9 }, (_, i) => i / 8);
  const strip = (label, number) => tiled(number, 28, 28, number, 2, { "aria-label": label });
  const way = strip("Pictures along the line from A to B", shares.length);
  const samples = strip("Pictures of points drawn at random", DRAWS);
  const own = pictureOf("The chosen garment"), again = pictureOf("Rebuilt from its mean");
  const part = (title, ...children) => h("div", { class: "d2-part", role: "group", "aria-label": title },
    h("b", {}, title), ...children);

  const root = figure(view, "d2-latent",
    h("div", { class: "d2-controls" },
      menu(view, null, { label: "Network", options: { ...names }, read: () => String(get("network")),
        write: (value) => {
          const network = Number(value), edge = reaches[network];
          view.set({ network, z: get("z").map((each) => within(each, -edge, edge)) });
        }, hidden: () => names.length < 2 }),
      menu(view, "background", { label: "The map shows", options: { garments: "codes of garments",
        pictures: "decoded pictures" } })),
    h("div", { class: "d2-both" },
      h("div", { class: "d2-column" }, stage,
        h("div", { class: "d2-legend", role: "group", "aria-label": "Make a class stand out" }, ...legend),
        part("From A to B", way.canvas,
          h("div", { class: "d2-controls" },
            slider(view, null, { label: "Way done", max: 1, step: 0.01, tell: percent,
              read: () => shareOfWay(get("z"), get("start"), get("end")),
              write: (share) => view.set("z", along(get("start"), get("end"), share)) }),
            button("A here", () => view.set("start", get("z"))),
            button("B here", () => view.set("end", get("z")))))),
      h("div", { class: "d2-column" },
        part("The point",
          h("div", { class: "d2-pair" }, here.element, beside.element),
          h("div", { class: "d2-controls" }, ...fields), says),
        part("A garment's code",
          h("div", { class: "d2-pair d2-small" }, own.element, again.element),
          button("Choose the nearest garment", () => choose(nearest(get("z"), codes()))), tells),
        part("Drawn at random", samples.canvas,
          h("div", { class: "d2-controls" },
            menu(view, "draws", { label: "From", options: { posterior: "this garment's code",
              prior: "the prior N(0, 1)" } }),
            button("Draw again", () => view.set("seed", (get("seed") + 1) % 10000)))))));

  // The map's pictures are decoded in slices, so that a frame stays short, once for each network.
  const tiles = names.map(() => []);
  function moreTiles() {
    const started = performance.now(), known = tiles[get("network")], cell = 2 * reach() / ACROSS;
    while (known.length < ACROSS ** 2 && performance.now() < started + 8) {
      const row = Math.floor(known.length / ACROSS), column = known.length % ACROSS;
      known.push(decoded([(column + 0.5) * cell - reach(), reach() - (row + 0.5) * cell]));
    }
    return known;
  }

  /** The axes, and a mark for each garment: in the colors of its class. */
  function showGround(state) {
    const side = width - LEFT - RIGHT, edge = reach(), at = ticks(-edge, edge);
    const box = { left: LEFT, right: LEFT + side, bottom: TOP + side };
    const paths = classes.map(() => "");
    if (state.background === "garments") codes().forEach(([a, b], i) => {
      paths[labels[i]] += `M${x(a).toFixed(1)} ${y(b).toFixed(1)}${SHAPES[labels[i] % 5]}`;
    });
    const faint = (label) => state.highlight >= 0 && state.highlight !== label;
    paint(ground, width, TOP + side + BOTTOM, [
      ...axes(box, x, at.map((v) => [v, minus(v)]), y, at.map((v) => [v, minus(v)]), false),
      h("rect", { x: LEFT, y: TOP, width: side, height: side, fill: "none", stroke: tone("line") }),
      write("z₁", LEFT + side, TOP + side + 31, "end"), write("z₂", 2, TOP + 8, "start"),
      ...[...classes.keys()].sort((a, b) => faint(b) - faint(a)).map((label) => h("path",
        { d: paths[label], ...lookOf(label), opacity: faint(label) ? 0.18 : 1 }))]);
    Object.assign(grid.canvas.style,
      { left: `${LEFT}px`, top: `${TOP}px`, width: `calc(100% - ${LEFT + RIGHT}px)` });
  }

  /** The line, the garment's posterior, the points that are drawn, and the point. */
  function showMarks({ start, end, z, garment }, points) {
    const side = width - LEFT - RIGHT, [a, b, ...std] = codes()[garment];
    const edged = (d, name, wide, dashes) => // on a light edge
      [line(d, tone("paper"), wide + 3), line(d, tone(name), wide, dashes)];
    const seen = (point) => [within(x(point[0]), LEFT, LEFT + side), within(y(point[1]), TOP, TOP + side)];
    const [from, to, at] = [start, end, z].map(seen);
    const [r, s] = std.map((each) => Math.max(each * side / reach(), 2)); // two deviations, in pixels
    const ellipse = `M${x(a) - r} ${y(b)}a${r} ${s} 0 1 0 ${2 * r} 0a${r} ${s} 0 1 0 ${-2 * r} 0z`;
    const crosses = points.map(seen).map(([u, v]) =>
      `M${(u - 3.5).toFixed(1)} ${(v - 3.5).toFixed(1)}l7 7m0 -7l-7 7`).join("");
    const letter = (text, [cx, cy]) => [h("circle", { cx, cy, r: 9, fill: tone("paper"),
      stroke: tone("ink"), "stroke-width": 1.5 }), write(text, cx, cy + 4.5, "middle", "ink")];
    paint(marks, width, TOP + side + BOTTOM, [
      ...edged(`M${from}L${to}`, "ink", 2, "6 4"), ...letter("A", from), ...letter("B", to),
      ...edged(crosses, "gradient", 2), ...edged(ellipse, "gradient", 3),
      h("circle", { cx: at[0], cy: at[1], r: 8, fill: tone("paper"), stroke: tone("ink"),
        "stroke-width": 3 })]);
    handle.style.translate = at.map((each) => `${(each - 16).toFixed(1)}px`).join(" ");
  }

  let look = "", speech = null;
  const shown = {}; // what each part shows now
  const fresh = (name, ...news) => shown[name] !== (shown[name] = JSON.stringify(news));
  function show() {
    const state = view.state(), { network, background, z, start, end, garment } = state;
    width = stage.getBoundingClientRect().width || 300;
    const side = width - LEFT - RIGHT, edge = reach();
    x = linear([-edge, edge], [LEFT, LEFT + side]);
    y = linear([-edge, edge], [TOP + side, TOP]);
    stage.style.height = `${TOP + side + BOTTOM}px`;
    const [input, output, kernel, paper] = colours(root, "input", "output", "kernel", "paper");
    const real = { positive: input, negative: kernel, paper }, made = { ...real, positive: output };
    if (look !== (look = JSON.stringify([input, output, paper]))) for (const name in shown) delete shown[name];

    if (fresh("ground", network, background, state.highlight, width)) showGround(state);
    grid.canvas.hidden = background !== "pictures";
    if (background === "pictures") {
      const all = moreTiles();
      if (fresh("grid", network, all.length)) {
        const values = new Float32Array(784 * ACROSS ** 2);
        all.forEach((picture, i) => values.set(picture, 784 * i));
        grid.paint(values, made, 1);
      }
      if (all.length < ACROSS ** 2) later();
    }
    const points = drawn(state, codes()[garment]), near = nearest(z, codes());
    showMarks(state, points);
    if (fresh("here", network, z)) here.paint(decoded(z), made, 1);
    if (fresh("beside", near)) beside.paint(image(near), real, 1);
    say(beside.text, `The nearest garment: ${classes[labels[near]]}`);
    if (fresh("own", garment)) own.paint(image(garment), real, 1);
    if (fresh("again", network, garment)) again.paint(decoded(codes()[garment]), made, 1);
    if (fresh("way", network, start, end))
      way.paint(shares.flatMap((share) => [...decoded(along(start, end, share))]), made, 1);
    if (fresh("samples", network, points))
      samples.paint(points.flatMap((each) => [...decoded(each)]), made, 1);
    legend.forEach((each, label) => { each.ariaPressed = state.highlight === label; });

    const lines = [[says, whereabouts(z, near, codes(), fixed)],
      [tells, posterior(garment, codes()[garment], fixed)]];
    clearTimeout(speech); // while the point is dragged, nothing is read aloud
    if (!says.textContent) for (const [line, text] of lines) say(line, text);
    else speech = setTimeout(() => { for (const [line, text] of lines) say(line, text); }, 150);
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, () => {
    clearTimeout(speech);
    unfollow();
  });
}

export default { render, fits };
