"""A worker that misbehaves on request, for the tests of `evaluators.scoring.isolation`."""

from __future__ import annotations

import os
import time
from typing import Any

from evaluators.scoring.isolation import serve


def handle(request: dict[str, Any]) -> dict[str, Any]:
    what = request["do"]
    if what == "spin":
        while True:
            pass
    if what == "sleep":
        time.sleep(3600)
    if what == "hoard":
        return {"held": len(bytearray(8 << 30))}
    if what == "die":
        os._exit(7)
    if what == "raise":
        raise ValueError("broken")
    if what == "die once":
        marker = request["marker"]
        if not os.path.exists(marker):
            with open(marker, "w"):
                os._exit(7)
    if what == "print":
        print("noise on standard output")
    return {"echo": what, "pid": os.getpid()}


if __name__ == "__main__":
    serve(handle)
