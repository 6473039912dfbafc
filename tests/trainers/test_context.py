"""How much room a model's context has for prompts, and what vLLM is told of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from manager.run import Failed
from trainers import context


def test_the_context_is_what_the_config_says_unless_it_is_stretched_when_loaded() -> None:
    llama = {"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    yarn = {"max_position_embeddings": 32768, "rope_scaling": {"type": "yarn", "factor": 4.0}}
    newer = {"text_config": {"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}}
    assert [context.tokens(one) for one in (llama, yarn, newer, {})] == [131072, None, 4096, None]


def test_a_prompt_has_the_room_that_a_whole_answer_leaves() -> None:
    assert context.room(1024, 3000, 4096) == 1024
    assert context.room(1024, 3500, 4096) == 596
    assert context.room(1024, 8192, None) == 1024
    with pytest.raises(context.ContextError, match="8192 leaves no room for a prompt in the model's context of 4096"):
        context.room(1024, 8192, 4096)


def test_vllm_is_told_the_longest_prompt_and_answer_and_not_the_models_whole_context(tmp_path: Path) -> None:
    from transformers import AutoConfig

    from trainers.training import fit_context

    AutoConfig.for_model("qwen2", max_position_embeddings=131072).save_pretrained(tmp_path)
    asked = SimpleNamespace(use_vllm=True, max_completion_length=8192, vllm_max_model_length=None)
    assert fit_context(asked, str(tmp_path), None, 1024) == 1024
    assert asked.vllm_max_model_length == 1024 + 8192
    given = SimpleNamespace(use_vllm=True, max_completion_length=500, vllm_max_model_length=1000)
    assert fit_context(given, str(tmp_path), None, 1024) == 500
    assert given.vllm_max_model_length == 1000
    too_long = SimpleNamespace(use_vllm=False, max_completion_length=131072, vllm_max_model_length=None)
    with pytest.raises(Failed, match=r"grpo\.max_completion_length 131072 leaves no room") as told:
        fit_context(too_long, str(tmp_path), None, 1024)
    assert told.value.cause == "config"


def test_a_tokenizer_is_known_by_what_it_does_and_not_by_where_it_lies(tmp_path: Path) -> None:
    from trainers.prompt_limit import prompt_limit
    from trainers.scratch import make_tokenizer
    from trainers.training import load_tokenizer

    make_tokenizer(512).save_pretrained(tmp_path / "base")
    first = load_tokenizer(str(tmp_path / "base"), None)
    known = prompt_limit(first, 100).tokenizer
    first.apply_chat_template([{"role": "user", "content": "1 + 1"}], return_dict=True)
    first.save_pretrained(tmp_path / "trained")
    trained = load_tokenizer(str(tmp_path / "trained"), None)
    assert prompt_limit(trained, 100).tokenizer == known
    assert prompt_limit(trained, 100, {"enable_thinking": False}).tokenizer != known
    shutil.copytree(tmp_path / "base", tmp_path / "other")
    (tmp_path / "other" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}", encoding="utf-8")
    other = prompt_limit(load_tokenizer(str(tmp_path / "other"), None), 100)
    assert other.tokenizer != known
    assert other.length([{"role": "user", "content": "1 + 1"}]) == 5


def test_held_out_prompts_that_the_engine_would_refuse_are_left_out_and_told() -> None:
    from trainers.drift import Drift
    from trainers.scratch import make_tokenizer

    told: list[str] = []
    run = SimpleNamespace(event=lambda name, message="", **_: told.append(message))
    trainer = SimpleNamespace(processing_class=make_tokenizer(512), chat_template_kwargs={})
    asked = [("math", [{"role": "user", "content": "1 + 1"}]), ("code", [{"role": "user", "content": "x" * 200}])]
    drift = Drift(run, asked, 100)  # type: ignore[arg-type]
    assert [domain for domain, _ in drift._fitting(trainer)] == ["math"]
    assert told == ["the KL to the base is not measured on all: 1 of 2 held-out prompts have more than 100 tokens"]
