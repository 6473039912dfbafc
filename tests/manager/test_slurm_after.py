"""What becomes of a job whose tasks have ended: recorded, requeued, elsewhere, or left."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.atomic import read_json, write_json
from manager.cluster.slurm_after import LEAVE, REQUEUE, REQUEUE_ELSEWHERE, last_words
from manager.job import Job, Kind
from manager.remedy import bad_nodes, changed, start_mark
from manager.store import RunDirectory, Store

TOKEN = "m0123456789abcde"
RUNNING = "JobId=9 JobState=RUNNING Requeue=1"
PREEMPTED = f"{RUNNING} PreemptTime=2026-11-20T23:20:07"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    made = Store.open(tmp_path / "store", create=True)
    run = made.add_job(Job(Kind.RL, {"a": 1}))
    made.submission_dir(TOKEN).mkdir()
    write_json(made.submission_dir(TOKEN) / "intent.json", {"tasks": {"3": run.id}})
    return made


def the_run(store: Store) -> RunDirectory:
    return store.run(store.job_ids()[0])


def attempt(store: Store, number: int, step: int | None, end: dict[str, object] | None, log: str = "") -> Path:
    """An attempt of this very execution if it is the last, of earlier restarts otherwise."""
    folder = the_run(store).path / "attempts" / f"{number:04d}"
    folder.mkdir(parents=True)
    execution = f"slurm.7_3.{number}"
    path = store.submission_dir(TOKEN) / "7_3_0_log.err"
    with open(path, "a") as stream:
        stream.write(f"{start_mark(execution)}\n{log}")
    scheduler = {"restart_count": number - 1, "raw_job_id": "9", "node": "node5"}
    record = {"token": TOKEN, "execution": execution, "scheduler": scheduler, "logs": [str(path)], "started": 1.0}
    write_json(folder / "attempt.json", record)
    if step is not None:
        write_json(folder / "progress.json", {"step": step})
    if end is not None:
        write_json(folder / "end.json", end)
    return folder


def stopped(cause: str) -> dict[str, object]:
    return {"outcome": "interrupted", "cause": cause, "retryable": True}


def test_a_job_that_saved_itself_before_its_limit_goes_on(store: Store) -> None:
    attempt(store, 1, 5, stopped("SIGUSR2"))
    assert last_words(store, TOKEN, 1, RUNNING)[0] == REQUEUE


def test_a_job_that_slurm_has_ended_or_requeued_is_left(store: Store) -> None:
    attempt(store, 1, 5, stopped("SIGTERM"))
    assert last_words(store, TOKEN, 1, "JobId=9 JobState=COMPLETING")[0] == LEAVE
    assert last_words(store, TOKEN, 1, "")[0] == LEAVE, "the controller could not be asked"


def test_a_cancelled_job_is_left_even_if_slurm_does_not_know(store: Store) -> None:
    attempt(store, 1, 5, stopped("SIGTERM"))
    the_run(store).set_cancelled({"time": 1.0})
    assert last_words(store, TOKEN, 1, RUNNING) == (LEAVE, "cancelled")


def test_limits_without_progress_end_but_preemptions_do_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        attempt(store, number, 5, stopped("SIGUSR2"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == LEAVE
    assert last_words(store, TOKEN, 1, PREEMPTED)[0] == REQUEUE


def test_a_killed_attempt_is_recorded_with_its_cause(store: Store) -> None:
    folder = attempt(store, 1, 2, None, "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=9.0\n")
    assert last_words(store, TOKEN, 137, RUNNING)[0] == LEAVE
    end = read_json(folder / "end.json") or {}
    assert (end["outcome"], end["cause"], end["retryable"]) == ("failed", "host_memory", False)


def test_a_kill_without_a_word_is_tried_again(store: Store) -> None:
    folder = attempt(store, 1, 2, None)
    assert last_words(store, TOKEN, 137, RUNNING)[0] == REQUEUE
    assert (read_json(folder / "end.json") or {})["cause"] == "killed"


def test_what_an_earlier_attempt_printed_is_not_this_ones_cause(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(store, 1, 2, {"outcome": "failed", "cause": "gpu_memory", "retryable": True}, "CUDA error: out of memory\n")
    folder = attempt(store, 2, 4, None, "Connection reset by peer\n")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == REQUEUE
    assert (read_json(folder / "end.json") or {})["cause"] == "communication"


def test_a_node_is_left_at_once_and_avoided_after_the_second_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(store, 1, 2, None, "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == REQUEUE_ELSEWHERE
    assert bad_nodes(store.root) == []
    attempt(store, 2, 4, None, "CUDA error: uncorrectable ECC error encountered\n")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == REQUEUE_ELSEWHERE
    assert bad_nodes(store.root) == ["node5"]


def test_the_micro_batch_is_halved_down_to_one_and_no_further(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = the_run(store)
    out_of_memory = {"outcome": "failed", "cause": "gpu_memory", "retryable": True, "remedy": "smaller"}
    verdicts, sizes = [], []
    used = 3
    for number in (1, 2, 3):
        folder = attempt(store, number, None, out_of_memory)
        with open(folder / "journal.jsonl", "w") as stream:
            stream.write(f'{{"type": "params", "values": {{"train/per_device": {used}}}}}\n')
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(number - 1))
        verdicts.append(last_words(store, TOKEN, 1, RUNNING)[0])
        used = changed(run.job(), run).resources.micro_batch or used
        sizes.append(used)
    assert verdicts == [REQUEUE, LEAVE, LEAVE]
    assert sizes == [1, 1, 1]


def test_the_end_that_another_rank_wrote_is_told(store: Store) -> None:
    folder = attempt(store, 1, 2, None, "Connection closed by peer\n")
    failed = {"outcome": "failed", "cause": "import", "message": "no module", "retryable": False, "finished": 1.0}
    write_json(folder / "rank-3.failed.json", failed)
    assert last_words(store, TOKEN, 1, RUNNING)[0] == LEAVE
    assert (read_json(folder / "end.json") or {})["message"] == "rank-3: no module"


def test_tasks_that_died_before_the_claim_are_judged_by_their_logs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = store.submission_dir(TOKEN) / "7_3_0_log.err"
    log.write_text("ModuleNotFoundError: No module named 'submitit'\n")
    assert last_words(store, TOKEN, 1, RUNNING) == (LEAVE, "import before the job had begun")
    log.write_text("srun: error: Task launch for StepId=9.0 failed on node node9: Invalid job credential\n")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == REQUEUE_ELSEWHERE
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert last_words(store, TOKEN, 1, RUNNING)[0] == LEAVE
