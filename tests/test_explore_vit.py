"""The ViT explorer: scores and attention against PyTorch, patches covered, shuffled, pressed."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle
from playwright.sync_api import Page, expect

from d2lite.data import fashion_mnist
from d2lite.explore import ViTExplorer
from d2lite.explore.vit import pack, unpack
from d2lite.nets.vit import ViT, small_vit
from d2lite.train import fit

TRAIN, TEST = fashion_mnist()
SIZES = ["patch_size", "width", "depth", "heads"]


@pytest.fixture(scope="module")
def trained() -> ViT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small_vit(width=32, depth=2, patch_size=4)
    fit(model, TRAIN[:2000], epochs=3, batch_size=32, lr=0.03)
    return model


def explore(model: ViT, **traits: Any) -> ViTExplorer:
    return ViTExplorer(model, TEST.images[:20], TEST.classes, **traits)


@pytest.fixture
def page(trained: ViT, show: Callable) -> Page:
    return show(explore(trained))


# ---- Arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(32, 2, 4), (8, 1, 7), (48, 4, 14)])
@pytest.mark.parametrize("positions", [True, False])
def test_scores_and_attention_equal_pytorchs(
    javascript: Callable, sizes: tuple[int, int, int], positions: bool
) -> None:
    width, depth, patch_size = sizes
    torch.manual_seed(0)
    model = small_vit(width, depth, patch_size)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    explorer = explore(model, positions=positions)
    images = TEST.images[:5]
    case = [
        list(explorer.weights),
        {name: getattr(explorer, name) for name in SIZES} | {"positions": positions},
        [image.flatten().tolist() for image in images],
    ]
    (found,) = javascript(ViTExplorer, "answers", [case])
    with torch.no_grad():
        expected = explorer.model(images)
    scores = torch.tensor([each["scores"] for each in found])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    for image, each in zip(images, found, strict=True):
        explorer.image = image[0]
        attention = torch.tensor(each["attention"]).view_as(explorer.attention)
        torch.testing.assert_close(attention, explorer.attention, rtol=1e-3, atol=1e-4)


def test_half_precision_is_enough(trained: ViT) -> None:
    explorer = explore(trained)
    with torch.no_grad():
        original, shipped = trained(TEST.images[:200]), explorer.model(TEST.images[:200])
    assert (original - shipped).abs().max() < 0.02 < original.std()
    assert len(pack(trained)) == 2 * sum(p.numel() for p in trained.parameters())
    again = unpack(pack(explorer.model), small_vit(width=32, depth=2, patch_size=4))
    for p, q in zip(again.parameters(), explorer.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_patches_are_covered_and_put_in_another_order(javascript: Callable, trained: ViT) -> None:
    order = torch.randperm(49, generator=torch.Generator().manual_seed(0)).tolist()
    explorer = explore(trained, covered=[0, 24], order=order)
    case = [explorer.image, 4, order, [0, 24]]
    (shown,) = javascript(ViTExplorer, "arrange", [case])
    given = (explorer.shown.flatten() * 255).round().int()
    assert given.tolist() == shown
    board, source = given.view(28, 28), torch.tensor(explorer.image).view(28, 28)
    assert not board[:4, :4].any() and not board[12:16, 12:16].any()
    row, column = divmod(order[8], 7)  # stands in row 1, column 1
    patch = source[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
    assert torch.equal(board[4:8, 4:8], patch.int())


def test_without_positions_the_order_does_not_matter(trained: ViT) -> None:
    order = list(reversed(range(49)))
    scores = {
        (positions, bool(chosen)): explore(trained, positions=positions, order=chosen).scores
        for positions in (True, False)
        for chosen in ([], order)
    }
    torch.testing.assert_close(scores[False, True], scores[False, False])
    assert (scores[True, True] - scores[True, False]).abs().max() > 0.1


# ---- Traits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model: must be a ViT for one channel"),
        ({"model": small_vit(num_classes=5)}, TypeError, "model: must be a ViT for one channel"),
        ({"model": small_vit(depth=0)}, TypeError, "of depth ≥ 1"),
        ({"model": ViT(3, 28, 7, 8, 1, 2, 10)}, TypeError, "model: must be a ViT for one channel"),
        ({"classes": ["boot"]}, ValueError, "classes: 1 names, must be 10"),
        ({"token": 50}, ValueError, "token=50: must be ≤ 49"),
        ({"layer": 4}, ValueError, "layer=4: must be ≤ 3"),
        ({"head": -1}, ValueError, "head=-1: must be ≥ 0"),
        ({"covered": [49]}, ValueError, r"covered=\[49\]: patches are 0 to 48"),
        ({"covered": [1, 1]}, ValueError, "each patch at most once"),
        ({"covered": [0.5]}, TypeError, r"\[0\]=0.5: must be an int"),
        ({"covered": 3}, TypeError, "covered=3: must be a list of patches"),
        ({"order": [0, 1]}, ValueError, r"order=\[0, 1\]: 2 patches, must be 49 or none"),
        ({"positions": 1}, TypeError, "positions=1: must be"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    good = {
        "model": small_vit(depth=4, patch_size=4),
        "gallery": TEST.images[:2],
        "classes": TEST.classes,
    }
    with pytest.raises(error, match=message):
        ViTExplorer(**{**good, **arguments})


def test_the_picture_has_a_bar_for_each_class(trained: ViT) -> None:
    explorer = explore(trained, covered=[24])
    svg = ElementTree.fromstring(explorer.picture())
    texts = [text.text for text in svg if text.tag.endswith("text")]
    assert texts[::2] == list(TEST.classes)
    assert texts[1::2] == [f"{100 * p:.0f} %" for p in explorer.scores.softmax(0)]


# ---- The figure in a browser ---------------------------------------------------------------------


def says(page: Page) -> str:
    settle(page)
    return page.locator(".d2-bars .d2-readout").inner_text().replace("\xa0", " ")


def verdict(explorer: ViTExplorer) -> str:
    shares = explorer.scores.softmax(0)
    best = shares.argsort(descending=True)[:2].tolist()
    named = [f"{TEST.classes[i]} {100 * shares[i]:.0f} %" for i in best]
    return f"The network says: {', '.join(named)}."


def test_a_garment_is_picked_covered_and_put_back(page: Page, trained: ViT) -> None:
    explorer = explore(trained, image=TEST.images[4, 0])
    page.get_by_role("button", name="garment 5", exact=True).click()
    assert says(page) == verdict(explorer)
    page.get_by_label("a press covers").check()
    box = page.get_by_role("application").bounding_box()
    for row, column in [(2, 3), (3, 3), (3, 2)]:
        page.mouse.click(box["x"] + 32 * column + 16, box["y"] + 32 * row + 16)
    explorer.covered = [17, 24, 23]
    assert says(page) == verdict(explorer)
    page.get_by_role("button", name="Uncover").click()
    page.get_by_label("add position embeddings").uncheck()
    bare = says(page)
    page.get_by_role("button", name="Shuffle").click()
    assert says(page) == bare  # attention has no order
    page.get_by_label("add position embeddings").check()
    page.get_by_role("button", name="Put back").click()
    explorer.covered = []
    assert says(page) == verdict(explorer)


def test_a_press_and_the_keyboard_choose(page: Page, trained: ViT) -> None:
    explorer = explore(trained)

    def why(token: int, layer: int, head: int) -> str:
        shares = explorer.attention[layer, head, token]
        patch = int(shares[1:].argmax())
        own = f"the patch in row {(token - 1) // 7}, column {(token - 1) % 7}"
        return (
            f"Layer {layer}, head {head}: {own if token else 'the class token'} gives "
            f"{100 * shares[patch + 1]:.0f} % to the patch in row {patch // 7}, column {patch % 7}"
        )

    line = page.get_by_role("status").last
    expect(line).to_contain_text(why(0, 0, 0))
    box = page.get_by_role("application").bounding_box()
    page.mouse.click(box["x"] + 5 * 32 + 9, box["y"] + 1 * 32 + 9)
    expect(line).to_contain_text(why(13, 0, 0))
    board = page.get_by_role("application")
    board.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    expect(line).to_contain_text(why(19, 0, 0))
    picture = page.get_by_role("img", name="Layer 1: attention of 4 heads").bounding_box()
    page.mouse.click(picture["x"] + 0.6 * picture["width"], picture["y"] + picture["height"] / 2)
    expect(line).to_contain_text(why(19, 1, 2))
    page.get_by_role("combobox", name="Head").select_option("3")
    page.get_by_role("combobox", name="Attention of").select_option("0")
    expect(line).to_contain_text(why(0, 1, 3))
    before = says(page)
    board.focus()
    page.keyboard.press("ArrowUp")  # from the class token to the first patch
    page.keyboard.press("Space")
    explorer.covered = [0]
    assert says(page) == verdict(explorer)
    page.keyboard.press("Space")
    assert says(page) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_legible_and_accessible(show: Callable, trained: ViT, width: int, theme: str) -> None:
    explorer = explore(trained, token=25, layer=1, head=2, covered=[3, 4])
    assert_legible_and_accessible(show(explorer, theme=theme, width=width))
