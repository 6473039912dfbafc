"""mini_math: addition of graded difficulty, computed on the spot.

For tests and the quickstart, not a measure of models. Level 1 adds two digits, level 2 a two-digit number
and a digit. A pair of numbers belongs, whichever way round, either to train or to test.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._mini import missing, side, spread

INTEGER = re.compile(r"-?\d+")
RANGES = {1: (range(10), range(10)), 2: (range(10, 40), range(10))}


class MiniMath:
    name = "mini_math"
    domain = "math"
    subdomain: str | None = None
    version = 1
    source = DataSource()
    sampler = Sampler(samples=4, temperature=1.0, max_tokens=8)

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        """All items of a split, levels mixed, in one fixed order."""
        chosen: list[Item] = []
        for level, (lefts, rights) in RANGES.items():
            pairs = [
                (a, b)
                for a in lefts
                for b in rights
                if side("mini_math", f"{min(a, b)}+{max(a, b)}") == split
            ]
            chosen += [
                Item(f"{a}+{b}", {"question": f"{a}+{b}=", "level": level}, a + b)
                for a, b in spread(f"mini_math-{level}", pairs)
            ]
        yield from spread("mini_math", chosen)

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": item.fields["question"]}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """The last integer of the completion is the answer."""
        found: list[Any] = INTEGER.findall(completion)
        if not found:
            return missing("no integer in the answer", truncated)
        # Compared as text: int() of a gigantic number is refused by Python, and slow.
        sign, digits = found[-1].startswith("-"), found[-1].lstrip("-").lstrip("0") or "0"
        right = digits == str(item.answer) and not (sign and digits != "0")
        return Score(float(right), Outcome.RIGHT if right else Outcome.WRONG, found[-1][:200], "last integer")

    def gold(self, item: Item) -> str:
        return str(item.answer)

    def wrong(self, item: Item, seed: int) -> str:
        """Another sum of the same level."""
        draw = random.Random(f"{seed}/{item.id}")
        lefts, rights = RANGES[item.fields["level"]]
        while True:
            other = draw.choice(lefts) + draw.choice(rights)
            if other != item.answer:
                return str(other)


BENCHMARK = MiniMath()
