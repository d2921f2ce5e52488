// A trained vision transformer that runs here: where each of its heads looks.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** A 16-bit float of the two bytes at a place. */
function half(view, at) {
  const bits = view.getUint16(at, true), exponent = bits >> 10 & 31, fraction = bits & 1023;
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024;
  return bits >> 15 ? -size : size;
}

/** Read the weights that `pack` in vit.py has written, in the order of PyTorch's parameters. */
function unpack(view, { patch_size, width, depth }) {
  let at = 0;
  const take = (count) => Float32Array.from({ length: count }, () => half(view, 2 * at++));
  const linear = (inputs, outputs) => ({ weight: take(inputs * outputs), bias: take(outputs) });
  const norm = () => ({ weight: take(width), bias: take(width) });
  const tokens = (28 / patch_size) ** 2 + 1;
  return {
    first: take(width), positions: take(tokens * width), patches: linear(patch_size ** 2, width),
    encoder: Array.from({ length: depth }, () => ({
      project: linear(width, 3 * width), join: linear(width, width),
      widen: linear(width, 4 * width), narrow: linear(4 * width, width),
      norm1: norm(), norm2: norm(),
    })),
    norm: norm(), output: linear(width, 10),
  };
}

/** Rows of `inputs` numbers each → rows of `outputs`. */
function apply({ weight, bias }, x, f = (sum) => sum) {
  const outputs = bias.length, inputs = weight.length / outputs, rows = x.length / inputs;
  const y = new Float32Array(rows * outputs);
  for (let row = 0, out = 0; row < rows; row++)
    for (let unit = 0; unit < outputs; unit++, out++) {
      let sum = bias[unit];
      for (let i = 0, from = row * inputs, w = unit * inputs; i < inputs; i++)
        sum += weight[w + i] * x[from + i];
      y[out] = f(sum);
    }
  return y;
}

/** Each row with mean 0 and variance 1, then scaled and shifted. */
function normalize({ weight, bias }, x) {
  const width = weight.length, y = new Float32Array(x.length);
  for (let from = 0; from < x.length; from += width) {
    const row = x.subarray(from, from + width), mean = sum(row) / width;
    const scale = 1 / Math.sqrt(row.reduce((all, v) => all + (v - mean) ** 2, 0) / width + 1e-6);
    for (let i = 0; i < width; i++) y[from + i] = (row[i] - mean) * scale * weight[i] + bias[i];
  }
  return y;
}

/** The error function, to 2e-7 (Abramowitz and Stegun, 7.1.26). */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027
    + t * 1.061405429))));
  return Math.sign(x) * (1 - p * Math.exp(-x * x));
}

const gelu = (x) => x * (1 + erf(x / Math.SQRT2)) / 2;

/** Attention of `heads` heads over tokens (tokens × width): what it gives, and its weights, head by
 *  head, from each token to each. */
function attend({ project, join }, x, width, heads) {
  const qkv = apply(project, x), tokens = x.length / width, d = width / heads;
  const weights = new Float32Array(heads * tokens * tokens), mixed = new Float32Array(x.length);
  for (let head = 0, row = 0; head < heads; head++)
    for (let i = 0; i < tokens; i++, row++) {
      const scores = Array.from({ length: tokens }, (_, j) => {
        let dot = 0;
        for (let c = 0, q = 3 * width * i + head * d, k = 3 * width * j + width + head * d; c < d; c++)
          dot += qkv[q + c] * qkv[k + c];
        return dot / Math.sqrt(d);
      });
      const shares = softmax(scores);
      weights.set(shares, row * tokens);
      for (let j = 0; j < tokens; j++)
        for (let c = 0, v = 3 * width * j + 2 * width + head * d; c < d; c++)
          mixed[i * width + head * d + c] += shares[j] * qkv[v + c];
    }
  return [apply(join, mixed), weights];
}

const plus = (x, y) => x.map((value, i) => value + y[i]);

/** The pixels that the network gets: the patches in their order, the covered ones empty. */
export function arrange(image, side, order, covered) {
  const across = 28 / side, shown = [...image];
  for (let place = 0; place < across ** 2; place++) {
    const from = order[place] ?? place, bare = covered.includes(place);
    for (let at = 0; at < side ** 2; at++) {
      const [u, v] = [Math.floor(at / side), at % side];
      const pixel = (patch) => (Math.floor(patch / across) * side + u) * 28 + patch % across * side + v;
      shown[pixel(place)] = bare ? 0 : image[pixel(from)];
    }
  }
  return shown;
}

