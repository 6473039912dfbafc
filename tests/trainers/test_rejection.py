"""Rejection sampling with a real model: what is kept was judged right, once, and the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Outcome
from evaluators.engine import Ended
from evaluators.records import Record
from manager.atomic import read_jsonl
from manager.job import Job, Kind
from manager.run import Failed, Run
from manager.store import Store
from tests.manager.sweep_catalog import expanded, mistakes
from tests.trainers import running
from trainers import prepare, rejection

RECORD = Record("a", 0, 1, 1.0, Outcome.RIGHT, "A", "A", "", Ended.STOP, 9, 2, "the answer is A")


def config(model: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "model": model,
        "data": {"name": "knowledge", "domain": "knowledge", "seed": 0, "size": 24, "sources": [running.KNOWLEDGE]},
        "samples": 4,
        "keep": 2,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 8},
        "engine": {"name": "transformers"},
        "prompting": "chat",
        "seed": 0,
        **changes,
    }


def run_of(root: Path, settings: dict[str, Any]) -> Run:
    directory = Store.open(root, create=True).add_job(Job(Kind.SAMPLE, settings))
    attempt = directory.path / "attempts" / f"{len(directory.attempts()) + 1:04d}"
    attempt.mkdir(parents=True)
    return Run(directory, directory.job(), attempt)


def test_answers_that_are_right_are_kept_and_the_same_each_time(model: dict[str, str], tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, config(model)) for name in ("a", "b")]
    (counts,) = [rejection.main(run)["trajectories"]["knowledge"] for run in runs[:1]]
    assert counts["prompts"] == 24
    assert counts["answers"] == 96
    assert 0 < counts["solved"] <= counts["kept"] <= counts["right"] < 96  # some are wrong, and not kept
    rows = list(read_jsonl(runs[0].path / "trajectories" / "knowledge.jsonl"))
    assert len(rows) == counts["kept"]
    cache = runs[0].path.parents[1] / "prepared"
    prompts = prepare.load(prepare.prepare(runs[0].config["data"], cache))
    items = {prepare.item_of(row["item"]).id: prepare.item_of(row["item"]) for row in prompts}
    benchmark = benchmarks.get("mini_knowledge")
    for row in rows:
        assert benchmark.score(items[row["task"]], row["completion"], truncated=False).outcome is Outcome.RIGHT
        assert row["messages"] == list(benchmark.messages(items[row["task"]]))
    answers = [(row["task"], row["completion"]) for row in rows]
    assert len(set(answers)) == len(answers)
    assert max(sum(task == one for one, _ in answers) for task, _ in answers) <= 2
    rejection.main(runs[1])
    assert list(read_jsonl(runs[1].path / "trajectories" / "knowledge.jsonl")) == rows
    assert rejection.main(run_of(tmp_path / "a", config(model)))["trajectories"]["knowledge"] == counts


def test_a_model_that_is_never_right_leaves_nothing_to_train_on(model: dict[str, str], tmp_path: Path) -> None:
    settings = config(model, sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 1})  # every answer is cut off
    with pytest.raises(Failed, match="none of 96 answers is right") as told:
        rejection.main(run_of(tmp_path, settings))
    assert told.value.cause == "nothing_kept"


def test_cut_off_and_repeated_answers_are_not_kept() -> None:
    assert rejection.is_right(RECORD)
    assert not rejection.is_right(replace(RECORD, ended=Ended.LENGTH))
    assert not rejection.is_right(replace(RECORD, outcome=Outcome.WRONG))
    records = [replace(RECORD, sample=sample, text=text) for sample, text in ((3, "d"), (1, "b"), (2, "b"), (0, "a"))]
    assert [one.text for one in rejection.keep(records, 2)] == ["a", "b"]
    assert [one.sample for one in rejection.keep(records, 9)] == [0, 1, 3]


STAGE = """
stages:
  answers:
    kind: sample
    model: qwen2.5-1.5b-instruct
    data: {name: math, size: 5000}
    samples: 4
    keep: %s
    sampling: {temperature: %s}
"""


def test_the_grammar(tmp_path: Path) -> None:
    (entry,) = expanded(tmp_path, STAGE % (2, 0.7)).jobs
    assert entry.job.kind is Kind.SAMPLE
    sampling = {"temperature": 0.7, "top_p": 1.0, "max_tokens": 4096}
    expected = {"samples": 4, "keep": 2, "sampling": sampling, "engine": {"name": "vllm"}, "prompting": "chat"}
    assert {key: entry.job.config[key] for key in expected} == expected
    assert "5 answers kept of 4 sampled" in "".join(mistakes(tmp_path, STAGE % (5, 0.7)))
    assert "4 samples at temperature 0" in "".join(mistakes(tmp_path, STAGE % (1, 0)))
