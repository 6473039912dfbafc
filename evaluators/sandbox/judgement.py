"""The time that all programs of one judgement share: so many tests, each just within its own limit, cannot hold a job.

What a program used counts, not what it waited for a worker: a busy machine takes no test away.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from evaluators.sandbox.program import Command, Program, Verdict, VerdictKind


class Judgement:
    """Seconds of running that are left for the programs of one answer. Safe to use from many threads."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        with self._lock:
            return self._left

    def spend(self, seconds: float) -> None:
        with self._lock:
            self._left -= seconds

    def spent(self, last: Verdict | None = None) -> Verdict:
        """The verdict on the program that used the rest of the time, or on one that was not reached."""
        told = f"more than {self.seconds:g} s for all tests together"
        return dataclasses.replace(last or Verdict(VerdictKind.TIME_LIMIT), detail=told)


_current: ContextVar[Judgement | None] = ContextVar("judgement", default=None)


def current() -> Judgement | None:
    """The judgement that the programs of this thread belong to; None where nothing bounds them together."""
    return _current.get()


@contextmanager
def within(seconds: float) -> Iterator[Judgement]:
    """All programs that this thread has run inside, also by `Sandbox.run_many`, together run so long at most."""
    judgement = Judgement(seconds)
    token = _current.set(judgement)
    try:
        yield judgement
    finally:
        _current.reset(token)


def cut(program: Program, left: float) -> Program:
    """The program with no more time than is left."""
    if isinstance(program, Command):
        return dataclasses.replace(program, wall_s=left)
    if program.limits.wall_s <= left:
        return program
    return dataclasses.replace(program, limits=dataclasses.replace(program.limits, wall_s=left))
