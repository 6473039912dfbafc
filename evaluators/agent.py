"""How a language model plays a text environment: the prompt of each step, the episode, what of it is kept.

Training, evaluation, collection and probing play by this one module, so that a policy is asked in the same words
everywhere. Standard library only; knows no engine, trainer or run directory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from evaluators.environment import read_action
from evaluators.environment_pool import Shown
from evaluators.scoring.answers import THINK_CLOSE, THINK_OPEN
from manager.errors import UserError

HISTORY = 2
THINK_FORM = (
    "Think first, between <think> and </think>. Then give exactly one action, between <action> and </action>, for "
    "example: <think>what to do and why</think><action>{example}</action>"
)
PLAIN_FORM = "Answer with exactly one action, between <action> and </action>, for example: <action>{example}</action>"
EXAMPLE = "the action"


@dataclass(frozen=True)
class Augment:
    """Features that do not matter to the goal, put into what the policy sees: size, and share of the episodes."""

    epsilon: float
    probability: float = 1.0


@dataclass(frozen=True)
class AgentSettings:
    """The modelling choices of the study that decide a prompt. All of it is in a job's identity."""

    history: int = HISTORY  # earlier steps (what was seen and done) that a prompt repeats
    thinking: bool = True
    augment: Augment | None = None
    rules: bool = True  # without: no rules and no form of an answer, for a policy that has learned both

    @staticmethod
    def parse(value: Mapping[str, Any] | None) -> AgentSettings:
        """From a config's `agent`."""
        given = dict(value or {})
        augment = given.pop("augment", None)
        try:
            return AgentSettings(**given, augment=Augment(**augment) if augment else None)
        except TypeError as error:
            raise UserError(
                f"agent: {error}; there are: history, thinking, rules, augment {{epsilon, probability}}"
            ) from error


@dataclass(frozen=True)
class Turn:
    """One step: what the policy saw, what it answered, what was read from that and whether it could be done."""

    state: str
    completion: str
    action: str | None
    valid: bool
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    cut: bool = False  # the answer reached the limit of tokens


@dataclass(frozen=True)
class Episode:
    """A finished episode. With a `failure` it has no score: the environment, not the policy, ended it."""

    environment: str  # as the sweep names it
    task: int
    sample: int
    seed: int
    success: bool
    score: float | None
    steps: int
    invalid: int
    augmented: bool
    turns: tuple[Turn, ...]
    too_long: str = ""  # the prompt of the next step did not fit the context: why the policy's episode ended
    failure: str | None = None
    training_step: int | None = None  # of an episode that was trained on: the optimiser steps before it
    unanswered: str | None = None  # with `too_long`: the state that the policy could not be asked about

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Episode:
        return Episode(**{**value, "turns": tuple(Turn(**turn) for turn in value["turns"])})

    @property
    def states(self) -> list[str]:
        """All that the environment showed where an action was due."""
        return [turn.state for turn in self.turns] + ([] if self.unanswered is None else [self.unanswered])

    @property
    def completion_tokens(self) -> int:
        return sum(turn.completion_tokens for turn in self.turns)

    @property
    def thought(self) -> float | None:
        """The share of its answers with a thought before the action: asked for and not enforced, so it is counted."""
        return sum(has_thought(turn.completion) for turn in self.turns) / len(self.turns) if self.turns else None


class EnvironmentFailed(Exception):
    """An environment raised, died or hung where it has no other way to tell: the episode is over."""


class World(Protocol):
    """As much of an environment as an episode needs: one in this process, or one of a pool."""

    @property
    def instruction(self) -> str: ...

    def reset(self, task: int, split: str) -> Shown: ...

    def step(self, action: str | None) -> Shown: ...

    def augment(self, state: str, epsilon: float, seed: int) -> str: ...


class Play:
    """One episode on its way: `messages` asks, `take` answers, until `done`."""

    def __init__(
        self, name: str, world: World, settings: AgentSettings, task: int, sample: int, split: str, seed: int
    ) -> None:
        self.name, self.task, self.sample, self.seed = name, task, sample, seed
        self._world, self._settings = world, settings
        self._rng = random.Random(seed)
        augment = settings.augment
        self._augmented = augment is not None and self._rng.random() < augment.probability
        self._turns: list[Turn] = []
        self._too_long = ""
        self._show(world.reset(task, split))

    def _show(self, shown: Shown) -> None:
        self._shown, self._state = shown, shown.text
        augment = self._settings.augment
        if self._augmented and augment is not None and not shown.failure and not shown.done:
            try:
                self._state = self._world.augment(shown.text, augment.epsilon, self._rng.getrandbits(32))
            except EnvironmentFailed as error:
                self._shown = replace(shown, done=True, success=False, score=None, failure=str(error))

    @property
    def done(self) -> bool:
        return self._shown.done or bool(self._too_long)

    @property
    def turn(self) -> int:
        return len(self._turns)

    def messages(self) -> list[dict[str, str]]:
        return messages(self._world.instruction, self._turns, self._state, self._settings)

    def take(
        self, completion: str, prompt_tokens: int | None = None, completion_tokens: int = 0, *, cut: bool = False
    ) -> None:
        """Do what the policy answered."""
        action = read_action(completion)
        state, shown = self._state, self._world.step(action)
        self._turns.append(Turn(state, completion, action, shown.valid, prompt_tokens, completion_tokens, cut))
        self._show(shown)

    def give_up(self, why: str) -> None:
        """The next prompt does not fit the context of the model: the episode ends here."""
        self._too_long = why

    def episode(self) -> Episode:
        shown = self._shown
        return Episode(
            self.name, self.task, self.sample, self.seed, shown.success and not self._too_long, shown.score,
            shown.steps, shown.invalid,
            self._augmented, tuple(self._turns), self._too_long, shown.failure,
            unanswered=self._state if self._too_long else None,
        )  # fmt: skip


def messages(instruction: str, past: Sequence[Turn], state: str, settings: AgentSettings) -> list[dict[str, str]]:
    """The prompt of one step, made anew: rules, the last `history` steps, what is seen now, the form of an answer."""
    form = (THINK_FORM if settings.thinking else PLAIN_FORM).format(example=EXAMPLE)
    parts = [instruction] if settings.rules else []
    recent = past[-settings.history :] if settings.history else []
    if recent:
        earlier = "\n\n".join(
            f"You saw:\n{turn.state}\nYou did: {turn.action if turn.action is not None else 'nothing readable'}"
            + ("" if turn.valid else " (it could not be done)")
            for turn in recent
        )
        last = "step" if len(recent) == 1 else f"{len(recent)} steps"
        parts.append(f"Step {len(past) + 1}. Your last {last}:\n\n{earlier}")
    parts += [f"You see now:\n{state}", form] if settings.rules else [state]
    return [{"role": "user", "content": "\n\n".join(parts)}]


def has_thought(completion: str) -> bool:
    """Whether it thinks; some chat templates open the thinking in the prompt, so the end of it counts."""
    closed = THINK_CLOSE.search(completion)
    return closed is not None and bool(THINK_OPEN.sub("", completion[: closed.start()]).strip())


def answer(action: str, thought: str, *, thinking: bool) -> str:
    """A completion in the form that is asked for: of an oracle, to learn from."""
    return f"<think>{thought}</think><action>{action}</action>" if thinking else f"<action>{action}</action>"
