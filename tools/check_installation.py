"""Stop early, in one line, where torch and torchvision do not belong together."""

import sys

try:
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)  # a compiled operator
    assert kept.tolist() == [0]
except (ImportError, RuntimeError) as failure:
    sys.exit(
        "torchvision's compiled operators do not load: torch and torchvision must be the pair in"
        f" requirements.txt; remove .venv and repeat. ({str(failure).splitlines()[0]})"
    )
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}: compiled operators load")
