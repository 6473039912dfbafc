"""A kind for tests in the place of a training: saves weights at step 1, and ends when an evaluation of these has."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from manager.run import Failed, Run, Stopped

DEADLINE_S = 200.0


def main(run: Run) -> Mapping[str, Any]:
    if run.config["toy"].get("saves", True):
        folder = run.directory.model_dir(1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "COMPLETE.json").write_text("{}")
    run.progress(1, 2)
    if run.config["toy"].get("fails"):
        raise Failed("told to fail", cause="told")
    deadline = time.monotonic() + DEADLINE_S
    while run.config["toy"].get("waits", True) and not _evaluated(run):
        if run.stop_requested:
            raise Stopped("before an evaluation was done")
        if time.monotonic() > deadline:
            raise Failed("no evaluation was done while this training ran", cause="too_late")
        time.sleep(0.1)
    run.progress(2, 2)
    return {"last_step": 2, "models": [1], "metrics": {}}


def _evaluated(run: Run) -> bool:
    jobs = run.path.parent.glob("*/job.json")
    children = (path.parent for path in jobs if run.directory.id in json.loads(path.read_text())["needs"])
    return any((child / "result.json").exists() for child in children)
