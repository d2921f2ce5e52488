"""Networks side by side: train many seeds and settings of an experiment at once.

For example::

    networks = SideBySide([small(seed) for seed in range(5)])
    batches = ((images[i], labels[i]) for i in orders(2000, 50, steps=400, seeds=range(5)))
    losses = fit_all(networks, batches, lr=[0.1, 0.1, 0.1, 0.3, 0.3], momentum=0.9)  # (400, 5)
    accuracies = evaluate_all(networks, new_images[None], new_labels[None])  # (5,)

The weights of R networks are stacked, so that one operation serves all; each learns what it would
learn alone. The first axis is that of the networks: data are (R, N, …), or (1, N, …) for all.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from d2lite.checks import checked, given, instance, integer
from d2lite.optim import SGD

ELEMENTWISE = {nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.Identity, nn.Dropout}
POOLINGS = {nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d}
ON_MAPS = {nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, *POOLINGS}
cross_entropies = partial(F.cross_entropy, reduction="none")


def _of_one_form(models: Any) -> None:
    if not isinstance(models, (list, tuple)) or not all(isinstance(m, nn.Module) for m in models):
        raise TypeError("must be a list of modules")
    forms = [(str(m), [(t.shape, t.dtype) for t in _tensors(m)]) for m in models]
    if not forms or not forms[0][1]:
        raise ValueError("must be one network at least, and have parameters")
    if any(form != forms[0] for form in forms):
        raise ValueError("must have the same layers and settings")


class SideBySide(nn.Module):
    """R networks of one form as one module: (R or 1, N, …) → (R, N, …).

    What differs between them are parameters and buffers, in ``form`` under their usual names:
    ``networks.form[0].weight`` is (R, out, in) for a linear layer. ``networks[r]`` is a copy of
    network r, as an ordinary module. Raises ValueError if they differ in layers or settings.

    >>> networks = SideBySide([nn.Linear(4, 2) for seed in range(3)])
    >>> networks(torch.rand(1, 8, 4)).shape, networks[2]
    (torch.Size([3, 8, 2]), Linear(in_features=4, out_features=2, bias=True))
    """

    @checked(models=_of_one_form)
    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.form, self._count = copy.deepcopy(models[0]), len(models)
        for stacked, *own in zip(_tensors(self.form), *map(_tensors, models), strict=True):
            stacked.data = torch.stack([tensor.detach() for tensor in own])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, r: int) -> nn.Module:
        model = copy.deepcopy(self.form)
        for tensor in _tensors(model):
            tensor.data = tensor.data[r].clone()
        return model

    def forward(self, x: Tensor) -> Tensor:
        """Answer for each network; what is random, as in dropout, is drawn for each by itself."""
        _check_axis("x", x, len(self))
        return _answer(self.form, x.expand(len(self), *x.shape[1:]))


def _answer(layer: Any, x: Tensor) -> Tensor:
    """(R, N, …) → (R, N, …), by vmap; common layers in a call for all, in half of its time."""
    kind = type(layer)
    if kind is nn.Sequential:
        for part in layer:
            x = _answer(part, x)
        return x
    if kind in ELEMENTWISE:
        return layer(x)
    if kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) and x.ndim > 2:
        return x.flatten(2)
    if kind is nn.Linear and x.ndim == 3 and layer.bias is not None:
        return torch.baddbmm(layer.bias[..., None], layer.weight, x.mT).mT
    if kind in ON_MAPS and x.ndim == 5:
        maps = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        answer = _answer_on_maps(layer, maps, len(x))
        if answer is not None:
            return answer.unflatten(1, (len(x), -1)).transpose(0, 1)
    state = dict(chain(layer.named_parameters(), layer.named_buffers()))
    return vmap(partial(functional_call, layer), randomness="different")(state, x)


def _answer_on_maps(layer: Any, maps: Tensor, count: int) -> Tensor | None:
    """(N, R·C, H, W) → (N, R·C, H, W), where the layer has no settings out of the ordinary."""
    kind: Any = type(layer)
    if kind in POOLINGS:
        return layer(maps)
    own: Any = [t if t is None else t.flatten(0, 1) for t in (layer.weight, layer.bias)]
    weight, bias = own
    if kind is nn.Conv2d and layer.padding_mode == "zeros":
        sizes = layer.stride, layer.padding, layer.dilation
        return F.conv2d(maps, weight, bias, *sizes, count * layer.groups)
    if kind is nn.GroupNorm and layer.affine:
        return F.group_norm(maps, count * layer.num_groups, weight, bias, layer.eps)
    if kind is nn.BatchNorm2d and layer.affine and layer.track_running_stats:
        layer.num_batches_tracked += layer.training
        average = 1 / max(int(layer.num_batches_tracked[0]), 1)  # a plain one, for momentum=None
        momentum = average if layer.momentum is None else layer.momentum
        mean, var = layer.running_mean.view(-1), layer.running_var.view(-1)
        return F.batch_norm(maps, mean, var, weight, bias, layer.training, momentum, layer.eps)
    return None


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _check_axis(name: str, data: Tensor, count: int) -> None:
    if data.ndim < 2 or len(data) not in (1, count):
        raise ValueError(f"{name}{given(data)}: must be ({count}, N, …), or (1, N, …) for all")


class _SGD(SGD):
    """The same in place, which is faster for large stacks, and for any tensor of settings."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        if isinstance(decay := group["weight_decay"], Tensor) or decay:
            g = g + decay * w
        if isinstance(momentum := group["momentum"], Tensor) or momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(w)
            v = state["momentum_buffer"].mul_(momentum).add_(g)
            g = g + momentum * v if group["nesterov"] else v
        w.addcmul_(g, torch.as_tensor(group["lr"], dtype=w.dtype, device=w.device), value=-1)


