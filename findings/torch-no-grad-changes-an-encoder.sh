#!/bin/bash
# torch 2.14.1: under no_grad, a TransformerEncoder whose layers normalize afterwards answers otherwise
# at the padding.
#
# Expected: no_grad saves memory and changes no number: in evaluation, the encoder's output is the
#           same with it and without.
# Seen:     with layers that normalize afterwards (the default), the outputs at padded places are
#           exactly 0 under no_grad, and ordinary numbers with gradients on; a maximum over a
#           sentence's places is then another one. With norm_first=True, the outputs are the same
#           both ways. Under no_grad the encoder packs the sentences into a nested tensor, computes
#           real tokens only, and pads with 0; for norm_first there is no such path. A network that
#           pools over all places is thus another one when it is validated, and no test with
#           gradients on sees it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 numpy==2.4.6
cat >encode.py <<'END'
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")
print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)
words = torch.randn(2, 6, 16)
padded = torch.arange(6) >= torch.tensor([[4], [6]])  # two places of the first sentence
for norm_first in (False, True):
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, num_layers=2).eval()
    out = encoder(words, src_key_padding_mask=padded).detach()
    with torch.no_grad():
        quiet = encoder(words, src_key_padding_mask=padded)
    same = torch.allclose(out[~padded], quiet[~padded], atol=1e-5)
    print(
        f"norm_first={norm_first!s:5} at words {'same' if same else 'other'}; at padding",
        "same" if torch.allclose(out[padded], quiet[padded], atol=1e-5)
        else f"{'0' if not quiet[padded].any() else 'other'} under no_grad",
        "; maximum over places moves by more than 0.1:",
        bool((out.amax(1) - quiet.amax(1)).abs().max() > 0.1),
    )
END
env/bin/python encode.py | tee seen
cat >expected <<'END'
torch 2.14.1
norm_first=False at words same; at padding 0 under no_grad ; maximum over places moves by more than 0.1: True
norm_first=True  at words same; at padding same ; maximum over places moves by more than 0.1: False
END
diff expected seen || { echo "This has changed."; exit 1; }
