"""Runs a sweep on this machine, in the foreground: dependency order, slots, Ctrl-C, restarts.

Decides nothing about states (plan.py) and prints nothing (the caller gets told of every change).
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from manager.cluster.local import LocalBackend
from manager.job import State, Sweep, SweepJob
from manager.observe import job_facts
from manager.plan import JobFacts, states
from manager.store import Store

TICK_S = 0.25
# What a job gets to finish its step and to save before Ctrl-C ends it all the same.
STOP_GRACE_S = 180.0
# A job that keeps on stopping without failing is restarted this often by one `manager sweep`.
RESTARTS = 5

Tell = Callable[[dict[str, State]], None]
TellStopping = Callable[[int], None]  # the number of jobs that save now


@dataclass
class Ended:
    """How the foreground run ended."""

    states: dict[str, State]
    stopped: bool = False  # by Ctrl-C or SIGTERM
    started: int = 0  # executions started by this call


@dataclass
class _StopRequest:
    """Counts the presses of Ctrl-C: the first asks, the second kills."""

    count: int = 0
    event: threading.Event = field(default_factory=threading.Event)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.event.set()


class ForegroundSweep:
    """One sweep, from its first job to the last that can run."""

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        backend: LocalBackend,
        tell: Tell,
        tell_stopping: TellStopping = lambda jobs: None,
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._backend = backend
        self._tell = tell
        self._tell_stopping = tell_stopping
        self._facts: dict[str, JobFacts] = {}
        self._started: Counter[str] = Counter()
        self._stop = _StopRequest()

    def run(self) -> Ended:
        """Return when every job is done or cannot be run, or when the user stopped it."""
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            known = self._look()
            while not self._stop.count:
                self._start_ready(known)
                known = self._look()
                if not self._unfinished(known):
                    return Ended(known, started=self._started.total())
                self._stop.event.wait(TICK_S)
            self._tell_stopping(len(self._backend.running()))
            self._shut_down()
            return Ended(self._look(), stopped=True, started=self._started.total())
        except OSError:
            # The disk takes nothing more: the jobs stop in order, and the caller tells the user.
            self._shut_down(look=False)
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _look(self) -> dict[str, State]:
        """Read the run directories of all jobs that are not known to be done."""
        # Processes first: one that ends in between has written its record by then.
        views = self._backend.observe([entry.job.id for entry in self._sweep.jobs])
        for entry in self._sweep.jobs:
            job_id = entry.job.id
            if job_id not in self._facts or not self._facts[job_id].done:
                self._facts[job_id] = job_facts(self._store.run(job_id), views.get(job_id))
        known = states(self._sweep, self._facts)
        self._tell(known)
        return known

    def _unfinished(self, known: dict[str, State]) -> bool:
        alive = (State.RUNNING, State.QUEUED)
        return any(state in alive for state in known.values()) or any(
            self._may_start(e, known) for e in self._sweep.jobs
        )

    def _may_start(self, entry: SweepJob, known: dict[str, State]) -> bool:
        return known[entry.job.id] in (State.READY, State.INTERRUPTED) and self._started[entry.job.id] <= RESTARTS

    def _start_ready(self, known: dict[str, State]) -> None:
        for entry in self._sweep.jobs:
            if self._stop.count:
                return
            if self._may_start(entry, known) and self._backend.has_room(entry):
                self._started[entry.job.id] += 1
                self._backend.submit([entry], {})

    def _shut_down(self, *, look: bool = True) -> None:
        """Ask every job to save and stop; after the grace, or a second Ctrl-C, end it."""
        self._backend.cancel(self._backend.running())
        deadline = time.monotonic() + STOP_GRACE_S
        while self._backend.running() and self._stop.count < 2 and time.monotonic() < deadline:
            if look:
                self._look()
            time.sleep(TICK_S)
        self._backend.kill()
        while self._backend.running():
            time.sleep(0.05)
