"""mini_code: find the program behind input and output pairs. The answer is executed, not compared as text.

The programs are expressions in x (evaluators/benchmarks/_mini_language.py), computed on the spot and run by
that language's own interpreter on inputs which the question does not show. A function belongs either to
train or to test, with all the ways of showing it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._mini import missing, side, spread
from evaluators.benchmarks._mini_language import ProgramError, execute

SHOWN = ((0, 1), (0, 1, 2))
HIDDEN = (3, 4, 7, 10, -1, -6)
FACTORS = range(1, 6)
SUMMANDS = range(0, 25)
FENCE = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)


def program(factor: int, summand: int) -> str:
    """The plainest program of factor * x + summand."""
    product = "x" if factor == 1 else f"{factor}*x"
    return product if summand == 0 else f"{product}+{summand}"


class MiniCode:
    name = "mini_code"
    domain = "code"
    subdomain: str | None = None
    version = 1
    source = DataSource()
    sampler = Sampler(samples=4, temperature=1.0, max_tokens=12)

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        """Every function of the split in every way of showing it, in one fixed order."""
        functions = [(a, b) for a in FACTORS for b in SUMMANDS if side("mini_code", f"{a}x+{b}") == split]
        yield from spread("mini_code", [self._item(a, b, shown) for a, b in functions for shown in SHOWN])

    def _item(self, factor: int, summand: int, shown: tuple[int, ...]) -> Item:
        question = " ".join(f"{x}:{factor * x + summand}" for x in shown)
        return Item(
            f"{factor}x+{summand}/" + "".join(map(str, shown)),
            {"question": question, "hidden": [[x, factor * x + summand] for x in HIDDEN]},
            program(factor, summand),
        )

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": item.fields["question"]}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """Right if the program gives the right output for every hidden input."""
        fenced = FENCE.findall(completion)
        lines = (fenced[-1] if fenced else completion).strip().splitlines()
        if not lines:
            return missing("no program in the answer", truncated)
        answer = lines[-1].strip()
        for x, expected in item.fields["hidden"]:
            try:
                value = execute(answer, x)
            except ProgramError as error:
                return Score(0.0, Outcome.WRONG, answer[:200], f"f({x}): {error}")
            if value != expected:
                return Score(0.0, Outcome.WRONG, answer[:200], f"f({x}) is {value}, not {expected}")
        return Score(
            1.0, Outcome.RIGHT, answer[:200], f"right for {len(item.fields['hidden'])} hidden inputs"
        )

    def gold(self, item: Item) -> str:
        return str(item.answer)

    def wrong(self, item: Item, seed: int) -> str:
        """The program of another function."""
        draw = random.Random(f"{seed}/{item.id}")
        while True:
            other = program(draw.choice(FACTORS), draw.choice(SUMMANDS))
            if other != item.answer:
                return other


BENCHMARK = MiniCode()
