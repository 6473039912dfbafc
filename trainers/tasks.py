"""Which tasks an agent is trained on, and in which order: it follows from the seed and a task's place alone.

The place is the number of the prompt since the first step of the training, whatever the number of processes or
steps is. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
ENDLESS = 2**31  # tasks are drawn from so many where an environment makes them without end


@dataclass(frozen=True)
class Pool:
    """The training tasks of one environment; `count` is None where they are made without end."""

    name: str
    count: int | None


@dataclass(frozen=True)
class Task:
    """One drawn task. `place` tells repetitions of the same task apart."""

    place: int
    environment: str
    number: int


def draw(pools: Sequence[Pool], seed: int, places: range) -> list[Task]:
    """Every environment once in each run of as many places as there are environments, in a shuffled order."""
    tasks = []
    for place in places:
        turn, within = divmod(place, len(pools))
        order = list(range(len(pools)))
        random.Random(f"{seed}/turn/{turn}").shuffle(order)
        pool = pools[order[within]]
        tasks.append(Task(place, pool.name, _number(pool, seed, turn)))
    return tasks


def _number(pool: Pool, seed: int, turn: int) -> int:
    if pool.count is None:
        return random.Random(f"{seed}/{pool.name}/{turn}").randrange(ENDLESS)
    epoch, place = divmod(turn, pool.count)
    return _epoch(pool, seed, epoch)[place]


@lru_cache(maxsize=16)
def _epoch(pool: Pool, seed: int, epoch: int) -> tuple[int, ...]:
    """All tasks of an environment that has only so many, each once."""
    assert pool.count is not None
    order = list(range(pool.count))
    random.Random(f"{seed}/{pool.name}/epoch/{epoch}").shuffle(order)
    return tuple(order)


def share(total: int, steps: int, world_size: int, rank: int) -> list[int]:
    """The episodes of a generated batch that one process plays, by number, in the order of the optimiser steps.

    The episodes of one step are the same on any number of processes.
    """
    of_step = total // steps
    own = of_step // world_size
    return [step * of_step + rank * own + place for step in range(steps) for place in range(own)]


def in_order(parts: Sequence[Sequence[T]], steps: int) -> list[T]:
    """What every process has of its share, as the whole batch in the order of the episodes' numbers."""
    own = len(parts[0]) // steps
    return [one for step in range(steps) for part in parts for one in part[step * own : (step + 1) * own]]
