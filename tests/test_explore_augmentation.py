"""The augmentation explorer: changes and labels against torchvision, what is drawn, the figure."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect
from torchvision.transforms import v2

from d2lite.explore import AugmentationExplorer
from d2lite.explore.augmentation import _KINDS, DEVIATION, MEAN, _changed, _drawn
from d2lite.explore.explorer import normals

F = v2.functional
BILINEAR = v2.InterpolationMode.BILINEAR
PICTURES = [kind for kind in _KINDS if kind not in ("mixup", "cutmix", "smoothing")]
#: Of each kind, settings that draw everything there is.
WIDE: dict[str, dict[str, Any]] = {
    "flip": {"p": 0.3},
    "crop": {"padding": 5},
    "resized_crop": {"scale": 0.08},
    "affine": {"degrees": 60.0, "shear": 20.0},
    "jitter": {"brightness": 0.4, "contrast": 0.7},
    "noise": {"sigma": 0.2},
    "erase": {"p": 0.8, "scale": 0.5},
    "mixup": {"alpha": 0.4},
    "cutmix": {"alpha": 1.0},
    "smoothing": {"label_smoothing": 0.2},
}


def images(count: int, normalized: bool = False) -> torch.Tensor:
    found = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return (found - MEAN) / DEVIATION if normalized else found


def ask(transform: v2.Transform, name: str, *given_: Any) -> Any:
    """Call what torchvision's authors of transforms override; until 0.20 it was private."""
    older = {"transform": "_transform", "make_params": "_get_params"}[name]
    return getattr(transform, name if hasattr(transform, name) else older)(*given_)


def listed(values: dict[str, float] | list[float]) -> list[float]:
    """A typed array as JSON has it."""
    return list(values.values()) if isinstance(values, dict) else values


# ---- Each change, as it was drawn ----------------------------------------------------------------


def torchvisions(kind: str, found: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    """The picture by the transform's own class, whose draw is replaced by what was found."""
    one = AugmentationExplorer(chain=[{"kind": kind, **WIDE[kind]}], normalize="not")
    transform = one.transforms.transforms[-1]
    place = {name: found.get(name) for name in ("top", "left", "height", "width")}
    if kind == "flip":
        return F.horizontal_flip(x) if found["mirrored"] else x
    if kind == "noise":
        drawn = torch.from_numpy(normals(found["seed"], 0, 784)).float().view(1, 28, 28)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", lambda given: drawn)
            return transform(x)
    params: dict[str, Any] = {
        "crop": {
            **place,
            "height": 28,
            "width": 28,
            "needs_pad": True,
            "needs_crop": True,
            "padding": [found.get("padding")] * 4,
        },
        "resized_crop": place,
        "affine": {
            "angle": found.get("angle"),
            "translate": (0, 0),
            "scale": 1.0,
            "shear": (found.get("shear"), 0.0),
        },
        "jitter": {
            "fn_idx": [1, 0] if found.get("swapped") else [0, 1],
            "hue_factor": None,
            "saturation_factor": None,
            "brightness_factor": found.get("brightness"),
            "contrast_factor": found.get("contrast"),
        },
        "erase": {
            "i": place["top"],
            "j": place["left"],
            "h": place["height"],
            "w": place["width"],
            "v": torch.zeros(1, 1, 1),
        },
    }[kind]
    return ask(transform, "transform", x, params)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_equal_torchvisions(javascript: Callable, kind: str, normalized: bool) -> None:
    """To 1e-4, whatever is drawn; both geometric changes are bilinear."""
    xs = images(40, normalized)
    draws = [_drawn(kind, seed, **WIDE[kind]) for seed in range(len(xs))]
    cases = [[kind, found, x.flatten().tolist()] for found, x in zip(draws, xs, strict=True)]
    for found, x, got in zip(
        draws, xs, javascript(AugmentationExplorer, "changed", cases), strict=True
    ):
        expected = torchvisions(kind, found, x.clone())
        own = torch.tensor(listed(got)).view(1, 28, 28)
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(_changed(kind, found, x.clone()), expected, rtol=0, atol=1e-6)
    if kind != "noise":
        assert len({str(found) for found in draws}) > 1


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixtures_and_their_targets_equal_torchvisions(javascript: Callable, kind: str) -> None:
    pairs, labels = images(40).view(20, 2, 1, 28, 28), torch.tensor([7, 2])
    draws = [_drawn(kind, seed, **WIDE[kind]) for seed in range(20)]
    one_hot = torch.nn.functional.one_hot(labels, 10).float().tolist()
    cases = [
        [kind, found, *([x.flatten().tolist(), t] for x, t in zip(pair, one_hot, strict=True))]
        for found, pair in zip(draws, pairs, strict=True)
    ]
    transform = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[kind](num_classes=10)
    results = javascript(AugmentationExplorer, "mixed", cases)
    for found, pair, (x, target) in zip(draws, pairs, results, strict=True):
        params: dict[str, Any] = {"labels": labels, "batch_size": 2}
        if kind == "mixup":
            params["lam"] = found["share"]
        else:
            ends = found["left"] + found["width"], found["top"] + found["height"]
            params |= {"box": (found["left"], found["top"], *ends)}
            area = (ends[0] - found["left"]) * (ends[1] - found["top"]) / 784
            params["lam_adjusted"] = 1 - area
        expected = ask(transform, "transform", pair, params)[0]
        shares = ask(transform, "transform", labels, params)[0]
        own = torch.tensor(listed(x)).view(1, 28, 28)
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.tensor(target), shares, rtol=0, atol=1e-6)
    assert len({round(found["share"], 3) for found in draws}) > 5


