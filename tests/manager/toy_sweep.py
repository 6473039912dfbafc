"""A small sweep of toy jobs, run in the foreground by a process of its own: `python -m tests.manager.toy_sweep`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from manager.cluster.local import LocalBackend
from manager.foreground import ForegroundSweep
from manager.job import Job, Kind, Resources, State, Sweep, SweepJob
from manager.store import Store


def toy_sweep(**toy: Any) -> Sweep:
    """One parent, three jobs that need it, one that needs those."""
    parent = Job(Kind.RL, {"toy": toy, "n": "parent"})
    middle = [Job(Kind.RL, {"toy": toy, "n": n}, (parent.id,)) for n in range(3)]
    last = Job(Kind.RL, {"toy": toy, "n": "last"}, tuple(job.id for job in middle))
    jobs = [SweepJob("parent", {}, parent), *(SweepJob("middle", {"n": n}, job) for n, job in enumerate(middle))]
    return Sweep("toy", None, (*jobs, SweepJob("last", {}, last)))


def wide_sweep(ranks: int, **toy: Any) -> Sweep:
    job = Job(Kind.RL, {"toy": toy}, resources=Resources(tasks_per_node=ranks))
    return Sweep("wide", None, (SweepJob("wide", {}, job),))


def main() -> None:
    store = Store.open(Path(sys.argv[1]), create=True)
    options = json.loads(sys.argv[2])
    slots = options.pop("slots", 2)
    ranks = options.pop("ranks", None)
    sweep = wide_sweep(ranks, **options) if ranks else toy_sweep(**options)
    for entry in sweep.jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep)
    told: dict[str, State] = {}

    def tell(known: dict[str, State]) -> None:
        if known != told:
            told.update(known)
            print(json.dumps({entry.job.id: known[entry.job.id] for entry in sweep.jobs}), flush=True)

    ended = ForegroundSweep(store, sweep, LocalBackend(store, slots, 0), tell).run()
    print(json.dumps({"stopped": ended.stopped, "started": ended.started}), flush=True)


if __name__ == "__main__":
    os.environ["MANAGER_KINDS"] = "rl=tests.manager.toy_kind"
    main()
