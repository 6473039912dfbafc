"""Many environments at once over several processes, for groups of rollouts: all reset, or step, together.

Owns the processes: they end with the thread that asked first. One that dies or hangs is replaced; its episodes are
over and say why. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from evaluators.environments import facts as known
from evaluators.pipe import child_environment, frame
from manager.errors import UserError


@dataclass(frozen=True)
class Shown:
    """Where an episode is after a reset or a step. With a `failure` it is over and its score undefined."""

    text: str
    done: bool
    valid: bool
    score: float | None
    success: bool
    steps: int
    invalid: int
    failure: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is the same for every episode of the environment; `tasks` as in `Environment.task_count`."""

    instruction: str
    cap: int
    version: int
    tasks: Mapping[str, int | None]


class EnvironmentPool:
    """`count` environments of one kind, numbered from 0, spread over `processes` (default: one a core)."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        count: int,
        processes: int | None = None,
        wall_s: float = 600.0,
    ) -> None:
        if count < 1:
            raise UserError(f"a pool of {name!r} needs at least one environment, not {count}")
        places = max(1, min(count, processes or known(name).processes or len(os.sched_getaffinity(0))))
        self._places = [_Place(name, dict(options or {}), wall_s) for _ in range(places)]
        self.count = count
        (facts,) = self._all("facts", {0: []}).values()
        self.facts = Facts(**facts)

    def reset(self, tasks: Mapping[int, tuple[int, str]]) -> dict[int, Shown]:
        """Start episodes: environment -> (task, split)."""
        return self._shown("reset", {index: list(task) for index, task in tasks.items()})

    def step(self, actions: Mapping[int, str | None]) -> dict[int, Shown]:
        """One action each: environment -> action."""
        return self._shown("step", {index: [action] for index, action in actions.items()})

    def admissible(self, indices: Iterable[int]) -> dict[int, list[str]]:
        return self._all("admissible", {index: [] for index in indices})

    def oracle(self, indices: Iterable[int]) -> dict[int, list[str] | None]:
        return self._all("oracle", {index: [] for index in indices})

    def augment(self, states: Mapping[int, tuple[str, float, int]]) -> dict[int, str]:
        """environment -> (state, epsilon, seed)."""
        return self._all("augment", {index: list(arguments) for index, arguments in states.items()})

    def add(self) -> int:
        """One more environment, in the process whose turn it is; its number."""
        self.count += 1
        return self.count - 1

    def memory_mb(self) -> float:
        """What its processes hold now, with what they started (a JVM)."""
        return sum(place.memory_mb() for place in self._places)

    def close(self) -> None:
        for place in self._places:
            place.stop()

    def _shown(self, call: str, arguments: Mapping[int, list[Any]]) -> dict[int, Shown]:
        replies = self._ask(call, arguments)
        return {
            index: Shown("", True, False, None, False, 0, 0, reply["failure"]) if "failure" in reply else Shown(**reply)
            for index, reply in replies.items()
        }

    def _all(self, call: str, arguments: Mapping[int, list[Any]]) -> dict[int, Any]:
        replies = self._ask(call, arguments)
        for index, reply in replies.items():
            if isinstance(reply, dict) and "failure" in reply:
                raise RuntimeError(f"environment {index}: {call}: {reply['failure']}")
        return replies

    def _ask(self, call: str, arguments: Mapping[int, list[Any]]) -> dict[int, Any]:
        """Send to every process first, then collect: they work at the same time."""
        asked: dict[int, list[int]] = defaultdict(list)
        for index in arguments:
            if not 0 <= index < self.count:
                raise IndexError(f"no environment {index} in a pool of {self.count}")
            asked[index % len(self._places)].append(index)
        for number, indices in asked.items():
            self._places[number].send([(index, call, arguments[index]) for index in indices])
        replies: dict[int, Any] = {}
        for number, indices in asked.items():
            replies.update(zip(indices, self._places[number].receive(len(indices)), strict=True))
        for reply in replies.values():
            if isinstance(reply, dict) and "user_error" in reply:
                raise UserError(reply["user_error"])
        return {index: replies[index] for index in arguments}


class _Place:
    """One process; started when it is first asked, and again after it died."""

    def __init__(self, name: str, options: dict[str, Any], wall_s: float) -> None:
        self._start_message = pickle.dumps((name, options))
        self._wall_s = wall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._error: str | None = None

    def send(self, requests: list[tuple[int, str, list[Any]]]) -> None:
        self._error = None
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame(pickle.dumps(requests)))
            self._process.stdin.flush()
        except BrokenPipeError:
            self._error = f"its process ended with code {self._process.wait()}"

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "evaluators.environment_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES=""),
        )
        assert process.stdin is not None
        process.stdin.write(frame(self._start_message))
        return process

    def receive(self, count: int) -> list[Any]:
        """The replies, or the same failure for each of them."""
        if self._error is None:
            try:
                replies: list[Any] = json.loads(self._read(time.monotonic() + self._wall_s))
                return replies
            except (TimeoutError, EOFError) as e:
                self._error = str(e)
        self.stop()
        return [{"failure": self._error}] * count

    def _read(self, deadline: float) -> bytes:
        assert self._process is not None
        (length,) = struct.unpack("<Q", self._exactly(8, deadline))
        return self._exactly(length, deadline)

    def _exactly(self, count: int, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        data = bytearray()
        while len(data) < count:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"its process gave no answer within {self._wall_s:g} s")
            block = os.read(descriptor, min(1 << 20, count - len(data)))
            if not block:
                raise EOFError(f"its process ended with code {self._process.wait()}")
            data += block
        return bytes(data)

    def memory_mb(self) -> float:
        if self._process is None:
            return 0.0
        try:
            process = psutil.Process(self._process.pid)
            return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20
        except psutil.NoSuchProcess:  # it ended meanwhile; whoever asks it next is told
            return 0.0

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what was buffered cannot reach a dead process
                if pipe is not None:
                    pipe.close()
        self._process = None
