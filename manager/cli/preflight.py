"""What must be true before jobs are handed over: compute nodes have no network and cannot fetch data."""

from __future__ import annotations

from manager.errors import UserError
from manager.job import Kind, Sweep
from manager.store import Store


def require_data(store: Store, sweep: Sweep) -> None:
    """Refuse a sweep whose benchmarks have no data here, in one line that names the command to run."""
    from evaluators.benchmark_data import missing

    wanted = {
        row["name"]
        for entry in sweep.jobs
        if entry.job.kind is Kind.EVALUATE and not store.run(entry.job.id).is_done()
        for row in entry.job.config["benchmarks"]
        if row["data"].get("hub")
    }
    absent = missing(sorted(wanted))
    if absent:
        first = next(iter(absent.values()))
        raise UserError(
            f"sweep {sweep.name}: no data for {len(absent)} of its benchmarks ({', '.join(absent)}): {first}"
        )
