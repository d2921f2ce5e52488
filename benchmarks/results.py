"""What all benchmarks share: where results go, and the machine that they come from."""

import csv
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
THREADS = 2

#: Debian's package dataset-fashion-mnist puts all 70,000 images here.
ROOT = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")


def save(name: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write ``name.csv`` beside this file, and ``machine.csv``; print the rows.

    All tables were measured on one machine: on another one, repeat all of them.
    """
    table = [list(head), *map(list, rows)]
    for file, contents in {name: table, "machine": [["Part", "Machine"], *machine()]}.items():
        with open(FOLDER / f"{file}.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(contents)
    for row in table:
        print(*row, sep="\t")


def machine() -> list[list[object]]:
    """Describe the processor, its memory, and the versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kinds = [kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
             if kind in facts.get("flags", "").split()]  # fmt: skip
    return [
        ["Processor", f"{facts.get('model name', platform.processor())}, {os.cpu_count()} cores"],
        ["Instructions", ", ".join(kinds)],
        ["Memory", f"{gib:.0f} GiB"],
        ["System", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"],
        ["PyTorch", f"{torch.__version__}, {THREADS} threads"],
    ]
