"""What the procedural benchmarks share: the split by digest, the fixed order, the missing answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from evaluators.benchmark import Outcome, Score

T = TypeVar("T")
TEST_SHARE = 5  # one in so many goes to test


def number(text: str) -> int:
    """A fixed number for a text, the same on every machine and Python."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def side(benchmark: str, key: str) -> str:
    """The split that everything with this key belongs to: what makes train and test disjoint."""
    return "test" if number(f"{benchmark}/side/{key}") % TEST_SHARE == 0 else "train"


def spread(salt: str, values: Iterable[T]) -> list[T]:
    """The values in a fixed order that looks random: the digest of each one's place."""
    listed: Sequence[T] = list(values)
    order = sorted(range(len(listed)), key=lambda place: number(f"{salt}/order/{place}"))
    return [listed[place] for place in order]


def missing(why: str, truncated: bool) -> Score:
    """No answer was found: cut off before it, or finished without it."""
    return Score(0.0, Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER, None, why)
