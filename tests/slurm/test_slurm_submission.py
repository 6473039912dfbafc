"""Submission survives what happens to managers and to sbatch: every job runs once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manager.backends import views_and_usage
from manager.cluster.backend import Phase
from manager.errors import UserError
from manager.history import attempt_seconds
from manager.job import Resources, Sweep
from manager.snapshot import take_snapshot
from manager.store import Store
from manager.submission import submit_missing
from tests.slurm.cluster import (
    DEVCLUSTER,
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
from tests.slurm.submitter import BOUNDARIES

pytestmark = pytest.mark.slurm


# Folder, script, pickle, intent, sbatch and its answer, at the least.
BOUNDARIES_OF_ONE_ARRAY = 6


def prepare(store: Store, sweep: Sweep) -> Sweep:
    for entry in sweep.jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep)
    return sweep


def manager(store: Store, sweep: Sweep, *boundary: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.slurm.submitter", str(store.root), sweep.name, *boundary]
    return subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def names_in_slurm(store: Store) -> list[str]:
    """Names of this store's jobs, of ended ones too, as the controller has them."""
    text = subprocess.run(
        ["squeue", "--me", "--states=all", "--noheader", "--format=%j"], capture_output=True, text=True, check=True
    ).stdout
    tokens = {path.name for path in (store.root / "submissions").iterdir()}
    return [name for name in text.split() if name.rpartition(".")[2] in tokens]


def pair(name: str, first: int) -> Sweep:
    train = toy(first)
    return toy_sweep(name, ("train", [train]), ("evaluate", [toy(first + 1, needs=(train.id,))]))


def test_a_manager_killed_at_any_boundary_loses_and_doubles_nothing(cluster: Cluster, store: Store) -> None:
    sweeps = [prepare(store, pair(f"killed-{n}", 10 * n)) for n in range(len(BOUNDARIES))]
    killed = [manager(store, sweep, boundary) for sweep, boundary in zip(sweeps, BOUNDARIES, strict=True)]
    assert [process.wait(timeout=120) for process in killed] == [-signal.SIGKILL] * len(killed)
    # While nobody can tell whether the call arrives, nothing is submitted a second time.
    again = [submit_missing(store, sweep, backend(store, sweep.name, settle_s=600.0)) for sweep in sweeps]
    in_flight = dict(zip(BOUNDARIES, (round_.submitted for round_ in again), strict=True))
    assert in_flight["before intent"] == 2
    assert in_flight["after intent"] == 0, "the job may still arrive, and its child cannot name it yet"
    assert in_flight["after sbatch"] == in_flight["between arrays"] == 1, "adopted; the child is added"
    wait_for(
        lambda: sum(submit_missing(store, each, backend(store, each.name)).submitted for each in sweeps) == 0
        and all(finished(store.run(entry.job.id)) for each in sweeps for entry in each.jobs),
        "every job has its result, and nothing is left to submit",
    )
    for sweep in sweeps:
        assert_ran_once(store, sweep)


@pytest.mark.slow
def test_a_manager_killed_before_any_of_its_effects_loses_and_doubles_nothing(cluster: Cluster, store: Store) -> None:
    """Every folder, every file put in place and every command of Slurm: a manager dies before each, and after."""
    take_snapshot(store.root)  # once a store: all managers have the same effects then
    effects = 0
    sweeps: list[Sweep] = []
    while True:
        sweep = prepare(store, pair(f"effect-{effects + 1}", 1000 + 10 * effects))
        sweeps.append(sweep)
        process = manager(store, sweep, f"effect {effects + 1}")
        out, error = process.communicate(timeout=240)
        if process.returncode == 0:
            break  # it has no more effects than were tried
        assert process.returncode == -signal.SIGKILL, error
        effects += 1
    assert out.strip() == "2"
    assert effects > 2 * BOUNDARIES_OF_ONE_ARRAY, "two arrays"
    wait_for(
        lambda: sum(submit_missing(store, each, backend(store, each.name)).submitted for each in sweeps) == 0
        and all(finished(store.run(entry.job.id)) for each in sweeps for entry in each.jobs),
        "every job has its result, and nothing is left to submit",
        deadline_s=900.0,
    )
    for sweep in sweeps:
        assert_ran_once(store, sweep)