def test_smoothing_is_the_losses(javascript: Callable) -> None:
    scores, label = torch.randn(1, 10, generator=torch.Generator().manual_seed(0)), 3
    for share in (0.0, 0.1, 0.5):
        one_hot = [float(k == label) for k in range(10)]
        (target,) = javascript(AugmentationExplorer, "smoothed", [[share, one_hot]])
        chain = [{"kind": "smoothing", "label_smoothing": share}]
        loss = AugmentationExplorer(chain=chain).loss
        by_target = torch.nn.functional.cross_entropy(scores, torch.tensor([target]).float())
        torch.testing.assert_close(loss(scores, torch.tensor([label])), by_target)


# ---- What is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WIDE)
def test_javascript_and_python_draw_the_same(javascript: Callable, kind: str) -> None:
    seeds = [0, 1, 2**31 - 1, 2**32 - 1, *range(100, 300)]
    cases = [[kind, WIDE[kind], seed] for seed in seeds]
    for seed, found in zip(seeds, javascript(AugmentationExplorer, "drawn", cases), strict=True):
        expected = _drawn(kind, seed, **WIDE[kind])
        assert found.keys() == expected.keys()
        assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-9)


def torchvisions_draws(kind: str, n: int) -> list[dict[str, Any]]:
    """What the transform itself draws, n times, by our names."""
    chain = AugmentationExplorer(chain=[{"kind": kind, **WIDE[kind]}], normalize="not")
    if kind in ("mixup", "cutmix"):
        transform, like = chain.batch_transforms.transforms[0], torch.empty(2, 1, 28, 28)
    else:
        transform, like = chain.transforms.transforms[-1], torch.empty(1, 28, 28)

    def draw() -> dict[str, Any]:
        if kind == "flip":
            return {"mirrored": bool(transform(torch.tensor([[[0.0, 1.0]]]))[0, 0, 0])}
        if kind == "erase" and torch.rand(1) >= transform.p:
            return {"top": 0, "left": 0, "height": 0, "width": 0}
        params = ask(transform, "make_params", [like])
        if kind == "mixup":
            return {"share": params["lam"]}
        if kind == "cutmix":
            x1, y1, x2, y2 = params["box"]
            sides = {"height": y2 - y1, "width": x2 - x1}
            return {"top": y1, "left": x1, **sides, "share": params["lam_adjusted"]}
        if kind == "affine":
            return {"angle": params["angle"], "shear": params["shear"][0]}
        if kind == "jitter":
            order = params["fn_idx"].tolist()
            return {
                "swapped": order.index(1) < order.index(0),
                "brightness": params["brightness_factor"],
                "contrast": params["contrast_factor"],
            }
        if kind == "erase":
            names = {"top": "i", "left": "j", "height": "h", "width": "w"}
            return {name: params[own] for name, own in names.items()}
        return {name: params[name] for name in ("top", "left", "height", "width")}

    return [draw() for _ in range(n)]


