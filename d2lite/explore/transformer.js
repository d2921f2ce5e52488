// A small language model that runs here: what each of its heads looks at, and what may come next.

// ---- Arithmetic: no DOM, checked against PyTorch ------------------------------------------------

/** A 16-bit float of the two bytes at a place. */
function half(view, at) {
  const bits = view.getUint16(at, true), exponent = bits >> 10 & 31, fraction = bits & 1023;
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024;
  return bits >> 15 ? -size : size;
}

/** Read the weights that `pack` in transformer.py has written, in the order of PyTorch's parameters. */
function unpack(view, { characters, context, width, depth }) {
  let at = 0;
  const vector = (count) => {
    const values = Float32Array.from({ length: count }, (_, i) => half(view, at + 2 * i));
    at += 2 * count;
    return values;
  };
  const rows = (count, size) => { // each of a scale of its own
    const scales = vector(count);
    return Float32Array.from({ length: count * size }, (_, i) =>
      scales[Math.floor(i / size)] * view.getInt8(at++));
  };
  const linear = (inputs, outputs) => ({ weight: rows(outputs, inputs), bias: vector(outputs) });
  const norm = () => ({ weight: vector(width), bias: vector(width) });
  return {
    tokens: rows(characters.length, width), places: rows(context, width),
    layers: Array.from({ length: depth }, () => ({
      query: linear(width, width), key: linear(width, width), value: linear(width, width),
      join: linear(width, width), widen: linear(width, 4 * width), narrow: linear(4 * width, width),
      norm1: norm(), norm2: norm(),
    })),
    norm: norm(),
    output: { weight: rows(characters.length, width), bias: new Float32Array(characters.length) },
  };
}

/** Rows of `inputs` numbers each → rows of `outputs`. Four rows and two outputs at a time, since each
 *  number that is read then serves several products: in half the time. */
function apply({ weight, bias }, x) {
  const outputs = bias.length, inputs = weight.length / outputs, count = x.length / inputs;
  const y = new Float32Array(count * outputs);
  let row = 0;
  for (; row + 4 <= count; row += 4) {
    const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs, to = row * outputs;
    for (let unit = 0; unit < outputs; unit += 2) {
      const other = Math.min(unit + 1, outputs - 1), v = unit * inputs, w = other * inputs;
      let va = bias[unit], vb = va, vc = va, vd = va, wa = bias[other], wb = wa, wc = wa, wd = wa;
      for (let i = 0; i < inputs; i++) {
        const f = weight[v + i], g = weight[w + i];
        const xa = x[a + i], xb = x[b + i], xc = x[c + i], xd = x[d + i];
        va += f * xa; vb += f * xb; vc += f * xc; vd += f * xd;
        wa += g * xa; wb += g * xb; wc += g * xc; wd += g * xd;
      }
      y[to + unit] = va;
      y[to + other] = wa;
      y[to + outputs + unit] = vb;
      y[to + outputs + other] = wb;
      y[to + 2 * outputs + unit] = vc;
      y[to + 2 * outputs + other] = wc;
      y[to + 3 * outputs + unit] = vd;
      y[to + 3 * outputs + other] = wd;
    }
  }
  for (; row < count; row++)
    for (let unit = 0, w = 0, from = row * inputs; unit < outputs; unit++) {
      let total = bias[unit];
      for (let i = 0; i < inputs; i++, w++) total += weight[w] * x[from + i];
      y[row * outputs + unit] = total;
    }
  return y;
}

