#!/bin/bash
# torch 2.14.1: Adam and AdamW refuse betas=(0, 0.9), which their relatives take.
#
# Expected: β1 = 0 and β2 = 0.9, as papers on generative adversarial networks set them, is
#           betas=(0, 0.9): a number is a number, and the check asks for 0 ≤ β < 1.
# Seen:     Adam and AdamW raise "betas must be either both floats or both Tensors", though neither
#           is a tensor: since betas may be tensors, an int is neither. betas=(0.0, 0.9) is right.
#           NAdam, RAdam and Adamax take both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 numpy==2.4.6
cat >betas.py <<'END'
import torch

print("torch", torch.__version__.split("+")[0])
for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax"):
    for betas in ((0, 0.9), (0.0, 0.9)):
        try:
            getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], betas=betas)
            said = "taken"
        except ValueError as error:
            said = error
        print(f"{name}, betas {betas}: {said}")
END
cat >expected <<'END'
torch 2.14.1
Adam, betas (0, 0.9): betas must be either both floats or both Tensors
Adam, betas (0.0, 0.9): taken
AdamW, betas (0, 0.9): betas must be either both floats or both Tensors
AdamW, betas (0.0, 0.9): taken
NAdam, betas (0, 0.9): taken
NAdam, betas (0.0, 0.9): taken
RAdam, betas (0, 0.9): taken
RAdam, betas (0.0, 0.9): taken
Adamax, betas (0, 0.9): taken
Adamax, betas (0.0, 0.9): taken
END
env/bin/python betas.py | tee seen
diff expected seen || { echo "This has changed."; exit 1; }
