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
 * Widgets get what anywidget gives them; nobody hears save_changes and send. Views of one model share
 * its state. A view's element is marked data-widget="live", and tells the page by the event "widget-live";
 * what cannot be mounted is marked "failed": its picture stays, or a note says why. "waiting" are left
 * alone. A classic script: works from a file. */
"use strict";
{
const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

/** The saved models of the document: Map from model id to { model_name, state }. */
function savedModels(root) {
  const models = new Map();
  for (const script of root.querySelectorAll(STATE)) {
    const saved = JSON.parse(script.textContent).state ?? {};
    for (const [id, { model_name, state, buffers = [] }] of Object.entries(saved)) {
      for (const { path, data } of buffers) {
        const owner = path.slice(0, -1).reduce((value, key) => value[key], state);
        owner[path.at(-1)] = bytes(data);
      }
      models.set(id, { model_name, state });
    }
  }
  return models;
}

/** A buffer, which Jupyter saves as base64. */
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);

const same = (a, b) => a === b || (!ArrayBuffer.isView(a) && JSON.stringify(a) === JSON.stringify(b));

/** A model kept in the page: a function that gives it as one of its users sees it, whose `off` leaves
 *  the handlers of the others. */
function pageModel(saved, widget_manager) {
  const state = { ...saved };
  let handlers = []; // [event, listener, whose]
  const emit = (event, ...values) => {
    for (const [name, listener] of handlers.slice()) if (name === event) listener(...values);
  };
  return function seenBy(whose) {
    const model = { widget_manager, get: (name) => state[name], save_changes() {}, send() {},
      set(name, value) {
        const changes = typeof name === "object" ? name : { [name]: value };
        const changed = Object.keys(changes).filter((key) => !same(state[key], changes[key]));
        for (const key of changed) state[key] = changes[key];
        for (const key of changed) emit(`change:${key}`, model, changes[key]);
        if (changed.length) emit("change", model);
        return model;
      },
      on(events, listener) {
        for (const event of events.split(/\s+/)) handlers.push([event, listener, whose]);
      },
      off(events, listener) {
        handlers = handlers.filter(([event, other, owner]) => owner !== whose ||
          (events && !events.split(/\s+/).includes(event)) || (listener && listener !== other));
      } };
    return model;
  };
}

/** Import a widget's module and add a style sheet, from its text or its address, once for each. */
const ABSENT = "its code, or what that loads from elsewhere, does not come. Is there a network?";
const loaded = new Map(), isAddress = (text) => /^https?:\/\//.test(text);
const once = (source, load) => loaded.get(source) ?? loaded.set(source, load()).get(source);
const module = (source) => once(source, () => {
  const url = isAddress(source) ? source : URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  return import(url).finally(() => URL.revokeObjectURL(url)).catch((error) => { // worded by each browser its way
    throw error instanceof TypeError && /import|module/i.test(error.message) ? Error(ABSENT) : error;
  });
});
const style = (sheet) => sheet && once(sheet, () => document.head.appendChild(isAddress(sheet)
  ? Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet })
  : Object.assign(document.createElement("style"), { textContent: sheet })));

/** Call what `initialize` or `render` has returned, where it is a function, at the end. */
function atEnd(signal, cleanUp) {
  if (typeof cleanUp !== "function") return;
  if (signal.aborted) cleanUp();
  else signal.addEventListener("abort", () => cleanUp());
}

/** Mount every view below `root`. Resolves to a function that unmounts them. */
window.mountWidgets = async function mountWidgets(root = document) {
  const saved = savedModels(document), models = new Map(), widgets = new Map(); // by model id
  const leaving = new AbortController();
  const experimental = { invoke: () => Promise.reject(Error("There is no kernel behind this page.")) };
  const widget_manager = { get_model: async (id) => modelOf(id, widget_manager) };

  function modelOf(id, whose) {
    if (!saved.has(id)) throw Error(`The page has no state of widget ${id}.`);
    if (!models.has(id)) models.set(id, pageModel(saved.get(id).state, widget_manager));
    return models.get(id)(whose);
  }

  async function start(id) {
    const { signal } = leaving, model = modelOf(id, signal), esm = model.get("_esm");
    if (!esm) throw Error(`${saved.get(id).model_name.replace(/Model$/, "")} needs a running notebook.`);
    style(model.get("_css"));
    const { render, default: made } = await module(esm);
    const widget = render ? { render } : typeof made === "function" ? await made() : made;
    const exports = await widget.initialize?.({ model, experimental, signal });
    atEnd(signal, exports);
    return { widget, exports: typeof exports === "object" ? exports : undefined };
  }
  const started = (id) => widgets.get(id) ?? widgets.set(id, start(id)).get(id);

  async function draw(id, el, signal) {
    const { widget } = await started(id), model = modelOf(id, el), called = (ref) => ref.split(":").at(-1);
    atEnd(signal, () => model.off());
    const host = {
      getModel: async (ref) => modelOf(called(ref), el),
      getWidget: async (ref) => ({ exports: (await started(called(ref))).exports,
        render: (child) => draw(called(ref), child.el, child.signal ?? signal) }),
    };
    atEnd(signal, await widget.render?.({ model, el, experimental, signal, host }));
  }

  async function show(place) {
    const el = document.createElement("div"), picture = place.dataset.widgetModel;
    let view;
    try {
      const id = picture ?? JSON.parse(place.textContent).model_id, { widget } = await started(id);
      const redraw = () => {
        view?.abort();
        view = new AbortController();
        atEnd(leaving.signal, () => view.abort());
        el.replaceChildren();
        return draw(id, el, view.signal);
      };
      place.before(el);
      await redraw();
      place.remove();
      el.dataset.widget = "live";
      const detail = { model: modelOf(id, place), widget, place, redraw };
      el.dispatchEvent(new CustomEvent("widget-live", { bubbles: true, detail }));
    } catch (error) {
      if (picture) el.remove();
      else place.before(Object.assign(el, { role: "note", textContent: `Not shown: ${error.message}` }));
      (picture ? place : el).dataset.widget = "failed";
      console.error("A widget could not be mounted:", error);
    }
  }

  await Promise.all([...root.querySelectorAll(`${VIEW}, [data-widget-model]:not([data-widget])`)].map(show));
  return () => leaving.abort();
};

document.addEventListener("DOMContentLoaded", () => window.mountWidgets());
}
