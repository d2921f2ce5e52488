// A detector's boxes in a scene: how well they overlap, which are kept, which are hits, and how good
// all are together. A box is [x1, y1, x2, y2] in pixels; a prediction is { box, label, score }.

// ---- Arithmetic: no DOM, checked against d2lite.boxes and torchvision ---------------------------

const MOST = 12; // predictions, and so steps

/** Precision and recall of what has each score or a higher one, the highest first; and where in the
 *  lists those of that score are. */
export function precisionRecall(scores, hits, positives) {
  const points = [], order = [...scores.keys()].sort((i, j) => scores[j] - scores[i]);
  let found = 0, from = 0;
  order.forEach((i, n) => {
    found += hits[i];
    if (n + 1 < order.length && scores[order[n + 1]] === scores[i]) return;
    points.push({ precision: found / (n + 1), recall: found / positives, score: scores[i],
      places: order.slice(from, from = n + 1) });
  });
  return points;
}

/** The best precision at each point or at a higher recall. */
const envelope = (points) => points.map((_, i) =>
  Math.max(...points.slice(i).map(({ precision }) => precision)));

const RECALLS = { COCO: Array.from({ length: 101 }, (_, i) => i * 0.01),
  "VOC 2007": Array.from({ length: 11 }, (_, i) => i / 10) };

/** That precision at a recall; 0 where it never comes. */
function readAt(points, best, recall) {
  const first = points.findIndex((point) => point.recall >= recall);
  return first < 0 ? 0 : best[first];
}

/** Average precision: over certain recalls, or the "area" under the curve. */
export function averagePrecision(points, average) {
  const best = envelope(points), recalls = RECALLS[average];
  if (recalls) return sum(recalls.map((recall) => readAt(points, best, recall))) / recalls.length;
  return sum(points.map(({ recall }, i) => best[i] * (recall - (points[i - 1]?.recall ?? 0))));
}

/** COCO's way: each class that is there by itself, then the mean; equal scores go by coordinates. */
export function meanOverClasses(predictions, targets, threshold, average) {
  const byEdges = (a, b) => a.box.map((edge, i) => edge - b.box[i]).find(Boolean) ?? 0;
  const labels = [...new Set(targets.map(({ label }) => label))];
  return sum(labels.map((own) => {
    const [mine, there] = [predictions, targets].map((list) =>
      list.filter(({ label }) => label === own).sort(byEdges));
    const hits = match(mine, there, threshold).map((j) => j >= 0);
    return averagePrecision(
      precisionRecall(mine.map(({ score }) => score), hits, there.length), average);
  })) / labels.length;
}

/** All that follows from the state. `droppers` says which box has dropped which. */
export function analyze(state) {
  const { predictions, targets, iou_threshold, nms_threshold, per_class, step, average } = state;
  const steps = suppress(predictions, nms_threshold, per_class), droppers = predictions.map(() => -1);
  for (const { kept, dropped } of steps.slice(0, step)) for (const i of dropped) droppers[i] = kept;
  const left = [...predictions.keys()].filter((i) => droppers[i] < 0);
  const rest = left.map((i) => predictions[i]), hits = predictions.map(() => -1);
  match(rest, targets, iou_threshold).forEach((j, n) => { hits[left[n]] = j; });
  const points = precisionRecall(rest.map(({ score }) => score), left.map((i) => hits[i] >= 0),
    targets.length);
  return { steps, droppers, left, hits, points,
    averages: Object.fromEntries(["COCO", "VOC 2007", "area"].map((each) =>
      [each, averagePrecision(points, each)])),
    mean: meanOverClasses(rest, targets, iou_threshold, average) };
}

/** Are all boxes the right way round? As Python checks; a page asks it of a link. */
export const fits = ({ predictions, targets }) =>
  [...predictions, ...targets].every(({ box: [x1, y1, x2, y2] }) => x1 <= x2 && y1 <= y2);

/** A box moved by (dx, dy), in whole pixels, as far as the canvas goes. */
const moved = (box, shift) => box.map((edge, k) => within(
  edge + within(Math.round(shift[k % 2]), -box[k % 2], CANVAS - box[k % 2 + 2]), 0, CANVAS));

