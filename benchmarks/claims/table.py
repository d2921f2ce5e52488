"""What the long runs share: a table that grows row by row, so that an interrupted run is kept."""

import csv
from collections.abc import Iterable
from pathlib import Path

import torch


def write_table(script: str, head: list[str], rows: Iterable[list]) -> None:
    """Compute rows with one thread, and write each at once into the table beside the script."""
    torch.set_num_threads(1)
    with Path(script).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(head)
        for row in rows:
            write(row)
            file.flush()
