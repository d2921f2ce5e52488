// The kernels of training_engine.js once more, in AssemblyScript, four numbers in one instruction.
// Arguments and loops are explained there. A tile of the output, four places × eight channels, stays
// in eight registers while the window goes by.
//
// tools/make_kernels.py builds training_kernels.js of it.

// @ts-ignore: a decorator of AssemblyScript
@inline
function plus(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b));
}

export function convolve(
  x: i32, weights: i32, bias: i32, y: i32, channels: i32, windowRows: i32, windowLength: i32,
  pitch: i32, images: i32, rows: i32, columns: i32, image: i32, row: i32, column: i32,
): void {
  const rest = row - columns * column, next = image - rows * row; // from the end of a row, an image
  let i = 0, j = 0, left = images * rows * columns;
  for (; left > 0; left -= 4, y += 4 * channels) {
    // The places of four windows; where fewer are left, the last one is done more than once.
    let a = x, b = x, c = x, d = x;
    for (let k = 0; k < 4; k++) {
      if (k < left) d = x;
      if (k === 0) a = d; else if (k === 1) b = d; else if (k === 2) c = d;
      x += column;
      if (++j === columns) {
        j = 0;
        x += rest;
        if (++i === rows) { i = 0; x += next; }
      }
    }
    b = (b - a) << 2; c = (c - a) << 2; d = (d - a) << 2;
    for (let o = 0; o < channels; o += 8) {
      let a0 = v128.load((bias + o) << 2), a1 = v128.load((bias + o) << 2, 16);
      let b0 = a0, b1 = a1, c0 = a0, c1 = a1, d0 = a0, d1 = a1, w = (weights + o) << 2;
      for (let r = 0; r < windowRows; r++) {
        let at = (a + r * pitch) << 2;
        for (const end = at + (windowLength << 2); at < end; at += 4, w += channels << 2) {
          const w0 = v128.load(w), w1 = v128.load(w, 16);
          let v = v128.load32_splat(at);
          a0 = plus(a0, v, w0); a1 = plus(a1, v, w1);
          v = v128.load32_splat(at + b);
          b0 = plus(b0, v, w0); b1 = plus(b1, v, w1);
          v = v128.load32_splat(at + c);
          c0 = plus(c0, v, w0); c1 = plus(c1, v, w1);
          v = v128.load32_splat(at + d);
          d0 = plus(d0, v, w0); d1 = plus(d1, v, w1);
        }
      }
      let to = (y + o) << 2;
      const on = channels << 2;
      v128.store(to, a0); v128.store(to, a1, 16);
      if (left > 1) { v128.store(to += on, b0); v128.store(to, b1, 16); }
      if (left > 2) { v128.store(to += on, c0); v128.store(to, c1, 16); }
      if (left > 3) { v128.store(to += on, d0); v128.store(to, d1, 16); }
    }
  }
}

export function convolveBackward(
  x: i32, gradient: i32, weights: i32, channels: i32, windowRows: i32, windowLength: i32,
  pitch: i32, images: i32, rows: i32, columns: i32, image: i32, row: i32, column: i32,
): void {
  memory.fill(weights << 2, 0, windowRows * windowLength * channels << 2);
  for (let n = 0; n < images; n++, gradient += rows * columns * channels, x += image)
    for (let r = 0, w = weights; r < windowRows; r++)
      for (let l = 0; l < windowLength; l += 4) {
        // Where fewer than four are left, what lies beyond them is added up, too, and not kept.
        const left = min(4, windowLength - l);
        for (let o = 0; o < channels; o += 8) {
          let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
          let g = (gradient + o) << 2;
          for (let i = 0; i < rows; i++) {
            let a = (x + i * row + r * pitch + l) << 2;
            for (let end = g + (columns * channels << 2); g < end;
              g += channels << 2, a += column << 2) {
              const g0 = v128.load(g), g1 = v128.load(g, 16);
              let v = v128.load32_splat(a);
              a0 = plus(a0, v, g0); a1 = plus(a1, v, g1);
              v = v128.load32_splat(a, 4);
              b0 = plus(b0, v, g0); b1 = plus(b1, v, g1);
              v = v128.load32_splat(a, 8);
              c0 = plus(c0, v, g0); c1 = plus(c1, v, g1);
              v = v128.load32_splat(a, 12);
              d0 = plus(d0, v, g0); d1 = plus(d1, v, g1);
            }
          }
          let p = (w + o) << 2;
          add(p, a0, a1);
          if (left > 1) add(p += channels << 2, b0, b1);
          if (left > 2) add(p += channels << 2, c0, c1);
          if (left > 3) add(p += channels << 2, d0, d1);
        }
        w += left * channels;
      }
}

function add(at: i32, first: v128, second: v128): void {
  v128.store(at, f32x4.add(v128.load(at), first));
  v128.store(at, f32x4.add(v128.load(at, 16), second), 16);
}

export function rectify(x: i32, from: i32, to: i32, count: i32, slope: f32): void {
  const zero = f32x4.splat(0), slopes = f32x4.splat(slope);
  for (let i = 0; i < count; i += 4) {
    const v = v128.load((from + i) << 2), positive = f32x4.gt(v128.load((x + i) << 2), zero);
    v128.store((to + i) << 2, v128.bitselect(v, f32x4.mul(v, slopes), positive));
  }
}

export function maxpool(
  x: i32, y: i32, images: i32, channels: i32, height: i32, width: i32, size: i32,
): void {
  const column = channels << 2, row = width * column;
  let to = y << 2;
  for (let n = 0; n < images; n++)
    for (let i = 0; i <= height - size; i += size)
      for (let j = 0; j <= width - size; j += size) {
        let at = (x << 2) + (n * height + i) * row + j * column;
        for (const end = at + column; at < end; at += 16, to += 16) {
          let most = v128.load(at);
          for (let r = 0, p = at; r < size; r++, p += row)
            for (let q = p, last = p + size * column; q < last; q += column)
              most = f32x4.max(most, v128.load(q));
          v128.store(to, most);
        }
      }
}

export function maxpoolBackward(
  x: i32, y: i32, yGradient: i32, xGradient: i32,
  images: i32, channels: i32, height: i32, width: i32, size: i32,
): void {
  const column = channels << 2, row = width * column, there = (xGradient - x) << 2;
  let largest = y << 2, from = yGradient << 2;
  if (height % size || width % size) memory.fill(xGradient << 2, 0, images * height * row);
  for (let n = 0; n < images; n++)
    for (let i = 0; i <= height - size; i += size)
      for (let j = 0; j <= width - size; j += size) {
        let at = (x << 2) + (n * height + i) * row + j * column;
        for (const end = at + column; at < end; at += 16, largest += 16, from += 16) {
          const most = v128.load(largest);
          let left = v128.load(from); // of the gradient, for windows in which none was found yet
          for (let r = 0, p = at; r < size; r++, p += row)
            for (let q = p, last = p + size * column; q < last; q += column) {
              const here = f32x4.eq(v128.load(q), most);
              v128.store(q + there, v128.and(left, here));
              left = v128.andnot(left, here);
            }
        }
      }
}
