// Training small convolutional networks in a web page: the same numbers as PyTorch.
//
// `trainingEngine(bytes)` is all: it uses nothing from outside, so that its text runs in a page, in
// a Worker and in Node alike. With the bytes of training_kernels.ts its convolutions are
// WebAssembly; with null, or where a browser has none with SIMD, the same loops in JavaScript.
//
// How it is stored. An image of C channels, H rows and W columns stands pixel by pixel (NHWC), its
// channels next to each other and made up to a multiple of 8 by zeros: a row of a convolution's
// window is then one piece of memory, and 8 channels are two registers. All images, gradients and
// packed weights share one memory, the heap, and a kernel gets the places where they begin. Outside
// of it, in `parameters`, `forward` and so on, everything is in PyTorch's order (N, C, H, W).

function trainingEngine(bytes = null) {
  let module = null;
  try {
    module = bytes && new WebAssembly.Module(bytes);
  } catch {
    // A browser without SIMD: JavaScript computes the same.
  }

  // ---- Random numbers: by a hash of their place -------------------------------------------------

  const mix = (z) => {
    z = Math.imul(z ^ z >>> 16, 0x85ebca6b);
    z = Math.imul(z ^ z >>> 13, 0xc2b2ae35);
    return (z ^ z >>> 16) >>> 0;
  };

  /** Numbers between 0 and 1, evenly, one at each call. */
  function generator(seed) {
    const from = mix(seed);
    let place = 0;
    return () => (mix(Math.imul(++place, 0x9e3779b9) + from) + 0.5) / 2 ** 32;
  }

  /** A standard normal number of two even ones (Box and Muller). */
  const normal = (uniform) =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

  /** How a weight is drawn, and its bias: by `d2lite.initializers` and PyTorch's own default. */
  const INITIALIZATIONS = {
    he: (u, fanIn) => [() => Math.sqrt(2 / fanIn) * normal(u), () => 0],
    xavier: (u, fanIn, fanOut) => [() => Math.sqrt(6 / (fanIn + fanOut)) * (2 * u() - 1), () => 0],
    torch: (u, fanIn) => Array(2).fill(() => (2 * u() - 1) / Math.sqrt(fanIn)),
    small: (u) => [() => 0.01 * normal(u), () => 0],
  };

  // ---- Kernels: where the time goes; training_kernels.ts has them once more ---------------------

  // A window is `windowRows` pieces of `windowLength` numbers, `pitch` apart. Windows stand at
  // images · rows · columns places, `image`, `row` and `column` numbers apart; the output's follow
  // each other, `channels` numbers each. Weights: windowRows · windowLength · channels.
  //
  // Behind ReLU and max pooling, most numbers of a gradient are 0: those that are not are listed
  // first, and only they are multiplied. `| 0` spares a check: the sum is a whole number.
  function kernels(heap) {
    const places = new Int32Array(heap.length), before = new Int32Array(heap.length + 1);
    const largest = new Int32Array(heap.length), slopes = new Float64Array([0, 1]);
    let values = new Float64Array(0);

    /** Which numbers are not 0, how many of them stand before each place; return their count. */
    function list(from, to) {
      let count = 0;
      for (let at = from; at < to; at = at + 1 | 0) {
        before[at] = count;
        places[count] = at;
        count = count + (heap[at] !== 0 | 0) | 0;
      }
      before[to] = count;
      return count;
    }

    /** Windows in a row, of which each number counts: two places and four channels at a time. */
    function dense(x, weights, bias, y, channels, windowRows, windowLength, pitch,
      columns, column) {
      for (let j = 0; j < columns; j += 2) {
        const first = x + j * column | 0;
        const next = j + 1 < columns ? column : 0; // the last one, alone, is done twice
        const to = y + j * channels | 0, toNext = next ? to + channels | 0 : to;
        for (let o = 0; o < channels; o += 4) {
          let a0 = heap[bias + o], a1 = heap[bias + o + 1], a2 = heap[bias + o + 2],
            a3 = heap[bias + o + 3], b0 = a0, b1 = a1, b2 = a2, b3 = a3, w = weights + o | 0;
          for (let r = 0, from = first; r < windowRows; r++, from = from + pitch | 0)
            for (let at = from, end = from + windowLength | 0; at < end; at = at + 1 | 0) {
              const a = heap[at], b = heap[at + next | 0];
              const w0 = heap[w], w1 = heap[w + 1 | 0], w2 = heap[w + 2 | 0], w3 = heap[w + 3 | 0];
              a0 += a * w0; a1 += a * w1; a2 += a * w2; a3 += a * w3;
              b0 += b * w0; b1 += b * w1; b2 += b * w2; b3 += b * w3;
              w = w + channels | 0;
            }
          const p = to + o, q = toNext + o;
          heap[p] = a0; heap[p + 1] = a1; heap[p + 2] = a2; heap[p + 3] = a3;
          heap[q] = b0; heap[q + 1] = b1; heap[q + 2] = b2; heap[q + 3] = b3;
        }
      }
    }

    /** The same of what is listed: a place and eight channels at a time. */
    function sparse(x, weights, bias, y, channels, windowRows, windowLength, pitch,
      columns, column) {
      for (let j = 0; j < columns; j++, x = x + column | 0, y = y + channels | 0)
        for (let o = 0; o < channels; o += 8) {
          const b = bias + o | 0, to = y + o | 0;
          let a0 = heap[b], a1 = heap[b + 1], a2 = heap[b + 2], a3 = heap[b + 3],
            a4 = heap[b + 4], a5 = heap[b + 5], a6 = heap[b + 6], a7 = heap[b + 7];
          for (let r = 0, from = x, first = weights + o | 0; r < windowRows; r++) {
            for (let i = before[from], end = before[from + windowLength | 0]; i < end; i++) {
              const at = places[i], a = heap[at];
              const w = first + Math.imul(at - from | 0, channels) | 0;
              a0 += a * heap[w]; a1 += a * heap[w + 1 | 0];
              a2 += a * heap[w + 2 | 0]; a3 += a * heap[w + 3 | 0];
              a4 += a * heap[w + 4 | 0]; a5 += a * heap[w + 5 | 0];
              a6 += a * heap[w + 6 | 0]; a7 += a * heap[w + 7 | 0];
            }
            from = from + pitch | 0;
            first = first + Math.imul(windowLength, channels) | 0;
          }
          heap[to] = a0; heap[to + 1] = a1; heap[to + 2] = a2; heap[to + 3] = a3;
          heap[to + 4] = a4; heap[to + 5] = a5; heap[to + 6] = a6; heap[to + 7] = a7;
        }
    }

    return {
      /** y = the sum of window · weights, plus the bias. */
      convolve(x, weights, bias, y, channels, windowRows, windowLength, pitch,
        images, rows, columns, image, row, column) {
        const length = (images - 1) * image + (rows - 1) * row + (columns - 1) * column
          + (windowRows - 1) * pitch + windowLength;
        const windows = list(x, x + length) < 0.6 * length ? sparse : dense;
        for (let n = 0; n < images; n++)
          for (let i = 0; i < rows; i++, y += columns * channels)
            windows(x + n * image + i * row, weights, bias, y, channels,
              windowRows, windowLength, pitch, columns, column);
      },

      /** The weights' gradient: each number of the window times each channel of y's gradient. */
      convolveBackward(x, gradient, weights, channels, windowRows, windowLength, pitch,
        images, rows, columns, image, row, column) {
        heap.fill(0, weights, weights + windowRows * windowLength * channels);
        if (values.length < rows * columns) values = new Float64Array(rows * columns);
        for (let n = 0; n < images; n++, gradient += rows * columns * channels, x += image)
          for (let o = 0; o < channels; o++) {
            let count = 0; // of the places where the gradient is not 0
            for (let i = 0, g = gradient + o | 0; i < rows; i++)
              for (let j = 0, at = x + i * row | 0; j < columns; j++) {
                const value = heap[g];
                places[count] = at;
                values[count] = value;
                count = count + (value !== 0 | 0) | 0;
                at = at + column | 0;
                g = g + channels | 0;
              }
            for (let r = 0; r < windowRows; r++)
              for (let l = 0; l < windowLength; l += 8) {
                let a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0, a6 = 0, a7 = 0;
                for (let i = 0, first = r * pitch + l | 0; i < count; i++) {
                  const g = values[i], at = places[i] + first | 0;
                  a0 += g * heap[at]; a1 += g * heap[at + 1 | 0];
                  a2 += g * heap[at + 2 | 0]; a3 += g * heap[at + 3 | 0];
                  a4 += g * heap[at + 4 | 0]; a5 += g * heap[at + 5 | 0];
                  a6 += g * heap[at + 6 | 0]; a7 += g * heap[at + 7 | 0];
                }
                const found = [a0, a1, a2, a3, a4, a5, a6, a7]; // some may be beyond the window
                for (let k = 0; k < 8 && l + k < windowLength; k++)
                  heap[weights + (r * windowLength + l + k) * channels + o] += found[k];
              }
          }
      },

      /** (Leaky) ReLU, from x itself, and its gradient, from y's: times `slope` where x ≤ 0. */
      rectify(x, from, to, count, slope) {
        slopes[0] = slope;
        for (let i = 0; i < count; i++)
          heap[to + i | 0] = heap[from + i | 0] * slopes[heap[x + i | 0] > 0 | 0];
      },

      /** The largest of each size × size window, of images of height × width pixels. */
      maxpool(x, y, images, channels, height, width, size) {
        const row = width * channels;
        for (let n = 0; n < images; n++)
          for (let i = 0; i <= height - size; i += size)
            for (let j = 0; j <= width - size; j += size)
              for (let c = 0, at = x + ((n * height + i) * width + j) * channels; c < channels;
                c++, at++, y++) {
                let best = at;
                for (let r = 0, p = at; r < size; r++, p = p + row | 0)
                  for (let k = 0, q = p; k < size; k++, q = q + channels | 0)
                    best = best + Math.imul(q - best, !(heap[q] <= heap[best]) | 0) | 0;
                heap[y] = heap[best];
                largest[y] = best;
              }
      },
      /** Each gradient goes to the first of the largest, as in PyTorch. */
      maxpoolBackward(x, y, yGradient, xGradient, images, channels, height, width, size) {
        const end = y + images * Math.floor(height / size) * Math.floor(width / size) * channels;
        heap.fill(0, xGradient, xGradient + images * height * width * channels);
        for (; y < end; y++, yGradient++)
          heap[largest[y] + xGradient - x | 0] = heap[yGradient];
      },
    };
  }

  // ---- A network --------------------------------------------------------------------------------

  function network(layers, [channels, height, width], { seed = 0, initialization = "he" } = {}) {
    const uniform = generator(seed), draw = INITIALIZATIONS[initialization];
    if (!draw) throw new Error(
      `initialization="${initialization}": must be one of ${Object.keys(INITIALIZATIONS)}`);

    // The heap: what is needed for each image, and what is needed once.
    const needs = [], parameters = [], buffers = [];
    let heap = null, kernel = null, capacity = 0;
    const need = (size, once = false) => {
      const place = { size, once, at: 0, values: null };
      needs.push(place);
      return place;
    };
    function reserve(n) {
      if (n <= capacity) return;
      capacity = n;
      let end = 0;
      for (const place of needs) {
        place.at = end;
        end += 4 * Math.ceil(place.size * (place.once ? 1 : n) / 4) + 8; // a tile may look beyond
      }
      if (module) {
        const memory = new WebAssembly.Memory({ initial: Math.ceil(4 * end / 65536) });
        heap = new Float32Array(memory.buffer);
        kernel = new WebAssembly.Instance(module, { env: { memory } }).exports;
      } else {
        heap = new Float32Array(end);
        kernel = kernels(heap);
      }
      for (const place of needs)
        place.values = heap.subarray(place.at, place.at + place.size * (place.once ? 1 : n));
    }

    /** Images of c × h × w, each pixel with `stored` ≥ c numbers, and their gradient. */
    function tensor(c, h, w, stored = 8 * Math.ceil(c / 8), shape = [c, h, w]) {
      const size = h * w * stored;
      return { c, h, w, stored, size, shape, data: need(size), gradient: need(size) };
    }
    const flat = (units) => tensor(units, 1, 1, undefined, [units]);
    const like = (x) => tensor(x.c, x.h, x.w, x.stored, x.shape);

    function parameter(name, shape, value) {
      const size = shape.reduce((a, b) => a * b);
      const data = Float32Array.from({ length: size }, value), gradient = new Float32Array(size);
      parameters.push({ name, shape, data, gradient });
      return parameters.at(-1);
    }

    /** Call f with each number's place on the heap and in PyTorch's order, an image each `size`. */
    function ordered(x, n, f, size = x.c * x.h * x.w) {
      for (let image = 0; image < n; image++)
        for (let c = 0, i = image * size; c < x.c; c++)
          for (let at = 0; at < x.size; at += x.stored) f(image * x.size + at + c, i++);
    }
    function pack(values, x, to, n) {
      if (x.stored === 1) to.values.set(values.subarray(0, n * x.size)); // the same order
      else ordered(x, n, (at, i) => { to.values[at] = values[i]; });
    }
    function unpack(x, from, n) {
      const values = new Float32Array(n * x.c * x.h * x.w);
      ordered(x, n, (at, i) => { values[i] = from.values[at]; });
      return values;
    }

    // ---- Layers: from the input x, { y, forward(n, options), backward(n) } ----------------------
    // backward finds y's gradient and leaves x's, and that of its own parameters.

    /** What a kernel must know of windows on images of h × w pixels with `stored` numbers each. */
    const windows = (size, stride, h, w, stored, y, n) => {
      const area = [y.stored, size, size * stored, w * stored];
      return y.h * y.w === 1 ? [...area, 1, 1, n, 0, 0, h * w * stored] // each image is a place
        : [...area, n, y.h, y.w, h * w * stored, stride * w * stored, stride * stored];
    };

    /** Copy images into the middle of larger ones, `stride` pixels apart. */
    function spread(x, from, to, h, w, border, stride, n) {
      const rows = n * x.h, length = x.w * x.stored;
      for (let row = 0; row < rows; row++) {
        const image = Math.floor(row / x.h), i = border + stride * (row % x.h);
        const source = row * length, target = ((image * h + i) * w + border) * x.stored;
        if (stride === 1)
          heap.copyWithin(to.at + target, from.at + source, from.at + source + length);
        else for (let j = 0; j < x.w; j++)
          for (let c = 0; c < x.stored; c++)
            to.values[target + j * stride * x.stored + c] = from.values[source + j * x.stored + c];
      }
    }

    function convolution(x, y, shape, k, stride, padding, name) {
      const fanIn = x.c * k * k, [weights, biases] = draw(uniform, fanIn, y.c * k * k);
      const weight = parameter(`${name}.weight`, shape, weights);
      const bias = parameter(`${name}.bias`, [y.c], biases);
      const size = k * k * x.stored * y.stored, none = need(x.stored, true), one = need(1, true);
      const packed = need(size, true), packedGradient = need(size, true);
      const packedBias = need(y.stored, true), biasGradient = need(y.stored, true);
      const h = x.h + 2 * padding, w = x.w + 2 * padding; // of the padded input
      const padded = padding ? need(h * w * x.stored) : x.data;
      // The input's gradient is a convolution, too: of the output's, spread, with turned weights.
      const turned = need(size, true), border = k - 1 - padding;
      const tall = x.h + k - 1, wide = x.w + k - 1, same = border === 0 && stride === 1;
      const padGradient = same ? y.gradient : need(tall * wide * y.stored);

      /** Call f with the place of each weight in PyTorch's order, packed, and packed and turned. */
      function each(f) {
        for (let o = 0, from = 0; o < y.c; o++)
          for (let c = 0; c < x.c; c++)
            for (let at = 0; at < k * k; at++, from++)
              f(from, (at * x.stored + c) * y.stored + o,
                ((k * k - 1 - at) * y.stored + o) * x.stored + c);
      }
      return { y,
        forward(n) {
          const from = weight.data, to = packed.values, back = turned.values;
          each((i, at, turn) => { to[at] = back[turn] = from[i]; });
          packedBias.values.set(bias.data);
          if (padding) spread(x, x.data, padded, h, w, padding, 1, n);
          kernel.convolve(padded.at, packed.at, packedBias.at, y.data.at,
            ...windows(k, stride, h, w, x.stored, y, n));
        },
        backward(n) {
          kernel.convolveBackward(padded.at, y.gradient.at, packedGradient.at,
            ...windows(k, stride, h, w, x.stored, y, n));
          const from = packedGradient.values, to = weight.gradient;
          each((i, at) => { to[i] = from[at]; });
          one.values[0] = 1; // a bias is the weight of an input that is 1 at every place
          kernel.convolveBackward(one.at, y.gradient.at, biasGradient.at,
            ...windows(1, 0, 0, 0, 1, y, n));
          bias.gradient.set(biasGradient.values.subarray(0, y.c));
          if (x === input) return; // nobody asks for the gradient of the images
          if (!same) spread(y, y.gradient, padGradient, tall, wide, border, stride, n);
          kernel.convolve(padGradient.at, turned.at, none.at, x.gradient.at,
            ...windows(k, 1, tall, wide, y.stored, x, n));
        } };
    }

    /** A layer by forward(x, y, n, options) and backward(y's gradient, x's, n) of numbers alone. */
    const layer = (x, y, forward, backward) => ({ y,
      forward: (n, options) => forward(x.data.values, y.data.values, n, options),
      backward: (n) => backward(y.gradient.values, x.gradient.values, n) });

    /** y = f(x) of each number, and the slope of f at x, where y has been. */
    function activation(x, f, slope) {
      const y = like(x);
      return layer(x, y, (from, to, n) => {
        for (let i = 0; i < n * x.size; i++) to[i] = f(from[i]);
      }, (from, to, n) => {
        const a = x.data.values, b = y.data.values;
        for (let i = 0; i < n * x.size; i++) to[i] = from[i] * slope(a[i], b[i]);
      });
    }

    function rectifier(x, slope) {
      const y = like(x), pass = (n, from, to) =>
        kernel.rectify(x.data.at, from.at, to.at, n * x.size, slope);
      return { y, forward: (n) => pass(n, x.data, y.data),
        backward: (n) => pass(n, y.gradient, x.gradient) };
    }

    /** The error function, to 2e-7 (Abramowitz and Stegun, 7.1.26). */
    function erf(x) {
      const t = 1 / (1 + 0.3275911 * Math.abs(x));
      const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027
        + t * 1.061405429))));
      return Math.sign(x) * (1 - p * Math.exp(-x * x));
    }
    const below = (x) => (1 + erf(x * Math.SQRT1_2)) / 2; // the share of a normal distribution

    // Windows of size × size stand side by side; what is left over at the end is ignored.
    function pooled(x, size) {
      whole({ size: [size, 1, Math.min(x.h, x.w)] });
      return tensor(x.c, Math.floor(x.h / size), Math.floor(x.w / size), x.stored);
    }

    function maxpool(x, { size }) {
      const y = pooled(x, size), area = [x.stored, x.h, x.w, size];
      return { y,
        forward: (n) => kernel.maxpool(x.data.at, y.data.at, n, ...area),
        backward: (n) => kernel.maxpoolBackward(x.data.at, y.data.at,
          y.gradient.at, x.gradient.at, n, ...area) };
    }

    /** y sums up shares of x: `each` calls f with the places of x and those in y they are for. */
    const gather = (x, y, share, each) => layer(x, y, (from, to, n) => {
      to.fill(0, 0, n * y.size);
      each(n, (i, o) => { to[o] += share * from[i]; });
    }, (from, to, n) => {
      to.fill(0, 0, n * x.size);
      each(n, (i, o) => { to[i] = share * from[o]; });
    });

    function avgpool(x, { size }) {
      const y = pooled(x, size), rows = y.h * size;
      return gather(x, y, 1 / size ** 2, (n, f) => {
        for (let row = 0; row < n * rows; row++)
          for (let j = 0; j < y.w * size; j++) {
            const at = ((Math.floor(row / rows) * x.h + row % rows) * x.w + j) * x.stored;
            const to = (Math.floor(row / size) * y.w + Math.floor(j / size)) * x.stored;
            for (let c = 0; c < x.stored; c++) f(at + c, to + c);
          }
      });
    }

    function flatten(x) {
      const y = flat(x.c * x.h * x.w);
      return gather(x, y, 1, (n, f) => ordered(x, n, f, y.size));
    }

    function batchnorm(x, _, name, eps = 1e-5, momentum = 0.1) {
      const y = like(x), C = x.stored, numbers = () => new Float64Array(C);
      const weight = parameter(`${name}.weight`, [x.c], () => 1);
      const bias = parameter(`${name}.bias`, [x.c], () => 0);
      const running = ["mean", "var"].map((each, one) => ({ name: `${name}.running_${each}`,
        shape: [x.c], data: new Float32Array(x.c).fill(one) }));
      buffers.push(...running);
      const [mean, variance, scale, factor, shift] = Array.from({ length: 5 }, numbers);
      const each = (n, f) => { // number and its channel
        for (let at = 0; at < n * x.size;) for (let c = 0; c < C; c++, at++) f(at, c);
      };
      return layer(x, y, (from, to, n, { training }) => {
        const count = n * x.size / C;
        if (training && count < 2) throw new Error(
          `layers[${name}], batchnorm: one value a channel, must be ≥ 2: train on more images`);
        if (training) {
          mean.fill(0);
          variance.fill(0);
          each(n, (at, c) => { mean[c] += from[at]; });
          for (let c = 0; c < C; c++) mean[c] /= count;
          each(n, (at, c) => { variance[c] += (from[at] - mean[c]) ** 2; });
          for (let c = 0; c < C; c++) variance[c] /= count;
        }
        for (let c = 0; c < x.c; c++) {
          running.forEach(({ data }, i) => {
            const found = i ? variance[c] * count / (count - 1) : mean[c];
            if (training) data[c] += momentum * (found - data[c]);
            else [mean, variance][i][c] = data[c];
          });
          scale[c] = 1 / Math.sqrt(variance[c] + eps);
          factor[c] = scale[c] * weight.data[c];
          shift[c] = bias.data[c] - mean[c] * factor[c];
        }
        each(n, (at, c) => { to[at] = factor[c] * from[at] + shift[c]; });
      }, (from, to, n) => {
        const count = n * x.size / C, a = x.data.values, sum = numbers(), product = numbers();
        each(n, (at, c) => {
          sum[c] += from[at];
          product[c] += from[at] * (a[at] - mean[c]) * scale[c];
        });
        bias.gradient.set(sum.subarray(0, x.c));
        weight.gradient.set(product.subarray(0, x.c));
        each(n, (at, c) => {
          const common = (sum[c] + (a[at] - mean[c]) * scale[c] * product[c]) / count;
          to[at] = factor[c] * (from[at] - common);
        });
      });
    }

    function dropout(x, { p = 0.5 }, index) {
      if (!(p >= 0 && p < 1)) fail(`p=${p}: must be ≥ 0 and < 1`);
      const mask = need(x.size); // 0, or 1 / (1 − p)
      return layer(x, like(x), (from, to, n, { training, masks, seed: chosen = 0 }) => {
        const keep = mask.values, u = generator(mix(chosen) + mix(steps) * 31 + index);
        if (training && masks?.[index]) pack(masks[index], x, mask, n);
        for (let i = 0; i < n * x.size; i++) {
          if (!training) keep[i] = 1;
          else keep[i] = (masks?.[index] ? keep[i] : u() >= p) / (1 - p);
          to[i] = keep[i] * from[i];
        }
      }, (from, to, n) => {
        for (let i = 0; i < n * x.size; i++) to[i] = mask.values[i] * from[i];
      });
    }

    // What each kind of layer is, and what it asks of its settings and its input.
    const KINDS = {
      conv(x, { channels: c, kernel: k, stride = 1, padding = 0 }, at) {
        whole({ channels: [c, 1], stride: [stride, 1], kernel: [k, 1] });
        whole({ padding: [padding, 0, k - 1] });
        whole({ kernel: [k, 1, Math.min(x.h, x.w) + 2 * padding] });
        const side = (length) => Math.floor((length + 2 * padding - k) / stride) + 1;
        const y = tensor(c, side(x.h), side(x.w));
        return convolution(x, y, [c, x.c, k, k], k, stride, padding, at);
      },
      dense(x, { units }, at) {
        whole({ units: [units, 1] });
        if (x.shape.length > 1)
          fail(`its input is ${x.shape.join(" × ")}: must be flat, after a flatten`);
        return convolution(x, flat(units), [units, x.c], 1, 1, 0, at);
      },
      relu: (x) => rectifier(x, 0),
      leakyrelu: (x) => rectifier(x, 0.01),
      tanh: (x) => activation(x, Math.tanh, (_, y) => 1 - y * y),
      sigmoid: (x) => activation(x, (v) => 1 / (1 + Math.exp(-v)), (_, y) => y * (1 - y)),
      gelu: (x) => activation(x, (v) => v * below(v),
        (v) => below(v) + v * Math.exp(-v * v / 2) / Math.sqrt(2 * Math.PI)),
      maxpool, avgpool, batchnorm, dropout, flatten,
    };

    let asked = "", steps = 0, batch = 0; // the layer that is checked; steps done; images at hand
    function fail(message) { throw new Error(`${asked}: ${message}`); }
    /** Check settings, each with its least and, where there is one, its largest value. */
    function whole(settings) {
      for (const [name, [value, least, most = Infinity]] of Object.entries(settings))
        if (!(Number.isInteger(value) && value >= least && value <= most))
          fail(`${name}=${value}: must be a whole number ≥ ${least}` +
            (most < Infinity ? ` and ≤ ${most}` : ""));
    }
    // Where a convolution reads the images, nobody asks for their gradient: no further channels.
    const bare = ["conv", "flatten"].includes(layers[0]?.kind) ? channels : undefined;
    const input = tensor(channels, height, width, bare), made = [];
    let output = input;
    layers.forEach((layer, at) => {
      asked = `layers[${at}], ${layer.kind}`;
      if (!Object.hasOwn(KINDS, layer.kind)) fail(`must be one of ${Object.keys(KINDS)}`);
      made.push(KINDS[layer.kind](output, layer, at));
      output = made.at(-1).y;
    });
    if (output.shape.length > 1) throw new Error("layers: the last one's output is " +
      `${output.shape.join(" × ")}: must be one score a class, of a dense layer`);
    const classes = output.c;

    // ---- Forward and backward -------------------------------------------------------------------

    function run(images, n, options) {
      const size = n * channels * height * width;
      if (images.length < size)
        throw new Error(`images: ${images.length} numbers, must be ${size} for n=${n}`);
      reserve(n);
      batch = n;
      pack(images, input, input.data, n);
      for (const layer of made) layer.forward(n, options);
    }

    /** Scores of n images (n · classes). Without `training` they go through 100 at a time. */
    function forward(images, n, { training = false, ...options } = {}) {
      const each = training ? n : 100, size = channels * height * width;
      const scores = new Float32Array(n * classes);
      for (let at = 0; at < n; at += each) {
        const count = Math.min(each, n - at);
        run(images.subarray(at * size, (at + count) * size), count, { training, ...options });
        scores.set(unpack(output, output.data, count), at * classes);
      }
      return scores;
    }

    /** Cross-entropy's mean over n images, and all gradients. */
    function backward(images, labels, n, { labelSmoothing = 0, ...options } = {}) {
      run(images, n, { ...options, training: true });
      const scores = output.data.values, gradient = output.gradient.values;
      let loss = 0, right = 0;
      for (let image = 0, at = 0; image < n; image++, at += output.stored) {
        if (!(labels[image] < classes))
          throw new Error(`labels[${image}]=${labels[image]}: must be < ${classes}`);
        let best = 0, sum = 0;
        for (let c = 1; c < classes; c++) if (scores[at + c] > scores[at + best]) best = c;
        for (let c = 0; c < classes; c++) sum += Math.exp(scores[at + c] - scores[at + best]);
        if (best === labels[image]) right++;
        for (let c = 0; c < classes; c++) {
          const log = scores[at + c] - scores[at + best] - Math.log(sum);
          const target = labelSmoothing / classes + (c === labels[image] ? 1 - labelSmoothing : 0);
          loss -= target * log / n;
          gradient[at + c] = (Math.exp(log) - target) / n;
        }
      }
      for (let at = made.length - 1; at >= 0; at--) made[at].backward(n);
      return { loss, right };
    }

    // ---- Optimizers, by torch.optim's definitions and defaults ----------------------------------

    const OPTIMIZERS = {
      sgd: { lr: 1e-3, weightDecay: 0 },
      momentum: { lr: 1e-3, momentum: 0.9, nesterov: false, weightDecay: 0 },
      nesterov: { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 0 },
      adam: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 },
      adamw: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 },
      rmsprop: { lr: 1e-2, alpha: 0.99, eps: 1e-8, weightDecay: 0 },
    };
    /** What an optimizer keeps from step to step: two numbers a weight at most. */
    const fresh = (name) => ({ name, steps: 0, moments: Object.fromEntries(parameters.map((p) =>
      [p.name, [new Float32Array(p.data.length), new Float32Array(p.data.length)]])) });
    let memory = fresh("sgd");

    function update({ data, gradient }, [first, second], name, t, settings) {
      const { lr, weightDecay, momentum, nesterov, betas, alpha, eps } = settings;
      const [beta1, beta2] = betas ?? [0, 0], rate = lr / (1 - beta1 ** t);
      const correction = Math.sqrt(1 - beta2 ** t), decoupled = name === "adamw";
      for (let i = 0; i < data.length; i++) {
        let g = gradient[i];
        if (decoupled) data[i] *= 1 - lr * weightDecay;
        else g += weightDecay * data[i];
        if (betas) {
          first[i] += (1 - beta1) * (g - first[i]);
          second[i] = beta2 * second[i] + (1 - beta2) * g * g;
          data[i] -= rate * first[i] / (Math.sqrt(second[i]) / correction + eps);
        } else if (alpha !== undefined) {
          second[i] = alpha * second[i] + (1 - alpha) * g * g;
          data[i] -= lr * g / (Math.sqrt(second[i]) + eps);
        } else if (momentum) {
          first[i] = momentum * first[i] + g;
          data[i] -= lr * (nesterov ? g + momentum * first[i] : first[i]);
        } else data[i] -= lr * g;
      }
    }

    /** One step; of the options, an optimizer takes those that it knows. */
    function step(images, labels, n, { optimizer = "sgd", ...options } = {}) {
      if (!Object.hasOwn(OPTIMIZERS, optimizer)) throw new Error(
        `optimizer="${optimizer}": must be one of ${Object.keys(OPTIMIZERS)}`);
      if (memory.name !== optimizer) memory = fresh(optimizer);
      const settings = Object.fromEntries(Object.entries(OPTIMIZERS[optimizer]).map(
        ([name, byDefault]) => [name, options[name] ?? byDefault]));
      const found = backward(images, labels, n, options);
      memory.steps++;
      steps++;
      for (const each of parameters)
        update(each, memory.moments[each.name], optimizer, memory.steps, settings);
      return found;
    }

    // ---- What others see ------------------------------------------------------------------------

    function named(name) {
      const all = [...parameters, ...buffers], found = all.find((each) => each.name === name);
      if (found) return found;
      throw new Error(`"${name}": must be one of ${all.map((each) => each.name)}`);
    }
    function set(name, values) {
      const { data } = named(name);
      if (values.length !== data.length)
        throw new Error(`${name}: ${values.length} numbers, must be ${data.length}`);
      data.set(values);
    }
    const copied = (list) => Object.fromEntries(list.map(({ name, data }) => [name, data.slice()]));
    return {
      shapes: made.map(({ y }) => y.shape), parameters, buffers,
      get: (name) => named(name).data.slice(), set,
      forward, backward, step,
      activation: (i) => unpack(made[i].y, made[i].y.data, batch),
      activationGradient: (i) => unpack(made[i].y, made[i].y.gradient, batch),
      state: () => ({ parameters: copied(parameters), buffers: copied(buffers), steps,
        optimizer: structuredClone(memory) }),
      load(state) {
        for (const [name, values] of Object.entries({ ...state.parameters, ...state.buffers }))
          set(name, values);
        memory = structuredClone(state.optimizer);
        steps = state.steps;
      },
    };
  }

  return { network, simd: module !== null };
}
