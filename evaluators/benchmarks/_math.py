r"""What the mathematics benchmarks share: question, "put the answer in \boxed{}", comparison by value."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.data import load_rows
from evaluators.scoring import answers
from evaluators.scoring.math import score_math
from evaluators.scoring.numbers import read_number, tidy, unwrap
from manager.errors import UserError

INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."


# The training problems of MATH. Its hub configs are subjects; a data folder may hold them joined.
MATH_TRAIN = DataSource(
    hub="EleutherAI/hendrycks_math",
    revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
    config="algebra",
    folder="math",
)


def read_math_train(row: Mapping[str, Any], index: int) -> tuple[str, str, str, str]:
    """A row of MATH, whose answer is the last box of its solution."""
    boxes = answers.boxed(row["solution"])
    return str(index), row["problem"], row["solution"], boxes[-1] if boxes else ""


@dataclass(frozen=True)
class MathBenchmark:
    """`read` turns one row of the hub into (id, problem, worked solution, answer)."""

    name: str
    source: DataSource
    sampler: Sampler
    read: Callable[[Mapping[str, Any], int], tuple[str, str, str, str]]
    version: int = 4
    domain: str = "math"
    subdomain: str | None = None
    # Worked training problems, for demonstrations; the AIME and the AMC have none of their own here.
    train_source: DataSource = MATH_TRAIN
    read_train: Callable[[Mapping[str, Any], int], tuple[str, str, str, str]] | None = None

    def data_sources(self) -> list[tuple[DataSource, str]]:
        """Every (source, split) that `evaluators.fetch` brings."""
        return [(self.source, "test"), (self.train_source, "train")]

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        if split not in ("test", "train"):
            raise UserError(f"benchmark {self.name!r} has no split {split!r}; it has: test, train")
        source, read = self.source, self.read
        if split == "train":
            source, read = self.train_source, self.read_train or self.read
        for index, row in enumerate(load_rows(source, split, data_dir)):
            identifier, problem, solution, answer = read(row, index)
            yield Item(f"{split}/{identifier}", {"problem": problem, "solution": solution}, answer)

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"{item.fields['problem']}\n\n{INSTRUCTION}"}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        return score_math(completion, str(item.answer), truncated=truncated)

    def gold(self, item: Item) -> str:
        solution = str(item.fields["solution"]).strip()
        boxes = answers.boxed(solution)
        if boxes and boxes[-1] == item.answer:
            return solution
        return f"{solution}\n\nThe final answer is $\\boxed{{{item.answer}}}$.".strip()

    def wrong(self, item: Item, seed: int) -> str:
        return f"The final answer is $\\boxed{{{another(str(item.answer), seed)}}}$."


def another(answer: str, seed: int) -> str:
    """An answer of the same form that says something else."""
    rng = random.Random(f"{seed}:{answer}")
    number = read_number(answer)
    if number is not None and number.value.denominator == 1:
        return str(int(number.value) + rng.choice([-3, -2, -1, 1, 2, 3, 10]))
    if letter := re.fullmatch(r"\(?([A-E])\)?", unwrap(tidy(answer))):
        return rng.choice([other for other in "ABCDE" if other != letter.group(1)])
    digits = list(re.finditer(r"\d+", answer))
    if digits:
        chosen = rng.choice(digits)
        changed = int(chosen.group()) + rng.choice([1, 2, 3])
        return f"{answer[: chosen.start()]}{changed}{answer[chosen.end() :]}"
    if re.search(r"\\text|\\mbox", answer):
        return "\\text{none of these}"
    return f"{answer} + {rng.choice([1, 2, 3])}"


def plain_sampler(samples: int) -> Sampler:
    """The study does not state a temperature for mathematics; docs/benchmarks.md says why this one."""
    return replace(Sampler(), samples=samples, temperature=0.6, top_p=0.95)
