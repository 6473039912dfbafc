"""A manager that can be killed with -9 at a chosen boundary of submission.

`python -m tests.slurm.submitter STORE SWEEP [BOUNDARY]`
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manager.cluster import slurm
from manager.cluster.slurm_command import Answer, command_environment
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import backend

BOUNDARIES = ("before intent", "after intent", "during sbatch", "after sbatch", "between arrays")


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(boundary: str) -> None:
    """Make this process kill itself at the boundary."""
    real_call: Callable[..., Answer] = slurm.call
    real_write: Callable[..., None] = slurm.write_submitted

    def call(argv: list[str], **options: Any) -> Answer:
        if argv[0] != "sbatch":
            return real_call(argv, **options)
        if boundary == "after intent":
            die()
        if boundary == "during sbatch":
            subprocess.Popen(argv, env=command_environment(os.environ), stdout=subprocess.DEVNULL)
            die()
        answer = real_call(argv, **options)
        if boundary == "after sbatch":
            die()
        return answer

    def write_submitted(*arguments: Any, **options: Any) -> None:
        real_write(*arguments, **options)
        if boundary == "between arrays":
            die()

    slurm.call = call  # type: ignore[assignment]
    slurm.write_submitted = write_submitted
    if boundary == "before intent":
        slurm.write_intent = die


def main() -> None:
    store = Store.open(Path(sys.argv[1]))
    sweep = store.read_sweep(sys.argv[2])
    if len(sys.argv) > 3:
        arm(sys.argv[3])
    result = submit_missing(store, sweep, backend(store, sweep.name))
    print(result.submitted)


if __name__ == "__main__":
    main()
