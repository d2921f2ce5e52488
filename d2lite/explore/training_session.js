// A training session: runs of a small network on garments, and what is seen of them. It needs no page:
// in a Worker it runs from its own text, after the engine's.

/** Uniform random numbers of a seed (mulberry32). */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 | 0;
    let z = Math.imul(state ^ state >>> 15, 1 | state);
    z = z + Math.imul(z ^ z >>> 7, 61 | z) ^ z;
    return ((z ^ z >>> 14) >>> 0) / 2 ** 32;
  };
}

/** The learning rate of a step, counted from 0. */
export function rateAt({ lr, schedule }, step, steps) {
  const share = step / steps;
  if (schedule === "cosine") return lr * (1 + Math.cos(Math.PI * Math.min(share, 1))) / 2;
  if (schedule === "step") return lr * (share < 0.5 ? 1 : share < 0.75 ? 0.1 : 0.01);
  if (schedule === "warm-up") return lr * Math.min(1, (step + 1) / (0.1 * steps));
  return lr;
}

/** Garments of 16 shades as numbers from 0 to 1, mirrored and moved at random. */
function batchOf(images, places, { flip, shift }, random) {
  const batch = new Float32Array(784 * places.length);
  const move = () => shift ? Math.floor(random() * (2 * shift + 1)) - shift : 0;
  places.forEach((place, n) => {
    const mirror = flip && random() < 0.5, down = move(), right = move();
    for (let at = 0; at < 784; at++) {
      const row = Math.floor(at / 28) - down, beside = at % 28 - right;
      if (row < 0 || row > 27 || beside < 0 || beside > 27) continue;
      batch[784 * n + at] = images[784 * place + 28 * row + (mirror ? 27 - beside : beside)] / 15;
    }
  });
  return batch;
}

/** Each convolution and dense layer, with the last layer that works on its numbers one by one. */
function blocks(layers) {
  const onward = ["batchnorm", "relu", "tanh", "sigmoid", "leakyrelu", "gelu"];
  return layers.flatMap(({ kind }, first) => {
    if (kind !== "conv" && kind !== "dense") return [];
    let last = first;
    while (onward.includes(layers[last + 1]?.kind)) last += 1;
    return [{ first, last, kind }];
  });
}

/** How large numbers are: their deviation, shares of half a power of ten each, from 10⁻⁹ to 10³, and
 *  the share of zeros; of `units` × `area` an image, how many units are 0 for all images. */
function sizes(values, units, area) {
  const shares = new Array(24).fill(0), alive = new Uint8Array(units);
  let sum = 0, squares = 0, zeros = 0;
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    sum += x;
    squares += x * x;
    if (x === 0) { zeros += 1; continue; }
    alive[Math.floor(i / area) % units] = 1;
    shares[Math.max(0, Math.min(23, Math.floor(2 * (Math.log10(Math.abs(x)) + 9))))] += 1;
  }
  const n = values.length, dead = 1 - alive.reduce((a, b) => a + b, 0) / units;
  return { shares: shares.map((count) => count / n), zeros: zeros / n, dead,
    std: Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2)) };
}

/**
 * Runs that are trained together, the one behind first, in slices: `hear` a message, then `work` for
 * some milliseconds as long as it says that there is more. `post` hears what there is to see.
 */
