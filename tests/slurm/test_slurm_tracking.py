"""A sweep tracked by a server: each job sends its own points while it runs, and a server that does not answer
keeps no node. A real `mlflow server` and a real Slurm."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.cluster.backend import Phase
from manager.job import Sweep
from manager.store import RunDirectory, Store
from manager.submission import submit_missing
from manager.tracking import sync
from manager.tracking.client import TrackingClient
from tests.manager.tracking_server import Server, running_server
from tests.slurm.cluster import Cluster, Gate, backend, finished, logs, toy, toy_sweep, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPS = 40
EARLY = 10  # steps that a job makes before its gate is opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def rewards(server: Server, run: RunDirectory) -> Counter[int]:
    """The steps of the job's rewards that the server has: how often each."""
    api: Any = TrackingClient(server.uri).api
    experiments = [each.experiment_id for each in api.search_experiments()]
    found: Counter[int] = Counter()
    for each in api.search_runs(experiments, max_results=1000):
        if run.id in each.data.tags.values():
            for key in each.data.metrics:
                if key.rpartition("/")[2] == "reward":
                    found.update(point.step for point in api.get_metric_history(each.info.run_id, key))
    return found


def start(store: Store, name: str, server: Server, gate: Gate) -> tuple[Sweep, RunDirectory]:
    plain = toy_sweep(name, ("train", [toy(len(name), steps=STEPS, **gate.before(EARLY + 1))]))
    sweep = replace(plain, settings={"tracking": {"uri": server.uri}})
    submit_missing(store, sweep, backend(store, name, memory_gb=2.0))
    return sweep, store.run(sweep.jobs[0].job.id)


def over(store: Store, name: str, run: RunDirectory) -> bool:
    return finished(run) and backend(store, name).observe([run.id])[run.id].phase is Phase.ENDED


def drain_log(run: RunDirectory) -> str:
    path: Path = run.path / "attempts" / "0001" / "tracking.log"
    return path.read_text() if path.exists() else "no tracking.log"


def test_points_arrive_while_the_job_runs(
    cluster: Cluster, store: Store, server: Server, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _, run = start(store, "live", server, gate)
    early = Counter(range(1, EARLY + 1))
    wait_for(lambda: rewards(server, run) == early, f"points arrive: {drain_log(run)} {logs(store)}")
    assert not run.is_done(), "they arrive while it runs"
    gate.open()
    wait_for(lambda: over(store, "live", run), "the job is over")
    assert rewards(server, run) == Counter(range(1, STEPS + 1)), "every point once, by the job's own last pass"


def test_a_server_that_does_not_answer_keeps_no_node(
    cluster: Cluster, store: Store, server: Server, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _, run = start(store, "frozen", server, gate)
    wait_for(lambda: rewards(server, run), f"points arrive: {drain_log(run)} {logs(store)}")
    server.signal(signal.SIGSTOP)
    gate.open()
    try:
        wait_for(lambda: over(store, "frozen", run), "the job is over while the server is frozen")
    finally:
        server.signal(signal.SIGCONT)
    wait_for(server.answers, "the server answers again")
    before = rewards(server, run)
    assert len(before) < STEPS, "what came after the server froze is missing; the job did not wait for it"
    sent = sync(store, "frozen")
    assert sent.complete, sent.error
    assert rewards(server, run) == Counter(range(1, STEPS + 1)), "`manager sync` sends the rest, every point once"