/** The scores of an image of 784 numbers from 0 to 1, and the attention of each layer. */
function forward(image, weights, { patch_size: side, width, heads, positions }) {
  const across = 28 / side, cut = new Float32Array(784);
  for (let patch = 0, at = 0; patch < across ** 2; patch++)
    for (let u = 0; u < side; u++)
      for (let v = 0; v < side; v++, at++)
        cut[at] = image[(Math.floor(patch / across) * side + u) * 28 + patch % across * side + v];
  let x = new Float32Array((across ** 2 + 1) * width);
  x.set(weights.first);
  x.set(apply(weights.patches, cut), width);
  if (positions) x = plus(x, weights.positions);
  const attention = weights.encoder.map((layer) => {
    const [mixed, shares] = attend(layer, normalize(layer.norm1, x), width, heads);
    x = plus(x, mixed);
    x = plus(x, apply(layer.narrow, apply(layer.widen, normalize(layer.norm2, x), gelu)));
    return shares;
  });
  return { attention, scores: apply(weights.output, normalize(weights.norm, x.subarray(0, width))) };
}

/** For tests: scores and attention of several images, as plain lists. */
export function answers(bytes, sizes, images) {
  const weights = unpack(new DataView(Uint8Array.from(bytes).buffer), sizes);
  return images.map((image) => {
    const { scores, attention } = forward(image, weights, sizes);
    return { scores: [...scores], attention: attention.map((layer) => [...layer]) };
  });
}