@pytest.mark.parametrize("kind", [kind for kind in WIDE if kind not in ("noise", "smoothing")])
def test_what_is_drawn_is_distributed_as_torchvisions(kind: str) -> None:
    """The largest gap between the two distributions, of each number (Kolmogorov and Smirnov)."""
    n = 3000
    torch.manual_seed(0)
    theirs = torchvisions_draws(kind, n)
    ours = [_drawn(kind, seed, **WIDE[kind]) for seed in range(n)]
    for name in theirs[0].keys() & ours[0].keys():
        a, b = (np.sort([float(each[name]) for each in all_]) for all_ in (ours, theirs))
        grid = np.concatenate([a, b])
        gap = np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")) / n
        assert gap.max() < 1.95 * (2 / n) ** 0.5, name  # one in a thousand is larger
    if kind in ("resized_crop", "erase", "cutmix"):  # the sides and places go together
        areas = [
            np.sort([e["height"] * e["width"] + 0.01 * e["top"] for e in all_])
            for all_ in (ours, theirs)
        ]
        gap = np.abs(areas[0] - areas[1]).mean()
        assert gap < 0.05 * 784


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_what_is_drawn_stays_in_torchvisions_ranges(seed: int, data: st.DataObject) -> None:
    share = st.floats(0, 1)
    least, most = data.draw(st.floats(0.05, 1)), data.draw(st.floats(0.02, 0.8))
    cut = _drawn("resized_crop", seed, scale=least)
    hole = _drawn("erase", seed, p=data.draw(share), scale=most)
    for found in (cut, hole, _drawn("cutmix", seed, alpha=data.draw(st.floats(0.05, 2)))):
        assert found["top"] >= 0 <= found["left"]
        assert found["top"] + found["height"] <= 28 >= found["left"] + found["width"]
    room = 28.0  # each side is rounded: the area by up to about a row
    assert cut["height"] * cut["width"] >= 784 * least - room
    assert hole["height"] * hole["width"] <= 784 * most + room
    assert 3 / 4 - 0.2 < cut["width"] / cut["height"] < 4 / 3 + 0.25
    padding = data.draw(st.integers(0, 14))
    moved = _drawn("crop", seed, padding=padding)
    assert 0 <= moved["top"] <= 2 * padding >= moved["left"] >= 0
    degrees, shear = data.draw(st.floats(0, 180)), data.draw(st.floats(0, 45))
    turned = _drawn("affine", seed, degrees=degrees, shear=shear)
    assert abs(turned["angle"]) <= degrees and abs(turned["shear"]) <= shear
    by = data.draw(share)
    factor = _drawn("jitter", seed, brightness=by, contrast=0.0)
    assert factor["contrast"] is None
    assert factor["brightness"] is None if by == 0 else 1 - by <= factor["brightness"] <= 1 + by
    assert 0 <= _drawn("mixup", seed, alpha=data.draw(st.floats(0.05, 2)))["share"] <= 1


# ---- Whole chains --------------------------------------------------------------------------------

CHAINS: list[dict[str, Any]] = [
    {"chain": [], "normalize": "not"},
    {"chain": ["erase", "crop", "flip"], "normalize": "first", "seed": 5},
    {"chain": ["noise", "jitter", "affine"], "normalize": "first", "garment": 3},
    {"chain": ["mixup", "cutmix", "smoothing"], "normalize": "last", "seed": 7},
    {"chain": list(WIDE), "normalize": "last", "seed": 10**9 - 1, "garment": 9},
    {"chain": ["cutmix", "mixup"], "normalize": "not", "seed": 1},
]


def state_of(explorer: AugmentationExplorer) -> list[Any]:
    """What `augment` takes, but the draw."""
    pixels = [list(explorer.gallery[784 * i : 784 * (i + 1)]) for i in range(len(explorer.labels))]
    gallery = {"images": pixels, "labels": explorer.labels, "classes": explorer.classes}
    names = ("chain", "seed", "garment", "normalize")
    return [{name: getattr(explorer, name) for name in names}, gallery]


