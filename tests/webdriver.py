"""Firefox and WebKit, without windows, driven by the protocols that Debian's own builds speak.

Firefox listens to WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), WebKit to the older
WebDriver (https://w3c.github.io/webdriver/). Playwright can drive neither: it needs builds of its
own.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import websocket

PATIENCE = 60  # seconds: others use the machine too


class Driven:
    """A browser with one open page."""

    def open(self, url: str) -> None:
        """Go to a page, and wait until all that it loads is there."""
        raise NotImplementedError

    def resize(self, width: int, height: int) -> None:
        """Give the page that much room."""
        raise NotImplementedError

    def act(self, source: dict) -> None:
        """Let a pointer or a keyboard do what WebDriver's actions say."""
        raise NotImplementedError

    def quit(self) -> None:
        """End the browser."""
        raise NotImplementedError

    def _run(self, script: str) -> str:
        raise NotImplementedError

    def run(self, function: str, *arguments: Any) -> Any:
        """Call a JavaScript function in the page, wait for what it promises, and return that."""
        call = f"Promise.resolve(({function})(...{json.dumps(arguments)}))"
        return json.loads(self._run(f"{call}.then((value) => JSON.stringify(value ?? null))"))

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"() => !!({condition})"):
            assert time.monotonic() < end, f"not true in {PATIENCE} s: {condition}"
            time.sleep(0.02)

    def drag(self, start: tuple[float, float], *places: tuple[float, float]) -> None:
        """Press the mouse's button at one place, move through others, and let go at the last."""
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 50} for x, y in places
        ]
        there = {"type": "pointerMove", "x": round(start[0]), "y": round(start[1])}
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self.act({"type": "pointer", "id": "mouse", "actions": [there, down, *moves, up]})

    def press(self, *keys: str) -> None:
        """Press keys one after another. Those without a letter: https://w3c.github.io/webdriver/#keyboard-actions."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.act({"type": "key", "id": "keyboard", "actions": strokes})


def found(*names: str) -> str:
    """Where a program is; skips where there is none, unless D2LITE_REQUIRE_BROWSER is set."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        advice = f"no {names[0]} found; on Debian: apt install firefox-esr webkit2gtk-driver xvfb"
        if os.environ.get("D2LITE_REQUIRE_BROWSER"):
            pytest.fail(advice)
        pytest.skip(advice)
    return path


# To whatever is not this machine the way leads through a proxy that is not there.
SETTINGS = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.failover_direct": False,
    "network.proxy.allow_bypass": False,
    "network.trr.mode": 5,
    "network.dns.disablePrefetch": True,
    "browser.aboutwelcome.enabled": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.shell.checkDefaultBrowser": False,
    "app.update.auto": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.server": "",
    "ui.prefersReducedMotion": 1,
}


class Firefox(Driven):
    """A headless Firefox with a new profile, which reaches nothing but this machine."""

    def __init__(self, profile: Path) -> None:
        lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in SETTINGS.items())
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [found("firefox-esr", "firefox"), "--headless", "--remote-debugging-port", "0"]
        log = profile / "log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, "--profile", str(profile)],
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
            )
        end, address = time.monotonic() + PATIENCE, ""
        while not address:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
            said = [line.split() for line in log.read_text().splitlines() if "listening on" in line]
            address = said[0][-1] if said else ""
        self.socket = websocket.create_connection(
            f"{address}/session", suppress_origin=True, timeout=PATIENCE, max_size=None
        )
        self.calls = 0
        self.problems: list[str] = []  # what its console says
        self._call("session.new", capabilities={})
        self._call("session.subscribe", events=["log.entryAdded"])
        self.page = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def _call(self, method: str, **parameters: Any) -> dict:
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

    def open(self, url: str) -> None:
        self.problems.clear()
        self._call("browsingContext.navigate", context=self.page, url=url, wait="complete")

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        self._call("browsingContext.setViewport", context=self.page, viewport=size)

    def act(self, source: dict) -> None:
        self._call("input.performActions", context=self.page, actions=[source])

    def _run(self, script: str) -> str:
        answer = self._call(
            "script.evaluate", target={"context": self.page}, expression=script, awaitPromise=True
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return answer["result"]["value"]

    def quit(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait()


class WebKit(Driven):
    """WebKitGTK's MiniBrowser, on a screen that nobody sees."""

    # Else its buttons make a window wider than a phone.
    STYLE = "* { font-size: 1px; padding: 0; margin: 0; min-width: 0; min-height: 0; }"

    def __init__(self, home: Path) -> None:
        driver, screen = found("WebKitWebDriver"), found("Xvfb")
        (home / "gtk-3.0").mkdir()
        (home / "gtk-3.0" / "gtk.css").write_text(self.STYLE)
        read, write = os.pipe()
        options = ["-displayfd", str(write), "-screen", "0", "1400x1100x24", "-nolisten", "tcp"]
        with (home / "log").open("w") as output:
            self.screen = subprocess.Popen([screen, *options], pass_fds=[write], stderr=output)
            os.close(write)
            with os.fdopen(read) as told:
                display = f":{told.readline().strip()}"
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            # Its files lie apart, it needs no other program, and draws without a graphics card.
            own = {f"XDG_{kind}_HOME": str(home) for kind in ("CONFIG", "CACHE", "DATA")}
            own |= {"DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1"}
            own |= {"LIBGL_ALWAYS_SOFTWARE": "1", "GTK_USE_PORTAL": "0"}
            self.process = subprocess.Popen(
                [driver, f"--port={self.port}"],
                env={**os.environ, **own},
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + PATIENCE
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < end, (home / "log").read_text()
            time.sleep(0.05)
        self.session = ""
        self.session = "/" + self._call("POST", "", capabilities={})["sessionId"]
        self.problems: list[str] = []  # it does not tell what its console says

    def _call(self, method: str, path: str, **body: Any) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(
            method, f"/session{self.session}{path}", json.dumps(body) if method == "POST" else None
        )
        response = connection.getresponse()
        answer = json.load(response)["value"]
        connection.close()
        assert response.status == 200, answer
        return answer

    def open(self, url: str) -> None:
        self._call("POST", "/url", url=url)

    def resize(self, width: int, height: int) -> None:
        bars = self.run("() => outerHeight - innerHeight")
        self._call("POST", "/window/rect", x=0, y=0, width=width, height=height + bars)
        self.wait(f"innerWidth == {width} && innerHeight == {height}")

    def act(self, source: dict) -> None:
        self._call("POST", "/actions", actions=[source])

    def _run(self, script: str) -> str:
        return self._call("POST", "/execute/sync", script=f"return {script}", args=[])

    def quit(self) -> None:
        self._call("DELETE", "")
        for process in (self.process, self.screen):
            process.terminate()
            process.wait()
