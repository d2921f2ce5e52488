// A garment goes through a chain of random changes: twelve draws, and what becomes of its label.

// ---- Arithmetic: no DOM, checked against torchvision --------------------------------------------

const SIDE = 28, DRAWS = 12, SEEDS = 1e9, MEAN = 0.286, DEVIATION = 0.353;

/** Of each kind of change: its name, PyTorch's, and its settings: [label, least, most, step, at first]. */
const KINDS = {
  flip: ["Mirror", "RandomHorizontalFlip", { p: ["Probability p", 0, 1, 0.05, 0.5] }],
  crop: ["Padded crop", "RandomCrop", { padding: ["Padding", 0, 14, 1, 4] }],
  resized_crop: ["Resized crop", "RandomResizedCrop", { scale: ["Least area", 0.05, 1, 0.05, 0.7] }],
  affine: ["Rotation, shear", "RandomAffine, bilinear", { degrees: ["Degrees", 0, 180, 5, 15],
    shear: ["Shear", 0, 45, 5, 0] }],
  jitter: ["Brightness, contrast", "ColorJitter", { brightness: ["Brightness", 0, 1, 0.05, 0.2],
    contrast: ["Contrast", 0, 1, 0.05, 0.2] }],
  noise: ["Noise", "GaussianNoise", { sigma: ["σ", 0, 0.5, 0.01, 0.1] }],
  erase: ["Erasing", "RandomErasing", { p: ["Probability p", 0, 1, 0.05, 0.25],
    scale: ["Largest area", 0.02, 0.8, 0.01, 0.33] }],
  mixup: ["Mixup", "MixUp, of a batch", { alpha: ["α", 0.05, 2, 0.05, 1] }],
  cutmix: ["CutMix", "CutMix, of a batch", { alpha: ["α", 0.05, 2, 0.05, 1] }],
  smoothing: ["Label smoothing", "in CrossEntropyLoss",
    { label_smoothing: ["ε", 0, 0.5, 0.01, 0.1] }],
};
const isOfBatch = (kind) => kind === "mixup" || kind === "cutmix";
/** Changes of one picture come first, then those of a batch, then that of the loss. */
const stage = ({ kind }) => isOfBatch(kind) ? 1 : kind === "smoothing" ? 2 : 0;

/** Does each kind come once, and in a possible order? As Python checks; a page asks it of a link. */
export function fits({ chain, garment, labels }) {
  return new Set(chain.map(({ kind }) => kind)).size === chain.length && garment < labels.length &&
    chain.every((each, i) => i === 0 || stage(chain[i - 1]) <= stage(each));
}

/** A seed for each list of whole numbers. */
const seedOf = (...names) => names.reduce((seed, name) => mix(mix(seed) + name), 0);

/** Uniform numbers from 0 to 1: a function that gives the next one. */
function stream(seed) {
  let place = 0;
  return () => (mix(Math.imul(++place, 0x9e3779b9) + seed) + 0.5) / 2 ** 32;
}

const between = (random, low, high) => low + (high - low) * random();
const below = (random, count) => Math.floor(random() * count);

/** A box of a random area and a random ratio of width to height, or null if none of ten fits. */
function box(random, [low, high], [narrow, wide], most) {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = SIDE ** 2 * between(random, low, high);
    const ratio = Math.exp(between(random, Math.log(narrow), Math.log(wide)));
    const [height, width] = [area / ratio, area * ratio].map((x) => Math.round(Math.sqrt(x)));
    if (height <= most && width <= most) return { top: below(random, SIDE - height + 1),
      left: below(random, SIDE - width + 1), height, width };
  }
  return null;
}

/** A share from the Beta distribution whose parameters are both α (Jöhnk, 1964). */
function beta(random, alpha) {
  for (;;) {
    const [x, y] = [random() ** (1 / alpha), random() ** (1 / alpha)];
    if (x + y <= 1) return x / (x + y);
  }
}

