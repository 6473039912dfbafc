"""GPU-hours used so far: accounting where it knows all attempts of a job, else the run directory."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from manager import render
from manager.atomic import write_json
from manager.cluster.slurm_query import Rows, parse_sacct, parse_squeue
from manager.cluster.slurm_record import Record
from manager.cluster.slurm_view import accounted
from manager.job import Job, Kind, Resources, Sweep, SweepJob
from manager.plan import JobFacts
from manager.status import collect
from manager.store import Store
from manager.usage import Usage, gpus_of, usage

A, B = "m0123456789abcde", "mfedcba987654321"
SACCT = f"""\
1_0|9|NODE_FAIL|0:0|100|1900|1800|node1|90|billing=8,gres/gpu=8|toys.train.{A}
1_0|9|COMPLETED|0:0|2000|3800|1800|node2|1950|billing=8,gres/gpu=8|toys.train.{A}
1_1|10|RUNNING|0:0|100|Unknown|900|node1|90|cpu=1|toys.train.{A}
1_2|11|RUNNING|0:0|100|Unknown|99999|node1|90|gres/gpu=8|toys.train.{A}
1_[3-4]|1|PENDING|0:0|Unknown|Unknown|0|None assigned|90||toys.train.{A}
5|5|COMPLETED|0:0|9000|9900|900|node1|8000|gres/gpu=8|toys.train.{B}
"""
SQUEUE = f"""\
10|1|1|RUNNING|None|node1|100|N/A|manager {A}|toys.train.{A}
1|1|3-4|PENDING|Resources||N/A|N/A|manager {A}|toys.train.{A}
"""


def record(token: str, tasks: dict[int, str]) -> Record:
    return Record(token, f"toys.train.{token}", "me", "default", "train", tasks, 80.0, "1", {})


def seconds(*names: str) -> dict[str, float]:
    first = record(A, {0: "two", 1: "runs", 2: "lost", 3: "waits", 5: "unknown"})
    queue: Rows = parse_squeue(SQUEUE, {A, B})
    accounting = parse_sacct(SACCT, {A, B})
    return accounted([first, record(B, {0: "two"})], dict.fromkeys(names, 8), queue, accounting)


def test_all_attempts_of_all_submissions_count() -> None:
    assert seconds("two") == {"two": 8 * (1800 + 1800 + 900)}


def test_where_accounting_does_not_track_gpus_those_asked_for_count() -> None:
    assert seconds("runs") == {"runs": 8 * 900}


def test_a_job_that_waits_used_nothing() -> None:
    assert seconds("waits") == {"waits": 0.0}


def test_what_accounting_does_not_know_or_has_running_for_ever_is_left_to_the_run_directory() -> None:
    assert seconds("lost", "unknown") == {}


def test_jobs_without_a_gpu_are_not_asked_about() -> None:
    assert gpus_of([SweepJob("s", {}, Job(Kind.REPORT, {}))]) == {}


def attempt(store: Store, job_id: str, number: int, started: float, finished: float) -> None:
    folder = store.run(job_id).path / "attempts" / f"{number:04d}"
    folder.mkdir(parents=True)
    write_json(folder / "attempt.json", {"started": started})
    write_json(folder / "end.json", {"outcome": "done", "finished": finished})


@pytest.mark.parametrize(
    ("known", "hours", "source"),
    [
        ((), 8.0, "run directories"),
        (("a",), 20.0, "accounting and run directories"),
        (("a", "b"), 32.0, "accounting"),
    ],
)
def test_the_source_is_told(tmp_path: Path, known: tuple[str, ...], hours: float, source: str) -> None:
    store = Store.open(tmp_path / "store", create=True)
    for name in ("a", "b"):
        attempt(store, name, 1, 100.0, 1000.0)
        attempt(store, name, 2, 2000.0, 2900.0)
    used = usage(store, {"a": 8, "b": 8}, dict.fromkeys(known, 16 * 3600.0))
    assert (used.gpu_hours, used.source) == (hours, source)


def test_status_shows_it_beside_the_budget(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    entry = SweepJob("train", {}, Job(Kind.RL, {}, resources=Resources(gpus_per_node=8)))
    sweep = Sweep("s", None, (entry,), {"budget_gpu_hours": 100})
    value = collect(store, sweep, {entry.job.id: JobFacts(done=False)}, Usage(12.25, 1, 0))
    stream = StringIO()
    Console(file=stream, width=100).print(render.status(value))
    assert "12.2 of 100.0 GPU-hours used (from accounting)" in stream.getvalue()
    assert value.to_json()["used"]["gpu_hours"] == 12.25
    assert value.to_json()["budget_gpu_hours"] == 100.0
