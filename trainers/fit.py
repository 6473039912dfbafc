"""Whether a training fits the memory of its GPUs: weights, gradients, optimiser, activations, generation. Pure.

An estimate for `manager plan`, before anything is queued. It is torch-free and reads nothing: the caller gives
the model's facts. What each part assumes is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GB = 1e9
USABLE = 0.92  # of a GPU's memory: the rest is the context, the allocator's fragments, communication buffers
LOGITS_CHUNK_TOKENS = 4096  # log-probabilities are computed in chunks, never for all tokens at once
BUCKET = 500_000_000  # numbers that DeepSpeed reduces at a time; two such buffers, as reducing overlaps with computing


@dataclass(frozen=True)
class ModelFacts:
    """The sizes that decide memory, as a model's config.json names them."""

    parameters: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary: int

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> ModelFacts:
        """The facts of a dense decoder's config.json, with its parameters counted."""
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        heads = config["num_attention_heads"]
        kv_heads = config.get("num_key_value_heads") or heads
        head_dim = config.get("head_dim") or hidden // heads
        intermediate, vocabulary = config["intermediate_size"], config["vocab_size"]
        attention = hidden * head_dim * (heads + 2 * kv_heads) + heads * head_dim * hidden
        if config.get("attention_bias", config.get("model_type") == "qwen2"):
            attention += head_dim * (heads + 2 * kv_heads)
        block = attention + 3 * hidden * intermediate + 2 * hidden
        embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
        return ModelFacts(
            parameters=layers * block + embeddings + hidden,
            layers=layers,
            hidden_size=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            intermediate_size=intermediate,
            vocabulary=vocabulary,
        )


@dataclass(frozen=True)
class Training:
    """What of a job decides memory."""

    world_size: int
    zero_stage: int = 0
    offload: bool = False  # the optimiser is in the host's memory
    offload_weights: bool = False  # and so are the weights (ZeRO-3's offload_param)
    micro_batch: int = 1
    tokens: int = 9216  # the longest prompt and completion together
    checkpointing: bool = True
    reference: bool = False  # beta > 0 keeps the base model beside
    lora_parameters: int | None = None  # None: all parameters are trained
    vllm_share: float = 0.0  # of a GPU's memory that vLLM may take
    vllm_apart: bool = False  # on GPUs of its own
    tensor_parallel: int = 1
    served_tokens: int | None = None  # vLLM's longest sequence: it does not start without room for one
    sleep: bool = True  # vLLM gives its memory back while gradients are computed


@dataclass(frozen=True)
class Generation:
    """vLLM's memory on one GPU: its own copy of the weights, and what is left for keys and values."""

    share_gb: float
    weights_gb: float
    sequence_gb: float  # keys and values of one sequence of the full length
    apart: bool
    served_tokens: int
    served_gb: float  # keys and values of the longest sequence that vLLM is to serve

    @property
    def cache_gb(self) -> float:
        return self.share_gb - self.weights_gb

    @property
    def sequences(self) -> int:
        return int(self.cache_gb / self.sequence_gb) if self.cache_gb >= self.served_gb else 0

    def in_words(self) -> str:
        what = (
            f"vLLM {self.share_gb:.1f} GB{' on GPUs of its own' if self.apart else ''}: weights {self.weights_gb:.1f}"
        )
        if self.sequences:
            return f"{what}, KV cache {self.cache_gb:.1f} for {self.sequences} sequences of the full length at a time"
        needed = self.weights_gb + self.served_gb
        return (
            f"{what}, no room for the KV cache of one sequence of {self.served_tokens:,} tokens ({needed:.1f} GB): "
            "raise vllm_gpu_memory_utilization, or set generation.vllm_max_model_length"
        )


@dataclass(frozen=True)
class Fit:
    """GB per GPU, part by part; `fits` at the worst moment of a step."""

    gpu_gb: float
    weights_gb: float
    gradients_gb: float
    optimizer_gb: float
    reference_gb: float
    activations_gb: float
    buffers_gb: float  # of communication
    update_gb: float  # the gradients once more, in fp32, while the optimiser works
    generation: Generation | None
    sleep: bool
    host_gb: float = 0.0  # of the host's memory, a process

    @property
    def resident_gb(self) -> float:
        return self.weights_gb + self.gradients_gb + self.optimizer_gb + self.reference_gb + self.buffers_gb

    @property
    def generation_gb(self) -> float:
        """What vLLM takes of the GPUs that train."""
        return self.generation.share_gb if self.generation and not self.generation.apart else 0.0

    @property
    def needed_gb(self) -> float:
        """The most at one moment: gradients, the optimiser's step, or generation beside the trainer's state."""
        awake = 0.0 if self.sleep else self.generation_gb
        training = self.resident_gb + max(self.activations_gb, self.update_gb) + awake
        return max(training, self.resident_gb + self.generation_gb)

    @property
    def fits(self) -> bool:
        room = self.generation is None or self.generation.sequences > 0
        return room and self.needed_gb <= USABLE * self.gpu_gb

    def in_words(self) -> str:
        """One line for `manager plan`."""
        parts = {
            "weights": self.weights_gb,
            "gradients": self.gradients_gb,
            "optimiser": self.optimizer_gb,
            "reference": self.reference_gb,
            "buffers": self.buffers_gb,
            "activations": self.activations_gb,
            "generation": self.generation_gb,
        }
        listed = " + ".join(f"{name} {value:.1f}" for name, value in parts.items() if value >= 0.05)
        verdict = "fits" if self.fits else "does not fit"
        text = f"{listed} GB per GPU, at most {self.needed_gb:.1f} at a time: {verdict} {self.gpu_gb:.0f} GB"
        if self.host_gb:
            text += f"; beside it {self.host_gb:.1f} GB of the host's memory for each GPU"
        return f"{text}; {self.generation.in_words()}" if self.generation else text