const factor = (random, most) => most ? between(random, Math.max(1 - most, 0), 1 + most) : null;
const DRAW = {
  flip: (random, { p }) => ({ mirrored: random() < p }),
  crop: (random, { padding }) => ({ padding, top: below(random, 2 * padding + 1),
    left: below(random, 2 * padding + 1) }),
  resized_crop: (random, { scale }) => box(random, [scale, 1], [3 / 4, 4 / 3], SIDE)
    ?? { top: 0, left: 0, height: SIDE, width: SIDE },
  affine: (random, { degrees, shear }) => ({ angle: between(random, -degrees, degrees),
    shear: between(random, -shear, shear) }),
  jitter: (random, { brightness, contrast }) => ({ swapped: random() < 0.5,
    brightness: factor(random, brightness), contrast: factor(random, contrast) }),
  noise: (random, { sigma }) => ({ sigma, seed: below(random, 2 ** 31) }),
  erase: (random, { p, scale }) => random() < p && box(random, [0.02, scale], [1 / 3.3, 1 / 0.3],
    SIDE - 1) || { top: 0, left: 0, height: 0, width: 0 },
  mixup: (random, { alpha }) => ({ share: beta(random, alpha) }),
  cutmix(random, { alpha }) {
    const half = Math.floor(0.5 * Math.sqrt(1 - beta(random, alpha)) * SIDE);
    const [x, y] = [below(random, SIDE), below(random, SIDE)], inside = (at) => within(at, 0, SIDE);
    const [left, right] = [inside(x - half), inside(x + half)];
    const [top, bottom] = [inside(y - half), inside(y + half)];
    const [height, width] = [bottom - top, right - left];
    return { top, left, height, width, share: 1 - height * width / SIDE ** 2 };
  },
  smoothing: (random, { label_smoothing }) => ({ share: label_smoothing }),
};

/** What a change draws. */
export const drawn = (kind, settings, seed) => DRAW[kind](stream(seed), settings);

/** A picture whose pixels are `value(row, column)`. */
function pictured(value) {
  const x = new Float64Array(SIDE ** 2);
  for (let i = 0, at = 0; i < SIDE; i++) for (let j = 0; j < SIDE; j++, at++) x[at] = value(i, j);
  return x;
}
const isIn = (i, j, { top, left, height, width }) =>
  i >= top && i < top + height && j >= left && j < left + width;
const isSide = (i) => i >= 0 && i < SIDE;
const clamp = (x) => Math.min(Math.max(x, 0), 1);

/** Between four pixels, of which those outside are 0, times the weight of those inside: torchvision
 *  darkens an edge twice (pytorch/vision, issue 8083). */
function bilinear(x, i, j) {
  const [top, left] = [Math.floor(i), Math.floor(j)], at = top * SIDE + left;
  const up = isSide(top) ? top + 1 - i : 0, down = isSide(top + 1) ? i - top : 0;
  const west = isSide(left) ? left + 1 - j : 0, east = isSide(left + 1) ? j - left : 0;
  let value = 0; // a pixel without weight may not exist
  if (up) value += up * ((west && west * x[at]) + (east && east * x[at + 1]));
  if (down) value += down * ((west && west * x[at + SIDE]) + (east && east * x[at + SIDE + 1]));
  return value * (up + down) * (west + east);
}