export function trainingSession(engine, post) {
  let data, runs = [], steps = 0, until = 0, seen = {}, loop = null;
  let every = 150, next = 0, again = false; // when to report
  const PROBE = 64, CHUNK = 50;

  function begin(settings) {
    const { layers, seed, initialization, garments, label_noise } = settings;
    const run = { settings, key: JSON.stringify(settings), step: 0, at: Infinity, order: [],
      seconds: 0, lost: null, error: null, wrong: [], labels: data.labels.slice(),
      shuffle: uniform(seed + 1), augment: uniform(seed + 2), noted: { loss: [], step: [], train_loss: [],
        train_accuracy: [], held_out_loss: [], held_out_accuracy: [] } };
    const random = uniform(seed + 3);
    for (let i = 0; i < garments; i++) if (random() < label_noise)
      run.labels[i] = (run.labels[i] + 1 + Math.floor(9 * random())) % 10;
    try {
      run.net = engine.network(layers, [1, 28, 28], { seed, initialization });
    } catch (error) {
      run.error = error.message;
    }
    return run;
  }

  /** The next garments of a run: each has its turn before one comes again. */
  function drawn(run) {
    const { batch_size, garments } = run.settings, places = [];
    while (places.length < Math.min(batch_size, garments)) {
      if (run.at >= garments) {
        run.order = Array.from({ length: garments }, (_, i) => i);
        for (let i = garments - 1; i > 0; i--) {
          const j = Math.floor(run.shuffle() * (i + 1));
          [run.order[i], run.order[j]] = [run.order[j], run.order[i]];
        }
        run.at = 0;
      }
      places.push(run.order[run.at++]);
    }
    return places;
  }

  function step(run) {
    const { optimizer, momentum, weight_decay, seed } = run.settings, places = drawn(run);
    const { loss } = run.net.step(batchOf(data.images, places, run.settings, run.augment),
      Uint8Array.from(places, (place) => run.labels[place]), places.length, { optimizer, momentum,
        lr: rateAt(run.settings, run.step, steps), weightDecay: weight_decay, seed });
    run.step += 1;
    if (loss < 1e4) run.noted.loss.push(Number(loss.toFixed(4)));
    else run.lost = run.step;
  }

  /** Note loss and accuracy on some that it learns from and on all that are held out. */
  function* measure(run) {
    const { noted, net, settings } = run, wrong = [];
    const parts = [[0, Math.min(settings.garments, 300)], [data.count, data.heldOut]];
    for (const [part, [from, count]] of parts.entries()) {
      let loss = 0, right = 0;
      for (let start = from; start < from + count; start += CHUNK) {
        const n = Math.min(CHUNK, from + count - start);
        const places = Array.from({ length: n }, (_, i) => start + i);
        const scores = net.forward(batchOf(data.images, places, {}), n, { training: false });
        for (const [i, place] of places.entries()) {
          const own = scores.subarray(10 * i, 10 * i + 10), top = Math.max(...own);
          const total = own.reduce((sum, score) => sum + Math.exp(score - top), 0);
          const says = own.indexOf(top), label = run.labels[place];
          loss += Math.log(total) + top - own[label];
          if (says === label) right += 1;
          else if (part) wrong.push({ place: place - data.count, label, says, share: 1 / total });
        }
        yield;
      }
      noted[part ? "held_out_loss" : "train_loss"].push(Number((loss / count).toFixed(4)));
      noted[part ? "held_out_accuracy" : "train_accuracy"].push(Number((right / count).toFixed(4)));
    }
    noted.step.push(run.step);
    run.wrong = wrong.sort((a, b) => b.share - a.share);
  }

  const alive = () => runs.filter(({ error, lost }) => error === null && lost === null);
  const behind = () => alive().filter((run) => run.step < until).sort((a, b) => a.step - b.step)[0];

  function* advance() {
    const apart = Math.max(1, Math.round(steps / 12));
    for (;;) {
      for (const run of alive()) if (!run.noted.step.length) yield* measure(run);
      const run = behind();
      if (!run) return;
      const started = performance.now();
      step(run);
      run.seconds += (performance.now() - started) / 1000;
      yield;
      if (run.lost === null && (run.step % apart === 0 || run.step === steps)) yield* measure(run);
    }
  }

  // What is seen: of the chosen run its kernels and maps or its mistakes, of all runs their layers.

  function maps({ net, settings }) {
    const image = batchOf(data.images, [data.count + seen.garment], {});
    const scores = net.forward(image, 1, { training: false });
    const weight = net.parameters.find(({ shape }) => shape.length > 1);
    const side = weight.shape[2] ?? Math.sqrt(weight.shape[1]);
    return { image, scores, label: data.labels[data.count + seen.garment],
      kernels: Number.isInteger(side)
        ? { count: weight.shape[0], side, values: net.get(weight.name) } : null,
      maps: blocks(settings.layers).filter(({ kind }) => kind === "conv").map(({ first, last }) =>
        ({ first, shape: net.shapes[last], values: net.activation(last).slice() })) };
  }

  function inside({ net, settings, labels }) {
    const before = net.state(), n = Math.min(PROBE, settings.garments);
    const places = Array.from({ length: n }, (_, i) => i);
    net.backward(batchOf(data.images, places, {}), labels.slice(0, n), n, { seed: 0 });
    const found = blocks(settings.layers).map(({ first, last }) => {
      const [units, ...rest] = net.shapes[last], area = rest.reduce((a, b) => a * b, 1);
      return { first, relu: settings.layers[last].kind === "relu",
        activation: sizes(net.activation(last), units, area),
        gradient: sizes(net.activationGradient(last), units, area) };
    });
    net.load(before); // batch norm has counted these garments
    return found;
  }

  function look() {
    const { view, selected } = seen, run = runs[selected];
    if (view === "layers") return { layers: runs.map((each) => each.error ? null : inside(each)) };
    if (!run || run.error !== null) return {};
    return view === "maps" ? { maps: maps(run) } : { mistakes: run.noted.step.length
      ? run.wrong.slice(0, 10).map((each) => ({ ...each, pixels:
        batchOf(data.images, [data.count + each.place], {}) })) : null };
  }

  /** All numbers of a network, in the order of PyTorch's state. */
  const named = ({ net }) => [...net.parameters, ...net.buffers].map(({ name }) => name)
    .sort((a, b) => parseInt(a) - parseInt(b));
  function weights(run) {
    if (!run || run.error !== null || !run.noted.step.length) return null;
    const parts = named(run).map((name) => run.net.get(name));
    const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
    parts.reduce((at, part) => { all.set(part, at); return at + part.length; }, 0);
    return all;
  }

  function report(going) {
    const started = performance.now();
    again = false;
    post({ going, look: look(), weights: going ? null : weights(runs[seen.selected]),
      runs: runs.map(({ noted, step, seconds, lost, error }) =>
        ({ noted, step, seconds, lost, error })) });
    const now = performance.now();
    next = now + Math.max(every, 4 * (now - started)); // looking takes a fifth of the time at most
  }

  return {
    hear({ garments, settings, train, load, pace }) {
      if (garments) data = garments;
      if (pace) every = pace;
      if (settings) {
        ({ steps, seen } = settings);
        runs = settings.runs.map((each, i) => runs[i]?.key === JSON.stringify(each) ? runs[i]
          : runs.find(({ key }) => key === JSON.stringify(each)) ?? begin(each));
        runs = runs.map((run, i) => runs.indexOf(run) < i ? begin(run.settings) : run); // two alike
        loop = null;
        until = Math.min(until, steps);
      }
      if (load) {
        const run = runs[seen.selected] = begin(runs[seen.selected].settings);
        let at = 0;
        for (const name of named(run)) {
          const { length } = run.net.get(name);
          run.net.set(name, load.slice(at, at += length));
        }
        loop = null;
      }
      if (train !== undefined) { // how far: by one step, to the end, or no further
        until = train === "one" ? Math.min(...alive().map((run) => run.step), steps - 1) + 1
          : train === "all" ? steps : 0;
        loop = null;
      }
      again = true;
    },
    work(milliseconds) {
      const end = performance.now() + milliseconds;
      if (again && until) report(true);
      loop ??= advance();
      do {
        if (loop.next().done) {
          loop = null;
          until = 0;
          report(false);
          return false;
        }
      } while (performance.now() < end);
      if (performance.now() > next) report(true);
      return true;
    },
  };
}
