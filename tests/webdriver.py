"""Firefox and WebKit, without windows, driven by the protocols that Debian's own builds speak.

Firefox listens to WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), WebKit to the older
WebDriver (https://w3c.github.io/webdriver/). Playwright can drive neither: it needs builds of its
own.
"""

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import websocket
from conftest import installed

PATIENCE = 120  # seconds: others use the machine too


class Driven:
    """A browser with one page, whose files lie in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.problems: list[str] = []  # what the console says, where the browser tells

    def start(self) -> None:
        """Start the browser."""
        raise NotImplementedError

    def go(self, url: str) -> None:
        """Go to a page, and wait until all that it loads is there."""
        raise NotImplementedError

    def resize(self, width: int, height: int) -> None:
        """Give the page that much room."""
        raise NotImplementedError

    def act(self, source: dict) -> None:
        """Let a pointer or a keyboard do what WebDriver's actions say."""
        raise NotImplementedError

    def evaluate(self, promise: str) -> str:
        """The text that a promise of the page comes to."""
        raise NotImplementedError

    def launch(self, *command: str, **options: Any) -> Path:
        """Start a program; return the file in which it writes what it says."""
        log = self.folder / f"{Path(command[0]).name}.log"
        with log.open("w") as said:
            self.processes.append(subprocess.Popen(command, stdout=said, stderr=said, **options))
        return log

    def quit(self) -> None:
        """End the browser."""
        for process in reversed(self.processes):
            process.terminate()
            process.wait()

    def open(self, url: str, width: int, height: int) -> None:
        """Go to a page, in a window that has its size before."""
        self.go("about:blank")
        self.resize(width, height)
        self.problems.clear()
        self.go(url)

    def run(self, function: str, *arguments: Any) -> Any:
        """Call a JavaScript function in the page, wait for what it promises, and return that."""
        call = f"Promise.resolve(({function})(...{json.dumps(arguments)}))"
        return json.loads(self.evaluate(f"{call}.then((v) => JSON.stringify(v ?? null))"))

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        until(lambda: self.run(f"() => !!({condition})"), condition)

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the mouse's button at the first place, move through the others, and let go."""
        first, *others = ({"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places)
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        self.act({"type": "pointer", "id": "mouse", "actions": [first, down, *others, up]})

    def press(self, key: str) -> None:
        """Press a key (https://w3c.github.io/webdriver/#keyboard-actions)."""
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.act({"type": "key", "id": "keyboard", "actions": strokes})


def until(condition: Callable[[], Any], what: str) -> Any:
    """Ask again and again until the answer is true, and return it."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, f"not in {PATIENCE} s: {what}"
        time.sleep(0.02)
    return answer


class Firefox(Driven):
    """A headless Firefox with a new profile."""

    # The way to all that is not on this machine leads through a proxy that is not there.
    SETTINGS = """
        user_pref("network.proxy.type", 1);
        user_pref("network.proxy.http", "127.0.0.1");
        user_pref("network.proxy.http_port", 9);
        user_pref("network.proxy.ssl", "127.0.0.1");
        user_pref("network.proxy.ssl_port", 9);
        user_pref("network.proxy.failover_direct", false);
        user_pref("network.proxy.allow_bypass", false);
        user_pref("network.trr.mode", 5);
        user_pref("network.dns.disablePrefetch", true);
        user_pref("app.update.auto", false);
        user_pref("browser.aboutwelcome.enabled", false);
        user_pref("browser.startup.page", 0);
        user_pref("datareporting.policy.dataSubmissionEnabled", false);
    """

    def start(self) -> None:
        program = installed("firefox-esr", "firefox", package="firefox-esr")
        (self.folder / "user.js").write_text(self.SETTINGS, encoding="utf-8")
        log = self.launch(
            *(program, "--headless", "--remote-debugging-port", "0"),
            *("--profile", str(self.folder)),
            env=os.environ | {"HOME": str(self.folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        listening = re.compile(r"WebDriver BiDi listening on (\S+)\n")
        [address] = until(lambda: listening.search(log.read_text()), program).groups()
        self.socket = websocket.create_connection(
            f"{address}/session", suppress_origin=True, timeout=PATIENCE
        )
        self.calls = 0
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self.page = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **parameters: Any) -> dict:
        self.calls += 1
        call = {"id": self.calls, "method": method, "params": parameters}
        self.socket.send(json.dumps(call))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.calls:
                assert answer["type"] == "success", answer
                return answer["result"]
            entry = answer.get("params", {})
            if entry.get("level") in ("error", "warn"):
                self.problems.append(entry["text"])

    def go(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self.page, url=url, wait="complete")

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        self.call("browsingContext.setViewport", context=self.page, viewport=size)

    def act(self, source: dict) -> None:
        self.call("input.performActions", context=self.page, actions=[source])

    def evaluate(self, promise: str) -> str:
        target = {"context": self.page}
        answer = self.call("script.evaluate", target=target, expression=promise, awaitPromise=True)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return answer["result"]["value"]


class WebKit(Driven):
    """WebKitGTK's MiniBrowser, on a screen that nobody sees."""

    # Else the buttons of its window make it wider than a phone.
    STYLE = "* { font-size: 1px; padding: 0; margin: 0; min-width: 0; min-height: 0; }"

    def start(self) -> None:
        driver = installed("WebKitWebDriver", package="webkit2gtk-driver")
        screen = installed("Xvfb", package="xvfb")
        (self.folder / "gtk-3.0").mkdir()
        (self.folder / "gtk-3.0" / "gtk.css").write_text(self.STYLE, encoding="utf-8")
        read, write = os.pipe()
        options = ("-displayfd", str(write), "-screen", "0", "1400x1000x24", "-nolisten", "tcp")
        self.launch(screen, *options, pass_fds=[write])
        os.close(write)
        with open(read) as told:
            display = f":{told.readline().strip()}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        own = {f"XDG_{kind}_HOME": str(self.folder) for kind in ("CONFIG", "CACHE", "DATA")}
        own |= {"DISPLAY": display, "GDK_BACKEND": "x11"}
        own |= {"NO_AT_BRIDGE": "1", "LIBGL_ALWAYS_SOFTWARE": "1"}  # no bus, no graphics card
        self.launch(driver, f"--port={self.address[1]}", env=os.environ | own)
        until(self.is_listening, driver)
        self.session = "/session"
        self.session += "/" + self.call("", capabilities={})["sessionId"]

    def is_listening(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(self.address) == 0

    def call(self, path: str, **body: Any) -> Any:
        connection = HTTPConnection(*self.address, timeout=PATIENCE)
        connection.request("POST", self.session + path, json.dumps(body))
        response = connection.getresponse()
        answer = json.load(response)["value"]
        connection.close()
        assert response.status == 200, answer
        return answer

    def go(self, url: str) -> None:
        self.call("/url", url=url)

    def resize(self, width: int, height: int) -> None:
        bars = self.run("() => outerHeight - innerHeight")
        self.call("/window/rect", x=0, y=0, width=width, height=height + bars)
        self.wait(f"innerWidth == {width} && innerHeight == {height}")

    def act(self, source: dict) -> None:
        self.call("/actions", actions=[source])

    def evaluate(self, promise: str) -> str:
        return self.call("/execute/sync", script=f"return {promise}", args=[])
