"""Notices that a job makes no steps any more: dumps the stacks of every rank and ends the attempt.

Runs in the heartbeat's thread. What ends here is run again by the scheduler, from the last checkpoint.
"""

from __future__ import annotations

import faulthandler
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manager.atomic import write_json

# A step may take this many times the median of the last ones, and never less than the floor: evaluation,
# saving and generation of long answers make single steps much longer than others.
FACTOR = 20.0
FLOOR_S = 900.0
# Below this number of steps nothing is known of how long one takes.
STEPS_NEEDED = 3
REMEMBERED = 50
# A thread of C that waits for the heartbeat itself: it fires when Python cannot run at all.
FROZEN_S = 3600.0
# Rank 0's exit ends the others: first they get two heartbeats' time to dump their own stacks.
OTHERS_DUMP_S = 5.0
EXIT_STALLED = 77
MARK = "stalled.json"


class Watchdog:
    """Watches the progress of one attempt; `floor_s` by MANAGER_STALL_S."""

    def __init__(
        self, attempt_dir: Path, rank: int, *, floor_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempt_dir = attempt_dir
        self._rank = rank
        self._clock = clock
        self._floor_s = floor_s if floor_s is not None else float(os.environ.get("MANAGER_STALL_S", FLOOR_S))
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._step: int | None = None
        self._since = clock()

    def limit_s(self) -> float | None:
        """How long the next step may take; None while too little is known."""
        if len(self._durations) < STEPS_NEEDED:
            return None
        return max(self._floor_s, FACTOR * statistics.median(self._durations))

    def stalled_s(self, step: int | None) -> float | None:
        """Tell it the current step; returns for how long there was none, if that is too long."""
        now = self._clock()
        if step != self._step:
            if step is not None and self._step is not None and step > self._step:
                each = (now - self._since) / (step - self._step)
                self._durations.extend([each] * min(step - self._step, REMEMBERED))
            self._step, self._since = step, now
            return None
        limit = self.limit_s()
        silent = now - self._since
        return silent if limit is not None and silent > limit else None

    def check(self, progress: dict[str, Any]) -> None:
        """Called at every heartbeat on every rank; does not return if the attempt has stalled."""
        faulthandler.dump_traceback_later(FROZEN_S, exit=True, file=sys.__stderr__ or 2)
        if self._rank > 0:
            if (self._attempt_dir / MARK).exists():
                self._dump("rank 0 says that no step is made any more")
                os._exit(EXIT_STALLED)
            return
        silent = self.stalled_s(progress.get("step"))
        if silent is None:
            return
        message = f"no step for {silent:.0f} s after step {self._step}; stacks are in stacks-rank*.txt"
        write_json(self._attempt_dir / MARK, {"step": self._step, "silent_s": silent})
        self._dump(message)
        end = {
            "outcome": "failed",
            "finished": time.time(),
            "cause": "stalled",
            "message": message,
            "retryable": True,
        }
        write_json(self._attempt_dir / "end.json", end, durable=True)
        time.sleep(OTHERS_DUMP_S)
        os._exit(EXIT_STALLED)

    def close(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def _dump(self, message: str) -> None:
        """The stacks of all threads, in the attempt's directory and in the log."""
        print(f"watchdog: {message}", file=sys.stderr, flush=True)
        with open(self._attempt_dir / f"stacks-rank{self._rank}.txt", "w", encoding="utf-8") as stream:
            faulthandler.dump_traceback(stream, all_threads=True)
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
