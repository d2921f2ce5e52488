// Pictures of pixels, a gallery of garments and the chances of classes, for explorers of networks.

/** Probabilities of scores. */
function softmax(scores) {
  const top = Math.max(...scores), powers = Array.from(scores, (score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/** What a network says, in words. */
function verdict(shares, classes) {
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  return `The network says: ${order.slice(0, 2).map((i) => `${classes[i]} ${percent(shares[i])}`)
    .join(", ")}.`;
}

/** Colours of the theme as [r, g, b], for canvases; known only when `element` is in the page. */
function colours(element, ...names) {
  const probe = h("i", { hidden: true });
  element.append(probe);
  const found = names.map((name) => {
    probe.style.color = tone(name);
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  });
  probe.remove();
  return found;
}

/** A canvas of `tiles` tiles of `rows` × `columns` pixels, `across` in a row. */
function tiled(tiles, rows, columns, across, gap = 0, attributes = {}) {
  const width = across * (columns + gap) - gap;
  const height = Math.ceil(tiles / across) * (rows + gap) - gap;
  const canvas = h("canvas", { width, height, role: "img", ...attributes });
  const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
  const corner = (tile) => [Math.floor(tile / across) * (rows + gap), tile % across * (columns + gap)];
  const places = Int32Array.from({ length: tiles * rows * columns }, (_, at) => { // in the picture
    const [y, x] = corner(Math.floor(at / (rows * columns)));
    return 4 * ((y + Math.floor(at / columns) % rows) * width + x + at % columns);
  });
  /** Positive numbers in one colour, negative in the other, on paper; the largest is full. */
  const paint = (values, { positive, negative, paper }, largest) => {
    const { data } = picture, [r, g, b] = paper;
    let top = largest ?? 1e-9;
    if (!largest) for (const value of values) top = Math.max(top, Math.abs(value));
    for (let at = 0; at < values.length; at++) {
      const to = places[at], tone = values[at] < 0 ? negative : positive;
      const share = Math.min(Math.abs(values[at]) / top, 1);
      data[to] = r + share * (tone[0] - r);
      data[to + 1] = g + share * (tone[1] - g);
      data[to + 2] = b + share * (tone[2] - b);
      data[to + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  };
  /** The tile, row and column at a point of the screen, or null between tiles. */
  const find = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor((clientX - box.left) / box.width * width);
    const y = Math.floor((clientY - box.top) / box.height * height);
    const down = Math.floor(y / (rows + gap)), right = Math.floor(x / (columns + gap));
    const [row, column] = [y - down * (rows + gap), x - right * (columns + gap)];
    const tile = down * across + right;
    return right < across && tile < tiles && row < rows && column < columns && row >= 0 && column >= 0
      ? [tile, row, column] : null;
  };
  return { canvas, paint, find, corner, width, height };
}

/** Buttons with the images of a gallery, bytes of 28 × 28 each; `choose` hears the pixels. */
function thumbs({ buffer, byteOffset, byteLength }, choose) {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const all = Array.from({ length: byteLength / 784 }, (_, i) => {
    const image = [...bytes.subarray(784 * i, 784 * (i + 1))];
    const thumb = tiled(1, 28, 28, 1, 0, { "aria-hidden": "true", role: "presentation" });
    const element = button("", () => choose(image),
      { class: "d2-thumb", "aria-label": `garment ${i + 1}` });
    element.append(thumb.canvas);
    return { element, paint: (tones) => thumb.paint(image, tones) };
  });
  return { element: h("div", { class: "d2-thumbs" }, ...all.map(({ element }) => element)),
    paint(tones) { for (const { paint } of all) paint(tones); } };
}

/** A bar for each class; `show` hears the probabilities. */
function chances(classes) {
  const bars = classes.map((name) => {
    const bar = h("i"), share = h("span", { class: "d2-share" });
    return { bar, share, element: h("div", { class: "d2-bar", "aria-hidden": "true" },
      h("span", {}, name), h("span", { class: "d2-track" }, bar), share) };
  });
  return { elements: bars.map(({ element }) => element),
    show(shares) {
      const best = shares.indexOf(Math.max(...shares));
      bars.forEach(({ bar, share, element }, i) => {
        bar.style.width = `${100 * shares[i]}%`;
        share.textContent = percent(shares[i]);
        element.classList.toggle("best", i === best);
      });
    } };
}

/** Draw anew when the theme changes, since a canvas keeps its colors. What is returned ends it. */
function followTheme(later) {
  const theme = new MutationObserver(later);
  for (const element of [document.documentElement, document.body])
    theme.observe(element, { attributes: true });
  return () => theme.disconnect();
}

/** Pause what goes on by itself where nobody sees it. What is returned ends it. */
function pauseUnseen(root, pause) {
  const hidden = () => { if (document.hidden) pause(); };
  const far = new IntersectionObserver(([{ isIntersecting }]) => { if (!isIntersecting) pause(); },
    { rootMargin: "100% 0px" });
  document.addEventListener("visibilitychange", hidden);
  far.observe(root);
  return () => {
    far.disconnect();
    document.removeEventListener("visibilitychange", hidden);
  };
}
