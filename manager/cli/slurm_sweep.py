"""`manager sweep` on a cluster: submit what is missing, say what was done, leave."""

from __future__ import annotations

from rich.console import Console

from manager import render
from manager.backends import slurm
from manager.cli.sweeps import next_step
from manager.job import Sweep
from manager.lock import exclusive
from manager.observe import all_facts
from manager.plan import Act, actions
from manager.status import collect
from manager.store import Store


def submit(store: Store, sweep: Sweep, cluster: str | None) -> int:
    """Hand over every job that has no result and is not in the queue; returns the exit status."""
    console = Console()
    backend = slurm(store, sweep, cluster)
    with exclusive(store.sweep_dir(sweep.name) / "lock", f"sweep {sweep.name}"):
        for entry in sweep.jobs:
            store.add_job(entry.job)
        store.write_sweep(sweep, backend=backend.name, cluster_option=cluster)
        ids = [entry.job.id for entry in sweep.jobs]
        todo = actions(sweep, all_facts(store, ids, backend.observe(ids)))
        entries = [each.entry for each in todo if each.act in (Act.SUBMIT, Act.RESUME)]
        submissions = backend.submit(entries, {}) if entries else []
        number = sum(len(each.jobs) for each in submissions)
        value = collect(store, sweep, all_facts(store, ids, backend.observe(ids)))
    console.print(render.status(value))
    console.print(f"{number} jobs submitted in {len(submissions)} calls of sbatch")
    if backend.left_out:
        console.print(
            f"{len(backend.left_out)} jobs do not fit the queue's limit now; run the same command again later"
        )
    console.print(next_step(value))
    return 0
