"""Exported weights are the trainer's own: an engine that loads them gives the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers import running
from trainers import checkpoints

LORA = {"type": "lora", "r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "down_proj"]}


def assert_is_plain(folder: Path) -> None:
    """Complete, in safetensors, with tokenizer and chat template, and loadable."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert checkpoints.problem(folder) is None
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"} <= {
        path.name for path in folder.iterdir()
    }
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert not hasattr(model, "peft_config")


@pytest.mark.parametrize(
    "change",
    [
        {"peft": LORA},
        pytest.param({"peft": LORA, "deepspeed": "zero2"}, marks=pytest.mark.slow),
        pytest.param({"peft": LORA, "deepspeed": "zero3"}, marks=pytest.mark.slow),
        pytest.param({"deepspeed": "zero3"}, marks=pytest.mark.slow),
        pytest.param({}, marks=pytest.mark.slow),
    ],
    ids=lambda change: ("lora+" if "peft" in change else "") + change.get("deepspeed", "plain"),
)
def test_the_exported_model_gives_the_trainers_logits(
    root: Path, model: dict[str, str], change: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    directory = running.add(root, "rl", running.rl_config(model, **change))
    attempt = running.start(directory, logits=True)
    assert attempt.wait()["outcome"] == "done"
    folder = directory.model_dir(8)
    assert_is_plain(folder)
    probe = torch.load(attempt.folder / "logits.pt")
    exported = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    start = AutoModelForCausalLM.from_pretrained(model["path"], dtype=torch.float32).eval()
    with torch.no_grad():
        theirs, before = exported(probe["ids"]).logits, start(probe["ids"]).logits
    assert torch.allclose(theirs, probe["logits"], atol=1e-4)
    assert not torch.allclose(before, probe["logits"], atol=1e-3), "training changed the model"
