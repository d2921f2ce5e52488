"""What all explorers share: a front end, a still picture, errors that say what is wrong."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch

from d2lite import explore
from d2lite.explore.explorer import Explorer
from d2lite.nets.lenet import LeNet

EVALUATE = {name: getattr(explore, name) for name in explore.__all__}
# What each needs to be made: LeNet's a network, images and names of classes, the others nothing.
EVALUATE["LeNetExplorer"] = partial(
    explore.LeNetExplorer, LeNet(), torch.ones(1, 1, 28, 28), list("abcdefghij")
)
EXPLORERS = [pytest.param(make, id=name) for name, make in EVALUATE.items()]


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_its_front_end_is_the_shared_module_and_its_own(explorer: Callable[..., Explorer]) -> None:
    made = explorer()
    assert made._esm.startswith("// What all explorers share.")
    assert "export default { render };" in made._esm
    assert not re.search(r"https?://(?!www\.w3\.org)", made._esm), "asks the network"
    assert ".d2-readout" in made._css


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_a_page_without_scripts_shows_its_picture(explorer: Callable[..., Explorer]) -> None:
    made = explorer(label='A "named" <figure>')
    bundle = made._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == made.model_id
    assert data["text/html"].startswith(
        f'<div class="d2-still" data-widget-model="{made.model_id}" '
        'role="img" aria-label="A &quot;named&quot; &lt;figure&gt;"><svg '
    )
    assert data["text/plain"] == repr(made)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_its_repr_is_what_to_type(explorer: Callable[..., Explorer]) -> None:
    made = explorer()
    text = repr(made)
    assert re.match(r"\w+Explorer\(", text)
    assert "_esm" not in text
    own = [name for name in made.trait_names(sync=True) if f"{name}=" in text]
    assert own
    if "..." not in text:  # long values are shortened
        assert eval(text, EVALUATE).get_state(own) == made.get_state(own)


@pytest.mark.parametrize("explorer", EXPLORERS)
def test_an_unknown_argument_is_refused(explorer: Callable[..., Explorer]) -> None:
    with pytest.raises(TypeError, match=r"strides: .*no such argument"):
        explorer(strides=2)


def test_an_explorer_must_draw_itself() -> None:
    with pytest.raises(NotImplementedError, match="must draw its own picture"):
        Explorer().picture()
