// A trained LeNet that runs here: on a garment, or on what the reader draws.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** The shape of what each layer gives: maps, rows, columns. */
const SHAPES = { image: [1, 28, 28], C1: [6, 28, 28], S2: [6, 14, 14], C3: [16, 10, 10],
  S4: [16, 5, 5], C5: [120, 1, 1], F6: [84, 1, 1], output: [10, 1, 1] };
const BEFORE = { C1: "image", S2: "C1", C3: "S2", S4: "C3", C5: "S4", F6: "C5", output: "F6" };
const FAN_IN = { C1: 25, C3: 150, C5: 400, F6: 120, output: 84 };
const KERNEL = 5;
const sizeOf = (layer) => SHAPES[layer].reduce((a, b) => a * b);

/** Read the weights that `pack` in lenet.py has written: { C1: { bias, weight }, … }. */
function unpack(view) {
  const layers = {};
  let at = 0;
  for (const [name, fanIn] of Object.entries(FAN_IN)) {
    const units = SHAPES[name][0];
    const floats = () => Float32Array.from({ length: units }, () => {
      at += 4;
      return view.getFloat32(at - 4, true);
    });
    const bias = floats(), worth = floats(), weight = new Float32Array(units * fanIn);
    for (let i = 0; i < weight.length; i += 2, at += 3) {
      const [a, b, c] = [view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2)];
      weight[i] = ((a << 4 | b >> 4) - 2048) * worth[Math.floor(i / fanIn)];
      weight[i + 1] = (((b & 15) << 8 | c) - 2048) * worth[Math.floor((i + 1) / fanIn)];
    }
    layers[name] = { bias, weight };
  }
  return layers;
}

const ACTIVATIONS = { relu: (x) => Math.max(x, 0), sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh };

function convolve(x, [channels, rows, columns], { bias, weight }, [maps, height, width], padding, f) {
  const y = new Float32Array(maps * height * width);
  for (let m = 0, out = 0; m < maps; m++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++, out++) {
        let sum = bias[m];
        for (let c = 0; c < channels; c++)
          for (let u = 0; u < KERNEL; u++) {
            const row = i + u - padding;
            if (row < 0 || row >= rows) continue;
            const from = (c * rows + row) * columns + j - padding;
            const w = ((m * channels + c) * KERNEL + u) * KERNEL;
            const first = Math.max(0, padding - j), end = Math.min(KERNEL, columns + padding - j);
            for (let v = first; v < end; v++) sum += weight[w + v] * x[from + v];
          }
        y[out] = f(sum);
      }
  return y;
}

function subsample(x, [maps, height, width], kind) {
  const y = new Float32Array(maps * height * width), step = 2 * width;
  for (let m = 0, out = 0; m < maps; m++)
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++, out++) {
        const at = (2 * (m * height + i)) * step + 2 * j;
        const four = [x[at], x[at + 1], x[at + step], x[at + step + 1]];
        y[out] = kind === "max" ? Math.max(...four) : (four[0] + four[1] + four[2] + four[3]) / 4;
      }
  return y;
}

function dense(x, { bias, weight }, f = (sum) => sum) {
  return Float32Array.from(bias, (sum, unit) => {
    for (let i = 0, w = unit * x.length; i < x.length; i++) sum += weight[w + i] * x[i];
    return f(sum);
  });
}

/** Everything that the network computes on an image of 784 numbers from 0 to 1, layer by layer. */
function forward(image, weights, activation, pool) {
  const f = ACTIVATIONS[activation];
  const C1 = convolve(image, SHAPES.image, weights.C1, SHAPES.C1, 2, f);
  const S2 = subsample(C1, SHAPES.S2, pool);
  const C3 = convolve(S2, SHAPES.S2, weights.C3, SHAPES.C3, 0, f);
  const S4 = subsample(C3, SHAPES.S4, pool);
  const C5 = dense(S4, weights.C5, f), F6 = dense(C5, weights.F6, f);
  return { image, C1, S2, C3, S4, C5, F6, output: dense(F6, weights.output) };
}

