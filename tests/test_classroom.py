"""A classroom's server: its limits rest on what was measured, its links on the one address.

No hub is started here: see classroom/test_hub.py and classroom/test_nbgrader.py. Keys are compared
with those that the projects document.
"""

import ast
import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
import yaml
from nbformat.sign import NotebookNotary

from links import address, pull_link
from notebooks import ROOT, chapters

CLASSROOM = ROOT / "classroom"
PAGE = (ROOT / "book" / "teaching" / "classroom-server.md").read_text(encoding="utf-8")
VALUES = yaml.safe_load((CLASSROOM / "values.yaml").read_text(encoding="utf-8"))
TLJH = (CLASSROOM / "tljh.sh").read_text(encoding="utf-8")
IMAGE = (CLASSROOM / "build_image.sh").read_text(encoding="utf-8")
BINDER = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))

with open(ROOT / "benchmarks" / "chapters.csv", newline="", encoding="utf-8") as _file:
    MEASURED = {row["Chapter"]: row for row in csv.DictReader(_file)}
SECONDS = [int(row["CPU seconds"]) for row in MEASURED.values()]
PEAKS = [int(row["Peak MiB"]) for row in MEASURED.values()]

#: From tljh/config_schema.py and docs/topic/idle-culler.md of The Littlest JupyterHub.
TLJH_KEYS = {
    "limits.memory": str,
    "limits.cpu": float,
    "user_environment.default_app": str,
    "services.cull.enabled": str,
    "services.cull.timeout": int,
}
#: From jupyterhub/values.schema.yaml of Zero to JupyterHub, which allows no others.
HELM_KEYS = {
    "singleuser": {"image", "memory", "cpu", "storage", "defaultUrl", "extraEnv", "extraFiles"},
    "cull": {"enabled", "users", "adminUsers", "timeout", "every", "concurrency", "maxAge"},
    "hub": {"config"},
}


