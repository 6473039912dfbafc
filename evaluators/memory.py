"""Whether a model fits a device, estimated from its files before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.engine import EngineError
from manager.atomic import read_json
from manager.model_folder import files_of

GIB = 2**30
OVERHEAD = 1.5 * GIB  # CUDA context, activations, graphs: what is needed besides weights and cache
UTILISATION = 0.92  # vLLM's default share of the device
BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}


def weight_bytes(model: Path) -> int:
    """The size of the weights on disk, which is what they take on the device without a change of type."""
    files = list(model.glob("*.safetensors")) or list(model.glob("pytorch_model*.bin"))
    return sum(file.stat().st_size for file in files)


def cache_bytes_a_token(config: Mapping[str, Any], size: int = 2) -> int | None:
    """What one token of context takes in the KV cache; None where the architecture does not say."""
    text = config.get("text_config") or config
    try:
        layers, heads = text["num_hidden_layers"], text["num_attention_heads"]
        head = text.get("head_dim") or text["hidden_size"] // heads
    except KeyError:
        return None
    return int(2 * layers * (text.get("num_key_value_heads") or heads) * head * size)


def needed_bytes(model: Path, context: int | None, devices: int) -> int | None:
    """Weights and the cache of one sequence of full context, on each of `devices`; None if it cannot be told."""
    config = read_json(model / "config.json")
    weights = weight_bytes(model)
    if not config or not weights:
        return None
    a_token = cache_bytes_a_token(config)
    length = context or (config.get("text_config") or config).get("max_position_embeddings") or 0
    return int((weights + (a_token or 0) * length) / devices + OVERHEAD)


def check_weights_fit(model: str, device_bytes: int, device: str, revision: str | None = None) -> None:
    """EngineError where the weights alone are more than the device has."""
    folder = files_of(model, revision)
    weights = weight_bytes(folder) if folder is not None else 0
    if weights > device_bytes:
        raise EngineError(
            f"{model}: its weights are {weights / GIB:.1f} GiB, {device} has {device_bytes / GIB:.1f} GiB; use "
            "a larger one, or `engine: vllm` with tensor_parallel_size over several GPUs",
            cause="gpu_too_small",
        )


def check_fits(model: str, device_bytes: int, options: Mapping[str, Any], revision: str | None = None) -> None:
    """EngineError with the estimate and what to change, if the device is too small."""
    folder = files_of(model, revision)
    if folder is None or options.get("quantization") or options.get("cpu_offload_gb"):
        return
    devices = int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))
    context = options.get("max_model_len")
    needed = needed_bytes(folder, context if isinstance(context, int) else None, devices)
    usable = device_bytes * float(options.get("gpu_memory_utilization", UTILISATION))
    if needed is not None and needed > usable:
        raise EngineError(
            f"{model}: weights and the cache of one full sequence need about {needed / GIB:.1f} GiB a GPU, "
            f"{usable / GIB:.1f} GiB may be used; raise engine.tensor_parallel_size or lower engine.max_model_len",
            cause="gpu_too_small",
        )
