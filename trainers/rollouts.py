"""Playing the episodes of one generated batch: all of them take a step together, with one call for their answers.

Owns the environments and the order of work; knows no trainer. Every process takes part in every round while any of
them has an episode under way, because generation may be collective, and each gets the same number of prompts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evaluators.agent import AgentSettings, Episode, Play
from evaluators.player import Work
from evaluators.prompts import chat_prompt, for_scorer, opens_thinking
from evaluators.worlds import Here, There, Worlds
from manager.errors import UserError
from manager.run import Failed
from trainers import distributed

HANG_S = 240.0  # shorter than the libraries wait for a process that does not come to a collective call

Answers = tuple[list[list[int]], list[list[float]] | None]  # token ids, and log-probabilities where they are known
Ask = Callable[[list[list[int]]], Answers]


@dataclass(frozen=True)
class Step:
    """What the policy was asked at one step of an episode, and what it answered."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    sampled: tuple[float, ...] | None
    cut: bool  # the answer reached the limit of tokens


@dataclass(frozen=True)
class Rollout:
    """A finished episode with its steps as tokens."""

    episode: Episode
    steps: tuple[Step, ...]


@dataclass
class _Playing:
    """One episode on its way."""

    play: Play
    world: Here | There
    in_thinking: bool = False
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """An environment of the training: its name in the sweep, its module's name and options."""

    name: str
    environment: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Speaker:
    """How prompts become tokens and tokens become answers."""

    tokenizer: Any
    model: str
    end_ids: frozenset[int]
    longest_prompt: int  # with a whole answer after it, it still fits the context