@pytest.mark.parametrize("traits", CHAINS)
def test_the_draws_of_the_figure_are_those_of_python(
    javascript: Callable, traits: dict[str, Any]
) -> None:
    explorer = AugmentationExplorer(**traits)
    cases = [[*state_of(explorer), draw] for draw in range(12)]
    found = javascript(AugmentationExplorer, "augmented", cases)
    pictures = torch.tensor([each["x"] for each in found]).view(12, 1, 28, 28)
    torch.testing.assert_close(pictures, explorer.pictures, rtol=0, atol=1e-4)
    targets = torch.tensor([each["target"] for each in found]).float()
    torch.testing.assert_close(targets, explorer.targets, rtol=0, atol=1e-6)
    torch.testing.assert_close(targets.sum(1), torch.ones(12))


def test_a_change_draws_the_same_wherever_it_stands(javascript: Callable) -> None:
    """So the order alone makes the difference, and a change that commutes makes none."""
    found = [
        AugmentationExplorer(chain=chain, normalize="not", seed=3).pictures
        for chain in (["flip", "jitter"], ["jitter", "flip"], ["erase", "crop"], ["crop", "erase"])
    ]
    torch.testing.assert_close(found[0], found[1])
    assert (found[2] - found[3]).abs().max() > 0.5


def test_normalized_first_loses_what_is_outside(javascript: Callable) -> None:
    early, late = (
        AugmentationExplorer(chain=["jitter"], normalize=when, garment=0)
        for when in ("first", "last")
    )
    assert early.pictures.amin() == 0 and early.pictures.amax() == 1
    assert late.pictures.amin() < -0.8 and late.pictures.amax() > 1.1
    (found,) = javascript(AugmentationExplorer, "augmented", [[*state_of(early), 0]])
    x = (torch.tensor(list(early.gallery[:784])) / 255 - MEAN) / DEVIATION
    assert found["lost"] == [pytest.approx(((x < 0) | (x > 1)).float().mean().item())]
    flat = AugmentationExplorer(chain=["flip", "crop", "erase"], normalize="first")
    assert flat.pictures.amin() < -0.8  # these clamp nothing


def test_what_is_composed_runs_in_pytorch() -> None:
    explorer = AugmentationExplorer(chain=list(WIDE), normalize="last", seed=1)
    torch.manual_seed(0)
    batch = torch.stack([explorer.transforms(x) for x in images(6)])
    as_pil = explorer.transforms(F.to_pil_image(images(1)[0]))
    assert as_pil.shape == batch[0].shape == (1, 28, 28)
    mixed, targets = explorer.batch_transforms(batch, torch.arange(6))
    assert mixed.shape == (6, 1, 28, 28) and targets.shape == (6, 10)
    assert explorer.loss(torch.zeros(6, 10), targets).item() == pytest.approx(np.log(10))
    names = [type(each).__name__ for each in explorer.transforms.transforms]
    assert names == [
        "ToImage",
        "ToDtype",
        "RandomHorizontalFlip",
        "RandomCrop",
        "RandomResizedCrop",
        "RandomAffine",
        "ColorJitter",
        "GaussianNoise",
        "RandomErasing",
        "Normalize",
    ]
    plain = AugmentationExplorer(chain=[], normalize="not")
    x = images(2)
    assert torch.equal(plain.transforms(x[0]), x[0])
    assert torch.equal(plain.batch_transforms(x, torch.arange(2))[0], x)
    assert plain.loss.label_smoothing == 0


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"chain": "flip"}, TypeError, "chain='flip': must be a list of changes"),
        ({"chain": [3]}, TypeError, r"chain=\[3\]: \[0\]=3: must be a Mapping"),
        ({"chain": ["blur"]}, ValueError, r"\[0\].kind='blur': must be one of 'flip', 'crop'"),
        ({"chain": [{"kind": "flip", "q": 1}]}, TypeError, "q: no such setting of flip; it has p"),
        ({"chain": [{"kind": "crop", "padding": 20}]}, ValueError, "padding=20: must be ≥ 0 and ≤"),
        ({"chain": [{"kind": "crop", "padding": 0.5}]}, TypeError, "padding=0.5: must be an int"),
        ({"chain": ["flip", "flip"]}, ValueError, r"\[1\]: flip is there already"),
        ({"chain": ["mixup", "flip"]}, ValueError, r"\[1\]: flip after mixup: first must come"),
        ({"chain": ["smoothing", "cutmix"]}, ValueError, "cutmix after smoothing"),
        ({"seed": -1}, ValueError, "seed=-1: must be ≥ 0"),
        ({"garment": 10}, ValueError, "garment=10: must be ≤ 9"),
        ({"normalize": True}, ValueError, "normalize=True: must be one of 'not', 'first', 'last'"),
        ({"draw": 12}, ValueError, "draw=12: must be ≥ 0 and ≤ 11"),
        ({"gallery": torch.rand(1, 28, 28)}, ValueError, r"gallery: shape \(1, 28, 28\), must be"),
        ({"gallery": torch.rand(2, 1, 28, 28)}, ValueError, "labels: must be 2, one an image"),
        (
            {"gallery": torch.full((1, 1, 28, 28), 2.0), "labels": [0]},
            ValueError,
            r"gallery\[0\].*values from 2 to 2, must be 0 to 1",
        ),
        (
            {"gallery": torch.rand(1, 1, 28, 28), "labels": [10]},
            ValueError,
            r"labels\[0\]=10: must be ≥ 0 and ≤ 9",
        ),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        AugmentationExplorer(**arguments)


