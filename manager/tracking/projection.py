"""From run directories' records to what MLflow shall hold: one run a job. Pure: decides, sends nothing.

A metric point is one value for (key, step). Steps that a later attempt does again supersede the earlier
ones. While an attempt is alive, what earlier attempts logged at and after its first step is held back: the
attempt is about to do those steps again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from manager.job import Job, Kind, State, SweepJob, canonical_json
from manager.tracking.lineage import checkpoint_of, root_model, training_domain
from manager.tracking.names import tags_of, tracking_name, tracking_names

TASKS = "_tasks/"  # names of scores by task: legalbench_tasks/abercrombie.balanced_accuracy
PASS_SUFFIXES = ("/pass@1", "/pass_at_1")


class RunStatus(StrEnum):
    """MLflow's words for how a run is or ended."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class Point:
    key: str  # as MLflow names it
    step: int
    value: float  # NaN where the job said that the value is undefined
    time_ms: int


Points = dict[tuple[str, int], Point]

# Tags that a run may have had before and has no more.
PASSING_TAGS = frozenset({"cause", "message", "scheduler", "scheduler_job_id", "host"})


@dataclass(frozen=True)
class JobFacts:
    """What is known of one job, as far as its run shows it."""

    entry: SweepJob
    state: State
    attempts: tuple[Mapping[str, Any], ...]  # the attempts' records, oldest first
    end: Mapping[str, Any] | None  # of the last attempt
    result: Mapping[str, Any] | None
    code: str | None = None
    last_sign_s: float | None = None  # the last heartbeat of an attempt that vanished

    @property
    def alive(self) -> bool:
        return self.state is State.RUNNING


@dataclass(frozen=True)
class Shown:
    """What a run shows besides points and artifacts."""

    name: str
    status: RunStatus
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str] = field(default_factory=dict)


def status_of(facts: JobFacts) -> RunStatus:
    """The status of a job that has been attempted at least once."""
    outcome = facts.end["outcome"] if facts.end else None
    match facts.state:
        case State.DONE:
            return RunStatus.FINISHED
        case State.RUNNING:
            return RunStatus.RUNNING
        case State.QUEUED:
            return RunStatus.SCHEDULED
        case State.FAILED:
            return RunStatus.FAILED
        case State.UNKNOWN if outcome is None:
            return RunStatus.RUNNING  # nobody could be asked: not known to have ended
        case _:
            return RunStatus.FAILED if outcome == "failed" else RunStatus.KILLED


def shown(facts: JobFacts, name: str, sweep_name: str, jobs: Mapping[str, Job], run_directory: str) -> Shown:
    """Status, times and tags of a job's run."""
    status = status_of(facts)
    start_s = float(facts.attempts[0].get("started", 0.0)) if facts.attempts else 0.0
    end_ms = None
    if status not in (RunStatus.RUNNING, RunStatus.SCHEDULED):
        ended = (facts.result or {}).get("finished") or (facts.end or {}).get("finished") or facts.last_sign_s
        end_ms = milliseconds(ended if ended is not None else start_s)
    return Shown(
        name=name,
        status=status,
        start_ms=milliseconds(start_s),
        end_ms=end_ms,
        tags=job_tags(facts, sweep_name, jobs, run_directory),
    )


def run_names(entries: Sequence[SweepJob]) -> dict[str, str]:
    """Short names that tell the jobs of a stage apart: the stage and the labels that differ, by job id."""
    result: dict[str, str] = {}
    for stage in dict.fromkeys(entry.stage for entry in entries):
        labels = {entry.job.id: _telling_labels(entry) for entry in entries if entry.stage == stage}
        names = dict.fromkeys(name for values in labels.values() for name in values)
        differing = [n for n in names if len({str(values.get(n)) for values in labels.values()}) > 1]
        for job_id, values in labels.items():
            told = [name for name in differing if name in values]
            result[job_id] = " ".join([stage, *(_label(name, values[name]) for name in told)])
    return result


def _label(name: str, value: Any) -> str:
    """A word speaks for itself; a number needs its name."""
    return value if isinstance(value, str) and value != "last" else f"{name}={value}"


def _telling_labels(entry: SweepJob) -> dict[str, Any]:
    labels = dict(entry.labels)
    checkpoint = checkpoint_of(entry.job)
    if entry.job.kind is Kind.EVALUATE and checkpoint is not None:
        labels.setdefault("checkpoint", checkpoint)
    return labels


def job_tags(facts: JobFacts, sweep_name: str, jobs: Mapping[str, Job], run_directory: str) -> dict[str, str]:
    job, labels = facts.entry.job, facts.entry.labels
    last = facts.attempts[-1] if facts.attempts else {}
    scheduler = last.get("scheduler") or {}
    end = facts.end or {}
    failed = facts.state in (State.FAILED, State.INTERRUPTED, State.CANCELLED, State.BLOCKED)
    values: dict[str, Any] = {
        **labels,
        "sweep": sweep_name,
        "stage": facts.entry.stage,
        "kind": job.kind.value,
        "domain": labels.get("domain") or training_domain(job, jobs),
        "base": labels.get("base") or root_model(job, jobs),
        "seed": labels.get("seed", job.config.get("seed")),
        "checkpoint_step": _checkpoint_step(facts),
        "job_id": job.id,
        "state": facts.state.value,
        "attempts": len(facts.attempts),
        "code_version": facts.code,
        "host": last.get("host"),
        "scheduler": scheduler.get("name"),
        "scheduler_job_id": scheduler.get("job_id"),
        "run_directory": run_directory,
        "world_size": last.get("world_size"),
        "cause": end.get("cause") if failed else None,
        "message": end.get("message") if failed else None,
    }
    return tags_of({name: value for name, value in values.items() if value != ""})


