"""Stands in for vLLM's server in tests of its placement: answers /health, and ends when asked to by /die."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/die":
            print("the engine ran out of memory", flush=True)
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ.get("SLURMD_NODENAME", "here").encode())

    def log_message(self, format: str, *args: object) -> None:
        return None


if __name__ == "__main__":
    if "--fail-at-start" in sys.argv:
        sys.exit("no such model")
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
