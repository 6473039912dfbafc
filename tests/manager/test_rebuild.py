"""What a store has lost is found again in run directories, in batch scripts and in what the queue lists."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from manager.atomic import write_json
from manager.cluster.slurm_record import intent_in, read_records
from manager.cluster.slurm_recover import parse_listed, recover_ended
from manager.cluster.slurm_script import script
from manager.errors import UserError
from manager.job import Job, Kind, Sweep, SweepJob
from manager.rebuild import rebuild_store
from manager.remedy import bad_nodes
from manager.store import Store
from tests.manager.test_slurm_script import REQUEST, SITE

TOKEN = "m0123456789abcde"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PATH", "/nowhere")  # no Slurm here
    return Store.open(tmp_path / "store", create=True)


def sweep_of(store: Store, name: str, *numbers: int) -> Sweep:
    jobs = [SweepJob("train", {"number": n}, Job(Kind.RL, {"n": n})) for n in numbers]
    sweep = Sweep(name, None, tuple(jobs), {"budget_gpu_hours": 3}, "name: x\n")
    for entry in jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep)
    return sweep


def attempt(store: Store, job_id: str, index: int, **end: object) -> None:
    folder = store.run(job_id).path / "attempts" / "0001"
    folder.mkdir(parents=True)
    scheduler = {"name": "slurm", "job_id": f"7_{index}", "raw_job_id": "8", "node": "node5", "user": "ann",
                 "job_name": f"s.train.{TOKEN}"}  # fmt: skip
    write_json(folder / "attempt.json", {"token": TOKEN, "scheduler": scheduler, "started": 1000.0 + index})
    if end:
        write_json(folder / "end.json", end)


def test_a_batch_script_says_which_jobs_it_is_for() -> None:
    assert intent_in(script(REQUEST, SITE)) == REQUEST.intent
    assert intent_in(script(replace(REQUEST, intent={}), SITE)) is None


def test_the_queue_lists_submissions_of_this_store_by_the_place_of_their_scripts() -> None:
    text = (
        f"7|PENDING|Resources|1000|/store/submissions/{TOKEN}/submission.sh\n"
        f"7|COMPLETED|None|1000|/store/submissions/{TOKEN}/submission.sh\n"
        "9|RUNNING|None|1000|/other/submissions/m000000000000001/submission.sh\n"
        "10|RUNNING|None|1000|(null)\n"
        "11|PENDING|JobHeldUser|1000|/store/submissions/m000000000000002/submission.sh\n"
        "12|COMPLETED|None|1000|/store/submissions/m000000000000003/submission.sh\n"
    )
    found = parse_listed(text, Path("/store/submissions"))
    assert {token: (each.array_id, each.live, each.held) for token, each in found.items()} == {
        TOKEN: ("7", True, False),
        "m000000000000002": ("11", True, True),
        "m000000000000003": ("12", False, False),
    }
    assert found[TOKEN].submitted == 1000.0


def test_records_of_sweeps_come_back_from_run_directories(store: Store) -> None:
    sweep_of(store, "a", 1, 2)
    changed = sweep_of(store, "a", 3, 1)
    other = sweep_of(store, "b.c", 1)
    newer = (store.sweep_dir("a") / "sweep.json").stat().st_mtime + 10
    os.utime(store.run(changed.jobs[0].job.id).path / "sweeps" / "a.json", (newer, newer))
    before = {name: (store.sweep_dir(name) / "sweep.json").read_text() for name in ("a", "b.c")}
    shutil.rmtree(store.root / "sweeps")
    again = rebuild_store(store.root)
    assert again.sweeps == ("a", "b.c")
    assert {name: (store.sweep_dir(name) / "sweep.json").read_text() for name in ("a", "b.c")} == before
    assert store.read_sweep("a") == changed
    assert store.read_sweep("b.c") == other
    assert rebuild_store(store.root).sweeps == ()


def test_submissions_and_blamed_nodes_come_back_from_attempts(store: Store) -> None:
    sweep = sweep_of(store, "s", 1, 2)
    for index, entry in enumerate(sweep.jobs):
        attempt(store, entry.job.id, index, outcome="failed", cause="bad_node", remedy="other node")
    assert recover_ended(store) == 1
    (record,) = read_records(store)
    assert (record.token, record.name, record.user, record.array_id) == (TOKEN, f"s.train.{TOKEN}", "ann", "7")
    assert record.tasks == {0: sweep.jobs[0].job.id, 1: sweep.jobs[1].job.id}
    assert record.created == 1000.0, "accounting is asked about the time since then"
    assert rebuild_store(store.root).blamed == 2
    assert bad_nodes(store.root) == ["node5"]
    shutil.rmtree(store.root / "nodes" / "node5")
    assert rebuild_store(store.root).blamed == 0, "what a person forgave stays forgiven"


def test_only_run_directories_cannot_be_made_again(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(store.root / "submissions")
    with pytest.raises(UserError, match="`manager rebuild` finds them again"):
        Store.open(store.root)
    (store.root / "store.json").unlink()
    assert list(rebuild_store(store.root).lines()) == ["nothing was missing beside the run directories"]
    Store.open(store.root)
    with pytest.raises(UserError, match="no run directories here"):
        rebuild_store(tmp_path)
