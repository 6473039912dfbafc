"""What a text environment is: one contract for training an agent, evaluating it and probing the environment.

Standard library only. Owns the counting that is the same everywhere (steps, invalid actions, the cap); an
environment's own file owns its world. Knows nothing of models, prompts or rewards.
"""

from __future__ import annotations

import hashlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evaluators.scoring.answers import without_thinking
from manager.errors import UserError

SPLITS = ("train", "test")
# Of all tasks that could be drawn, one in this many belongs to the test split, by the digest of its content.
TEST_SHARE = 5


@dataclass(frozen=True)
class Observation:
    """What a step shows. `valid` is False where the action could not be done; the world is then unchanged."""

    text: str
    done: bool
    valid: bool


class Environment(ABC):
    """One world that plays one episode at a time: `reset`, then `step` until `done`.

    A task is a number; the same number, split and options give the same episode on every machine. The tasks of the
    two splits have different content.
    """

    name: ClassVar[str]
    version: ClassVar[int]  # raised with every change of the tasks, the texts or the judging
    cap: int  # steps an episode may take
    prompt_tokens: ClassVar[int] = 4096
    response_tokens: ClassVar[int] = 512
    quick: ClassVar[bool] = False  # steps take far less than a message to another process does
    # Processes that environments of this kind share, unless `resources` says otherwise; None: one a core.
    processes: ClassVar[int | None] = None
    # Options that name a file, or with patterns a folder and what in it counts: their content is a job's identity.
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, cap: int) -> None:
        if cap < 1:
            raise UserError(f"environment {self.name!r}: cap must be at least 1, not {cap}")
        self.cap = cap
        self.steps = 0
        self.invalid = 0
        self._running = False

    @abstractmethod
    def instruction(self) -> str:
        """The rules, and the form of an action, for the head of a prompt."""

    @abstractmethod
    def admissible(self) -> list[str]:
        """The actions that can be done now, in a fixed order; empty when the episode is over."""

    @abstractmethod
    def oracle(self) -> list[str] | None:
        """Actions that solve the task from here, or None where no plan is known."""

    @property
    @abstractmethod
    def score(self) -> float:
        """0 to 1: how much of the task is done."""

    @property
    def success(self) -> bool:
        return self.score >= 1.0

    @abstractmethod
    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """`state` with features that do not matter to the goal, about `epsilon` characters; the world is untouched."""

    @abstractmethod
    def _begin(self, task: int, split: str) -> None:
        """Set up the world of a task."""

    @abstractmethod
    def _act(self, action: str) -> bool:
        """Do one action; False, and nothing done, where it is not admissible."""

    @abstractmethod
    def _state(self) -> str:
        """What is to be seen now."""

    def _over(self) -> bool:
        """Whether the world itself has ended, solved or not."""
        return self.success

    def task_count(self, split: str) -> int | None:
        """How many tasks a split has; None where they are made without end."""
        return None

    def reset(self, task: int, split: str = "train") -> str:
        """Start the episode of a task; the first state."""
        if split not in SPLITS:
            raise UserError(f"environment {self.name!r}: split {split!r} is not one of {', '.join(SPLITS)}")
        if task < 0:
            raise UserError(f"environment {self.name!r}: a task is a number from 0, not {task}")
        self.steps = self.invalid = 0
        self._running = True
        self._begin(task, split)
        return self._state()

    def step(self, action: str | None) -> Observation:
        """Do `action` (None: the model named none); an action that cannot be done costs a step and changes nothing."""
        if not self._running:
            raise RuntimeError("step before reset, or after the episode ended")
        valid = action is not None and self._act(action.strip())
        self.steps += 1
        self.invalid += not valid
        done = self._over() or self.steps >= self.cap
        self._running = not done
        text = self._state() if valid else f"That action cannot be done.\n{self._state()}"
        return Observation(text, done, valid)

    @property
    def done(self) -> bool:
        return not self._running

    def close(self) -> None:
        """End the episode and give back what the environment holds (processes, files)."""
        self._running = False


_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL | re.IGNORECASE)


def read_action(completion: str) -> str | None:
    """The last `<action>…</action>` outside the thinking, or None. What follows an unclosed `<think>` is thinking."""
    actions = _ACTION.findall(without_thinking(completion))
    return actions[-1].strip() if actions and actions[-1].strip() else None


def task_rng(name: str, task: int, split: str, attempt: int = 0) -> random.Random:
    """Random numbers that belong to one task; the same on every machine and Python."""
    seed = hashlib.sha256(f"{name}:{split}:{task}:{attempt}".encode()).digest()
    return random.Random(int.from_bytes(seed[:8], "big"))


def belongs_to(content: str, split: str) -> bool:
    """Whether a task of this content is of `split`: content decides, so that no task is in both."""
    digest = hashlib.sha256(content.encode()).digest()
    return (digest[0] % TEST_SHARE == 0) == (split == "test")


def insert_lines(state: str, lines: Sequence[str], rng: random.Random) -> str:
    """`state` with `lines` at places drawn at random among its own lines, whose order stays."""
    own = state.split("\n")
    for line in lines:
        own.insert(rng.randrange(1, len(own) + 1), line)
    return "\n".join(own)
