"""The environments that episodes are played in: in this process where a step is quick, else in processes of their own.

An environment that raises, dies or hangs ends its own episode with a failure; the next one there starts anew.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evaluators.agent import EnvironmentFailed
from evaluators.environment import Environment, Observation
from evaluators.environment_pool import EnvironmentPool, Shown
from evaluators.environments import facts, make
from manager.errors import UserError

HANG_SECONDS = 600.0


def cause(error: Exception) -> str:
    """What an environment raised, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"[:2000]


class Here:
    """An environment of this process."""

    lane: ThreadPoolExecutor | None = None  # the thread that its calls belong to; None: any

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, dict(options)
        self._environment = make(name, **self._options)
        self.instruction = self._environment.instruction()

    def reset(self, task: int, split: str) -> Shown:
        return self._shown(lambda environment: Observation(environment.reset(task, split), environment.done, True))

    def step(self, action: str | None) -> Shown:
        return self._shown(lambda environment: environment.step(action))

    def augment(self, state: str, epsilon: float, seed: int) -> str:
        try:
            return self._environment.augment(state, epsilon, random.Random(seed))
        except Exception as error:
            raise EnvironmentFailed(cause(error)) from error

    def oracle(self) -> list[str] | None:
        return self._environment.oracle()

    def task_count(self, split: str) -> int | None:
        return self._environment.task_count(split)

    def _shown(self, call: Any) -> Shown:
        environment: Environment = self._environment
        try:
            seen = call(environment)
        except UserError:
            raise  # options that make no task: not this episode's failure, and told as it is
        except Exception as error:  # noqa: BLE001  (an episode's failure, kept with its cause)
            self._environment = make(self._name, **self._options)  # its world may be half changed
            return Shown("", True, False, None, False, environment.steps, environment.invalid, cause(error))
        return Shown(
            seen.text, seen.done, seen.valid, environment.score, environment.success, environment.steps,
            environment.invalid,
        )  # fmt: skip


class There:
    """An environment of a process of its own or shared with a few others, whose calls take turns in one lane."""

    def __init__(self, pool: EnvironmentPool, index: int, lane: ThreadPoolExecutor) -> None:
        self._pool, self._index, self.lane = pool, index, lane
        self.instruction = pool.facts.instruction

    def reset(self, task: int, split: str) -> Shown:
        return self._pool.reset({self._index: (task, split)})[self._index]

    def step(self, action: str | None) -> Shown:
        return self._pool.step({self._index: action})[self._index]

    def augment(self, state: str, epsilon: float, seed: int) -> str:
        try:
            return self._pool.augment({self._index: (state, epsilon, seed)})[self._index]
        except RuntimeError as error:  # its process raised, died or hung
            raise EnvironmentFailed(str(error)) from error

    def oracle(self) -> list[str] | None:
        return self._pool.oracle([self._index])[self._index]

    def task_count(self, split: str) -> int | None:
        return self._pool.facts.tasks[split]


class Worlds:
    """`count` environments of one kind. `close` ends their processes; one that is silent for `hang_s` is ended.

    `processes`: the most that they share; by default the environment's own number, else one a core.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        count: int,
        hang_s: float = HANG_SECONDS,
        processes: int | None = None,
    ) -> None:
        self._name, self._options, self._hang_s = name, options, hang_s
        self._most = processes or facts(name).processes or len(os.sched_getaffinity(0))
        self._pools: list[EnvironmentPool] = []
        self._lanes: list[ThreadPoolExecutor] = []
        self.all: list[Here | There] = []
        try:
            self.grow(count)
        except BaseException:
            self.close()
            raise

    def grow(self, count: int) -> list[Here | There]:
        """So many more, in the processes that there are where these may be no more."""
        more = [self._new() for _ in range(count)]
        self.all += more
        return more

    def _new(self) -> Here | There:
        if facts(self._name).quick:
            return Here(self._name, self._options)
        if len(self._pools) < self._most:
            return There(self._open(), 0, self._lanes[-1])
        place = min(range(len(self._pools)), key=lambda at: self._pools[at].count)
        return There(self._pools[place], self._pools[place].add(), self._lanes[place])

    def _open(self) -> EnvironmentPool:
        """One process and the one thread that speaks with it (the process ends with the thread that started it)."""
        lane = ThreadPoolExecutor(1, thread_name_prefix=f"environment-{self._name}")
        self._lanes.append(lane)

        def start() -> EnvironmentPool:
            return EnvironmentPool(self._name, self._options, count=1, processes=1, wall_s=self._hang_s)

        self._pools.append(lane.submit(start).result())
        return self._pools[-1]

    def told(self) -> str:
        """How many there are, in what, and the memory of each process now; nothing of those in this process."""
        if not self._pools:
            return ""
        count = len(self._pools)
        each = sum(pool.memory_mb() for pool in self._pools) / count
        where = "one process" if count == 1 else f"{count} processes"
        return f"{len(self.all)} of {self._name} in {where} of {each:,.0f} MB"

    def close(self) -> None:
        for lane in self._lanes:
            lane.shutdown(cancel_futures=True)
        for pool in self._pools:
            pool.close()
        self._pools, self._lanes = [], []
