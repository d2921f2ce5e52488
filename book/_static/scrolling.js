/* What scrolls in itself, such as a line of code on a phone, can be reached by the keyboard. The theme
   would measure each such box in turn, and all of them again after every change in the page. */
document.addEventListener("DOMContentLoaded", () => {
  const BOXES = "pre, .cell_output > .output, .pst-scrollable-table-container";
  const known = new WeakSet(), changed = new Set();
  let waiting;
  const sizes = new ResizeObserver((entries) => {
    const boxes = entries.map(({ target }) => target);
    const scrolls = boxes.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    boxes.forEach((box, i) => { box.tabIndex = scrolls[i] ? 0 : -1; });
  });
  function watch() {
    for (const box of document.querySelectorAll(BOXES)) {
      if (changed.has(box)) sizes.unobserve(box); // so that it is measured anew
      if (changed.has(box) || !known.has(box)) sizes.observe(box);
      known.add(box);
    }
    changed.clear();
  }
  new MutationObserver((records) => { // the outputs of live code, for example
    for (const { target } of records) changed.add(target.closest?.(BOXES));
    clearTimeout(waiting);
    waiting = setTimeout(watch, 300);
  }).observe(document.body, { subtree: true, childList: true });
  watch();
});