const CHANGE = {
  flip: (x, { mirrored }) => mirrored ? pictured((i, j) => x[i * SIDE + SIDE - 1 - j]) : x,
  crop: (x, { padding, top, left }) => pictured((i, j) => {
    const row = i + top - padding, column = j + left - padding;
    return isSide(row) && isSide(column) ? x[row * SIDE + column] : 0;
  }),
  resized_crop(x, { top, left, height, width }) {
    const at = (i, size) => within((i + 0.5) * size / SIDE - 0.5, 0, size - 1);
    return pictured((i, j) => bilinear(x, top + at(i, height), left + at(j, width)));
  },
  affine(x, { angle, shear }) {
    const [turn, lean] = [angle, shear].map((degrees) => degrees * Math.PI / 180);
    const [sin, cos, tan] = [Math.sin(turn), Math.cos(turn), Math.tan(lean)], middle = (SIDE - 1) / 2;
    return pictured((i, j) => {
      const row = i - middle, column = j - middle;
      return bilinear(x, cos * row - sin * column + middle,
        (cos - sin * tan) * column + (cos * tan + sin) * row + middle);
    });
  },
  jitter(x, { swapped, brightness, contrast }) {
    const brighter = (x) => brightness === null ? x : x.map((value) => clamp(brightness * value));
    const stronger = (x) => {
      const mean = sum(x) / x.length;
      return contrast === null ? x
        : x.map((value) => clamp(contrast * value + (1 - contrast) * mean));
    };
    return swapped ? brighter(stronger(x)) : stronger(brighter(x));
  },
  noise(x, { sigma, seed }) {
    const noise = normals(seed, 0, x.length);
    return x.map((value, i) => clamp(value + sigma * noise[i]));
  },
  erase: (x, place) => pictured((i, j) => isIn(i, j, place) ? 0 : x[i * SIDE + j]),
};

/** A picture after a change. */
export const changed = (kind, found, x) => CHANGE[kind](Float64Array.from(x), found);

const blend = (share, x, y) => x.map((value, i) => share * value + (1 - share) * y[i]);

/** A picture with its target, mixed with another one. */
export function mixed(kind, found, [x, target], [y, other]) {
  return [kind === "mixup" ? blend(found.share, x, y)
    : pictured((i, j) => (isIn(i, j, found) ? y : x)[i * SIDE + j]), blend(found.share, target, other)];
}

export const smoothed = (share, target) =>
  target.map((each) => (1 - share) * each + share / target.length);

const clamps = ({ kind, brightness, contrast }) =>
  kind === "noise" || kind === "jitter" && (brightness > 0 || contrast > 0);

/**
 * A garment after all changes: what the network gets of it, its target, and of each change what was
 * drawn, the picture after it, the class that is mixed in and the share of numbers that it has clamped.
 * A change draws the same wherever it stands in the chain.
 */
export function augment({ chain, seed, garment, normalize }, { images, labels, classes }, draw) {
  const kinds = Object.keys(KINDS), count = images.length;
  const normal = (x) => x.map((value) => (value - MEAN) / DEVIATION);
  let batch = Array.from({ length: 1 + chain.filter(({ kind }) => isOfBatch(kind)).length }, (_, i) => {
    const other = below(stream(seedOf(seed, draw, i, kinds.length)), count - 1);
    const which = i ? (garment + 1 + other) % count : garment;
    return [normalize === "first" ? normal(images[which]) : images[which], classes.map((_, k) => Number(k === labels[which]))];
  });
  const steps = chain.map(({ kind, ...settings }) => {
    const [[before], next] = batch;
    const found = batch.map((_, i) =>
      drawn(kind, settings, seedOf(seed, draw, i, kinds.indexOf(kind))));
    const lost = clamps({ kind, ...settings })
      ? before.filter((value) => Math.abs(value - clamp(value)) > 1e-9).length / before.length : 0;
    batch = isOfBatch(kind)
      ? batch.slice(1).map((other, i) => mixed(kind, found[0], batch[i], other))
      : kind === "smoothing" ? batch.map(([x, target]) => [x, smoothed(found[0].share, target)])
      : batch.map(([x, target], i) => [CHANGE[kind](x, found[i]), target]);
    const other = isOfBatch(kind) ? next[1].indexOf(Math.max(...next[1])) : null;
    return { kind, found: found[0], x: batch[0][0], other, lost };
  });
  const [[x, target]] = batch;
  return { x: normalize === "last" ? normal(x) : x, target, steps };
}

const opened = (bytes) => Float64Array.from(bytes, (shade) => shade / 255);

/** For tests: as plain lists. */
export function augmented(state, { images, ...gallery }, draw) {
  const { x, target, steps } = augment(state, { images: images.map(opened), ...gallery }, draw);
  return { x: [...x], target, lost: steps.map(({ lost }) => lost) };
}

