"""A kind for tests: counts steps, remembers them on disk, and does what its config tells it to do.

Takes the place of a kind by MANAGER_KINDS="rl=tests.manager.toy_kind". The number of every step that is
really done is appended to steps.jsonl, so that a test can count what ran, how often and in which attempt.
TOY_STEPS, TOY_STEP_S and TOY_MEGABYTES (written at each step) do without a key of the config.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from manager.atomic import read_json, write_json
from manager.run import Failed, Run, Stopped


def main(run: Run) -> Mapping[str, Any]:
    config = run.config.get("toy", {})
    steps = int(config.get("steps", os.environ.get("TOY_STEPS", 3)))
    attempt = int(run.attempt_dir.name)
    state = read_json(run.path / "toy.json") or {"step": 0}
    for step in range(state["step"] + 1, steps + 1):
        if run.stop_requested:
            raise Stopped(f"at step {step}")
        with open(run.path / "steps.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "attempt": attempt, "pid": os.getpid()}) + "\n")
        run.log({"reward": step / steps}, step)
        _misbehave(config, step, attempt)
        if megabytes := float(os.environ.get("TOY_MEGABYTES", 0)):
            (run.path / f"large-{step}").write_bytes(b"x" * int(megabytes * 1e6))
        time.sleep(float(config.get("step_s", os.environ.get("TOY_STEP_S", 0.0))))
        write_json(run.path / "toy.json", {"step": step})
        run.progress(step, steps, reward=step / steps)
    return {"last_step": steps, "metrics": {"reward": 1.0}}


def _misbehave(config: Mapping[str, Any], step: int, attempt: int) -> None:
    fault = config.get("fault")
    if fault is None or step != config.get("fault_step", 2) or attempt > config.get("fault_attempts", 1):
        return
    if fault == "raise":
        raise RuntimeError("told to fail")
    if fault == "known":
        raise Failed("the judge is away", cause="judge", retryable=True)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