def _activations(facts: ModelFacts, training: Training) -> float:
    """Bytes in bf16: the input of each block, and one block recomputed (or all, without checkpointing)."""
    tokens = training.micro_batch * training.tokens
    block = 2 * tokens * (10 * facts.hidden_size + 2 * facts.head_dim * (facts.heads + facts.kv_heads))
    block += 2 * tokens * 4 * facts.intermediate_size
    kept = facts.layers * 2 * tokens * facts.hidden_size
    logits = 3 * 4 * min(tokens, LOGITS_CHUNK_TOKENS) * facts.vocabulary  # fp32: logits, their softmax, gradient
    return (kept + block if training.checkpointing else facts.layers * block) + logits


def estimate(facts: ModelFacts, training: Training, gpu_gb: float = 80.0) -> Fit:
    """The memory of one GPU.

    With DeepSpeed: bf16 weights and gradients, fp32 master weights and two moments. Without it weights,
    gradients and moments are fp32, computed in bf16 by autocast.
    """
    world, stage = training.world_size, training.zero_stage
    share = {level: world if stage >= level else 1 for level in (1, 2, 3)}
    trained = facts.parameters if training.lora_parameters is None else training.lora_parameters
    on_gpu = 0.0 if training.offload else 1.0
    weight_bytes, moment_bytes = (2, 12) if stage else (4, 8)
    weights = 0.0 if training.offload_weights else weight_bytes * facts.parameters / share[3]
    if stage == 3:
        # The largest tensors gathered at a time, twice: those in use and those fetched ahead.
        weights += 2 * 2 * max(facts.vocabulary * facts.hidden_size, 3 * facts.hidden_size * facts.intermediate_size)
    reference = weight_bytes * facts.parameters / share[3]
    return Fit(
        gpu_gb=gpu_gb,
        weights_gb=weights / GB,
        gradients_gb=weight_bytes * trained / share[2] / GB,
        optimizer_gb=moment_bytes * trained / share[1] * on_gpu / GB,
        # With an adapter the base is the model itself with the adapter taken off.
        reference_gb=reference / GB if training.reference and training.lora_parameters is None else 0.0,
        activations_gb=_activations(facts, training) / GB,
        buffers_gb=2 * 2 * min(BUCKET, trained) / GB if stage in (1, 2) else 0.0,
        update_gb=4 * trained / share[1] * on_gpu / GB if stage else 0.0,
        generation=_generation(facts, training, gpu_gb) if training.vllm_share else None,
        sleep=training.sleep,
        host_gb=_offloaded(facts, training, trained) / GB,
    )


def _offloaded(facts: ModelFacts, training: Training, trained: int) -> float:
    """Bytes a process: the optimiser's 12, gradients in fp32, and the weights where they are offloaded too."""
    optimizer = (12 + 4) * trained if training.offload else 0
    weights = 2 * facts.parameters if training.offload_weights else 0
    return (optimizer + weights) / training.world_size


def _generation(facts: ModelFacts, training: Training, gpu_gb: float) -> Generation:
    """vLLM in bf16: weights and keys and values are split over the GPUs of a tensor-parallel group."""
    split = training.tensor_parallel
    token_gb = 2 * 2 * facts.layers * max(1.0, facts.kv_heads / split) * facts.head_dim / GB
    served = training.served_tokens or training.tokens
    return Generation(
        training.vllm_share * gpu_gb, 2 * facts.parameters / split / GB, token_gb * training.tokens,
        training.vllm_apart, served, token_gb * served,
    )  # fmt: skip


def state_gb(facts: ModelFacts, lora_parameters: int | None = None, *, zero_stage: int = 0, bf16: bool = True) -> float:
    """The size of one full state on disk."""
    trained = facts.parameters if lora_parameters is None else lora_parameters
    return state_bytes(trained, zero_stage=zero_stage, bf16=bf16) / GB


def state_bytes(trained: int, *, zero_stage: int, bf16: bool) -> float:
    """Always the weights as transformers saves them (of an adapter the adapter's alone) and two moments in fp32. With
    ZeRO also the fp32 weights, and below stage 3 DeepSpeed's own copy of what is trained.
    """
    weights = 2 if zero_stage and bf16 else 4
    copies = 2 if zero_stage in (1, 2) else 1
    return (copies * weights + (12 if zero_stage else 8)) * trained


def exported_gb(facts: ModelFacts, *, zero_stage: int = 0, bf16: bool = True) -> float:
    """The size of one exported model: with ZeRO on GPUs bf16, else the fp32 weights that are trained."""
    return exported_bytes(facts.parameters, zero_stage=zero_stage, bf16=bf16) / GB


def exported_bytes(parameters: int, *, zero_stage: int, bf16: bool) -> float:
    return (2 if zero_stage and bf16 else 4) * parameters
