"""A real headless Chromium, driven over its debugging protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEADLINE_S = 600.0
WIDTH, HEIGHT = 1500, 940
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0", "--disable-features=IsolateSandboxedIframes",
]  # fmt: skip


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.call("Page.enable")
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=DEADLINE_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        """Load the page anew, also where only the part after # differs."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def text(self) -> str:
        """What a person reads, frames included."""
        texts = [str(self.value("document.body ? document.body.innerText : ''"))]
        self._frame_texts(self.call("DOM.getDocument", depth=-1, pierce=True)["root"], texts, inside=False)
        return " ".join(texts)

    def _frame_texts(self, node: dict[str, Any], texts: list[str], *, inside: bool) -> None:
        if inside and node.get("nodeName") == "#text":
            texts.append(str(node.get("nodeValue", "")))
        for child in node.get("children", ()):
            self._frame_texts(child, texts, inside=inside)
        if "contentDocument" in node:
            self._frame_texts(node["contentDocument"], texts, inside=True)

    def wait_for_text(self, *texts: str) -> None:
        self.wait_for(lambda: all(text in self.text() for text in texts), f"{texts}")

    def wait_for_value(self, expression: str) -> None:
        self.wait_for(lambda: bool(self.value(expression)), expression)

    def wait_for(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}; the page says: {self.text()[:2000]}"
            time.sleep(0.3)

    def click(self, text: str, tags: str = "button,a,span,div") -> None:
        """Click the innermost element that says exactly this."""
        script = (
            f"(() => {{ const all = Array.from(document.querySelectorAll({json.dumps(tags)}))"
            f".filter(e => e.innerText && e.innerText.trim() === {json.dumps(text)});"
            "const e = all[all.length - 1]; if (!e) return false; e.click(); return true; })()"
        )
        self.wait_for(lambda: self.value(script), f"something to click that says {text!r}")

    def remember(self, name: str, value: str) -> None:
        """Set an entry of the site's local storage; the page that is open must be of that site."""
        self.value(f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)})")

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    assert CHROMIUM is not None
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    with open(profile / "log", "wb") as log:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
    try:
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + DEADLINE_S
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert process.poll() is None, (profile / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "Chromium did not start"
            time.sleep(0.1)
        port = int(port_file.read_text().splitlines()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=DEADLINE_S) as answer:
            page = next(entry for entry in json.load(answer) if entry["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(profile, ignore_errors=True)
