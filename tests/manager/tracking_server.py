"""A real `mlflow server`, and a real proxy before it that misbehaves as real ones do."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from manager.tracking import SERVER_VARIABLES

START_DEADLINE_S = 600.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` in a process group of its own, so that all of it is stopped, frozen or killed."""

    def __init__(self, folder: Path, backend: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "server.db"
        self.backend = backend or f"sqlite:///{self.database}"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.backend,
            "--artifacts-destination", str(self.folder / "artifacts"),
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | SERVER_VARIABLES, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while not self.answers():
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "mlflow server did not start"
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def running_server(folder: Path, backend: str | None = None) -> Iterator[Server]:
    server = Server(folder, backend)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Mode(StrEnum):
    PASS = "pass"
    TOO_MANY = "429"
    BROKEN = "500"
    SLOW = "slow"
    ANSWER_LOST = "answer lost"  # the server does what is asked, and nobody hears of it


class Proxy:
    """Forwards every request to the server, or does to it what `mode` says."""

    def __init__(self, target: str, *, delay_s: float = 5.0) -> None:
        self.mode = Mode.PASS
        self.every = 1  # the mode holds for every n-th request
        self.delay_s = delay_s
        self.requests = 0
        self.spoiled = 0
        split = urlsplit(target)
        self._address = (split.hostname or "", split.port or 0)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        mode = self.mode if self.requests % self.every == 0 else Mode.PASS
        self.spoiled += mode is not Mode.PASS
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if mode in (Mode.TOO_MANY, Mode.BROKEN):
            self._answer(request, int(mode.value), b"not now", {})
            return
        if mode is Mode.SLOW:
            time.sleep(self.delay_s)
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            self._answer(request, 502, b"bad gateway", {})
            return
        finally:
            connection.close()
        if mode is Mode.ANSWER_LOST:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        kind = {"Content-Type": answer.getheader("Content-Type") or "application/json"}
        self._answer(request, answer.status, content, kind)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            request.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True  # the client did not wait for it
