"""The shipped presets and algorithms are sweeps that expand, and their settings are TRL's."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from experiments import catalog
from manager.sweep import load_sweep
from trainers import batch, rewards, settings

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
    assert (made["num_generations"], made["steps_per_generation"], made["max_steps"]) == (8, 16, 625)
    assert made["temperature"] == 0.6
    assert made["vllm_enable_sleep_mode"] is True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_of_the_catalogue_is_understood_by_trl(tmp_path: Path, algorithm: str) -> None:
    made = arguments(tmp_path, f"name: p\nstages:\n  train: {STAGE}, algorithm: {algorithm}}}\n")
    assert set(made) <= known(algorithm)


def test_every_reward_of_the_catalogue_is_known_here_and_the_other_way_round() -> None:
    assert set(catalog.load().rewards) == set(rewards.PARTS)


def test_every_shipped_deepspeed_name_is_in_the_catalogue() -> None:
    shipped = {path.stem for path in (Path(settings.__file__).parent / "deepspeed").glob("*.json")}
    assert set(catalog.load().deepspeed) == shipped