/**
 * What is behind a unit: the windows that it reads (`sees`), the weights it gives them and the
 * products, each as `tiles` of `side` × `side` numbers one after another; `bias`, `sum` with it, and
 * the `value` that the unit gives. A subsampling unit has no weights; `source` is where it reads:
 * rows and columns from `row` and `column` on, in the maps `first` to `first + tiles`.
 */
function behind(layer, unit, maps, weights) {
  const [, height, width] = SHAPES[layer], before = BEFORE[layer];
  const [channels, rows, columns] = SHAPES[before], x = maps[before];
  const map = Math.floor(unit / (height * width)), i = Math.floor(unit / width) % height;
  const j = unit % width, value = maps[layer][unit];
  const read = (side, row, column, first, tiles) => {
    const sees = [];
    for (let c = first; c < first + tiles; c++)
      for (let u = row; u < row + side; u++)
        for (let v = column; v < column + side; v++)
          sees.push(u < 0 || v < 0 || u >= rows || v >= columns ? 0 : x[(c * rows + u) * columns + v]);
    return { sees, side, tiles, source: { row, column, first } };
  };
  const place = { map, row: i, column: j };
  if (layer === "S2" || layer === "S4") return { ...place, ...read(2, 2 * i, 2 * j, map, 1), value };
  const padding = layer === "C1" ? 2 : 0;
  const found = columns === 1 ? read(1, 0, 0, 0, channels)
    : read(KERNEL, i - padding, j - padding, 0, channels);
  const own = [...weights[layer].weight.subarray(map * FAN_IN[layer], (map + 1) * FAN_IN[layer])];
  const products = own.map((w, at) => w * found.sees[at]), bias = weights[layer].bias[map];
  const sum = products.reduce((a, b) => a + b, bias);
  return { ...place, ...found, weights: own, products, bias, sum, value };
}

const viewOf = (bytes) => new DataView(Uint8Array.from(bytes).buffer);

/** For tests: everything that the network computes on each of several images, as plain lists. */
export function layersOf(bytes, images, activation, pool) {
  const weights = unpack(viewOf(bytes));
  return images.map((image) => Object.fromEntries(Object.entries(
    forward(image, weights, activation, pool)).map(([name, values]) => [name, [...values]])));
}

/** For tests: what is behind several units, [layer, unit], on one image. */
export function reasons(bytes, image, activation, pool, units) {
  const weights = unpack(viewOf(bytes)), maps = forward(image, weights, activation, pool);
  return units.map(([layer, unit]) => behind(layer, unit, maps, weights));
}

/** The board after a stroke of a soft brush, in pixels, from one point to another; 255 is full. */
export function stroke(image, [x0, y0], [x1, y1], erase, radius) {
  const squared = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  return image.map((ink, at) => {
    const x = at % 28 + 0.5, y = Math.floor(at / 28) + 0.5;
    const along = squared ? ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / squared : 0;
    const t = Math.min(Math.max(along, 0), 1);
    const far = Math.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0));
    const mark = Math.round(255 * Math.min(Math.max(radius + 0.5 - far, 0), 1));
    return erase ? Math.min(ink, 255 - mark) : Math.max(ink, mark);
  });
}

/** Is there such a unit? As Python checks; a page asks it of a link. */
export const fits = ({ layer, unit }) => unit < sizeOf(layer);

// ---- Words --------------------------------------------------------------------------------------

function explanation(layer, found, classes, activation, pool) {
  const { map, row, column, sees, weights, bias, sum, value } = found, at = `row ${row}, column ${column}`;
  const name = layer === "output" ? `The score for ${classes[map]}`
    : SHAPES[layer][1] > 1 ? `${layer}, map ${map}, ${at}` : `${layer}, unit ${map}`;
  if (!weights) return `${name}: the ${pool === "max" ? "largest" : "average"} of ` +
    `${sees.map(short).join(", ")} is ${short(value)}.`;
  const then = layer === "output" ? "" : `, and ${{ relu: "ReLU", sigmoid: "the sigmoid",
    tanh: "tanh" }[activation]} makes it ${short(value)}`;
  return `${name}: ${sees.length} products and the bias ${short(bias)} add up to ${short(sum)}${then}.`;
}