// ---- Words --------------------------------------------------------------------------------------

const a = (name) => `${/^[AEIOU]/i.test(name) ? "an" : "a"} ${name}`;
const size = ({ height, width }) => `${height} × ${width} pixels`;
const moved = (by, [back, on]) => by ? [`${Math.abs(by)} ${by < 0 ? back : on}`] : [];
const TOLD = {
  flip: ({ mirrored }) => mirrored ? "mirrored" : "not mirrored",
  crop: ({ padding, top, left }) => ["moved", [...moved(padding - top, ["up", "down"]),
    ...moved(padding - left, ["left", "right"])].join(", ") || "nowhere"].join(" "),
  resized_crop: (found) =>
    `${size(found)} of it, ${percent(found.height * found.width / SIDE ** 2)}, enlarged`,
  affine: ({ angle, shear }) => `turned by ${minus(Math.round(angle))}°` +
    (shear ? `, sheared by ${minus(Math.round(shear))}°` : ""),
  jitter({ swapped, brightness, contrast }) {
    const told = [["brightness", brightness], ["contrast", contrast]]
      .filter(([, by]) => by !== null).map(([name, by]) => `${name} ×\u00a0${by.toFixed(2)}`);
    return (swapped ? told.reverse() : told).join(", then ") || "nothing changed";
  },
  noise: ({ sigma }) => `σ = ${sigma}: other noise in each pixel`,
  erase: (found) => found.height ? `${size(found)} erased` : "nothing erased",
  mixup: ({ share }, other) => `λ = ${share.toFixed(2)}, the rest is ${a(other)}`,
  cutmix: (found, other) => found.share < 1
    ? `${size(found)} of ${a(other)}: λ = ${found.share.toFixed(2)}` : "a box of no pixels: λ = 1",
  smoothing: ({ share }) => `${share} shared among all classes`,
};

/** "Bag 0.70, Dress 0.30", the largest first. */
function inWords(target, classes) {
  const order = [...target.keys()].sort((i, j) => target[j] - target[i]);
  const least = Math.min(...target), rest = order.filter((i) => target[i] - least < 1e-9);
  const named = order.filter((i) => !rest.includes(i))
    .map((i) => `${classes[i]} ${target[i].toFixed(2)}`).join(", ");
  const others = Number(least.toFixed(3));
  return named && least ? `${named}, each other class ${others}` : named || `each class ${others}`;
}

/** What is to be seen: the chosen draw's label, how far all go, and what was lost. */
export function reading({ chain, normalize, draw }, all, classes, own) {
  const { target, steps } = all[draw], shares = all.map((each) => each.target[own]).sort((i, j) => i - j);
  const told = [`Draw ${draw + 1} has the label ${inWords(target, classes)}.`];
  if (chain.some(({ kind }) => isOfBatch(kind))) told.push(`Its own class has from ` +
    `${shares[0].toFixed(2)} to ${shares.at(-1).toFixed(2)} in the ${DRAWS} draws.`);
  const loser = steps.find(({ lost }) => lost > 0), filled = ["crop", "affine", "erase"];
  if (loser) told.push(`It was normalized first: then ${percent(loser.lost)} of its numbers lay ` +
    `outside 0 to 1, and “${KINDS[loser.kind][0]}” clamped them. What was there is lost.`);
  else if (normalize === "first" && chain.some(({ kind }) => filled.includes(kind))) told.push(
    "It was normalized first: what is erased or comes in from outside is 0, now the mean and not the ground.");
  return told.join(" ");
}

// ---- Controls -----------------------------------------------------------------------------------

/** A change with its settings at first. */
export const begun = (kind) => ({ kind, ...Object.fromEntries(Object.entries(KINDS[kind][2])
  .map(([name, setting]) => [name, setting[4]])) });
const recipe = (normalize, chain) => ({ normalize, chain: Object.entries(chain).map(([kind, settings]) =>
  ({ ...begun(kind), ...settings })) });
