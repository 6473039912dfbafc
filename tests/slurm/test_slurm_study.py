"""The quickstart's study, made small, on a real Slurm by the command line: every kind of job, DeepSpeed over
two nodes with two tasks each, and the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manager.store import Store
from tests.slurm.cluster import ROOT, Cluster, assert_done

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SMALL = (
    "cluster=here",
    "matrix.domain=[math]",
    "matrix.seed=[0]",
    "stages.warmup.sft.max_steps=30",
    "stages.base.sft.max_steps=5",
    "stages.train.grpo.max_steps=4",
    "stages.train.export_steps=4",
    "stages.train.deepspeed=zero2",
    "stages.train.resources={nodes: 2, tasks_per_node: 2, memory_gb: 8}",
    "stages.evaluate.checkpoints=[last]",
)


def manager(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {"MANAGER_CLUSTERS": str(folder / "clusters.yaml"), "MANAGER_STORE": str(folder / "runs")}
    environment = {**os.environ, **places}
    environment.pop("MANAGER_KINDS", None)
    return subprocess.run(
        [sys.executable, "-m", "manager", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_a_whole_study_runs_through_one_command(cluster: Cluster, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "clusters.yaml").write_text("clusters: {here: {partition: main, memory_gb: 6, time_min: 120}}\n")
    sweep = ("sweeps/quickstart.yaml", *SMALL)
    scripts = manager(tmp_path, "plan", *sweep, "--scripts")
    assert scripts.stdout.count("#!/bin/bash") == 6, scripts.stderr
    assert "#SBATCH --dependency=aftercorr:ID" in scripts.stdout
    assert not (tmp_path / "runs").exists(), "a plan changes nothing"
    submitted = manager(tmp_path, "sweep", *sweep)
    assert submitted.returncode == 0, submitted.stderr
    assert "6 submitted now" in submitted.stdout
    store = Store.open(tmp_path / "runs")
    record = store.read_sweep("quickstart")
    assert_done(store, record, deadline_s=1800.0)
    train = next(entry for entry in record.jobs if entry.stage == "train")
    attempt = store.run(train.job.id).attempts()[0]
    assert attempt.record["world_size"] == 4
    assert (store.run(train.job.id).result() or {})["last_step"] == 4
    status = json.loads(manager(tmp_path, "status", "quickstart", "--json").stdout)
    assert status["complete"]
    again = manager(tmp_path, "sweep", *sweep)
    assert "6 of 6 jobs are done, nothing was submitted" in again.stdout
    report = manager(tmp_path, "report", "quickstart")
    assert report.returncode == 0, report.stderr
