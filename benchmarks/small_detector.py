"""Train the detector whose weights ship with d2lite: `d2lite/data/small_detector.npz`.

    python benchmarks/small_detector.py     # two processor minutes on one thread

The network is `d2lite.nets.yolo.YOLO`, as the chapter on YOLO has it. It sees SCENES scenes, made
of Fashion-MNIST's first 10,000 training images, EPOCHS times, in batches of 32, by AdamW at a rate
that goes up for a tenth of the steps and then down to 0 along a cosine; convolutions in bfloat16.
In the loss a box is as heavy as a score; the chapter has it five times as heavy. Afterwards it is
judged on 1,000 scenes of test images, of which it has seen none: as it is, as it ships (weights in
16 bits), and as the figure runs it (in 8 bits, batch normalization folded into convolutions).
"""

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from d2lite.boxes import evaluate_detections
from d2lite.data import Scenes, scenes, small_detector
from d2lite.data.small_detector import PACKAGED
from d2lite.explore.adversarial import shipped
from d2lite.explore.detector import one_after_the_other
from d2lite.nets import yolo
from d2lite.nets.yolo import YOLO, decode, detect, yolo_loss
from d2lite.train import _keep_buffers

SCENES, EPOCHS, BATCH = 16_000, 3, 32
LR, BOX_WEIGHT = 0.004, 1.0


def train() -> YOLO:
    """Train from seed 0."""
    _keep_buffers()
    yolo.BOX_WEIGHT = BOX_WEIGHT
    torch.manual_seed(0)
    started = time.process_time()
    parts = [scenes(1000, seed, garments="train").tensors for seed in range(SCENES // 1000)]
    data = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    model = YOLO().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    order = torch.cat([torch.randperm(SCENES) for _ in range(EPOCHS)]).split(BATCH)
    schedule = OneCycleLR(optimizer, LR, total_steps=len(order), pct_start=0.1)
    for chosen in tqdm(order):
        with torch.autocast("cpu", torch.bfloat16):
            loss = yolo_loss(model, *(part[chosen] for part in data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"{len(order)} steps: {time.process_time() - started:.0f} processor seconds")
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
