"""What every environment promises, as functions that the tests of each environment call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from evaluators.environment import Environment

Make = Callable[[], Environment]


def solved_share(environment: Environment, tasks: Iterable[int], split: str) -> float:
    """Of these tasks, how many the oracle's plan solves within the cap, no action of it being invalid."""
    outcomes = [_solved(environment, task, split) for task in tasks]
    return sum(outcomes) / len(outcomes)


def _solved(environment: Environment, task: int, split: str) -> bool:
    environment.reset(task, split)
    plan = environment.oracle()
    if plan is None:
        return False
    for action in plan:
        if environment.done:
            break
        assert environment.step(action).valid, (task, action)
    return environment.success and environment.steps <= environment.cap


def check_repeats(make: Make, tasks: Iterable[int]) -> None:
    """Two new environments play a task alike, also after other tasks."""
    one, other = make(), make()
    for task in tasks:
        other.reset(task + 1, "train")
        assert one.reset(task, "train") == other.reset(task, "train")
        for action in (one.oracle() or one.admissible())[:5]:
            if one.done:
                break
            assert one.step(action) == other.step(action)
            assert one.admissible() == other.admissible()
    one.close()
    other.close()


def check_splits_are_disjoint(environment: Environment, content: Callable[[], str], count: int) -> None:
    """No content of a test task is that of a training task."""
    seen: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, found in seen.items():
        for task in range(count):
            environment.reset(task, split)
            found.add(content())
    assert not seen["train"] & seen["test"]
    assert min(len(found) for found in seen.values()) > count // 2


def check_augmentation(environment: Environment, tasks: Iterable[int], epsilon: float) -> None:
    """Augmented states are longer, repeat by seed, and leave the world, its actions and its plan as they were."""
    for task in tasks:
        state = environment.reset(task, "train")
        plan, actions = environment.oracle(), environment.admissible()
        longer = environment.augment(state, epsilon, random.Random(task))
        assert len(longer) > len(state)
        assert longer == environment.augment(state, epsilon, random.Random(task))
        assert all(line in longer for line in state.split("\n"))
        assert (environment.oracle(), environment.admissible()) == (plan, actions)
        assert plan is not None
        for action in plan:
            if environment.done:
                break
            environment.augment(environment.step(action).text, epsilon, random.Random(task))
        assert environment.success


def check_invalid_actions(environment: Environment, nonsense: str = "sing a song") -> None:
    """Nonsense and no action cost a step each, are counted, and change nothing; the cap ends the episode."""
    environment.reset(0, "train")
    before = environment.admissible()
    for number, action in enumerate((nonsense, "", None), 1):
        observation = environment.step(action)
        assert not observation.valid
        assert environment.invalid == environment.steps == number
        assert environment.admissible() == before
    while not environment.done:
        environment.step(nonsense)
    assert environment.steps == environment.cap
    assert not environment.success
    assert environment.admissible() == []
    check_nothing_is_no_success(environment)


def check_nothing_is_no_success(environment: Environment) -> None:
    """Also right after an episode that succeeded: what the world said then must not be said again."""
    for task in range(2):
        environment.reset(task, "train")
        for action in environment.oracle() or []:
            if not environment.done:
                environment.step(action)
        environment.reset(task, "train")
        assert not environment.success
        while not environment.done:
            environment.step(None)
            assert not environment.success
        assert (environment.steps, environment.invalid) == (environment.cap, environment.cap)
