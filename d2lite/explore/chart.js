// Charts: scales, ticks, axes, lines and contours. explorer.py puts this text before the modules of
// the explorers that draw charts.

/** A map from values between two ends to pixels between two others, in proportion. */
const linear = ([low, high], [from, to]) => (value) =>
  from + (value - low) / (high - low) * (to - from);

/** The same, in proportion to the logarithm. */
const logarithmic = (ends, pixels) => {
  const scale = linear(ends.map(Math.log10), pixels);
  return (value) => scale(Math.log10(value));
};

/** Round numbers from `low` to `high`, some five of them. */
export function ticks(low, high) {
  const unit = 10 ** Math.floor(Math.log10((high - low) / 5));
  const apart = [1, 2, 5, 10].map((m) => m * unit).find((each) => each >= (high - low) / 5 * 0.999);
  const first = Math.ceil(low / apart - 1e-9), last = Math.floor(high / apart + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * apart).toPrecision(6)));
}

/** Powers of ten from 10^low to 10^high, at most `most` steps of the same size. */
export function powers(low, high, most = 5) {
  const [from, to] = [Math.ceil(low - 1e-9), Math.floor(high + 1e-9)];
  const apart = [1, 2, 3, 4, 6, 8, 12, 24, 48, 96].find((each) => (to - from) / each <= most);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((n) => n % apart === 0)
    .map((n) => 10 ** n);
}

/** 10⁻⁷ */
const powerOfTen = (n) =>
  `10${[...String(n)].map((c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join("")}`;

/** 2.1·10⁻⁷ */
function scientific(x, decimals) {
  const [digits, exponent] = x.toExponential(decimals).split("e");
  return `${Number(digits) === 1 ? "" : `${minus(Number(digits))}·`}${powerOfTen(Number(exponent))}`;
}

/**
 * The axes of a chart whose inside is a box in pixels: the texts [value, text] of the ticks, below and
 * at the left, and a line across for each one at the left.
 */
function axes({ left, right, bottom }, x, xTicks, y, yTicks, lines = true) {
  return [
    lines && line(yTicks.map(([value]) => `M${left} ${y(value).toFixed(1)}H${right}`).join(""),
      tone("line")),
    ...yTicks.map(([value, text]) => write(text, left - 5, y(value) + 4, "end")),
    ...xTicks.map(([value, text]) =>
      write(text, x(value), bottom + 15, // no further than 8 pixels beyond the inside
        x(value) + 3.5 * String(text).length > right + 8 ? "end" : "middle")),
  ].filter(Boolean);
}

/** A line along path data. */
const line = (d, colour, width = 1, dashes = null) => h("path", { d, fill: "none", stroke: colour,
  "stroke-width": width, "stroke-dasharray": dashes, "stroke-linejoin": "round" });

/** Path data through points [x, y], with gaps where one is null. */
function curve(points) {
  const place = (x) => Math.round(within(x, -5000, 5000) * 10) / 10;
  return points.map((point, i) =>
    point ? `${points[i - 1] ? "L" : "M"}${place(point[0])} ${place(point[1])}` : "").join("");
}

/** A line's look, for a legend, with marks upon it. */
const key = (colour, dashes, ...marks) => h("svg", { class: "d2-key", viewBox: "0 0 28 14",
  width: 28, height: 14, "aria-hidden": true }, line("M1 7H27", colour, 2.5, dashes), ...marks);

/**
 * Where a function is at most `level`, between the points of a grid of `values` (rows of columns):
 * its `area` as polygons and its `line` as segments, in units of the grid.
 */
export function contour(values, level) {
  const area = [], line = [], rows = values.length - 1, columns = values[0].length - 1;
  for (let i = 0; i < rows; i++) for (let j = 0, run = -1; j <= columns; j++) {
    const [above, below] = [values[i], values[i + 1]]; // one past the last column, all are outside
    const inside = (above[j] <= level) + (above[j + 1] <= level) + (below[j] <= level) +
      (below[j + 1] <= level);
    if (inside === 4) { if (run < 0) run = j; continue; } // whole cells: a strip
    if (run >= 0) { area.push([[run, i], [j, i], [j, i + 1], [run, i + 1]]); run = -1; }
    if (!inside || j === columns) continue;
    const polygon = [], cuts = [], corners = [[j, i, above[j]], [j + 1, i, above[j + 1]],
      [j + 1, i + 1, below[j + 1]], [j, i + 1, below[j]]];
    corners.forEach(([x, y, value], n) => {
      const [x2, y2, next] = corners[(n + 1) % 4];
      if (value <= level) polygon.push([x, y]);
      if ((value <= level) === (next <= level)) return;
      const share = (level - value) / (next - value);
      cuts.push([x + share * (x2 - x), y + share * (y2 - y)]);
      polygon.push(cuts.at(-1));
    });
    area.push(polygon);
    for (let n = 0; n < cuts.length; n += 2) line.push([cuts[n], cuts[n + 1]]);
  }
  return { area, line };
}
