"""A real evaluation of a real (tiny) model under the faults of a cluster: its outcomes are, byte for byte in their
content, those of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from manager.atomic import read_jsonl
from manager.job import Job, Kind, Sweep, SweepJob, canonical_json
from manager.store import RunDirectory, Store
from manager.submission import submit_missing
from tests.slurm.cluster import Cluster, assert_done, backend, finished, logs, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def outcomes_digest(run: RunDirectory) -> str:
    """Of all records by benchmark, item and sample, none of which may be there twice."""
    records = {}
    for path in sorted(run.outcomes.glob("*.jsonl")):
        for record in read_jsonl(path):
            key = f"{path.stem} {record['item']} {record['sample']}"
            assert key not in records
            records[key] = record
    return hashlib.sha256(canonical_json(records).encode()).hexdigest()


def records(run: RunDirectory) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.path.glob("outcomes/*.jsonl"))


def test_killed_and_requeued_it_gives_the_outcomes_of_an_undisturbed_run(
    cluster: Cluster, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from tests.evaluators.tiny import config, entry, make_model

    monkeypatch.delenv("MANAGER_KINDS")
    model = make_model(tmp_path / "model")
    benchmarks = [entry(name, limit=40) for name in ("mini_math", "mini_knowledge")]
    job = Job(Kind.EVALUATE, config(model, *benchmarks, engine={"name": "transformers", "batch_size": 2}))
    sweep = Sweep("real", None, (SweepJob("evaluate", {}, job),))
    calm = Store.open(tmp_path / "calm", create=True)
    submit_missing(calm, sweep, backend(calm, "real", memory_gb=4.0))
    assert_done(calm, sweep, 900.0)
    (submission,) = submit_missing(store, sweep, backend(store, "real", memory_gb=4.0)).submissions
    run = store.run(job.id)
    wait_for(lambda: records(run) >= 1 or run.is_done(), f"it has begun: {logs(store)}")
    os.kill(run.attempts()[0].record["pid"], signal.SIGKILL)  # the nodes are this machine
    wait_for(lambda: len(run.attempts()) == 2 or run.is_done(), "Slurm runs it again")
    before = records(run)
    wait_for(lambda: records(run) > before or run.is_done(), f"it goes on: {logs(store)}")
    cluster.command("scontrol", "requeue", f"{submission.scheduler_id}_0", check=False)
    assert_done(store, sweep, 900.0)
    assert finished(run)
    assert len(run.attempts()) >= 2
    assert [attempt.outcome for attempt in run.attempts()].count("done") == 1
    assert outcomes_digest(run) == outcomes_digest(calm.run(job.id))