/** A box with one corner, two of its edges, moved by (dx, dy); one pixel at least is left. */
const stretched = (box, corner, shift) => box.map((edge, k) => {
  if (!corner.includes(k)) return edge;
  const at = Math.round(edge + shift[k % 2]);
  return k < 2 ? within(at, 0, Math.max(box[k + 2] - 1, 0))
    : within(at, Math.min(box[k - 2] + 1, CANVAS), CANVAS);
});

// ---- Words --------------------------------------------------------------------------------------

/** What is to be said of a prediction, in short and in a sentence. */
function judge(i, { predictions, targets, iou_threshold }, classes, { hits, droppers }) {
  const { box, label } = predictions[i], overlaps = targets.map((each) => iou(box, each.box));
  const told = (j) => `IoU ${decimals(overlaps[j], 3)}`;
  const name = (j) => `the ${classes[targets[j].label]}`;
  const j = hits[i] >= 0 ? hits[i] : nearest(box, targets), with_ = `${told(j)} with ${name(j)}`;
  if (droppers[i] >= 0)
    return [`dropped by box ${droppers[i] + 1}`, `${with_}; NMS has dropped it for box ${droppers[i] + 1}`];
  if (hits[i] >= 0) return [`hit: ${told(j)}`, `${with_}: a hit`];
  const same = [...targets.keys()].filter((k) => targets[k].label === label)
    .sort((a, b) => overlaps[b] - overlaps[a]);
  const taken = same.find((k) => overlaps[k] >= iou_threshold);
  if (taken !== undefined) {
    const by = hits.indexOf(taken) + 1;
    return [`duplicate: ${told(taken)}`,
      `${told(taken)} with ${name(taken)}, which box ${by} has hit: a duplicate, a miss`];
  }
  if (overlaps[j] >= iou_threshold)
    return [`wrong class: ${told(j)}`, `${with_}, but of another class: a miss`];
  if (overlaps[j] === 0) return ["nothing there", "it overlaps no garment: a miss"];
  return targets[j].label === label
    ? [`too loose: ${told(j)}`, `${with_}, below ${decimals(iou_threshold, 3)}: too loose, a miss`]
    : [`off target: ${told(j)}`, `${with_}, of another class and below ${decimals(iou_threshold, 3)}: a miss`];
}

/** What the present step of NMS has done. */
function suppression({ predictions, nms_threshold, step }, classes, { steps, left }) {
  const total = steps.length, count = counted(predictions.length, "prediction");
  const named = (i) => `box ${i + 1} (${classes[predictions[i].label]}, ${predictions[i].score.toFixed(2)})`;
  if (!total) return "";
  if (!step) return `NMS has not begun: ${count}. It will first take the best, ${named(steps[0].kept)}.`;
  const at = Math.min(step, total), { kept, dropped } = steps[at - 1];
  const overlap = (i) => decimals(iou(predictions[kept].box, predictions[i].box), 3);
  const drops = dropped.length ? `it drops ${listed(dropped.map((i) => `box ${i + 1} (IoU ${overlap(i)})`))}`
    : `no other that competes overlaps it by more than ${decimals(nms_threshold, 3)}`;
  return `Step ${at} of ${total}: ${named(kept)} is the best that is left; ${drops}.` +
    (at === total ? ` NMS is done: ${left.length} of ${count} kept.` : "");
}

/** Precision, recall and their average. */
function score({ targets, average }, { left, hits, averages, mean }) {
  const share = (n, of) => `${n}/${of}\u00a0=\u00a0${decimals(n / of, 2)}`;
  const found = hits.filter((j) => j >= 0).length;
  if (!left.length) return "No predictions: the recall is 0, and so is the average precision.";
  const ap = (name) => decimals(averages[name], 3);
  return `All ${left.length} together: precision ${share(found, left.length)}, recall ` +
    `${share(found, targets.length)}. Average precision ${ap("COCO")} over COCO's 101 recalls, ` +
    `${ap("VOC 2007")} over VOC 2007's 11, ${ap("area")} as the area. Class by class and then averaged, ` +
    `by ${average === "area" ? "the area" : average}: ${decimals(mean, 3)}.`;
}

// ---- Pictures -----------------------------------------------------------------------------------

const area = (opacity) => h("svg", { class: "d2-key", viewBox: "0 0 28 14", width: 28, height: 14,
  "aria-hidden": true }, h("rect", { x: 1, y: 1, width: 26, height: 12, fill: tone("gradient"),
  "fill-opacity": opacity }));