def _checkpoint_step(facts: JobFacts) -> int | str | None:
    if facts.entry.job.kind is not Kind.EVALUATE:
        return None
    measured = (facts.result or {}).get("model_step")
    return measured if measured is not None else checkpoint_of(facts.entry.job)


def milliseconds(seconds: float) -> int:
    """The time stamp of a point: always the same for the same record."""
    return round(float(seconds) * 1000)


@dataclass(frozen=True)
class Dataset:
    """Data that a job trained on or was judged by, as its config names it."""

    name: str
    digest: str  # of everything that decides which rows these are
    source: str  # JSON


def datasets_of(job: Job) -> tuple[str, tuple[Dataset, ...]]:
    """(training or evaluation, the data sets)."""
    if job.kind in (Kind.RL, Kind.SFT):
        data = job.config.get("data")
        return "training", (_dataset(data),) if isinstance(data, Mapping) else ()
    if job.kind is Kind.EVALUATE:
        return "evaluation", tuple(_dataset(spec) for spec in job.config.get("benchmarks") or ())
    return "", ()


def _dataset(value: Mapping[str, Any]) -> Dataset:
    source = canonical_json(value)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    return Dataset(str(value.get("name") or value.get("domain") or "data"), digest, source)


# Points


def metric_values(record: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """The values of one journal record; those that the job called undefined as NaN."""
    if record.get("type") != "metrics":
        return
    yield from record.get("values", {}).items()
    for key in record.get("undefined", ()):
        yield key, float("nan")


def metric_names(*journals: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The job's own metric names and what MLflow calls them."""
    return tracking_names({key for records in journals for record in records for key, _ in metric_values(record)})


def points_of(attempts: Sequence[Sequence[Mapping[str, Any]]], names: Mapping[str, str], *, alive: bool) -> Points:
    """The surviving points of a job's attempts, given their journals' records, oldest first."""
    raw: dict[tuple[str, int], tuple[int, float, float]] = {}
    for number, records in enumerate(attempts):
        newest = alive and number == len(attempts) - 1
        first: dict[str, int] = {}
        for record in records:
            step = int(record.get("step", 0))
            for key, value in metric_values(record):
                known = raw.get((key, step))
                # A run that is being watched must not be replaced for every value that is said twice.
                if newest and known is not None and known[0] == number:
                    continue
                raw[key, step] = (number, float(value), float(record.get("time", 0.0)))
                first[key] = min(step, first.get(key, step))
        if newest:
            raw = {
                (key, step): point
                for (key, step), point in raw.items()
                if point[0] == number or key not in first or step < first[key]
            }
    return {
        (names[key], step): Point(names[key], step, value, milliseconds(time))
        for (key, step), (_, value, time) in raw.items()
    }


def evaluation_points(facts: JobFacts, records: Iterable[Mapping[str, Any]]) -> Points:
    """`<benchmark>/pass@1` and `<domain>/pass@1` of an evaluation, at the checkpoint's step.

    What the job logged itself, and what follows from its result. A domain's value is the mean over its
    benchmarks, and undefined if one of them is: a mean over fewer would not be comparable.
    """
    points: Points = {}
    for record in records:
        for key, value in metric_values(record):
            if key.endswith(PASS_SUFFIXES):
                name, step = tracking_name(key), int(record.get("step", 0))
                points[name, step] = Point(name, step, float(value), milliseconds(record.get("time", 0.0)))
    result = facts.result or {}
    benchmarks = result.get("benchmarks")
    if not isinstance(benchmarks, Mapping):
        return points
    step = _step_number(facts)
    time_ms = milliseconds(result.get("finished", 0.0))
    domains: dict[str, list[float | None]] = {}
    for name, summary in benchmarks.items():
        value = summary.get("pass_at_1")
        domains.setdefault(str(summary.get("domain")), []).append(value)
        _add(points, f"{name}/pass_at_1", step, value, time_ms)
        _add_more(points, name, step, summary.get("more_scores") or {}, time_ms)
    for domain, values in domains.items():
        defined = [value for value in values if value is not None]
        mean = sum(defined) / len(defined) if len(defined) == len(values) else None
        taken = domain in benchmarks and len(values) > 1
        _add(points, f"{'domain:' if taken else ''}{domain}/pass_at_1", step, mean, time_ms)
    return points


def _step_number(facts: JobFacts) -> int:
    step = _checkpoint_step(facts)
    return step if isinstance(step, int) else 0


def _add(points: Points, name: str, step: int, value: float | None, time_ms: int) -> None:
    """A derived value: it yields to what the job itself logged under that name and step."""
    key = tracking_name(name)
    if value is not None and (key, step) not in points:
        points[key, step] = Point(key, step, float(value), time_ms)


def _add_more(points: Points, name: str, step: int, more: Mapping[str, Any], time_ms: int) -> None:
    """What a benchmark reports beside pass@1, and in a group of its own the same by task."""
    for score, value in more.items():
        if score != "tasks":
            _add(points, f"{name}/{score}", step, value, time_ms)
    for task, scores in (more.get("tasks") or {}).items():
        _add(points, f"{name}{TASKS}{task}.balanced_accuracy", step, scores["balanced_accuracy"], time_ms)
        _add(points, f"{name}{TASKS}{task}.exact_match", step, scores["exact_match"], time_ms)


def mirrored(points: Points, step: int | None, prefix: str) -> Points:
    """An evaluation's points as a training job's run shows them: without those of single tasks."""
    result: Points = {}
    for point in points.values():
        if TASKS in point.key:
            continue
        key = tracking_name(f"{prefix}{point.key}")
        at = point.step if step is None else step
        result[key, at] = Point(key, at, point.value, point.time_ms)
    return result
