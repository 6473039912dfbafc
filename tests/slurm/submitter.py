"""A manager that can be killed with -9 at a chosen boundary of submission.

`python -m tests.slurm.submitter STORE SWEEP [BOUNDARY]`: a name of BOUNDARIES, or `effect N`: just before the Nth of
all that it does to the world (a folder or file put in place, a command of Slurm begun, its answer read).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manager.cluster import slurm, slurm_sbatch
from manager.cluster.slurm_command import Answer, command_environment
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import backend

BOUNDARIES = ("before intent", "after intent", "during sbatch", "after sbatch", "between arrays")


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(boundary: str) -> None:
    """Make this process kill itself at the boundary."""
    real_call: Callable[..., Answer] = slurm_sbatch.call
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

    slurm_sbatch.call = call  # type: ignore[assignment]
    slurm.write_submitted = write_submitted
    if boundary == "before intent":
        slurm.write_intent = die


def arm_effect(number: int) -> None:
    """Make this process kill itself just before its effect of this number."""
    left = number

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                die()
            return real(*arguments, **options)

        return counted

    os.replace = before(os.replace)
    os.rename = before(os.rename)
    os.mkdir = before(os.mkdir)
    subprocess.Popen.__init__ = before(subprocess.Popen.__init__)  # type: ignore[method-assign]
    subprocess.Popen.communicate = _and_then(subprocess.Popen.communicate, before(lambda: None))  # type: ignore


def _and_then(real: Callable[..., Any], after: Callable[[], Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        answer = real(*arguments, **options)
        after()
        return answer

    return call


def main() -> None:
    store = Store.open(Path(sys.argv[1]))
    sweep = store.read_sweep(sys.argv[2])
    if len(sys.argv) > 3 and sys.argv[3].startswith("effect "):
        arm_effect(int(sys.argv[3].removeprefix("effect ")))
    elif len(sys.argv) > 3:
        arm(sys.argv[3])
    result = submit_missing(store, sweep, backend(store, sweep.name))
    print(result.submitted)


if __name__ == "__main__":
    main()