const LEFT = 38, RIGHT = 12, TOP = 18, BOTTOM = 176;

/** The curve: a dot where a hit joins, a cross where only misses do; and what is averaged. */
function chart(svg, { average }, { points, left, hits }, chosen) {
  const width = widthOf(svg), box = { left: LEFT, right: width - RIGHT, bottom: BOTTOM };
  const x = linear([0, 1], [box.left, box.right]), y = linear([0, 1], [BOTTOM, TOP]);
  const best = envelope(points), recalls = RECALLS[average], quarters = [0, 0.25, 0.5, 0.75, 1];
  const at = ({ recall, precision }) => [x(recall), y(precision)];
  const read = recalls?.map((recall) => [x(recall), y(readAt(points, best, recall))])
    .filter(([, top]) => top < BOTTOM) ?? [];
  const steps = points.map(({ recall }, i) => `V${y(best[i]).toFixed(1)}H${x(recall).toFixed(1)}`).join("");
  const under = recalls
    ? line(read.map(([a, top]) => `M${a.toFixed(1)} ${BOTTOM}V${top.toFixed(1)}`).join(""), tone("input"),
      average === "COCO" ? 1 : 3)
    : h("path", { d: `M${LEFT} ${BOTTOM}${steps}V${BOTTOM}z`, fill: tone("input") });
  under.setAttribute("class", "d2-under");
  const placed = [], numbers = points.flatMap((point) => {
    const [a, b] = at(point), text = point.places.map((n) => left[n] + 1).join(", ");
    const spots = [[a + 8, b + 4], [a + 8, b + 15], [a + 8, b - 7], [a - 8 - 7 * text.length, b + 4]];
    const spot = spots.find(([u, v]) => u > LEFT && u + 7 * text.length < width && placed.every(([s, t, n]) =>
      Math.abs(v - t) > 11 || u + 7 * text.length < s || s + 7 * n < u));
    if (!spot) return [];
    placed.push([...spot, text.length]);
    return [write(text, ...spot, "start", "ink")];
  });
  paint(svg, width, BOTTOM + 34, [
    ...axes(box, x, quarters.map((v) => [v, v]), y, quarters.map((v) => [v, v])),
    under, points.length ? line(`M${LEFT} ${y(best[0]).toFixed(1)}${steps}V${BOTTOM}`, tone("input"), 1.5) : "",
    line(curve(points.map(at)), tone("muted"), 1.5, "3 3"),
    ...points.flatMap((point) => {
      const [a, b] = at(point), isHit = point.places.some((n) => hits[left[n]] >= 0);
      const mine = point.places.some((n) => left[n] === chosen);
      return [mine && h("circle", { cx: a, cy: b, r: 9, fill: "none", stroke: tone("ink"), "stroke-width": 1.5 }),
        isHit ? h("circle", { cx: a, cy: b, r: 5, fill: tone("input"), stroke: tone("paper") })
          : h("path", { d: "M-4.5 -4.5l9 9M4.5 -4.5l-9 9", transform: `translate(${a.toFixed(1)} ${b.toFixed(1)})`,
            fill: "none", stroke: tone("kernel"), "stroke-width": 3 })].filter(Boolean);
    }),
    ...numbers, write("precision", 4, 10, "start", "ink"), write("recall", box.right, BOTTOM + 30, "end", "ink")]);
}

// ---- The figure ---------------------------------------------------------------------------------

const CORNERS = [[0, 1], [2, 1], [0, 3], [2, 3]];
const EDGES = ["left x₁", "top y₁", "right x₂", "bottom y₂"];

