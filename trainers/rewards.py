"""Rewards: what a completion is worth. A reward is the benchmark's own scorer, or a named alternative to it.

A part is a pure function of judged completions; several parts are summed by TRL with their weights. A
completion that could not be judged (the grader failed) gets None, which TRL leaves out; it is never 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from trainers.data import item_from_json

ANSWERED = (Outcome.RIGHT, Outcome.WRONG)


@dataclass(frozen=True)
class Judged:
    """One completion with everything that a reward part may look at."""

    benchmark: str
    domain: str
    item: Item
    text: str
    tokens: int
    truncated: bool
    score: Score


Part = Callable[[Sequence[Judged]], list[float | None]]
Scorer = Callable[[Sequence[tuple[str, Item, str, bool]]], list[Score]]


class RewardError(ValueError):
    """A reward setting that is not understood: one line with the key and what is valid."""


def chance(*what: object) -> float:
    """A number in [0, 1) that depends on the arguments alone: the same after a restart, on any rank."""
    text = "/".join(map(str, what))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def score_directly(tasks: Sequence[tuple[str, Item, str, bool]]) -> list[Score]:
    """Score in this process: for scorers that are quick and bounded by themselves."""
    return [benchmarks.get(name).score(item, text, truncated=cut) for name, item, text, cut in tasks]


# The parts. Each takes its settings and gives a Part.


def correct() -> Part:
    """1 for a right answer, 0 for a wrong, missing or cut-off one."""

    def part(judged: Sequence[Judged]) -> list[float | None]:
        return [None if one.score.value is None else float(one.score.outcome is Outcome.RIGHT) for one in judged]

    return part


PARTS: dict[str, Callable[..., Part]] = {"correct": correct}


def resolve(setting: Any) -> list[tuple[str, Part]]:
    """(name, part) of `config.reward`: null, a name, a mapping with `name`, or a list of these."""
    if setting is None:
        setting = "correct"
    if isinstance(setting, str):
        setting = {"name": setting}
    listed = [setting] if isinstance(setting, Mapping) else setting
    found = []
    for entry in listed:
        entry = {"name": entry} if isinstance(entry, str) else dict(entry)
        name = entry.pop("name", None)
        if name not in PARTS:
            raise RewardError(f"reward: unknown name {name!r}; there are: {', '.join(sorted(PARTS))}")
        try:
            found.append((name, PARTS[name](**entry)))
        except TypeError as error:
            raise RewardError(f"reward.{name}: {error}") from error
    return found


class Judge:
    """Judges the completions of a batch once, however many parts ask for it."""

    def __init__(self, scorer: Scorer, end_ids: frozenset[int]) -> None:
        self._scorer = scorer
        self._end_ids = end_ids
        self._last: tuple[Any, list[Judged]] | None = None

    def judge(self, completions: list[Any], columns: Mapping[str, Any]) -> list[Judged]:
        if self._last is not None and self._last[0] is completions:
            return self._last[1]
        texts = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
        ids = columns["completion_ids"]
        cut = [not tokens or tokens[-1] not in self._end_ids for tokens in ids]
        items = [item_from_json(text) for text in columns["item"]]
        tasks = list(zip(columns["benchmark"], items, texts, cut, strict=True))
        scores = self._scorer(tasks)
        judged = [
            Judged(name, domain, item, text, len(tokens), truncated, score)
            for (name, item, text, truncated), domain, tokens, score in zip(
                tasks, columns["domain"], ids, scores, strict=True
            )
        ]
        self._last = (completions, judged)
        self._tell(judged, columns)
        return judged

    def _tell(self, judged: list[Judged], columns: Mapping[str, Any]) -> None:
        """Shares of the outcomes and the score by domain, and what each completion was, for the table."""
        for one in judged:
            for outcome in Outcome:
                columns["log_metric"](f"outcome/{outcome}", float(one.score.outcome is outcome))
            if one.score.value is not None:
                columns["log_metric"](f"score/{one.domain}", one.score.value)
        columns["log_extra"]("benchmark", [one.benchmark for one in judged])
        columns["log_extra"]("item", [one.item.id for one in judged])
        columns["log_extra"]("outcome", [str(one.score.outcome) for one in judged])
        columns["log_extra"]("extracted", [one.score.extracted for one in judged])
        columns["log_extra"]("tokens", [one.tokens for one in judged])


def functions(setting: Any, judge: Judge) -> list[Callable[..., list[float | None]]]:
    """What TRL is given: one function a part, named for it. Their weights are `grpo.reward_weights`."""
    made = []
    for name, part in resolve(setting):

        def reward(completions: list[Any], _part: Part = part, **columns: Any) -> list[float | None]:
            return _part(judge.judge(completions, columns))

        reward.__name__ = name
        made.append(reward)
    return made
