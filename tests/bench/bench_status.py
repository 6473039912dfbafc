"""The own CPU time of `manager status` on a sweep of ten thousand jobs, start of Python and printing included.

`python -m tests.bench.bench_status [JOBS]`. No scheduler: half the jobs are done, the others were never started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from manager.store import Store
from tests.bench.bench_slurm import big_sweep
from tests.slurm.cluster import ROOT

# The process's own time, without that of commands it starts: they are Slurm's.
OWN = (
    "import atexit, resource, sys\n"
    "def told():\n"
    "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "    print(used.ru_utime + used.ru_stime, file=sys.stderr)\n"
    "atexit.register(told)\n"
    "sys.argv[0] = 'manager'\n"
    "from manager.__main__ import main\n"
    "main()\n"
)
REPEATS = 5


def own_cpu_s(store: Store, *arguments: str) -> float:
    """Median over runs of a whole command."""
    seconds = []
    for _ in range(REPEATS):
        done = subprocess.run(
            [sys.executable, "-c", OWN, *arguments],
            cwd=ROOT, env={**os.environ, "MANAGER_STORE": str(store.root)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds.append(float(done.stderr.split()[-1]))
    return sorted(seconds)[len(seconds) // 2]


def prepared(store: Store, jobs: int) -> None:
    sweep = big_sweep(jobs)
    for number, entry in enumerate(sweep.jobs):
        run = store.add_job(entry.job)
        if number % 2:
            run.write_result({"last_step": 3})
    store.write_sweep(sweep, backend="slurm")


def without_outline(store: Store) -> None:
    """Make the record one of before kinds and needs were in it: every job.json is read."""
    path = store.sweep_dir("big") / "sweep.json"
    value = json.loads(path.read_text())
    value["jobs"] = [{k: v for k, v in entry.items() if k not in ("kind", "needs")} for entry in value["jobs"]]
    path.write_text(json.dumps(value))


def main(arguments: Sequence[str]) -> None:
    jobs = int(arguments[0]) if arguments else 10_000
    with tempfile.TemporaryDirectory(prefix="mstatus-") as folder:
        store = Store.open(Path(folder) / "store", create=True)
        prepared(store, jobs)
        version = own_cpu_s(store, "--help")
        outline = own_cpu_s(store, "status", "big")
        without_outline(store)
        whole = own_cpu_s(store, "status", "big")
    print(f"{jobs} jobs, CPU s of the whole command, median of {REPEATS}")
    print(f"{'status':32}{outline:8.2f}")
    print(f"{'status, every job.json read':32}{whole:8.2f}{outline / whole:8.2f}")
    print(f"{'--help (start of Python alone)':32}{version:8.2f}{outline / version:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