// ---- Pictures: one canvas for all maps of a layer -----------------------------------------------

/** How many maps stand in one row of a layer's picture. */
const ACROSS = { image: 1, C1: 6, S2: 6, C3: 8, S4: 16, C5: 40, F6: 42, output: 10 };
const GAP = { C1: 2, S2: 1, C3: 1, S4: 1 };

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["image", "layer", "unit"]), { get, later } = view;
  const classes = get("classes"), weights = unpack(get("weights"));
  let maps, drawn = null, look = "", cursor = null, last = null, erasing = false;

  // The board: drag to draw; with the keyboard, arrows move a cursor and Space inks its place. A
  // finger draws when a tap has given the board the focus; before, it scrolls the page.
  const board = tiled(1, 28, 28, 1, 0, { tabindex: 0, role: "application",
    "aria-label": "Board of 28 × 28 pixels: draw with the pointer, or with arrow keys and Space",
    onpointerdown(event) {
      if (event.pointerType === "touch" && !board.canvas.matches(":focus")) return;
      board.canvas.setPointerCapture(event.pointerId);
      last = place(event);
      rub(last, last);
    },
    onpointermove(event) {
      if (!last) return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) {
        const to = place(each);
        rub(last, to);
        last = to;
      }
    },
    onpointerup() { last = null; },
    onpointercancel() { last = null; },
    onblur() { cursor = null; later(); },
    onkeydown(event) {
      const move = ARROWS[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      const [x, y] = cursor ?? [14, 14], keep = (at) => Math.min(Math.max(at, 0), 27);
      cursor = move && cursor ? [keep(x + move[1]), keep(y + move[0])] : [x, y];
      const middle = [cursor[0] + 0.5, cursor[1] + 0.5];
      if (event.key === " " || event.shiftKey) rub(middle, middle);
      later();
    },
  });
  function place({ clientX, clientY }) {
    const box = board.canvas.getBoundingClientRect();
    return [(clientX - box.left) / box.width * 28, (clientY - box.top) / box.height * 28];
  }
  const rub = (from, to) => view.set("image",
    stroke(get("image"), from, to, erasing, erasing ? 2.5 : 1.5)); // the eraser takes soft edges too

  const garments = thumbs(get("gallery"), (image) => view.set("image", image));
  const bars = chances(classes);

  // The layers: a picture of all their maps; a press chooses a unit.
  const layers = Object.keys(BEFORE).slice(0, -1).map((name) => {
    const [tiles, rows, columns] = SHAPES[name];
    const picture = tiled(tiles, rows, columns, ACROSS[name], GAP[name], {
      "aria-label": `${name}: ${tiles} ${rows > 1 ? `maps of ${rows} × ${columns}` : "units"}`,
      onclick(event) {
        const [tile, row, column] = picture.find(event) ?? [];
        if (tile === undefined) return;
        view.set({ layer: name, unit: (tile * rows + row) * columns + column });
      },
    });
    const marks = h("svg", { viewBox: `0 0 ${picture.width} ${picture.height}`, "aria-hidden": "true" });
    const size = rows > 1 ? `${tiles} × ${rows} × ${columns}` : tiles;
    return { name, picture, marks, element: h("div", { class: "d2-layer" },
      h("span", {}, h("b", {}, name), ` ${size}`), h("div", { class: "d2-maps" }, picture.canvas, marks)) };
  });
  const unit = h("input", { type: "range", min: 0, "aria-label": "Unit",
    oninput: () => view.set("unit", Number(unit.value)) });
  const chooser = menu(view, "layer", { label: "Look into a unit of", options: Object.keys(BEFORE),
    write: (layer) => view.set({ layer, unit: Math.min(get("unit"), sizeOf(layer) - 1) }) });
  const inside = h("div", { class: "d2-inside" }), why = readout(), says = readout();
  const note = "Press a unit to see what it adds up.";

  const boardMarks = h("svg", { viewBox: "0 0 28 28", "aria-hidden": "true" });
  const root = figure(view, "d2-lenet",
    h("div", { class: "d2-top" },
      h("div", { class: "d2-board" }, h("div", { class: "d2-maps" }, board.canvas, boardMarks),
        h("div", { class: "d2-tools" }, button("Clear", () => view.set("image", Array(784).fill(0))),
          tick(view, null, { label: "erase", read: () => erasing, write: (on) => { erasing = on; } })),
        h("p", { class: "d2-hint" }, matchMedia("(pointer: coarse)").matches
          ? "Tap here, then draw; or pick a garment." : "Draw here, or pick a garment.")),
      h("div", { class: "d2-bars" }, ...bars.elements, says)),
    garments.element,
    ...layers.map(({ element }) => element),
    h("div", { class: "d2-controls d2-unit" }, chooser,
      h("label", { class: "d2-field" }, h("span", {}, note), unit)), inside, why);

  /** The pictures of what a unit reads, its weights and their products, made anew for each shape. */
  let shape = "", rowsInside = [];
  function showInside(found, tones) {
    const { sees, weights: own, products, side, tiles } = found;
    const across = side > 1 ? Math.min(tiles, 8) : Math.min(tiles, 40);
    if (shape !== (shape = `${tiles} ${side} ${!own}`)) {
      rowsInside = ["it reads", ...(own ? ["its weights", "products"] : [])].map((name) => {
        const picture = tiled(tiles, side, side, across, side > 1 ? 1 : 0, { "aria-label": name });
        picture.canvas.style.width = `min(100%, ${picture.width * (side > 1 ? 8 : 10)}px)`;
        return { picture, element: h("div", { class: "d2-layer" }, h("span", {}, name), picture.canvas) };
      });
      inside.replaceChildren(...rowsInside.map(({ element }) => element));
    }
    [sees, own, products].forEach((values, i) => rowsInside[i]?.picture.paint(values, tones));
  }

  /** Frames around the chosen unit and around the windows that it reads. */
  function showMarks(layer, { map, row, column, side, tiles, source }) {
    const frameOf = (x, y, w, name) => h("rect", { x: x - 0.25, y: y - 0.25, width: w + 0.5,
      height: w + 0.5, fill: "none", stroke: tone(name), "vector-effect": "non-scaling-stroke" });
    boardMarks.replaceChildren(...(cursor ? [frameOf(...cursor, 1, "gradient")] : []),
      ...(layer === "C1" ? [frameOf(source.column, source.row, side, "kernel")] : []));
    for (const { name, picture, marks } of layers) {
      const drawn = [];
      if (name === layer) {
        const [y, x] = picture.corner(map);
        drawn.push(frameOf(x + column, y + row, 1, "gradient"));
      }
      if (name === BEFORE[layer] && side > 1) for (let tile = 0; tile < tiles; tile++) {
        const [y, x] = picture.corner(source.first + tile);
        drawn.push(frameOf(x + source.column, y + source.row, side, "kernel"));
      }
      marks.replaceChildren(...drawn);
    }
  }

  function show() {
    const layer = get("layer"), at = Math.min(get("unit"), sizeOf(layer) - 1);
    const [input, output, kernel, paper] = colours(root, "input", "output", "kernel", "paper");
    const tones = { positive: output, negative: kernel, paper }, ink = { ...tones, positive: input };
    const fresh = look !== (look = JSON.stringify(tones)); // another theme
    if (fresh) garments.paint(ink);
    if (drawn !== (drawn = get("image")) || fresh) {
      const image = Float32Array.from(drawn, (pixel) => pixel / 255);
      maps = forward(image, weights, get("activation"), get("pool"));
      board.paint(image, ink, 1);
      for (const { picture, name } of layers) picture.paint(maps[name], tones);
      const shares = softmax(maps.output);
      bars.show(shares);
      say(says, verdict(shares, classes));
    }
    Object.assign(unit, { max: sizeOf(layer) - 1, value: at });
    const found = behind(layer, at, maps, weights);
    showInside(found, tones);
    showMarks(layer, found);
    say(why, explanation(layer, found, classes, get("activation"), get("pool")));
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, unfollow);
}

export default { render, fits };