@checked(networks=instance(SideBySide))
def fit_all(
    networks: SideBySide,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Callable[..., torch.optim.Optimizer] = _SGD,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropies,
    schedule: Callable[[int], Any] = lambda step: 1.0,
    watch: Callable[[int], object] = lambda steps: None,
    seed: int = 0,
    **settings: Any,
) -> Tensor:
    """Train all networks, one step a batch, and leave them in evaluation mode: losses (steps, R).

    Args:
        networks: The networks, whose weights change.
        batches: Inputs (R, B, …) and targets (R, B, …) of each step; 1 for R if all get the same.
        optimizer: ``SGD``, another of ``d2lite.optim``, or any function of groups and settings;
            those of ``torch.optim`` take no list of rates.
        loss: That of each example, from answers (N, …) and targets (N, …); the mean is learned.
        schedule: Factor of the learning rate at each step, from 0: a number, or one a network.
        watch: Called after each step with the number of steps taken; no gradients are recorded.
        seed: Of what the networks draw themselves, as in dropout.
        settings: The optimizer's: a number, or a list or tensor of one a network. Weight decay is
            for parameters of two or more dimensions, as in ``d2lite.train.fit``.

    >>> networks = SideBySide([nn.Linear(4, 2) for seed in range(3)])
    >>> batch = torch.rand(1, 8, 4), torch.tensor([[0, 1] * 4])
    >>> fit_all(networks, [batch] * 10, lr=[0.1, 0.2, 0.3], momentum=0.9).shape
    torch.Size([10, 3])
    """
    own = {name: value for name, value in settings.items() if isinstance(value, (list, Tensor))}
    groups = [_group(p, own) for p in networks.parameters()]
    descent = optimizer(groups, **settings | {name: float(min(own[name])) for name in own})
    rates, losses, count = [group["lr"] for group in descent.param_groups], [], len(networks)
    networks.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, (inputs, targets) in enumerate(batches):
            _check_axis("targets", targets, count)
            targets = targets.expand(count, *targets.shape[1:])
            each = loss(networks(inputs).flatten(0, 1), targets.flatten(0, 1))
            means = each.unflatten(0, (count, -1)).flatten(1).mean(1)
            networks.zero_grad()
            means.sum().backward()
            factor = schedule(step)
            for group, rate in zip(descent.param_groups, rates, strict=True):
                group["lr"] = rate * _beside("schedule", factor, group["params"][0])
            descent.step()
            losses.append(means.detach())
            with torch.no_grad():
                watch(step + 1)
    networks.eval()
    if not losses:
        raise ValueError("batches: there are none; a generator is used up after one run")
    return torch.stack(losses)


def _group(p: Tensor, own: dict[str, Any]) -> dict[str, Any]:
    settings = {name: _beside(name, value, p) for name, value in own.items()}
    return {"params": [p], **settings} | ({"weight_decay": 0} if p.ndim < 3 else {})


def _beside(name: str, value: Any, p: Tensor) -> Any:
    """The value of each network, (R,), beside a parameter (R, …): (R, 1, …)."""
    if not isinstance(value, (list, Tensor)):
        return value
    if len(value) != len(p):
        raise ValueError(f"{name}{given(value)}: must be a number, or {len(p)} of them")
    return torch.as_tensor(value, dtype=p.dtype, device=p.device).view(-1, *[1] * (p.ndim - 1))


@checked(networks=instance(SideBySide))
@torch.no_grad()
def evaluate_all(networks: SideBySide, inputs: Tensor, targets: Tensor) -> Tensor:
    """Measure accuracies, (R,), 0 to 1, from inputs (R or 1, N, …) and labels (R or 1, N).

    A network whose scores are NaN, as after too high a rate, counts as one that always says the
    first class: with R of them none stops the others.

    >>> networks = SideBySide([nn.Linear(2, 2) for seed in range(3)])
    >>> evaluate_all(networks, torch.rand(1, 8, 2), torch.tensor([[0, 1] * 4])).shape
    torch.Size([3])
    """
    was_training = networks.training
    networks.eval()
    parts = zip(inputs.split(500, 1), targets.split(500, 1), strict=True)  # to save memory
    right = [(networks(x).argmax(2) == y).sum(1) for x, y in parts]
    networks.train(was_training)
    return torch.stack(right).sum(0) / inputs.shape[1]


@checked(count=integer(at_least=1), batch_size=integer(at_least=1), steps=integer(at_least=1))
def orders(count: int, batch_size: int, steps: int, seeds: Sequence[int]) -> Iterator[Tensor]:
    """Draw the indices of batches, (R, B), in the order of each network's seed, as ``fit`` does.

    >>> [indices.tolist() for indices in orders(4, 2, steps=2, seeds=[0, 0])]
    [[[0, 1], [0, 1]], [[3, 2], [3, 2]]]
    """
    batches = math.ceil(count / batch_size)
    sources = {seed: torch.Generator().manual_seed(seed) for seed in seeds}
    for done in range(0, steps, batches):
        epoch = {seed: torch.randperm(count, generator=source) for seed, source in sources.items()}
        order = torch.stack([epoch[seed] for seed in seeds])
        yield from order.tensor_split(batches, 1)[: steps - done]
