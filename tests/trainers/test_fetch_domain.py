"""What `manager data fetch --domain` brings is all that the preparation reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluators.fetch import fetch
from experiments import catalog
from manager.cli.data import training_data, training_sources
from manager.errors import UserError
from manager.run import Failed
from tests.data import DATA, needs_data
from tests.evaluators.test_fetch import TableHub
from trainers import prepare, sources

EURUS = {
    "prompt": [{"role": "user", "content": "What is 2 + 5? Present the answer in LaTex format: \\boxed{Your answer}"}],
    "ability": "math",
    "reward_model": {"ground_truth": "7"},
}


def test_a_domain_is_fetched_at_a_commit_and_prepared_with_the_hub_off(tmp_path: Path) -> None:
    names, found = training_sources("math")
    assert set(names) >= {"gsm8k", "aime24"}  # what repeated questions are taken out by
    hub = TableHub({("PRIME-RL/Eurus-2-RL-Data", "train"): [EURUS, {**EURUS, "ability": "code"}]})
    assert fetch([], tmp_path, more=found, hub=hub).fetched == ["eurus2/train.jsonl"]
    (entry,) = json.loads((tmp_path / "manifest.json").read_text())["files"]
    pinned = catalog.load().domains["math"]["sources"][0]["revision"]
    assert (entry["hub"], entry["revision"], entry["rows"]) == ("PRIME-RL/Eurus-2-RL-Data", pinned, 2)
    data = {**training_data("math"), "size": 1, "decontaminate": None}
    made = prepare.prepare(data, tmp_path / "cache", tmp_path)
    (row,) = prepare.load(made)
    assert prepare.item_of(row["item"]).answer == "7"


def test_data_that_is_not_there_is_told_with_the_domain_to_fetch(tmp_path: Path) -> None:
    data = {**training_data("math"), "decontaminate": None}
    with pytest.raises(Failed, match="manager data fetch --domain math --to"):
        prepare.prepare(data, tmp_path / "cache", tmp_path)
    with pytest.raises(UserError, match="--domain math"):
        next(sources.entries(data["sources"][0], tmp_path))


@needs_data
def test_legalbench_is_a_training_source(tmp_path: Path) -> None:
    data = {**training_data("legal"), "size": 20}
    data["decontaminate"] = ["legalbench"]
    made = prepare.prepare(data, tmp_path, DATA)
    assert made.rows == 20
    assert {row["benchmark"] for row in prepare.load(made)} == {"legalbench"}
