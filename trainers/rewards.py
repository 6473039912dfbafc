"""Rewards: what a completion is worth. A reward is the benchmark's own scorer, or a named alternative to it.

A part is a function of judged completions; several parts are summed by TRL with `grpo.reward_weights`. A
completion that could not be judged (the grader failed, the judge's word was not understood) gets None, which
TRL leaves out; it is never 0. Chance in a reward depends on seed, step and place alone, so that a resumed
training draws the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from evaluators.prompts import for_scorer
from manager.run import Failed
from trainers import distributed, judge, scoring
from trainers.prepare import item_of

ANSWERED = (Outcome.RIGHT, Outcome.WRONG)
UNCLEAR = 4  # replies that are not understood, and no other, are no accident


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


@dataclass(frozen=True)
class Context:
    """Where in the training a batch is judged."""

    seed: int
    step: int
    rank: int
    limit_tokens: int  # max_completion_length
    round: int = 0  # dynamic sampling has several batches judged in one step

    def chance(self, what: str, place: int) -> float:
        """A number in [0, 1) that depends on the arguments alone: the same after a restart."""
        text = f"{what}/{self.seed}/{self.step}/{self.round}/{self.rank}/{place}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


Rewards = list[float | None]
Part = Callable[[Sequence[Judged], Context], Rewards]
Scorer = Callable[[Sequence[scoring.Task]], list[Score]]


class RewardError(ValueError):
    """A reward setting that is not understood: one line with the key and what is valid."""


# The parts. Each factory takes its settings and gives a Part.


def _right(one: Judged) -> float | None:
    return None if one.score.value is None else float(one.score.outcome is Outcome.RIGHT)


def correct() -> Part:
    """1 for a right answer, 0 for a wrong, missing or cut-off one."""
    return lambda judged, context: [_right(one) for one in judged]


def partial() -> Part:
    """The share of a program's tests that pass; elsewhere the score."""

    def one_share(one: Judged) -> float | None:
        return scoring.share_of_tests(one.benchmark, one.item, one.text, one.truncated, one.score)

    def part(judged: Sequence[Judged], context: Context) -> Rewards:
        with ThreadPoolExecutor(scoring.MOST_WORKERS) as pool:  # each waits for a sandbox with limits
            return list(pool.map(one_share, judged))

    return part


def noisy(p: float) -> Part:
    """Correct, flipped with probability p."""
    _probability("noisy", p)

    def part(judged: Sequence[Judged], context: Context) -> Rewards:
        rewards = [_right(one) for one in judged]
        return [
            1.0 - reward if reward is not None and context.chance("flip", place) < p else reward
            for place, reward in enumerate(rewards)
        ]

    return part


def random(p: float = 0.5) -> Part:
    """1 with probability p whatever the answer is: a placebo."""
    _probability("random", p)
    return lambda judged, context: [float(context.chance("random", place) < p) for place in range(len(judged))]


