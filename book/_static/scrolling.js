/* What scrolls in itself, such as a line of code on a phone, can be reached by the keyboard. The theme
   would measure each such box in turn, and all of them again after every change in the page. */
document.addEventListener("DOMContentLoaded", () => {
  const sizes = new ResizeObserver((changes) => {
    const boxes = changes.map(({ target }) => target);
    const scrolls = boxes.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    boxes.forEach((box, i) => { box.tabIndex = scrolls[i] ? 0 : -1; });
  });
  for (const box of document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")) sizes.observe(box);
});
