// A trained one-stage detector, which runs here, on a scene that the reader composes of garments.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

const SIDE = 28, SIZES = [16, 32], MOST = 6; // pixels of a garment's image, as it was and in a scene
const GRID = 16, STRIDE = CANVAS / GRID, HIT = 0.5; // cells a side, pixels of a cell; a hit's least IoU
const BACKGROUND = 0.05, LEAST_VISIBLE = 0.25, TRIES = 50; // as in d2lite.data.scenes

/** What each of 28 pixels in a row gives to each of `size`, bilinear and smoothed: from where on, and
 *  how much. */
function weightsOf(size) {
  const scale = SIDE / size, reach = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const center = scale * (i + 0.5), from = Math.max(Math.floor(center - reach + 0.5), 0);
    const count = Math.min(Math.floor(center + reach + 0.5), SIDE) - from;
    const tent = Array.from({ length: count }, (_, k) =>
      Math.max(1 - Math.abs(from + k - center + 0.5) / reach, 0));
    const total = sum(tent);
    return [from, tent.map((weight) => weight / total)];
  });
}

/** Resize 28 × 28 pixels to size × size. */
export function resize(image, size) {
  const weights = weightsOf(size), tall = new Float64Array(size * SIDE), tile = new Float64Array(size ** 2);
  weights.forEach(([from, shares], i) => shares.forEach((share, k) => {
    for (let j = 0; j < SIDE; j++) tall[i * SIDE + j] += share * image[(from + k) * SIDE + j];
  }));
  weights.forEach(([from, shares], j) => shares.forEach((share, k) => {
    for (let i = 0; i < size; i++) tile[i * size + j] += share * tall[i * SIDE + from + k];
  }));
  return tile;
}

/** A garment with a size and a place that there are. */
const placed = ({ index, x, y, size }) => {
  const side = within(Math.round(size), ...SIZES);
  const keep = (edge) => within(Math.round(edge), 0, CANVAS - side);
  return { index, x: keep(x), y: keep(y), size: side };
};

/** The network's engine, with the weights that `pack` in adversarial.py has written. */
function networkOf(layers, { buffer, byteOffset }) {
  const wasm = TRAINING_KERNELS && Uint8Array.from(atob(TRAINING_KERNELS), (c) => c.charCodeAt(0));
  const net = trainingEngine(wasm || null).network([...layers, { kind: "flatten" }], [1, CANVAS, CANVAS]);
  let at = byteOffset;
  const take = (Type, count) => new Type(buffer.slice(at, at += count * Type.BYTES_PER_ELEMENT));
  for (let i = 0; i < net.parameters.length; i += 2) {
    const [weight, bias] = net.parameters.slice(i).map(({ data }) => data), units = bias.length;
    bias.set(take(Float32Array, units));
    const worth = take(Float32Array, units), steps = take(Int8Array, weight.length);
    steps.forEach((each, w) => { weight[w] = each * worth[Math.floor(w * units / weight.length)]; });
  }
  return net;
}

