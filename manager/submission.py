"""One round of a sweep on a cluster: look, plan, hand over. Nothing stays running afterwards.

Prints nothing. Safe to run at any time, any number of times and by several people at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manager.cluster.backend import Backend, Phase, SchedulerView, Submission
from manager.cost import Estimator
from manager.history import read_history
from manager.job import State, Sweep, SweepJob
from manager.observe import all_facts
from manager.plan import Act, Action, JobFacts, actions, awaited
from manager.store import Store
from manager.usage import Usage, gpus_of, usage


@dataclass(frozen=True)
class Budget:
    """The sweep's bound on GPU-hours, and how it stands."""

    gpu_hours: float
    used: Usage
    bound: float  # by what is queued or runs, at its estimate
    left_out: int  # jobs that were not submitted because of it

    def text(self) -> str:
        used = f"{self.used.gpu_hours:,.1f} of {self.gpu_hours:,.1f} GPU-hours used (from {self.used.source})"
        text = f"budget: {used}, {self.bound:,.1f} bound by the queue"
        return f"{text}; {self.left_out} jobs not submitted (budget_gpu_hours)" if self.left_out else text


@dataclass(frozen=True)
class Round:
    """What was found and what was done."""

    actions: tuple[Action, ...]
    submissions: tuple[Submission, ...]
    budget: Budget | None = None

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
    # Accounting is asked about every attempt only where a budget depends on it.
    gpus = gpus_of(sweep.jobs) if sweep.settings.get("budget_gpu_hours") is not None else {}
    views, accounted = backend.observe_and_account(ids, gpus)
    facts = all_facts(store, ids, views)
    todo = actions(sweep, facts)
    wanted, budget = _within_budget(store, sweep, todo, _submittable(todo, facts), accounted)
    if not wanted:
        return Round(tuple(todo), (), budget)
    in_queue = {each: view for each, view in views.items() if _in_queue(view)}
    return Round(tuple(todo), tuple(backend.submit(wanted, in_queue)), budget)


def _within_budget(
    store: Store, sweep: Sweep, todo: list[Action], wanted: list[SweepJob], accounted: Mapping[str, float]
) -> tuple[list[SweepJob], Budget | None]:
    """What the sweep's budget still pays for. Used hours are those of its jobs, whichever sweep ran them."""
    limit = sweep.settings.get("budget_gpu_hours")
    if limit is None:
        return wanted, None
    estimator = Estimator({entry.job.id: entry.job for entry in sweep.jobs}, read_history(store))
    used = usage(store, gpus_of(sweep.jobs), accounted)
    waiting = [action.entry for action in todo if action.act is Act.WAIT]
    bound = estimator.total(waiting).p90_gpu_hours
    fitting = estimator.within(wanted, float(limit), used.gpu_hours + bound)
    return fitting, Budget(float(limit), used, bound, len(wanted) - len(fitting))


def _submittable(todo: list[Action], facts: Mapping[str, JobFacts]) -> list[SweepJob]:
    """Jobs to submit whose parents are done, in the queue, or submitted with them."""
    safe: set[str] = set()
    wanted: list[SweepJob] = []
    for action in todo:
        job = action.entry.job
        if action.act in (Act.SKIP, Act.WAIT):
            safe.add(job.id)
        elif action.act in (Act.SUBMIT, Act.RESUME) and all(need in safe for need in awaited(job, facts)):
            safe.add(job.id)
            wanted.append(action.entry)
    return wanted


def _in_queue(view: SchedulerView) -> bool:
    return view.phase in (Phase.QUEUED, Phase.RUNNING)


