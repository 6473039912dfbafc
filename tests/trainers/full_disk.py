"""Inside a disk of a bounded size: run a small study, let the disk fill up at a given moment, see how it ends.

    python -m tests.trainers.full_disk STORE MODEL MOMENT

Run by test_full_disk.py in a mount namespace of its own, which a small disk needs. Prints JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manager.atomic import read_jsonl
from manager.store import RunDirectory, Store
from trainers import checkpoints

ROOT = Path(__file__).parents[2]
SWEEP = """
name: full
study: interventional
cluster: local
stages:
  train:
    kind: %s
    model: %s
    data: %s
    %s
"""
SFT = ("sft", "{name: small, scratch: {architecture: qwen2, hidden_size: 256, layers: 4, heads: 4, context: 512}}",
       "mini-knowledge",
       "batch: {examples: 16}\n    sft: {max_steps: 12, save_steps: 4, learning_rate: 1e-3}")  # fmt: skip
RL = ("rl", "%s", "mini-knowledge",
      "batch: {prompts: 4, samples: 4}\n"
      "    grpo: {max_steps: 12, save_steps: 4, learning_rate: 1e-3, max_completion_length: 4}\n"
      "    generation: transformers\n    export_steps: 6")  # fmt: skip


# Enough for all states up to the moment to be begun, and little to be filled: that takes less time than a state.
LEFT_BYTES = {"log": 160 * 10**6, "state": 160 * 10**6, "export": 230 * 10**6, "result": 230 * 10**6}
PAGE = 4096


class Disk:
    """A file that takes all that is free, and gives it back."""

    def __init__(self, store: Path) -> None:
        self._file = store.parent / "filler"

    def fill(self, leave: int = 0) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT)
        while (free := self._free() - leave) > 0:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            # All of it at once, or, where others take of it meanwhile, a page after the other.
            for size in (free, PAGE):
                with contextlib.suppress(OSError):
                    os.posix_fallocate(descriptor, end, size)
                    break
        os.close(descriptor)

    def _free(self) -> int:
        found = os.statvfs(self._file.parent)
        return found.f_bfree * found.f_frsize

    def empty(self) -> None:
        self._file.unlink(missing_ok=True)


def training(store: Path) -> RunDirectory | None:
    ids = Store(store).job_ids() if (store / "jobs").is_dir() else []
    return Store(store).run(ids[0]) if ids else None


def logged_step(run: RunDirectory) -> int:
    attempts = run.attempts()
    records = read_jsonl(attempts[-1].path / "journal.jsonl") if attempts else iter(())
    return max((record["step"] for record in records if record["type"] == "metrics"), default=0)


MOMENTS: dict[str, Callable[[RunDirectory], bool]] = {
    "log": lambda run: logged_step(run) >= 6,
    "state": lambda run: (run.path / "checkpoints" / "checkpoint-8").is_dir(),  # its files come after
    # As soon as older states are gone, because their removal makes room once more.
    "export": lambda run: (
        checkpoints.is_complete(run.path / "checkpoints" / "checkpoint-12")
        and not (run.path / "checkpoints" / "checkpoint-4").exists()
    ),
    "result": lambda run: checkpoints.is_complete(run.path / "models" / "step-000012"),
}


def manager(store: Path, *arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "MANAGER_STORE": str(store), "OMP_NUM_THREADS": "1", "COLUMNS": "200",
                   "TMPDIR": "/tmp", "HF_HUB_OFFLINE": "1"}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "manager", *arguments], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def fill_at(store: Path, moment: str, disk: Disk, over: threading.Event) -> None:
    nearly = False
    while not over.is_set():
        run = training(store)
        if run is not None and not nearly and logged_step(run) >= 5:
            disk.fill(LEFT_BYTES[moment])
            nearly = True
        if run is not None and MOMENTS[moment](run):
            disk.fill()
            return
        time.sleep(0.0005)


def described(store: Path) -> dict[str, Any]:
    run = training(store)
    if run is None:
        return {}
    states = checkpoints.states(run.path / "checkpoints")
    return {
        "done": run.is_done(),
        "attempts": [attempt.end and (attempt.end["outcome"], attempt.end.get("cause", ""),
                                      attempt.end.get("message", "")) for attempt in run.attempts()],
        "whole": sorted(step for step, path in states if checkpoints.problem(path) is None),
        "marked": sorted(step for step, path in states if checkpoints.is_complete(path)),
        "models": sorted(path.name for path in (run.path / "models").glob("*") if checkpoints.problem(path) is None),
        "losses": {record["step"]: record["values"]["loss"] for record in run.journal()
                   if record["type"] == "metrics" and "loss" in record["values"]},
        "events": [record["name"] for attempt in run.attempts()
                   for record in read_jsonl(attempt.path / "journal.jsonl") if record["type"] == "event"],
    }  # fmt: skip


def main(store: Path, model: str, moment: str) -> dict[str, Any]:
    """What was said and what is there after the disk was full at `moment`, and after it had room again.

    `model`: the folder of one to train by reinforcement, or sft, to train one from scratch.
    """
    sweep = store.parent / "full.yaml"
    kind = SFT if model == "sft" else (RL[0], RL[1] % model, *RL[2:])
    sweep.write_text(SWEEP % kind, encoding="utf-8")
    disk, over = Disk(store), threading.Event()
    found: dict[str, Any] = {}
    if moment == "start":
        disk.fill()
    elif moment != "never":
        threading.Thread(target=fill_at, args=(store, moment, disk, over), daemon=True).start()
    found["first"] = manager(store, "sweep", str(sweep))
    over.set()
    found["after first"] = described(store)
    disk.empty()
    if moment != "never":
        found["again"] = manager(store, "sweep", str(sweep))
        found["after again"] = described(store)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:])))
