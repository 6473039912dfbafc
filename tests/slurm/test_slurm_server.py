"""A generation server on its own node of a training's job, on a real Slurm; the server itself is a stand-in."""

from __future__ import annotations

import sys

import psutil
import pytest

from manager.atomic import read_json
from manager.job import Job, Kind, Resources, Sweep, SweepJob
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import Cluster, assert_done, backend, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(autouse=True)
def kinds(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.manager.served_kind")
    monkeypatch.setenv("MANAGER_VLLM_SERVER", f"{sys.executable} -m tests.manager.fake_server")


def served(resources: Resources, **toy: bool) -> Sweep:
    config = {"toy": toy, "generation": {"mode": "server"}, "model": {"path": "/model", "digest": "x"}}
    return Sweep("served", None, (SweepJob("train", {}, Job(Kind.RL, config, resources=resources)),))


def test_the_last_node_serves_and_the_others_train(cluster: Cluster, store: Store) -> None:
    sweep = served(Resources(nodes=3, tasks_per_node=2, server_gpus=2, time_min=60, memory_gb=1))
    submit_missing(store, sweep, backend(store))
    assert_done(store, sweep)
    run = store.run(sweep.jobs[0].job.id)
    (attempt,) = run.attempts()
    seen = [path.read_text() for path in sorted(attempt.path.glob("seen-*"))]
    assert len(seen) == 4  # of six processes, two belong to the server
    server_nodes = {text.split()[0] for text in seen}
    assert len(server_nodes) == 1
    assert server_nodes.isdisjoint(text.split()[-1] for text in seen)
    assert all("'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'" in text for text in seen)
    told = read_json(attempt.path / "server.json")
    assert told is not None
    # The nodes of the test cluster are this machine.
    wait_for(lambda: not psutil.pid_exists(told["pid"]), "the server ends with the attempt")


def test_a_server_that_dies_fails_the_attempt_and_the_next_one_has_another(cluster: Cluster, store: Store) -> None:
    sweep = served(Resources(nodes=1, tasks_per_node=3, server_gpus=1, time_min=60, memory_gb=1), dies=True)
    submit_missing(store, sweep, backend(store))
    assert_done(store, sweep)
    first, second = store.run(sweep.jobs[0].job.id).attempts()
    assert first.end is not None
    assert (first.end["cause"], first.end["retryable"]) == ("generation_server", True)
    assert "rank-2: the generation server ended with code 3: the engine ran out of memory" in first.end["message"]
    assert second.outcome == "done"