class Rollouts:
    """Plays episodes for one process of a training. `seconds` is what the environments took since it was last set."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        settings: AgentSettings,
        speaker: Speaker,
        processes: int | None = None,
        tell: Callable[[str, str], None] = lambda name, text: None,
    ) -> None:
        """`processes`: the most that environments of one kind share; `tell` hears of them when they are started."""
        self._kinds = {kind.name: kind for kind in kinds}
        self._settings, self._speaker = settings, speaker
        self._processes, self._tell = processes, tell
        self._worlds: dict[str, Worlds] = {}
        self._free: dict[str, list[Here | There]] = defaultdict(list)
        self.seconds = 0.0
        self.rounds = 0

    def play(self, works: Sequence[Work], ask: Ask) -> list[Rollout]:
        """Every episode to its end, in the order of `works`. Failed, on every process, where a task cannot be had."""
        self.seconds, self.rounds = 0.0, 0
        playing: list[_Playing] = []
        problem = ""
        try:
            playing = self._begin(works)
        except UserError as error:
            problem = str(error)
        while True:
            prompts = [] if problem else self._prompts(playing)
            everyone = distributed.gather((problem, [list(ids) for ids, _ in prompts]))
            if told := next((text for text, _ in everyone if text), ""):
                self._give_back(playing)
                raise Failed(told, cause="environment")
            if not any(theirs for _, theirs in everyone):
                break
            self.rounds += 1
            answers = shared([theirs for _, theirs in everyone], ask)
            try:
                self._step(prompts, answers)
            except UserError as error:
                problem = str(error)
        self._give_back(playing)
        return [Rollout(one.play.episode(), tuple(one.steps)) for one in playing]

    def close(self) -> None:
        for one in self._worlds.values():
            one.close()
        self._worlds.clear()
        self._free.clear()

    def _begin(self, works: Sequence[Work]) -> list[_Playing]:
        began = time.perf_counter()
        counts: dict[str, int] = defaultdict(int)
        for work in works:
            counts[work.environment] += 1
        for name, count in counts.items():
            if (missing := count - len(self._free[name])) > 0:
                self._free[name] += self._open(name, missing)
        taken = [(work, self._free[work.environment].pop()) for work in works]

        def start(work: Work, world: Here | There) -> Callable[[], Play]:
            return lambda: Play(
                work.environment, world, self._settings, work.task, work.sample, work.split, work.seed
            )

        plays = in_lanes([(world, start(work, world)) for work, world in taken])
        self.seconds += time.perf_counter() - began
        return [_Playing(play, world) for play, (_, world) in zip(plays, taken, strict=True)]

    def _open(self, name: str, count: int) -> list[Here | There]:
        if name in self._worlds:
            return self._worlds[name].grow(count)
        kind = self._kinds[name]
        worlds = self._worlds[name] = Worlds(kind.environment, kind.options, count, HANG_S, self._processes)
        if told := worlds.told():
            self._tell(name, told)
        return list(worlds.all)

    def _give_back(self, playing: Sequence[_Playing]) -> None:
        for one in reversed(playing):
            self._free[one.play.name].append(one.world)

    def _prompts(self, playing: Sequence[_Playing]) -> list[tuple[tuple[int, ...], _Playing]]:
        """The prompt of every episode that goes on; one whose prompt leaves no room for an answer ends here."""
        found = []
        speaker = self._speaker
        for one in playing:
            if one.play.done:
                continue
            prompt = chat_prompt(speaker.tokenizer, one.play.messages(), self._settings.thinking, speaker.model)
            ids = tuple(prompt.tokens or ())
            if len(ids) > speaker.longest_prompt:
                one.play.give_up(f"{len(ids)} tokens of prompt, at most {speaker.longest_prompt} with an answer")
                continue
            one.in_thinking = opens_thinking(prompt.text)
            found.append((ids, one))
        return found

    def _step(self, prompts: Sequence[tuple[tuple[int, ...], _Playing]], answers: Answers) -> None:
        """Do what was answered, in every environment."""
        began = time.perf_counter()
        calls = []
        for place, ((ids, one), answer) in enumerate(zip(prompts, answers[0], strict=True)):
            sampled = tuple(answers[1][place]) if answers[1] is not None else None
            step = Step(ids, tuple(answer), sampled, not answer or answer[-1] not in self._speaker.end_ids)
            one.steps.append(step)
            calls.append((one.world, self._taking(one, step)))
        in_lanes(calls)
        self.seconds += time.perf_counter() - began

    def _taking(self, one: _Playing, step: Step) -> Callable[[], None]:
        text = self._speaker.tokenizer.decode(list(step.answer), skip_special_tokens=True)
        text = for_scorer(text, in_thinking=one.in_thinking)
        return lambda: one.play.take(text, len(step.prompt), len(step.answer), cut=step.cut)


def in_lanes(calls: Sequence[tuple[Here | There, Callable[[], Any]]]) -> list[Any]:
    """The results of all calls: those of environments with a thread of their own are done at the same time."""
    waiting = [world.lane.submit(call) if world.lane is not None else None for world, call in calls]
    here = [None if future is not None else call() for future, (_, call) in zip(waiting, calls, strict=True)]
    return [mine if future is None else future.result() for future, mine in zip(waiting, here, strict=True)]


def shared(prompts: Sequence[list[list[int]]], ask: Ask) -> Answers:
    """This process's answers, where `prompts` are those of every process.

    The prompts of all are shared out evenly, so that none waits for one that has more episodes under way; what is
    missing to an equal share is filled up with the first prompt, whose answer is dropped.
    """
    world = len(prompts)
    if world == 1:
        return ask(prompts[0])
    rank = distributed.rank()
    flat = [prompt for theirs in prompts for prompt in theirs]
    size = -(-len(flat) // world)
    mine = ask([flat[place] if place < len(flat) else flat[0] for place in range(rank * size, (rank + 1) * size)])
    everyone = distributed.gather(mine)
    start = sum(len(theirs) for theirs in prompts[:rank])
    own = slice(start, start + len(prompts[rank]))
    answers = [answer for theirs, _ in everyone for answer in theirs][own]
    if any(logps is None for _, logps in everyone):
        return answers, None
    return answers, [one for _, logps in everyone for one in logps][own]


def at_step(rollout: Rollout, step: int) -> Episode:
    return replace(rollout.episode, training_step=step)
