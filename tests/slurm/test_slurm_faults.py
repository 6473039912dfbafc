"""Faults of the cluster itself, each made on the test cluster. After each: one result a job, every step done,
never by two attempts at once, and the same outcome as of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager.atomic import read_json
from manager.cluster.backend import Phase
from manager.errors import UserError
from manager.job import Job, Kind, Resources, State, Sweep, SweepJob
from manager.liveness import is_alive
from manager.observe import all_facts
from manager.plan import states
from manager.store import RunDirectory, Store
from manager.submission import submit_missing
from tests.slurm.cluster import (
    ROOT,
    Cluster,
    Gate,
    assert_undisturbed,
    backend,
    finished,
    logs,
    steps_done,
    toy,
    toy_sweep,
    wait_for,
)
from tests.trainers import running
from trainers import checkpoints

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def start(store: Store, name: str, number: int = 2, resources: Resources | None = None, **config: object) -> Sweep:
    sweep = toy_sweep(name, ("train", [toy(n, resources=resources, **config) for n in range(number)]))
    submit_missing(store, sweep, backend(store, name))
    return sweep


def runs(store: Store, sweep: Sweep) -> list[RunDirectory]:
    return [store.run(entry.job.id) for entry in sweep.jobs]


def all_started(store: Store, sweep: Sweep, steps: int = 1) -> bool:
    return all(len(steps_done(run)) >= steps for run in runs(store, sweep))


def rerun_until_done(store: Store, sweep: Sweep, deadline_s: float = 400.0, **changes: object) -> None:
    """`manager sweep` again and again, as a person would, until every job has its result."""

    def again() -> bool:
        try:
            submit_missing(store, sweep, backend(store, sweep.name, **changes))
        except UserError:
            return False  # Slurm is away: told, and tried again
        return all(finished(run) for run in runs(store, sweep))

    try:
        wait_for(again, "every job has its result", deadline_s)
    except AssertionError as error:
        queue = subprocess.run(["squeue", "--me"], capture_output=True, text=True, check=False).stdout
        raise AssertionError(f"{error}\n{queue}\n{logs(store)}") from None


def test_the_controller_stops_during_submission_and_is_restarted(cluster: Cluster, store: Store) -> None:
    sweep = toy_sweep("down", ("train", [toy(n) for n in range(3)]))
    cluster.fault("stop", "slurmctld")
    with pytest.raises(UserError, match="does not answer") as told:
        submit_missing(store, sweep, backend(store))
    assert "\n" not in str(told.value)
    cluster.fault("start", "slurmctld")
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 3)
    assert all(len(run.attempts()) == 1 for run in runs(store, sweep))


def test_the_controller_is_away_while_jobs_run(cluster: Cluster, store: Store, gate: Gate) -> None:
    sweep = start(store, "away", steps=12, **gate.before(4))
    wait_for(lambda: all_started(store, sweep), "both run")
    cluster.fault("stop", "slurmctld")
    ids = [run.path.name for run in runs(store, sweep)]
    views = backend(store, timeout_s=15.0).observe(ids)
    assert {view.phase for view in views.values()} == {Phase.UNKNOWN}
    assert all(view.since is not None for view in views.values())
    assert submit_missing(store, sweep, backend(store, timeout_s=15.0)).submitted == 0
    gate.open()
    wait_for(lambda: all(finished(run) for run in runs(store, sweep)), "jobs end without a controller")
    cluster.fault("start", "slurmctld")
    assert submit_missing(store, sweep, backend(store)).submitted == 0
    assert_undisturbed(store, sweep, 12)
    assert all(len(run.attempts()) == 1 for run in runs(store, sweep))


def test_a_controller_that_crashed_forgets_jobs_and_gives_their_ids_to_others(
    cluster: Cluster, store: Store, tmp_path: Path, gate: Gate
) -> None:
    # The controller saves its state every 5 s: what it acknowledged just before a crash is gone, and the id
    # free again. Its state of before the submission stands for a save that did not come in time.
    state, before = cluster.folder / "state", tmp_path / "state"
    cluster.fault("stop", "slurmctld")
    shutil.copytree(state, before)
    cluster.fault("start", "slurmctld")
    sweep = start(store, "lost", steps=20, **gate.before(4))
    wait_for(lambda: all_started(store, sweep), "both run")
    cluster.fault("kill", "slurmctld")
    shutil.rmtree(state)
    shutil.copytree(before, state)
    cluster.fault("start", "slurmctld")
    other = start(store, "reuse", steps=3)
    given = [(read_json(path) or {})["scheduler_id"] for path in store.root.glob("submissions/*/submitted.json")]
    assert given[0] == given[1], "the id of the lost array was given to another"
    views = backend(store).observe([run.id for run in (*runs(store, sweep), *runs(store, other))])
    tokens = {views[run.id].token for run in runs(store, sweep)}, {views[run.id].token for run in runs(store, other)}
    assert tokens[0].isdisjoint(tokens[1]), "each is what its token says"
    gate.open()
    rerun_until_done(store, sweep)
    rerun_until_done(store, other)
    assert_undisturbed(store, sweep, 20)
    assert_undisturbed(store, other, 3)


def test_the_accounting_database_is_away(cluster: Cluster, store: Store) -> None:
    cluster.fault("stop", "slurmdbd")
    sweep = start(store, "nodbd", steps=3)
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 3)
    assert all(len(run.attempts()) == 1 for run in runs(store, sweep))
    cluster.fault("start", "slurmdbd")
    assert submit_missing(store, sweep, backend(store)).submitted == 0


def test_a_job_whose_slurmd_was_killed_runs_on_or_elsewhere_but_never_twice(
    cluster: Cluster, store: Store, gate: Gate
) -> None:
    sweep = start(store, "slurmd", number=1, steps=90, **gate.before(4))
    (run,) = runs(store, sweep)
    wait_for(lambda: len(steps_done(run)) >= 3, "it runs")
    first = run.attempts()[0].record
    cluster.fault("kill", first["scheduler"]["node"])
    wait_for(lambda: len(run.attempts()) == 2, "Slurm starts it on another node, while the first copy still runs")
    assert run.attempts()[1].record["scheduler"]["node"] != first["scheduler"]["node"]
    wait_for(lambda: is_alive(first) is False, "the first copy sees the second and leaves")
    gate.open()
    rerun_until_done(store, sweep)
    cluster.fault("start", first["scheduler"]["node"])
    assert_undisturbed(store, sweep, 90)
    assert [attempt.outcome for attempt in run.attempts()] == [None, "done"], "the first wrote nothing any more"


def test_a_node_that_loses_its_power_gives_its_jobs_to_others(cluster: Cluster, store: Store, gate: Gate) -> None:
    sweep = start(store, "crash", number=2, steps=10, **gate.before(4))
    wait_for(lambda: all_started(store, sweep, 3), "both run")
    node = runs(store, sweep)[0].attempts()[0].record["scheduler"]["node"]
    cluster.fault("crash", node)
    wait_for(lambda: len(runs(store, sweep)[0].attempts()) == 2, "Slurm starts it on another node")
    gate.open()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 10)


def test_a_job_whose_nodes_die_twice_before_it_gets_anywhere_is_the_last_to_do_so(
    cluster: Cluster, store: Store, gate: Gate
) -> None:
    """Slurm itself starts such a job again, for ever; nobody asks the batch script."""
    sweep = start(store, "deadly", number=1, **gate.before(1))
    (run,) = runs(store, sweep)
    for number in (1, 2):
        wait_for(lambda number=number: len(run.attempts()) == number, "it runs")
        cluster.fault("crash", run.attempts()[-1].record["scheduler"]["node"])
    wait_for(lambda: "attempts in a row vanished" in logs(store), "the third one leaves")
    wait_for(lambda: cluster.queued() == 0, "and is not started again")
    views = backend(store).observe([run.id])
    assert states(sweep, all_facts(store, [run.id], views))[run.id] is State.FAILED
    assert submit_missing(store, sweep, backend(store)).submitted == 0
    run.forgive()
    gate.open()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 3)


def test_a_node_set_down_by_its_administrator(cluster: Cluster, store: Store, gate: Gate) -> None:
    sweep = start(store, "setdown", number=1, steps=10, **gate.before(4))
    (run,) = runs(store, sweep)
    wait_for(lambda: len(steps_done(run)) >= 3, "it runs")
    node = run.attempts()[0].record["scheduler"]["node"]
    cluster.command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    wait_for(lambda: len(run.attempts()) == 2, "Slurm starts it on another node")
    gate.open()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 10)
    assert len(run.attempts()) == 2


@pytest.mark.parametrize("signals", ["user signal", "only SIGTERM"])
def test_a_preempted_job_saves_itself_and_continues(
    cluster: Cluster, store: Store, gate: Gate, signals: str
) -> None:
    changes = {"SlurmctldParameters": "preempt_send_user_signal" if signals == "user signal" else ""}
    resources = Resources(slurm={"partition": "preemptible", "exclusive": True, "nodelist": "node4"})
    with cluster.settings(**changes):
        sweep = start(store, "preempted", number=1, resources=resources, steps=20, **gate.before(4))
        (run,) = runs(store, sweep)
        wait_for(lambda: len(steps_done(run)) >= 3, "it runs")
        cluster.command("sbatch", "--exclusive", "--nodelist=node4", "--output=/dev/null", "--wrap=sleep 3")
        wait_for(lambda: run.attempts()[0].end is not None, "it has saved itself")
        gate.open()
        cause = (run.attempts()[0].end or {})["cause"]
        assert cause == ("SIGUSR2" if signals == "user signal" else "SIGTERM")
        wait_for(lambda: finished(run), "Slurm runs it again without any manager")
    assert_undisturbed(store, sweep, 20)
    assert [a.outcome for a in run.attempts()] == ["interrupted", "done"]


def test_cancelling_cancels_where_preemption_sends_only_sigterm(cluster: Cluster, store: Store, gate: Gate) -> None:
    with cluster.settings(SlurmctldParameters=""):
        sweep = start(store, "cancelled", number=1, **gate.before(3))
        (run,) = runs(store, sweep)
        wait_for(lambda: len(steps_done(run)) >= 2, "it runs")
        assert backend(store).cancel([run.id]) == [run.id]
        wait_for(lambda: cluster.queued() == 0, "it is gone and does not come back")
        assert len(run.attempts()) == 1


def test_a_job_longer_than_its_time_limit_continues_where_it_was(cluster: Cluster, store: Store, gate: Gate) -> None:
    # Slurm sends the signal up to a minute early: 100 s of this limit are sure.
    job = toy(1, resources=Resources(time_min=3), steps=20, **gate.before(10))
    sweep = toy_sweep("limit", ("train", [job]))
    submit_missing(store, sweep, backend(store, signal_before_limit_s=20))
    run = store.run(job.id)
    wait_for(lambda: run.attempts() and run.attempts()[0].end is not None, "the signal before the limit")
    gate.open()
    wait_for(lambda: finished(run), "it is done without any manager")
    assert_undisturbed(store, sweep, 20)
    assert [(a.outcome, (a.end or {}).get("cause")) for a in run.attempts()] == [
        ("interrupted", "SIGUSR2"), ("done", None),
    ]  # fmt: skip


def test_a_job_cancelled_by_an_operator_is_resumed_by_the_next_sweep(
    cluster: Cluster, store: Store, gate: Gate
) -> None:
    sweep = start(store, "operator", **gate.before(3))
    wait_for(lambda: all_started(store, sweep, 2), "both run")
    first = runs(store, sweep)[0].id
    cluster.command("scancel", backend(store).observe([first])[first].scheduler_id)
    wait_for(lambda: cluster.queued() == 1, "one is gone and does not come back by itself")
    gate.open()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 3)
    assert [len(run.attempts()) for run in runs(store, sweep)] == [2, 1]


@pytest.mark.parametrize("answer", ["exit 0", "exit 1", "exec sleep 60"], ids=["lags", "is absent", "hangs"])
def test_a_job_that_slurm_has_forgotten_while_accounting_tells_nothing(
    cluster: Cluster, store: Store, gate: Gate, fake: Callable[[str, str], None], answer: str
) -> None:
    with cluster.settings(MinJobAge="2"):
        fake("sacct", answer)
        sweep = start(store, "forgotten", **gate.before(3))
        wait_for(lambda: all_started(store, sweep, 2), "both run")
        here = backend(store, sweep.name, timeout_s=8.0)
        ids = [run.id for run in runs(store, sweep)]
        cluster.command("scancel", here.observe(ids)[ids[0]].scheduler_id)
        wait_for(lambda: here.observe(ids)[ids[0]].phase is Phase.ABSENT, "Slurm has forgotten the cancelled one")
        assert here.observe(ids)[ids[1]].phase is Phase.RUNNING
        gate.open()
        rerun_until_done(store, sweep, timeout_s=8.0)
        assert_undisturbed(store, sweep, 3)
        assert [len(run.attempts()) for run in runs(store, sweep)] == [2, 1]


def test_jobs_that_slurm_has_forgotten_are_known_from_accounting_and_run_directories(
    cluster: Cluster, store: Store
) -> None:
    with cluster.settings(MinJobAge="2"):
        jobs = [toy(1), toy(2, fault="raise", fault_attempts=99)]
        children = [toy(10 + n, needs=(job.id,)) for n, job in enumerate(jobs)]
        sweep = toy_sweep("purged", ("train", jobs), ("evaluate", children))
        submit_missing(store, sweep, backend(store))
        wait_for(lambda: store.run(sweep.jobs[2].job.id).is_done(), "the child of the good job is done")
        wait_for(
            lambda: not cluster.command("squeue", "--me", "--states=all", "--noheader").strip(), "all is forgotten"
        )
        wait_for(
            lambda: backend(store).observe([jobs[1].id])[jobs[1].id].phase is Phase.ENDED, "accounting has its row"
        )
        assert backend(store).observe([jobs[1].id])[jobs[1].id].reason == "FAILED 1:0"
        assert submit_missing(store, sweep, backend(store)).submitted == 0
        assert not steps_done(store.run(sweep.jobs[3].job.id)), "the child of the failed job did nothing"


def test_clocks_of_hosts_that_differ_by_hours_change_nothing(
    cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'slurm' / 'skew'}:{ROOT}")
    sweep = start(store, "skew", number=4, steps=6, resources=Resources(slurm={"exclusive": True}), **gate.before(3))
    wait_for(lambda: all_started(store, sweep), "they run on four nodes")
    nodes = {run.attempts()[0].record["scheduler"]["node"] for run in runs(store, sweep)}
    assert nodes == {"node1", "node2", "node3", "node4"}
    assert submit_missing(store, sweep, backend(store)).submitted == 0
    gate.open()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 6)
    started = [run.attempts()[0].record["started"] for run in runs(store, sweep)]
    assert max(started) - min(started) > 3600, "their clocks really differ"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, which needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_under_a_run_directory_fails_the_attempt_and_is_mended(
    cluster: Cluster, store: Store, small_disk: Path, gate: Gate
) -> None:
    sweep = toy_sweep("full", ("train", [toy(1, steps=10, **gate.before(4))]))
    run = store.add_job(sweep.jobs[0].job)
    _move(run.path, small_disk / run.id)
    submit_missing(store, sweep, backend(store))
    wait_for(lambda: len(steps_done(run)) >= 3, "it runs")
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            pass  # full, as wanted
    gate.open()
    wait_for(lambda: cluster.queued() == 0, "it could not go on and is not tried again and again")
    assert not run.is_done()
    ballast.unlink()
    run.forgive()
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 10)


def test_a_read_only_run_directory_fails_the_attempt_and_is_mended(
    cluster: Cluster, store: Store, small_disk: Path
) -> None:
    sweep = toy_sweep("readonly", ("train", [toy(1, steps=10)]))
    run = store.add_job(sweep.jobs[0].job)
    _move(run.path, small_disk / run.id)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    submit_missing(store, sweep, backend(store))
    wait_for(lambda: "not requeued" in logs(store), "it could not begin and is not tried again and again")
    wait_for(lambda: cluster.queued() == 0, "it is over")
    assert "read_only before the job had begun" in logs(store)
    assert not run.attempts()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    rerun_until_done(store, sweep)
    assert_undisturbed(store, sweep, 10)


def _move(source: Path, target: Path) -> None:
    subprocess.run(["mv", str(source), str(target)], check=True)
    os.symlink(target, source)


def test_a_corrupt_newest_checkpoint_costs_steps_and_changes_nothing(
    cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    """A real training, requeued by an operator; meanwhile its newest checkpoint is damaged on disk."""
    pytest.importorskip("torch")
    long = {"max_steps": 500, "learning_rate": 3e-3, "save_steps": 50}
    job = Job(Kind.SFT, running.sft_config(sft=long))
    sweep = one_job("corrupt", job)
    calm = Store.open(tmp_path / "calm", create=True)
    for each in (store, calm):
        submit_missing(each, sweep, backend(each, "corrupt", memory_gb=4.0))
    run, undisturbed = store.run(job.id), calm.run(job.id)
    folder = run.path / "checkpoints"
    wait_for(lambda: len(complete_states(folder)) >= 2 or run.is_done(), f"two states are saved: {logs(store)}")
    scheduler_id = backend(store).observe([job.id])[job.id].scheduler_id
    cluster.command("scontrol", "requeuehold", scheduler_id)
    wait_for(lambda: backend(store).observe([job.id])[job.id].phase is Phase.QUEUED, "it is out of its node")
    assert not run.is_done(), "it was stopped in the middle"
    newest, before = complete_states(folder)[:2]
    weights = newest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(bytes(content))
    cluster.command("scontrol", "release", scheduler_id)
    rerun_until_done(store, sweep, 900.0)
    wait_for(lambda: finished(undisturbed), "the undisturbed one is done")
    events = {each["name"]: each for each in run.journal() if each["type"] == "event" and each["attempt"] == 2}
    assert "model.safetensors is damaged" in events["state_set_aside"]["reason"]
    assert events["resumed"]["step"] == int(before.name.removeprefix("checkpoint-"))
    assert [attempt.outcome for attempt in run.attempts()].count("done") == 1
    assert weights_digest(run) == weights_digest(undisturbed), "the same model as of the undisturbed run"


def one_job(name: str, job: Job) -> Sweep:
    return Sweep(name, None, (SweepJob("train", {}, job),))


def complete_states(folder: Path) -> list[Path]:
    """Newest first."""
    return [path for _, path in checkpoints.states(folder) if checkpoints.is_complete(path)]


def weights_digest(run: RunDirectory) -> str:
    manifest = read_json(run.model_dir("last") / checkpoints.MARKER)
    assert manifest is not None
    return str(manifest["files"]["model.safetensors"]["sha256"])
