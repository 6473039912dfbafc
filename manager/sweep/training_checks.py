"""What only all keys of a training stage together show: batch and processes, generation and GPUs, steps. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manager.job import Resources
from manager.sweep.mistakes import shown
from manager.sweep.training import misfit
from manager.sweep.values import MISSING

Tell = Callable[[tuple[str, ...], str], None]
SERVER_KEYS = ("vllm_server_base_url", "vllm_server_host")


def check_sft(config: Mapping[str, Any], resources: Resources, tell: Tell) -> None:
    if resources.server_gpus:
        tell(("resources", "server_gpus"), "a supervised training generates nothing; leave it out")
    examples = config["batch"]["examples"]
    _check_split(f"{examples} examples", examples, resources, tell)


def check_rl(config: Mapping[str, Any], resources: Resources, tell: Tell) -> None:
    batch = config["batch"]
    count = batch["mini_batch"] * batch["samples"]
    _check_cycle(config, tell)
    parts, weights = config["reward"], config["grpo"].get("reward_weights")
    rewards = len(parts) if isinstance(parts, list) else 1
    if isinstance(weights, list) and len(weights) != rewards:
        tell(("grpo", "reward_weights"), f"{len(weights)} weights for {rewards} rewards; one for each of `reward`")
    if isinstance(weights, list) and any(misfit(one, "float") for one in weights):
        tell(("grpo", "reward_weights"), f"expected a number for each reward, not {shown(weights)}")
    _check_generation(config, resources, tell)
    if (size := config["data"].get("size")) is not None and size < batch["prompts"]:
        tell(("data",), f"{size} prompts, {batch['prompts']} are asked at a time; raise size or lower batch.prompts")
    words = f"{batch['mini_batch']} prompts x {batch['samples']} samples = {count} completions"
    if resources.server_gpus and config["generation"]["mode"] != "server":
        tell(("resources", "server_gpus"), f"generation is {config['generation']['mode']}; write generation: server")
    if config["generation"]["mode"] != "server" or resources.server_gpus:  # else nobody knows what all of them do
        _check_split(words, count, resources, tell)
    world = resources.training_processes
    group = config["generation"].get("vllm_tensor_parallel_size") or config["generation"].get("tensor_parallel_size")
    if isinstance(group, int) and (resources.server_gpus or world) % group:
        where = f"{resources.server_gpus} GPUs of the server" if resources.server_gpus else f"{world} processes"
        tell(("generation", "vllm_tensor_parallel_size"), f"{where} do not divide into groups of {group}")
    if config["generation"].get("dynamic_sampling") and batch["prompts"] % world:
        why = f"dynamic sampling needs whole groups on every process: {batch['prompts']} prompts, {world} processes"
        tell(("batch", "prompts"), f"{why}; use a multiple of {world}")


def _check_generation(config: Mapping[str, Any], resources: Resources, tell: Tell) -> None:
    """vLLM needs GPUs and room for an answer, and a server has to be somebody's."""
    generation = config["generation"]
    mode = generation["mode"]
    if mode == "transformers":
        return
    if not (resources.gpus_per_node or resources.slurm):
        tell(("generation",), f"{mode} needs GPUs; set resources.gpus_per_node, or write generation: transformers")
    elif mode == "server" and not resources.server_gpus and not any(key in generation for key in SERVER_KEYS):
        some = "of at least 2" if resources.world_size < 2 else f"of the {resources.world_size}"
        tell(
            ("generation",),
            f"server: no GPU is the server's; set resources.server_gpus: K {some} GPUs, or, where somebody else runs "
            "one, {mode: server, vllm_server_base_url: …}",
        )
    longest, answer = generation.get("vllm_max_model_length"), config["grpo"].get("max_completion_length")
    if isinstance(longest, int) and isinstance(answer, int) and answer >= longest:
        why = f"{longest} tokens for prompt and answer, and grpo.max_completion_length is {answer}; raise the one"
        tell(("generation", "vllm_max_model_length"), why)


def _check_cycle(config: Mapping[str, Any], tell: Tell) -> None:
    """Weights and states are saved between generated batches: one of these is a cycle of optimiser steps."""
    batch, settings, every = config["batch"], config["grpo"], config["export_steps"]
    cycle = (settings.get("num_iterations") or 1) * batch["prompts"] // batch["mini_batch"]
    made = f"{batch['prompts']} generated prompts make {cycle} optimiser steps of {batch['mini_batch']}"
    if every % cycle and not 0 < settings.get("max_steps", 0) <= every:
        why = f"{made}, and weights are exported between them only: {every} is no multiple of {cycle}"
        tell(("export_steps",), why)
    save = settings.get("save_steps", cycle)
    if save is not MISSING and (not isinstance(save, int) or save % cycle):
        why = f"{made}; a state saved among them could not be resumed exactly: {save} is no multiple of {cycle}"
        tell(("grpo", "save_steps"), why)


def _check_split(words: str, count: int, resources: Resources, tell: Tell) -> None:
    """The batch of one optimiser step has to divide over processes and forward passes."""
    world = resources.training_processes
    if count % world:
        fits = [size for size in range(1, count + 1) if count % size == 0]
        near = ", ".join(map(str, sorted(sorted(fits, key=lambda size: abs(size - world))[:4])))
        shape = (
            f"{resources.nodes} nodes x {resources.tasks}" if resources.nodes > 1 else f"{resources.tasks} on one node"
        )
        if resources.server_gpus:
            shape += f", less {resources.server_gpus} of the server"
        tell(
            ("resources",),
            f"{words} an optimiser step do not divide over {world} processes ({shape}); "
            f"change the batch, or use {near} processes",
        )
        return
    micro, share = resources.micro_batch, count // world
    if micro is not None and share % micro:
        valid = ", ".join(str(size) for size in range(1, share + 1) if share % size == 0)
        tell(
            ("resources", "micro_batch"),
            f"{words} an optimiser step over {world} processes are {share} each, "
            f"which do not divide into forward passes of {micro}; valid: {valid}",
        )