/** The detector and its garments; `traits` are the explorer's. */
function detectorOf({ layers, weights, gallery: { buffer, byteOffset, byteLength }, labels, classes }) {
  const net = networkOf(layers, weights), cells = GRID ** 2, C = classes.length, tiles = new Map();
  const images = Float32Array.from(new Uint8Array(buffer, byteOffset, byteLength), (byte) => byte / 255);
  const imageOf = (index) => images.subarray(index * SIDE ** 2, (index + 1) * SIDE ** 2);

  /** A garment in a size: its pixels, which of them are the garment's, and the box around these. */
  function tileOf({ index, size }) {
    const name = index * 64 + size;
    if (!tiles.has(name)) {
      const pixels = resize(imageOf(index), size);
      const own = [...pixels.keys()].filter((i) => pixels[i] > BACKGROUND);
      const xs = own.map((i) => i % size), ys = own.map((i) => Math.floor(i / size));
      const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
      tiles.set(name, { pixels, own, box });
    }
    return tiles.get(name);
  }

  /** The scene: its pixels, the true boxes, and the share of each garment that no later one covers. */
  function compose(garments) {
    const image = new Float32Array(CANVAS ** 2), top = new Int8Array(CANVAS ** 2).fill(-1);
    const seen = garments.map(() => 0);
    garments.forEach(({ x, y, size, ...garment }, g) => {
      const { pixels, own } = tileOf({ size, ...garment });
      for (const i of own) {
        const at = (y + Math.floor(i / size)) * CANVAS + x + i % size;
        image[at] = pixels[i];
        if (top[at] >= 0) seen[top[at]]--;
        seen[top[at] = g]++;
      }
    });
    return { image, visible: garments.map((each, g) => seen[g] / tileOf(each).own.length),
      targets: garments.map((each) => ({ label: labels[each.index],
        box: tileOf(each).box.map((edge, k) => edge + (k % 2 ? each.y : each.x)) })) };
  }

  /** Garments at random: the same for a seed in Python. */
  function draw(seed) {
    const from = mix(seed), garments = [];
    let place = 0;
    const below = (n) => Math.floor(mix(Math.imul(++place, 0x9e3779b9) + from) / 2 ** 32 * n);
    for (let left = 1 + below(4); left > 0; left--) {
      const index = below(labels.length), size = SIZES[0] + below(SIZES[1] - SIZES[0] + 1);
      for (let tries = 0; tries < TRIES; tries++) {
        const garment = { index, x: below(CANVAS - size + 1), y: below(CANVAS - size + 1), size };
        if (compose([...garments, garment]).visible.some((share) => share < LEAST_VISIBLE)) continue;
        garments.push(garment);
        break;
      }
    }
    return garments;
  }

  /** The network's answer: of each cell a score for each class, and a box. */
  function look(image) {
    const raw = net.forward(image, 1), scores = new Float32Array(cells * C);
    const boxes = Array.from({ length: cells }, (_, cell) => {
      const [y, x] = [Math.floor(cell / GRID), cell % GRID].map((at) => STRIDE * (at + 0.5));
      const reach = [0, 1, 2, 3].map((k) => STRIDE * Math.exp(raw[(C + k) * cells + cell]));
      for (let c = 0; c < C; c++) scores[cell * C + c] = 1 / (1 + Math.exp(-raw[c * cells + cell]));
      return [x - reach[0], y - reach[1], x + reach[2], y + reach[3]]
        .map((edge) => within(edge, 0, CANVAS));
    });
    return { raw, scores, boxes };
  }
  return { imageOf, compose, draw, look };
}

/** All that follows from what the network says of a scene: the boxes above the threshold, those that
 *  NMS has kept, and which garment each of these hits, −1 for none. */
function analyze({ scores, boxes }, targets, { score_threshold, nms_threshold, per_class }) {
  const C = scores.length / boxes.length, candidates = [];
  scores.forEach((score, i) => {
    if (score > score_threshold) candidates.push({ box: boxes[Math.floor(i / C)], label: i % C, score });
  });
  const steps = suppress(candidates, nms_threshold, per_class);
  const detections = steps.map(({ kept }) => candidates[kept]);
  return { candidates, steps, detections, hits: match(detections, targets, HIT) };
}

/** For tests: scenes, the network's raw answers, boxes and what is kept, as plain lists. */
export function answers(traits, states) {
  const views = Object.fromEntries(["weights", "gallery"].map((name) =>
    [name, new DataView(Uint8Array.from(traits[name]).buffer)]));
  const detector = detectorOf({ ...traits, ...views });
  return states.map((state) => {
    const garments = state.garments ?? detector.draw(state.seed);
    const { image, ...scene } = detector.compose(garments), { raw, ...answer } = detector.look(image);
    const found = analyze(answer, scene.targets, state), { detections, hits, candidates } = found;
    return { garments, image: [...image], raw: [...raw], boxes: answer.boxes, ...scene, detections, hits,
      candidates: candidates.length,
      reasons: garments.map((_, j) => reason(j, scene.targets, answer, found).kind) };
  });
}

/** Are there such garments, and on the canvas? As Python checks; a page asks it of a link. */
export const fits = ({ garments, labels }) => garments.every(({ index, x, y, size }) =>
  index < labels.length && Math.max(x, y) + size <= CANVAS);

// ---- Words --------------------------------------------------------------------------------------

/** What has become of garment j: of what `kind`, the best box of its `own`, and the one `by` which it is
 *  found, dropped or taken for something else. */
