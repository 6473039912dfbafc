"""The shipped presets and algorithms are sweeps that expand, and their settings are TRL's."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from evaluators.benchmark import Item, Outcome, Score
from experiments import catalog
from manager.sweep import load_sweep
from trainers import batch, returns, rewards, settings

PRESETS = sorted((Path(settings.__file__).parent / "presets").glob("*.yaml"))
STAGE = "{kind: rl, model: qwen2.5-1.5b-instruct, data: math, resources: {gpus_per_node: 8, micro_batch: 4}"
ALGORITHMS = ("grpo", "dapo", "dr_grpo", "bnpo", "gspo", "cispo", "rloo")


def arguments(folder: Path, text: str) -> dict[str, object]:
    """What a job of this sweep would hand to TRL on eight GPUs."""
    path = folder / "sweep.yaml"
    path.write_text(text)
    [entry] = load_sweep(path, catalog=catalog.load(), environ=os.environ).jobs
    config = entry.job.config
    assert rewards.resolve(config["reward"])
    split = batch.split_rl(config["batch"], entry.job.resources.world_size, entry.job.resources.micro_batch)
    return settings.arguments(config["trainer"], config, split, folder, gpu=True)


def known(trainer: str) -> set[str]:
    from trl import GRPOConfig, RLOOConfig

    return {field.name for field in fields(RLOOConfig if trainer == "rloo" else GRPOConfig)}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_extended_by_a_sweep_and_understood_by_trl(tmp_path: Path, preset: Path) -> None:
    made = arguments(tmp_path, f"name: p\nextends: {preset}\nstages:\n  train: {STAGE}}}\n")
    assert set(made) <= known("grpo")
    assert made["vllm_enable_sleep_mode"] is True
    if preset.stem.startswith("paper-"):
        assert (made["num_generations"], made["steps_per_generation"], made["max_steps"]) == (8, 16, 625)
        assert made["temperature"] == 0.6
    else:  # 512 prompts x 16 over 8 GPUs are 1,024 completions, 4 in a pass; 32 prompts make a step
        assert (made["num_generations"], made["steps_per_generation"], made["save_steps"]) == (16, 256, 96)


def test_dapo_punishes_overlong_answers_as_its_authors_do() -> None:
    """Of rewards 1 and -1 up to 1 is taken over the last 4,096 of 20,480 tokens; of our 1 and 0, half of it."""
    import yaml

    preset = next(path for path in PRESETS if path.stem == "dapo")
    row = yaml.safe_load(preset.read_text())["defaults"]["rl"]
    [(_, part)] = rewards.resolve(row["reward"])
    limit = row["grpo"]["max_completion_length"]
    right = Score(1.0, Outcome.RIGHT, "5")
    judged = [
        rewards.Judged("mini_math", "math", Item("0", {}), "5", tokens, False, right)
        for tokens in (100, 16384, 18432, 20480)
    ]
    theirs = [1.0, 1.0, 0.5, 0.0]
    assert part(judged, rewards.Context(0, 0, 0, limit)) == [(reward + 1) / 2 for reward in theirs]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_of_the_catalogue_is_understood_by_trl(tmp_path: Path, algorithm: str) -> None:
    made = arguments(tmp_path, f"name: p\nstages:\n  train: {STAGE}, algorithm: {algorithm}}}\n")
    assert set(made) <= known(algorithm)


def test_every_reward_of_the_catalogue_is_known_here_and_the_other_way_round() -> None:
    known = catalog.load().rewards
    assert {name for name, row in known.items() if row.get("judges") != "episodes"} == set(rewards.PARTS)
    assert {name for name, row in known.items() if row.get("judges") == "episodes"} == {returns.NAME}


def test_every_shipped_deepspeed_name_is_in_the_catalogue() -> None:
    shipped = {path.stem for path in (Path(settings.__file__).parent / "deepspeed").glob("*.json")}
    assert set(catalog.load().deepspeed) == shipped
