"""LoRA and its kin: `peft:` goes unchanged to peft, and how an adapter becomes plain weights again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from manager.run import Failed

# What `merged` cannot compute: more than a product of two matrices is added to a weight.
NOT_PLAIN = ("use_dora", "lora_bias", "target_parameters", "trainable_token_indices", "layer_replication", "use_qalora")


def peft_config(setting: Mapping[str, Any] | None) -> Any | None:
    """peft's config of `peft: {type: lora, …}`: `type` names the method, the rest is peft's own."""
    if not setting:
        return None
    import peft

    given = dict(setting)
    kind = str(given.pop("type", given.pop("peft_type", "lora"))).upper()
    if kind != "LORA":
        # Exported weights are plain: only LoRA's can be computed without disturbing the training.
        raise Failed(f"peft.type is {kind.lower()!r}; valid: lora", cause="config")
    if refused := sorted(key for key in NOT_PLAIN if given.get(key)):
        raise Failed(f"peft.{refused[0]}: exported weights would be without it; leave it out", cause="config")
    try:
        return peft.LoraConfig(task_type="CAUSAL_LM", **given)
    except TypeError as error:
        raise Failed(f"peft: {error}", cause="config") from error


def weights_for_engine(model: Any, gathered: Callable[[list[Any]], Any]) -> Iterator[tuple[str, Any]]:
    """Plain weights of a LoRA model as vLLM names them, one at a time; the model stays as it is.

    TRL adds the adapter in place and takes it off again: that rounds the base weights at every step, so that a resumed
    training is another one, and in bf16 base and reference drift. `gathered` makes sharded weights whole.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    with gathered(list(model.parameters())), torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name or ".original_module." in name:
                continue
            value, owner = parameter.data, name.removesuffix(".base_layer.weight")
            if owner in layers and owner != name:
                value = value + layers[owner].get_delta_weight("default").to(value.dtype)
            yield _plain(name), value


def merged(model: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Plain weights of a LoRA model: base weight plus adapter.

    Computed from the gathered `weights` alone: sharded parameters are not touched, and adding and taking off an
    adapter in place would round the base weights.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    state: dict[str, Any] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, value in weights.items():
        if ".lora_" in name or ".original_module." in name:
            continue
        owner = name.removesuffix(".base_layer.weight")
        if owner in layers and owner != name:
            up, down = (weights[f"{owner}.lora_{part}.default.weight"] for part in "BA")
            scaling = layers[owner].scaling["default"]
            delta = (up.to(torch.float32) @ down.to(torch.float32)) * scaling
            if layers[owner].fan_in_fan_out:
                delta = delta.T
            value = (value.to(torch.float32) + delta.to(value.device)).to(value.dtype)
        state[_plain(name)] = value
    return state


def _plain(name: str) -> str:
    """What a weight of a model with an adapter is called in the model without."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
    return plain.replace("modules_to_save.default.", "").replace("_checkpoint_wrapped_module.", "")
