"""What `shards: auto` chooses: the least GPU time that meets the deadline, judged by finished evaluations.

Reads the store; changes nothing. A choice that was begun is kept, so that a sweep run again finds its jobs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluators.shards import ShardPlan, plan_shards
from manager.cost import base_model
from manager.errors import UserError
from manager.history import attempt_seconds
from manager.job import Job, Kind, canonical_json
from manager.store import RunDirectory, Store
from manager.sweep.shards import MOST_SHARDS


@dataclass(frozen=True)
class Pace:
    """How fast one model is evaluated on one machine: from finished evaluations."""

    jobs: int
    load_min: float
    tokens_per_min: float
    sample_tokens: Mapping[str, float]  # tokens of an answer, by benchmark


@dataclass(frozen=True)
class Choice:
    """How many shards the evaluations of one kind get, and why."""

    model: str
    shards: int
    why: str


@dataclass
class ShardChooser:
    """Chooses for the evaluations of one sweep; `choices` tells what and why."""

    store: Store
    choices: list[Choice] = field(default_factory=list)
    _paces: dict[str, Pace] | None = None
    _items: dict[str, int] = field(default_factory=dict)

    def __call__(self, job: Job, jobs: Mapping[str, Job], deadline_min: float) -> int:
        shards, why = self._choose(job, jobs, deadline_min)
        self.choices.append(Choice(base_model(job, {**jobs, job.id: job}), shards, why))
        return shards

    def lines(self) -> list[str]:
        """What was chosen, equal choices together."""
        counts: dict[tuple[str, int, str], int] = {}
        for one in self.choices:
            key = (one.model, one.shards, one.why)
            counts[key] = counts.get(key, 0) + 1
        return [
            f"shards: auto, {model}, {count} evaluation{'s' if count != 1 else ''}: "
            f"{shards} shard{'s' if shards != 1 else ''} each; {why}"
            for (model, shards, why), count in counts.items()
        ]

    def _choose(self, job: Job, jobs: Mapping[str, Job], deadline_min: float) -> tuple[int, str]:
        begun = self._begun(job)
        if begun is not None:
            return begun, "as it was begun; shards: NUMBER asks for another"
        pace = self._pace(job, jobs)
        if pace is None:
            return 1, (
                "no finished evaluation of this model on such a machine tells how long it takes; "
                "run one with a limit first, or write shards: NUMBER"
            )
        try:
            tokens, items = self._work(job, pace)
        except UserError as error:
            return 1, str(error)
        gpus = max(1, job.resources.nodes * job.resources.gpus_per_node)
        plan = plan_shards(
            tokens / pace.tokens_per_min, pace.load_min, deadline_min, most=max(1, min(MOST_SHARDS, items)), gpus=gpus
        )
        return plan.shards, _why(plan, pace, deadline_min)

    def _begun(self, job: Job) -> int | None:
        """The number of shards that this evaluation was begun with; the furthest, where there are several."""
        found: list[tuple[float, int]] = []
        for of in range(1, MOST_SHARDS + 1):
            if self.store.run(job.shard(0, of).id).exists():
                runs = [self.store.run(job.shard(index, of).id) for index in range(of)]
                found.append((sum(run.is_done() for run in runs) / of, of))
        return max(found)[1] if found else None

    def _pace(self, job: Job, jobs: Mapping[str, Job]) -> Pace | None:
        if self._paces is None:
            self._paces = read_paces(self.store)
        return self._paces.get(machine_key(job, jobs))

    def _work(self, job: Job, pace: Pace) -> tuple[float, int]:
        """(tokens that all answers together are expected to have, items)."""
        tokens, items = 0.0, 0
        for entry in job.config["benchmarks"]:
            name = entry["name"]
            if name not in pace.sample_tokens:
                raise UserError(
                    f"no finished evaluation of this model on {name} tells how long its answers are; "
                    "run one with a limit first, or write shards: NUMBER"
                )
            count = self._count(name)
            count = min(count, entry["limit"]) if entry.get("limit") else count
            tokens += count * entry["sampler"]["samples"] * pace.sample_tokens[name]
            items += count
        return tokens, items

    def _count(self, name: str) -> int:
        from evaluators import benchmarks

        if name not in self._items:
            self._items[name] = sum(1 for _ in benchmarks.get(name).items("test", None))
        return self._items[name]


def evaluation_result(store: Store, job: Job) -> dict[str, Any] | None:
    """The result of an evaluation, of all its shards together; None until all of it is done."""
    shards = [store.run(shard.id) for shard in job.shards()]
    if len(shards) == 1:
        return shards[0].result()
    from evaluators.joined import joined_result

    result: dict[str, Any] | None = joined_result(shards)
    return result


def machine_key(job: Job, jobs: Mapping[str, Job]) -> str:
    """What decides the pace of an evaluation: model, engine and GPUs."""
    resources = job.resources
    model = base_model(job, {**jobs, job.id: job})
    return canonical_json([model, job.config["engine"], resources.nodes, resources.gpus_per_node])


def read_paces(store: Store) -> dict[str, Pace]:
    """The pace of every model and machine that finished evaluations of the store tell of."""
    try:
        runs = [store.run(job_id) for job_id in store.job_ids()]
    except FileNotFoundError:
        return {}
    jobs = {run.id: run.job() for run in runs if run.exists()}
    groups: dict[str, list[tuple[float, float, Mapping[str, Any]]]] = {}
    for run in runs:
        job = jobs.get(run.id)
        if job is None or job.kind is not Kind.EVALUATE or "engine" not in job.config:
            continue
        result = run.result()
        load_s = _load_seconds(run) if result else None
        if result is not None and load_s is not None:
            generating_s = attempt_seconds(run) - load_s
            if generating_s > 0:
                groups.setdefault(machine_key(job, jobs), []).append((load_s, generating_s, result["benchmarks"]))
    return {key: pace for key, rows in groups.items() if (pace := _measured(rows)) is not None}


def _measured(rows: Iterable[tuple[float, float, Mapping[str, Any]]]) -> Pace | None:
    loads, seconds, tokens = [], 0.0, 0
    by_name: dict[str, tuple[int, int]] = {}
    for load_s, generating_s, benchmarks in rows:
        loads.append(load_s)
        seconds += generating_s
        for name, summary in benchmarks.items():
            samples = summary["items"] * summary["samples"]
            known = by_name.get(name, (0, 0))
            by_name[name] = (known[0] + summary["completion_tokens"], known[1] + samples)
            tokens += summary["completion_tokens"]
    if not tokens:
        return None
    answers = {name: total / count for name, (total, count) in by_name.items() if count}
    return Pace(len(loads), statistics.median(loads) / 60, 60 * tokens / seconds, answers)


def _load_seconds(run: RunDirectory) -> float | None:
    """All loading of its engine; None for a job that took records over, whose time tells nothing."""
    total = None
    for record in run.journal():
        if record.get("type") != "event":
            continue
        if record["name"] == "reused":
            return None
        if record["name"] == "engine_loaded" and "seconds" in record:
            total = (total or 0.0) + float(record["seconds"])
    return total


def _why(plan: ShardPlan, pace: Pace, deadline_min: float) -> str:
    text = (
        f"about {plan.minutes:,.1f} min each and {plan.gpu_minutes:,.1f} GPU-minutes together for the deadline of "
        f"{deadline_min:g} min, {pace.load_min:,.1f} min of each to load the engine "
        f"(by {pace.jobs} finished evaluation{'s' if pace.jobs != 1 else ''})"
    )
    return text if plan.meets_deadline else f"{text}; no number of shards meets the deadline"
