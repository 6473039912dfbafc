"""The command line: what it prints for mistakes, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manager.store import Store

ROOT = Path(__file__).parents[2]
TOY = {"MANAGER_KINDS": ",".join(f"{kind}=tests.manager.toy_kind" for kind in ("sft", "rl", "evaluate"))}
SWEEP = """
name: toy
cluster: local
matrix: {seed: [0, 1]}
stages:
  base: {kind: sft, model: tiny, data: mini-math, sft: {max_steps: 4}}
  train: {kind: rl, needs: base, data: mini-math, seed: "${seed}", grpo: {max_steps: 4}, generation: transformers}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


def manager(folder: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "manager", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **TOY, "MANAGER_STORE": str(folder / "runs"), "COLUMNS": "160", **variables},
    )


def test_a_sweep_from_plan_to_clean(tmp_path: Path, file: Path) -> None:
    planned = manager(tmp_path, "plan", file, "--json")
    jobs = json.loads(planned.stdout)["jobs"]
    assert [(job["stage"], job["action"]) for job in jobs] == [
        ("base", "submit"),
        ("train", "submit"),
        ("train", "submit"),
    ]
    assert not (tmp_path / "runs").exists()  # a plan changes nothing
    ran = manager(tmp_path, "sweep", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 executions" in ran.stdout
    status = json.loads(manager(tmp_path, "status", "toy", "--json").stdout)
    assert status["complete"]
    assert status["counts"] == {"done": 3}
    assert "0 of 3" not in manager(tmp_path, "plan", file).stdout
    again = manager(tmp_path, "sweep", file)
    assert "all 3 jobs are done; nothing was started" in again.stdout
    why = manager(tmp_path, "why", jobs[1]["id"], jobs[2]["id"])
    assert why.stdout.strip() == "config.seed: 0 | 1"
    logs = manager(tmp_path, "logs", jobs[0]["id"])
    assert "done" in logs.stdout.splitlines()[-1]
    assert "nothing to delete" in manager(tmp_path, "clean", "toy").stdout


def test_an_override_makes_other_jobs_and_shares_the_rest(tmp_path: Path, file: Path) -> None:
    assert manager(tmp_path, "sweep", file).returncode == 0
    changed = manager(tmp_path, "plan", file, "stages.train.grpo.learning_rate=5e-7", "--json")
    assert [job["action"] for job in json.loads(changed.stdout)["jobs"]] == ["skip", "submit", "submit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "none.yaml"], "none.yaml"),
        (["status", "--store", "/nowhere/at/all"], "no store here"),
        (["logs", "zzz"], "no store here"),
        (["data", "check", "--to", "/nowhere"], "manager data fetch"),
        (["data", "fetch", "--to", "/tmp/x", "--suite", "alll16"], "is neither a suite"),
        (["evaluate", "no-such-model", "--suite", "mini"], "no-such-model"),
    ],
)
def test_mistakes_are_one_line_and_exit_1(tmp_path: Path, arguments: list[str], message: str) -> None:
    answer = manager(tmp_path, *arguments)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_sweep_that_asks_for_gpus_says_so_before_anything_runs(tmp_path: Path, file: Path) -> None:
    answer = manager(tmp_path, "sweep", file, "stages.train.resources.gpus_per_node=8")
    assert answer.returncode == 1
    assert "asks for 8 GPUs and this machine has 0" in answer.stderr
    assert not list((tmp_path / "runs" / "jobs").iterdir())


def test_two_managers_on_one_sweep_at_once_the_second_is_told(tmp_path: Path, file: Path) -> None:
    from manager.lock import exclusive

    store = Store.open(tmp_path / "runs", create=True)
    with exclusive(store.sweep_dir("toy") / "lock", "sweep toy"):
        answer = manager(tmp_path, "sweep", file)
    assert answer.returncode == 1
    assert f"is being run by process {os.getpid()}" in answer.stderr


def test_cancel_and_retry_take_a_part_of_a_sweep(tmp_path: Path, file: Path) -> None:
    assert manager(tmp_path, "sweep", file, "stages.base.sft.max_steps=4").returncode == 0
    store = Store.open(tmp_path / "runs")
    train = [entry.job.id for entry in store.read_sweep("toy").jobs if entry.stage == "train"]
    for job_id in train:
        (store.run(job_id).path / "result.json").unlink()
    answer = manager(tmp_path, "cancel", "toy", "stage=train", "seed=0")
    assert answer.stdout.startswith("1 jobs cancelled (0 of them running)")
    states = {job["id"]: job["state"] for job in json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"]}
    assert [states[job_id] for job_id in train] == ["cancelled", "interrupted"]
    assert manager(tmp_path, "retry", "toy", "seed=0").returncode == 0
    states = {job["id"]: job["state"] for job in json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"]}
    assert [states[job_id] for job_id in train] == ["ready", "interrupted"]


def test_logs_follow_a_job_to_its_end(tmp_path: Path, file: Path) -> None:
    assert manager(tmp_path, "sweep", file).returncode == 0
    job_id = json.loads(manager(tmp_path, "plan", file, "--json").stdout)["jobs"][0]["id"]
    began = time.monotonic()
    answer = manager(tmp_path, "logs", job_id, "-f")
    assert "--- attempt 1: done" in answer.stdout
    assert time.monotonic() - began < 300


def test_help_names_every_command(tmp_path: Path) -> None:
    text = manager(tmp_path, "--help").stdout
    for name in (
        "plan",
        "sweep",
        "status",
        "logs",
        "cancel",
        "retry",
        "why",
        "report",
        "ui",
        "doctor",
        "clean",
        "data",
    ):
        assert f" {name} " in text
    assert "Traceback" not in text


def test_doctor_says_what_is_here(tmp_path: Path) -> None:
    rows = {row["part"]: row for row in json.loads(manager(tmp_path, "doctor", "--json").stdout)}
    assert rows["python"]["ok"]
    assert rows["torch"]["found"].startswith("2.13")


def test_benchmarks_without_data_are_told_before_anything_is_handed_over(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text(
        "name: real\ncluster: local\nstages:\n"
        "  evaluate: {kind: evaluate, model: deepseek-r1-distill-qwen-1.5b, suite: [gsm8k, mini_math], limit: 2}\n",
        encoding="utf-8",
    )
    answer = manager(tmp_path, "sweep", file, MANAGER_DATA_DIR=str(tmp_path))
    assert answer.returncode == 1
    assert "no data for 1 of its benchmarks (gsm8k)" in answer.stderr
    assert "manager data fetch" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "runs" / "jobs").iterdir())


def test_other_rows_in_the_data_folder_make_another_job(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text(
        "name: real\nstages:\n  evaluate: {kind: evaluate, model: qwen2.5-7b-instruct, suite: [gsm8k]}\n",
        encoding="utf-8",
    )
    data = tmp_path / "data" / "gsm8k"
    data.mkdir(parents=True)

    def planned(row: str) -> str:
        (data / "test.jsonl").write_text(row + "\n", encoding="utf-8")
        answer = manager(tmp_path, "plan", file, "--json", MANAGER_DATA_DIR=str(data.parent))
        return str(json.loads(answer.stdout)["jobs"][0]["id"])

    first = planned('{"question": "1+1?", "answer": "#### 2"}')
    assert planned('{"question": "1+2?", "answer": "#### 3"}') != first
    assert planned('{"question": "1+1?", "answer": "#### 2"}') == first
