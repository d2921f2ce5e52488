"""The course in a kernel with Colab's versions, as a reader meets it there: `make test-colab`.

`google.colab` is an empty stand-in, the course's repository a folder, and pip has no index: so
nothing is downloaded, and nothing that Colab ships can be replaced.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

import links
from notebooks import ROOT

OWNER = "https://github.com/owner/convnets"
NOBODY = f"https://github.com{links.NO_OWNER}convnets"
GIT = ["git", "-c", "user.name=author", "-c", "user.email=author@example.org"]


class Colab:
    """A kernel in which google.colab is imported, as it is in Colab before the first cell."""

    def __init__(self, folder: Path):
        stand_in = folder / "google" / "colab"
        stand_in.mkdir(parents=True)
        (stand_in / "__init__.py").touch()
        course = folder / "course"
        shutil.copytree(ROOT / "d2lite", course / "d2lite")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, course)
        init = ["init", "--quiet", "-b", links.address()[1]]
        for command in (init, ["add", "."], ["commit", "--quiet", "-m", "The course"]):
            subprocess.run([*GIT, *command], cwd=course, check=True)
        environment = os.environ | {
            "PYTHONPATH": str(folder),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{course.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": OWNER,
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # for pip 24.1 this means that there is none
        }
        self.manager, self.client = start_new_kernel(env=environment, cwd=str(folder))
        self.run("import google.colab")

    def run(self, code: str) -> list[dict]:
        """Run a cell; return what it says to the page. An error of it is one here."""
        said: list[dict] = []
        reply = self.client.execute_interactive(code, output_hook=said.append, timeout=600)
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"]["traceback"])
        return said

    def printed(self, code: str) -> str:
        """Run a cell; return what it prints."""
        said = self.run(code)
        return "".join(m["content"]["text"] for m in said if m["msg_type"] == "stream")

    def front_end_sets(self, model: str, name: str, value: Any) -> None:
        """Set a trait as a moved control does."""
        update = {"method": "update", "state": {name: value}, "buffer_paths": []}
        content = {"comm_id": model, "data": update}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Colab]:
    """A kernel for all tests."""
    started = Colab(tmp_path_factory.mktemp("colab"))
    yield started
    started.client.stop_channels()
    started.manager.shutdown_kernel(now=True)


def pip(*command: str) -> list[str]:
    """What pip says in this environment."""
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_these_are_the_versions_of_colab() -> None:
    """What is installed is what colab.txt pins."""
    pins = (ROOT / "classroom" / "colab.txt").read_text(encoding="utf-8").splitlines()
    assert not {pin for pin in pins if "==" in pin} - set(pip("list", "--format", "freeze"))


def test_the_set_up_cell_of_a_clone_without_an_owner_says_what_to_do(
    colab: Colab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in one line, and installs nothing."""
    pip("uninstall", "--yes", "d2lite")
    monkeypatch.setattr(links, "address", lambda: (NOBODY, "main"))
    before = pip("list")
    reply = colab.client.execute_interactive(links.set_up_cell(), output_hook=lambda m: None)
    assert (reply["content"]["ename"], reply["content"]["evalue"]) == ("SystemExit", links.ADVICE)
    assert pip("list") == before


