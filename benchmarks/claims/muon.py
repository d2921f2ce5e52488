"""Muon, for the kernels of convolutions as well; ``torch.optim.Muon`` takes matrices only.

From Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from d2lite.schedules import triangular


def turned_and_others(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Part a model's parameters: what Muon turns, and what another rule has.

    Muon has the weights of hidden layers: not those of the first convolution, which has one
    channel, nor a bias, a scale or a 1 × 1 convolution, with which these networks answer.
    """
    turned = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    return turned, [p for p in model.parameters() if all(p is not other for other in turned)]


def orthogonalized(updates: list[Tensor], steps: int = 3) -> list[Tensor]:
    """Bring all singular values of each matrix near 1, by Newton–Schulz steps.

    All at once: zeros make them equal in size, and stay zeros.
    """
    rows, columns = (max(update.shape[axis] for update in updates) for axis in (0, 1))
    X = torch.zeros(len(updates), rows, columns)
    for matrix, update in zip(X, updates, strict=True):
        matrix[: update.shape[0], : update.shape[1]] = update
    X /= X.norm(dim=(1, 2), keepdim=True) + 1e-7
    for _ in range(steps):
        A = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=-4.7750, alpha=2.0315), X, beta=3.4445)
    return [x[: u.shape[0], : u.shape[1]] for x, u in zip(X, updates, strict=True)]


class Muon(torch.optim.Optimizer):
    """Descend along orthogonalized momentum, Nesterov's."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move each weight, a kernel (out, in, h, w) as a matrix of ``out`` rows."""
        for group in self.param_groups:
            kernels, lr, momentum = group["params"], group["lr"], group["momentum"]
            for kernel in kernels:
                self.state[kernel].setdefault("velocity", torch.zeros_like(kernel))
            velocities = [self.state[kernel]["velocity"] for kernel in kernels]
            gradients = [kernel.grad for kernel in kernels]
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, gradients)
            ahead = torch._foreach_add(gradients, velocities, alpha=momentum)
            moves = orthogonalized([update.flatten(1) for update in ahead])
            for kernel, move in zip(kernels, moves, strict=True):
                kernel.add_(move.view_as(kernel), alpha=-lr)


def train(
    network: nn.Module,
    loss: Callable[..., Tensor],
    data: Sequence[Tensor],
    batches: Sequence[Tensor],
    lr: float,
    muon: float = 0,
    bfloat16: bool = False,
) -> nn.Module:
    """Train a detector once on each batch; return it in evaluation mode.

    Args:
        network: Stays where it is, its weights in channels_last.
        loss: As ``d2lite.train.fit`` takes it.
        data: Images, boxes and labels.
        batches: Positions of the examples.
        lr: Of AdamW, at the top of a rise over a fifth of the steps and a fall.
        muon: The same for Muon, which turns the kernels of hidden convolutions, and matrices, all
            but the last, with which a network answers; 0 if AdamW has all.
        bfloat16: Whether to compute the loss in autocast.
    """
    network = network.to(memory_format=torch.channels_last)
    kernels, others = turned_and_others(network) if muon else ([], [*network.parameters()])
    matrices = [p for p in others if p.ndim == 2][:-1] if muon else []
    others = [p for p in others if all(p is not matrix for matrix in matrices)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, lr=lr)]
    # Kernels and matrices apart: what is turned together is filled up to one size.
    optimizers += [Muon(weights, lr=muon) for weights in (kernels, matrices) if weights]
    factor = triangular(len(batches))
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, factor) for o in optimizers]
    for chosen in batches:
        images, *targets = (part[chosen] for part in data)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            error = loss(network, images, *targets)
        network.zero_grad()
        error.backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
    return network.eval()