def test_your_own_pictures() -> None:
    explorer = AugmentationExplorer(
        images(3), torch.tensor([1, 0, 1]), ["cat", "dog"], chain=["mixup"]
    )
    assert explorer.targets.shape == (12, 2) and explorer.labels == [1, 0, 1]
    alone = AugmentationExplorer(images(1), [0], ["cat"], chain=["cutmix"])
    torch.testing.assert_close(alone.targets, torch.ones(12, 1))


def test_the_page_begins_a_change_as_python_does(javascript: Callable) -> None:
    begun = javascript(AugmentationExplorer, "begun", [[kind] for kind in _KINDS])
    assert begun == AugmentationExplorer(chain=list(_KINDS)).chain


def test_the_picture_shows_twelve_draws() -> None:
    explorer = AugmentationExplorer(chain=["mixup"], seed=2)
    svg = ElementTree.fromstring(explorer.picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    own = explorer.targets[:, explorer.labels[0]]
    assert texts == [f"{share:.2f}" for share in own.tolist()]
    assert len([image for image in svg if image.tag.endswith("image")]) == 12


# ---- The figure in a browser ---------------------------------------------------------------------


def says(page: Page) -> str:
    settle(page)
    return page.locator(".d2-readout").inner_text().replace("\xa0", " ")


def drawn_on(page: Page) -> list[str]:
    """The pictures of the twelve draws."""
    settle(page)
    return page.evaluate(
        "[...document.querySelectorAll('.d2-draws canvas')].map((c) => c.toDataURL())"
    )


def steps(page: Page) -> list[str]:
    settle(page)
    return page.locator(".d2-chain .d2-what b").all_inner_texts()


def label_of(explorer: AugmentationExplorer, draw: int) -> str:
    target = explorer.targets[draw]
    order = [i for i in target.argsort(descending=True).tolist() if target[i] > 0]
    named = ", ".join(f"{explorer.classes[i]} {target[i]:.2f}" for i in order)
    return f"Draw {draw + 1} has the label {named}."


def test_changes_are_ticked_set_and_moved(show: Callable) -> None:
    page = show(AugmentationExplorer(chain=["flip"], normalize="not", seed=1))
    assert steps(page) == ["Mirror"]
    one = drawn_on(page)
    assert len(set(one)) == 2  # mirrored or not
    page.get_by_label("Erasing", exact=True).check()
    page.get_by_label("Label smoothing", exact=True).check()
    page.get_by_label("CutMix", exact=True).check()
    page.get_by_label("Padded crop", exact=True).check()
    names = ["Mirror", "Erasing", "Padded crop", "CutMix", "Label smoothing"]
    assert steps(page) == names  # in a possible order
    slide(page, "Erasing: Probability", 1)
    before = drawn_on(page)
    earlier = page.get_by_role("button", name="Padded crop: earlier")
    earlier.click()
    assert steps(page) == ["Mirror", "Padded crop", "Erasing", "CutMix", "Label smoothing"]
    expect(earlier).to_be_focused()
    assert sum(a != b for a, b in zip(before, drawn_on(page), strict=True)) > 8
    earlier.press("Enter")
    expect(earlier).to_be_disabled()
    expect(page.get_by_role("button", name="Padded crop: later")).to_be_focused()
    expect(page.get_by_role("button", name="CutMix: earlier")).to_be_disabled()
    for name in ("Mirror", "Erasing", "Padded crop", "CutMix", "Label smoothing"):
        page.get_by_label(name, exact=True).uncheck()
    assert steps(page) == [] and len(set(drawn_on(page))) == 1
    expect(page.get_by_text("Nothing is changed: tick what shall be.")).to_be_visible()


def test_draws_labels_and_seeds(show: Callable) -> None:
    explorer = AugmentationExplorer(chain=["flip", "mixup"], normalize="last", seed=4)
    page = show(explorer)
    assert says(page).startswith(label_of(explorer, 0))
    radio = page.get_by_role("radio")
    radio.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert says(page).startswith(label_of(explorer, 2))
    radio.nth(7).click()
    assert says(page).startswith(label_of(explorer, 7))
    own = explorer.targets[:, explorer.labels[0]]
    shares = page.locator(".d2-draws label > span:last-child").all_inner_texts()
    assert shares == [f"{share:.2f}" for share in own.tolist()]
    assert f"from {own.min():.2f} to {own.max():.2f} in the 12 draws" in says(page)
    before = drawn_on(page)
    page.get_by_role("button", name="Next seed").click()
    explorer.seed = 5
    assert says(page).startswith(label_of(explorer, 7))
    assert page.get_by_role("spinbutton", name="Seed").input_value() == "5"
    page.get_by_role("spinbutton", name="Seed").fill("99999999999")
    page.get_by_role("spinbutton", name="Seed").fill("4")
    assert drawn_on(page) == before
    page.get_by_role("button", name="garment 5: Sneaker").click()
    explorer.seed, explorer.garment = 4, 4
    assert says(page).startswith(label_of(explorer, 7))


def test_normalized_too_early(show: Callable) -> None:
    page = show(AugmentationExplorer(chain=["jitter"], normalize="last"))
    late = drawn_on(page)
    histogram = page.locator("svg[role=img]")
    assert "from −0.8" in histogram.get_attribute("aria-label").replace("-", "−")
    assert "clamped" not in says(page) and steps(page) == ["Brightness, contrast", "Normalize"]
    page.get_by_role("combobox", name="Normalize").nth(-1).select_option("first")
    assert "What was there is lost." in says(page)
    assert steps(page) == ["Normalize", "Brightness, contrast"]
    assert "numbers, from 0.00 to" in histogram.get_attribute("aria-label")
    expect(page.get_by_text("dotted: normalized last")).to_be_visible()
    assert all(a != b for a, b in zip(late, drawn_on(page), strict=True))
    page.get_by_label("Brightness, contrast", exact=True).uncheck()
    page.get_by_label("Erasing", exact=True).check()
    assert "0, now the mean and not the ground" in says(page)


def test_a_recipe_can_be_chosen_and_left(show: Callable) -> None:
    page = show(AugmentationExplorer())
    recipe = page.get_by_label("Recipe")
    assert recipe.input_value() == "this chapter's"
    for name in recipe.locator("option:not([disabled])").all_inner_texts():
        recipe.select_option(name)
        says(page)
        assert recipe.input_value() == name
    slide(page, "Brightness, contrast: Contrast", 1)
    says(page)
    assert recipe.input_value() == ""


def test_every_place_of_every_slider_is_allowed(show: Callable) -> None:
    page = show(AugmentationExplorer(chain=list(WIDE)))
    ends = page.locator(".d2-chain input").evaluate_all(
        "all => all.map((e) => [+e.min, +e.max, +e.step])"
    )
    rules = [rule for kind in WIDE for _, rule in _KINDS[kind].values()]
    for (least, most, step), rule in zip(ends, rules, strict=True):
        for value in np.arange(least, most + step / 2, step):
            rule(int(value) if step == 1 else float(min(round(value, 6), most)))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_legible_and_accessible(show: Callable, width: int, theme: str) -> None:
    explorer = AugmentationExplorer(chain=list(WIDE), normalize="first", draw=5)
    assert_legible_and_accessible(show(explorer, theme=theme, width=width))