/** Each row with mean 0 and variance 1, then scaled and shifted. */
function normalize({ weight, bias }, x) {
  const width = weight.length, y = new Float32Array(x.length);
  for (let from = 0; from < x.length; from += width) {
    let mean = 0, variance = 0;
    for (let i = from; i < from + width; i++) mean += x[i] / width;
    for (let i = from; i < from + width; i++) variance += (x[i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + 1e-5);
    for (let i = 0; i < width; i++) y[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
  }
  return y;
}

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}

/** A model that reads ids. What stands as before from the beginning on, it has read: of it the keys
 *  and values are kept, since no character looks at later ones. */
function readerOf(weights, { context, width, depth, heads }) {
  const size = width / heads, known = [], final = new Float32Array(context * width);
  const kept = Array.from({ length: depth }, () => ({
    keys: new Float32Array(context * width), values: new Float32Array(context * width),
    shares: new Float32Array(heads * context * context), // head by head, from each place, to each
  }));

  /** Attention from the places from `first` on, of which these are the queries. */
  function attend({ keys, values, shares }, queries, first) {
    const mixed = new Float32Array(queries.length), scale = 1 / Math.sqrt(size);
    for (let row = 0, at = first; row < queries.length; row += width, at++)
      for (let head = 0; head < heads; head++) {
        const from = (head * context + at) * context, q = row + head * size;
        let top = -Infinity, total = 0;
        for (let j = 0, k = head * size; j <= at; j++, k += width) {
          let dot = 0;
          for (let c = 0; c < size; c++) dot += queries[q + c] * keys[k + c];
          shares[from + j] = dot * scale;
          top = Math.max(top, dot * scale);
        }
        for (let j = 0; j <= at; j++) total += shares[from + j] = Math.exp(shares[from + j] - top);
        for (let j = 0, v = head * size; j <= at; j++, v += width) {
          const share = shares[from + j] /= total;
          for (let c = 0; c < size; c++) mixed[q + c] += share * values[v + c];
        }
      }
    return mixed;
  }

  return {
    read(ids) {
      let first = 0;
      while (first < ids.length && ids[first] === known[first]) first++;
      known.splice(first, Infinity, ...ids.slice(first));
      if (first === ids.length) return;
      const x = new Float32Array((ids.length - first) * width);
      for (let at = first, to = 0; at < ids.length; at++)
        for (let i = 0; i < width; i++, to++)
          x[to] = weights.tokens[ids[at] * width + i] + weights.places[at * width + i];
      weights.layers.forEach((layer, n) => {
        const seen = normalize(layer.norm1, x);
        kept[n].keys.set(apply(layer.key, seen), first * width);
        kept[n].values.set(apply(layer.value, seen), first * width);
        add(x, apply(layer.join, attend(kept[n], apply(layer.query, seen), first)));
        const hidden = apply(layer.widen, normalize(layer.norm2, x));
        for (let i = 0; i < hidden.length; i++) if (hidden[i] < 0) hidden[i] = 0;
        add(x, apply(layer.narrow, hidden));
      });
      final.set(normalize(weights.norm, x), first * width);
    },
    /** How much a head attends from a place to each up to it. */
    shares: (layer, head, at) => kept[layer].shares
      .subarray((head * context + at) * context, (head * context + at) * context + at + 1),
    /** The scores of what comes after a place. */
    scores: (at) => apply(weights.output, final.subarray(at * width, (at + 1) * width)),
  };
}

/** The first character that the model sees of so many: half a context at a time is left behind. */
function startOf(length, context) {
  const part = Math.max(1, Math.floor(context / 2));
  return Math.max(0, Math.ceil((length - context) / part) * part);
}

/** The character from which heads look: the last one, if `place` is −1 or beyond the text. */
function chosenOf({ place, text, context }) {
  const last = text.length - 1;
  return place < 0 || place > last ? last : Math.max(place, startOf(text.length, context));
}

const chancesOf = (scores, temperature) => softmax(scores.map((score) => score / temperature));

/** Draw the character at a place of the text: the same from the same chances, seed and place. */
function draw(chances, seed, place) {
  let left = (mix(Math.imul(place + 1, 0x9e3779b9) + mix(seed)) + 0.5) / 2 ** 32;
  const found = chances.findIndex((chance) => (left -= chance) <= 0);
  return found < 0 ? chances.length - 1 : found;
}

/** A model of the traits, which reads texts and tells what comes next. */
function authorOf(traits) {
  const { characters, context } = traits, reader = readerOf(unpack(traits.weights, traits), traits);
  const read = (text) => reader.read(Array.from(text.slice(startOf(text.length, context)), (character) =>
    characters.indexOf(character)));
  return { ...reader, read,
    /** The text and one character more. */
    next(text, { temperature, seed }) {
      read(text);
      const at = text.length - 1 - startOf(text.length, context);
      return text + characters[draw(chancesOf(reader.scores(at), temperature), seed, text.length)];
    } };
}

const forTests = ({ weights, ...traits }) =>
  authorOf({ ...traits, weights: new DataView(Uint8Array.from(weights).buffer) });

/** For tests: scores after each place, and attention from each to each, of texts one after another. */
export function answers(traits, texts) {
  const author = forTests(traits), { context, depth, heads } = traits;
  return texts.map((text) => {
    author.read(text);
    const places = Array.from({ length: text.length - startOf(text.length, context) }, (_, at) => at);
    const row = (layer, head, at) => [...author.shares(layer, head, at), ...places.slice(at + 1).fill(0)];
    return { scores: places.map((at) => [...author.scores(at)]),
      attention: matrix(depth, heads, (layer, head) => places.map((at) => row(layer, head, at))) };
  });
}

/** For tests: a text and so many characters more. */
export function continued(traits, text, settings, count) {
  const author = forTests(traits);
  for (let i = 0; i < count; i++) text = author.next(text, settings);
  return text;
}

const LONGEST = 288; // characters of a text

/** What becomes of an input: the text without what the model does not know, and what this is; or as
 *  before, if it is too long. */
export function accepted(value, before, characters) {
  const strange = [...new Set(value)].filter((character) => !characters.includes(character));
  const text = Array.from(value).filter((character) => !strange.includes(character)).join("");
  const long = text.length > LONGEST;
  return { text: long ? before : text, strange, long: long && text.length };
}

/** Are there such a layer, head and characters? As Python checks; a page asks it of a link. */
export const fits = ({ layer, head, text, depth, heads, characters }) =>
  layer < depth && head < heads && Array.from(text).every((each) => characters.includes(each));

// ---- Words --------------------------------------------------------------------------------------

const NAMES = { " ": "space", "\n": "new line", "\t": "tab" };
const named = (character) => NAMES[character] ?? `“${character}”`;
const listed = (all) => all.length < 2 ? all.join() : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
const share = (x) => x > 0 && x < 0.005 ? "<\u00a01\u00a0%" : percent(x);
/** The places of the largest numbers. */
const largest = (values, count) => [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, count);
const back = (steps) => steps ? `${steps} before` : "itself";

/** To what a head attends. */
function looksInWords({ layer, head, text }, shares, at, from) {
  const parts = largest(shares, 3).filter((j) => shares[j] >= 0.01).map((j) =>
    `${share(shares[j])} to ${named(text[from + j])} (${back(at - from - j)})`);
  return `Layer ${layer}, head ${head}, from ${named(text[at])}: ${listed(parts)}.` +
    (from ? " What is struck out is too far back for the model." : "");
}

/** What may come after a place, and what does. */
function nextInWords({ text }, chances, at, characters) {
  const best = largest(chances, 3).map((i) => `${named(characters[i])} ${share(chances[i])}`);
  const guess = `After ${named(text[at])} may come ${listed(best)}.`;
  if (at === text.length - 1) return guess;
  const next = characters.indexOf(text[at + 1]), rank = chances.filter((p) => p > chances[next]).length;
  return `${guess} In the text comes ${named(text[at + 1])}: ${share(chances[next])}, ` +
    `${rank ? `guess ${rank + 1}` : "the first guess"}.`;
}

/** Why an input was not taken as it is. */
function refusal({ strange, long }, characters) {
  const unknown = strange.length ? `The model knows ${characters.length} characters; ` +
    `${listed(strange.slice(0, 5).map(named))}${strange.length > 5 ? " and others" : ""} ` +
    `${strange.length > 1 ? "are" : "is"} not among them and ${strange.length > 1 ? "were" : "was"} ` +
    "left out." : "";
  return long ? `A text has at most ${LONGEST} characters; this would be ${long}. It stays as it was.` : unknown;
}

// ---- The figure ---------------------------------------------------------------------------------

const SHOWN = 10, PACE = 45, SLICE = 8; // next characters; milliseconds a character, and of a frame
const HIGH = 24; // of a head's bars, in units of its own
const MARKS = { " ": "·", "\n": "¶" }; // what is seen instead

function render({ model, el }) {
  const view = hold(model, ["text", "place", "layer", "head", "temperature", "seed"]), { get, later } = view;
  const fixed = Object.fromEntries(["characters", "context", "width", "depth", "heads", "weights"]
    .map((name) => [name, get(name)]));
  const { characters, context, depth, heads } = fixed, author = authorOf(fixed);
  const chosen = () => chosenOf({ ...view.state(), context });

  // The text. What the model does not know is left out, and said.
  let refused = "", composing = false;
  const type = () => {
    if (composing) return;
    const found = accepted(field.value, get("text"), characters);
    const rest = Array.from(field.value.slice(field.selectionEnd));
    refused = refusal(found, characters);
    halt();
    if (found.text !== field.value) {
      const after = found.long ? 0 : rest.filter((each) => characters.includes(each)).length;
      field.value = found.text;
      field.selectionStart = field.selectionEnd = found.text.length - after;
    }
    view.set({ text: found.text, place: -1 });
    later();
  };
  const field = h("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", autocapitalize: "off",
    autocorrect: "off", oninput: type, oncompositionstart() { composing = true; },
    oncompositionend() { composing = false; type(); } });
  const warning = h("p", { class: "d2-refused", role: "alert" });

  // Going on with it: a character at a time, or, for who asks for stillness, all at once.
  let going = false, before = null, made = "", due = 0;
  function halt() {
    if (going && made !== get("text")) view.set({ text: made, place: -1 });
    going = false;
  }
  const begin = () => {
    [going, before, made, due] = [true, get("text"), get("text"), 0];
    view.set("place", -1);
    later();
  };
  const canUndo = () => before !== null && get("text") !== before && get("text").startsWith(before);
  const undo = () => { halt(); view.set({ text: before, place: -1 }); };
  const run = button("Continue", () => {
    if (going) halt();
    else begin();
    later();
  }, { class: "d2-start" });
  const takeBack = button("Take back", undo);
  const again = button("Other seed", () => {
    const goesOn = going || canUndo();
    if (canUndo()) undo();
    view.set("seed", (get("seed") + 1) % 10_000);
    if (goesOn) begin();
  });
  const seedSays = h("span", { class: "d2-progress" });
  function write(text) {
    const settings = view.state();
    if (!prefersStillness()) {
      if (performance.now() < due) return;
      due = performance.now() + PACE;
      made = author.next(text, settings);
    } else for (const end = performance.now() + SLICE; performance.now() < end && made.length < LONGEST;)
      made = author.next(made, settings);
    const full = made.length >= LONGEST;
    if (full || !prefersStillness()) view.set({ text: made, place: -1 });
    if (full) going = false;
  }

  // The text again, as the chosen head sees it: a press or the arrow keys choose from where it looks.
  const stage = h("div", { class: "d2-stage", tabindex: 0, role: "application", "aria-label":
    "The text: arrow keys choose the character from which the heads look", onkeydown });
  const go = (at) => view.set("place", at >= get("text").length - 1 ? -1 : at);
  function onkeydown(event) {
    const { key, ctrlKey, metaKey, altKey } = event, text = get("text");
    if (ctrlKey || metaKey || altKey || !text || !(key in ARROWS || key === "Home" || key === "End")) return;
    event.preventDefault();
    const from = startOf(text.length, context), at = chosen();
    if (key === "Home" || key === "End") go(key === "Home" ? from : text.length - 1);
    else if (ARROWS[key][1]) go(within(at + ARROWS[key][1], from, text.length - 1));
    else { // a line up or down
      const boxes = cells.map((cell) => cell.getBoundingClientRect()), own = boxes[at];
      const lines = [...new Set(boxes.map(({ top }) => top))].sort((a, b) => a - b);
      const line = lines[lines.indexOf(own.top) + ARROWS[key][0]];
      const far = (i) => boxes[i].top === line ? Math.abs(boxes[i].left - own.left) : Infinity;
      if (line !== undefined) go(Math.max(largest(cells.map((_, i) => -far(i)), 1)[0], from));
    }
  }
  pointing(view, stage, ({ target }) => target.dataset?.at ? Number(target.dataset.at) : null, (at) => {
    if (at >= startOf(get("text").length, context)) go(at);
  });
  const cells = [];

  // A small picture of each head.
  const all = matrix(depth, heads, (layer, head) => {
    const bars = h("path", { fill: tone("output") }), own = h("path", { fill: tone("gradient") });
    const picture = h("svg", { "aria-hidden": "true", preserveAspectRatio: "none", height: HIGH + 4 },
      bars, own);
    const element = button("", () => view.set({ layer, head }), { class: "d2-head", onkeydown(event) {
      const move = ARROWS[event.key];
      if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const next = { layer: within(layer + move[0], 0, depth - 1), head: within(head + move[1], 0, heads - 1) };
      view.set(next);
      all[next.layer][next.head].element.focus();
    } });
    element.append(picture);
    return { element, picture, bars, own };
  });
  const says = readout(), tells = readout();

  // What may come next.
  const bars = Array.from({ length: Math.min(SHOWN, characters.length) }, () => {
    const name = h("span", {}), bar = h("i"), value = h("span", { class: "d2-share" });
    return { name, bar, value, element: h("div", { class: "d2-bar", "aria-hidden": "true" }, name,
      h("span", { class: "d2-track" }, bar), value) };
  });
  const part = (title, ...children) => h("div", { class: "d2-part", role: "group", "aria-label": title },
    h("b", {}, title), ...children);
  const caption = h("b", {});

  const root = figure(view, "d2-transformer",
    h("label", { class: "d2-field d2-type" }, "Type here", field), warning,
    h("div", { class: "d2-controls" }, run, takeBack, again, seedSays,
      slider(view, "temperature", { label: "Temperature", min: 0.1, max: 2, step: 0.1,
        tell: (x) => x.toFixed(1) })),
    h("div", { class: "d2-both" },
      h("div", { class: "d2-column" },
        h("div", { class: "d2-part" }, caption, stage, says),
        part("All heads, from this character",
          h("div", { class: "d2-heads", style: `--heads: ${heads}` }, ...all.flatMap((row, layer) =>
            [h("span", {}, `layer ${layer}`), ...row.map(({ element }) => element)])))),
      part("The next character", ...bars.map(({ element }) => element), tells)));

  function showHeads(text, at, from, { layer, head }) {
    const seen = text.length - from, wide = Math.max(seen, 24);
    all.forEach((row, n) => row.forEach(({ element, picture, bars, own }, k) => {
      const shares = text ? author.shares(n, k, at - from) : [];
      let d = "", most = 0;
      for (let j = 0; j < shares.length; j++) {
        if (shares[j] > shares[most]) most = j;
        if (shares[j] >= 0.005) {
          const height = (HIGH * shares[j]).toFixed(1);
          d += `M${j} ${HIGH}v${-height}h1v${height}z`;
        }
      }
      picture.setAttribute("viewBox", `0 0 ${wide} ${HIGH + 4}`);
      bars.setAttribute("d", d);
      own.setAttribute("d", text ? `M${at - from} ${HIGH + 1}h1v3h-1z` : "");
      const current = n === layer && k === head;
      element.ariaPressed = current;
      element.tabIndex = current ? 0 : -1;
      element.ariaLabel = `Layer ${n}, head ${k}` + (text ? `: most, ${share(shares[most])}, to ` +
        `${named(text[from + most])} (${back(at - from - most)})` : "");
    }));
  }

  function showText(text, at, from, shares) {
    const known = cells.length; // they stay, and what changes is written into them
    for (let i = known; i < text.length; i++) cells.push(h("span", { "data-at": i }));
    if (known < text.length) stage.append(...cells.slice(known));
    for (const cell of cells.splice(text.length)) cell.remove();
    cells.forEach((cell, i) => {
      const look = shares[i - from] ?? 0, kind = i < from ? " past" : i > at ? " later" : "";
      const name = `d2-char${text[i] in MARKS ? " blank" : ""}${text[i] === "\n" ? " end" : ""}${kind}` +
        `${look > 0.005 ? " seen" : ""}${i === at ? " own" : ""}`;
      const mix = look > 0.005 ? `${(8 + 42 * look).toFixed(1)}%` : "";
      say(cell, MARKS[text[i]] ?? text[i]);
      if (cell.className !== name) cell.className = name;
      if (mix) cell.style.setProperty("--mix", mix);
      else cell.removeAttribute("style");
    });
  }

  function show() {
    if (going) {
      if (get("text") !== made && !prefersStillness()) made = get("text"); // another view's, or Python's
      if (made) write(made);
      else going = false;
      if (going) later();
    }
    const state = view.state(), { text, layer, head, temperature } = state;
    const at = chosen(), from = startOf(text.length, context);
    if (field.value !== text && !composing) field.value = text;
    warning.hidden = !refused;
    say(warning, refused);
    say(run, going ? "Stop" : "Continue");
    run.disabled = !going && (!text || text.length >= LONGEST);
    takeBack.disabled = !canUndo();
    say(seedSays, `seed ${state.seed}`);
    say(caption, `Layer ${layer}, head ${head}: to what it attends`);
    author.read(text);
    const shares = text ? author.shares(layer, head, at - from) : [];
    showText(text, at, from, shares);
    showHeads(text, at, from, state);
    const chances = text ? chancesOf(author.scores(at - from), temperature) : [];
    largest(chances, SHOWN).forEach((i, n) => {
      const { name, bar, value, element } = bars[n];
      say(name, NAMES[characters[i]] ?? characters[i]);
      bar.style.width = `${100 * chances[i]}%`;
      say(value, share(chances[i]));
      element.classList.toggle("best", i === characters.indexOf(text[at + 1]));
    });
    for (const { element } of bars) element.hidden = !text;
    if (going) return; // a voice would not keep up
    say(says, text ? looksInWords(state, shares, at, from) : "Type something, and the model reads it.");
    tells.hidden = !text;
    say(tells, text ? nextInWords(state, chances, at, characters) : "");
  }

  const unwatch = pauseUnseen(root, () => { if (going) { halt(); later(); } });
  return view.mount(el, root, show, unwatch);
}

export default { render, fits };
