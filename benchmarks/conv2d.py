"""Four ways to compute one convolution: time, and memory beside input and output.

    python benchmarks/conv2d.py

3 × 3 kernels, 8 channels in and out, one image of growing size. The ways alternate; the shortest of
several rounds counts.
"""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from d2lite import conv
from d2lite.conv import conv_matrix, corr2d, im2col
from results import THREADS, save

CHANNELS, KERNEL, SIZES, ROUNDS = 8, 3, (8, 16, 32, 64), 7
LARGEST = 2**31  # bytes of a matrix


def loops(x: Tensor, w: Tensor) -> Tensor:
    """Compute each output channel as a sum of correlations, window by window."""
    return torch.stack(
        [sum(corr2d(X, K) for X, K in zip(x[0], kernels, strict=True)) for kernels in w]
    )[None]


def measure(size: int) -> list[object]:
    """Time all ways on an image of size × size; check that they agree."""
    x = torch.randn(1, CHANNELS, size, size)
    w = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL)
    expected = conv2d(x, w)
    matrix_bytes = 4 * expected.numel() * x.numel()
    ways: dict[str, Callable[[], Tensor]] = {
        "loops": lambda: loops(x, w),
        "im2col": lambda: conv.conv2d(x, w),
        "torch": lambda: conv2d(x, w),
    }
    if matrix_bytes <= LARGEST:
        matrix = conv_matrix(w, (size, size))  # made once: only the product is timed
        ways["matrix"] = lambda: (matrix @ x.flatten()).view_as(expected)
    shortest = dict.fromkeys(ways, math.inf)
    for _ in range(ROUNDS):
        for way, compute in ways.items():
            start = time.perf_counter()
            result = compute()
            shortest[way] = min(shortest[way], time.perf_counter() - start)
            torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)
    order = ("loops", "im2col", "matrix", "torch")
    times = [f"{1000 * shortest[way]:.2f}" if way in shortest else "–" for way in order]
    columns = im2col(x, KERNEL).nbytes
    return [f"{size} px", *times, f"{columns / 2**20:.2f}", f"{matrix_bytes / 2**20:,.1f}"]


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    results = list(map(measure, SIZES))
    times = ["Image", "Loops", "im2col", "Matrix", "PyTorch"]
    save("conv2d", times, [row[:5] for row in results])
    memory = ["Image", "Columns (MiB)", "Matrix (MiB)"]
    save("conv2d-memory", memory, [[row[0], *row[5:]] for row in results])
