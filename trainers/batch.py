"""How one global batch is split over processes and forward passes. Pure.

The batch is part of a job's identity and global: `prompts` x `samples` completions are generated at a time,
`mini_batch` prompts make one optimiser step, on any number of GPUs. Resources only split it, so the split
is computed here and nowhere else, and what cannot be split is told with the nearest thing that can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STEPS_IN_A_PASS = 16  # steps of episodes in one forward pass where resources.micro_batch does not say
# Of episodes: losses that weigh every row or token alike, whichever forward pass it is in. The sweep grammar
# (manager/sweep/agent_training.py) names the same and imports no trainer.
EPISODE_LOSSES = ("dapo", "cispo", "grpo", "sapo", "dr_grpo", "luspo")


class BatchError(ValueError):
    """A batch that cannot be split as asked: one line with the key, the reason and what is valid."""


@dataclass(frozen=True)
class Split:
    """The split of one global batch over `world_size` processes."""

    per_device: int  # completions (or examples) in one forward pass of one process
    accumulation: int  # forward passes of one process in one optimiser step
    steps_per_generation: int  # forward passes of one process for one generated batch; rl only
    boundary: int  # optimiser steps for one generated batch: states are saved at multiples of it
    world_size: int

    @property
    def per_step(self) -> int:
        """Completions (or examples) of one optimiser step, over all processes."""
        return self.per_device * self.accumulation * self.world_size


def _number(batch: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = batch.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BatchError(f"batch.{key} is {value!r}; it must be a whole number of at least 1")
    return value


def _divisor(total: int, limit: int | None) -> int:
    """The largest divisor of `total` that is at most `limit`."""
    if limit is None:
        return total
    if limit < 1:
        raise BatchError(f"resources.micro_batch is {limit}; it must be at least 1")
    return max(size for size in range(1, min(limit, total) + 1) if total % size == 0)


def _share(total: int, world_size: int, what: str) -> int:
    if total % world_size:
        fits = [size for size in range(1, total + 1) if total % size == 0]
        near = sorted(fits, key=lambda size: abs(size - world_size))[:3]
        raise BatchError(
            f"{what} = {total} per optimiser step does not divide over {world_size} processes; "
            f"use {', '.join(map(str, sorted(near)))} processes (resources.nodes x gpus_per_node) or another batch"
        )
    return total // world_size


def split_rl(batch: Mapping[str, Any], world_size: int, micro_batch: int | None = None) -> Split:
    """The split of `{prompts, samples, mini_batch}`; `mini_batch` defaults to all prompts."""
    prompts, samples = _number(batch, "prompts"), _number(batch, "samples")
    mini_batch = _number(batch, "mini_batch", prompts)
    if samples < 2:
        raise BatchError("batch.samples is 1; advantages within a group need at least 2")
    if prompts % mini_batch:
        fits = [size for size in range(1, prompts + 1) if prompts % size == 0]
        raise BatchError(
            f"batch.mini_batch {mini_batch} does not divide batch.prompts {prompts}; valid: {', '.join(map(str, fits))}"
        )
    share = _share(mini_batch * samples, world_size, f"batch.mini_batch {mini_batch} x batch.samples {samples}")
    per_device = _divisor(share, micro_batch)
    boundary = prompts // mini_batch
    accumulation = share // per_device
    return Split(per_device, accumulation, accumulation * boundary, boundary, world_size)


def split_sft(batch: Mapping[str, Any], world_size: int, micro_batch: int | None = None) -> Split:
    """The split of `{examples}`: the examples of one optimiser step."""
    share = _share(_number(batch, "examples"), world_size, "batch.examples")
    per_device = _divisor(share, micro_batch)
    return Split(per_device, share // per_device, share // per_device, 1, world_size)


def in_words(batch: Mapping[str, Any], split: Split) -> str:
    """The arithmetic as one line, for `manager plan`."""
    step = f"{split.per_device} x {split.accumulation} passes x {split.world_size} processes = {split.per_step}"
    if "prompts" not in batch:
        return f"{step} examples per optimiser step"
    prompts, samples = batch["prompts"], batch["samples"]
    return (
        f"{prompts} prompts x {samples} samples = {prompts * samples} completions per generation, "
        f"{split.boundary} optimiser step(s) each; {step} completions per optimiser step"
    )


def episodes_in_words(batch: Mapping[str, Any], split: Split, micro_batch: int | None) -> str:
    """The same for a training on environments, where the steps of episodes are the samples."""
    prompts, samples, own = batch["prompts"], batch["samples"], split.per_step // split.world_size
    return (
        f"{prompts} tasks x {samples} samples = {prompts * samples} episodes per generation, "
        f"{split.boundary} optimiser step(s) each; {own} episodes x {split.world_size} processes = {split.per_step} "
        "episodes per optimiser step, every step of them a row; "
        f"{micro_batch or STEPS_IN_A_PASS} rows at most in a forward pass"
    )
