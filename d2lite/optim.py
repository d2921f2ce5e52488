"""Optimizers: given the gradient, where to step and how far. Each equals its twin in torch.optim.

In the formulas w is a parameter, g its gradient, lr the learning rate; t counts the steps, from 1.
Squares, roots and quotients are element by element. Weight decay λ adds λw to g, as the penalty
½λ‖w‖² does; only ``AdamW`` does it otherwise. Velocities, sums and averages start at 0.

Names and defaults are PyTorch's, and so are parameter groups, ``state_dict`` and schedulers: what
one has saved, its twin can load and go on.
"""

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from d2lite.checks import boolean, checked, number

#: Settings of torch.optim that change how it computes, not what.
HOW = {"foreach", "fused", "capturable", "differentiable", "initial_accumulator_value"}

_zero_or_more, _share = number(at_least=0), number(at_least=0, below=1)


class Optimizer(torch.optim.Optimizer):
    """What they share: the way over the parameters, and an exchange of states with PyTorch's."""

    # PyTorch's own without their wrapper, which imports the compiler: two seconds for nothing.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, params: Iterable, **settings: Any) -> None:
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        A closure is called first, to compute the gradients; the loss that it returns is returned.
        """
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    state = self.state[w]
                    state["step"] = state.get("step", 0) + 1
                    self._update(w, w.grad.to_dense(), state, group)  # an embedding's is sparse
        return loss

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        """Change w in place.

        ``state`` remembers from step to step; its ``"step"`` counts them, from 1. ``group`` has the
        settings.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Save settings and state, so that this class or its twin in ``torch.optim`` can go on."""
        saved = copy.deepcopy(super().state_dict())
        if twin := self._twin():
            state = {k: _as_torchs(v, twin) for k, v in saved["state"].items()}
            fresh = twin.state_dict()["state"]  # AdaGrad's is full before the first step
            saved["state"] = fresh | {k: v for k, v in state.items() if v}
            for group in saved["param_groups"]:
                group.update({name: twin.defaults[name] for name in twin.defaults.keys() - group})
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what this class or its twin in ``torch.optim`` has saved.

        Raises:
            ValueError: If the twin had an option that does not exist here, such as ``amsgrad``.
        """
        _same_rule(self._twin(), self.defaults, state_dict)
        super().load_state_dict(copy.deepcopy(state_dict))
        for state in self.state.values():
            state["step"] = int(state.get("step", 0))
            if state.get("momentum_buffer", 0) is None:  # what SGD saves without momentum
                del state["momentum_buffer"]

    def _twin(self) -> torch.optim.Optimizer | None:
        """Make PyTorch's optimizer of this name, of parameters of the same shapes, if there is."""
        for kind in type(self).__mro__:
            twin: Any = getattr(torch.optim, kind.__name__, torch.optim.Optimizer)
            if twin is not torch.optim.Optimizer:
                return twin([torch.zeros_like(w) for g in self.param_groups for w in g["params"]])
        return None


def _as_torchs(state: dict, twin: torch.optim.Optimizer) -> dict:
    """Make the count a tensor, as PyTorch's optimizers do; SGD does not count."""
    step = {} if isinstance(twin, torch.optim.SGD) else {"step": torch.tensor(float(state["step"]))}
    return {name: value for name, value in state.items() if name != "step"} | step


def _same_rule(twin: torch.optim.Optimizer | None, ours: dict, state_dict: dict) -> None:
    theirs = twin.defaults if twin else {}
    for name in theirs.keys() - ours - HOW:
        for group in state_dict["param_groups"]:
            if group.get(name, theirs[name]) != theirs[name]:
                raise ValueError(f"{name}={group[name]}: must be {theirs[name]}, the only way here")


def _nesterov_has_momentum(momentum: float, nesterov: bool) -> None:
    if nesterov and not momentum > 0:
        raise ValueError(f"momentum={momentum}: must be > 0 with nesterov=True")


def _two_shares(betas: Any) -> None:
    if not isinstance(betas, (tuple, list)):
        raise TypeError("must be two numbers")
    if len(betas) != 2:
        raise ValueError("must be two numbers")
    for beta in betas:
        _share(beta)