function reason(j, targets, { scores, boxes }, { candidates, steps, detections, hits }) {
  if (hits.includes(j)) return { kind: "found", by: detections[hits.indexOf(j)] };
  const { label } = targets[j], C = scores.length / boxes.length;
  const isOf = (each) => { // more than of any other garment
    const overlaps = targets.map(({ box }) => iou(box, each.box));
    return overlaps[j] >= HIT && overlaps[j] === Math.max(...overlaps);
  };
  const best = (list) => list.filter(isOf).reduce((a, b) => a && a.score >= b.score ? a : b, undefined);
  const own = best(candidates.filter((each) => each.label === label)), at = candidates.indexOf(own);
  if (own) {
    const { kept } = steps.find((step) => step.kept === at || step.dropped.includes(at));
    return { kind: kept === at ? "taken" : "dropped", own, by: candidates[kept] };
  }
  return { kind: "low", by: best(detections),
    own: best(boxes.map((box, cell) => ({ box, label, score: scores[cell * C + label] }))) };
}

const two = (x) => x.toFixed(2);

/** The same, in short and in a sentence. */
function told({ kind, own, by }, { box }, classes) {
  const name = by && `${classes[by.label]} ${two(by.score)}`;
  if (kind === "found") {
    const overlap = `IoU ${two(iou(box, by.box))}`;
    return [`found: ${two(by.score)}, ${overlap}`, `found, score ${two(by.score)}, ${overlap}`];
  }
  if (kind === "dropped") return ["not found: dropped by NMS",
    `not found: NMS has dropped its box, score ${two(own.score)}, for ${name}`];
  if (kind === "taken") return Array(2).fill("not found: another garment is as near to its box");
  const why = own ? `its class scores ${two(own.score)} at best` : "no box overlaps it by half";
  return [`not found: ${by ? `seen as ${name}` : why}`,
    `not found: ${why}${by ? `; it is seen as ${name}` : ""}`];
}

/** What the detector finds, in a sentence. */
function summary({ garments, score_threshold }, { candidates, detections, hits }) {
  const found = hits.filter((j) => j >= 0).length, many = (n, noun) => `${n} ${noun}${n === 1 ? "" : "es"}`;
  return `${found} of ${counted(garments.length, "garment")} found. ` +
    `${many(candidates.length, "box")} above ${two(score_threshold)}, ${detections.length} after NMS: ` +
    `${counted(found, "hit")}, ${many(detections.length - found, "miss")}.`;
}

// ---- The figure ---------------------------------------------------------------------------------

const SHOWN = 8; // detections in the list, and labels in the scene