/** A random order of the patches. */
function shuffled(count) {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Are there such a token, layer, head and patches? As Python checks; a page asks it of a link. */
export function fits({ token, layer, head, covered, order, patch_size, depth, heads }) {
  const patches = (28 / patch_size) ** 2;
  return token <= patches && layer < depth && head < heads && [...covered, ...order].every((each) =>
    each < patches) && [0, patches].includes(order.length);
}

// ---- Words --------------------------------------------------------------------------------------

function attentionInWords({ token, layer, head }, shares, across) {
  const place = (patch) => `row ${Math.floor(patch / across)}, column ${patch % across}`;
  const own = token ? `the patch in ${place(token - 1)}` : "the class token";
  const order = [...shares.keys()].slice(1).sort((a, b) => shares[b] - shares[a]);
  const most = order.slice(0, 2).map((i) => `${percent(shares[i])} to the patch in ${place(i - 1)}`);
  return `Layer ${layer}, head ${head}: ${own} gives ${most.join(", ")}, ` +
    `and ${percent(shares[0])} to the class token.`;
}

// ---- Controls -----------------------------------------------------------------------------------

function render({ model, el }) {
  const view = hold(model, ["image", "token", "layer", "head", "covered", "order", "positions"]);
  const { get, later } = view, classes = get("classes");
  const sizes = Object.fromEntries(["patch_size", "width", "depth", "heads"].map((n) => [n, get(n)]));
  const weights = unpack(get("weights"), sizes), side = sizes.patch_size, across = 28 / side;
  let found, drawn = "", look = "", covering = false;

  // The garment. A press chooses a patch, or covers it; with the keyboard, arrows and Space do.
  const cover = (patch) => {
    const covered = get("covered"), others = covered.filter((each) => each !== patch);
    view.set("covered", covered.includes(patch) ? others : [...others, patch]);
  };
  const board = tiled(1, 28, 28, 1, 0, { tabindex: 0, role: "application",
    "aria-label": `Garment in ${across} × ${across} patches: arrow keys choose one, Space covers it`,
    onclick(event) {
      const [, row, column] = board.find(event) ?? [];
      if (row === undefined) return;
      const patch = Math.floor(row / side) * across + Math.floor(column / side);
      if (covering) cover(patch);
      else view.set("token", patch + 1);
    },
    onkeydown(event) {
      const move = ARROWS[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      const patch = Math.max(get("token") - 1, 0);
      const keep = (at) => within(at, 0, across - 1);
      if (event.key === " ") cover(patch);
      else if (!get("token")) view.set("token", 1);
      else view.set("token", 1 + keep(Math.floor(patch / across) + move[0]) * across
        + keep(patch % across + move[1]));
    },
  });
  const marks = h("svg", { viewBox: "0 0 28 28", "aria-hidden": "true" });
  const garments = thumbs(get("gallery"), (image) => view.set({ image, covered: [], order: [] }));
  const bars = chances(classes), says = readout(), why = readout();

  // Every head of every layer: a picture of its attention; a press chooses one.
  const layers = Array.from({ length: sizes.depth }, (_, layer) => {
    const picture = tiled(sizes.heads, across, across, sizes.heads, 1, {
      "aria-label": `Layer ${layer}: attention of ${sizes.heads} heads`,
      onclick(event) {
        const [head] = picture.find(event) ?? [];
        if (head !== undefined) view.set({ layer, head });
      },
    });
    const frames = h("svg", { viewBox: `0 0 ${picture.width} ${picture.height}`, "aria-hidden": "true" });
    return { picture, frames, element: h("div", { class: "d2-layer" }, h("b", {}, `Layer ${layer}`),
      h("div", { class: "d2-maps" }, picture.canvas, frames)) };
  });
  const numbered = (count) => Array.from({ length: count }, (_, i) => i);
  const asNumber = (name) => ({ options: numbered(sizes[name === "layer" ? "depth" : "heads"]),
    read: () => String(get(name)), write: (value) => view.set(name, Number(value)) });

  const root = figure(view, "d2-vit",
    h("div", { class: "d2-top" },
      h("div", { class: "d2-board" },
        h("div", { class: "d2-maps" }, board.canvas, marks),
        h("div", { class: "d2-tools" },
          tick(view, null, { label: "a press covers", read: () => covering,
            write: (on) => { covering = on; } }),
          button("Uncover", () => view.set("covered", []))),
        h("div", { class: "d2-tools" },
          button("Shuffle", () => view.set("order", shuffled(across ** 2))),
          button("Put back", () => view.set("order", []))),
        h("div", { class: "d2-tools" },
          tick(view, "positions", { label: "add position embeddings" }))),
      h("div", { class: "d2-bars" }, ...bars.elements, says)),
    garments.element,
    h("div", { class: "d2-controls" },
      menu(view, null, { label: "Attention of", options: { 0: "the class token", 1: "a patch" },
        read: () => String(Math.min(get("token"), 1)), write: (value) => view.set("token",
          value === "0" ? 0 : Math.floor(across ** 2 / 2) + 1) }),
      menu(view, null, { label: "Layer", ...asNumber("layer") }),
      menu(view, null, { label: "Head", ...asNumber("head") })),
    why,
    h("div", { class: "d2-heads" }, ...layers.map(({ element }) => element)));

  /** The chosen head's attention over the garment, the chosen patch, and crosses on covered ones. */
  function showMarks(shares) {
    const top = Math.max(...shares.slice(1)), cell = (patch) => [patch % across * side,
      Math.floor(patch / across) * side];
    const looked = numbered(across ** 2).map((patch) => {
      const [x, y] = cell(patch);
      return h("rect", { x, y, width: side, height: side, fill: tone("output"),
        "fill-opacity": (0.8 * shares[patch + 1] / top).toFixed(2) });
    });
    const crosses = get("covered").map((patch) => {
      const [x, y] = cell(patch);
      return h("path", { d: `M${x} ${y}l${side} ${side}m0 ${-side}l${-side} ${side}`,
        stroke: tone("kernel"), "vector-effect": "non-scaling-stroke" });
    });
    const [x, y] = cell(get("token") - 1);
    const chosen = get("token") ? [h("rect", { x, y, width: side, height: side, fill: "none",
      stroke: tone("gradient"), "vector-effect": "non-scaling-stroke" })] : [];
    marks.replaceChildren(...looked, ...crosses, ...chosen);
  }

  function show() {
    const [input, output, kernel, paper] = colours(root, "input", "output", "kernel", "paper");
    const tones = { positive: output, negative: kernel, paper }, ink = { ...tones, positive: input };
    const fresh = look !== (look = JSON.stringify(tones)); // another theme
    if (fresh) garments.paint(ink);
    const { image, covered, order, positions, token, layer, head } = view.state();
    if (drawn !== (drawn = JSON.stringify([image, covered, order, positions])) || fresh) {
      const shown = arrange(image, side, order, covered).map((pixel) => pixel / 255);
      found = forward(shown, weights, { ...sizes, positions });
      board.paint(shown, ink, 1);
      const shares = softmax(found.scores);
      bars.show(shares);
      say(says, verdict(shares, classes));
    }
    const tokens = across ** 2 + 1;
    const of = (at, by) => found.attention[at].subarray((by * tokens + token) * tokens,
      (by * tokens + token + 1) * tokens);
    layers.forEach(({ picture, frames }, at) => {
      const each = numbered(sizes.heads).map((by) => {
        const shares = of(at, by).slice(1), top = Math.max(...shares);
        return shares.map((share) => share / top);
      });
      picture.paint(each.flatMap((shares) => [...shares]), tones, 1);
      frames.replaceChildren(...(at === layer ? [head] : []).map((chosen) => {
        const [y, x] = picture.corner(chosen);
        return h("rect", { x: x - 0.25, y: y - 0.25, width: across + 0.5, height: across + 0.5,
          fill: "none", stroke: tone("gradient"), "vector-effect": "non-scaling-stroke" });
      }));
    });
    showMarks(of(layer, head));
    say(why, attentionInWords({ token, layer, head }, of(layer, head), across));
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, unfollow);
}

export default { render, fits };
