"""A kind for tests: counts steps, remembers them on disk, and does what its config tells it to do.

Takes the place of a kind by MANAGER_KINDS="rl=tests.manager.toy_kind". The number of every step that is
really done is appended to steps.jsonl, so that a test can count what ran, how often and in which attempt.
The result has a digest that depends on every step having been done once, in order, from what was saved before it.
With `gate` it waits at `gate_step` (1) until that file is there, or until it is asked to stop.
TOY_STEPS, TOY_STEP_S and TOY_MEGABYTES (written at each step) do without a key of the config.
"""

from __future__ import annotations

import hashlib
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
    state = read_json(run.path / "toy.json") or {"step": 0, "digest": ""}
    digest = state["digest"]
    for step in range(state["step"] + 1, steps + 1):
        while step >= config.get("gate_step", 1) and _is_shut(config) and not run.stop_requested:
            time.sleep(0.1)
        if run.stop_requested:
            raise Stopped(f"at step {step}")
        with open(run.path / "steps.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "attempt": attempt, "pid": os.getpid()}) + "\n")
        run.log({"reward": step / steps}, step)
        _misbehave(config, step, attempt)
        if megabytes := float(os.environ.get("TOY_MEGABYTES", 0)):
            (run.path / f"large-{step}").write_bytes(b"x" * int(megabytes * 1e6))
        time.sleep(float(config.get("step_s", os.environ.get("TOY_STEP_S", 0.0))))
        digest = after_step(digest, config.get("number"), step)
        write_json(run.path / "toy.json", {"step": step, "digest": digest})
        run.progress(step, steps, reward=step / steps)
    return {"last_step": steps, "metrics": {"reward": 1.0}, "digest": digest}


def after_step(digest: str, number: object, step: int) -> str:
    return hashlib.sha256(f"{digest} {number} {step}".encode()).hexdigest()[:16]


def undisturbed_digest(config: Mapping[str, Any], steps: int) -> str:
    """That of a run from its first to its last step without any fault."""
    digest = ""
    for step in range(1, steps + 1):
        digest = after_step(digest, config.get("number"), step)
    return digest


def _is_shut(config: Mapping[str, Any]) -> bool:
    return "gate" in config and not os.path.exists(config["gate"])


def _misbehave(config: Mapping[str, Any], step: int, attempt: int) -> None:
    fault = config.get("fault")
    if fault is None or step != config.get("fault_step", 2) or attempt > config.get("fault_attempts", 1):
        return
    if fault == "raise":
        raise RuntimeError("told to fail")
    if fault == "known":
        raise Failed("the judge is away", cause="judge", retryable=True)
    if fault == "hang":
        time.sleep(3600)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
