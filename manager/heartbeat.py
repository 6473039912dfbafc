"""The thread beside a job: says that it lives, and notices what should end it.

It ends the process at once when a newer attempt exists (fencing) or when another rank has failed; it asks
the job to stop when the user cancelled it or the manager in the foreground is gone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from manager.claim import is_newest
from manager.liveness import is_alive
from manager.run import Run
from manager.watchdog import Watchdog

INTERVAL_S = 2.0
# What another rank's failure leaves this rank to notice it by itself and to end in order.
FAILED_RANK_GRACE_S = 10.0
EXIT_SUPERSEDED = 75
EXIT_OTHER_RANK = 76


class Heartbeat:
    def __init__(self, run: Run, manager: Mapping[str, Any] | None) -> None:
        self._run = run
        self._manager = manager
        self._done = threading.Event()
        self._failed_since: float | None = None
        self._watchdog = Watchdog(run.attempt_dir, run.rank)
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._run.heartbeat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._watchdog.close()

    def _loop(self) -> None:
        while not self._done.wait(INTERVAL_S):
            try:
                self._beat()
            except OSError as error:
                # A full disk or a file server that is away: the job goes on, the next beat tries again. Its log
                # may lie on the same disk, and a thread that ended of that would make the job look dead.
                with contextlib.suppress(OSError):
                    print(f"heartbeat: {error}", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        run = self._run
        if not is_newest(run.directory, int(run.attempt_dir.name)):
            print("a newer attempt of this job exists: leaving at once", file=sys.stderr, flush=True)
            os._exit(EXIT_SUPERSEDED)
        run.heartbeat()
        if run.directory.cancelled() is not None:
            run.request_stop("cancelled")
        if self._manager is not None and is_alive(self._manager) is False:
            run.request_stop("the manager is gone")
        if run.world_size > 1:
            self._leave_failed_group()
        self._watchdog.check(run.last_progress())

    def _leave_failed_group(self) -> None:
        """A rank that waits in a collective for a failed one would wait until its timeout."""
        failed = any(self._run.attempt_dir.glob("rank-*.failed.json"))
        ended = self._run.rank > 0 and (self._run.attempt_dir / "end.json").exists()
        if not failed and not ended:
            return
        self._failed_since = self._failed_since or time.monotonic()
        if time.monotonic() - self._failed_since > FAILED_RANK_GRACE_S:
            print("another rank has failed: leaving", file=sys.stderr, flush=True)
            os._exit(EXIT_OTHER_RANK)
