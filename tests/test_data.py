"""Fashion-MNIST and a text as they ship; Fashion-MNIST as it is found, checked and fetched."""

import csv
import gzip
import hashlib
import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from d2lite.data import LabelledImages, fashion_mnist, help_topics, small_nets
from d2lite.data.small_nets import pack

module = importlib.import_module("d2lite.data.fashion_mnist")
ROOT = Path(__file__).parent.parent
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
on_debian = pytest.mark.skipif(not DEBIAN.exists(), reason="needs Debian's dataset-fashion-mnist")


def test_the_packaged_file_is_the_one_that_was_checked():
    contents = module.PACKAGED.read_bytes()
    assert len(contents) <= 9_000_000
    assert (
        hashlib.sha256(contents).hexdigest()
        == "69be25f0190a9d444350f48956cc4c8d1d6fd45a638a287e1101bb221dd8847a"
    )


def test_the_licence_ships_with_the_images():
    notice = module.PACKAGED.with_name("NOTICE").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Zalando SE" in notice
    assert "Permission is hereby granted" in notice


def test_the_packaged_images():
    for data in fashion_mnist():
        assert data.images.shape == (10_000, 1, 28, 28)
        assert data.images.dtype == torch.float32
        assert (data.images.min(), data.images.max()) == (0, 1)
        assert torch.equal((data.images * 255).round() / 255, data.images)
        assert data.labels.shape == (10_000,)
        assert data.labels.dtype == torch.int64
        assert data.classes == module.CLASSES
    train, test = fashion_mnist()
    assert torch.equal(test.labels.bincount(), torch.full((10,), 1000))
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]  # as in the original training file


def test_the_classes_are_those_of_torchvision():
    from torchvision.datasets import FashionMNIST

    assert list(module.CLASSES) == FashionMNIST.classes
    assert [f"{name}.gz" for name in module.SHA256] == [name for name, _ in FashionMNIST.resources]


@on_debian
def test_the_packaged_images_are_the_first_of_the_originals():
    for packaged, original in zip(fashion_mnist(), fashion_mnist(True, DEBIAN), strict=True):
        assert torch.equal(packaged.images, original.images[:10_000])
        assert torch.equal(packaged.labels, original.labels[:10_000])
    train, test = fashion_mnist(full=True, root=str(DEBIAN))
    assert train.labels.bincount().tolist() == [6000] * 10
    assert len(test) == 10_000


@on_debian
def test_the_packaged_file_can_be_made_again(tmp_path):
    again = tmp_path / "again.npz"
    make = [sys.executable, ROOT / "tools" / "make_fashion_mnist.py"]
    subprocess.run([*make, DEBIAN, "--output", again], check=True, capture_output=True)
    with np.load(again) as new, np.load(module.PACKAGED) as packaged:
        assert new.files == packaged.files
        assert all(np.array_equal(new[name], packaged[name]) for name in new.files)
    with zipfile.ZipFile(again) as archive:  # the time of day leaves no trace
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    folder = tmp_path / "damaged"
    shutil.copytree(DEBIAN, folder)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    refused = subprocess.run([*make, folder], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "t10k-labels-idx1-ubyte.gz is not the original file" in refused.stderr
    path.unlink()
    refused = subprocess.run([*make, folder], capture_output=True, text=True)
    assert f"folder={folder}: no t10k-labels-idx1-ubyte.gz" in refused.stderr


# Four small files in the format of the originals stand for these below.


@pytest.fixture
def originals(monkeypatch) -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    files = {}
    for name in module.SHA256:
        count = 6 if name.startswith("train") else 2
        if "images" in name:
            header = np.array([2051, count, 28, 28], dtype=">u4").tobytes()
            contents = generator.integers(0, 256, count * 784, dtype=np.uint8).tobytes()
        else:
            header = np.array([2049, count], dtype=">u4").tobytes()
            contents = generator.integers(0, 10, count, dtype=np.uint8).tobytes()
        files[name] = header + contents
    sums = {name: hashlib.sha256(contents).hexdigest() for name, contents in files.items()}
    monkeypatch.setattr(module, "SHA256", sums)
    return files


@pytest.fixture
def mirror(originals, monkeypatch, tmp_path_factory) -> Iterator[Path]:
    """A folder that torchvision downloads from."""
    from torchvision.datasets import FashionMNIST

    folder = tmp_path_factory.mktemp("mirror")
    resources = []
    for name, contents in originals.items():
        packed = gzip.compress(contents)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield folder
    server.shutdown()
    server.server_close()


def lay_out(originals: dict[str, bytes], folder: Path, packed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in originals.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
        else:
            (folder / name).write_bytes(contents)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", [".", "FashionMNIST/raw"])
def test_originals_are_found(originals, tmp_path, place, packed):
    lay_out(originals, tmp_path / place, packed)
    train, test = fashion_mnist(full=True, root=tmp_path)
    pixels = np.frombuffer(originals["train-images-idx3-ubyte"], np.uint8)[16:]
    assert torch.equal(train.images, torch.tensor(pixels).reshape(6, 1, 28, 28) / 255)
    assert train.labels.tolist() == list(originals["train-labels-idx1-ubyte"][8:])
    assert test.labels.tolist() == list(originals["t10k-labels-idx1-ubyte"][8:])


def test_root_is_in_the_cache_unless_given(originals, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    lay_out(originals, tmp_path / ".cache" / "d2lite", packed=True)
    assert len(fashion_mnist(full=True)[0]) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),  # cut off
        lambda path: path.write_bytes(gzip.compress(b"something else")),
        lambda path: path.write_bytes(path.read_bytes()[:50] + b"\xff" + path.read_bytes()[51:]),
        lambda path: path.write_bytes(b"<html>404</html>"),
    ],
)
def test_what_is_missing_or_damaged_is_named(originals, tmp_path, damage):
    lay_out(originals, tmp_path, packed=True)
    damage(tmp_path / "train-images-idx3-ubyte.gz")
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist(full=True, root=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"root='{tmp_path}': train-images-idx3-ubyte missing or damaged")
    assert "download=True" in message
    assert "t10k" not in message


