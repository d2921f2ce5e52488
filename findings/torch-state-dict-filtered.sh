#!/bin/bash
# torch 2.14.1: load_state_dict(strict=True) takes a state that lacks a buffer, if a dict
# comprehension has made it.
#
# Expected: strict means strict: a state without "1.num_batches_tracked" is refused, whichever
#           way the key was dropped.
# Seen:     deleted from the state that state_dict() gave: refused, the key is named. Dropped by
#           {name: tensor for … if …}: taken, no missing key, and the new layer counts from 0. With
#           momentum=None, where the count weighs the running mean, the first batch of training then
#           wipes out all that was loaded. The version of each module is in an attribute of the
#           OrderedDict, _metadata; a plain dict has lost it, and batch norm takes it for a state of
#           2017, when there was no count.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 numpy==2.4.6
cat >load.py <<'END'
import torch
from torch import nn

print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)
trained = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=None))
for _ in range(50):
    trained(5 + torch.randn(8, 1, 8, 8))
lost = "1.num_batches_tracked"


def load(state):
    fresh = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=None))
    try:
        fresh.load_state_dict(state)
    except RuntimeError as error:
        return f"refused, {'names the key' if lost in str(error) else 'does not name it'}"
    fresh(torch.zeros(8, 1, 8, 8))  # one batch of training
    kept = (fresh[1].running_mean - fresh[0].bias).abs().max() > 1e-5
    return f"taken, after one batch the memory is {'kept' if kept else 'gone'}"


deleted = trained.state_dict()
del deleted[lost]
print("deleted:", load(deleted))
print("filtered:", load({name: t for name, t in trained.state_dict().items() if name != lost}))
END
env/bin/python load.py | tee seen
cat >expected <<'END'
torch 2.14.1
deleted: refused, names the key
filtered: taken, after one batch the memory is gone
END
diff expected seen || { echo "This has changed."; exit 1; }
