"""d2lite.adversarial stays within its budget, climbs, and leaves the network as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.adversarial import fgsm, gradient_of, pgd
from d2lite.train import fit


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(8 * 36, 4),
    )  # fmt: skip


def batch(seed: int = 0, count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return (
        torch.rand(count, 1, 8, 8, generator=source),
        torch.randint(4, (count,), generator=source),
    )


def losses(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return F.cross_entropy(model(images), labels, reduction="none")


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.6), st.integers(1, 4), st.floats(0.01, 3), st.booleans(), st.integers(0, 99))
def test_it_stays_within_the_budget_and_the_range(eps, steps, alpha, targeted, seed):
    images, labels = batch(seed)
    model = network(seed)
    climbed = pgd(model, images, labels, eps, steps, alpha, targeted)
    for moved in (fgsm(model, images, labels, eps), climbed):
        assert moved.shape == images.shape and not moved.requires_grad
        assert moved.min() >= 0 and moved.max() <= 1
        assert (moved - images).abs().max() <= eps + 1e-6


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.4])
def test_both_raise_the_loss_and_pgd_on_average_more(eps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 4))
    data = batch(count=200)
    fit(model, data, epochs=20, lr=0.3, batch_size=50)
    plain, one, many = (
        losses(model, x, data[1]).mean()
        for x in (data[0], fgsm(model, *data, eps), pgd(model, *data, eps, steps=20))
    )
    assert one > plain + eps and many >= one


def test_on_a_linear_model_it_is_the_closed_form():
    """Of two classes, the margin falls by eps times the sum of the weights' sizes."""
    torch.manual_seed(0)
    model = nn.Linear(20, 2).double()
    images = 0.4 + 0.2 * torch.rand(50, 20, dtype=torch.float64)
    labels = torch.randint(2, (50,))
    with torch.no_grad():
        w = model.weight[1] - model.weight[0]
        side = 2 * labels - 1
        before = side * (model(images) @ torch.tensor([-1.0, 1.0]).double())
        for moved in (fgsm(model, images, labels, 0.1), pgd(model, images, labels, 0.1)):
            after = side * (model(moved) @ torch.tensor([-1.0, 1.0]).double())
            assert torch.allclose(before - after, 0.1 * w.abs().sum())
            assert torch.allclose(moved, images - 0.1 * side[:, None] * w.sign())


def test_a_target_is_approached():
    model = network().eval()
    images, labels = batch()
    moved = pgd(model, images, labels, 0.1, targeted=True)
    assert (losses(model, moved, labels) < losses(model, images, labels)).all()


def test_gradients_and_modes_are_left_as_they_were():
    model, (images, labels) = network().train(), batch()
    model[1].eval()  # frozen statistics in a network that learns
    F.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    kept = [p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    with torch.no_grad():
        fgsm(model, images, labels, 0.1)
        pgd(model, images, labels, 0.1, steps=2)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), kept, strict=True))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert images.grad is None and not images.requires_grad


def test_the_gradient_is_that_of_evaluation_mode_image_by_image():
    model, (images, labels) = network().train(), batch()
    together = gradient_of(model, images, labels)
    alone = torch.cat([gradient_of(model, images[i : i + 1], labels[i : i + 1]) for i in range(16)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_modes_are_restored_after_an_error():
    model = network().train()
    with pytest.raises(RuntimeError):
        gradient_of(model, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    assert model.training and model[1].training


def test_the_seed_decides():
    model, data = network(), batch()
    moved = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        moved.append(pgd(model, *data, 0.1))
    assert torch.equal(moved[0], moved[1]) and not torch.equal(moved[0], moved[2])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"eps": -0.1}, "eps=-0.1: must be ≥ 0"),
        ({"steps": 0}, "steps=0: must be ≥ 1"),
        ({"alpha": 0.0}, "alpha=0.0: must be > 0"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "labels: must be 16 whole numbers"),
        ({"labels": torch.zeros(16)}, "labels: must be 16 whole numbers"),
        ({"images": 2 * batch()[0]}, "images=.*: must be from 0 to 1"),  # or they move by 1
        ({"images": batch()[0] - 0.5}, "images=.*: must be from 0 to 1"),
        ({"images": batch()[0] * torch.nan}, "images=.*: must be from 0 to 1"),
    ],
)
def test_bad_input_is_named(wrong, error):
    images, labels = batch()
    settings = {"model": network(), "images": images, "labels": labels, "eps": 0.1} | wrong
    with pytest.raises(ValueError, match=error):
        pgd(**settings)
    if "images" in wrong:
        with pytest.raises(ValueError, match=error):
            fgsm(**settings)
