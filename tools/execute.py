"""Execute chapters and write their outputs back in normal form: `make execute [CHAPTER=…]`.

Executing twice gives the same file, except in cells tagged `nbval-ignore-output`. A notebook that
fails is left as it was.

    python tools/execute.py                                     # every notebook of the book
    python tools/execute.py book/convolution/output-size.ipynb  # one
"""

import argparse
import base64
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image
from tqdm import tqdm

from notebooks import FOLDED, ROOT, chapters, code_sha256, read

TOGETHER = 2  # notebooks at a time, each with one thread
QUIET = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
# Figures keep the size that the style gives them; the default crops each to its contents.
KERNEL_ARGUMENTS = [
    "--InlineBackend.print_figure_kwargs={'bbox_inches': None}",
    "--IPKernelApp.log_level=ERROR",
]


def normalize(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what changes from run to run (times, versions, identifiers); make pictures small."""
    own = notebook.metadata.get("d2lite", {}) | {"code_sha256": code_sha256(notebook)}
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
            "d2lite": own,
        }
    )
    folded = []
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "markdown" and cell.source.startswith("#### Solution"):
            cell.metadata |= {"jp-MarkdownHeadingCollapsed": True, "id": cell["id"]}
            folded.append(cell["id"])
        for volatile in ("execution", "collapsed", "scrolled", *FOLDED):
            cell.metadata.pop(volatile, None)
        if {"hide-input", "remove-input"} & set(cell.metadata.get("tags", [])):
            cell.metadata |= FOLDED
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = shrink(output.data["image/png"])
    if folded:  # by JupyterLab as each cell's metadata say, by Colab as the notebook's
        notebook.metadata["colab"] = {"collapsed_sections": folded}
    if widgets:
        notebook.metadata["widgets"] = widgets
    state = (widgets or {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    keep_shown(state, json.dumps(notebook.cells))
    text = nbformat.writes(notebook)
    for number, model_id in enumerate(state):  # in the order in which the models were made
        text = text.replace(model_id, f"{number:032x}")
    return nbformat.reads(text, as_version=4)


def keep_shown(state: dict[str, dict], outputs: str) -> None:
    """Drop the widgets that no output shows and no shown widget contains."""
    kept: set[str] = set()
    waiting = {model_id for model_id in state if model_id in outputs}
    while waiting:
        model_id = waiting.pop()
        kept.add(model_id)
        contents = json.dumps(state[model_id])
        waiting |= {other for other in state if f"IPY_MODEL_{other}" in contents} - kept
    for model_id in state.keys() - kept:
        del state[model_id]


def shrink(picture: str) -> str:
    """Give a PNG a palette of 128 colours, each nearly as it was: a quarter of the bytes.

    What is transparent stays as it is.
    """
    image = Image.open(BytesIO(base64.b64decode(picture)))
    if image.mode == "P" or image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        return picture  # it has a palette, or lets the page show through
    small = image.convert("RGB").quantize(
        128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    file = BytesIO()
    small.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def execute(path: Path, progress: tqdm) -> str:
    """Run one notebook. Return its failure as text, or an empty string."""
    notebook = read(path)
    notebook.metadata.pop("widgets", None)
    running = {"cell": 0}

    def note(cell: nbformat.NotebookNode, cell_index: int) -> None:
        running["cell"] = cell_index
        progress.set_postfix_str(f"{path.stem}, cell {cell_index}")

    client = NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=KERNEL_ARGUMENTS,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=note,
        on_cell_executed=lambda cell, cell_index, execute_reply: progress.update(),
    )
    name = path.relative_to(ROOT)
    start = time.perf_counter()
    try:
        client.execute()
    except NoSuchKernel as failure:
        return f"{name}: no kernel {failure.name!r} here; choose Python 3 in JupyterLab and save it"
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as failure:
        return f"{name}, cell {running['cell']}; the file is left as it was.\n{failure}"
    finished = path.with_suffix(".tmp")
    nbformat.write(normalize(notebook), finished)
    os.replace(finished, path)
    progress.write(f"{time.perf_counter() - start:6.1f} s  {name}")
    return ""


def main() -> int:
    """Execute the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    paths = [path.resolve() for path in parser.parse_args().notebooks] or chapters()
    for path in paths:
        if path not in chapters():
            parser.error(f"{path}: no notebook of the book; choose from `ls book/*/*.ipynb`")
    os.environ.update(QUIET)  # the kernels inherit it
    try:
        notebooks = [read(path) for path in paths]
    except ValueError as error:
        parser.error(str(error))
    total = sum(cell.cell_type == "code" for notebook in notebooks for cell in notebook.cells)
    with (
        tqdm(total=total, unit="cell", disable=False) as progress,
        ThreadPoolExecutor(TOGETHER) as pool,
    ):
        try:
            failures = [text for text in pool.map(lambda p: execute(p, progress), paths) if text]
        except KeyboardInterrupt:
            print("\nInterrupted; what was finished is kept.", file=sys.stderr, flush=True)
            os._exit(130)  # at once: a kernel ends with the process that started it
    for text in failures:
        print(f"\nFailed: {text}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