def test_the_set_up_cell_installs_the_course_and_replaces_nothing(
    colab: Colab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a reader runs it, from the repository that the address leads to."""
    branch = links.address()[1]
    monkeypatch.setattr(links, "address", lambda: (OWNER, branch))
    before = pip("list", "--format", "freeze")
    colab.run(links.set_up_cell())
    assert set(pip("list", "--format", "freeze")) ^ set(before) == {"d2lite==0.1.0"}
    where = colab.printed("import d2lite; print(d2lite.__file__)")
    assert Path(where).is_relative_to(sys.prefix)


CURVES = "loss", "step", "train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy"
# Of each explorer, another value of everything that may be set, in an order in which all are valid.
EXPLORERS: dict[str, dict[str, Any]] = {
    "ActivationExplorer": {
        "activation": "relu",
        "negative_slope": 0.2,
        "x": -1.0,
        "initialization": "he",
        "sigma": 0.2,
        "depth": 10,
        "width": 32,
        "seed": 1,
        "first": "layers",
    },
    "AdversarialExplorer": {
        "garment": 3,
        "epsilon": 16,
        "method": "fgsm",
        "steps": 5,
        "step_size": 0.5,
        "random_start": True,
        "target": 8,
        "seed": 1,
        "step": 2,
    },
    "ArchitectureExplorer": {
        "network": "LeNet-5",
        "other": "VGG-16",
        "layer": 1,
        "other_layer": 2,
        "same_scale": False,
    },
    "AugmentationExplorer": {
        "chain": [{"kind": "crop", "padding": 2}, {"kind": "mixup", "alpha": 0.5}],
        "seed": 3,
        "garment": 2,
        "normalize": "first",
        "draw": 4,
    },
    "BackwardExplorer": {
        "input": [[float(i + j) for j in range(6)] for i in range(6)],
        "kernel": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "gradient": [[float(i * j) for j in range(4)] for i in range(4)],
        "view": "this output only",
        "row": 0,
        "column": 0,
        "padding": 1,
        "stride": 2,
    },
    "BoxesExplorer": {
        "image": [7] * 4096,
        "targets": [{"box": [2.0, 3.0, 20.0, 30.0], "label": 3}],
        "predictions": [{"box": [1.0, 2.0, 20.0, 28.0], "label": 3, "score": 0.75}],
        "selected": 1,
        "iou_threshold": 0.75,
        "nms_threshold": 0.25,
        "per_class": False,
        "step": 3,
        "average": "area",
    },
    "ChannelsExplorer": {
        "in_channels": 4,
        "out_channels": 2,
        "kernel_size": 5,
        "groups": 2,
        "table": [[1, 0, 0, 0], [1, 1, 1, 1]],
        "layer": "depthwise separable",
        "size": 28,
        "output": 1,
    },
    "ConvolutionExplorer": {
        "input": [[float(i + j) for j in range(6)] for i in range(6)],
        "kernel": [[1.0, 2.0], [3.0, 4.0]],
        "padding": 1,
        "stride": 2,
        "dilation": 2,
        "operation": "convolution",
        "row": 1,
        "column": 1,
    },
    "DetectorExplorer": {
        "garments": [{"index": 3, "x": 10, "y": 20, "size": 24}],
        "selected": 1,
        "score_threshold": 0.5,
        "nms_threshold": 0.25,
        "per_class": False,
        "heat_class": 8,
        "seed": 7,
    },
    "GANExplorer": {
        "loss": "hinge",
        "lr_generator": 0.01,
        "lr_discriminator": 0.0001,
        "discriminator_steps": 3,
        "seed": 1,
        "history": {"step": [0], "discriminator": [], "generator": [], "modes": [0], "share": [0]},
    },
    "LatentExplorer": {
        "network": 1,
        "background": "pictures",
        "z": [1.0, -0.5],
        "start": [-1.0, -1.0],
        "end": [2.0, 0.5],
        "garment": 3,
        "draws": "prior",
        "seed": 1,
        "highlight": 4,
    },
    "LeNetExplorer": {"image": [7] * 784, "layer": "C1", "unit": 5},
    "NormalizationExplorer": {
        "values": [[[float(n + c + i) for i in range(2)] for c in range(4)] for n in range(2)],
        "method": "group",
        "groups": 4,
        "weight": [2.0, 1.0, 1.0, 1.0],
        "bias": [1.0, 0.0, 0.0, 0.0],
        "running_mean": [0.5, 0.0, 0.0, 0.0],
        "running_var": [2.0, 1.0, 1.0, 1.0],
        "momentum": 0.5,
        "mode": "eval",
        "selected": [1, 1, 1],
    },
    "OptimizerExplorer": {
        "landscape": "saddle",
        "condition": 10.0,
        "angle": 30.0,
        "noise": 0.5,
        "seed": 1,
        "start": [1.0, 1.0],
        "optimizers": {"SGD": {"lr": 0.01}, "momentum": {"lr": 0.01, "momentum": 0.8}},
        "step": 20,
        "selected": "momentum",
        "measure": "rate",
    },
    "OutputSizeExplorer": {
        "size": 12,
        "kernel_size": 2,
        "stride": 2,
        "padding": 1,
        "dilation": 2,
        "position": 1,
        "ceil_mode": True,
        "operation": "transposed convolution",
        "output_padding": 1,
    },
    "ReceptiveFieldExplorer": {
        "layers": [
            {"operation": "pooling", "kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1}
        ],
        "size": 20,
        "unit": 3,
    },
    "ScheduleExplorer": {
        "schedules": ["one_cycle"],
        "total_steps": 200,
        "lr": 0.1,
        "warmup": 0.1,
        "start_factor": 0.5,
        "step_size": 50,
        "gamma": 0.5,
        "end_factor": 0.1,
        "noise": 0.0,
        "seed": 1,
        "step": 10,
        "log_scale": True,
    },
    "TrainingExplorer": {
        "steps": 20,
        "selected": 1,
        "view": "layers",
        "garment": 5,
        "history": [{name: [0.5] for name in CURVES}] * 2,
    },
    "TransformerExplorer": {
        "text": "The with statement\n",
        "place": 3,
        "layer": 1,
        "head": 2,
        "temperature": 0.5,
        "seed": 1,
    },
    "TransposedExplorer": {
        "size": 4,
        "kernel_size": 4,
        "stride": 1,
        "padding": 1,
        "method": "nearest, then convolution",
        "weights": "tent",
        "row": 2,
        "column": 2,
    },
    "ViTExplorer": {
        "image": [7] * 784,
        "token": 3,
        "layer": 1,
        "head": 2,
        "covered": [4, 5],
        "order": [*range(1, 16), 0],
        "positions": False,
    },
}
ARGUMENTS = {
    "AdversarialExplorer": "nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), TEST[:4]",
    "LeNetExplorer": "LeNet(), torch.ones(1, 1, 28, 28), list('abcdefghij')",
    "TrainingExplorer": "runs=[{}, {}]",
    "ViTExplorer": "small_vit(), torch.ones(1, 1, 28, 28), list('abcdefghij')",
}
SHOW = """\
import json, torch
from torch import nn
from d2lite import explore
from d2lite.data import fashion_mnist
from d2lite.nets.lenet import LeNet
from d2lite.nets.vit import small_vit
_, TEST = fashion_mnist()
explorer, heard = explore.{name}({arguments}), []
classes = [each for each in type(explorer).__mro__ if issubclass(each, explore.explorer.Explorer)]
own = set().union(*map(vars, classes))
settable = [name for name, trait in explorer.traits(sync=True).items()
    if name in own and name[0] != "_" and not trait.read_only and name not in ("runs", "packed")]
explorer.observe(lambda change: heard.append(change.name), settable)
display(explorer)
print(json.dumps([explorer.model_id, settable]))"""


def test_every_explorer_is_tried(colab: Colab) -> None:
    """The table has all of them."""
    names = colab.printed("from d2lite import explore; print(*explore.__all__)").split()
    assert names == list(EXPLORERS)


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_explorer_is_shown_and_its_values_go_both_ways(colab: Colab, name: str) -> None:
    """Every value that may be set, by a control and by a cell."""
    show = SHOW.format(name=name, arguments=ARGUMENTS.get(name, ""))
    others = {"label": "Another name", **EXPLORERS[name]}
    said = colab.run(show)
    [shown] = [m["content"]["data"] for m in said if m["msg_type"] == "display_data"]
    [printed] = [m["content"]["text"] for m in said if m["msg_type"] == "stream"]
    model, settable = json.loads(printed)
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == model
    assert "<svg" in shown["text/html"]
    assert sorted(settable) == sorted(others)
    for trait, value in others.items():  # the next cell reads what a control has set
        colab.front_end_sets(model, trait, value)
        read = f"print(json.dumps([explorer.{trait}, '{trait}' in heard])); heard.clear()"
        assert json.loads(colab.printed(read)) == [value, True], trait
    colab.run(show)
    for trait, value in others.items():  # and the figure hears what a cell sets
        said = colab.run(f"explorer.{trait} = {value!r}; assert '{trait}' in heard")
        updates = [m["content"]["data"]["state"] for m in said if m["msg_type"] == "comm_msg"]
        assert value in [state.get(trait) for state in updates], trait
