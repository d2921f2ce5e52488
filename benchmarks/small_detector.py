"""Train the detector whose weights ship with d2lite: `d2lite/data/small_detector.npz`.

    python benchmarks/small_detector.py     # two processor minutes on one thread

The network is `d2lite.nets.yolo.YOLO`, as the chapter on YOLO has it. It sees each of STEPS × BATCH
scenes once, all of Fashion-MNIST's first 10,000 training images, by AdamW at a rate that goes up
for a tenth of the steps and then down to 0 along a cosine; convolutions in bfloat16. Afterwards it
is judged on 1,000 scenes of test images, of which it has seen none: as it is, as it ships (weights
in 16 bits), and as the figure runs it (in 8 bits, batch normalization folded into convolutions).
"""

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import trange

from d2lite.boxes import evaluate_detections
from d2lite.data import Scenes, scenes, small_detector
from d2lite.data.small_detector import PACKAGED
from d2lite.explore.adversarial import shipped
from d2lite.explore.detector import one_after_the_other
from d2lite.nets.yolo import YOLO, decode, detect, yolo_loss

STEPS, BATCH = 600, 32
LR, WEIGHT_DECAY = 0.004, 0.05


def train(steps: int = STEPS) -> YOLO:
    """Train from seed 0; no scene comes twice."""
    torch.manual_seed(0)
    model = YOLO().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY)
    schedule = OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.1)
    started = time.process_time()
    for step in trange(steps):
        batch = scenes(BATCH, seed=step, garments="train")
        with torch.autocast("cpu", torch.bfloat16):
            loss = yolo_loss(model, *batch.tensors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"{steps} steps of {BATCH} scenes: {time.process_time() - started:.0f} processor seconds")
    return model.eval()


def average_precision(answer: nn.Module, data: Scenes) -> tuple[float, float]:
    """Compute AP50 and AP75 in per cent, of what gives logits and the distances' logarithms."""
    found: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for images in data.images.split(100):
            logits, log_distances = answer(images).split([10, 4], 1)
            found += detect(*decode(logits, log_distances.exp()))
    targets = [data[i][1] for i in range(len(data))]
    ap = evaluate_detections(found, targets, classes=10, iou_thresholds=[0.5, 0.75])
    at_50, at_75 = (100 * ap.nanmean(1)).tolist()
    return at_50, at_75


def main() -> None:
    """Train, write the weights, and print what they are worth."""
    model = train()
    arrays = {
        name: x.contiguous().numpy().astype(np.float16 if x.ndim > 1 else x.numpy().dtype)
        for name, x in model.state_dict().items()
    }
    np.savez_compressed(PACKAGED, **arrays)
    print(f"{PACKAGED.name}: {PACKAGED.stat().st_size / 1000:.0f} KB")
    data = scenes(1000, seed=1, garments="test")
    whole = one_after_the_other(model).eval()
    model.load_state_dict(small_detector())
    half = one_after_the_other(model).eval()
    for name, network in {"32": whole, "16": half, "8": shipped(half)}.items():
        at_50, at_75 = average_precision(network, data)
        print(f"{name:>2} bits: AP50 {at_50:.1f}, AP75 {at_75:.1f}")


if __name__ == "__main__":
    main()
