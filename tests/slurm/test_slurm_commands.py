"""What people type while a sweep is on a cluster, and what they set before: real commands, real Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from manager.backends import views_and_usage
from manager.cluster.slurm import CANARY_ABOVE
from manager.job import Job, Kind, Resources, Sweep
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import (
    ROOT,
    Cluster,
    Gate,
    assert_done,
    assert_ran_once,
    assert_undisturbed,
    backend,
    steps_done,
    toy,
    toy_sweep,
    wait_for,
)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def command(store: Store, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "manager", *arguments],
        cwd=ROOT, env={**os.environ, "MANAGER_STORE": str(store.root)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def manager(store: Store, *arguments: str) -> str:
    process = command(store, *arguments)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    return out


def test_logs_follow_a_job_over_an_operators_requeue(cluster: Cluster, store: Store, gate: Gate) -> None:
    sweep = toy_sweep("followed", ("train", [toy(1, **gate.before(2))]))
    (submission,) = submit_missing(store, sweep, backend(store)).submissions
    run = store.run(sweep.jobs[0].job.id)
    wait_for(lambda: steps_done(run), "it runs")
    following = command(store, "logs", run.id, "--follow")
    cluster.command("scontrol", "requeue", f"{submission.scheduler_id}_0")
    wait_for(lambda: len(run.attempts()) == 2, "it runs again")
    gate.open()
    out, _ = following.communicate(timeout=240)
    first, _, second = out.partition("--- attempt 2")
    assert f"rl {run.id}: interrupted" in first
    assert f"rl {run.id}: done" in second
    assert second.strip().endswith("attempt 2: done")
    (told,) = [each for each in run.journal() if each.get("name") == "previous_attempt"]
    assert (told["attempt"], told["previous"], told["outcome"], told["cause"]) == (2, 1, "interrupted", "SIGTERM")


def test_cancel_and_retry_take_a_stage_or_a_part_of_it(cluster: Cluster, store: Store, gate: Gate) -> None:
    trains = [toy(n, **gate.before(2)) for n in range(3)]
    sweep = toy_sweep("part", ("train", trains), ("evaluate", [toy(10 + n, needs=(trains[n].id,)) for n in range(3)]))
    submit_missing(store, sweep, backend(store))
    wait_for(lambda: all(steps_done(store.run(job.id)) for job in trains), "all three run")
    assert "3" in manager(store, "cancel", "part", "stage=evaluate")
    wait_for(lambda: cluster.queued() == 3, "only trainings are left")
    manager(store, "cancel", "part", "stage=train", "number=1")
    wait_for(lambda: cluster.queued() == 2, "one of them is gone, and does not come back")
    gate.open()
    wait_for(lambda: cluster.queued() == 0, "the others end")
    assert [store.run(job.id).is_done() for job in trains] == [True, False, True]
    assert submit_missing(store, sweep, backend(store)).submitted == 0, "what is cancelled stays so"
    manager(store, "retry", "part", "--only", "stage=train")
    assert submit_missing(store, sweep, backend(store)).submitted == 1
    manager(store, "retry", "part", "--only", "stage=evaluate")
    assert submit_missing(store, sweep, backend(store)).submitted == 3
    assert_done(store, sweep)
    assert_undisturbed(store, sweep, 3)


def test_a_failed_job_retried_from_scratch_forgets_what_it_saved(cluster: Cluster, store: Store) -> None:
    sweep = toy_sweep("again", ("train", [toy(1, fault="raise", fault_step=3)]))
    submit_missing(store, sweep, backend(store))
    run = store.run(sweep.jobs[0].job.id)
    wait_for(lambda: run.attempts() and run.attempts()[0].end, "it fails")
    wait_for(lambda: cluster.queued() == 0, "and is not tried again by itself")
    (run.path / "checkpoints").mkdir()
    manager(store, "retry", "again", "--failed", "--from-scratch")
    assert not (run.path / "checkpoints").exists()
    assert submit_missing(store, sweep, backend(store)).submitted == 1
    assert_done(store, sweep)
    assert_undisturbed(store, sweep, 3)


def test_a_parent_that_failed_and_is_retried_brings_its_waiting_child_with_it(cluster: Cluster, store: Store) -> None:
    train = toy(1, fault="raise", fault_step=2)
    sweep = toy_sweep("stuck", ("train", [train]), ("evaluate", [toy(2, needs=(train.id,))]))
    here = backend(store, sbatch={"kill-on-invalid-dep": "no"})  # a site that leaves such jobs in the queue for ever
    submit_missing(store, sweep, here)
    reason = ("squeue", "--me", "--noheader", "--format=%r")
    wait_for(lambda: "DependencyNeverSatisfied" in cluster.command(*reason), "the child can never start")
    assert submit_missing(store, sweep, here).submitted == 0
    manager(store, "retry", "stuck", "--failed")
    assert submit_missing(store, sweep, here).submitted == 2
    assert_done(store, sweep)
    assert_undisturbed(store, sweep, 3)
    wait_for(lambda: cluster.queued() == 0, "nothing is left in the queue")


def test_a_stalled_job_leaves_its_stacks_and_goes_on(
    cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGER_STALL_S", "10")
    sweep = toy_sweep("stalled", ("train", [toy(1, steps=10, step_s=1.0, fault="hang", fault_step=9)]))
    submit_missing(store, sweep, backend(store))
    assert_done(store, sweep)
    assert_undisturbed(store, sweep, 10)
    first, second = store.run(sweep.jobs[0].job.id).attempts()
    assert ((first.end or {})["cause"], second.outcome) == ("stalled", "done")
    assert "toy_kind.py" in (first.path / "stacks-rank0.txt").read_text()


def test_arrays_stay_below_the_clusters_own_limit(cluster: Cluster, store: Store) -> None:
    with cluster.settings(MaxArraySize="4"):
        sweep = toy_sweep("small", ("train", [toy(n) for n in range(10)]))
        submissions = submit_missing(store, sweep, backend(store)).submissions
        assert [len(each.jobs) for each in submissions] == [4, 4, 2]
        assert_done(store, sweep)
        assert_ran_once(store, sweep)


@pytest.mark.parametrize(("number", "first_alone"), [(CANARY_ABOVE, False), (CANARY_ABOVE + 1, True)])
def test_large_sweeps_start_with_one_job(cluster: Cluster, store: Store, number: int, first_alone: bool) -> None:
    sweep = toy_sweep("canary", ("train", [toy(n) for n in range(number)]))
    submit_missing(store, sweep, backend(store, sbatch={"hold": True}))
    assert ("%1" in cluster.command("squeue", "--me", "--noheader", "--format=%i")) is first_alone


def _accounted(store: Store, sweep: Sweep) -> int:
    used = views_and_usage(store, sweep)[1]
    return used.accounted_jobs if used is not None else 0


def test_a_budget_stops_submitting_and_counts_what_accounting_tells(cluster: Cluster, store: Store) -> None:
    resources = Resources(gpus_per_node=1, time_min=60)
    jobs = [Job(Kind.RL, {"toy": {"number": 0}, "seed": n}, resources=resources) for n in range(4)]
    plain = toy_sweep("paid", ("train", jobs))
    sweep = replace(plain, settings={"budget_gpu_hours": 2.0})
    first = submit_missing(store, sweep, backend(store))
    assert first.budget is not None
    assert (first.submitted, first.budget.left_out) == (2, 2), "each may take an hour"
    wait_for(lambda: sum(store.run(entry.job.id).is_done() for entry in sweep.jobs) == 2, "two are done")
    wait_for(lambda: cluster.queued() == 0, "their batch scripts have ended")
    wait_for(lambda: _accounted(store, sweep) == 2, "accounting, which lags, knows both")
    # They took seconds, and others of the same shape will: now the budget pays for the rest.
    second = submit_missing(store, sweep, backend(store))
    assert second.budget is not None
    assert (second.submitted, second.budget.left_out) == (2, 0)
    assert second.budget.used.source == "accounting"
    assert_done(store, sweep)
    assert_ran_once(store, sweep)
