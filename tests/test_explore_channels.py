"""The channels explorer: its counts and connections against PyTorch, its traits, the figure."""

import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, slide
from playwright.sync_api import Page, expect
from torch import nn

from d2lite.channels import DepthwiseSeparableConv2d, MaskedConv2d
from d2lite.explore import ChannelsExplorer
from d2lite.explore.channels import blocks, common_divisors, groups_of, resize
from d2lite.nets.lenet import C3_TABLE
from d2lite.trace import trace

KINDS = ["full", "grouped", "depthwise", "1 × 1", "separable", "LeNet-5"]


def random_states() -> list[dict]:
    """States as the reader's controls reach them: grouped, with a table of their own, separable."""
    rng = random.Random(0)
    states = []
    for case in range(600):
        C_in, C_out = rng.randint(1, 16), rng.randint(1, 16)
        if case % 3 == 0:  # where more than one grouping is possible
            C_in, C_out = (rng.choice([2, 4, 6, 8, 12, 16]) for _ in range(2))
        groups = rng.choice(common_divisors(C_in, C_out))
        table = blocks(C_out, C_in, groups)
        if case % 3 == 1:
            table = [[rng.randint(0, 1) for _ in range(C_in)] for _ in range(C_out)]
        states.append(
            {
                "in_channels": C_in,
                "out_channels": C_out,
                "kernel_size": rng.randint(1, 7),
                "groups": groups_of(table),
                "table": table,
                "layer": "depthwise separable" if case % 3 == 2 else "convolution",
                "size": rng.randint(1, 16),
            }
        )
    return states


STATES = random_states()


def layer_of(state: dict, **options: Any) -> nn.Module:
    """PyTorch's own layer, where it has one."""
    C_in, C_out, k = state["in_channels"], state["out_channels"], state["kernel_size"]
    if state["layer"] == "depthwise separable":
        return DepthwiseSeparableConv2d(C_in, C_out, k, **options)
    if state["groups"]:
        return nn.Conv2d(C_in, C_out, k, groups=state["groups"], **options)
    return MaskedConv2d(state["table"], k, **options)


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_counts_are_those_of_pytorch(javascript: Callable) -> None:
    counts = javascript(ChannelsExplorer, "count", [[state] for state in STATES])
    explorer = ChannelsExplorer()
    for state, count in zip(STATES, counts, strict=True):
        layers = trace(layer_of(state), (state["in_channels"], *2 * [state["size"] + 6]))
        per_position = layers.total_multiply_adds
        if state["layer"] == "convolution":
            assert layers[-1].output_shape is not None
            per_position //= layers[-1].output_shape[-1] ** 2
            assert count["multiplyAdds"] == per_position * state["size"] ** 2
        assert count["parameters"] == layers.total_parameters
        for name, value in state.items():
            setattr(explorer, name, value)
        assert explorer.get_state(list(state)) == state
        assert (explorer.parameters, explorer.multiply_adds) == (
            count["parameters"],
            count["multiplyAdds"],
        )


