/* Below each explorer of a page or deck: *Copy link* and *Reset figure*.
 *
 * A link to a figure ends in #figure=LABEL&stride=2&kernel=((1,0),(0,1)): the label of the notebook's
 * cell, and what differs from the figure as the page shows it first. A deck understands the same, also
 * behind the number of a slide: #/5/&figure=LABEL&stride=2. What a link says is checked: each value by
 * `rules.js`, which `make rules` writes from the Python classes, and all of them together by `fits` of
 * the explorer's own module. A link that breaks a rule leaves the figure as it was shipped.
 *
 * The entries of the browser's history keep what the reader has done, for *Back* and *Reload*; in a deck
 * the address does. Hears "widget-live" from explorers.js. A classic script: works from a file. */
"use strict";
{
const inDeck = document.URL === "about:srcdoc"; // there each explorer has a frame of its own
const page = inDeck ? window.parent : window;
const LONGEST = 10_000; // characters of an address
const figures = new Map(); // by label
// Their settings by label, as the reader left them. Read at once: a script of Sphinx's clears the entry.
let left = inDeck ? null : history.state?.figures;

// ---- Links: JSON in characters that an address leaves as they are -------------------------------

const SIGNS = `[]{}"()!*'`; // a half stands for the other
const swap = (text) => text.replace(/[[\]{}"()!*']/g, (sign) => SIGNS[(SIGNS.indexOf(sign) + 5) % 10]);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isImage = ({ items }) => items?.maximum === 255; // written as its place in the gallery, or in base64

function written(value, rule, images) {
  if (typeof value === "string") return encodeURIComponent(value).replaceAll("%20", "+");
  if (!isImage(rule)) return encodeURIComponent(swap(JSON.stringify(value))).replace(/%(2C|3A)/g, decodeURIComponent);
  const place = images.findIndex((image) => same(image, value));
  return place >= 0 ? place : btoa(String.fromCharCode(...value))
    .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The value that a text stands for; whether it obeys the rule is another question. */
function understood(text, rule, images) {
  if (rule.type === "string") return text;
  try {
    if (!isImage(rule)) return JSON.parse(swap(text));
    return /^\d+$/.test(text) ? images[text]
      : Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
  } catch {
    return text;
  }
}

/** What an address asks for: [label, settings], or nothing. */
function asked(hash) {
  const [, query] = hash.length <= LONGEST && hash.match(/(?:^#|&)(figure=.*)/s) || [];
  return query ? [new URLSearchParams(query).get("figure"), query] : [];
}

// ---- Rules: those words of JSON Schema that rules.js has ----------------------------------------

const KINDS = { integer: Number.isInteger, number: Number.isFinite, array: Array.isArray,
  boolean: (value) => typeof value === "boolean", string: (value) => typeof value === "string",
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value) };

function obeys(value, rule) {
  if (rule.anyOf) return rule.anyOf.some((each) => obeys(value, each));
  if (rule.enum) return rule.enum.includes(value);
  if (!KINDS[rule.type](value)) return false;
  if (rule.type === "string") return value.length <= rule.maxLength && RegExp(rule.pattern).test(value);
  if (rule.type === "array") return value.length >= (rule.minItems ?? 0) &&
    value.length <= rule.maxItems && value.every((item) => obeys(item, rule.items)) &&
    (!rule.uniqueItems || new Set(value).size === value.length);
  if (rule.type === "object") return Object.keys(value).length >= (rule.minProperties ?? 0) &&
    (rule.required ?? []).every((key) => Object.hasOwn(value, key)) && Object.keys(value).every((key) =>
      Object.hasOwn(rule.properties, key) && obeys(value[key], rule.properties[key]));
  return value >= (rule.minimum ?? -Infinity) && value <= (rule.maximum ?? Infinity) &&
    value > (rule.exclusiveMinimum ?? -Infinity) && value < (rule.exclusiveMaximum ?? Infinity);
}

// ---- Figures ------------------------------------------------------------------------------------

const make = (tag, properties, ...children) => {
  const element = Object.assign(page.document.createElement(tag), properties);
  element.append(...children);
  return element;
};

function share({ target: el, detail: { model, widget, place, redraw } }) {
  const kind = String(model.get("_anywidget_id")).split(".").at(-1), label = place.dataset.figure;
  if (!Object.hasOwn(explorerRules, kind)) return;
  const rules = explorerRules[kind], names = Object.keys(rules), gallery = model.get("gallery");
  const now = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const shipped = structuredClone(now());
  const images = Array.from({ length: gallery ? gallery.byteLength / 784 : 0 }, (_, i) =>
    [...new Uint8Array(gallery.buffer, gallery.byteOffset + 784 * i, 784)]);

  /** The state that a link's settings stand for: the shipped one, where they break a rule. */
  function read(settings) {
    const state = structuredClone(shipped);
    for (const [name, text] of new URLSearchParams(settings)) {
      if (!Object.hasOwn(rules, name)) continue;
      state[name] = understood(text, rules[name], images);
      if (!obeys(state[name], rules[name])) return structuredClone(shipped);
    }
    const all = new Proxy(state, { get: (own, name) => Object.hasOwn(own, name) ? own[name] : model.get(name) });
    return (widget.fits?.(all) ?? true) ? state : structuredClone(shipped);
  }
  const settings = () => names.filter((name) => !same(model.get(name), shipped[name]))
    .map((name) => `${name}=${written(model.get(name), rules[name], images)}`).join("&");
  const link = () => [`figure=${encodeURIComponent(label)}`, settings()].filter(Boolean).join("&");
  const put = (settings) => { model.set(read(settings)); model.save_changes(); };

  const says = make("span", { role: "status" });
  const field = make("input", { readOnly: true, hidden: true, ariaLabel: "The link" });
  const copy = async () => {
    const address = page.location.href.replace(/#.*/s, "");
    field.value = `${address}#${inDeck ? `${slide()}/&` : ""}${link()}`;
    try {
      await page.navigator.clipboard.writeText(field.value);
      field.hidden = true;
      says.textContent = "Link copied.";
      setTimeout(() => { says.textContent = ""; }, 4000);
    } catch { // refused, or none there
      field.hidden = false;
      field.select();
      says.textContent = "Copy it from here:";
    }
  };
  const reset = async () => {
    field.hidden = true;
    put("");
    await redraw(); // what plays stops
    says.textContent = "As at first.";
    setTimeout(() => { says.textContent = ""; }, 4000);
  };
  const button = (text, title, onclick) =>
    make("button", { type: "button", title, onclick, ariaLabel: `${text}: ${model.get("label")}` }, text);
  const bar = make("div", { className: "d2-sharing" }, says, field,
    ...(label ? [button("Copy link", "Copy an address that opens this page with the figure as it is now", copy)] : []),
    button("Reset figure", "Put the figure back as the page showed it first", reset));
  if (inDeck) frameElement.closest("section").append(bar);
  else el.after(bar);

  if (!label) return;
  el.dataset.figure = label;
  figures.set(label, { put, settings, link });
  const [wanted, query] = asked(inDeck && page.asked || page.location.hash);
  const kept = left?.[label];
  if (kept ?? (wanted === label)) put(kept ?? query);
  model.on("change", keep);
  keep();
}

// ---- The address and the history ----------------------------------------------------------------

let waiting;
const slide = () => page.location.hash.replace(/^#?(.*?)(\/?&?figure=.*)?$/s, "$1") || "/1";

/** Write down how all figures stand, soon: browsers count how often a page does. */
function keep() {
  clearTimeout(waiting);
  waiting = setTimeout(write, inDeck ? 1200 : 300); // reveal.js writes once a second
}
function write() {
  clearTimeout(waiting);
  if (!inDeck) {
    left = { ...left };
    for (const [label, figure] of figures) left[label] = figure.settings();
    history.replaceState({ ...history.state, figures: left }, "");
  } else if (frameElement.closest("section.present")) {
    const [figure] = figures.values(), changed = figure?.settings() && `/&${figure.link()}`;
    if (figure && (changed || page.location.hash.includes("figure=")))
      page.history.replaceState(null, "", `#${slide()}${changed}`);
  }
}

/** Follow an address: each figure of which it, or its entry in the history, tells. */
function follow({ state }) {
  clearTimeout(waiting);
  const [wanted, query] = asked(page.location.hash), known = inDeck ? null : state?.figures;
  for (const [label, figure] of figures) {
    const settings = known?.[label] ?? (wanted === label ? query : known && "");
    if (settings !== null && settings !== undefined) figure.put(settings);
  }
  if (known) {
    left = known;
    return;
  }
  if (!inDeck) write();
  show(wanted);
}

/** Bring a figure into sight. */
function show(label) {
  const place = label && document.querySelector(`[data-figure="${CSS.escape(label)}"]`);
  if (!place || inDeck) return;
  place.scrollIntoView();
  dispatchEvent(new Event("scroll")); // a network waits for the reader, who is here
}

document.addEventListener("widget-live", share);
if (inDeck) {
  page.addEventListener("hashchange", follow);
  page.document.addEventListener("slidechanged", keep);
} else {
  addEventListener("popstate", follow);
  addEventListener("pagehide", write);
  document.addEventListener("DOMContentLoaded", () => { if (!left) show(asked(location.hash)[0]); });
}
}
