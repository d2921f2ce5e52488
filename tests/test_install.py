"""Setting up: done once, mended where it must be, or one line that says what to do."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

OFFLINE = "ERROR: Could not find a version that satisfies … (from versions: none)"


class Machine:
    """A checkout whose commands are only written down; they answer what they are told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "tools").mkdir(parents=True)
        for name in ("tools/install.py", "requirements.txt", "pyproject.toml", "Makefile"):
            shutil.copy(ROOT / name, folder / name)
        self.patch = monkeypatch
        self.patch.delenv("UV_TORCH_BACKEND", raising=False)
        self.move(folder)
        self.status, self.says, self.version = 0, "", "3.12"
        self.free = 100e9
        self.calls: list[str] = []

    def move(self, folder: Path) -> None:
        """From now on the checkout is there."""
        self.folder = folder
        spec = importlib.util.spec_from_file_location("moved", folder / "tools" / "install.py")
        self.module = ModuleType("moved") if spec is None else importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.module.call = self.call
        self.module.shutil = ModuleType("shutil")
        self.module.shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1e12, 0, self.free)

    def call(self, *command: str) -> tuple[int, str]:
        if command[1] == "-c":
            if not self.version:
                raise FileNotFoundError("no such interpreter")
            return 0, self.version
        self.calls.append(" ".join(command))
        if command[2] == "venv":
            shutil.rmtree(self.folder / ".venv", ignore_errors=True)
            (self.folder / ".venv" / "bin").mkdir(parents=True)
            (self.folder / ".venv" / "bin" / "pip").touch()
            self.version = "3.12"
            return 0, ""
        if self.status == 130:
            raise KeyboardInterrupt
        return self.status, self.says

    def install(self, what: str = "all") -> list[str]:
        """Install; return what was called, without the path to Python."""
        self.calls.clear()
        self.patch.setattr(sys, "argv", ["install.py", what])
        self.module.main()
        return [re.sub(r"^.*?/python\S* -m ", "", call) for call in self.calls]

    def ends(self, what: str = "all") -> str:
        """Install, which cannot succeed; return the line with which it ends."""
        with pytest.raises(SystemExit) as end:
            self.install(what)
        line = str(end.value)
        assert line.startswith("install: ") and "\n" not in line
        return line


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "Ein Ordner für alle", monkeypatch)


@pytest.mark.parametrize("what", ["book", "all"])
def test_a_second_run_does_nothing(machine: Machine, what: str) -> None:
    assert machine.install(what)[0].startswith("venv --clear")
    assert machine.install(what) == []
    assert machine.install("book") == []


def test_all_is_more_than_the_book(machine: Machine) -> None:
    machine.install("book")
    assert any("-r requirements.txt" in call for call in machine.install("all"))


def test_new_pins_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.install()
    with (machine.folder / "requirements.txt").open("a") as file:
        file.write("# a pin more\n")
    calls = machine.install()
    assert calls and not any(call.startswith("venv") for call in calls)


def test_after_a_move_the_package_is_found_again(machine: Machine, tmp_path: Path) -> None:
    machine.install()
    machine.move(machine.folder.rename(tmp_path / "anderswo"))
    calls = machine.install()
    assert calls[-1].endswith("-e .") and not any(call.startswith("venv") for call in calls)
    assert machine.install() == []


@pytest.mark.parametrize("version", ["", "3.13"], ids=["removed", "replaced"])
def test_an_environment_whose_python_has_gone_is_made_anew(machine: Machine, version: str) -> None:
    machine.install()
    machine.version = version
    assert machine.install()[0].startswith("venv --clear")
    assert machine.install() == []


def test_an_environment_of_an_old_python_is_not_ours(machine: Machine) -> None:
    machine.call("python", "-m", "venv")
    machine.version = "3.8"
    assert "`.venv` has Python 3.8" in machine.ends()
    assert "rm -r .venv" in machine.ends()


