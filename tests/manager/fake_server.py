"""Stands in for vLLM's server in tests of its placement: answers /health and /model, and ends when asked to by /die.

`--thief FILE`: where FILE is not there yet, a process of somebody else takes the port first, and FILE names its pid.
`--alone`: it cannot listen at a port that anybody keeps.
`--wait`: that process answers while the server itself still starts, so that it never finds the port taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from manager import ports


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/die":
            print("the engine ran out of memory", flush=True)
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        told = sys.argv[1] if self.path == "/model" else os.environ.get("SLURMD_NODENAME", "here")
        self.wfile.write(told.encode())

    def log_message(self, format: str, *args: object) -> None:
        return None


if __name__ == "__main__":
    if "--fail-at-start" in sys.argv:
        sys.exit("no such model")
    port = int(sys.argv[sys.argv.index("--port") + 1])
    if "--thief" in sys.argv and not (told := Path(sys.argv[sys.argv.index("--thief") + 1])).exists():
        thief = [sys.executable, "-m", "tests.manager.fake_server", "stolen", "--port", str(port)]
        script = 'exec "$@" & echo $! > "$0"'  # its parent ends at once: it is no child of this server
        subprocess.run(["/bin/sh", "-c", script, str(told), *thief], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        while not ports.listeners(port):
            time.sleep(0.05)
        if "--wait" in sys.argv:
            time.sleep(3600)
    ThreadingHTTPServer.allow_reuse_address = "--alone" not in sys.argv
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