const RECIPES = {
  "small pictures": recipe("last", { crop: {}, flip: {} }),
  "this chapter's": recipe("last", { resized_crop: {}, flip: {}, jitter: {}, erase: {} }),
  "photographs, bold": recipe("last", { resized_crop: { scale: 0.1 }, flip: {},
    jitter: { brightness: 0.4, contrast: 0.4 }, erase: {}, mixup: { alpha: 0.2 }, cutmix: {},
    smoothing: {} }),
  "mixup": recipe("last", { flip: {}, mixup: {} }),
  "CutMix": recipe("last", { flip: {}, cutmix: {} }),
  "normalized too early": recipe("first", { jitter: {} }),
};

let numbered = 0;

function render({ model, el }) {
  const view = hold(model, ["chain", "seed", "garment", "normalize", "draw"]), { get, later } = view;
  const bytes = get("gallery"), labels = get("labels"), classes = get("classes"), id = numbered++;
  const images = labels.map((_, i) =>
    opened(new Uint8Array(bytes.buffer, bytes.byteOffset + 784 * i, 784)));
  const gallery = { images, labels, classes };
  const chain = () => get("chain"), settings = (kind) => chain().find((each) => each.kind === kind);

  // Which changes there are, and in which order.
  const has = (kind) => Boolean(settings(kind));
  function toggle(kind) {
    const others = chain().filter((each) => each.kind !== kind), made = begun(kind);
    const at = others.findIndex((each) => stage(each) > stage(made));
    if (!has(kind)) others.splice(at < 0 ? others.length : at, 0, made);
    view.set("chain", others);
  }
  const ticked = Object.entries(KINDS).map(([kind, [label]]) =>
    tick(view, null, { label, read: () => has(kind), write: () => toggle(kind) }));

  /** The place to which a change may move, or -1. */
  function target(kind, by) {
    const at = chain().findIndex((each) => each.kind === kind), other = chain()[at + by];
    return other && stage(other) === stage(chain()[at]) ? at + by : -1;
  }
  function move(kind, by) {
    const to = target(kind, by), moving = settings(kind);
    view.set("chain", chain().filter((each) => each !== moving).toSpliced(to, 0, moving));
    view.now();
    const { up, down } = rows[kind], [pressed, other] = by < 0 ? [up, down] : [down, up];
    (pressed.disabled ? other : pressed).focus(); // it has moved within the page
  }

  /** One line of the chain: the picture after it, its name, what was drawn. */
  function row(name, inside, controls, buttons = []) {
    const picture = tiled(1, SIDE, SIDE, 1, 0, { "aria-hidden": "true", role: "presentation" });
    const told = h("span", { class: "d2-told" });
    return { picture, told, element: h("li", {}, picture.canvas, h("div", { class: "d2-what" },
      h("b", {}, name), " ", h("code", {}, inside), told), h("div", { class: "d2-moves" }, ...buttons),
      h("div", { class: "d2-settings" }, ...controls)) };
  }
  const rows = Object.fromEntries(Object.entries(KINDS).map(([kind, [name, inside, all]]) => {
    const sliders = Object.entries(all).map(([setting, [label, min, max, step]]) =>
      slider(view, null, { label, min, max, step, spoken: `${name}: ${label}`,
        read: () => settings(kind)[setting], hidden: () => !has(kind),
        write: (value) => view.set("chain", chain().map((each) =>
          each.kind === kind ? { ...each, [setting]: value } : each)) }));
    const arrow = (by, text, where) =>
      button(text, () => move(kind, by), { "aria-label": `${name}: ${where}` });
    const [up, down] = [arrow(-1, "↑", "earlier"), arrow(1, "↓", "later")];
    return [kind, { up, down, ...row(name, inside, sliders, [up, down]) }];
  }));
  const normalizing = row("Normalize", `(x − ${MEAN}) / ${DEVIATION}`, []);
  const list = h("ol", { class: "d2-chain" });
  const none = h("p", { class: "d2-hint" }, "Nothing is changed: tick what shall be.");

  // Which garment, which numbers.
  const seed = h("input", { type: "number", min: 0, max: SEEDS - 1, inputmode: "numeric",
    oninput() {
      const ok = /^\d+$/.test(seed.value) && Number(seed.value) < SEEDS;
      seed.ariaInvalid = !ok;
      if (ok) view.set("seed", Number(seed.value));
    },
    onblur() { seed.value = get("seed"); seed.ariaInvalid = false; } });
  const next = button("Next seed", () => view.set("seed", (get("seed") + 1) % SEEDS));
  const recipes = menu(view, null, { label: "Recipe", options: Object.keys(RECIPES), own: "your own",
    read: () => Object.keys(RECIPES).find((name) => RECIPES[name].normalize === get("normalize") &&
      equal(...[RECIPES[name].chain, chain()].map((all) => all.map((each) =>
        Object.entries(each).sort())))) ?? "",
    write: (name) => view.set(structuredClone(RECIPES[name])) });
  const normalize = menu(view, "normalize", { label: "Normalize", options: ["not", "first", "last"] });
  const garments = thumbs(bytes, (chosen) => view.set("garment",
    images.findIndex((image) => image.every((value, at) => value === chosen[at] / 255))));
  [...garments.element.children].forEach((each, i) => {
    each.ariaLabel = `garment ${i + 1}: ${classes[labels[i]]}`;
  });

  // The draws. The radio buttons lie, unseen, upon the pictures.
  const draws = Array.from({ length: DRAWS }, (_, i) => {
    const picture = tiled(1, SIDE, SIDE, 1, 0, { "aria-hidden": "true", role: "presentation" });
    const input = h("input", { type: "radio", name: `d2-draw-${id}`, value: i,
      onchange: () => view.set("draw", i) });
    const own = h("i"), share = h("span");
    return { picture, input, own, share,
      element: h("label", {}, input, picture.canvas, h("span", { class: "d2-own" }, own), share) };
  });
  const bars = chances(classes), says = readout(), legend = h("legend");
  const [story, title] = [h("p", { class: "d2-title" }), h("p", { class: "d2-title" })];
  const histogram = h("svg", { role: "img" });
  const root = figure(view, "d2-augmentation",
    h("div", { class: "d2-first" }, h("div", { class: "d2-controls" }, recipes, normalize,
      h("label", { class: "d2-field" }, "Seed", seed), next), garments.element),
    h("fieldset", { class: "d2-kinds" }, h("legend", {}, "Changes"), ...ticked),
    h("div", { class: "d2-room" }, h("div", { class: "d2-scene" },
      h("fieldset", { class: "d2-draws" }, legend, ...draws.map(({ element }) => element)),
      h("div", { class: "d2-steps" }, story, list, none),
      h("div", { class: "d2-label" }, title, ...bars.elements), histogram)), says);

  /** How many of the numbers are how large; dotted, how it would be if they were normalized last. */
  function showHistogram(x, other) {
    const [low, high] = get("normalize") === "not" ? [-0.1, 1.1] : [-1.2, 2.4], bins = 45;
    const width = widthOf(histogram), box = { left: 38, right: width - 10, bottom: 168 };
    const place = linear([low, high], [box.left, box.right]);
    const tall = (share) => box.bottom - Math.sqrt(share) * 140; // the root, that one sees the small
    const outline = (values) => {
      const counts = Array(bins).fill(0), step = (box.right - box.left) / bins;
      for (const value of values) counts[Math.floor((value - low) / (high - low) * bins)]++;
      return `M${box.left} ${box.bottom}${counts.map((count, i) => `V${tall(count / values.length).toFixed(1)}` +
        `H${(box.left + (i + 1) * step).toFixed(1)}`).join("")}V${box.bottom}`;
    };
    const numbers = get("normalize") === "not" ? [0, 0.5, 1] : [-1, 0, 1, 2];
    const [zero, one] = [place(0).toFixed(1), place(1).toFixed(1)];
    paint(histogram, width, 204, [
      h("path", { d: `M${zero} 22V${box.bottom}H${one}V22z`, fill: tone("panel") }),
      write("The numbers that the network gets", 0, 12, "start", "ink"),
      ...axes(box, place, numbers.map((value) => [value, minus(value)]), tall,
        [0.01, 0.1, 0.5, 1].map((share) => [share, percent(share)])),
      h("path", { d: outline(x), fill: tone("input"), "fill-opacity": 0.75 }),
      ...(other ? [line(outline(other), tone("kernel"), 1.5, "2 3")] : []),
      write(other ? "dotted: normalized last" : "share of the pixels, root scale", box.right, 200, "end")]);
    histogram.ariaLabel = "Histogram of the chosen draw’s numbers, from " +
      `${minus(Math.min(...x).toFixed(2))} to ${minus(Math.max(...x).toFixed(2))}`;
  }

  let look = "", order = "";
  function show() {
    const state = view.state(), { draw, garment, normalize } = state;
    const [input, kernel, paper] = colours(root, "input", "kernel", "paper");
    const ink = { positive: input, negative: kernel, paper }, early = normalize === "first";
    if (look !== (look = JSON.stringify(ink))) garments.paint(ink); // another theme
    const seen = (x) => early ? x.map((value) => clamp(value * DEVIATION + MEAN)) : x;
    const all = draws.map((_, i) => augment(state, gallery, i)), { x, target: label, steps } = all[draw];
    const start = images[garment];
    draws.forEach(({ picture, input, own, share, element }, i) => {
      const { steps } = all[i], part = all[i].target[labels[garment]];
      picture.paint(steps.length ? seen(steps.at(-1).x) : start, ink, 1);
      input.checked = i === draw;
      own.style.width = percent(part).replace("\u00a0", "");
      share.textContent = part.toFixed(2);
      input.ariaLabel = `draw ${i + 1}: ${inWords(all[i].target, classes)}`;
      element.classList.toggle("chosen", i === draw);
    });

    const shown = state.chain.map(({ kind }) => [kind, rows[kind]]);
    const stop = state.chain.findIndex((each) => stage(each) > 0);
    const at = early ? 0 : stop < 0 ? shown.length : stop;
    if (normalize !== "not") shown.splice(at, 0, ["normalize", normalizing]);
    if (order !== (order = String(shown.map(([kind]) => kind)))) // only then: it takes the focus
      list.replaceChildren(...shown.map(([, { element }]) => element));
    none.hidden = shown.length > 0;
    steps.forEach(({ kind, found, x, other, lost }) => {
      const { picture, told, up, down, element } = rows[kind];
      picture.paint(seen(x), ink, 1);
      say(told, TOLD[kind](found, classes[other]) + (lost ? `; ${percent(lost)} clamped` : ""));
      element.classList.toggle("lossy", lost > 0);
      up.disabled = target(kind, -1) < 0;
      down.disabled = target(kind, 1) < 0;
    });
    const own = steps[at - 1]?.x ?? start;
    normalizing.picture.paint(own, ink, 1);
    const ends = [Math.min(...own), Math.max(...own)].map((value) =>
      minus(((value - MEAN) / DEVIATION).toFixed(2)));
    say(normalizing.told, `numbers from ${ends.join(" to ")}`);

    if (seed.value !== String(state.seed) && seed.ariaInvalid !== "true") seed.value = state.seed;
    [...garments.element.children].forEach((each, i) => { each.ariaPressed = i === garment; });
    say(legend, `${DRAWS} draws; below each, its share of ${classes[labels[garment]]}`);
    say(story, `Draw ${draw + 1}, step by step`);
    say(title, `The label of draw ${draw + 1}`);
    bars.show(label);
    showHistogram(x, early && augment({ ...state, normalize: "last" }, gallery, draw).x);
    say(says, reading(state, all, classes, labels[garment]));
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, unfollow);
}

export default { render, fits };
