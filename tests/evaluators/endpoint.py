"""A server on loopback that speaks as much of the OpenAI protocol as the endpoint engine uses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, dict[str, Any]], tuple[int, Any]]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Its address up to /v1. `answer` gets path and body and gives status and body."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(*answer(self.path, {"headers": dict(self.headers)}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply(*answer(self.path, body))

        def reply(self, status: int, value: Any) -> None:
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def completion(text: str, finish: str = "stop") -> tuple[int, Any]:
    return 200, {
        "choices": [{"message": {"role": "assistant", "content": text}, "text": text, "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": len(text)},
    }


def models(*names: str) -> tuple[int, Any]:
    return 200, {"data": [{"id": name} for name in names]}
