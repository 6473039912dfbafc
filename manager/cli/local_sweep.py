"""`manager sweep` on this machine: the live display, MLflow's side process, the summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live

from manager import render
from manager.cli.sweeps import next_step
from manager.cluster.local import LocalBackend
from manager.drain_process import drain_command, draining
from manager.forecast import refuse_above_budget
from manager.foreground import ForegroundSweep
from manager.job import State, Sweep
from manager.lock import exclusive
from manager.observe import all_facts
from manager.plan import Act, actions
from manager.status import SweepStatus, collect
from manager.store import Store

REFRESH_S = 0.5
EXIT_STOPPED = 130


def run_here(store: Store, sweep: Sweep, backend: LocalBackend) -> int:
    """Run the sweep in the foreground; returns the exit status."""
    console = Console()
    folder = store.sweep_dir(sweep.name)
    with exclusive(folder / "lock", f"sweep {sweep.name}"):
        ids = [entry.job.id for entry in sweep.jobs]
        facts = all_facts(store, ids)
        todo = actions(sweep, facts)
        backend.check([each.entry for each in todo if each.act is not Act.SKIP])
        refuse_above_budget(store, sweep, [each.entry for each in todo if each.act in (Act.SUBMIT, Act.RESUME)])
        for entry in sweep.jobs:
            store.add_job(entry.job)
        store.write_sweep(sweep, backend=backend.name)
        began = time.monotonic()
        if all(each.act is Act.SKIP for each in todo):
            console.print(f"sweep {sweep.name}: all {len(todo)} jobs are done; nothing was started")
            with _tracking(store, sweep, console):
                pass  # nothing ran; a deleted or older tracking store is brought up to date
            _show_report(console, store, sweep)
            return 0
        if all(each.act in (Act.SKIP, Act.LEAVE) for each in todo):
            value = collect(store, sweep, facts)
            console.print(render.status(value))
            console.print(f"nothing was started; {next_step(value)}")
            return 1
        console.print(f"sweep {sweep.name}: {len(todo)} jobs, {backend.slots} at a time, in {store.root}")
        with _tracking(store, sweep, console), Display(console, store, sweep) as display:
            ended = ForegroundSweep(store, sweep, backend, display.update, display.stopping).run()
        value = collect(store, sweep, all_facts(store, ids))
        console.print(render.status(value))
        elapsed = render.duration(time.monotonic() - began)
        if ended.stopped:
            console.print(f"stopped after {elapsed}; nothing is lost: run the same command again to go on")
            return EXIT_STOPPED
        console.print(f"{ended.started} execution{'s' if ended.started != 1 else ''} in {elapsed}")
        if value.complete:
            _show_report(console, store, sweep)
            return 0
        console.print(next_step(value))
        return 1


class Display:
    """Progress while a sweep runs: a live table in a terminal, a line for each change elsewhere."""

    def __init__(self, console: Console, store: Store, sweep: Sweep) -> None:
        self._console = console
        self._store = store
        self._sweep = sweep
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._drawn = 0.0
        self._known: dict[str, State] = {}

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, known: dict[str, State]) -> None:
        if self._live is None:
            self._print_changes(known)
        elif time.monotonic() - self._drawn > REFRESH_S:
            self._drawn = time.monotonic()
            # A few columns stay free: the terminal's own ^C after a full line would begin another one.
            shown = Constrain(render.status(self._status()), self._console.width - 4)
            self._live.update(shown, refresh=True)

    def stopping(self, jobs: int) -> None:
        """The user pressed Ctrl-C: say at once that it was understood."""
        what = "no job runs" if not jobs else "one job saves" if jobs == 1 else f"{jobs} jobs save"
        self._console.print(f"stopping: {what}, MLflow gets the rest; Ctrl-C again ends all at once")

    def _status(self) -> SweepStatus:
        return collect(self._store, self._sweep, all_facts(self._store, [e.job.id for e in self._sweep.jobs]))

    def _print_changes(self, known: dict[str, State]) -> None:
        quiet = (State.WAITING, State.READY)
        for entry in self._sweep.jobs:
            state = known[entry.job.id]
            if self._known.get(entry.job.id, State.READY) is not state and state not in quiet:
                self._console.print(f"{time.strftime('%H:%M:%S')} {entry.job.id} {state:<11} {entry.title}")
        self._known = dict(known)


@contextmanager
def _tracking(store: Store, sweep: Sweep, console: Console) -> Iterator[None]:
    log = store.sweep_dir(sweep.name) / "tracking.log"
    drain = None
    try:
        with draining(drain_command(store, sweep.name), log) as drain:
            yield
    finally:
        if drain is not None and not drain.complete:
            console.print(f"MLflow did not get everything (see {log}); `manager sync {sweep.name}` sends the rest")


def _show_report(console: Console, store: Store, sweep: Sweep) -> None:
    for entry in sweep.jobs:
        run = store.run(entry.job.id)
        result = run.result() if entry.job.kind.value == "report" else None
        if result is not None:
            console.print(result["summary"].rstrip(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"`manager ui {sweep.name}` opens MLflow on this sweep")
