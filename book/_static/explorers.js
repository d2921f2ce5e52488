/* Live widgets on a static page, without a kernel.
 *
 * A notebook saves the state of its widgets; Jupyter Book and Sphinx (myst-nb) write it into the page
 * as <script type="application/vnd.jupyter.widget-state+json">. This module finds that state, and for
 * each view of an anywidget (https://anywidget.dev) in the page it imports the widget's own ES module
 * and calls its `initialize` and `render` with a model that lives in the page. It knows nothing of
 * this book's explorers: any anywidget whose front end does not need Python works.
 *
 * A view stands in the page in one of two forms:
 *   <script type="application/vnd.jupyter.widget-view+json">{"model_id": "…"}</script>
 *   <div data-widget-model="…">a still picture, shown until the live view replaces it</div>
 *
 * A widget gets model.get, set, on, off, and save_changes and send, which nobody hears. Several views
 * of one model share its state. A view's element is marked data-widget="live"; where mounting fails,
 * the picture stays, marked "failed". A classic script, not a module, so that it works from a file.
 */
"use strict";
{
const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

/** The saved state of every model in the document: Map from model id to traits. */
function savedStates(root) {
  const states = new Map();
  for (const script of root.querySelectorAll(STATE)) {
    const saved = JSON.parse(script.textContent).state ?? {};
    for (const [id, { state, buffers = [] }] of Object.entries(saved)) {
      for (const { path, data } of buffers) {
        const owner = path.slice(0, -1).reduce((value, key) => value[key], state);
        owner[path.at(-1)] = bytes(data);
      }
      states.set(id, state);
    }
  }
  return states;
}

/** A buffer, which Jupyter saves as base64. */
function bytes(text) {
  return new DataView(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

function same(a, b) {
  return a === b || (!ArrayBuffer.isView(a) && JSON.stringify(a) === JSON.stringify(b));
}

/** The model's side of anywidget's interface, kept in the page. */
class PageModel {
  #state;
  #listeners = new Map();

  constructor(state) { this.#state = { ...state }; }
  get(name) { return this.#state[name]; }

  set(name, value) {
    const changes = typeof name === "object" ? name : { [name]: value };
    const changed = Object.keys(changes).filter((key) => !same(this.#state[key], changes[key]));
    for (const key of changed) this.#state[key] = changes[key];
    for (const key of changed) this.#emit(`change:${key}`, this, changes[key]);
    if (changed.length) this.#emit("change", this);
  }

  on(events, listener) {
    for (const event of events.split(/\s+/)) {
      if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
      this.#listeners.get(event).add(listener);
    }
  }

  off(events, listener) {
    for (const event of events ? events.split(/\s+/) : this.#listeners.keys()) {
      if (listener) this.#listeners.get(event)?.delete(listener);
      else this.#listeners.delete(event);
    }
  }

  #emit(event, ...values) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...values);
  }

  save_changes() {}
  send() {}
}

/** Import a widget's module from its source text: once for each distinct text. */
const modules = new Map();
function load(source) {
  if (!modules.has(source)) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
  }
  return modules.get(source);
}

/** Mount every view below `root`. Resolves to a function that unmounts them. */
window.mountWidgets = async function mountWidgets(root = document) {
  const states = savedStates(document);
  const experimental = { invoke: () => Promise.reject(Error("There is no kernel behind this page.")) };
  const leaving = new AbortController();
  const cleanUps = [];
  const models = new Map(); // id → promise of [model, widget]

  async function start(id) {
    const state = states.get(id);
    if (!state?._esm) throw Error(`model ${id} has no saved anywidget state`);
    const model = new PageModel(state);
    let { default: widget, ...named } = await load(state._esm);
    widget ??= named;
    if (typeof widget === "function") widget = await widget();
    cleanUps.push(await widget.initialize?.({ model, experimental, signal: leaving.signal }));
    return [model, widget];
  }

  async function show(place) {
    const id = place.dataset.widgetModel ?? JSON.parse(place.textContent).model_id;
    const el = document.createElement("div");
    try {
      if (!models.has(id)) models.set(id, start(id));
      const [model, widget] = await models.get(id);
      style(model);
      place.before(el);
      cleanUps.push(await widget.render?.({ model, el, experimental, signal: leaving.signal }));
      place.remove();
      el.dataset.widget = "live";
    } catch (error) {
      el.remove();
      place.dataset.widget = "failed";
      console.error("A widget could not be mounted:", error);
    }
  }

  await Promise.all([...root.querySelectorAll(`${VIEW}, [data-widget-model]`)].map(show));
  return () => {
    leaving.abort();
    for (const cleanUp of cleanUps) if (typeof cleanUp === "function") cleanUp();
  };
};

/** Add a widget's style sheet to the page, once for each class of widgets. */
const styled = new Set();
function style(model) {
  if (!model.get("_css") || styled.has(model.get("_anywidget_id"))) return;
  styled.add(model.get("_anywidget_id"));
  document.head.append(Object.assign(document.createElement("style"), { textContent: model.get("_css") }));
}

document.addEventListener("DOMContentLoaded", () => window.mountWidgets());
}
