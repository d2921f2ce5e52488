"""A pytest plugin: nbval compares the pictures of a cell as well, which 0.11.0 leaves out.

    python -m pytest -p tests.compared_pictures --nbval book

Two runs of one cell need not give the same bytes: letters are set a little differently, and a curve
of a trained network moves a little, where a library or the processor is another. So pictures are
compared as from afar, by the mean colours of blocks of 8 × 8 pixels: those that differ clearly are
to be few. In one figure drawn by matplotlib 3.8 and 3.11 there is none; a curve may move by a
hundredth of its axis; two pictures of one chapter differ in one of twenty blocks or more, and
`test_notebooks.py` holds chapters to twice the bound.
"""

from base64 import b64decode
from functools import partial
from io import BytesIO

import nbval.kernel
import numpy as np
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell
from PIL import Image

BLOCK = 8  # pixels
CLEARLY = 0.25  # of a channel's range
BOUND = 0.01  # of all blocks
# As tools/execute.py has it: figures of the size that the style gives them.
WHOLE = "--InlineBackend.print_figure_kwargs={'bbox_inches': None}"
compare_the_rest = IPyNbCell.compare_outputs


def pictures(outputs: list[NotebookNode]) -> list[Image.Image]:
    """The pictures among a cell's outputs."""
    data = [output.get("data", {}) for output in outputs]
    files = [BytesIO(b64decode(each["image/png"])) for each in data if "image/png" in each]
    return [Image.open(file).convert("RGB") for file in files]


def difference(one: Image.Image, other: Image.Image) -> float:
    """The share of blocks that differ clearly; 1 where the sizes do."""
    if one.size != other.size:
        return 1.0
    blocks = [np.asarray(picture.reduce(BLOCK), dtype=float) for picture in (one, other)]
    return float((np.abs(blocks[0] - blocks[1]).max(axis=-1) > 255 * CLEARLY).mean())


def compare_outputs(
    cell: IPyNbCell, test: list[NotebookNode], reference: list[NotebookNode], *skipped: tuple
) -> bool:
    """Compare as nbval does, then the pictures."""
    if not compare_the_rest(cell, test, reference, *skipped):
        return False
    drawn, kept = pictures(test), pictures(reference)
    if len(drawn) != len(kept):
        cell.comparison_traceback.append(f"{len(drawn)} pictures; {len(kept)} are kept")
        return False
    for number, pair in enumerate(zip(drawn, kept, strict=True), 1):
        if (apart := difference(*pair)) > BOUND:
            cell.comparison_traceback.append(
                f"picture {number} is not the one that is kept: {apart:.1%} of it differ, more than"
                f" {BOUND:.0%}; run `make execute`, and look at it"
            )
            return False
    return True


def pytest_configure() -> None:
    IPyNbCell.compare_outputs = compare_outputs
    start = nbval.kernel.start_new_kernel
    nbval.kernel.start_new_kernel = partial(start, extra_arguments=[WHOLE])