def mebibytes(size: str) -> float:
    """JupyterHub's sizes: K, M, G and T are powers of 1024."""
    return float(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


def settings() -> dict[str, str]:
    return dict(re.findall(r"^tljh-config set (\S+) (\S+)$", TLJH, re.MULTILINE))


def test_the_measured_chapters_are_the_books() -> None:
    titles = set()
    for path in chapters():
        found = re.search(r'"# (.+?)(?:\\n)?"', path.read_text(encoding="utf-8"))
        titles.add(found.group(1) if found else "")
    assert set(MEASURED) <= titles and len(MEASURED) >= 23
    assert min(SECONDS) > 1 and min(PEAKS) > 300


@pytest.mark.parametrize("hub", ["tljh", "helm"])
def test_the_heaviest_chapter_fits_with_room_to_spare(hub: str) -> None:
    helm = VALUES["singleuser"]["memory"]["limit"]
    limit = settings()["limits.memory"] if hub == "tljh" else helm
    assert 1.5 * max(PEAKS) <= mebibytes(limit) < 4 * max(PEAKS)


def test_guarantees_are_an_ordinary_chapters() -> None:
    memory, cpu = VALUES["singleuser"]["memory"], VALUES["singleuser"]["cpu"]
    ordinary = sorted(PEAKS)[len(PEAKS) // 2]
    assert ordinary < mebibytes(memory["guarantee"]) < mebibytes(memory["limit"])
    assert 0 < cpu["guarantee"] < 1 <= cpu["limit"] == float(settings()["limits.cpu"])


def test_keys_are_documented() -> None:
    assert set(settings()) == set(TLJH_KEYS)
    for key, kind in TLJH_KEYS.items():
        kind(settings()[key])
    assert settings()["user_environment.default_app"] in {"classic", "jupyterlab"}
    assert set(VALUES) == set(HELM_KEYS)
    for part, keys in HELM_KEYS.items():
        assert set(VALUES[part]) <= keys
    assert set(VALUES["singleuser"]["image"]) == {"name", "tag"}
    assert all(isinstance(v, str) for v in VALUES["singleuser"]["extraEnv"].values())


def test_both_hubs_say_the_same() -> None:
    helm = VALUES["singleuser"]
    assert mebibytes(settings()["limits.memory"]) == mebibytes(helm["memory"]["limit"])
    assert int(settings()["services.cull.timeout"]) == VALUES["cull"]["timeout"]
    for name, value in helm["extraEnv"].items():
        assert f'"{name}": "{value}"' in TLJH
    (kernels,) = helm["extraFiles"].values()
    for name, value in kernels["data"]["MappingKernelManager"].items():
        assert f"--MappingKernelManager.{name}={value}" in TLJH


def test_the_image_is_the_one_that_is_built() -> None:
    image = VALUES["singleuser"]["image"]
    assert IMAGE.count(f"{image['name']}:{image['tag']}") == 2
    assert "nbgitpuller" in IMAGE and "nbgitpuller" in TLJH
    # A volume takes the place of the home, so the package must not be installed from there.
    assert "-e ." in (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert re.search(r"--target-repo-dir /(?!home)\w+", IMAGE)


def test_binders_python_is_one_that_the_package_takes() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = re.search(r'requires-python = ">=([\d.]+)"', project).group(1)
    (python,) = (p for p in BINDER["dependencies"] if p.startswith("python="))
    assert [int(n) for n in python[7:].split(".")] >= [int(n) for n in least.split(".")]


def test_binder_builds_from_the_environment() -> None:
    """repo2docker looks into .binder alone; a Dockerfile, say, would come before it there."""
    files = {path.name for path in (ROOT / ".binder").iterdir()}
    assert files == {"environment.yml", "postBuild"} and not (ROOT / "binder").exists()
    assert not (ROOT / "Dockerfile").exists()  # the oldest buildpack looks here


def test_binder_trusts_every_notebook(tmp_path: Path) -> None:
    """JupyterLab then shows their outputs as they are."""
    (tmp_path / "pip").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "pip").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    data = {"PATH": path, "JUPYTER_DATA_DIR": str(tmp_path / "data")}
    script = ROOT / ".binder" / "postBuild"
    subprocess.run([script], cwd=ROOT, env=os.environ | data, check=True)
    notary = NotebookNotary(data_dir=str(tmp_path / "data"))
    for path in chapters():
        assert notary.check_signature(nbformat.read(path, as_version=4)), path
    notary.store.close()


@pytest.mark.parametrize("script", sorted(CLASSROOM.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_well_formed(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "\nset -e\n" in script.read_text(encoding="utf-8")


def test_what_the_script_writes_is_python() -> None:
    written = re.findall(r"<<'END'\n(.*?)\nEND", TLJH, re.DOTALL)
    assert [len(ast.parse(text).body) for text in written] == [2, 2]


def test_students_work_on_their_volume() -> None:
    """The image's working directory is outside, and forgotten with the server."""
    assert VALUES["hub"]["config"]["Spawner"] == {"notebook_dir": "~"}
    # The chart mounts the volume at /home/jovyan, singleuser.storage.homeMountPath.
    assert "--user-name jovyan" in IMAGE and "homeMountPath" not in VALUES["singleuser"]["storage"]


def test_students_and_instructors_look_in_one_exchange() -> None:
    written = dict(re.findall(r"^cat > (\S+) <<'END'\n(.*?)\nEND$", TLJH, re.DOTALL | re.MULTILINE))
    (setting,) = (text for path, text in written.items() if path.endswith("/nbgrader_config.py"))
    (root,) = re.findall(r'^c\.Exchange\.root = "(.+)"$', setting, re.MULTILINE)
    assert f"mkdir -p {root} " in TLJH and f"chmod ugo+rwx {root}\n" in TLJH
    assert (
        "/opt/tljh/user/etc/jupyter/nbgrader_config.py" in written
    )  # read by all who use that Python
    own = (CLASSROOM / "nbgrader_config.py").read_text(encoding="utf-8")
    assert "Exchange" not in own  # or else an instructor could look elsewhere


def test_links_lead_to_the_one_address() -> None:
    repository, branch = address()
    assert f"git+{repository}@{branch}" in TLJH, "run `make links`"
    (shown,) = re.findall(r"https://\S+/git-pull\?\S+", PAGE)
    sample = ROOT / "book" / "convolution" / "output-size.ipynb"
    assert shown == pull_link("https://hub.example.org", sample), "run `make links`"


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_link_says_what_nbgitpuller_reads(path: Path) -> None:
    """Its parameters, in nbgitpuller/handlers.py; it opens what it has copied."""
    link = urlsplit(pull_link("https://hub.example.org", path))
    assert (link.netloc, link.path) == ("hub.example.org", "/hub/user-redirect/git-pull")
    repository, branch = address()
    query = {name: values[0] for name, values in parse_qs(link.query, strict_parsing=True).items()}
    assert set(query) == {"repo", "branch", "targetpath", "urlpath"}
    assert (query["repo"], query["branch"]) == (repository, branch)
    opened = query["urlpath"].removeprefix(f"lab/tree/{query['targetpath']}/")
    assert (ROOT / opened) == path


def test_what_the_page_claims_was_measured() -> None:
    median, mean = sorted(SECONDS)[len(SECONDS) // 2], sum(SECONDS) / len(SECONDS)
    assert f"less than {median + 1} seconds" in PAGE
    assert f"AlexNet, the longest, takes {max(SECONDS)}" in PAGE
    longest = max(MEASURED, key=lambda title: int(MEASURED[title]["CPU seconds"]))
    assert longest.startswith("AlexNet")
    assert f"between {min(PEAKS) / 1024:.1f} and {max(PEAKS) / 1024:.1f} GiB" in PAGE
    assert sorted(PEAKS)[len(PEAKS) // 2] > 1024 and "half of them more than 1 GiB" in PAGE
    assert 120 < 30 * mean / 8 < 150 and "8 cores need little more than two minutes" in PAGE
    assert 210 < 30 * max(SECONDS) / 8 < 270 and "it takes four" in PAGE
    assert 12 < 30 * mean / 60 < 18 and "a quarter of an hour" in PAGE
    assert 64 / mebibytes(VALUES["singleuser"]["memory"]["guarantee"]) * 1024 > 40


def test_nbgrader_leaves_the_stubs_alone() -> None:
    tree = ast.parse((CLASSROOM / "nbgrader_config.py").read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {"SaveCells", "ComputeChecksums", "LockCells"} <= used and "ClearSolutions" not in used
    folders = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    from student import STUDENT

    assert STUDENT.relative_to(ROOT).as_posix() in folders


def test_only_an_exception_fails_a_check() -> None:
    """nbgrader drops what matches from stderr before it looks for a failure."""
    text = (CLASSROOM / "nbgrader_config.py").read_text(encoding="utf-8")
    assert "c.IgnorePattern.enabled = True" in text
    (pattern,) = re.findall(r'^c\.IgnorePattern\.pattern = "(.+)"', text, re.MULTILINE)
    for output in ("UserWarning: an even kernel", "\n", " 10%|█", ""):
        assert re.search(pattern, output)
