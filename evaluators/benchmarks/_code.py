"""What the code benchmarks share: rows to items, an answer to its code, a verdict to a score."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.data import load_rows
from evaluators.scoring import code
from evaluators.scoring.code_tests import first_failure

if TYPE_CHECKING:
    from evaluators.sandbox import Program, Sandbox, Verdict


class CodeBenchmark(ABC):
    """A benchmark whose answers are Python programs that run in the sandbox."""

    name: str
    domain = "code"
    subdomain: str | None = None
    version = 1
    source: DataSource
    sampler = Sampler()

    def items(self, split: str, data_dir: Path | None = None) -> Iterator[Item]:
        for index, row in enumerate(load_rows(self.source, split, data_dir)):
            yield self.item(row, index)

    @abstractmethod
    def item(self, row: dict[str, Any], index: int) -> Item:
        """One row as an item."""

    @abstractmethod
    def question(self, item: Item) -> str:
        """The user's message."""

    @abstractmethod
    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        """What is run to judge `solution`, in order; the first that fails decides."""

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.question(item)}]

    def sandbox(self) -> Sandbox:
        from evaluators import sandbox

        return sandbox.shared()

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """Judge one completion. Safe to call from many threads and processes."""
        solution = code.python_code(completion, truncated=truncated)
        if solution is None:
            return code.no_code(completion, truncated=truncated)
        return self.judge(item, solution)

    def judge(self, item: Item, solution: str) -> Score:
        return code.score_of(self.verdict(item, solution), solution)

    def verdict(self, item: Item, solution: str) -> Verdict:
        """The verdict of the first program that does not pass, or of the last."""
        return first_failure(self.sandbox(), self.programs(item, solution))


def share_passed(verdicts: Sequence[Verdict]) -> float | None:
    """The share of the tests that passed; undefined where the sandbox was at fault in one."""
    if not verdicts or any(verdict.kind == "sandbox_error" for verdict in verdicts):
        return None
    return sum(verdict.passed for verdict in verdicts) / len(verdicts)


def fenced(text: str, language: str = "python") -> str:
    """`text` as a fenced block, with a fence longer than any inside."""
    marks = "```"
    while marks in text:
        marks += "`"
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def answer_table(answers: dict[str, str]) -> str:
    """A script that knows the output of each input by heart: right on these tests, and no demonstration."""
    table = {hashlib.sha256(stdin.encode()).hexdigest(): output for stdin, output in answers.items()}
    return (
        "import hashlib\nimport sys\n\n"
        f"TABLE = {table!r}\n"
        "print(TABLE[hashlib.sha256(sys.stdin.buffer.read()).hexdigest()])\n"
    )


def short_digest(text: str) -> str:
    """An id for rows that have none, the same wherever the row stands."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
