"""The set-up cell installs from the course's own address, and from nobody's where it has none."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import ROOT

import links


def set_up(monkeypatch: pytest.MonkeyPatch, owner: str) -> str:
    address = f"https://github.com/{owner}/convnets"
    monkeypatch.setattr(links, "address", lambda: (address, "main"))
    return links.set_up_cell()


def test_it_installs_from_the_address_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = set_up(monkeypatch, "owner").splitlines()
    assert "    %pip install -q git+https://github.com/owner/convnets@main" in lines


def test_without_an_owner_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = set_up(monkeypatch, "your_account")
    assert "pip" not in cell and "your_account" not in cell
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    with pytest.raises(SystemExit, match=r"^[^\n]*make links REPO=owner/name[^\n]*$"):
        exec(cell, {})


@pytest.mark.parametrize(
    ("repository", "site"),
    [
        ("Owner/Convnets", "https://owner.github.io/Convnets/"),
        ("Owner/owner.github.io", "https://owner.github.io/"),
        ("your_account/convnets", ""),
    ],
)
def test_the_site_is_where_pages_shows_it(repository: str, site: str) -> None:
    assert links.site(f"https://github.com/{repository}") == site


def test_the_config_says_where_the_site_is() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["html"]["baseurl"] == links.site(links.address()[0]), "run `make links`"


@pytest.mark.parametrize("owner", ["owner", "your_account"])
def test_outside_colab_it_only_sets_the_style(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    cell = set_up(monkeypatch, owner)
    used: list[bool] = []
    monkeypatch.setattr("d2lite.plot.use_style", lambda: used.append(True))
    exec(cell.replace("%pip", "assert 0 #"), {})
    assert used == [True]


def test_a_hub_is_not_sent_to_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    set_up(monkeypatch, "your_account")
    monkeypatch.setattr(sys, "argv", ["links.py", "--hub", "https://hub.example.org"])
    with pytest.raises(SystemExit):
        links.main()
    assert links.ADVICE in capsys.readouterr().err


def test_a_server_does_not_install_from_nobody(tmp_path: Path) -> None:
    script = tmp_path / "tljh.sh"
    text = (ROOT / "classroom" / "tljh.sh").read_text(encoding="utf-8")
    script.write_text(text.replace(links.address()[0], "https://github.com/your_account/convnets"))
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.strip() == links.ADVICE
