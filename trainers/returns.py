"""What an episode is worth, and how much better than its group it was. Pure.

A group is the episodes of one task. An episode that its environment ended (it died, hung or raised) has no return: it
is left out of its group, and never counts as a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.agent import Episode

NAME = "episode"
SMALLEST = 1e-4  # what TRL adds to a standard deviation that it divides by
Returns = Sequence[float | None]


class ReturnError(ValueError):
    """A reward setting that is not understood: one line with the key and what is valid."""


@dataclass(frozen=True)
class Worth:
    """`config.reward` where environments are trained on; the study's values."""

    success: float = 10.0
    failure: float = 0.0
    invalid: float = -0.1  # for each action that could not be done

    @staticmethod
    def parse(value: Any) -> Worth:
        given = dict(value) if isinstance(value, Mapping) else {"name": value or NAME}
        if given.pop("name", NAME) != NAME:
            raise ReturnError(f"reward: {value!r}; environments are rewarded by {NAME}")
        try:
            return Worth(**given)
        except TypeError as error:
            raise ReturnError(f"reward.{NAME}: {error}; there are: success, failure, invalid") from error

    def of(self, episode: Episode) -> float | None:
        if episode.failure:
            return None
        return (self.success if episode.success else self.failure) + self.invalid * episode.invalid


@dataclass(frozen=True)
class Advantages:
    """One value an episode (0 without a return), and the share of groups from which nothing can be learned."""

    values: tuple[float, ...]
    without_signal: float


def advantages(returns: Returns, samples: int, scale: str) -> Advantages:
    """Returns less their group's mean; divided as GRPOConfig's `scale_rewards` (group, batch, none) says."""
    whole = deviation([one for one in returns if one is not None])
    values: list[float] = []
    flat = 0
    groups = [returns[start : start + samples] for start in range(0, len(returns), samples)]
    for group in groups:
        known = [one for one in group if one is not None]
        own = deviation(known)
        flat += own < 1e-8
        middle = math.fsum(known) / len(known) if known else 0.0
        divisor = {"group": own + SMALLEST, "batch": whole + SMALLEST, "none": 1.0}[scale]
        values += [0.0 if one is None else (one - middle) / divisor for one in group]
    return Advantages(tuple(values), flat / len(groups) if groups else 0.0)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    middle = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((one - middle) ** 2 for one in values) / (len(values) - 1))
