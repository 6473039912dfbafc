"""What is wrong with the model of a job is told before anything is queued, whatever the job does with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.cli.options import load
from manager.cli.preflight import problems, require
from manager.store import Store
from tests.evaluators.tiny import make_model

HUB = "model: {hub: some/model, revision: abc123}"


def told(tmp_path: Path, train: str, variables: dict[str, str] | None, more: str = "") -> list[str]:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"name: one\nstages:\n  train: {{kind: rl, {train}, data: mini-math, generation: transformers}}\n{more}",
        encoding="utf-8",
    )
    return problems(Store.open(tmp_path / "runs", create=True), load(file, None), variables)


def told_of(tmp_path: Path, stage: str, variables: dict[str, str] | None = None) -> list[str]:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"name: one\nstages:\n  only: {{{stage}}}\n", encoding="utf-8")
    return problems(Store.open(tmp_path / "runs", create=True), load(file, None), variables or {})


@pytest.mark.parametrize("name", ["agentic", "interventional", "cascade"])
def test_nothing_is_missing_of_a_sweep_that_makes_all_that_it_needs(tmp_path: Path, name: str) -> None:
    sweep = load(Path(__file__).parents[2] / "sweeps" / "mini" / f"{name}.yaml", None)
    require(Store.open(tmp_path / "runs", create=True), sweep, {"HF_HOME": str(tmp_path)})


def cached(home: Path, revision: str = "abc123", context: int = 32768) -> Path:
    folder = home / "hub" / "models--some--model" / "snapshots" / revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "model.safetensors").touch()
    return folder


def local(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").touch()
    return folder


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
    folder = local(tmp_path)
    [line] = told(tmp_path, "model: ./model", {})
    assert line == f"model {folder} has no chat template; name another, or put a chat_template.jinja there"
    (folder / file).write_text('{"chat_template": "{{ messages }}"}')
    assert told(tmp_path, "model: ./model", {}) == []


def test_an_answer_as_long_as_the_context_is_told_also_of_a_stage_that_starts_from_another(tmp_path: Path) -> None:
    cached(tmp_path / "hf", context=4096)
    more = "  then: {kind: rl, needs: train, data: mini-code, grpo: {max_completion_length: 8192}}\n"
    [line] = told(tmp_path, HUB, {"HF_HOME": str(tmp_path / "hf")}, more)
    assert line.startswith("stages.then: grpo.max_completion_length 8192 leaves no room for a prompt in the model's")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("[q_proj, v_porj]", "'v_porj' is no module of {folder}; did you mean v_proj"),
        ("[attention_qkv]", "'attention_qkv' is no module of {folder}; there are: all-linear, "),
        ("'.*mlp.q'", "'.*mlp.q' fits no module of {folder}; there are: all-linear, "),
        ("'(q_proj'", "'(q_proj' is no regular expression: "),
        ("[q_proj, lm_head, self_attn.v_proj]", None),
        ("[q_proj, merged_anew]", None),  # files may have another name for it
        ("'.*(q|v)_proj'", None),
        ("all-linear", None),
    ],
)
def test_target_modules_that_the_model_has_not_are_told(tmp_path: Path, targets: str, message: str | None) -> None:
    folder = make_model(tmp_path / "model", context=4096)
    lines = told(tmp_path, f"model: ./model, peft: {{r: 4, target_modules: {targets}}}", {})
    assert len(lines) == (message is not None)
    for line in lines:
        assert line.startswith("stages.train: peft.target_modules")
        assert message is not None
        assert message.format(folder=folder) in line


PLAYS = "environments: [sokoban], episodes: 1"
ASKS = (
    "kind: sample, data: mini-math",
    "kind: evaluate, suite: mini",
    f"kind: evaluate, {PLAYS}",
    f"kind: collect, {PLAYS}",
    f"kind: probe, {PLAYS}",
    "kind: sft, data: mini-math",
    "kind: rl, data: mini-math",
)


@pytest.mark.parametrize("stage", ASKS)
def test_whatever_a_stage_does_with_its_model_it_has_to_be_there_and_whole(tmp_path: Path, stage: str) -> None:
    here = {"HF_HOME": str(tmp_path / "hf")}
    hub = f"{stage}, {HUB}"
    [line] = told_of(tmp_path, hub, here)
    assert "`hf download some/model --revision abc123`" in line
    folder = cached(tmp_path / "hf")
    assert told_of(tmp_path, hub, here) == []
    (folder / "model.safetensors").unlink()  # somebody asked for its config alone
    assert told_of(tmp_path, hub, here) == [line]
    folder = local(tmp_path)
    [line] = told_of(tmp_path, f"{stage}, model: ./model")
    assert line.startswith(f"model {folder} has no chat template; name another, or put a chat_template.jinja there")
    (folder / "chat_template.jinja").touch()
    assert told_of(tmp_path, f"{stage}, model: ./model") == []
    (folder / "tokenizer.json").unlink()
    [line] = told_of(tmp_path, f"{stage}, model: ./model")
    assert line == f"model {folder} has no tokenizer; name another, or save it there again (save_pretrained)"


def test_of_weights_in_several_files_one_whole_set_is_enough(tmp_path: Path) -> None:
    folder = local(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "chat_template.jinja").touch()
    stage = "kind: sample, data: mini-math, model: ./model"
    [line] = told_of(tmp_path, stage)
    assert "has no weights (*.safetensors)" in line
    for form, end in (("model", "safetensors"), ("pytorch_model", "bin")):
        shards = {"a": f"{form}-1.{end}", "b": f"{form}-2.{end}"}
        (folder / f"{form}.{end}.index.json").write_text(json.dumps({"weight_map": shards}))
    [line] = told_of(tmp_path, stage)
    assert "has no weights (*.safetensors)" in line
    (folder / "model-1.safetensors").touch()
    [line] = told_of(tmp_path, stage)
    assert "lacks 1 of the 2 files of its weights, such as model-2.safetensors" in line
    (folder / "model-2.safetensors").touch()  # nobody fetched the other set
    assert told_of(tmp_path, stage) == []
    (folder / "model.safetensors.index.json").write_text("{")
    [line] = told_of(tmp_path, stage)
    assert "has model.safetensors.index.json, which cannot be read" in line


def test_a_model_that_is_asked_without_a_template_or_elsewhere_needs_none(tmp_path: Path) -> None:
    local(tmp_path)
    assert told_of(tmp_path, "kind: sample, data: mini-math, model: ./model, prompting: base_fewshot") == []
    here = {"HF_HOME": str(tmp_path / "hf")}
    served = "engine: {name: openai, base_url: 'http://127.0.0.1:9/v1'}"
    assert told_of(tmp_path, f"kind: sample, data: mini-math, {HUB}, {served}", here) == []
    assert told_of(tmp_path, "kind: collect, policy: oracle, " + PLAYS, here) == []


def test_a_base_that_is_trained_already_may_be_gone(tmp_path: Path) -> None:
    """What is left of a chain starts from the weights that were exported."""
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"name: one\nstages:\n  first: {{kind: sft, {HUB}, data: mini-math, sft: {{max_steps: 1}}}}\n"
        "  drawn: {kind: sample, needs: first, data: mini-math}\n",
        encoding="utf-8",
    )
    here = {"HF_HOME": str(tmp_path / "hf")}
    store, sweep = Store.open(tmp_path / "runs", create=True), load(file, None)
    assert len(problems(store, sweep, here)) == 1
    done = next(entry.job for entry in sweep.jobs if entry.stage == "first")
    store.add_job(done).write_result({"outcome": "done"})
    assert problems(store, sweep, here) == []
