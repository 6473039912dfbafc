"""Episodes of one batch, stepped together: rounds, ends, failures, room for the prompt, several kinds at once."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from evaluators.agent import AgentSettings, Augment
from evaluators.environments import facts
from evaluators.environments import make as make_environment
from evaluators.player import Work
from evaluators.worlds import Here
from manager.run import Failed
from tests.trainers import playing
from trainers.rollouts import Answers, Kind, Rollouts, Speaker

scratch = pytest.importorskip("trainers.scratch")

SMALL = Kind("sokoban", "sokoban", {**facts("sokoban").options, **playing.SMALL})
SHOP = Kind("shop", "shop", {**facts("shop").options, "products": 10, "page": 2, "cap": 4})
ASKED = AgentSettings(history=0, thinking=False, rules=False)


class Policy:
    """Answers prompts of Sokoban by its own search; remembers how many it was asked at a time."""

    def __init__(self) -> None:
        self.tokenizer = scratch.make_tokenizer(4096)
        self.asked: list[int] = []

    def speaker(self, longest: int = 4000) -> Speaker:
        return Speaker(self.tokenizer, "tiny", frozenset({self.tokenizer.eos_token_id}), longest)

    def ask(self, prompts: list[list[int]]) -> Answers:
        self.asked.append(len(prompts))
        return [self.answer(self.tokenizer.decode(ids)) for ids in prompts], [[-0.5] for _ in prompts]

    def answer(self, prompt: str) -> list[int]:
        action = "push" if "Wish" in prompt else plan(prompt)[0]
        return [*self.tokenizer(f"<action>{action}</action>")["input_ids"], self.tokenizer.eos_token_id]


def plan(prompt: str) -> list[str]:
    """The moves that solve the small room of a prompt."""
    level_text = prompt.split("<|im_end|>")[0].split("u ", 1)[1]
    return PLANS[level_text]


PLANS: dict[str, list[str]] = {}


def learn(tasks: Sequence[int]) -> list[int]:
    """Note the plan of every state on the way of these tasks; the steps that each takes."""
    lengths = []
    for task in tasks:
        environment = make_environment("sokoban", **playing.SMALL)
        state, steps = environment.reset(task, "train"), 0
        while moves := environment.oracle():
            PLANS[state] = moves
            state, steps = environment.step(moves[0]).text, steps + 1
        lengths.append(steps)
    return lengths


def works(tasks: Sequence[int], name: str = "sokoban") -> list[Work]:
    return [Work(name, task, 0, 1000 + task, "train") for task in tasks]


@pytest.fixture
def policy() -> Policy:
    return Policy()


def test_all_take_a_step_together_and_who_has_finished_is_asked_no_more(policy: Policy) -> None:
    tasks = range(12)
    lengths = learn(tasks)
    rollouts = Rollouts([SMALL], ASKED, policy.speaker())
    found = rollouts.play(works(tasks), policy.ask)
    assert [one.episode.steps for one in found] == lengths
    assert all(one.episode.success for one in found)
    assert policy.asked == [sum(length > number for length in lengths) for number in range(max(lengths))]
    assert rollouts.rounds == max(lengths)
    for one in found:
        assert [len(step.answer) for step in one.steps] == [turn.completion_tokens for turn in one.episode.turns]
        assert [len(step.prompt) for step in one.steps] == [turn.prompt_tokens for turn in one.episode.turns]
        assert not any(step.cut for step in one.steps)
    again = rollouts.play(works(tasks), policy.ask)
    assert [one.episode for one in again] == [one.episode for one in found], "environments are used again"
    rollouts.close()


def test_several_environments_play_in_one_batch(policy: Policy) -> None:
    lengths = learn(range(3))
    rollouts = Rollouts([SMALL, SHOP], ASKED, policy.speaker())
    found = rollouts.play([*works(range(3)), *works(range(2), "shop")], policy.ask)
    assert [one.episode.environment for one in found] == ["sokoban"] * 3 + ["shop"] * 2
    assert [one.episode.invalid for one in found[3:]] == [4, 4], "pushing is nothing that a shop knows"
    assert policy.asked[0] == 5
    assert rollouts.rounds == max(4, *lengths)
    rollouts.close()


def test_a_prompt_without_room_for_an_answer_ends_its_episode_and_no_other(policy: Policy) -> None:
    learn(range(1))
    rollouts = Rollouts([SMALL, SHOP], ASKED, policy.speaker(longest=120))
    sokoban, shop = rollouts.play([*works([0]), *works([0], "shop")], policy.ask)
    assert sokoban.episode.success
    assert "at most 120 with an answer" in shop.episode.too_long
    assert shop.steps == ()
    rollouts.close()


def test_an_episode_may_outgrow_the_context_at_a_later_step_and_keeps_the_steps_before(policy: Policy) -> None:
    def ask(prompts: list[list[int]]) -> Answers:
        first.append(max(map(len, prompts)))
        return [list(policy.tokenizer("<action>sing</action>")["input_ids"]) for _ in prompts], None

    first: list[int] = []
    with_history = replace(ASKED, history=1)
    Rollouts([SMALL], with_history, policy.speaker()).play(works([0]), ask)
    rollouts = Rollouts([SMALL], with_history, policy.speaker(longest=first[0]))
    (found,) = rollouts.play(works([0]), ask)
    assert len(found.steps) == found.episode.steps == found.episode.invalid == 1
    assert f"at most {first[0]} with an answer" in found.episode.too_long
    assert found.episode.unanswered == f"That action cannot be done.\n{found.episode.turns[0].state}"
    rollouts.close()


def test_an_environment_that_raises_ends_its_own_episode(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(range(2))
    rollouts = Rollouts([SMALL], ASKED, policy.speaker())
    reset = Here.reset

    def breaking(self: Here, task: int, split: str) -> Any:
        shown = reset(self, task, split)
        if task == 1:
            self._environment._act = None  # type: ignore[method-assign,assignment]  # its next step raises
        return shown

    monkeypatch.setattr(Here, "reset", breaking)
    first, second = rollouts.play(works(range(2)), policy.ask)
    assert first.episode.success
    assert "NoneType" in (second.episode.failure or "")
    assert second.episode.score is None
    rollouts.close()


def test_a_task_that_cannot_be_had_stops_the_training_with_its_reason(policy: Policy) -> None:
    impossible = Kind("sokoban", "sokoban", {**SMALL.options, "min_moves": 30, "cap": 30})
    rollouts = Rollouts([impossible], ASKED, policy.speaker())
    with pytest.raises(Failed, match="raise cap or lower min_moves"):
        rollouts.play(works([0]), policy.ask)
    rollouts.close()


def test_augmentation_is_decided_by_episode_and_seen_by_the_policy(policy: Policy) -> None:
    learn(range(8))
    seen: list[str] = []

    def ask(prompts: list[list[int]]) -> Answers:
        seen.extend(policy.tokenizer.decode(ids) for ids in prompts)
        stop = policy.tokenizer("<action>stop</action>")["input_ids"]
        return [[*stop, policy.tokenizer.eos_token_id] for _ in prompts], None

    asked = AgentSettings(history=0, thinking=False, rules=False, augment=Augment(10, 0.5))
    rollouts = Rollouts([SMALL], asked, policy.speaker())
    found = rollouts.play(works(range(8)), ask)
    share = sum(one.episode.augmented for one in found)
    assert 0 < share < 8
    assert sum("Out of reach" in prompt for prompt in seen) == 6 * share, "in every step of those episodes"
    rollouts.close()


def test_processes_of_slow_environments_are_stepped_at_the_same_time_and_one_that_dies_is_only_its_own(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(facts("sokoban"), quick=False)
    monkeypatch.setattr("evaluators.worlds.facts", lambda name: slow)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    learn(range(4))
    rollouts = Rollouts([SMALL], AgentSettings(history=0, thinking=False, rules=False), policy.speaker())

    def ask(prompts: list[list[int]]) -> Answers:
        if len(policy.asked) == 0:
            process = rollouts._worlds["sokoban"]._pools[0]._places[0]._process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
        return policy.ask(prompts)

    found = rollouts.play(works(range(4)), ask)
    failed = [bool(one.episode.failure) for one in found]
    assert sum(failed) == 2, "those of one of the two processes"
    assert all(one.episode.success for one, bad in zip(found, failed, strict=True) if not bad)
    again = rollouts.play(works(range(4)), policy.ask)
    assert all(one.episode.success for one in again), "a new process is in its place"
    learn(range(6))
    more = rollouts.play(works(range(6)), policy.ask)
    assert all(one.episode.success for one in more)
    assert len(rollouts._worlds["sokoban"]._pools) == 2, "more environments, in the processes that are there"
    rollouts.close()


def test_an_environment_that_cannot_be_augmented_ends_its_own_episode(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(range(8))

    def broken(self: Any, state: str, epsilon: float, rng: random.Random) -> str:
        raise ValueError("no such thing")

    monkeypatch.setattr("evaluators.environments.sokoban.Sokoban.augment", broken)
    asked = AgentSettings(history=0, thinking=False, rules=False, augment=Augment(10, 0.5))
    rollouts = Rollouts([SMALL], asked, policy.speaker())
    found = rollouts.play(works(range(8)), policy.ask)
    assert {one.episode.augmented for one in found} == {True, False}
    assert all(("no such thing" in (one.episode.failure or "")) == one.episode.augmented for one in found)
    rollouts.close()
