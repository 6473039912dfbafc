"""The quickstart made small, run for real once for all tests that need a finished sweep: killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manager.store import Store

ROOT = Path(__file__).parents[1]
SWEEP = "sweeps/quickstart.yaml"
SMALLER = (
    "matrix.domain=[math, knowledge]",
    "matrix.seed=[0]",
    "stages.warmup.sft.max_steps=60",
    "stages.base.sft.max_steps=10",
    "stages.train.grpo.max_steps=8",
    "stages.train.export_steps=4",
    "stages.evaluate.checkpoints=[4, last]",
)
DEADLINE_S = 900


@dataclass(frozen=True)
class SmallSweep:
    """A finished sweep and what was seen while it ran."""

    store: Path
    first_output: str  # of the manager that was killed
    second_output: str  # of the one that went on

    def manager(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on this sweep's store."""
        return manager(*arguments, store=self.store, check=check)


def environment(store: Path) -> dict[str, str]:
    return {**os.environ, "MANAGER_STORE": str(store), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def manager(*arguments: str, store: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    answer = subprocess.run(
        [sys.executable, "-m", "manager", *arguments],
        cwd=ROOT,
        env=environment(store),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if check:
        assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


def wait_until(condition: Callable[[], bool], alive: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert alive.poll() is None, "the manager ended before it was killed"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def run_small(store: Path) -> SmallSweep:
    """Run it, kill the manager with -9 while the first RL job trains, and run it again to the end."""
    command = [sys.executable, "-m", "manager", "sweep", SWEEP, *SMALLER, "--slots", "2"]
    log = store.parent / "first.log"
    with open(log, "w", encoding="utf-8") as stream:
        first = subprocess.Popen(
            command, cwd=ROOT, env=environment(store), stdout=stream, stderr=subprocess.STDOUT, text=True
        )
        try:
            wait_until(lambda: _training_has_begun(store), first)
        finally:
            first.kill()
            first.wait()
    second = manager("sweep", SWEEP, *SMALLER, "--slots", "2", store=store)
    return SmallSweep(store, log.read_text(encoding="utf-8"), second.stdout)


def _training_has_begun(store: Path) -> bool:
    """Whether an RL job has logged a step."""
    for path in store.glob("jobs/*/attempts/*/journal.jsonl"):
        run = Store(store).run(path.parents[2].name)
        if run.job().kind.value == "rl" and any(
            json.loads(line).get("type") == "metrics" for line in path.read_text(encoding="utf-8").splitlines()
        ):
            return True
    return False
