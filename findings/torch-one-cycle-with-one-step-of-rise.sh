#!/bin/bash
# torch 2.14.1: OneCycleLR cannot rise for exactly one step, and with less it begins near its top.
#
# Expected: with total_steps=10 and pct_start=0.1 the rate rises during the first of ten steps, from
#           max_lr / 25, its default start; with a smaller share it falls from max_lr at once.
# Seen:     where pct_start · total_steps is 1, the constructor raises ZeroDivisionError, for both
#           ways of annealing: (10, 0.1), (20, 0.05), (5, 0.2), (100, 0.01). A phase ends at
#           pct_start · total_steps − 1, and the first is divided by its length, which is 0 then.
#           With (10, 0.05) it ends before it begins: nothing is raised, and the first rate is 0.99 of
#           max_lr.
#           A run cut to ten steps in order to try a script out is a likely case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check uv
env/bin/uv pip install -q --python env torch==2.14.1 numpy==2.4.6
cat >rise.py <<'END'
import torch

print("torch", torch.__version__.split("+")[0])
for total, share in ((30, 0.1), (10, 0.1), (20, 0.05), (5, 0.2), (100, 0.01), (10, 0.05)):
    for anneal in ("cos", "linear"):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        try:
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=1.0, total_steps=total, pct_start=share, anneal_strategy=anneal
            )
            said = f"begins at {schedule.get_last_lr()[0]:.2f}"
        except ZeroDivisionError as error:
            said = f"ZeroDivisionError: {error}"
        print(f"{total} steps, {share} of them rise, {anneal}: {said}")
END
cat >expected <<'END'
torch 2.14.1
30 steps, 0.1 of them rise, cos: begins at 0.04
30 steps, 0.1 of them rise, linear: begins at 0.04
10 steps, 0.1 of them rise, cos: ZeroDivisionError: float division by zero
10 steps, 0.1 of them rise, linear: ZeroDivisionError: float division by zero
20 steps, 0.05 of them rise, cos: ZeroDivisionError: float division by zero
20 steps, 0.05 of them rise, linear: ZeroDivisionError: float division by zero
5 steps, 0.2 of them rise, cos: ZeroDivisionError: float division by zero
5 steps, 0.2 of them rise, linear: ZeroDivisionError: float division by zero
100 steps, 0.01 of them rise, cos: ZeroDivisionError: float division by zero
100 steps, 0.01 of them rise, linear: ZeroDivisionError: float division by zero
10 steps, 0.05 of them rise, cos: begins at 0.99
10 steps, 0.05 of them rise, linear: begins at 0.95
END
env/bin/python rise.py | tee seen
diff expected seen || { echo "This has changed."; exit 1; }