def test_managers_started_at_the_same_moment_submit_every_job_once(cluster: Cluster, store: Store) -> None:
    sweep = prepare(store, toy_sweep("twice", ("train", [toy(n) for n in range(4)])))
    managers = [manager(store, sweep) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in managers]
    assert sorted(int(out) for out, _ in answers) == [0, 0, 4], answers
    assert_done(store, sweep)
    assert_ran_once(store, sweep)
    assert len(set(names_in_slurm(store))) == 1


def test_a_duplicate_in_the_queue_leaves_at_once_with_success(
    cluster: Cluster, store: Store, gate: Gate
) -> None:
    sweep = prepare(store, toy_sweep("double", ("train", [toy(1, **gate.before(2))])))
    submit_missing(store, sweep, backend(store))
    job = store.run(sweep.jobs[0].job.id)
    wait_for(lambda: job.attempts(), "the first copy has begun")
    # The same array once more, as if a manager had not known of the first.
    (token,) = [path.name for path in (store.root / "submissions").iterdir() if path.is_dir()]
    cluster.command("sbatch", str(store.submission_dir(token) / "submission.sh"))
    logs = store.submission_dir(token).glob
    wait_for(
        lambda: any("nothing to do" in path.read_text() for path in logs("*_log.out")), "the second copy has left"
    )
    gate.open()
    assert_done(store, sweep)
    assert_ran_once(store, sweep)
    wait_for(lambda: cluster.queued() == 0, "both copies have ended")
    (name,) = set(names_in_slurm(store))
    states = cluster.command("squeue", f"--name={name}", "--states=all", "--noheader", "--format=%T").split()
    assert states == ["COMPLETED", "COMPLETED"]


def test_a_refusal_is_told_in_slurms_words_and_leaves_nothing_behind(cluster: Cluster, store: Store) -> None:
    sweep = toy_sweep("refused", ("train", [toy(1)]))
    with pytest.raises(UserError, match=r"stage train: Slurm refuses 1 jobs: .*[Ii]nvalid partition") as told:
        submit_missing(store, sweep, backend(store, partition="nowhere"))
    assert "\n" not in str(told.value)
    # At once, without waiting for a call that surely did not arrive.
    assert submit_missing(store, sweep, backend(store, settle_s=600.0)).submitted == 1
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_no_more_jobs_are_submitted_than_the_user_may_queue(cluster: Cluster, store: Store) -> None:
    trains = [toy(n) for n in range(3)]
    evaluations = [toy(10 + n, needs=(train.id,)) for n, train in enumerate(trains)]
    sweep = toy_sweep("capped", ("train", trains), ("evaluate", evaluations))
    capped = backend(store, qos="capped")
    assert submit_missing(store, sweep, capped).submitted == 4
    assert [entry.stage for entry in capped.left_out] == ["evaluate", "evaluate"]
    assert capped.limits is not None
    assert "QOS capped" in capped.limits.told_by
    wait_for(
        lambda: submit_missing(store, sweep, capped) and all(finished(store.run(e.job.id)) for e in sweep.jobs),
        "the rest follows when there is room",
    )
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_a_refusal_over_the_limit_of_jobs_leaves_nothing_behind(
    cluster: Cluster, store: Store, fake: Callable[[str, str], None]
) -> None:
    fake("sacctmgr", "exit 1")  # so that the limit is not known before the call
    sweep = toy_sweep("over", ("train", [toy(n) for n in range(6)]))
    with pytest.raises(UserError, match=r"stage train: Slurm refuses 6 jobs: .*limit") as told:
        submit_missing(store, sweep, backend(store, qos="capped"))
    assert "\n" not in str(told.value)
    assert cluster.queued() == 0
    assert submit_missing(store, sweep, backend(store, settle_s=600.0)).submitted == 6
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


LOST = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


