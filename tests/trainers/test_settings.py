"""What goes to TRL, and what is refused because the job decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers import settings
from trainers.batch import split_rl

BATCH = {"prompts": 8, "samples": 4, "mini_batch": 2}
SPLIT = split_rl(BATCH, 1)


def arguments(**grpo):
    return settings.arguments("grpo", {"batch": BATCH, "seed": 3, "grpo": grpo}, SPLIT, Path("/run"), gpu=False)


def test_the_users_keys_pass_unchanged_over_our_defaults():
    made = arguments(learning_rate=1e-6, lr_scheduler_type="cosine", loss_type="dr_grpo", epsilon_high=0.28)
    assert made["learning_rate"] == 1e-6
    assert made["lr_scheduler_type"] == "cosine"
    assert made["loss_type"] == "dr_grpo"
    assert made["epsilon_high"] == 0.28
    assert (made["num_generations"], made["per_device_train_batch_size"], made["steps_per_generation"]) == (4, 8, 4)
    assert made["seed"] == 3


@pytest.mark.parametrize("kind", ["grpo", "rloo", "sft"])
def test_the_weights_are_those_of_the_commit_that_the_job_names(kind):
    section = settings.PASS_THROUGH[kind]
    config = {"batch": BATCH, "model": {"hub": "org/model", "revision": "0123abc"}}
    for given, loading in (({}, {}), ({"model_init_kwargs": {"dtype": "bfloat16"}}, {"dtype": "bfloat16"})):
        made = settings.arguments(kind, {**config, section: given}, SPLIT, Path("/run"), gpu=False)
        assert made["model_init_kwargs"] == {**loading, "revision": "0123abc"}
    for unpinned in ({"hub": "org/model", "revision": None}, {"need": 0, "checkpoint": "last"}):
        made = settings.arguments(kind, {**config, "model": unpinned}, SPLIT, Path("/run"), gpu=False)
        assert "model_init_kwargs" not in made


@pytest.mark.parametrize("key", sorted(settings.RESERVED))
def test_what_the_job_decides_is_refused_with_the_place_to_set_it(key):
    with pytest.raises(settings.SettingsError, match=f"grpo.{key} is decided by the job; set "):
        arguments(**{key: 1})


def test_states_are_saved_at_generation_boundaries_only():
    assert arguments(max_steps=50)["save_steps"] == 8
    assert arguments(save_steps=12)["save_steps"] == 12
    with pytest.raises(settings.SettingsError, match="save_steps 10 is no multiple of 4"):
        arguments(save_steps=10)


def test_export_steps_are_multiples_a_list_or_only_the_last():
    assert settings.export_steps(100, 250, 1) == (100, 200, 250)
    assert settings.export_steps([4, 8, 900], 10, 4) == (4, 8, 10)
    assert settings.export_steps(None, 10, 4) == (10,)
    with pytest.raises(settings.SettingsError, match="export_steps: 6 is no multiple of 4"):
        settings.export_steps([6], 10, 4)


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3", "zero3_offload"])
def test_every_shipped_deepspeed_file_loads_and_overlaps_only_on_gpus(name):
    assert settings.deepspeed_config(name, gpu=True)["zero_optimization"]["overlap_comm"] is True
    assert settings.deepspeed_config(name, gpu=False)["zero_optimization"]["overlap_comm"] is False


def test_an_unknown_deepspeed_name_lists_the_shipped_ones():
    with pytest.raises(settings.SettingsError, match="zero1, zero2, zero3, zero3_offload"):
        settings.deepspeed_config("zero4", gpu=False)


def test_generation_modes():
    assert settings.generation_arguments(None) == {"use_vllm": False}
    assert settings.generation_arguments({"mode": "colocate", "gpu_memory_utilization": 0.4}) == {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": True,
        "vllm_gpu_memory_utilization": 0.4,
    }
    with pytest.raises(settings.SettingsError, match="transformers, colocate, server"):
        settings.generation_arguments({"mode": "hf"})


@pytest.mark.parametrize("trainer", ["grpo", "sft"])
def test_the_weights_are_those_of_the_revision_that_the_job_was_made_for(trainer):
    model = {"name": "small", "hub": "some/model", "revision": "0123abc"}
    section = {"model_init_kwargs": {"dtype": "bfloat16", "revision": "main"}}
    config = {"model": model, "batch": BATCH, "grpo": section, "sft": section}
    made = settings.arguments(trainer, config, SPLIT, Path("/run"), gpu=False)
    assert made["model_init_kwargs"] == {"dtype": "bfloat16", "revision": "0123abc"}
    unpinned = {**config, "model": {**model, "revision": None}, "grpo": {}, "sft": {}}
    assert "model_init_kwargs" not in settings.arguments(trainer, unpinned, SPLIT, Path("/run"), gpu=False)
