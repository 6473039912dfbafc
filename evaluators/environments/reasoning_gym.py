"""A task of the reasoning-gym package as an environment of one step: a question, an answer, its own judge.

Only tasks whose judge can be trusted are admitted: the task's own answers score 1 and junk scores nothing.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from evaluators.environment import Environment, belongs_to, task_rng
from evaluators.environments._packages import need
from manager.errors import UserError

_SIZE = 20_000  # the most that every task of the package allows
_ADMISSION_ITEMS = 10
_MAX_ATTEMPTS = 200  # of which one in five is of the test split
_JUNK = ("", "banana", "no idea", "<answer></answer>")
# Some judges give this much for any text; success needs 1.
_JUNK_SCORE = 0.05


@cache
def refusal(task: str) -> str | None:
    """Why a task is not admitted, or None: judged on its own answers and on junk."""
    dataset = _dataset(task)
    for index in range(_ADMISSION_ITEMS):
        entry = dataset[index]
        if entry["answer"] is None:
            return "it has no answer of its own"
        if _score(dataset, str(entry["answer"]), entry) < 1:
            return f"its own answer to item {index} does not score 1"
        for junk in _JUNK:
            if _score(dataset, junk, entry) > _JUNK_SCORE:
                return f"the answer {junk!r} to item {index} scores {_score(dataset, junk, entry):g}"
    return None


def _dataset(task: str) -> Any:
    package = need("reasoning_gym", "reasoning_gym")
    known = need("reasoning_gym.factory", "reasoning_gym").DATASETS
    if task not in known:
        raise UserError(f"reasoning-gym has no task {task!r}; it has: {', '.join(sorted(known))}")
    try:
        return package.create_dataset(task, size=_SIZE, seed=1)
    except (AssertionError, ValueError) as e:
        raise UserError(f"reasoning-gym task {task!r} cannot be made without a configuration: {e}") from e


def _score(dataset: Any, answer: str, entry: dict[str, Any]) -> float:
    try:
        return float(dataset.score_answer(answer, entry))
    except (ValueError, TypeError, IndexError, KeyError, SyntaxError, AttributeError, ArithmeticError):
        return 0.0  # judges of the package parse the answer, and fail on what is none


class ReasoningGym(Environment):
    name = "reasoning_gym"
    version = 1
    quick = True
    prompt_tokens = 2048
    response_tokens = 1024

    def __init__(self, task: str) -> None:
        super().__init__(cap=1)
        if why := refusal(task):
            raise UserError(f"reasoning-gym task {task!r} is not admitted: {why}")
        self._task = task
        self._dataset = _dataset(task)

    def _begin(self, task: int, split: str) -> None:
        for attempt in range(_MAX_ATTEMPTS):
            index = task_rng(f"reasoning_gym:{self._task}", task, split, attempt).randrange(_SIZE)
            entry = self._dataset[index]
            if belongs_to(entry["question"], split):
                break
        else:
            raise UserError(f"reasoning-gym task {self._task!r} has too few questions for two splits")
        self._entry = entry
        self._answered: float | None = None

    def instruction(self) -> str:
        return "Answer the question. The action is your final answer alone, in the form that the question asks for."

    def admissible(self) -> list[str]:
        """`<answer>` stands for any text."""
        return [] if self.done else ["<answer>"]

    def oracle(self) -> list[str] | None:
        return [str(self._entry["answer"])]

    @property
    def score(self) -> float:
        return self._answered or 0.0

    def _over(self) -> bool:
        return self._answered is not None

    def _act(self, action: str) -> bool:
        if not action or action == "<answer>":
            return False
        self._answered = _score(self._dataset, action, self._entry)
        return True

    def _state(self) -> str:
        question: str = self._entry["question"]
        return question

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Sentences before the question, about ε characters; the question itself stays as it is."""
        lines: list[str] = []
        while sum(map(len, lines)) < max(1.0, epsilon):
            lines.append(rng.choice(_REMARKS).format(rng.randint(2, 400)))
        return "\n".join([*lines, state])


_REMARKS = (
    "This sheet is page {0} of the collection.",
    "The archive number is {0}; it has nothing to do with the question.",
    "Room {0} is closed for cleaning today.",
    "Somebody has drawn {0} small stars in the margin.",
)


def make(task: str = "chain_sum") -> ReasoningGym:
    """One task of the package as an environment."""
    return ReasoningGym(task)