function render({ model, el }) {
  const view = hold(model, ["image", "targets", "predictions", "selected", "iou_threshold",
    "nms_threshold", "per_class", "step", "average"]);
  const { get } = view, classes = get("classes"), predictions = () => get("predictions");
  const chosen = () => Math.min(get("selected"), predictions().length - 1); // −1: there is none
  const choose = (i) => view.set("selected", i);
  const change = (i, part) => view.set("predictions",
    predictions().map((each, k) => k === i ? { ...each, ...part } : each));
  const none = () => chosen() < 0, boxOf = () => predictions()[chosen()]?.box;

  /** Arrow keys move box i; with Shift, its lower right corner. */
  const onkeydown = (event, i = chosen()) => {
    const move = ARROWS[event.key];
    if (!move || i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { box } = predictions()[i], shift = [move[1], move[0]];
    if (i !== chosen()) choose(i);
    change(i, { box: event.shiftKey ? stretched(box, CORNERS[3], shift) : moved(box, shift) });
  };

  // The scene. A mouse drags boxes; a finger, which also scrolls, the chosen one's handles.
  const scene = pixels("The scene", CANVAS, CANVAS, 0);
  const marks = h("svg", { "aria-hidden": "true" });
  const handles = ["move", "nwse", "nesw", "nesw", "nwse"].map((way) =>
    h("i", { class: "d2-handle", style: `cursor: ${way === "move" ? way : `${way}-resize`}` }));
  const stage = h("div", { class: "d2-stage", tabindex: 0, role: "application", onkeydown },
    scene.element, marks, ...handles);
  const placeOf = ({ clientX, clientY }) => {
    const { left, top, width } = stage.getBoundingClientRect();
    return [clientX - left, clientY - top].map((x) => x / width * CANVAS);
  };
  /** The boxes at a place, the smallest first. */
  const under = ([x, y]) => [...predictions().keys()]
    .filter((i) => {
      const [x1, y1, x2, y2] = predictions()[i].box;
      return x1 <= x && x <= x2 && y1 <= y && y <= y2;
    }).sort((i, j) => areaOf(predictions()[i].box) - areaOf(predictions()[j].box));
  let press = null, dragged = false, fresh = false;
  stage.addEventListener("pointerdown", (event) => {
    const at = placeOf(event), handle = handles.indexOf(event.target);
    dragged = fresh = false;
    if (event.button || event.pointerType === "touch" && handle < 0) return;
    const there = under(at);
    if (handle < 0 && !there.length) return;
    fresh = handle < 0 && !there.includes(chosen());
    if (fresh) choose(there[0]);
    press = { id: event.pointerId, at, handle, box: boxOf() };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (press?.id !== event.pointerId) return;
    const shift = placeOf(event).map((x, k) => x - press.at[k]);
    if (!dragged && Math.hypot(...shift) < 0.5) return;
    dragged = true;
    const box = press.handle > 0 ? stretched(press.box, CORNERS[press.handle - 1], shift)
      : moved(press.box, shift);
    if (boxOf() && !equal(box, boxOf())) change(chosen(), { box });
  });
  stage.addEventListener("lostpointercapture", () => { press = null; });
  stage.addEventListener("click", (event) => { // again: the next one at that place
    const there = under(placeOf(event));
    if (!dragged && !fresh && there.length)
      choose(there[(there.indexOf(chosen()) + 1) % there.length]);
  });

  // The list: a button and a slider for each.
  const rows = Array.from({ length: MOST }, (_, i) => {
    const icon = h("path", { fill: "none", "stroke-width": 2.5 }), name = h("b"), verdict = h("span");
    const pick = h("button", { type: "button", class: "d2-pick", onclick: () => choose(i),
      onkeydown: (event) => onkeydown(event, i) },
      h("svg", { viewBox: "0 0 10.5 10", width: 14, height: 14, "aria-hidden": true }, icon),
      name, verdict);
    const score = slider(view, null, { label: "score", spoken: `Score of box ${i + 1}`, max: 1, step: 0.01,
      read: () => predictions()[i]?.score ?? 0, write: (score) => change(i, { score }),
      tell: (x) => x.toFixed(2) });
    return { pick, icon, name, verdict, element: control(view, h("div", { class: "d2-row" }, pick, score),
      () => i >= predictions().length, () => {}) };
  });

  // The chosen box.
  const edges = EDGES.map((text, k) => {
    const input = h("input", { type: "number", min: 0, max: CANVAS, step: "any", oninput() {
      const box = boxOf().map((edge, n) => n === k ? input.valueAsNumber : edge);
      const isBox = input.validity.valid && input.value && box[0] <= box[2] && box[1] <= box[3];
      input.ariaInvalid = !isBox;
      if (isBox) change(chosen(), { box });
    }, onblur() { input.ariaInvalid = false; view.later(); } });
    return control(view, h("label", { class: "d2-field" }, text, input), none, () => {
      if (input.ariaInvalid !== "true" && input.valueAsNumber !== boxOf()[k])
        input.value = decimals(boxOf()[k], 2);
    });
  });
  const add = button("Add a box", () => {
    const { label } = get("targets")[none() ? 0 : nearest(boxOf(), get("targets"))];
    const box = [22, 22, 42, 42].map((edge) => edge + predictions().length % 4 * 2);
    view.set({ predictions: [...predictions(), { box, label, score: 0.5 }],
      selected: predictions().length });
  });
  const remove = control(view, button("Remove", () => view.set({ selected: Math.max(chosen() - 1, 0),
    predictions: predictions().filter((_, i) => i !== chosen()) })), none, () => {});
  const sums = h("p", { class: "d2-sums" }), says = readout(), tells = readout(), rates = readout();

  // NMS, step by step; the end stays the end.
  const total = () => suppress(predictions(), get("nms_threshold"), get("per_class")).length;
  const asked = () => Math.min(get("step"), total());
  const onward = button("Step", () => view.set("step", asked() + 1 < total() ? asked() + 1 : MOST));
  const all = button("All steps", () => view.set("step", MOST));
  const back = button("Start over", () => view.set("step", 0));

  const curves = h("svg", { role: "img", "aria-label": "Precision over recall" });
  const part = (title, ...children) => h("div", { class: "d2-part", role: "group", "aria-label": title },
    h("b", {}, title), ...children);
  const threshold = (name, label, min) => slider(view, name, { label, min, max: 1, step: 0.05,
    tell: (x) => decimals(x, 3) });
  const root = figure(view, "d2-boxes",
    h("div", { class: "d2-four" },
      h("div", { class: "d2-column" },
        h("div", {}, stage,
          h("p", { class: "d2-hint" }, ...Object.entries({ true: "true box", hit: "hit", miss: "miss",
            dropped: "dropped by NMS" }).flatMap(([look, text]) =>
            [h("span", {}, swatch(look), ` ${text}`), " "])),
          h("p", { class: "d2-hint" }, "Drag boxes, and corners of the chosen one. Arrow keys move it, with ",
            "Shift they resize it.")),
        h("div", {},
          part("The chosen box",
            h("div", { class: "d2-controls" },
              menu(view, null, { label: "Class", options: classes, hidden: none,
                read: () => classes[predictions()[chosen()].label],
                write: (name) => change(chosen(), { label: classes.indexOf(name) }) }), remove),
            h("div", { class: "d2-edges" }, ...edges), sums, says),
          part("Non-maximum suppression",
            h("div", { class: "d2-controls" },
              threshold("nms_threshold", "Drop above IoU", 0),
              tick(view, "per_class", { label: "each class by itself" })),
            h("div", { class: "d2-controls" }, onward, all, back), tells))),
      h("div", { class: "d2-column" },
        h("div", { class: "d2-list", role: "group", "aria-label": "Predicted boxes" },
          ...rows.map(({ element }) => element), add),
        part("Hits and average precision",
          h("div", { class: "d2-controls" },
            threshold("iou_threshold", "A hit from IoU", 0.05),
            menu(view, "average", { label: "Average", options: { COCO: "COCO: 101 recalls",
              "VOC 2007": "VOC 2007: 11 recalls", area: "area under the curve" } })),
          curves, h("p", { class: "d2-hint" }, "All classes in one list, the best score first. A point ",
            "for each score: a dot where a hit joins, a cross for a miss."), rates))));

  /** The chosen box beside the nearest true one, in numbers. */
  function showSums(box, other) {
    const both = shared(box, other) ?? [0, 0, 0, 0], [own, its, common] = [box, other, both].map(areaOf);
    const tell = (x) => decimals(x, 1), side = ([x1, y1, x2, y2]) => `${tell(x2 - x1)} × ${tell(y2 - y1)}`;
    const union = own + its - common, ratio = decimals(iou(box, other), 3);
    sums.replaceChildren(
      h("span", {}, area(0.75), ` intersection ${side(both)} = ${tell(common)}`), " ",
      h("span", {}, area(0.3), ` union ${tell(own)} + ${tell(its)} − ${tell(common)} = ${tell(union)}`), " ",
      h("span", {}, h("b", {}, `IoU ${tell(common)} / ${tell(union)} = ${ratio}`)));
  }

  let drawn = null, speech = null;
  function show() {
    const state = view.state(), { targets } = state, found = analyze(state), mine = chosen();
    if (drawn !== (drawn = state.image))
      scene.fill(matrix(CANVAS, CANVAS, (i, j) => drawn[i * CANVAS + j]), (x) => x / 255 * 0.8);
    const size = stage.getBoundingClientRect().width || 300, scale = size / CANVAS;
    const screen = (box) => box.map((edge) => edge * scale);
    const lookOf = (i) => found.droppers[i] >= 0 ? "dropped" : found.hits[i] >= 0 ? "hit" : "miss";
    const order = state.predictions.map((_, i) => i).sort((i, j) => // the chosen one on top
      (i === mine) - (j === mine) || (lookOf(j) === "dropped") - (lookOf(i) === "dropped"));
    const near = mine < 0 ? -1 : nearest(boxOf(), targets);
    const filled = (box, opacity) => { const [x1, y1, x2, y2] = screen(box); return h("rect", { x: x1, y: y1,
      width: x2 - x1, height: y2 - y1, fill: tone("gradient"), "fill-opacity": opacity }); };
    const both = near >= 0 && shared(boxOf(), targets[near].box);
    paint(marks, size, size, [
      ...near < 0 ? [] : [h("g", { opacity: 0.3 }, filled(boxOf(), 1), filled(targets[near].box, 1))],
      ...both ? [filled(both, 0.65)] : [],
      ...targets.flatMap(({ box }) => frame(screen(box), "true")),
      ...order.flatMap((i) => frame(screen(state.predictions[i].box), lookOf(i), i === mine ? 1.5 : 0)),
      ...tags([...[...order].reverse().map((i) => ({ box: screen(state.predictions[i].box),
        text: String(i + 1), look: lookOf(i) })),
      ...targets.map(({ box, label }) => ({ box: screen(box), text: classes[label], look: "true" }))], size)]);
    handles.forEach((handle, n) => {
      handle.hidden = mine < 0;
      if (mine < 0) return;
      const [x1, y1, x2, y2] = screen(boxOf()), [a, b] = n ? CORNERS[n - 1] : [];
      const at = n ? [screen(boxOf())[a], screen(boxOf())[b]] : [(x1 + x2) / 2, (y1 + y2) / 2];
      handle.style.translate = at.map((x) => `${(x - 14).toFixed(1)}px`).join(" ");
    });
    stage.ariaLabel = mine < 0 ? "The scene, without predicted boxes"
      : `The scene. The chosen box is ${mine + 1}: arrow keys move it, with Shift they resize it`;

    rows.forEach(({ pick, icon, name, verdict }, i) => {
      if (i >= state.predictions.length) return;
      const look = lookOf(i), [short] = judge(i, state, classes, found);
      icon.setAttribute("d", MARKS[look]);
      icon.setAttribute("stroke", tone(LOOKS[look][0]));
      say(name, `${i + 1} ${classes[state.predictions[i].label]}`);
      say(verdict, short);
      pick.ariaPressed = i === mine;
      pick.ariaLabel = `Box ${i + 1}, ${classes[state.predictions[i].label]}, ${short}`;
    });
    add.disabled = state.predictions.length >= MOST;
    onward.disabled = all.disabled = asked() >= total();
    back.disabled = !asked();
    if (near >= 0) showSums(boxOf(), targets[near].box);
    else sums.replaceChildren();
    chart(curves, state, found, mine);

    const lines = [[says, mine < 0 ? "There is no predicted box." : `Box ${mine + 1}, ` +
      `${classes[state.predictions[mine].label]}, score ${state.predictions[mine].score.toFixed(2)}: ` +
      `${judge(mine, state, classes, found)[1]}.`],
    [tells, suppression(state, classes, found)], [rates, score(state, found)]];
    clearTimeout(speech); // while a box is dragged, nothing is read aloud
    if (!says.textContent) for (const [line, text] of lines) say(line, text);
    else speech = setTimeout(() => { for (const [line, text] of lines) say(line, text); }, 150);
  }
  return view.mount(el, root, show, () => clearTimeout(speech));
}

export default { render, fits };
