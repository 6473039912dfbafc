"""Many episodes at once through one engine: whatever prompt is ready goes into its batch, whatever comes back is done.

Owns the order of work and nothing else: no files, no config. An episode's answers depend on its own seed alone, so
that episodes played again, or in another order, are the same.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.agent import AgentSettings, Episode, Play
from evaluators.benchmark import Sampler
from evaluators.engine import LATER, Completion, Ended, Engine, Request, sample_seed
from evaluators.prompts import for_scorer, opens_thinking
from evaluators.worlds import Here, There, Worlds

FAILED_TWICE = 2  # an episode whose environment fails is played once more


@dataclass(frozen=True)
class Work:
    """One episode to play. `environment` is its name in the sweep."""

    environment: str
    task: int
    sample: int
    seed: int
    split: str


class EngineFailed(Exception):
    """The engine gave no completion for a step; the episode cannot go on."""


class Player:
    """Plays `works` in `worlds` (by name) and gives each finished episode to `finished`."""

    def __init__(
        self,
        engine: Engine,
        works: Sequence[Work],
        worlds: Mapping[str, Worlds],
        settings: AgentSettings,
        samplers: Mapping[str, Sampler],
        finished: Callable[[Episode], None],
    ) -> None:
        self._engine, self._settings, self._samplers, self._finished = engine, settings, samplers, finished
        self._todo = {name: deque(work for work in works if work.environment == name) for name in worlds}
        self._free: dict[str, list[Here | There]] = {name: list(one.all) for name, one in worlds.items()}
        self._ready: deque[tuple[Play, Work, Here | There]] = deque()
        self._stepped: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stepping = 0
        self._asked: dict[tuple[str, str, int], tuple[Play, Work, Here | There, bool]] = {}
        self._failures: dict[Work, int] = {}
        self._lock = threading.RLock()  # replicas draw requests from threads of their own

    def play(self, stopping: Callable[[], bool]) -> None:
        """To the end, or until `stopping`; episodes that are then under way are dropped."""
        for completion in self._engine.generate(self._requests(), stopping):
            self._take(completion)

    def _requests(self) -> Iterator[Request]:
        while True:
            with self._lock:
                self._settle(wait=False)
                self._start()
                request = self._next()
                if request is None and not self._asked and self._stepping:
                    self._settle(wait=True)
                    continue
                if request is None and not self._asked and not self._ready and not any(self._todo.values()):
                    return
            if request is not None:
                yield request
            elif self._asked:
                yield LATER

    def _settle(self, *, wait: bool) -> None:
        """What the environments' threads have done since."""
        while self._stepping:
            try:
                done = self._stepped.get(block=wait)
            except queue.Empty:
                return
            self._stepping -= 1
            done()
            wait = False

    def _start(self) -> None:
        for name, works in self._todo.items():
            while works and self._free[name]:
                self._begin(works.popleft(), self._free[name].pop())

    def _begin(self, work: Work, world: Here | There) -> None:
        def begin() -> Play:
            return Play(work.environment, world, self._settings, work.task, work.sample, work.split, work.seed)

        self._do(world, begin, lambda play: self._after(play, work, world))

    def _do(self, world: Here | There, call: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """`then(call())`: now, or when the environment's own thread has done the call."""
        if world.lane is None:
            then(call())
            return
        self._stepping += 1
        future = world.lane.submit(call)
        future.add_done_callback(lambda done: self._stepped.put(lambda: then(done.result())))

    def _after(self, play: Play, work: Work, world: Here | There) -> None:
        """The environment has shown what is now: on with the episode, or its end."""
        if not play.done:
            self._ready.append((play, work, world))
            return
        episode = play.episode()
        self._free[work.environment].append(world)
        if episode.failure:
            self._failures[work] = self._failures.get(work, 0) + 1
            if self._failures[work] < FAILED_TWICE:
                self._todo[work.environment].appendleft(work)
                return
        self._finished(episode)

    def _next(self) -> Request | None:
        """The request of the next episode that waits for its policy; one whose prompt has no room ends."""
        while self._ready:
            play, work, world = self._ready.popleft()
            prompt = self._engine.chat(play.messages(), self._settings.thinking)
            sampler = self._samplers[work.environment]
            room = sampler.max_tokens
            if prompt.tokens is not None and self._engine.context_tokens is not None:
                room = min(room, self._engine.context_tokens - len(prompt.tokens))
            if room < 1:
                play.give_up(f"{len(prompt.tokens or ())} tokens of prompt, {self._engine.context_tokens} of context")
                self._after(play, work, world)
                self._start()
                continue
            key = (work.environment, str(work.task), work.sample)
            in_thinking = prompt.tokens is not None and opens_thinking(prompt.text)
            self._asked[key] = (play, work, world, in_thinking)
            seed = sample_seed(work.seed, work.environment, str(work.task), play.turn)
            return Request(key, prompt, seed, room, sampler.temperature, sampler.top_p, sampler.stop)
        return None

    def _take(self, completion: Completion) -> None:
        with self._lock:
            play, work, world, in_thinking = self._asked[completion.key]
            if completion.too_long:
                play.give_up(completion.failed)
                del self._asked[completion.key]
                self._after(play, work, world)
                return
            if completion.failed:
                raise EngineFailed(completion.failed)
            text = for_scorer(completion.text, in_thinking=in_thinking)

            def step() -> None:
                cut = completion.ended is Ended.LENGTH
                play.take(text, completion.prompt_tokens, completion.completion_tokens, cut=cut)

            self._do(world, step, lambda _: self._after(play, work, world))
            del self._asked[completion.key]
