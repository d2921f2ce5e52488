"""Make d2lite's packaged Fashion-MNIST, fashion_mnist.npz, from the four original files.

    python tools/make_fashion_mnist.py /usr/share/datasets/fashion-mnist

The folder holds the original .gz files, or those of Debian's package dataset-fashion-mnist. The
first 10,000 training images and all 10,000 test images are kept, as bytes. The same zlib writes the
same file: NumPy gives the entries of an .npz a fixed date.

Why .npz (20,000 images, read on one core):

    .npz                                      8.8 MB, 0.07 s
    .gz of the bytes                          8.8 MB, 0.09 s
    PNG, the images in one strip              8.0 MB, 0.19 s with torchvision.io
    .xz of the bytes                          7.5 MB, 0.48 s
"""

import argparse
import struct
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
from torchvision.datasets import FashionMNIST

from d2lite.data.fashion_mnist import PACKAGED, read_originals

KEPT = 10_000
#: When the authors packed their files, in seconds since 1970.
PACKED = {"train": 1504176606, "t10k": 1504176627}


def as_published(name: str, contents: bytes) -> bytes:
    """Put the name and the time, which Debian leaves out, back into the header of a .gz file."""
    if contents[3]:  # the header has a name
        return contents
    header = struct.pack("<4BIBB", *contents[:3], 8, PACKED[name.split("-")[0]], 0, 3)
    return header + name.removesuffix(".gz").encode() + b"\0" + contents[10:]


def main() -> None:
    """Verify the originals and write the packaged file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the four original .gz files")
    parser.add_argument("--output", type=Path, default=PACKAGED, help="default: %(default)s")
    arguments = parser.parse_args()

    for name, published in FashionMNIST.resources:
        path = arguments.folder / name
        if not path.is_file():
            parser.error(f"folder={arguments.folder}: no {name}")
        if md5(as_published(name, path.read_bytes())).hexdigest() != published:
            parser.error(f"folder={arguments.folder}: {name} is not the original file")

    train_images, train_labels, test_images, test_labels = read_originals(arguments.folder)
    np.savez_compressed(
        arguments.output,
        train_images=train_images[:KEPT].numpy(),
        train_labels=train_labels[:KEPT].numpy(),
        test_images=test_images.numpy(),
        test_labels=test_labels.numpy(),
    )
    contents = arguments.output.read_bytes()
    print(f"{arguments.output}: {len(contents):,} bytes, SHA-256 {sha256(contents).hexdigest()}")


if __name__ == "__main__":
    main()
