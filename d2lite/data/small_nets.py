"""What the seven small networks predict for Fashion-MNIST's 10,000 test images.

Each was trained on all 60,000 training images for about a minute on two processor cores, from three
seeds, by ``benchmarks/nets.py``, which also made the file. So a chapter can compare and combine 21
trained networks without training one.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PACKAGED = Path(__file__).with_name("small_nets.npz")


class Trained(NamedTuple):
    """A network that was trained from several seeds.

    Attributes:
        epochs: How often each training saw the 60,000 images.
        seconds: What a training took.
        probabilities: Of each class for each test image, (seeds, 10000, 10), float32.
    """

    epochs: int
    seconds: float
    probabilities: Tensor


def small_nets() -> dict[str, Trained]:
    """Load the epochs, seconds and predictions of the small networks, by their names.

    >>> nets = small_nets()
    >>> list(nets)
    ['LeNet', 'AlexNet', 'VGG', 'NiN', 'GoogLeNet', 'ResNet', 'DenseNet']
    >>> nets["VGG"].probabilities.shape
    torch.Size([3, 10000, 10])
    """
    with np.load(PACKAGED) as packaged:
        columns = (packaged[key].tolist() for key in ("names", "epochs", "seconds"))
        shares = torch.from_numpy(packaged["probabilities"]).float()
        shares /= shares.sum(-1, keepdim=True)
        return {
            name: Trained(epochs, seconds, probabilities)
            for name, epochs, seconds, probabilities in zip(*columns, shares, strict=True)
        }


def pack(probabilities: Tensor) -> Tensor:
    """Store probabilities (..., classes) as bytes, so that the most probable class stays it.

    >>> pack(torch.tensor([0.501, 0.499, 0.0]))
    tensor([128, 127,   0], dtype=torch.uint8)
    """
    best = probabilities.argmax(-1, keepdim=True)
    shares = (255 * probabilities).round()
    others = torch.minimum(shares, shares.gather(-1, best) - 1).clamp(min=0)
    return others.scatter(-1, best, shares.gather(-1, best)).to(torch.uint8)
