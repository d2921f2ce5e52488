#!/bin/bash
# torchvision 0.29.2: a square box turned by 45 degrees gets twice the area that it needs when the
# image is stretched; turned by 44 or 46 degrees it does not.
#
# Expected: stretched, a turned rectangle is a parallelogram. Resize gives the least rectangle
#           around it (so the change of August 2025 says, #9181), which moves little when the angle
#           does: a square of 30 pixels, stretched to twice its height, is about 38 × 76.
# Seen:     38 × 76 at 44 and 46 degrees. At 45 it is 76 × 76. There the parallelogram's sides are
#           equally long. The shorter one is to be replaced by its height, found by `<` for the width
#           and by `>` for the height: for equal sides neither is. Of squares of 1 to 100 pixels that
#           happens to almost half; rounding tells the sides of the others apart. A detector of signs
#           that stand on a corner is then taught half of its boxes twice too large, and the IoU of
#           a perfect answer with such a box is 0.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 torchvision==0.29.2 numpy==2.4.6
cat >stretched.py <<'END'
import torch, torchvision
from torchvision.ops import box_iou
from torchvision.transforms.v2.functional import resize
from torchvision.tv_tensors import BoundingBoxes


def stretched(side, angle):
    box = torch.tensor([[60.0, 50.0, side, side, angle]])
    return resize(BoundingBoxes(box, format="CXCYWHR", canvas_size=(100, 120)), [200, 120])


print("torchvision", torchvision.__version__.split("+")[0])
for angle in (44.0, 45.0, 46.0):
    width, height = stretched(30.0, angle)[0, 2:4].tolist()
    print(f"{angle:.0f} degrees: {width:.0f} x {height:.0f}")
pair = [stretched(30.0, angle).as_subclass(torch.Tensor) for angle in (44.999, 45.0)]
print(f"IoU of 44.999 and 45 degrees: {box_iou(*pair, fmt='cxcywhr').item():.1f}")
sides = [stretched(float(side), 45.0)[0, 2:4] for side in range(1, 101)]
doubled = sum((width - height).abs().item() < 0.1 for width, height in sides)
print("of 100 squares a fifth or more:", doubled >= 20, "all:", doubled == 100)
END
env/bin/python stretched.py | tee seen
cat >expected <<'END'
torchvision 0.29.2
44 degrees: 38 x 76
45 degrees: 76 x 76
46 degrees: 76 x 38
IoU of 44.999 and 45 degrees: 0.5
of 100 squares a fifth or more: True all: False
END
diff expected seen || { echo "This has changed."; exit 1; }