def test_a_root_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"root='.*nowhere': train-images.*t10k-labels"):
        fashion_mnist(full=True, root=tmp_path / "nowhere")


def test_an_undamaged_copy_is_taken(originals, tmp_path):
    lay_out(originals, tmp_path, packed=False)
    lay_out(originals, tmp_path / "FashionMNIST" / "raw", packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert len(fashion_mnist(full=True, root=tmp_path)[1]) == 2


def test_download(mirror, tmp_path):
    root = tmp_path / "new" / "folder"
    train, _ = fashion_mnist(full=True, root=root, download=True)
    assert len(train) == 6
    assert [path.name for path in root.iterdir()] == ["FashionMNIST"]  # nothing unfinished is left

    shutil.rmtree(mirror)  # what is there is not fetched again
    assert len(fashion_mnist(full=True, root=root, download=True)[0]) == 6


def test_download_replaces_what_is_damaged(mirror, originals, tmp_path):
    lay_out(originals, tmp_path, packed=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    assert len(fashion_mnist(full=True, root=tmp_path, download=True)[1]) == 2


def test_download_without_a_network(mirror, monkeypatch, tmp_path):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(ConnectionError, match=r"download=True: failed .*apt install") as caught:
        fashion_mnist(full=True, root=tmp_path, download=True)
    assert str(tmp_path) in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_download_of_something_else(mirror, tmp_path):
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ConnectionError, match="download=True: failed"):
        fashion_mnist(full=True, root=tmp_path, download=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "somewhere"}, r"^root='somewhere': needs full=True"),
        ({"download": True}, r"^download=True: needs full=True"),
    ],
)
def test_settings_of_the_full_set_need_it(settings, message):
    with pytest.raises(ValueError, match=message):
        fashion_mnist(**settings)


# LabelledImages


@pytest.fixture
def data() -> LabelledImages:
    return LabelledImages(torch.rand(6, 1, 4, 4), torch.arange(6) % 3, ("a", "b", "c"))


mask = np.array([True, False, True, False, False, True])


@pytest.mark.parametrize("index", [
    slice(1, 4), slice(None, None, 2), slice(-2, None), slice(None, None, -1), slice(4, 1, -2),
    slice(0, 0), slice(np.int64(1), np.int64(3)), ..., [3, 3, 1], [-1, 0], [], [True] + [False] * 5,
    mask, torch.tensor(mask), torch.tensor([5, 0]), np.array([5, -6]), torch.tensor([-1]),
    np.array([1, 0], np.uint8), torch.tensor([1, 0], dtype=torch.uint8), range(2, 5),
    np.arange(6)[::-2], (slice(1, 3),),
])  # fmt: skip
def test_a_part_is_that_of_an_array(data, index):
    part = data[index]
    chosen = np.arange(6)[index.numpy() if isinstance(index, torch.Tensor) else index].tolist()
    assert torch.equal(part.images, torch.stack([*data.images, *data.images[:1]])[chosen])
    assert part.labels.tolist() == [int(data.labels[i]) for i in chosen]
    assert part.classes == data.classes
    assert len(part) == len(chosen)


