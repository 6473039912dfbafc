"""What a store has lost besides its run directories comes back from them and from the queue, on a real Slurm;
no job is submitted a second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from manager.backends import views_and_usage
from manager.cluster.backend import HELD_BACK, Phase
from manager.cluster.slurm import SlurmBackend
from manager.cluster.slurm_recover import recover_ended
from manager.cluster.slurm_site import Site
from manager.errors import UserError
from manager.job import Resources, Sweep
from manager.rebuild import rebuild_store
from manager.remedy import bad_nodes
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import (
    ROOT,
    Cluster,
    Gate,
    assert_done,
    assert_ran_once,
    backend,
    finished,
    toy,
    toy_sweep,
    wait_for,
)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PIECES = ("submissions", "sweeps", "code")


def lose(store: Store, *pieces: str) -> None:
    for piece in pieces:
        shutil.rmtree(store.root / piece)


def contents(store: Store, piece: str) -> list[str]:
    return sorted(name for name in os.listdir(store.root / piece) if name != ".lock")


def phases(store: Store, sweep: Sweep) -> dict[str, Phase]:
    views = backend(store, sweep.name).observe([entry.job.id for entry in sweep.jobs])
    return {job_id: view.phase for job_id, view in views.items()}


@pytest.fixture
def busy(cluster: Cluster, store: Store, gate: Gate) -> Sweep:
    """A sweep with finished, running and waiting jobs; the gate lets the running ones go on."""
    trains = [toy(0), *(toy(n, **gate.before(2)) for n in (1, 2, 3))]
    evaluations = [toy(10 + n, needs=(train.id,)) for n, train in enumerate(trains)]
    sweep = toy_sweep("lost", ("train", trains), ("evaluate", evaluations))
    submit_missing(store, sweep, backend(store, "lost", max_parallel=2))
    runs = [store.run(job.id) for job in trains]
    # At the gate everything is loaded: a job that is just starting would not survive the loss of its code.
    at_the_gate = [run.path / "steps.jsonl" for run in runs[1:3]]
    wait_for(lambda: finished(runs[0]) and all(path.exists() for path in at_the_gate), "one is done and two run")
    wait_for(lambda: finished(store.run(evaluations[0].id)), "and the child of the first is done")
    over = [Phase.ENDED] * 2
    ids = (trains[0].id, evaluations[0].id)
    wait_for(lambda: [phases(store, sweep)[each] for each in ids] == over, "and their batch scripts have ended")
    return sweep


def test_each_lost_piece_comes_back_while_jobs_are_done_running_and_queued(
    store: Store, busy: Sweep, gate: Gate
) -> None:
    sweep = busy
    before = phases(store, sweep)
    assert set(before.values()) == {Phase.ENDED, Phase.RUNNING, Phase.QUEUED}
    whole = {piece: contents(store, piece) for piece in PIECES}
    record = (store.sweep_dir("lost") / "sweep.json").read_text()
    for pieces in ((), ("submissions",), ("sweeps",), ("code",), PIECES):
        lose(store, *pieces)
        again = rebuild_store(store.root)
        assert again.problems == ()
        assert {piece: contents(store, piece) for piece in PIECES} == whole
        assert (again.queued > 0, again.sweeps != (), again.code != ()) == tuple(piece in pieces for piece in PIECES)
        assert phases(store, sweep) == before
        assert (store.sweep_dir("lost") / "sweep.json").read_text() == record
        assert submit_missing(store, store.read_sweep("lost"), backend(store, "lost")).submitted == 0
    (store.submission_dir(contents(store, "submissions")[0]) / "work.pkl").unlink()
    assert rebuild_store(store.root).queued == 1, "a folder of which a file is missing"
    gate.open()
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


def test_the_command_brings_everything_back(store: Store, busy: Sweep, gate: Gate) -> None:
    sweep = busy
    lose(store, *PIECES)
    with pytest.raises(UserError, match="`manager rebuild` finds them again"):
        Store.open(store.root)
    (store.root / "store.json").unlink()

    def manager(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "manager", *arguments, "--store", str(store.root)],
            cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    told = manager("rebuild")
    assert told.returncode == 0, told.stderr
    assert "records of sweeps: lost" in told.stdout
    assert "2 submissions found in the queue" in told.stdout
    assert "points" in told.stdout, "the tracking store too"
    assert "nothing was missing" in manager("rebuild").stdout
    assert submit_missing(store, store.read_sweep("lost"), backend(store, "lost")).submitted == 0
    gate.open()
    assert_done(store, sweep)
    assert_ran_once(store, sweep)
    assert '"complete": true' in manager("status", "lost", "--json").stdout


def test_manager_sweep_adopts_jobs_whose_submissions_were_lost_without_a_rebuild(
    store: Store, busy: Sweep, gate: Gate
) -> None:
    sweep = busy
    lose(store, "submissions")
    assert submit_missing(store, sweep, backend(store, "lost")).submitted == 0
    gate.open()
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


def test_held_jobs_are_still_known_as_held(cluster: Cluster, store: Store) -> None:
    jobs = [toy(n, fault="raise", fault_step=1, fault_attempts=99) for n in range(3)]
    sweep = toy_sweep("held", ("train", jobs))
    site = Site(settle_s=2.0, timeout_s=30.0, time_min=60, memory_gb=0.5)
    submit_missing(store, sweep, SlurmBackend(store, site, "held", canary=True))
    wait_for(lambda: "JobHeld" in cluster.command("squeue", "--me", "--noheader", "--format=%r"), "they are held")
    lose(store, "submissions")
    rebuild_store(store.root)
    views = backend(store, "held").observe([job.id for job in jobs[1:]])
    assert {view.reason for view in views.values()} == {HELD_BACK}


def test_hours_used_and_bad_nodes_are_known_again_from_the_attempts(cluster: Cluster, store: Store) -> None:
    jobs = [toy(n, resources=Resources(gpus_per_node=1), bad_node="node1") for n in range(2)]
    sweep = toy_sweep("used", ("train", jobs))
    submit_missing(store, sweep, backend(store, "used"))
    assert_done(store, sweep)
    wait_for(lambda: cluster.queued() == 0, "their batch scripts have ended")

    def accounted() -> tuple[int, float] | None:
        used = views_and_usage(store, sweep)[1]
        return (used.accounted_jobs, used.gpu_hours) if used is not None else None

    (token,) = contents(store, "submissions")
    states = ("sacct", "--noheader", "--allocations", f"--name=used.train.{token}", "--format=State")
    wait_for(lambda: cluster.command(*states).split() == ["COMPLETED"] * 2, "accounting knows both")
    before, blamed = accounted(), bad_nodes(store.root)
    lose(store, "submissions", *(["nodes"] if blamed else []))
    (store.root / "submissions").mkdir()
    assert recover_ended(store) == 1
    assert accounted() == before
    rebuild_store(store.root)
    assert bad_nodes(store.root) == blamed
