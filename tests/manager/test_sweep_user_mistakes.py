"""What a new user gets wrong in stages that train or sample: a line each, with the place and what is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.manager.sweep_catalog import catalog, mistakes

RL = "kind: rl, model: fino1-8b, data: math"
SFT = "kind: sft, model: fino1-8b, data: math"
SAMPLE = "kind: sample, model: fino1-8b, data: math"
SCRATCH = "kind: sft, data: math, model: {name: own, scratch: {%s}}"
GPUS = "resources: {gpus_per_node: 8}"

MISTAKES = [
    (f"{RL}, grpo: {{learning_rate: -1e-6}}", "grpo.learning_rate: -1e-06 is out of its range: at least 0"),
    (f"{RL}, grpo: {{max_steps: 0}}",
     "grpo.max_steps: 0 is out of its range: at least 1, or -1: as long as num_train_epochs says"),
    (f"{RL}, grpo: {{max_steps: -5}}", "grpo.max_steps: -5 is out of its range"),
    (f"{RL}, grpo: {{num_train_epochs: -1}}", "grpo.num_train_epochs: -1 is out of its range: above 0"),
    (f"{RL}, grpo: {{temperature: 0}}", "grpo.temperature: 0 is out of its range: above 0"),
    (f"{RL}, grpo: {{top_p: 1.5}}", "grpo.top_p: 1.5 is out of its range: above 0 and at most 1"),
    (f"{RL}, grpo: {{beta: -0.1}}", "grpo.beta: -0.1 is out of its range: at least 0"),
    (f"{RL}, grpo: {{max_completion_length: 0}}", "grpo.max_completion_length: 0 is out of its range: at least 1"),
    (f"{RL}, grpo: {{num_iterations: 0}}", "grpo.num_iterations: 0 is out of its range: at least 1"),
    (f"{RL}, grpo: {{save_steps: 0.5}}", "grpo.save_steps: 0.5 is out of its range: a whole number, at least 1"),
    (f"{SFT}, sft: {{save_steps: 0.5}}", "sft.save_steps: 0.5 is out of its range: a whole number, at least 1"),
    (f"{SFT}, sft: {{max_length: -1}}", "sft.max_length: -1 is out of its range: at least 1"),
    (f"{RL}, grpo: {{lr_scheduler_type: cosin}}", "'cosin' is not one of its values, did you mean cosine"),
    (f"{RL}, grpo: {{optim: adamw_toch}}", "is not one of its values, did you mean adamw_torch"),
    (f"{RL}, grpo: {{bf16: true, fp16: true}}", "grpo.fp16: bf16 is true as well; one of the two"),
    (f"{RL}, reward: [correct, format_only], grpo: {{reward_weights: [1, heavy]}}",
     "grpo.reward_weights: expected a number for each reward, not [1, 'heavy']"),
    ("kind: rl, model: fino1-8b, data: {name: math, size: 10}",
     "data: 10 prompts, 64 are asked at a time; raise size or lower batch.prompts"),
    (f"{RL}, reward: {{name: noisy, p: 3}}", "reward.p: 3 is out of its range: at least 0 and at most 1"),
    (f"{RL}, reward: {{name: random, p: -1}}", "reward.p: -1 is out of its range"),
    (f"{RL}, reward: {{name: length_shaped, penalty: -1}}", "reward.penalty: -1 is out of its range: at least 0"),
    (f"{RL}, reward: {{name: length_shaped, buffer_tokens: 0}}", "reward.buffer_tokens: 0 is out of its range"),
    (f"{RL}, reward: {{name: judge_soft, model: x, base_url: judge:8000}}",
     "reward.base_url: 'judge:8000' does not begin with http:// or https://"),
    (f"{RL}, reward: {{name: judge_soft, model: x, base_url: 'http://j/v1', timeout_s: 0}}",
     "reward.timeout_s: 0 is out of its range: above 0"),
    (f"{RL}, deepspeed: ./ds_config.json", "the content of a DeepSpeed file is written here as a mapping"),
    (f"{RL}, deepspeed: {{zero_optimisation: {{stage: 2}}}}", "no such key, did you mean zero_optimization"),
    (f"{RL}, deepspeed: {{zero_optimization: {{stage: 4}}}}", "4 is no stage of ZeRO; valid: 0, 1, 2, 3"),
    (f"{RL}, deepspeed: {{zero_optimization: {{stage: 2, overlap_com: true}}}}",
     "deepspeed.zero_optimization.overlap_com: unknown key, did you mean overlap_comm"),
    (f"{RL}, deepspeed: {{zero_optimization: 2}}", "deepspeed.zero_optimization: expected a mapping, not 2"),
    (f"{RL}, deepspeed: {{zero_optimization: {{stage: 3, stage3_gather_16bit_weights_on_model_save: false}}}}",
     "exports need whole weights; write true or leave it out"),
    (f"{RL}, deepspeed: {{train_batch_size: 7}}", "deepspeed.train_batch_size: follows from batch and resources"),
    (f"{RL}, peft: {{rank: 8}}", "peft.rank: unknown key"),
    (f"{RL}, peft: {{r: '8'}}", "peft.r: expected a whole number, not '8'"),
    (f"{RL}, peft: {{r: 0}}", "peft.r: 0 is out of its range: a whole number, at least 1"),
    (f"{RL}, peft: {{lora_dropout: 2}}", "peft.lora_dropout: 2 is out of its range: at least 0 and below 1"),
    (f"{RL}, peft: {{r: 8, use_dora: true}}", "peft.use_dora: exported weights would be without it; leave it out"),
    (f"{RL}, peft: {{type: ia3}}", "peft.type: 'ia3': adapters are exported as plain weights; valid: lora"),
    (f"{RL}, generation: colocate", "generation: colocate needs GPUs; set resources.gpus_per_node"),
    (f"{RL}, generation: server", "generation: server needs GPUs; set resources.gpus_per_node"),
    (f"{RL}, generation: server, resources: {{gpus_per_node: 1}}",
     "generation: server: no GPU is the server's; set resources.server_gpus: K of at least 2 GPUs"),
    (f"{RL}, generation: server, resources: {{gpus_per_node: 1, server_gpus: 1}}", "none would train"),
    (f"{RL}, generation: {{mode: colocate, vllm_gpu_memory_utilization: 40}}, {GPUS}",
     "generation.vllm_gpu_memory_utilization: 40 is out of its range: above 0 and at most 1"),
    (f"{RL}, generation: {{mode: colocate, vllm_gpu_memory_utilization: half}}, {GPUS}",
     "generation.vllm_gpu_memory_utilization: expected a number, not 'half'"),
    (f"{RL}, generation: {{dynamic_sampling: 'yes'}}",
     "generation.dynamic_sampling: expected true or false, not 'yes'"),
    (f"{RL}, generation: {{mode: colocate, vllm_max_model_length: 100}}, grpo: {{max_completion_length: 512}}, {GPUS}",
     "100 tokens for prompt and answer, and grpo.max_completion_length is 512; raise the one"),
    (SCRATCH % "architecture: qwen_2", "model.scratch.architecture: 'qwen_2': unknown model type, did you mean qwen2"),
    (SCRATCH % "hiden_size: 64", "model.scratch.hiden_size: unknown key, did you mean hidden_size"),
    (SCRATCH % "layers: two", "model.scratch.layers: expected a whole number, not 'two'"),
    (SCRATCH % "hidden_size: 65, heads: 2", "model.scratch.heads: hidden_size 65 does not divide into 2 heads"),
    (f"{SAMPLE}, samples: many", "samples: expected a whole number, not 'many'"),
    (f"{SAMPLE}, samples: 4, keep: 8", "keep: 8 answers kept of 4 sampled; at most 4"),
    (f"{SAMPLE}, sampling: {{temperature: -1}}", "sampling.temperature: -1 is not between 0 and 100"),
    (f"{SAMPLE}, reward: correct", "reward: unknown key; there are: "),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_what_is_valid(tmp_path: Path, stage: str, message: str) -> None:
    (line,) = mistakes(tmp_path, f"stages:\n  t: {{{stage}}}\n")
    assert line.startswith("sweep.yaml:2: stages.t.")
    assert message in line


@pytest.mark.parametrize("stage", [
    f"{RL}, grpo: {{max_steps: -1, num_train_epochs: 0.5, save_steps: 10, optim: sgd, lr_scheduler_type: linear}}",
    f"{RL}, deepspeed: {{train_batch_size: auto, own_key: 1, zero_optimization: {{stage: 3, "
    "stage3_prefetch_bucket_size: auto, offload_optimizer: {device: cpu}}}",
    f"{RL}, peft: {{type: lora, r: 8, lora_alpha: 16, lora_dropout: 0.05, target_modules: all-linear, bias: none}}",
    # Beside a trainer that offloads: slow, and some want it.
    f"{RL}, generation: colocate, deepspeed: zero3_offload, {GPUS}",
    f"{RL}, generation: {{mode: server, vllm_server_base_url: 'http://other:8000'}}, {GPUS}",
    f"{RL}, generation: colocate, resources: {{slurm: {{slurm_gres: 'gpu:h100:1'}}}}",
    SCRATCH % "architecture: qwen2, hidden_size: 64, heads: 2, rope_theta: 10000",
])  # fmt: skip
def test_what_is_right_is_not_refused(tmp_path: Path, stage: str) -> None:
    assert mistakes(tmp_path, f"stages:\n  t: {{{stage}}}\n") == []


def test_bounds_and_values_name_real_settings() -> None:
    found = catalog()
    fields = {name for one in ("GRPOConfig", "RLOOConfig", "SFTConfig") for name in found.trainer_fields[one]}
    assert set(found.trainer_bounds) <= fields
    assert set(found.trainer_values) <= fields


def test_the_optimisers_and_schedules_are_those_of_the_installed_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (the train extra)")
    from transformers.training_args import OptimizerNames

    values = catalog().trainer_values
    assert set(values["optim"]) == {one.value for one in OptimizerNames}
    assert set(values["lr_scheduler_type"]) == {one.value for one in transformers.SchedulerType}


def test_a_preset_that_is_misspelt_is_told_with_the_one_that_is_there(tmp_path: Path) -> None:
    presets = Path(__file__).parents[2] / "trainers" / "presets"
    (line,) = mistakes(tmp_path, f"extends: {presets}/paper-grp.yaml\nstages: {{t: {{{RL}}}}}\n")
    assert line == f"sweep.yaml:1: extends: no file {presets}/paper-grp.yaml, did you mean paper-grpo.yaml"
