"""What a plan says about memory and disk before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import catalog
from manager.cli.options import load
from manager.footprint import disk, memory, model_facts
from manager.job import SweepJob

ROOT = Path(__file__).parents[2]
ARCHITECTURES = catalog.architectures()


def trainings(name: str, *overrides: str) -> list[SweepJob]:
    return list(load(ROOT / "sweeps" / name, overrides).jobs)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_sizes_of_a_base_model_give_the_parameters_that_its_row_names(name: str) -> None:
    row = catalog.load().models[name]
    facts = model_facts({"name": name, "hub": row["hub"]}, ARCHITECTURES)
    assert facts is not None
    assert facts.parameters / 1e9 == pytest.approx(row["size_b"], rel=0.01)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_parameters_are_those_of_the_real_model_of_these_sizes(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = dict(ARCHITECTURES[name])
    config = AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    with torch.device("meta"):
        real = AutoModelForCausalLM.from_config(config)
    facts = model_facts({"name": name, "hub": "not/on-this-disk"}, ARCHITECTURES)
    assert facts is not None
    assert facts.parameters == sum(one.numel() for one in real.parameters())


def test_every_model_that_the_shipped_sweeps_train_has_known_sizes() -> None:
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        entries = trainings(path.name)
        found = disk(entries, {entry.job.id: entry.job for entry in entries}, ARCHITECTURES)
        assert not found.unknown_models, path.name


def test_disk_is_the_exported_steps_and_two_states_of_each_training() -> None:
    entries = trainings("interventional.yaml", "matrix.base=[llama-3.2-3b-instruct]", "matrix.seed=[0]", "exclude=[]")
    found = disk(entries, {entry.job.id: entry.job for entry in entries}, ARCHITECTURES)
    trained = sum(entry.stage == "train" for entry in entries)
    assert trained == 8
    # 3.2127 B parameters: 2 bytes each in the weights of steps 100 to 600 and 625, 16 in a full state of ZeRO-2.
    assert found.weights_gb == pytest.approx(trained * 7 * 2 * 3.2127, rel=1e-3)
    assert found.states_gb == pytest.approx(trained * 2 * 16 * 3.2127, rel=1e-3)
    assert found.unknown_jobs == 0


def test_a_model_that_nothing_here_knows_is_named_and_not_guessed() -> None:
    entries = trainings("interventional.yaml", "matrix.base=[llama-3.2-3b-instruct]", "matrix.seed=[0]", "exclude=[]")
    found = disk(entries, {entry.job.id: entry.job for entry in entries}, {})
    assert found.unknown_jobs == 8
    assert "not known for 8 jobs (llama-3.2-3b-instruct)" in found.text()


def test_what_does_not_fit_is_told_with_its_parts() -> None:
    entries = trainings("interventional.yaml", "matrix.base=[llama-3.2-3b-instruct]", "matrix.seed=[0]", "exclude=[]")
    jobs = {entry.job.id: entry.job for entry in entries}
    large = memory(entries, jobs, ARCHITECTURES, 80.0)
    small = memory(entries, jobs, ARCHITECTURES, 24.0)
    assert sum(row.jobs for row in large) == 8
    assert all(row.fit and row.fit.fits for row in large)
    assert all(row.fit and not row.fit.fits for row in small)
    assert "512 completions per generation" in large[0].batch


def test_vllm_of_the_agents_sweep_gets_room_for_its_longest_sequence() -> None:
    """vLLM wants a cache for one sequence as long as it may be, and does not start without."""
    fits = []
    for generation in ([], ["defaults.rl.generation.vllm_max_model_length=131072"]):
        entries = trainings("agentic.yaml", "matrix.seed=[0]", *generation)
        rows = memory(entries, {entry.job.id: entry.job for entry in entries}, ARCHITECTURES, 80.0)
        fits.append({row.fit.fits for row in rows if row.fit and row.fit.generation})
    assert fits == [{True}, {False}]


def test_an_adapter_writes_smaller_states_than_full_training() -> None:
    plain = trainings("interventional.yaml", "matrix.base=[qwen2.5-7b-instruct]", "matrix.seed=[0]", "exclude=[]")
    adapter = trainings(
        "interventional.yaml", "matrix.base=[qwen2.5-7b-instruct]", "matrix.seed=[0]", "exclude=[]",
        "stages.train.peft={r: 16, target_modules: all-linear}",
    )  # fmt: skip
    sizes = [
        disk(entries, {entry.job.id: entry.job for entry in entries}, ARCHITECTURES).states_gb
        for entries in (plain, adapter)
    ]
    assert sizes[1] < sizes[0] / 5


def test_a_pair_of_a_trajectory_is_counted_as_long_as_the_longest_prompt_and_answer() -> None:
    entries = [entry for entry in trainings("agentic.yaml", "matrix.seed=[0]") if entry.stage == "v2"]
    jobs = {entry.job.id: entry.job for entry in trainings("agentic.yaml", "matrix.seed=[0]")}
    (pairs,) = memory(entries, jobs, ARCHITECTURES, 80.0)
    short = [entry for entry in trainings("agentic.yaml", "matrix.seed=[0]", "stages.v2.sft.max_length=1024")
             if entry.stage == "v2"]  # fmt: skip
    (limited,) = memory(short, jobs, ARCHITECTURES, 80.0)
    assert pairs.fit is not None
    assert limited.fit is not None
    assert pairs.fit.activations_gb > 1.5 * limited.fit.activations_gb


def test_what_a_deepspeed_mapping_offloads_is_read_from_it() -> None:
    from manager.footprint import _offloaded

    optimizer = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}
    nothing = {"zero_optimization": {"stage": 3, "offload_param": {"device": "none"}}}
    asked = [(one, what) for one in (optimizer, nothing, "zero3_offload", "zero3", None)
             for what in ("offload_optimizer", "offload_param")]  # fmt: skip
    assert [_offloaded(*one) for one in asked] == [True, False, False, False, True, True, False, False, False, False]
