"""The memory estimate: its parameters are the model's own, its parts move as ZeRO moves them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainers.fit import Fit, ModelFacts, Training, estimate, exported_gb, state_gb

# config.json of DeepSeek-R1-Distill-Qwen-1.5B and Llama-3.1-8B-Instruct, the keys that count.
QWEN_1_5B = {
    "model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(("config", "parameters"), [(QWEN_1_5B, 1_777_088_000), (LLAMA_8B, 8_030_261_248)])
def test_the_published_parameter_counts(config, parameters):
    assert ModelFacts.from_config(config).parameters == parameters


@pytest.mark.parametrize("change", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 4, "head_dim": 32}])
@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_the_parameters_of_a_real_model(kind, change):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 96, "vocab_size": 500, "tie_word_embeddings": False, **change}  # fmt: skip
    if kind == "qwen2":
        sizes.pop("head_dim", None)
    config = AutoConfig.for_model(kind, **sizes)
    real = sum(one.numel() for one in AutoModelForCausalLM.from_config(config).parameters())
    assert ModelFacts.from_config(config.to_dict()).parameters == real


def fit(config=LLAMA_8B, **training) -> Fit:
    return estimate(ModelFacts.from_config(config), Training(world_size=8, **training))


def test_zero_stages_share_out_optimiser_then_gradients_then_weights():
    plain, one, two, three = (fit(zero_stage=stage) for stage in range(4))
    assert one.optimizer_gb == pytest.approx(12 * 8.03 / 8, abs=0.01)
    assert (one.gradients_gb, one.weights_gb) == (plain.gradients_gb / 2, plain.weights_gb / 2)
    assert two.gradients_gb == pytest.approx(one.gradients_gb / 8)
    assert three.weights_gb < two.weights_gb / 3
    assert fit(zero_stage=3, offload=True, offload_weights=True).optimizer_gb == 0.0
    assert fit(zero_stage=2, offload=True).weights_gb == two.weights_gb, "only the optimiser has left the GPU"
    assert fit(zero_stage=3, offload=True, offload_weights=True).weights_gb < three.weights_gb
    assert two.host_gb == 0.0
    offloaded, both = fit(zero_stage=2, offload=True), fit(zero_stage=3, offload=True, offload_weights=True)
    assert offloaded.host_gb == pytest.approx(16 * 8.03 / 8, abs=0.01)
    assert both.host_gb == pytest.approx(18 * 8.03 / 8, abs=0.01)
    assert f"{both.host_gb:.1f} GB of the host's memory for each GPU" in both.in_words()


def test_eight_billion_parameters_need_zero_and_the_small_model_does_not():
    assert fit().resident_gb == pytest.approx(16 * 8.03, abs=0.1)
    assert not fit(zero_stage=0).fits
    assert fit(zero_stage=2, vllm_share=0.4).fits
    assert fit(QWEN_1_5B, zero_stage=2, vllm_share=0.4, reference=True).fits


def test_what_makes_it_larger_and_smaller():
    assert fit(micro_batch=4).activations_gb > 2 * fit(micro_batch=1).activations_gb
    assert fit(checkpointing=False).activations_gb > fit().activations_gb
    assert fit(reference=True, zero_stage=2).reference_gb == pytest.approx(16.06, abs=0.01)
    assert fit(lora_parameters=10**7, reference=True).reference_gb == 0.0, "the adapter is taken off instead"
    assert fit(lora_parameters=10**7).optimizer_gb < 1
    awake, asleep = (fit(zero_stage=2, vllm_share=0.5, sleep=sleep) for sleep in (False, True))
    assert awake.needed_gb > asleep.needed_gb


def test_the_words_name_every_part():
    assert fit(zero_stage=2, vllm_share=0.4).in_words().startswith("weights 16.1 + gradients 2.0 + optimiser 12.0")
    assert fit().in_words().endswith("does not fit 80 GB")


def test_vllm_needs_room_for_its_weights_and_one_sequence():
    enough = fit(zero_stage=2, vllm_share=0.4).generation
    assert enough is not None
    # 2 x 32 layers x 8 heads x 128 numbers of 2 bytes a token, 9216 tokens; 32 GB less 16.06 of weights.
    assert enough.sequence_gb == pytest.approx(1.208, abs=0.001)
    assert enough.sequences == 13
    tight = fit(zero_stage=2, vllm_share=0.2)
    assert not tight.fits
    assert "no room for the KV cache of one sequence" in tight.in_words()
    assert fit(zero_stage=2, vllm_share=0.2, tensor_parallel=2).fits
    # By itself it wants room for the whole context of the model: 131,072 tokens are 17.2 GB.
    whole = fit(zero_stage=2, vllm_share=0.4, served_tokens=131_072)
    assert not whole.fits
    assert "one sequence of 131,072 tokens (33.2 GB)" in whole.in_words()
    assert "set generation.vllm_max_model_length" in whole.in_words()
    assert fit(zero_stage=2, vllm_share=0.4, served_tokens=16_384).fits
    apart = fit(zero_stage=3, vllm_share=0.9, vllm_apart=True)
    assert apart.generation_gb == 0.0
    assert "on GPUs of its own" in apart.in_words()


def test_disk_use():
    facts = ModelFacts.from_config(LLAMA_8B)
    billions = 8.030261248
    assert state_gb(facts) == pytest.approx(12 * billions), "fp32 weights and two moments"
    assert state_gb(facts, zero_stage=2) == pytest.approx(16 * billions), "bf16 twice, fp32 weights, two moments"
    assert state_gb(facts, zero_stage=3) == pytest.approx(14 * billions)
    assert state_gb(facts, 10**7, zero_stage=2) == pytest.approx(0.16)
    assert exported_gb(facts) == pytest.approx(4 * billions)
    assert exported_gb(facts, zero_stage=2) == pytest.approx(2 * billions)


def test_the_control_plane_can_use_it_without_torch():
    code = "import sys, trainers.fit, trainers.batch, trainers.settings; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