def test_multiply_adds_of_both_steps_of_a_separable_layer(javascript: Callable) -> None:
    """With padding that keeps the size, both steps run over H × W positions."""
    states = [s for s in STATES if s["layer"] != "convolution" and s["kernel_size"] % 2]
    assert len(states) > 100
    counts = javascript(ChannelsExplorer, "count", [[state] for state in states])
    for state, count in zip(states, counts, strict=True):
        layer = layer_of(state, padding=state["kernel_size"] // 2)
        layers = trace(layer, (state["in_channels"], state["size"], state["size"]))
        assert layers.total_multiply_adds == count["multiplyAdds"]


def test_the_full_convolution_beside_it(javascript: Callable) -> None:
    counts = javascript(ChannelsExplorer, "count", [[state, True] for state in STATES])
    for state, count in zip(STATES, counts, strict=True):
        full = nn.Conv2d(state["in_channels"], state["out_channels"], state["kernel_size"])
        assert count["parameters"] == sum(p.numel() for p in full.parameters())
        assert count["multiplyAdds"] == full.weight.numel() * state["size"] ** 2


def test_an_output_sees_the_inputs_that_it_answers(javascript: Callable) -> None:
    """Light one channel at a time: the layer is linear, so its answers are its gradients."""
    cases = [[state, o] for state in STATES for o in range(state["out_channels"])]
    seen = iter(javascript(ChannelsExplorer, "seenBy", cases))
    for state in STATES:
        layer = layer_of(state, bias=False)
        for parameter in layer.parameters():
            nn.init.ones_(parameter)  # no sum that is zero by chance
        C_in, k = state["in_channels"], state["kernel_size"]
        one_lit = torch.eye(C_in)[:, :, None, None].expand(C_in, C_in, k, k)
        for answers in layer(one_lit)[:, :, 0, 0].T:
            assert next(seen) == answers.nonzero()[:, 0].tolist(), state


def test_javascript_and_python_agree_on_tables(javascript: Callable) -> None:
    rng = random.Random(1)
    shapes = [[s["out_channels"], s["in_channels"]] for s in STATES]
    grouped = [[*shape, rng.choice(common_divisors(*shape))] for shape in shapes]
    sizes = [
        [s["table"], rng.randint(1, 16), rng.randint(1, 16), groups_of(s["table"])] for s in STATES
    ]
    tables = [[s["table"]] for s in STATES]
    for function, javascripts, cases in [
        (blocks, "blocks", grouped),
        (common_divisors, "commonDivisors", shapes),
        (groups_of, "groupsOf", tables),
        (resize, "resize", sizes),
    ]:
        assert javascript(ChannelsExplorer, javascripts, cases) == [function(*c) for c in cases]
    assert len({groups_of(table) for (table,) in tables}) > 5


def test_each_kind_can_be_reached_from_everywhere(javascript: Callable) -> None:
    cases = [[kind, state] for state in STATES for kind in KINDS]
    became = javascript(ChannelsExplorer, "become", cases)
    after = [{**state, **change} for (_, state), change in zip(cases, became, strict=True)]
    kinds = javascript(ChannelsExplorer, "kindOf", [[state] for state in after])
    assert kinds == [kind for kind, _ in cases]
    for state in after[:200]:  # and is a state that Python takes as it is
        assert ChannelsExplorer(**state).get_state(list(state)) == state


def test_lenets_table_is_the_papers(javascript: Callable) -> None:
    (change,) = javascript(ChannelsExplorer, "become", [["LeNet-5", STATES[0]]])
    assert torch.equal(torch.tensor(change["table"]).bool(), C3_TABLE)
    explorer = ChannelsExplorer(**change)
    assert explorer.parameters == 1_516
    assert explorer.multiply_adds + 16 * 10 * 10 == 151_600  # the paper counts biases too


# ---- Traits --------------------------------------------------------------------------------------


def settled(explorer: ChannelsExplorer) -> bool:
    """Do channels, groups, table and output agree?"""
    table = explorer.table
    return (
        (explorer.out_channels, explorer.in_channels) == (len(table), len(table[0]))
        and explorer.groups == groups_of(table)
        and explorer.output < explorer.out_channels
    )


def test_channels_groups_and_table_always_agree() -> None:
    rng = random.Random(0)
    explorer = ChannelsExplorer()
    for _ in range(300):
        name = rng.choice(["in_channels", "out_channels", "groups", "table", "output"])
        possible = common_divisors(explorer.in_channels, explorer.out_channels)
        value: Any = {
            "groups": rng.choice(possible),
            "table": rng.choice(STATES)["table"],
            "output": rng.randrange(explorer.out_channels),
        }.get(name, rng.randint(1, 16))
        setattr(explorer, name, value)
        assert getattr(explorer, name) == value
        assert settled(explorer)


def test_a_change_is_observed_in_all_that_it_changes() -> None:
    explorer = ChannelsExplorer(groups=4)
    seen = {}
    explorer.observe(lambda change: seen.update({change["name"]: change["new"]}))
    explorer.in_channels = 6  # 4 no longer divides: the largest that does is 2
    assert seen == {"in_channels": 6, "groups": 2, "table": blocks(8, 6, 2)}
    explorer.table = [[1, 1], [0, 1]]
    assert (explorer.in_channels, explorer.out_channels, explorer.groups) == (2, 2, 0)
    explorer.out_channels = 3
    assert explorer.table == [[1, 1], [0, 1], [1, 1]]
    explorer.groups = 1
    assert explorer.table == blocks(3, 2, 1)


def test_a_tensor_will_do_as_a_table() -> None:
    assert ChannelsExplorer(table=C3_TABLE).in_channels == 6
    assert ChannelsExplorer(table=torch.eye(4)).groups == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, "in_channels=0: must be ≥ 1 and ≤ 16"),
        ({"out_channels": 17}, ValueError, "out_channels=17: must be ≥ "),
        ({"kernel_size": 1.0}, TypeError, "kernel_size=1.0: must be an int"),
        ({"groups": 3}, ValueError, "groups=3: must divide in_channels=8 and out_channels=8: 1, 2"),
        ({"groups": -1}, ValueError, "groups=-1: must be ≥ "),
        ({"output": 8}, ValueError, "output=8: must be < out_channels=8"),
        ({"out_channels": 4, "output": 6}, ValueError, "output=6: does not agree"),
        ({"layer": "separable"}, ValueError, "layer='separable': must be one of 'convolution',"),
        ({"table": 3}, TypeError, "table=3: must be rows of 0 and 1"),
        ({"table": [1, 0]}, TypeError, "table=.*: must be rows of 0 and 1"),
        ({"table": [[1], [1, 0]]}, ValueError, "table=.*must be 1 to 16 rows of 1 to 16 cells"),
        ({"table": []}, ValueError, "table=.*must be 1 to 16 rows"),
        ({"table": [[2]]}, ValueError, "table=.*: holds .2., must hold 0 and 1 only"),
        ({"table": [[1]], "in_channels": 2}, ValueError, "does not agree with the other"),
        ({"table": [[1, 1]], "groups": 0}, ValueError, "groups=0: does not agree"),
        ({"channels": 3}, TypeError, "channels: no such argument"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ChannelsExplorer(**arguments)


def test_a_refused_value_leaves_the_state_as_it_was() -> None:
    explorer = ChannelsExplorer(groups=2)
    with pytest.raises(ValueError, match="groups=3"):
        explorer.groups = 3
    assert explorer.groups == 2 and settled(explorer)


# ---- Still picture -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES[:12])
def test_the_picture_has_a_square_for_each_kernel(state: dict) -> None:
    explorer = ChannelsExplorer(**state)
    svg = ElementTree.fromstring(explorer.picture())
    squares = svg[1].get("d", "").count("M")
    if state["layer"] == "convolution":
        assert squares == sum(map(sum, state["table"]))
    else:
        assert squares == state["in_channels"] * (1 + state["out_channels"])
    assert "#" not in explorer.picture(), "colours only by the theme's variables"


# ---- The figure in a browser ---------------------------------------------------------------------


def cost(page: Page, row: str) -> str:
    """The cells of a row of costs, as text."""
    cells = page.locator(".d2-costs tr", has_text=row).locator("td")
    return " | ".join(text.strip() for text in cells.all_inner_texts())


def test_it_says_what_an_output_sees_and_costs(show: Callable) -> None:
    page = show(ChannelsExplorer(in_channels=8, out_channels=4, groups=2, output=3))
    expect(page.get_by_role("figure", name="Channels explorer")).to_be_visible()
    status = page.get_by_role("status")
    expect(status).to_have_text(
        "Output 3 sees inputs 4 to 7: 4 kernels of 3 × 3, 36 weights and a bias."
    )
    assert cost(page, "Parameters") == "148 | 292 | 51 %"
    assert cost(page, "Multiply-adds") == "28,224 | 56,448 | 50 %"
    slide(page, "Groups", 0)
    expect(status).to_contain_text("Output 3 sees all 8 inputs: 8 kernels")
    slide(page, "Channels in", 6)
    slide(page, "Groups", 1)
    expect(page.get_by_text("The groups must divide 6 and 4: 1 or 2.")).to_be_visible()
    expect(status).to_contain_text("Output 3 sees inputs 3 to 5")
    slide(page, "Channels out", 5)
    expect(page.get_by_text("The groups must divide 6 and 5: only 1.")).to_be_visible()
    expect(page.get_by_role("slider", name="Groups")).to_be_disabled()
    slide(page, "Kernel", 1)
    expect(page.get_by_label("Layer")).to_have_value("1 × 1")


def test_every_kind_of_layer_in_the_menu(show: Callable) -> None:
    page = show(ChannelsExplorer())
    layer = page.get_by_label("Layer")
    status = page.get_by_role("status")
    for kind, words in {
        "grouped": "Output 0 sees inputs 0 to 3:",
        "depthwise": "Output 0 sees input 0: 1 kernel of 3 × 3, 9 weights and a bias.",
        "1 × 1": "Output 0 sees all 8 inputs: 8 kernels of 1 × 1, 8 weights",
        "separable": "Output 0 sees all 8 inputs, each through the one 3 × 3 kernel",
        "LeNet-5": "Output 0 sees inputs 0 to 2: 3 kernels of 5 × 5, 75 weights",
        "full": "Output 0 sees all 6 inputs: 6 kernels of 5 × 5",
    }.items():
        layer.select_option(kind)
        expect(status).to_contain_text(words)
        expect(layer).to_have_value(kind)
        if kind == "LeNet-5":
            assert cost(page, "Parameters") == "1,516 | 2,416 | 63 %"
            page.get_by_role("slider", name="Look at output").fill("14")
            expect(status).to_contain_text("Output 14 sees inputs 0, 2, 3 and 5")
            page.get_by_role("slider", name="Look at output").fill("0")
        if kind == "separable":
            assert page.get_by_role("checkbox").first.is_disabled()
            expect(page.get_by_role("slider", name="Groups")).to_be_hidden()


def test_connections_are_toggled_by_click_and_key(show: Callable) -> None:
    page = show(ChannelsExplorer(in_channels=4, out_channels=4, groups=4))
    status = page.get_by_role("status")
    page.get_by_role("checkbox", name="output 2 sees input 0").click()
    expect(status).to_contain_text("Output 2 sees inputs 0 and 2")
    expect(page.get_by_label("Layer")).to_have_value("")
    expect(page.get_by_text("This table has none.")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(status).to_contain_text("Output 3 sees input 3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(status).to_contain_text("Output 3 sees inputs 1 and 3")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.get_by_label("Layer")).to_have_value("depthwise")  # as it was
    page.get_by_role("checkbox", name="output 2 sees input 2").click()
    expect(status).to_contain_text("Output 2 sees no input: it is its bias, everywhere.")


def test_pointing_at_an_output_shows_what_it_sees(show: Callable) -> None:
    page = show(ChannelsExplorer(groups=8))
    status = page.get_by_role("status")
    cell = page.get_by_role("checkbox", name="output 5 sees input 1")
    cell.hover()
    expect(status).to_contain_text("Output 5 sees input 5")
    expect(page.locator("tr.chosen")).to_have_count(1)
    expect(page.locator(".d2-node.input.full text")).to_have_text("5")
    page.mouse.move(2, 2)
    expect(status).to_contain_text("Output 0 sees input 0")  # pointing lasts as long as it lasts
    node = page.locator(".d2-node.output text", has_text="6").bounding_box()
    assert node
    page.mouse.click(node["x"] + 4, node["y"] + 4)
    page.mouse.move(2, 2)
    expect(status).to_contain_text("Output 6 sees input 6")


def test_two_views_share_one_state(show: Callable) -> None:
    page = show(ChannelsExplorer(), views=2)
    slide(page, "Channels in", 3)
    for view in range(2):
        expect(page.get_by_role("slider", name="Channels in").nth(view)).to_have_value("3")
        expect(page.get_by_role("status").nth(view)).to_contain_text("all 3 inputs")
    assert page.get_by_role("checkbox").count() == 2 * 3 * 8


EXAMPLES = [
    {"groups": 2, "output": 5},
    {"in_channels": 16, "out_channels": 16, "groups": 16, "kernel_size": 7},
    {"table": C3_TABLE, "kernel_size": 5},
    {"layer": "depthwise separable", "in_channels": 5, "out_channels": 16},
    {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("settings", EXAMPLES, ids=lambda s: next(iter(s)))
def test_it_is_legible_and_accessible(show: Callable, settings: dict, theme: str) -> None:
    page = show(ChannelsExplorer(**settings), theme=theme)
    assert_legible_and_accessible(page)
