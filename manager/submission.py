"""One round of a sweep on a cluster: look, plan, hand over. Nothing stays running afterwards.

Prints nothing. Safe to run at any time, any number of times and by several people at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.cluster.backend import Backend, Phase, SchedulerView, Submission
from manager.job import State, Sweep, SweepJob
from manager.observe import all_facts
from manager.plan import Act, Action, actions
from manager.store import Store


@dataclass(frozen=True)
class Round:
    """What was found and what was done."""

    actions: tuple[Action, ...]
    submissions: tuple[Submission, ...]

    def count(self, *acts: Act) -> int:
        return sum(action.act in acts for action in self.actions)

    @property
    def submitted(self) -> int:
        return sum(len(each.jobs) for each in self.submissions)

    @property
    def unknown(self) -> list[Action]:
        """Jobs about which the scheduler could not be asked."""
        return [action for action in self.actions if action.state is State.UNKNOWN]


def submit_missing(store: Store, sweep: Sweep, backend: Backend) -> Round:
    """Submit every job of the sweep that has no result and is in nobody's queue."""
    for entry in sweep.jobs:
        store.add_job(entry.job)
    store.write_sweep(sweep, backend=backend.name)
    ids = [entry.job.id for entry in sweep.jobs]
    views = backend.observe(ids)
    todo = actions(sweep, all_facts(store, ids, views))
    wanted = _submittable(todo)
    if not wanted:
        return Round(tuple(todo), ())
    in_queue = {each: view for each, view in views.items() if _in_queue(view)}
    return Round(tuple(todo), tuple(backend.submit(wanted, in_queue)))


def _submittable(todo: list[Action]) -> list[SweepJob]:
    """Jobs to submit whose parents are done, in the queue, or submitted with them."""
    safe: set[str] = set()
    wanted: list[SweepJob] = []
    for action in todo:
        job = action.entry.job
        if action.act in (Act.SKIP, Act.WAIT):
            safe.add(job.id)
        elif action.act in (Act.SUBMIT, Act.RESUME) and all(need in safe for need in job.needs):
            safe.add(job.id)
            wanted.append(action.entry)
    return wanted


def _in_queue(view: SchedulerView) -> bool:
    return view.phase in (Phase.QUEUED, Phase.RUNNING)