def test_a_slice_is_no_copy(data):
    assert data[2:].images.data_ptr() == data.images[2].data_ptr()


@pytest.mark.parametrize("index", [
    4, -2, np.int64(4), np.uint8(4), np.int8(-2), torch.tensor(4), torch.tensor(-2), np.array(4),
])  # fmt: skip
def test_an_integer_of_any_kind_gives_a_pair(data, index):
    image, label = data[index]
    assert torch.equal(image, data.images[4])
    assert torch.equal(label, data.labels[4])


@pytest.mark.parametrize("index", [
    6, -7, np.int64(6), torch.tensor(6), [0, 6], [-7], torch.tensor([6]), mask[:5], [True] * 7, 1.0,
    "1", None, True, (1, 2), [[0, 1]], torch.tensor([0.5]), [0.0], np.zeros((2, 2), int),
])  # fmt: skip
def test_what_an_array_has_not_is_an_index_error(data, index):
    with pytest.raises(IndexError):
        data[index]


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_all_slices(start, stop, step):
    data = LabelledImages(torch.arange(6.0).reshape(6, 1, 1, 1), torch.arange(6), "abcdef")
    part = data[start:stop:step]
    assert part.labels.tolist() == list(range(6))[start:stop:step]
    assert part.images.flatten().tolist() == part.labels.tolist()


@pytest.mark.parametrize("images, dtype", [
    (np.zeros((6, 1, 4, 4)), torch.float32), (np.zeros((6, 1, 4, 4), np.float32), torch.float32),
    (np.zeros((6, 1, 4, 4), ">f4"), torch.float32), (np.zeros((6, 1, 4, 4))[::-1], torch.float32),
    (torch.zeros(6, 1, 4, 4, dtype=torch.float64), torch.float64),
    (torch.zeros(6, 1, 4, 4, dtype=torch.bfloat16), torch.bfloat16),
])  # fmt: skip
@pytest.mark.parametrize("labels", [
    np.arange(6) % 3, (np.arange(6) % 3).astype(np.uint8), (np.arange(6) % 3).astype(">i2"),
    torch.arange(6) % 3, (torch.arange(6) % 3).int(), (torch.arange(6) % 3).to(torch.uint8),
])  # fmt: skip
def test_numpy_arrays_and_other_integers_are_converted(images, dtype, labels):
    data = LabelledImages(images, labels, ("a", "b", "c"))
    assert data.images.dtype == dtype and data.images.shape == (6, 1, 4, 4)
    assert data.labels.dtype == torch.int64 and data.labels.tolist() == [0, 1, 2] * 2
    assert data.tensors == (data.images, data.labels)


def test_one_index_gives_a_pair_so_that_loops_and_loaders_work(data):
    image, label = data[4]
    assert image.shape == (1, 4, 4)
    assert label == 1
    assert [int(label) for _, label in data] == data.labels.tolist()
    images, labels = next(iter(DataLoader(data, batch_size=4)))
    assert torch.equal(images, data.images[:4])
    assert torch.equal(labels, data.labels[:4])
    with pytest.raises(IndexError):
        data[6]


def test_to(data):
    there = data.to("cpu")
    assert there.images is data.images  # not copied
    assert there.labels is data.labels
    assert there.classes == data.classes


