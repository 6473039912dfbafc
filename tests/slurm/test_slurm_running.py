"""Jobs on a real Slurm: groups of processes, failures with their remedies, requeue, cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from manager.atomic import read_json
from manager.cluster.backend import Phase
from manager.cluster.slurm import SlurmBackend
from manager.cluster.slurm_site import Site
from manager.job import Resources, State, Sweep
from manager.observe import all_facts
from manager.plan import states
from manager.remedy import bad_nodes
from manager.status import collect
from manager.store import RunDirectory, Store
from manager.submission import submit_missing
from tests.slurm.cluster import (
    Cluster,
    Gate,
    assert_done,
    assert_undisturbed,
    backend,
    logs,
    steps_done,
    toy,
    toy_sweep,
    wait_for,
)

pytestmark = pytest.mark.slurm


def canary(store: Store, sweep: Sweep):  # type: ignore[no-untyped-def]
    here = SlurmBackend(store, Site(settle_s=2.0, timeout_s=30.0, time_min=60, memory_gb=0.5), sweep.name, canary=True)
    return submit_missing(store, sweep, here)


def one(store: Store, name: str = "one", resources: Resources | None = None, **config: object):  # type: ignore[no-untyped-def]
    """A submitted sweep of one job, with its run directory and array id."""
    sweep = toy_sweep(name, ("train", [toy(1, resources=resources, **config)]))
    (submission,) = submit_missing(store, sweep, backend(store, name)).submissions
    return sweep, store.run(sweep.jobs[0].job.id), submission.scheduler_id


def ends(run: RunDirectory) -> list[tuple[str, str]]:
    return [(str(each.outcome), str((each.end or {}).get("cause", ""))) for each in run.attempts()]


def test_two_nodes_with_two_tasks_form_one_group(cluster: Cluster, store: Store) -> None:
    pytest.importorskip("torch")
    resources = Resources(nodes=2, tasks_per_node=2, time_min=60, memory_gb=4)
    sweep, run, _ = one(store, resources=resources, group=True, steps=2)
    assert_done(store, sweep)
    (event,) = [each for each in run.journal() if each.get("name") == "sum"]
    assert (event["message"], event["world"]) == ("6.0", 4)
    assert len(run.attempts()) == 1


def test_a_killed_task_is_recorded_and_goes_on_without_any_manager(cluster: Cluster, store: Store) -> None:
    sweep, run, _ = one(store, steps=4, fault="kill", fault_step=3)
    wait_for(lambda: ends(run) and ends(run)[0][0] == "failed", "the batch script records the end")
    assert ends(run)[0] == ("failed", "killed")
    views = backend(store).observe([run.id])
    assert views[run.id].phase in (Phase.QUEUED, Phase.RUNNING)
    assert_done(store, sweep)
    assert_undisturbed(store, sweep, 4)
    assert submit_missing(store, sweep, backend(store)).submissions == ()


def test_the_last_task_of_an_array_is_requeued_without_its_siblings(
    cluster: Cluster, store: Store, gate: Gate
) -> None:
    # Its own id is that of the whole array.
    jobs = [toy(0, steps=10, **gate.before(4)), toy(1, steps=4, fault="kill", fault_step=3)]
    sweep = toy_sweep("last", ("train", jobs))
    submit_missing(store, sweep, backend(store))
    wait_for(lambda: ("done", "") in ends(store.run(jobs[1].id)), "the last task is done")
    gate.open()
    assert_done(store, sweep)
    assert ends(store.run(jobs[0].id)) == [("done", "")]
    assert ends(store.run(jobs[1].id)) == [("failed", "killed"), ("done", "")]


@pytest.mark.slow
def test_out_of_gpu_memory_halves_the_micro_batch_until_it_fits(cluster: Cluster, store: Store) -> None:
    sweep, run, _ = one(store, fits=2)
    before = run.job()
    assert_done(store, sweep)
    assert ends(run) == [("failed", "gpu_memory"), ("failed", "gpu_memory"), ("done", "")]
    used = [each["values"]["train/per_device"] for each in run.journal() if each["type"] == "params"]
    assert used == [8, 4, 2]
    assert run.job() == before, "the identity stays as it was"
    assert run.job().resources == before.resources


def test_an_operators_requeue_continues_in_a_new_attempt(cluster: Cluster, store: Store, gate: Gate) -> None:
    sweep, run, array_id = one(store, steps=8, **gate.before(4))
    wait_for(lambda: len(steps_done(run)) >= 3, "three steps are done")
    cluster.command("scontrol", "requeue", f"{array_id}_0")
    wait_for(lambda: ends(run)[0][0] == "interrupted", "it has saved itself")
    gate.open()
    assert_done(store, sweep)
    assert [outcome for outcome, _ in ends(run)] == ["interrupted", "done"]
    assert_undisturbed(store, sweep, 8)
    assert len({each.record["execution"] for each in run.attempts()}) == 2


def test_cancelling_is_for_good_whoever_does_it(cluster: Cluster, store: Store, gate: Gate) -> None:
    jobs = [toy(n, **gate.before(2)) for n in range(3)]
    sweep = toy_sweep("cancel", ("train", jobs), ("evaluate", [toy(10, needs=(jobs[0].id,))]))
    submissions = submit_missing(store, sweep, backend(store)).submissions
    runs = [store.run(job.id) for job in jobs]
    wait_for(lambda: all(steps_done(run) for run in runs), "all three run")
    cluster.command("scancel", f"{submissions[0].scheduler_id}_0")  # by hand
    runs[1].set_cancelled({"time": 0.0})
    assert backend(store).cancel([runs[1].id]) == [runs[1].id]
    wait_for(lambda: cluster.queued() == 1, "two are gone, with the child of one, and one runs on")
    assert [ends(run) for run in runs[:2]] == [[("interrupted", "SIGTERM")]] * 2
    ids = [entry.job.id for entry in sweep.jobs]
    known = states(sweep, all_facts(store, ids, backend(store).observe(ids)))
    assert [known[job.id] for job in jobs] == [State.INTERRUPTED, State.CANCELLED, State.RUNNING]
    # The one cancelled by hand is resumed by the next `manager sweep`, the other is not.
    again = submit_missing(store, sweep, backend(store)).submissions
    assert [each.jobs for each in again] == [(jobs[0].id,), (ids[3],)]
    assert len(backend(store).cancel(ids)) == 3
    wait_for(lambda: cluster.queued() == 0, "all are gone")


def test_status_without_accounting_says_what_it_cannot_know(
    cluster: Cluster, store: Store, gate: Gate, fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run, array_id = one(store, **gate.before(2))
    fake("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    wait_for(lambda: backend(store).observe([run.id])[run.id].phase is Phase.RUNNING, "it runs")
    cluster.command("scancel", array_id)
    wait_for(lambda: cluster.queued() == 0, "it is gone")
    # Squeue remembers it for MinJobAge; a backend that looks after that has only the run directory.
    view = backend(store).observe([run.id])[run.id]
    assert view.phase is Phase.ENDED
    assert view.reason == "CANCELLED"
    monkeypatch.setattr("manager.cluster.slurm.ask_squeue", lambda *a, **k: {})
    view = backend(store).observe([run.id])[run.id]
    assert view.phase is Phase.ABSENT
    assert "accounting storage is disabled" in view.reason


@pytest.mark.slow
def test_a_node_that_fails_jobs_is_avoided(cluster: Cluster, store: Store) -> None:
    jobs = [toy(n, bad_node="node1") for n in range(2)]
    sweep = toy_sweep("node", ("train", jobs), ("evaluate", [toy(5, needs=tuple(job.id for job in jobs))]))
    waiting = submit_missing(store, sweep, backend(store)).submissions[1].scheduler_id
    wait_for(
        lambda: "ExcNodeList=node1" in cluster.command("scontrol", "show", "job", waiting),
        f"jobs of the sweep that wait shall not use it either: {logs(store)}",
    )
    assert_done(store, sweep)
    for job in jobs:
        assert ends(store.run(job.id)) == [("failed", "bad_node"), ("done", "")]
        assert store.run(job.id).attempts()[1].record["scheduler"]["node"] != "node1"
    assert bad_nodes(store.root) == ["node1"]
    more = toy_sweep("more", ("train", [toy(9)]))
    (submission,) = submit_missing(store, more, backend(store)).submissions
    script = (store.submission_dir(submission.token) / "submission.sh").read_text()
    assert "#SBATCH --exclude=node1\n" in script


@pytest.mark.slow
def test_one_failed_rank_ends_the_group_and_all_start_again(cluster: Cluster, store: Store) -> None:
    pytest.importorskip("torch")
    resources = Resources(nodes=2, tasks_per_node=2, time_min=60, memory_gb=4)
    sweep, run, _ = one(store, resources=resources, group=True, rank_fails=True, steps=2)
    assert_done(store, sweep)
    assert [outcome for outcome, _ in ends(run)] == ["failed", "done"]


@pytest.mark.slow
def test_two_attempts_without_progress_are_the_last(cluster: Cluster, store: Store) -> None:
    sweep, run, _ = one(store, steps=4, step_s=3.0, fault="kill", fault_step=3, fault_attempts=99)
    wait_for(lambda: len(ends(run)) >= 3 and ends(run)[-1][0] == "failed" and not cluster.queued(), "it is given up")
    assert len(ends(run)) == 3, "the first got somewhere, two got no further"
    ids = [run.id]
    assert states(sweep, all_facts(store, ids, backend(store).observe(ids)))[run.id] is State.FAILED
    assert submit_missing(store, sweep, backend(store)).submissions == ()


@pytest.mark.slow
def test_an_error_of_the_users_own_is_not_retried(cluster: Cluster, store: Store) -> None:
    sweep, run, _ = one(store, fault="raise", fault_attempts=99)
    wait_for(lambda: cluster.queued() == 0 and ends(run), "it has ended")
    assert ends(run) == [("failed", "exception")]
    assert submit_missing(store, sweep, backend(store)).submissions == ()
    assert read_json(run.path / "changes.json") is None


@pytest.mark.slow
def test_the_first_job_of_an_array_makes_a_step_before_the_others_start(
    cluster: Cluster, store: Store, gate: Gate, tmp_path: Path
) -> None:
    later = Gate(tmp_path / "later")
    jobs = [toy(0, steps=8, **gate.before(1)), *(toy(n, steps=8, **later.before(3)) for n in (1, 2, 3))]
    sweep = toy_sweep("canary", ("train", jobs))
    canary(store, sweep)
    runs = [store.run(job.id) for job in jobs]
    wait_for(lambda: runs[0].attempts(), "the first has begun")
    reasons = ("squeue", "--me", "--noheader", "--states=pending", "--format=%r")
    wait_for(lambda: cluster.command(*reasons).split() == ["JobArrayTaskLimit"], "the others wait for it")
    assert not any(run.attempts() for run in runs[1:])
    gate.open()
    wait_for(lambda: all(len(steps_done(run)) >= 2 for run in runs[1:]), "the others run side by side")
    later.open()
    assert_done(store, sweep)
    first_step = [each["time"] for each in runs[0].journal() if each.get("step") == 1]
    assert min(run.attempts()[0].record["started"] for run in runs[1:]) > first_step[0]
    assert_undisturbed(store, sweep, 8)


@pytest.mark.slow
def test_when_the_first_job_fails_the_others_are_held_and_told(cluster: Cluster, store: Store) -> None:
    jobs = [toy(n, fault="raise", fault_step=1, fault_attempts=99) for n in range(4)]
    sweep = toy_sweep("held", ("train", jobs))
    canary(store, sweep)
    wait_for(lambda: "JobHeld" in cluster.command("squeue", "--me", "--noheader", "--format=%r"), "they are held")
    assert [len(store.run(job.id).attempts()) for job in jobs] == [1, 0, 0, 0]
    first = jobs[0].id
    wait_for(lambda: backend(store, "held").observe([first])[first].phase is Phase.ENDED, "its batch script has ended")
    views = backend(store, "held").observe([job.id for job in jobs])
    assert {view.reason for view in views.values()} == {"FAILED", "held: the first job of its array failed"}
    status = collect(store, sweep, all_facts(store, [job.id for job in jobs], views))
    assert [row.cause for row in status.problems] == ["exception", "held", "held", "held"]
    # Once more: the failed one is left alone, the held ones are submitted anew, again one first.
    again = canary(store, sweep)
    assert again.submitted == 3
    wait_for(lambda: len(store.run(jobs[1].id).attempts()) == 1, "the second is now the first")
    assert not store.run(jobs[3].id).attempts()
