#!/bin/bash
# torch 2.14.1: FlopCounterMode counts the gradient of a grouped convolution's kernels as if it had
# no groups. Training a MobileNetV2 then costs 20 forward passes, on paper.
#
# Expected: the two gradients of a convolution (of its input and of its kernels) cost as much as the
#           convolution itself, each: backward is 2 × forward, with groups or without.
# Seen:     forward is right, and backward is 1 + groups times forward: 2 × for one group, 65 × for a
#           depthwise convolution of 64 channels, transposed or not. So the counter has MobileNetV2's
#           backward pass at 19 × its forward pass, EfficientNet-B0's at 41 ×, ConvNeXt-T's at 8 ×
#           and ResNet-18's, without groups, at 1.9 ×. Whoever compares the cost of training networks
#           by this counter finds the efficient ones to be the most expensive. Half of the count, the
#           kernels' gradient, is too large by the number of groups.
#           (2.14.1 is affected; a correction was proposed to the project in May 2026, as #183405.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 torchvision==0.29.2 numpy==2.4.6
cat >count.py <<'END'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model


def backward_over_forward(model, x):
    with FlopCounterMode(display=False) as forward:
        model(x)
    with FlopCounterMode(display=False) as both:
        model(x).sum().backward()
    return both.get_total_flops() / forward.get_total_flops() - 1


print("torch", torch.__version__.split("+")[0])
x = torch.zeros(2, 64, 16, 16, requires_grad=True)
for kind in nn.Conv2d, nn.ConvTranspose2d:
    for groups in 1, 2, 8, 64:
        layer = kind(64, 64, 3, padding=1, groups=groups)
        print(f"{kind.__name__}, groups={groups}: {backward_over_forward(layer, x):g}")
image = torch.zeros(1, 3, 224, 224)
for name in "resnet18", "convnext_tiny", "mobilenet_v2", "efficientnet_b0":
    print(f"{name}: {backward_over_forward(get_model(name, weights=None).eval(), image):.1f}")
END
env/bin/python count.py | tee seen
cat >expected <<'END'
torch 2.14.1
Conv2d, groups=1: 2
Conv2d, groups=2: 3
Conv2d, groups=8: 9
Conv2d, groups=64: 65
ConvTranspose2d, groups=1: 2
ConvTranspose2d, groups=2: 3
ConvTranspose2d, groups=8: 9
ConvTranspose2d, groups=64: 65
resnet18: 1.9
convnext_tiny: 7.7
mobilenet_v2: 19.4
efficientnet_b0: 40.7
END
diff expected seen || { echo "This has changed."; exit 1; }
