"""Fashion-MNIST: 28 × 28 grey images of garments, 10 classes.

The first 10,000 of its 60,000 training images and all of its 10,000 test images ship with d2lite;
``tools/make_fashion_mnist.py`` made the file. Copyright and licence stand in ``NOTICE``.

From Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", 2017.
"""

import gzip
import os
import zlib
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from d2lite.data.labelled_images import LabelledImages

PACKAGED = Path(__file__).with_name("fashion_mnist.npz")

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

#: The four original files: of each, unpacked, the checksum.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def fashion_mnist(
    full: bool = False, root: str | os.PathLike | None = None, download: bool = False
) -> tuple[LabelledImages, LabelledImages]:
    """Load Fashion-MNIST: the 10,000 + 10,000 images that ship with d2lite, or all 70,000.

    Args:
        full: Load all 60,000 training images; the 10,000 test images are the same.
        root: With ``full``, the folder that holds the four original files, as they are or as .gz,
            directly or in torchvision's ``FashionMNIST/raw``; ``~/.cache/d2lite`` unless given.
        download: With ``full``, fetch what is missing or damaged into ``root`` (about 30 MB).

    Returns:
        (train, test), their images (N, 1, 28, 28), float32 from 0 (background) to 1.

    Raises:
        ValueError: If ``root`` or ``download`` is given without ``full``.
        FileNotFoundError: If a file is missing or damaged; the message says what to put where.
        ConnectionError: If the download fails.

    >>> train, test = fashion_mnist()
    >>> train
    LabelledImages: 10,000 × (1, 28, 28), 10 classes
    """
    if full:
        arrays = read_originals(Path(root or "~/.cache/d2lite").expanduser(), download)
    elif root is not None or download:
        given = f"root={os.fspath(root)!r}" if root is not None else "download=True"
        raise ValueError(f"{given}: needs full=True; the small set ships with d2lite")
    else:
        with np.load(PACKAGED) as packaged:
            arrays = [torch.from_numpy(packaged[name]) for name in packaged.files]
    return _labelled(*arrays[:2]), _labelled(*arrays[2:])


def _labelled(images: Tensor, labels: Tensor) -> LabelledImages:
    """Make (N, 28, 28) bytes and (N,) bytes what networks take."""
    return LabelledImages(images[:, None] / 255, labels.long(), CLASSES)


def read_originals(root: Path, download: bool = False) -> list[Tensor]:
    """Read the four original files: training images, training labels, test images, test labels."""
    contents = {name: _find(root, name) for name in SHA256}
    if download and None in contents.values():
        _download(root)
        contents = {name: _find(root, name) for name in SHA256}
    missing = [name for name, found in contents.items() if found is None]
    if missing:
        raise FileNotFoundError(
            f"root={str(root)!r}: {', '.join(missing)} missing or damaged, there and in its "
            f"FashionMNIST/raw; put them there, or use download=True. {_ON_DEBIAN}"
        )
    arrays = []
    for name, found in contents.items():  # idx format: a header, then bytes
        header, shape = (16, (-1, 28, 28)) if "images" in name else (8, (-1,))
        arrays.append(torch.frombuffer(found, dtype=torch.uint8, offset=header).reshape(shape))
    return arrays


_ON_DEBIAN = (
    "On Debian and Ubuntu, `apt install dataset-fashion-mnist` and "
    'root="/usr/share/datasets/fashion-mnist" will do.'
)


def _find(root: Path, name: str) -> bytearray | None:
    """Read the first copy of a file that is undamaged, in any of the places where it may lie."""
    for folder in (root, root / "FashionMNIST" / "raw"):
        for path, opener in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
            try:
                with opener(path, "rb") as file:
                    contents = file.read()
            except (OSError, EOFError, zlib.error):  # not there, or not a whole .gz
                continue
            if sha256(contents).hexdigest() == SHA256[name]:
                return bytearray(contents)
    return None


def _download(root: Path) -> None:
    """Fetch the four files into root/FashionMNIST/raw, each whole or not at all."""
    from torchvision.datasets import FashionMNIST  # takes seconds to import

    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root) as unfinished:
        try:
            fetched = FashionMNIST(unfinished, download=True).raw_folder
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ConnectionError(
                f"download=True: failed ({reason}). Put Fashion-MNIST's four files into "
                f"root={str(root)!r} yourself. {_ON_DEBIAN}"
            ) from error
        for name in SHA256:
            os.replace(Path(fetched, name), raw / name)
