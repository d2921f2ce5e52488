"""How much longer than PyTorch alone does d2lite take to import?

    python benchmarks/imports.py

Each time is that of a new interpreter; they alternate, and the median counts.
"""

import subprocess
import sys
import time
from statistics import median

from results import save

ROUNDS = 15
IMPORTS = {
    "torch": "import torch",
    "torch, d2lite": "import torch, d2lite",
    "d2lite.conv": "import d2lite.conv",
    "d2lite.train": "import d2lite.train",
}


def seconds(statement: str) -> float:
    """Run a statement in a new interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    took = {name: [] for name in IMPORTS}
    for round_ in range(ROUNDS + 1):
        for name, statement in IMPORTS.items():
            once = seconds(statement)
            if round_:  # the first fills the system's file cache
                took[name].append(once)
    alone = median(took["torch"])
    rows = [
        [name, f"{median(times):.2f}", f"{100 * (median(times) / alone - 1):+.0f} %"]
        for name, times in took.items()
    ]
    save("imports", ["Import", "Seconds", "More than torch"], rows)
