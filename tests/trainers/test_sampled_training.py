"""Supervised training on the answers that a stage of kind `sample` kept, in one sweep."""

from __future__ import annotations

from pathlib import Path

from manager.atomic import read_jsonl
from manager.job import Job, Kind
from tests.manager.sweep_catalog import expanded
from tests.trainers import running, test_rejection
from trainers import rejection

SWEEP = """
stages:
  answers: {kind: sample, model: qwen2.5-1.5b-instruct, data: {name: math, size: 5000}}
  tuned: {kind: sft, model: qwen2.5-1.5b-instruct, data: {trajectories: {answers: 1}}, sft: {max_steps: 100}}
"""


def test_a_training_reads_the_answers_of_a_stage_by_its_name(tmp_path: Path) -> None:
    answers, tuned = (entry.job for entry in expanded(tmp_path, SWEEP).jobs)
    assert (answers.kind, tuned.kind) == (Kind.SAMPLE, Kind.SFT)
    assert answers.id in tuned.needs
    assert [one["ratio"] for one in tuned.config["data"]["trajectories"]] == [1.0]


def test_the_kept_answers_are_what_is_learned(model: dict[str, str], tmp_path: Path) -> None:
    sampled = test_rejection.run_of(tmp_path / "store", test_rejection.config(model))
    rejection.main(sampled)
    kept = list(read_jsonl(sampled.path / "trajectories" / "knowledge.jsonl"))
    data = {"name": "trajectories", "domain": "trajectories", "seed": 0, "trajectories": [{"need": 0, "ratio": 1.0}]}
    config = {"model": model, "data": data, "seed": 0, "batch": {"examples": 8}, "sft": {"max_steps": 3}}
    job = Job(Kind.SFT, config, (sampled.directory.id,))
    attempt = running.start(running.add(tmp_path / "store", "sft", config, job.needs))
    assert attempt.wait()["outcome"] == "done"
    assert attempt.events()["data"]["rows"] == len(kept)
    assert len(attempt.curve("loss")) == 3
