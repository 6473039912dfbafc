"""How many jobs an evaluation is best split into: least GPU time that still meets a deadline. Pure.

A shard asks every so-many-th item (`shard: {index, of}` in its config), with all samples of the item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class ShardPlan:
    """`shards` jobs of about `minutes` each; together `gpu_minutes`. `meets_deadline` is false if none can."""

    shards: int
    minutes: float
    gpu_minutes: float
    meets_deadline: bool


def plan_shards(
    generation_min: float, load_min: float, deadline_min: float, *, most: int, gpus: int = 1, longest_min: float = 0.0
) -> ShardPlan:
    """The fewest shards that end within the deadline: each more costs one engine load more.

    `generation_min` is what one engine needs for all of it, `longest_min` what its longest answer alone
    needs, which no sharding shortens.
    """
    if generation_min < 0 or load_min < 0 or most < 1 or gpus < 1:
        raise ValueError("times must not be negative, and at least one shard and one GPU are needed")
    room = deadline_min - load_min
    wanted = ceil(generation_min / room) if room > 0 else most
    shards = max(1, min(most, wanted))
    minutes = load_min + max(generation_min / shards, longest_min)
    return ShardPlan(shards, minutes, gpus * (shards * load_min + generation_min), minutes <= deadline_min)


def part(items: Sequence[T], index: int, of: int) -> Sequence[T]:
    """One shard's items: together the shards have each item once, and as many of every stretch."""
    if not 0 <= index < of:
        raise ValueError(f"shard {index} of {of}")
    return items[index::of]
