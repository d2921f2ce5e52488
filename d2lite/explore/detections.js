// Boxes in a scene, for explorers of detectors. A box is [x1, y1, x2, y2] in pixels; a prediction is
// { box, label, score }, a target { box, label }.

// ---- Arithmetic: no DOM, checked against d2lite.boxes and torchvision ---------------------------

const CANVAS = 64; // pixels a side
const areaOf = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

/** The box that two share, or null. */
function shared([a1, b1, a2, b2], [c1, d1, c2, d2]) {
  const box = [Math.max(a1, c1), Math.max(b1, d1), Math.min(a2, c2), Math.min(b2, d2)];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

/** Intersection over union; 0 for two boxes without area. */
export function iou(a, b) {
  const both = shared(a, b), intersection = both ? areaOf(both) : 0;
  return both ? intersection / (areaOf(a) + areaOf(b) - intersection) : 0;
}

/** Places of predictions, the best first; of equal scores the one that is given first. */
const ranked = (predictions) => [...predictions.keys()]
  .sort((i, j) => predictions[j].score - predictions[i].score);

/** Non-maximum suppression, step by step: the box that is kept, and those that it drops. */
export function suppress(predictions, threshold, perClass) {
  const steps = [];
  for (let left = ranked(predictions); left.length;) {
    const [kept, ...others] = left, { box, label } = predictions[kept];
    const dropped = others.filter((i) => !(perClass && predictions[i].label !== label) &&
      iou(box, predictions[i].box) > threshold), gone = new Set(dropped);
    steps.push({ kept, dropped });
    left = others.filter((i) => !gone.has(i));
  }
  return steps;
}

/** The target that each prediction hits, −1 for a miss. The best choose first, among those that are
 *  left; of targets that overlap as much, the last. */
export function match(predictions, targets, threshold) {
  const hits = predictions.map(() => -1), free = new Set(targets.keys());
  for (const i of ranked(predictions)) {
    const { box, label } = predictions[i];
    let most = 0, best = -1;
    for (const j of free) {
      const overlap = targets[j].label === label ? iou(box, targets[j].box) : 0;
      if (overlap >= most) [most, best] = [overlap, j];
    }
    if (best < 0 || most < threshold) continue;
    hits[i] = best;
    free.delete(best);
  }
  return hits;
}

// ---- Words --------------------------------------------------------------------------------------

const decimals = (x, count) => Number(x.toFixed(count));
const listed = (names) => names.join(", ").replace(/, ([^,]*)$/, " and $1");

/** The true box that a box overlaps most; where it overlaps none, the one whose center is nearest. */
function nearest(box, targets) {
  const far = ({ box: other }) => Math.hypot(...[0, 1].map((k) =>
    (box[k] + box[k + 2] - other[k] - other[k + 2]) / 2));
  const better = (j, best) => iou(box, targets[j].box) - iou(box, targets[best].box) ||
    far(targets[best]) - far(targets[j]);
  return targets.reduce((best, _, j) => better(j, best) > 0 ? j : best, 0);
}

// ---- Pictures -----------------------------------------------------------------------------------

const LOOKS = { true: ["output", null, 3], hit: ["input", null, 2.5], miss: ["kernel", "7 3", 2.5],
  dropped: ["muted", "2 3", 1.5] };
const TICK = "M1 5l3 3.5L9.5 1.5", CROSS = "M1.5 1.5l7 7M8.5 1.5l-7 7";
const MARKS = { hit: TICK, miss: CROSS, dropped: "M1 5h8" };

/** A frame around a box in pixels of the screen, with a light edge; and what a legend shows. */
function frame([x1, y1, x2, y2], look, more = 0) {
  const [colour, dashes, width] = LOOKS[look];
  const edge = (stroke, wide, dash) => h("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1,
    fill: "none", stroke: tone(stroke), "stroke-width": wide, "stroke-dasharray": dash });
  return [edge("paper", width + more + 2, null), edge(colour, width + more, dashes)];
}
const swatch = (look) => key(tone(LOOKS[look][0]), LOOKS[look][1]);

/** Labels at the corners of boxes, where they cover none of the others and stay in the picture. */
function tags(items, size) {
  const placed = [], tall = 17;
  return items.map(({ box: [x1, y1, x2, y2], text, look }) => {
    const mark = MARKS[look], wide = Math.ceil(7.2 * text.length) + (mark ? 21 : 8);
    const spots = [[x1, y1 - tall], [x2 - wide, y1 - tall], [x1, y2], [x2 - wide, y2], [x1, y1],
      [x2 - wide, y1], [x1, y2 - tall], [x2 - wide, y2 - tall], [x2, y1], [x1 - wide, y1]]
      .filter(([x, y]) => x >= 0 && y >= 0 && x + wide <= size && y + tall <= size);
    const free = ([x, y]) => placed.every(([a, b, w]) =>
      x + wide <= a || a + w <= x || y + tall <= b || b + tall <= y);
    const [x, y] = spots.find(free) ?? spots[0] ??
      [within(x1, 0, size - wide), within(y1, 0, size - tall)];
    placed.push([x, y, wide]);
    return h("g", {}, h("rect", { x, y, width: wide, height: tall, fill: tone(LOOKS[look][0]) }),
      write(text, x + 4, y + 13, "start", "paper"),
      mark && h("path", { d: mark, transform: `translate(${x + wide - 14} ${y + 3.5})`, fill: "none",
        stroke: tone("paper"), "stroke-width": 2 }));
  });
}
