"""Ten thousand jobs on the Slurm test cluster: submission and status, beside submitit's own.

`python -m tests.bench.bench_slurm [JOBS]`. The jobs are held and never run.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import submitit

from manager.job import Job, Sweep
from manager.observe import all_facts
from manager.plan import states
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import ROOT, Cluster, backend, missing_programs, toy, toy_sweep

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


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


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


def big_sweep(jobs: int) -> Sweep:
    """Trainings with three evaluations each, and a report."""
    trains = [toy(n) for n in range((jobs - 1) // 4)]
    evaluations = [toy(3 * n + k + 1_000_000, needs=(each.id,)) for n, each in enumerate(trains) for k in range(3)]
    report: list[Job] = [toy(-1, needs=tuple(each.id for each in evaluations))]
    return toy_sweep("big", ("train", trains), ("evaluate", evaluations), ("report", report))


def with_manager(folder: Path, jobs: int) -> dict[str, float]:
    store = Store.open(folder / "store", create=True)
    sweep = big_sweep(jobs)
    here = backend(store, "big", sbatch={"hold": True})
    prepare_s, _ = timed(lambda: [store.add_job(entry.job) for entry in sweep.jobs])
    submit_s, result = timed(lambda: submit_missing(store, sweep, here))
    ids = [entry.job.id for entry in sweep.jobs]
    cpu = time.process_time()
    status_s, _ = timed(lambda: states(sweep, all_facts(store, ids, here.observe(ids))))
    status_cpu_s = time.process_time() - cpu
    command_cpu_s = own_cpu_s(store, "status", "big")
    again_s, again = timed(lambda: submit_missing(store, sweep, here))
    assert result.submitted == len(sweep.jobs)  # type: ignore[attr-defined]
    assert again.submitted == 0  # type: ignore[attr-defined]
    cancel_s, _ = timed(lambda: here.cancel(ids))
    return {
        "jobs": len(sweep.jobs),
        "calls of sbatch": len(result.submissions),  # type: ignore[attr-defined]
        "run directories s": prepare_s,
        "submit s": submit_s,
        "status s": status_s,
        "status own CPU s": status_cpu_s,
        "same, command": command_cpu_s,
        "sweep again s": again_s,
        "cancel s": cancel_s,
    }


def with_submitit(folder: Path, jobs: int, chunk: int) -> dict[str, float]:
    """The same number of jobs as arrays below MaxArraySize, without dependencies: submitit has none."""
    calls = 0
    handles: list[submitit.Job[int]] = []
    start = time.perf_counter()
    for first in range(0, jobs, chunk):
        executor = submitit.SlurmExecutor(folder=folder / f"submitit-{first}")
        executor.update_parameters(time=5, mem="512MB", additional_parameters={"hold": True})
        handles += executor.map_array(abs, range(first, min(first + chunk, jobs)))
        calls += 1
    submit_s = time.perf_counter() - start
    status_s, _ = timed(lambda: [job.state for job in handles])
    return {"jobs": len(handles), "calls of sbatch": calls, "submit s": submit_s, "status s": status_s}


def show(own: dict[str, float], other: dict[str, float]) -> None:
    print(f"{'':20}{'manager':>12}{'submitit':>12}{'ratio':>8}")
    for key, value in own.items():
        there = other.get(key)
        ratio = f"{value / there:8.2f}" if there else f"{'–':>8}"
        print(f"{key:20}{value:12.2f}{'–' if there is None else f'{there:.2f}':>12}{ratio}")


def main(arguments: Sequence[str]) -> None:
    jobs = int(arguments[0]) if arguments else 10_000
    missing = missing_programs()
    if missing:
        print(f"skipped: the Slurm test cluster needs {', '.join(missing)}")
        return
    logging.getLogger("submitit").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="mslurmb-", dir="/tmp"))
    cluster = Cluster(folder / "c")
    try:
        cluster.up(DEVCLUSTER_CONF="MaxJobCount=50000")
        own = with_manager(folder, jobs)
        other = with_submitit(folder, jobs, 1001)
        show(own, other)
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