def test_after_an_interruption_it_begins_anew(machine: Machine) -> None:
    machine.install("book")
    machine.status = 130
    with pytest.raises(KeyboardInterrupt):
        machine.install()
    machine.status = -9  # killed
    machine.ends()
    machine.status = 0
    assert machine.install()[0].startswith("venv --clear")
    assert machine.install() == []


@pytest.mark.parametrize(
    ("says", "advice"),
    [
        (OFFLINE, "check the network"),
        ("error: Failed to fetch: `…`", "check the network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("/…/python: No module named pip", "rm -r .venv"),
        ("error: uninstall-no-record-file … no RECORD file was found", "rm -r .venv"),
    ],
)
def test_a_failure_says_what_to_do(machine: Machine, says: str, advice: str) -> None:
    machine.status, machine.says = 1, says
    assert advice in machine.ends()
    machine.status = 0
    assert not any(call.startswith("venv") for call in machine.install()), "nothing was damaged"


def test_what_is_there_needs_no_network(machine: Machine) -> None:
    machine.install()
    machine.status, machine.says = 1, OFFLINE
    assert machine.install() == machine.install("book") == []


def test_the_disk_is_looked_at_first(machine: Machine) -> None:
    machine.free = 5e9
    assert "9 GB needed" in machine.ends()
    machine.patch.setenv("UV_TORCH_BACKEND", "cpu")
    machine.install()


def test_the_small_way_goes_through_uv(machine: Machine) -> None:
    machine.patch.setenv("UV_TORCH_BACKEND", "cpu")
    calls = machine.install()
    uv = next(call for call in calls if call.startswith("uv"))
    for needed in ("-r pyproject.toml", "--group test", "-c requirements.txt"):
        assert needed in uv
    assert not any("-r requirements.txt" in call for call in calls), "names CUDA's libraries"


def test_an_old_python_is_told_so(machine: Machine) -> None:
    machine.patch.setattr(sys, "version_info", (3, 9, 1))
    assert "Python 3.9 found" in machine.ends()


#: Stands for the environment's Python: it writes down its arguments, one a line.
FAKE = """#!/bin/sh
case "$2" in *version_info*) echo 3.12; exit;; esac
printf '%s\\n' "$@" >> "{}"
"""


@pytest.fixture
def make(machine: Machine, tmp_path: Path) -> Callable[..., list[str]]:
    """Run make with such a Python; return the arguments that it was called with."""
    calls, python = tmp_path / "calls", machine.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE.format(calls), encoding="utf-8")
    python.chmod(0o755)
    (python.parent / "pip").touch()

    def call(*arguments: str) -> list[str]:
        command = ["make", f"PYTHON={sys.executable}", *arguments]
        done = subprocess.run(command, cwd=machine.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return calls.read_text(encoding="utf-8").splitlines()

    return call


def test_make_runs_in_any_folder(make: Callable[..., list[str]], machine: Machine) -> None:
    assert str(machine.folder / "_toc.yml") in make("book", "-o", ".venv/.book")


def test_lab_shows_the_whole_repository(make: Callable[..., list[str]], machine: Machine) -> None:
    assert f"--ServerApp.root_dir={machine.folder}" in make("lab", "-o", ".venv/.all")


def test_make_sets_up_what_it_needs_once(make: Callable[..., list[str]]) -> None:
    assert make("lint").count("requirements.txt") == 1
    assert make("lint").count("requirements.txt") == 1


def test_no_command_hangs_on_where_the_environment_was_made() -> None:
    """Its scripts, all but Python, name the folder in which they were installed."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:\$\(BIN\)|\.venv/bin)/(\w+)", makefile)) == {"python"}
    assert not re.findall(r'(?<!")\$\(CURDIR\)', makefile), "a folder's name may have spaces"


def test_mathematics_is_set_where_temporary_files_have_long_names(tmp_path: Path) -> None:
    """The path of a socket may have about 100 characters."""
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    code = (
        "import static_site; static_site.prepare_katex(); from sphinxcontrib import katex;"
        "print(katex.render_latex('x^2'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tools",
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert "katex-mathml" in done.stdout, done.stderr
