"""What `make execute` keeps of a picture, and how it ends where it cannot run."""

import base64
import sys
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

import execute


def png(image: Image.Image) -> str:
    file = BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(picture: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(picture)))


def gradient(mode: str) -> Image.Image:
    """A picture with every strength of every channel, noisy, so that it does not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels[..., 0] if len(mode) == 1 else pixels, mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_stays_so(mode: str) -> None:
    image = gradient(mode)
    kept = opened(execute.shrink(png(image))).convert("RGBA")
    assert np.array_equal(np.asarray(kept), np.asarray(image.convert("RGBA")))


def test_a_colour_that_counts_as_transparent_stays_so() -> None:
    file = BytesIO()
    gradient("RGB").save(file, "PNG", transparency=gradient("RGB").getpixel((0, 0)))
    kept = opened(execute.shrink(base64.b64encode(file.getvalue()).decode())).convert("RGBA")
    assert kept.getpixel((0, 0))[3] == 0


def test_an_opaque_picture_becomes_small_and_stays_as_it_then_is() -> None:
    image = gradient("RGB").convert("RGBA")
    once = execute.shrink(png(image))
    assert opened(once).mode == "P"
    assert len(once) < len(png(image)) / 2
    assert execute.shrink(once) == once


def test_an_unknown_kernel_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "book" / "chapter.ipynb"
    path.parent.mkdir()
    kernel = {"name": "nowhere", "display_name": "Nowhere", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell("1")], metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)
    before = path.read_bytes()
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    monkeypatch.setattr(execute, "chapters", lambda: [path])
    monkeypatch.setattr(sys, "argv", ["execute.py"])
    assert execute.main() == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Failed")]
    assert len(lines) == 1 and "book/chapter.ipynb: no kernel 'nowhere'" in lines[0]
    assert path.read_bytes() == before


def test_an_interruption_ends_in_one_line_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "chapter.ipynb"
    nbformat.write(new_notebook(), path)
    monkeypatch.setattr(execute, "chapters", lambda: [path])
    monkeypatch.setattr(sys, "argv", ["execute.py"])

    def interrupted(path: Path, progress: object) -> str:
        raise KeyboardInterrupt

    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(execute, "execute", interrupted)
    monkeypatch.setattr(execute.os, "_exit", end)
    with pytest.raises(SystemExit) as ended:
        execute.main()
    assert ended.value.code == 130
    assert "Interrupted; what was finished is kept." in capsys.readouterr().err