function render({ model, el }) {
  const view = hold(model, ["garments", "selected", "score_threshold", "nms_threshold", "per_class",
    "heat_class", "seed"]);
  const { get, later } = view, classes = get("classes"), labels = get("labels");
  const detector = detectorOf(Object.fromEntries(["layers", "weights", "gallery", "labels", "classes"]
    .map((name) => [name, get(name)])));
  const garments = () => get("garments"), chosen = () => Math.min(get("selected"), garments().length - 1);
  const mine = () => garments()[chosen()], none = () => chosen() < 0;
  const nameOf = ({ index }) => classes[labels[index]];
  const choose = (i) => view.set("selected", i);
  const change = (i, part) => view.set("garments",
    garments().map((each, k) => k === i ? placed({ ...each, ...part }) : each));
  const leave = (i) => view.set({ garments: garments().filter((_, k) => k !== i),
    selected: Math.max(i - 1, 0) });
  let scene = detector.compose(garments());

  /** Arrow keys move a garment; with Shift, they resize it; Delete removes it. */
  const onkeydown = (event, i = chosen()) => {
    const move = ARROWS[event.key], gone = ["Delete", "Backspace"].includes(event.key);
    if (!(move || gone) || i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { x, y, size } = garments()[i];
    if (gone) {
      leave(i);
      if (event.currentTarget !== stage) rows[chosen()]?.element.focus();
      return;
    }
    if (i !== chosen()) choose(i);
    change(i, event.shiftKey ? { size: size + move[0] + move[1] } : { x: x + move[1], y: y + move[0] });
  };

  // The scene. A mouse drags garments; a finger, which also scrolls, the chosen one's handles.
  const picture = tiled(1, CANVAS, CANVAS, 1, 0, { "aria-label": "The scene" });
  const marks = h("svg", { "aria-hidden": "true" });
  const handles = ["move", "nwse-resize"].map((cursor) =>
    h("i", { class: "d2-handle", style: `cursor: ${cursor}` }));
  const stage = h("div", { class: "d2-stage", tabindex: 0, role: "application", onkeydown },
    picture.canvas, marks, ...handles);
  const placeOf = ({ clientX, clientY }) => {
    const { left, top, width } = stage.getBoundingClientRect();
    return [clientX - left, clientY - top].map((x) => x / width * CANVAS);
  };
  /** The garments at a place, the upper first. */
  const under = ([x, y]) => [...scene.targets.keys()].reverse().filter((i) => {
    const [x1, y1, x2, y2] = scene.targets[i].box;
    return x1 <= x && x <= x2 && y1 <= y && y <= y2;
  });
  let press = null, dragged = false, fresh = false;
  stage.addEventListener("pointerdown", (event) => {
    const at = placeOf(event), handle = handles.indexOf(event.target), there = under(at);
    dragged = fresh = false;
    if (event.button || handle < 0 && (event.pointerType === "touch" || !there.length)) return;
    fresh = handle < 0 && !there.includes(chosen());
    if (fresh) choose(there[0]);
    press = { id: event.pointerId, at, handle, garment: mine() };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (press?.id !== event.pointerId) return;
    const [dx, dy] = placeOf(event).map((x, k) => x - press.at[k]), { x, y, size } = press.garment;
    if (!dragged && Math.hypot(dx, dy) < 0.5) return;
    dragged = true;
    const next = placed({ ...press.garment, ...press.handle === 1 ? { size: size + Math.max(dx, dy) }
      : { x: x + dx, y: y + dy } });
    if (mine() && !equal(next, mine())) change(chosen(), next);
  });
  stage.addEventListener("lostpointercapture", () => { press = null; });
  stage.addEventListener("click", (event) => { // again: the next one at that place
    const there = under(placeOf(event));
    if (!dragged && !fresh && there.length) choose(there[(there.indexOf(chosen()) + 1) % there.length]);
  });

  // What to put there, and the chosen garment.
  const rack = labels.map((label, index) => {
    const { canvas, paint } = tiled(1, SIDE, SIDE, 1, 0, { "aria-hidden": "true", role: "presentation" });
    const element = button("", () => view.set({ selected: garments().length, garments: [...garments(),
      placed({ index, x: 20 + 6 * garments().length, y: 20, size: 24 })] }),
    { class: "d2-thumb", "aria-label": `Add garment ${index + 1}, ${classes[label]}` });
    element.append(canvas);
    return { element, paint: (tones) => paint(detector.imageOf(index), tones, 1) };
  });
  const random = button("Random scene", () => {
    const seed = (get("seed") + 1) % 10000;
    view.set({ seed, garments: detector.draw(seed), selected: 0 });
  }, { class: "d2-start" });
  const remove = button("Remove", () => leave(chosen()));
  const front = button("To the front", () => view.set({ selected: garments().length - 1,
    garments: [...garments().filter((_, i) => i !== chosen()), mine()] }));
  const numbers = Object.entries({ x: "left x", y: "top y", size: "size" }).map(([name, text]) => {
    const min = name === "size" ? SIZES[0] : 0;
    const most = () => name === "size" ? SIZES[1] : CANVAS - mine().size;
    const input = h("input", { type: "number", min, step: 1, oninput() {
      const isNumber = input.validity.valid && input.value !== "";
      input.ariaInvalid = !isNumber;
      if (isNumber) change(chosen(), { [name]: input.valueAsNumber });
    }, onblur() { input.ariaInvalid = false; later(); } });
    return control(view, h("label", { class: "d2-field" }, text, input), none, () => {
      input.max = most();
      if (input.ariaInvalid !== "true" && input.valueAsNumber !== mine()[name]) input.value = mine()[name];
    });
  });

  // The lists.
  const item = (tag, attributes) => {
    const icon = h("path", { fill: "none", "stroke-width": 2.5 }), name = h("b"), verdict = h("span");
    const element = h(tag, attributes, h("svg", { viewBox: "0 0 10.5 10", width: 14, height: 14,
      "aria-hidden": "true" }, icon), name, verdict);
    return { element, show(text, short, isHit) {
      icon.setAttribute("d", MARKS[isHit ? "hit" : "miss"]);
      icon.setAttribute("stroke", tone(LOOKS[isHit ? "hit" : "miss"][0]));
      say(name, text);
      say(verdict, short);
    } };
  };
  const rows = Array.from({ length: MOST }, (_, i) => item("button", { type: "button", class: "d2-pick",
    onclick: () => choose(i), onkeydown: (event) => onkeydown(event, i) }));
  const lines = Array.from({ length: SHOWN }, () => item("li", { class: "d2-line" }));
  const more = h("p", { class: "d2-hint" });

  // The heat map, and all boxes before NMS.
  const heat = tiled(1, GRID, GRID, 1);
  const all = tiled(1, CANVAS, CANVAS, 1, 0, { "aria-label": "All boxes above the score, before NMS" });
  const [overHeat, overAll] = [0, 1].map(() =>
    h("svg", { viewBox: `0 0 ${CANVAS} ${CANVAS}`, "aria-hidden": "true" }));
  const beforeNMS = h("p", { class: "d2-hint" }), hottest = h("p", { class: "d2-hint" });
  const says = readout(), tells = readout(), any = "any class";
  const part = (title, ...children) => h("div", { class: "d2-part", role: "group", "aria-label": title },
    h("b", {}, title), ...children);
  const root = figure(view, "d2-detector",
    h("div", { class: "d2-halves" },
      h("div", {}, stage,
        h("p", { class: "d2-hint" }, ...Object.entries({ true: "true box", hit: "hit", miss: "miss" })
          .flatMap(([look, text]) => [h("span", {}, swatch(look), ` ${text}`), " "])),
        h("div", { class: "d2-tools" }, random, front, remove),
        h("div", { class: "d2-edges" }, ...numbers)),
      h("div", {},
        h("div", { class: "d2-controls" },
          slider(view, "score_threshold", { label: "Score above", min: 0.05, max: 0.95, step: 0.05,
            tell: two }),
          slider(view, "nms_threshold", { label: "NMS drops above IoU", max: 1, step: 0.05, tell: two }),
          tick(view, "per_class", { label: "NMS in each class by itself" })),
        h("div", { class: "d2-two" },
          h("div", {}, menu(view, null, { label: "Score of each cell", options: [any, ...classes],
            read: () => classes[get("heat_class")] ?? any,
            write: (name) => view.set("heat_class", classes.indexOf(name)) }),
          h("div", { class: "d2-maps" }, heat.canvas, overHeat), hottest),
          h("div", {}, h("p", { class: "d2-title" }, "Boxes before NMS"),
            h("div", { class: "d2-maps" }, all.canvas, overAll), beforeNMS)),
        says)),
    part(`Put garments into the scene, ${MOST} at most`,
      h("div", { class: "d2-thumbs" }, ...rack.map(({ element }) => element)),
      h("p", { class: "d2-hint" }, "Drag a garment to move it, its corner to resize it. Arrow keys ",
        "move the chosen one, with Shift they resize it, Delete removes it.")),
    h("div", { class: "d2-halves" },
      part("Garments", h("div", { class: "d2-list" }, ...rows.map(({ element }) => element)), tells),
      part("Detections, the best first", h("ul", {}, ...lines.map(({ element }) => element)), more)));

  const outline = (boxes) => boxes.map(([x1, y1, x2, y2]) =>
    `M${x1.toFixed(2)} ${y1.toFixed(2)}H${x2.toFixed(2)}V${y2.toFixed(2)}H${x1.toFixed(2)}z`).join("");
  const thin = (boxes, name) => h("path", { d: outline(boxes), fill: "none", stroke: tone(name),
    "vector-effect": "non-scaling-stroke" });
  /** All boxes of a look, with a light edge. */
  const frames = (boxes, look) => {
    const [colour, dashes, width] = LOOKS[look], d = outline(boxes);
    return [line(d, tone("paper"), width + 2), line(d, tone(colour), width, dashes)];
  };

  let answer, seen = "", theme = "", speech = null;
  function show() {
    const state = view.state(), own = chosen();
    const [muted, output, input, paper] = colours(root, "muted", "output", "input", "paper");
    const tones = (positive) => ({ positive, negative: positive, paper });
    const fresh = theme !== (theme = JSON.stringify([muted, output, input, paper]));
    if (fresh) for (const { paint } of rack) paint(tones(input));
    if (seen !== (seen = JSON.stringify(state.garments)) || fresh) {
      scene = detector.compose(state.garments);
      answer = detector.look(scene.image);
      for (const each of [picture, all]) each.paint(scene.image, tones(muted), 1.25);
    }
    const { targets, visible } = scene, found = analyze(answer, targets, state);
    const { candidates, detections, hits } = found;
    const reasons = targets.map((_, j) => reason(j, targets, answer, found));

    // The scene.
    const size = stage.getBoundingClientRect().width || 300, scale = size / CANVAS;
    const screen = (box) => box.map((edge) => edge * scale), lookOf = (i) => hits[i] < 0 ? "miss" : "hit";
    const of = (look) => detections.filter((_, i) => lookOf(i) === look).map(({ box }) => screen(box));
    const truth = targets.map(({ box }) => screen(box));
    paint(marks, size, size, [...frames(truth, "true"), ...frames(of("miss"), "miss"),
      ...frames(of("hit"), "hit"), ...tags(detections.slice(0, SHOWN).map(({ box, label, score }, i) =>
        ({ box: screen(box), text: `${classes[label]} ${two(score)}`, look: lookOf(i) })), size)]);
    handles.forEach((handle, n) => {
      handle.hidden = own < 0;
      if (own < 0) return;
      const [x1, y1, x2, y2] = truth[own], at = n ? [x2, y2] : [(x1 + x2) / 2, (y1 + y2) / 2];
      handle.style.translate = at.map((x) => `${(x - 14).toFixed(1)}px`).join(" ");
    });
    stage.ariaLabel = own < 0 ? "The scene, empty" : `The scene. The chosen garment is ${own + 1}, ` +
      `${nameOf(mine())}: arrow keys move it, with Shift they resize it, Delete removes it`;

    // The maps.
    const C = classes.length, kind = state.heat_class, cells = answer.boxes.map((_, cell) => kind < 0
      ? Math.max(...answer.scores.subarray(cell * C, cell * C + C)) : answer.scores[cell * C + kind]);
    heat.paint(cells, tones(output), 1);
    const top = cells.indexOf(Math.max(...cells));
    say(hottest, `Highest ${two(cells[top])}: row ${Math.floor(top / GRID)}, column ${top % GRID}.`);
    heat.canvas.ariaLabel = `Score of each cell, ${classes[kind] ?? any}: at most ${two(cells[top])}`;
    overHeat.replaceChildren(thin(targets.map(({ box }) => box), "ink"));
    overAll.replaceChildren(thin(candidates.map(({ box }) => box), "input"));
    say(beforeNMS, `${candidates.length} above ${two(state.score_threshold)}; after it, ${detections.length}.`);

    // The lists.
    rows.forEach(({ element, show: tell }, i) => {
      if ((element.hidden = i >= targets.length)) return;
      const [short] = told(reasons[i], targets[i], classes), text = `${i + 1} ${nameOf(state.garments[i])}`;
      tell(text, short, reasons[i].kind === "found");
      element.ariaPressed = i === own;
      element.ariaLabel = `Garment ${text}, ${short}`;
    });
    lines.forEach(({ element, show: tell }, i) => {
      if ((element.hidden = i >= detections.length)) return;
      const { box, label, score } = detections[i], overlaps = targets.map((each) => iou(box, each.box));
      const j = hits[i] < 0 ? overlaps.indexOf(Math.max(...overlaps)) : hits[i];
      tell(`${classes[label]} ${two(score)}`, !(overlaps[j] > 0) ? "miss: nothing there"
        : `${lookOf(i)}: IoU ${two(overlaps[j])} with ${j + 1}`, hits[i] >= 0);
    });
    say(more, detections.length > SHOWN ? `and ${detections.length - SHOWN} more` : "");
    for (const { element } of rack) element.disabled = targets.length >= MOST;
    remove.disabled = own < 0;
    front.disabled = own < 0 || own === targets.length - 1;

    const speak = () => {
      say(says, summary(state, found));
      say(tells, own < 0 ? "There is no garment." : `Garment ${own + 1}, ${nameOf(mine())}, ` +
        `${percent(visible[own])} visible: ${told(reasons[own], targets[own], classes)[1]}.`);
    };
    clearTimeout(speech); // while a garment is dragged, nothing is read aloud
    if (!says.textContent) speak();
    else speech = setTimeout(speak, 150);
  }
  const unfollow = followTheme(later);
  return view.mount(el, root, show, () => {
    clearTimeout(speech);
    unfollow();
  });
}

export default { render, fits };
