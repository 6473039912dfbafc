"""What is wrong with the model of a training is told before anything is queued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.cli.options import load
from manager.cli.preflight import problems
from manager.store import Store

HUB = "model: {hub: some/model, revision: abc123}"


def told(tmp_path: Path, train: str, variables: dict[str, str] | None, more: str = "") -> list[str]:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"name: one\nstages:\n  train: {{kind: rl, {train}, data: mini-math, generation: transformers}}\n{more}",
        encoding="utf-8",
    )
    return problems(Store.open(tmp_path / "runs", create=True), load(file, None), variables)


def cached(home: Path, revision: str = "abc123", context: int = 32768) -> None:
    folder = home / "hub" / "models--some--model" / "snapshots" / revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))


def test_a_model_that_is_not_on_this_disk_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    here = {"HF_HOME": str(tmp_path / "hf")}
    [line] = told(tmp_path, HUB, here)
    assert "1 models are not in the hub's cache on this disk" in line
    assert "`hf download some/model --revision abc123`" in line
    assert "\n" not in line
    assert told(tmp_path, HUB, {**here, "HF_HUB_OFFLINE": "0"}) == []  # jobs fetch it themselves
    assert told(tmp_path, HUB, None) == []  # a container decides where the cache is
    cached(tmp_path / "hf", "another")
    assert len(told(tmp_path, HUB, here)) == 1
    cached(tmp_path / "hf")
    assert told(tmp_path, HUB, here) == []


def test_the_name_of_a_branch_leads_to_its_snapshot(tmp_path: Path) -> None:
    here = {"HF_HOME": str(tmp_path / "hf")}
    cached(tmp_path / "hf", "9f9f")
    assert len(told(tmp_path, "model: {hub: some/model}", here)) == 1
    refs = tmp_path / "hf" / "hub" / "models--some--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text("9f9f")
    assert told(tmp_path, "model: {hub: some/model}", here) == []


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_folder_without_a_chat_template_is_told(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    [line] = told(tmp_path, "model: ./model", {})
    assert line == f"model {folder} has no chat template; name another, or put a chat_template.jinja there"
    (folder / file).write_text('{"chat_template": "{{ messages }}"}')
    assert told(tmp_path, "model: ./model", {}) == []


def test_an_answer_as_long_as_the_context_is_told_also_of_a_stage_that_starts_from_another(tmp_path: Path) -> None:
    cached(tmp_path / "hf", context=4096)
    more = "  then: {kind: rl, needs: train, data: mini-code, grpo: {max_completion_length: 8192}}\n"
    [line] = told(tmp_path, HUB, {"HF_HOME": str(tmp_path / "hf")}, more)
    assert line.startswith("stages.then: grpo.max_completion_length 8192 leaves no room for a prompt in the model's")