def length_shaped(penalty: float = 0.5, buffer_tokens: int | None = None) -> Part:
    """Correct, less a penalty that grows over the last `buffer_tokens` before the limit (a quarter of it)."""

    def part(judged: Sequence[Judged], context: Context) -> Rewards:
        buffer = buffer_tokens or max(1, context.limit_tokens // 4)
        start = context.limit_tokens - buffer
        rewards: Rewards = []
        for one in judged:
            reward = _right(one)
            over = min(1.0, max(0.0, (one.tokens - start) / buffer))
            rewards.append(None if reward is None else reward - penalty * over)
        return rewards

    return part


def format_only() -> Part:
    """1 for an answer that can be extracted, right or wrong."""
    return lambda judged, context: [
        None if one.score.value is None else float(one.score.outcome in ANSWERED) for one in judged
    ]


def _judged_by(model: str, base_url: str, timeout_s: float, *, soft: bool) -> Part:
    asker = judge.Judge(judge.Endpoint(model=model, base_url=base_url, timeout_s=timeout_s), soft=soft)

    def question(one: Judged) -> judge.Question:
        messages = benchmarks.get(one.benchmark).messages(one.item)
        return judge.Question(messages[-1]["content"], benchmarks.get(one.benchmark).gold(one.item), one.text)

    def part(judged: Sequence[Judged], context: Context) -> Rewards:
        problem, replies = "", judge.Replies([], 0, ())
        try:
            replies = asker.ask([question(one) for one in judged])
        except judge.Unreachable as error:
            problem = str(error)
        # All ranks stop together, or the others would wait for this one in the next exchange.
        told = distributed.gather((problem, replies.understood, replies.unclear))
        if problems := [text for text, *_ in told if text]:
            raise Failed(problems[0], cause="judge_unreachable", retryable=True)
        _require_understood(model, base_url, sum(one for _, one, _ in told), [text for *_, one in told for text in one])
        return replies.rewards

    return part


def _require_understood(model: str, base_url: str, understood: int, unclear: Sequence[str]) -> None:
    """A judge that is never understood would reward nothing for ever, and nobody would be told."""
    if understood or len(unclear) < UNCLEAR:
        return
    raise Failed(
        f"reward: the judge {model} at {base_url} said neither yes nor no to any of {len(unclear)} answers, but for "
        f"example {unclear[0][:60]!r}; judge_verifier needs a model that answers in one word, judge_soft one whose "
        "endpoint also gives log-probabilities",
        cause="judge_unclear",
    )


def judge_verifier(model: str, base_url: str, timeout_s: float = 60.0) -> Part:
    """A judge model says whether the answer equals the reference: 1 or 0."""
    return _judged_by(model, base_url, timeout_s, soft=False)


def judge_soft(model: str, base_url: str, timeout_s: float = 60.0) -> Part:
    """The judge model's probability that the answer equals the reference."""
    return _judged_by(model, base_url, timeout_s, soft=True)


def _probability(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise RewardError(f"reward.{name}.p is {p}; a probability is between 0 and 1")


PARTS: dict[str, Callable[..., Part]] = {
    made.__name__: made
    for made in (correct, partial, noisy, length_shaped, format_only, random, judge_verifier, judge_soft)
}


def resolve(setting: Any) -> list[tuple[str, Part]]:
    """(name, part) of `config.reward`: null, a name, a mapping with `name`, or a list of these.

    A name that comes again is numbered (`judge_verifier-2`): TRL would log both as one.
    """
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
        before = sum(made.partition("-")[0] == name for made, _ in found)
        try:
            found.append((f"{name}-{before + 1}" if before else name, PARTS[name](**entry)))
        except TypeError as error:
            raise RewardError(f"reward.{name}: {error}") from error
    return found


class Batches:
    """Judges the completions of a batch once, however many parts ask for it."""

    def __init__(self, scorer: Scorer, end_ids: frozenset[int], *, in_thinking: bool = False) -> None:
        """`in_thinking`: the chat template ends every prompt with an open `<think>`."""
        self.end_ids = end_ids  # a completion that ends with none of these was cut off
        self._scorer = scorer
        self._in_thinking = in_thinking
        self._last: tuple[Any, list[Judged]] | None = None

    def judge(self, completions: list[Any], columns: Mapping[str, Any]) -> list[Judged]:
        if self._last is not None and self._last[0] is completions:
            return self._last[1]
        texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
        texts = [for_scorer(text, in_thinking=self._in_thinking) for text in texts]
        ids = columns["completion_ids"]
        cut = [not tokens or tokens[-1] not in self.end_ids for tokens in ids]
        items = [item_of(one) for one in columns["item"]]
        tasks = list(zip(columns["benchmark"], items, texts, cut, strict=True))
        judged = [
            Judged(name, domain, item, text, len(tokens), truncated, score)
            for (name, item, text, truncated), domain, tokens, score in zip(
                tasks, columns["domain"], ids, self._scorer(tasks), strict=True
            )
        ]
        self._last = (completions, judged)
        self._tell(judged, columns)
        return judged

    def _tell(self, judged: list[Judged], columns: Mapping[str, Any]) -> None:
        """Shares of the outcomes, the score by domain, and what each completion was, for the table."""
        counts = Counter(one.score.outcome for one in judged)
        for outcome in Outcome:  # one value for the batch: every process judges as many
            columns["log_metric"](f"outcome/{outcome}", counts[outcome] / len(judged))
        for one in judged:
            if one.score.value is not None:
                columns["log_metric"](f"score/{one.domain}", one.score.value)
        columns["log_extra"]("benchmark", [one.benchmark for one in judged])
        columns["log_extra"]("item", [one.item.id for one in judged])
        columns["log_extra"]("outcome", [str(one.score.outcome) for one in judged])
        columns["log_extra"]("extracted", [one.score.extracted for one in judged])
        columns["log_extra"]("why", [one.score.why for one in judged])
        columns["log_extra"]("tokens", [one.tokens for one in judged])


def functions(
    setting: Any, batches: Batches, *, seed: int, rank: int, limit_tokens: int
) -> list[Callable[..., Rewards]]:
    """What TRL is given: one function a part, named for it. Their weights are `grpo.reward_weights`."""
    named = resolve(setting)
    last: tuple[Any, list[Rewards]] | None = None
    seen: tuple[int, int] = (-1, 0)  # the step, and how many of its batches were judged before

    def of_all(completions: list[Any], columns: Mapping[str, Any]) -> list[Rewards]:
        nonlocal last, seen
        if last is None or last[0] is not completions:
            step = columns["trainer_state"].global_step
            seen = (step, seen[1] + 1 if seen[0] == step else 0)
            context = Context(seed, step, rank, limit_tokens, seen[1])
            judged = batches.judge(completions, columns)
            found = [part(judged, context) for _, part in named]
            columns["log_extra"]("unjudged_by", _unjudged([name for name, _ in named], found))
            last = (completions, _whole(found))
            for (name, _), values in zip(named, last[1], strict=True):
                for one, value in zip(judged, values, strict=True):
                    if value is not None:
                        columns["log_metric"](f"rewards/{name}/{one.domain}", value)
        return last[1]

    made = []
    for number, (name, _) in enumerate(named):

        def reward(completions: list[Any], _number: int = number, **columns: Any) -> Rewards:
            return of_all(completions, columns)[_number]

        reward.__name__ = name
        made.append(reward)
    return made


def _unjudged(names: Sequence[str], parts: Sequence[Rewards]) -> list[str | None]:
    """For each completion the parts that could not judge it."""
    listed = (
        [name for name, value in zip(names, values, strict=True) if value is None]
        for values in zip(*parts, strict=True)
    )
    return [", ".join(one) or None for one in listed]


def _whole(parts: Sequence[Rewards]) -> list[Rewards]:
    """The parts, with none for a completion that one of them could not judge: TRL would add that one up as 0."""
    judged = [all(value is not None for value in values) for values in zip(*parts, strict=True)]
    return [[value if whole else None for value, whole in zip(part, judged, strict=True)] for part in parts]
