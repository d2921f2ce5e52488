"""The weights of a small detector, trained on scenes of Fashion-MNIST's training images.

``benchmarks/small_detector.py`` trained it, in two minutes, and made the file.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PACKAGED = Path(__file__).with_name("small_detector.npz")


def small_detector() -> dict[str, Tensor]:
    """Load the weights of a trained ``d2lite.nets.yolo.YOLO``, which has never seen a test image.

    >>> from d2lite.nets.yolo import YOLO
    >>> model = YOLO(classes=10)
    >>> model.load_state_dict(small_detector())
    <All keys matched successfully>
    """
    with np.load(PACKAGED) as packaged:
        arrays = {name: torch.from_numpy(packaged[name]) for name in packaged.files}
    return {name: x.float() if x.is_floating_point() else x for name, x in arrays.items()}
