/* What scrolls in itself, such as a line of code on a phone, can be reached by the keyboard. The theme
   would measure each such box in turn, and all of them again after every change in the page. */
document.addEventListener("DOMContentLoaded", () => {
  const BOXES = "pre, .cell_output > .output, .pst-scrollable-table-container";
  const sizes = new ResizeObserver((entries) => {
    const boxes = entries.map(({ target }) => target);
    const scrolls = boxes.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    boxes.forEach((box, i) => { box.tabIndex = scrolls[i] ? 0 : -1; });
  });
  for (const box of document.querySelectorAll(BOXES)) sizes.observe(box);
  new MutationObserver((records) => { // the outputs of live code, for example
    const boxes = new Set();
    for (const { target, addedNodes } of records) {
      boxes.add(target.closest(BOXES));
      for (const node of addedNodes) {
        if (node.matches?.(BOXES)) boxes.add(node);
        node.querySelectorAll?.(BOXES).forEach((box) => boxes.add(box));
      }
    }
    boxes.delete(null);
    for (const box of boxes) {
      sizes.unobserve(box); // so that it is measured anew
      sizes.observe(box);
    }
  }).observe(document.body, { subtree: true, childList: true });
});