class SGD(Optimizer):
    """Stochastic gradient descent: plain, with momentum, or with Nesterov's momentum.

    - Plain: w ← w − lr·g.
    - With momentum μ, a velocity gathers the gradients: v ← μv + g, then w ← w − lr·v.
    - Nesterov's looks a step ahead: v ← μv + g, then w ← w − lr·(g + μv).

    From Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Nesterov,
    "A method for solving the convex programming problem with convergence rate O(1/k²)", 1983, as in
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> w.grad = torch.tensor([2.0])
    >>> SGD([w], lr=0.1).step()
    >>> w.detach()
    tensor([0.8000])
    """

    @checked(
        _nesterov_has_momentum,
        lr=_zero_or_more,
        momentum=_zero_or_more,
        weight_decay=_zero_or_more,
        nesterov=boolean,
    )
    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0,
        *,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        settings = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, lr=lr, **settings)

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        momentum = group["momentum"]
        g = g + group["weight_decay"] * w
        if momentum:
            v = state["momentum_buffer"] = momentum * state.get("momentum_buffer", 0) + g
            g = g + momentum * v if group["nesterov"] else v
        w -= group["lr"] * g


class Adagrad(Optimizer):
    """AdaGrad: divide by the root of the sum of all squared gradients, so the steps only shrink.

    s ← s + g², then w ← w − lr·g / (√s + eps).

    From Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011.

    >>> Adagrad([torch.zeros(1, requires_grad=True)]).defaults["lr"]
    0.01
    """

    @checked(lr=_zero_or_more, weight_decay=_zero_or_more, eps=_zero_or_more)
    def __init__(
        self, params: Iterable, lr: float = 1e-2, *, weight_decay: float = 0, eps: float = 1e-10
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, eps=eps)

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        g = g + group["weight_decay"] * w
        s = state["sum"] = state.get("sum", 0) + g**2
        w -= group["lr"] * g / (s.sqrt() + group["eps"])


class RMSprop(Optimizer):
    """RMSProp: divide by the root of a *moving average* of the squared gradients.

    s ← αs + (1 − α)g², then w ← w − lr·g / (√s + eps).

    From Tieleman and Hinton, "Lecture 6.5: rmsprop: divide the gradient by a running average of its
    recent magnitude", COURSERA: Neural networks for machine learning, 2012.

    >>> RMSprop([torch.zeros(1, requires_grad=True)]).defaults["alpha"]
    0.99
    """

    @checked(lr=_zero_or_more, alpha=_share, eps=_zero_or_more, weight_decay=_zero_or_more)
    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        alpha = group["alpha"]
        g = g + group["weight_decay"] * w
        s = state["square_avg"] = alpha * state.get("square_avg", 0) + (1 - alpha) * g**2
        w -= group["lr"] * g / (s.sqrt() + group["eps"])


class Adam(Optimizer):
    """Adam: momentum divided by RMSProp's root, both corrected for their start at 0.

    m ← β₁m + (1 − β₁)g and v ← β₂v + (1 − β₂)g². Corrected, m̂ = m / (1 − β₁ᵗ) and
    v̂ = v / (1 − β₂ᵗ). Then w ← w − lr·m̂ / (√v̂ + eps).

    From Kingma and Ba, "Adam: a method for stochastic optimization", 2015.

    >>> Adam([torch.zeros(1, requires_grad=True)]).defaults["betas"]
    (0.9, 0.999)
    """

    @checked(lr=_zero_or_more, betas=_two_shares, eps=_zero_or_more, weight_decay=_zero_or_more)
    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        beta1, beta2 = group["betas"]
        g = g + group["weight_decay"] * w
        t = state["step"]
        m = state["exp_avg"] = beta1 * state.get("exp_avg", 0) + (1 - beta1) * g
        v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0) + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


class AdamW(Adam):
    """Adam with decoupled weight decay: w ← w − lr·λw, and then Adam's step without λ.

    The decay does not pass through m and v, so that no gradient scales it.

    From Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.

    >>> AdamW([torch.zeros(1, requires_grad=True)]).defaults["weight_decay"]
    0.01
    """

    @checked(lr=_zero_or_more, betas=_two_shares, eps=_zero_or_more, weight_decay=_zero_or_more)
    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        w -= group["lr"] * group["weight_decay"] * w
        super()._update(w, g, state, {**group, "weight_decay": 0})