def test_frozen_and_readable(data):
    with pytest.raises(AttributeError):
        data.labels = data.labels
    assert repr(data) == "LabelledImages: 6 × (1, 4, 4), 3 classes"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"images": torch.rand(6, 4, 4)},
            ValueError,
            r"images=float32 \(6, 4, 4\): must be \(N, C",
        ),
        (
            {"images": torch.zeros(6, 1, 4, 4).byte()},
            TypeError,
            "images=uint8 .*: must be a tensor",
        ),
        ({"images": np.zeros((6, 1, 4, 4), int)}, TypeError, "images=a ndarray: must be a tensor"),
        ({"images": np.full((6, 1, 4, 4), "a")}, TypeError, "images=a ndarray: "),
        ({"images": [1]}, TypeError, r"images=\[1\]: must be a tensor or NumPy array of floating"),
        ({"images": torch.tensor(1.0)}, TypeError, "images=float32"),
        ({"labels": torch.zeros(6)}, TypeError, "labels=float32 .*: must be .* of integers"),
        ({"labels": np.zeros(6)}, TypeError, "labels=.*: must be a tensor or NumPy array of integ"),
        ({"labels": torch.zeros(6).bool()}, TypeError, "labels=bool .*: must be"),
        ({"labels": [0] * 6}, TypeError, "labels=.*: must be a tensor or NumPy array of integers"),
        ({"labels": torch.arange(5)}, ValueError, r"labels: shape \(5,\), must be \(6,\)"),
        ({"labels": torch.arange(6)}, ValueError, "labels: from 0 to 5, must be from 0 to 2"),
        ({"classes": 3}, TypeError, "classes=3: must be the names of the classes"),
        ({"labels": torch.arange(6) - 4}, ValueError, "labels: from -4 to 1"),
    ],
)
def test_what_does_not_fit(changes, error, message):
    right = {
        "images": torch.rand(6, 1, 4, 4),
        "labels": torch.arange(6) % 3,
        "classes": ("a", "b", "c"),
    }
    with pytest.raises(error, match=message):
        LabelledImages(**(right | changes))


# ---- What the small networks predict -------------------------------------------------------------


def test_the_packaged_predictions_are_those_of_the_benchmark() -> None:
    _, test = fashion_mnist()
    with open(ROOT / "benchmarks" / "nets-runs.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["limit"] == "60"]
    runs = {(row["net"], int(row["seed"])): float(row["accuracy"]) for row in rows}
    nets = small_nets()
    assert len(runs) == 3 * len(nets) == 21
    for name, (epochs, seconds, probabilities) in nets.items():
        assert {int(row["epochs"]) for row in rows if row["net"] == name} == {epochs}
        assert 30 < seconds < 120
        assert probabilities.min() >= 0
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 10_000))
        hits = (probabilities.argmax(-1) == test.labels).double().mean(-1)
        found = {(name, seed): round(100 * hit, 2) for seed, hit in enumerate(hits.tolist())}
        assert found == {run: accuracy for run, accuracy in runs.items() if run[0] == name}


def test_held_out_training_images_are_easier_than_the_test_images() -> None:
    with open(ROOT / "benchmarks" / "nets-runs.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["held_out"]]
    gaps: dict[str, list[float]] = {}
    for row in rows:
        gap = float(row["held_out"]) - float(row["accuracy"])
        gaps.setdefault(row["net"], []).append(gap)
    assert len(gaps) == 7 and all(len(runs) == 3 and min(runs) > 0 for runs in gaps.values())


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=10).filter(any))
def test_packing_keeps_probabilities_and_who_leads(numbers: list[float]) -> None:
    probabilities = torch.tensor(numbers) / sum(numbers)
    packed = pack(probabilities)
    assert packed.argmax() == probabilities.argmax()
    assert (packed.float() / 255 - probabilities).abs().max() <= 1.5 / 255


# ---- The text ------------------------------------------------------------------------------------

topics_module = importlib.import_module("d2lite.data.help_topics")


def test_the_packaged_text() -> None:
    text = help_topics()
    assert len(text) == 414_193
    assert (
        hashlib.sha256(text.encode("ascii")).hexdigest()
        == "f0c3a4fbbf2eaacb4615fc23fe7c96091ab04b3579fb658e49dcb5b9d5bf0f81"
    )
    assert len(set(text)) == 95
    assert set(text) <= {"\n"} | {chr(code) for code in range(32, 127)}
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert topics_module.PACKAGED.stat().st_size <= 150_000


def test_the_licence_ships_with_the_text() -> None:
    notice = topics_module.PACKAGED.with_name("NOTICE").read_text(encoding="utf-8")
    assert "Copyright (c) 2001-2024 Python Software Foundation" in notice
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in notice


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="newer topics may have other characters")
def test_such_a_text_can_be_made_again(tmp_path, monkeypatch) -> None:
    """By any Python; that of 3.13.0 makes the same."""
    again = tmp_path / "again.xz"
    make = [sys.executable, ROOT / "tools" / "make_help_topics.py", "--output", again]
    subprocess.run(make, check=True, capture_output=True)
    monkeypatch.setattr(topics_module, "PACKAGED", again)
    text = help_topics()
    assert text.startswith('The "assert" statement\n') and len(text) > 300_000
    assert text.isascii() and 90 <= len(set(text)) <= 100