@pytest.mark.parametrize("after", ["exec sleep 600", LOST], ids=["hangs", "error"])
def test_a_job_whose_acceptance_was_not_heard_is_found_by_its_token(
    cluster: Cluster, store: Store, tmp_path: Path, fake: Callable[[str, str], None], after: str
) -> None:
    fake("sbatch", f'$real "$@" >{tmp_path / "id"}\n{after}')
    sweep = toy_sweep("late", ("train", [toy(1)]))
    here = backend(store, timeout_s=8.0)
    (submission,) = submit_missing(store, sweep, here).submissions
    assert submission.scheduler_id == (tmp_path / "id").read_text().strip()
    assert submit_missing(store, sweep, here).submitted == 0
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_a_job_that_is_accepted_long_after_the_call_was_given_up_is_adopted(
    cluster: Cluster, store: Store, tmp_path: Path, fake: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive = tmp_path / "arrive"
    late = f'while [ ! -e {arrive} ]; do sleep 0.1; done; $real "$@"'
    fake("sbatch", f"(setsid sh -c '{late}' sh \"$@\" >/dev/null 2>&1 &)\n{LOST}")
    sweep = toy_sweep("later", ("train", [toy(1)]))
    here = backend(store, settle_s=600.0)
    monkeypatch.setattr("manager.cluster.slurm_sbatch.APPEAR_S", 1.0)
    with pytest.raises(UserError, match=r"no clear answer .*nothing is lost"):
        submit_missing(store, sweep, here)
    assert submit_missing(store, sweep, here).submitted == 0, "it may still arrive"
    arrive.touch()
    wait_for(lambda: here.observe([sweep.jobs[0].job.id])[sweep.jobs[0].job.id].scheduler_id, "it has arrived")
    assert submit_missing(store, sweep, here).submitted == 0
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_the_controller_stops_between_two_calls_and_is_restarted(
    cluster: Cluster, store: Store, tmp_path: Path, fake: Callable[[str, str], None]
) -> None:
    stop, first = f"{DEVCLUSTER} stop slurmctld {cluster.folder}", tmp_path / "first"
    fake("sbatch", f'if [ -e {first} ]; then {stop}; else touch {first}; fi\nexec $real "$@"')
    sweep = pair("between", 70)
    with pytest.raises(UserError, match="stage evaluate: sbatch gave no clear answer"):
        submit_missing(store, sweep, backend(store))
    fake("sbatch", 'exec $real "$@"')
    cluster.fault("start", "slurmctld")
    wait_for(
        lambda: submit_missing(store, sweep, backend(store)) and all(finished(store.run(e.job.id)) for e in sweep.jobs),
        "every job has its result",
    )
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_arrays_are_disabled_on_some_clusters(
    cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from manager.cluster import slurm
    from manager.cluster.slurm_limits import Limits

    monkeypatch.setattr(slurm, "read_limits", lambda site: Limits(max_array=0))
    sweep = pair("single", 0)
    assert len(submit_missing(store, sweep, backend(store)).submissions) == 2
    views = backend(store).observe([entry.job.id for entry in sweep.jobs])
    assert {view.phase for view in views.values()} <= {Phase.QUEUED, Phase.RUNNING, Phase.ENDED}
    assert_done(store, sweep)
    assert_ran_once(store, sweep)


@pytest.mark.slow
def test_resources_reach_slurm(cluster: Cluster, store: Store) -> None:
    resources = Resources(nodes=2, gpus_per_node=2, time_min=90)
    sweep = toy_sweep("gpus", ("train", [toy(1, resources=resources, step_s=1.0)]))
    (submission,) = submit_missing(store, sweep, backend(store)).submissions
    show = cluster.command("scontrol", "show", "job", "--oneliner", submission.scheduler_id)
    assert "NumNodes=2" in show
    assert "NumTasks=4" in show
    assert "TimeLimit=01:30:00" in show
    assert_done(store, sweep)
    assert store.run(sweep.jobs[0].job.id).attempts()[0].record["world_size"] == 4
    wait_for(lambda: views_and_usage(store, sweep)[1].accounted_jobs, "accounting knows it")  # type: ignore[union-attr]
    used = views_and_usage(store, sweep)[1]
    assert used is not None
    own = 4 * attempt_seconds(store.run(sweep.jobs[0].job.id)) / 3600
    assert (used.source, used.gpu_hours >= own - 4 / 3600) == ("accounting", True), "4 GPUs; Slurm counts whole seconds"
