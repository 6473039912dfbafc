"""Sweeps of toy jobs on a real Slurm: submission, dependencies, adoption, requeue, cancel."""

from __future__ import annotations

import pytest

from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import Cluster, assert_done, backend, steps_done, toy, toy_sweep

pytestmark = pytest.mark.slurm


def test_a_sweep_of_three_stages_runs_in_order_and_once(cluster: Cluster, store: Store) -> None:
    trains = [toy(n) for n in range(3)]
    evaluations = [toy(10 + 2 * n + k, needs=(job.id,)) for n, job in enumerate(trains) for k in range(2)]
    report = [toy(99, needs=tuple(job.id for job in evaluations))]
    sweep = toy_sweep("toys", ("train", trains), ("evaluate", evaluations), ("report", report))
    first = submit_missing(store, sweep, backend(store))
    # train; the first and the second evaluation of each; report
    assert [len(each.jobs) for each in first.submissions] == [3, 3, 3, 1]
    again = submit_missing(store, sweep, backend(store))
    assert again.submissions == ()
    assert_done(store, sweep)
    for entry in sweep.jobs:
        assert [step["step"] for step in steps_done(store.run(entry.job.id))] == [1, 2, 3]
        assert len(store.run(entry.job.id).attempts()) == 1
        for need in entry.job.needs:
            parent = store.run(need).result()
            child = store.run(entry.job.id).attempts()[0].record
            assert parent is not None
            assert parent["finished"] <= child["started"]
    assert submit_missing(store, sweep, backend(store)).submissions == ()
