"""`when: saved` on a real Slurm: an evaluation starts while its training holds its own node."""

from __future__ import annotations

import pytest

from manager.cluster.backend import Phase
from manager.job import State
from manager.observe import all_facts
from manager.plan import states
from manager.store import Store
from manager.submission import submit_missing
from tests.manager.test_when_saved import sweep_of
from tests.slurm.cluster import Cluster, assert_done, backend, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(autouse=True)
def kinds(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.manager.saving_kind,evaluate=tests.manager.toy_kind")


def test_an_evaluation_waits_without_a_node_and_is_released_when_its_checkpoint_is_saved(
    cluster: Cluster, store: Store
) -> None:
    sweep = sweep_of(1)
    submit_missing(store, sweep, backend(store))
    training, evaluation = (store.run(entry.job.id) for entry in sweep.jobs)
    (name,) = training.waiting()
    assert "Dependency=" in cluster.command("scontrol", "show", "job", name)
    assert_done(store, sweep)  # the training ends only after the evaluation has
    assert evaluation.result()["finished"] < training.result()["finished"]  # type: ignore[index]
    assert len(evaluation.attempts()) == 1


def test_without_saved_weights_the_evaluation_starts_after_the_training(cluster: Cluster, store: Store) -> None:
    sweep = sweep_of(1, saves=False, waits=False)
    submit_missing(store, sweep, backend(store))
    training, evaluation = (store.run(entry.job.id) for entry in sweep.jobs)
    assert_done(store, sweep)
    started = evaluation.attempts()[0].record["started"]
    assert training.result()["finished"] <= started  # type: ignore[index]


def test_weights_saved_before_the_evaluation_was_submitted_are_not_waited_for(cluster: Cluster, store: Store) -> None:
    sweep = sweep_of(1)
    alone = type(sweep)(sweep.name, None, sweep.jobs[:1])
    submit_missing(store, alone, backend(store))
    training = store.run(sweep.jobs[0].job.id)
    wait_for(lambda: training.saved_steps() == {1}, "the training saves")
    submit_missing(store, sweep, backend(store))
    assert training.waiting() == {}
    assert_done(store, sweep)


def test_a_training_that_fails_later_leaves_its_saved_weights_to_be_evaluated(cluster: Cluster, store: Store) -> None:
    sweep = sweep_of(1, fails=True)
    submit_missing(store, sweep, backend(store))
    training, evaluation = (store.run(entry.job.id) for entry in sweep.jobs)
    wait_for(lambda: training.attempts() and training.attempts()[0].end, "the training fails")

    def again() -> bool:
        submit_missing(store, sweep, backend(store))
        return evaluation.is_done()

    wait_for(again, "the evaluation of what it saved")
    views = backend(store).observe([training.id])
    known = states(sweep, all_facts(store, [entry.job.id for entry in sweep.jobs], views))
    assert known[training.id] is State.FAILED
    assert views[training.id].phase is not Phase.RUNNING
