"""Brings one job's run in the tracking store to what its run directory says.

Two ways: appending what is new, when everything that was sent still holds; or comparing with what the store
has, point by point. A run that holds anything superseded is replaced: a new run is filled under a draft's
key, the old one deleted, then the draft takes its key. Cut off anywhere, the next call finishes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager.job import Job, State, digest_of
from manager.tracking.journal import Tail, read_tail
from manager.tracking.names import Params, params_of, tags_of, tracking_name
from manager.tracking.observe import Extras, Observed
from manager.tracking.projection import (
    PASSING_TAGS,
    Point,
    Points,
    Shown,
    datasets_of,
    metric_names,
    metric_values,
    milliseconds,
    points_of,
    shown,
)

if TYPE_CHECKING:
    from manager.tracking.client import StoredRun, TrackingClient

PROJECTION_VERSION = 1  # raised when the same run directory shall look different in MLflow
KEY_TAG = "manager.key"  # which part of its sweep a run is: sweep, stage/<name> or job/<id>
SYNCED_TAG = "manager.synced"  # digest of what was sent; written last
ARTIFACTS_TAG = "manager.artifacts"  # digest of the files that were sent
DRAFT = "draft:"
EVENTS_SHOWN = 20

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Sent:
    """What one call did."""

    points: int = 0
    artifacts: int = 0
    created: int = 0
    replaced: int = 0
    notes: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()  # what could not be sent, and why

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.points + other.points,
            self.artifacts + other.artifacts,
            self.created + other.created,
            self.replaced + other.replaced,
            self.notes + other.notes,
            self.waiting + other.waiting,
        )


@dataclass
class Memory:
    """What this process knows of a run in the store. Lost at no cost: the store is compared again."""

    run: StoredRun
    fingerprint: str = ""
    positions: tuple[int, ...] | None = None  # None: not compared yet
    names: dict[str, str] = field(default_factory=dict)  # the job's own metric names -> MLflow's
    last_step: dict[str, int] = field(default_factory=dict)  # the highest step sent, by MLflow's name
    mirrored: Points = field(default_factory=dict)
    extras: Extras = field(default_factory=Extras)
    files: dict[tuple[str, str], Stamp] = field(default_factory=dict)
    must_compare: bool = False  # when the attempt ends: something was held back until then
    settled: bool = False

    def remember_tags(self, tags: Mapping[str, str]) -> None:
        self.run = replace(self.run, tags={**self.run.tags, **tags})


@dataclass(frozen=True)
class Context:
    """What all jobs of a sweep share."""

    client: TrackingClient
    experiment_id: str
    sweep_name: str
    jobs: Mapping[str, Job]
    names: Mapping[str, str]  # job id -> run name
    parents: Mapping[str, str]  # stage -> run id
    partial: bool = False  # evaluations of other jobs are not known here, but may be on the run


@dataclass(frozen=True)
class Wanted:
    """What the run shall show besides what is in the journals."""

    observed: Observed
    shown: Shown
    mirrored: Points
    sizes: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        mirrored = [[p.key, p.step, repr(p.value)] for p in self.mirrored.values()]
        return digest_of(
            [
                PROJECTION_VERSION,
                list(self.sizes),
                [self.shown.name, self.shown.status.value, self.shown.end_ms, dict(self.shown.tags)],
                sorted(mirrored),
            ]
        )


def wanted(context: Context, observed: Observed, mirrored: Points) -> Wanted:
    job_id = observed.facts.entry.job.id
    name = context.names.get(job_id, observed.facts.entry.title)
    look = shown(observed.facts, name, context.sweep_name, context.jobs, str(observed.run.path))
    tags = dict(look.tags)
    parent = context.parents.get(observed.facts.entry.stage)
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    tags |= {"mlflow.source.name": "manager", "mlflow.source.type": "JOB"}
    if observed.facts.code:
        tags["mlflow.source.git.commit"] = observed.facts.code
    return Wanted(observed, replace(look, tags=tags), mirrored, observed.sources.sizes())


def send_job(context: Context, want: Wanted, memory: Memory | None) -> tuple[Memory, Sent]:
    """Bring the job's run up to date; nothing is sent where nothing changed."""
    fingerprint = want.fingerprint
    if memory is not None and memory.fingerprint == fingerprint:
        if memory.positions is None:
            memory.mirrored = dict(want.mirrored)
        memory.settled = want.observed.facts.state is State.DONE
        return memory, Sent()
    sent = Sent()
    if memory is None:
        memory, sent = _first(context, want)
    appended = _append(context, want, memory)
    if appended is None:
        memory, appended = _compare(context, want, memory)
    sent += appended
    sent += _finish(context, want, memory, fingerprint)
    return memory, sent


def _first(context: Context, want: Wanted) -> tuple[Memory, Sent]:
    run = _create(context, want, "")
    return Memory(run), Sent(created=1)


def _create(context: Context, want: Wanted, mark: str) -> StoredRun:
    facts = want.observed.facts
    tags = {**want.shown.tags, KEY_TAG: f"{mark}job/{facts.entry.job.id}"}
    return context.client.create_run(context.experiment_id, want.shown.name, want.shown.start_ms, tags)


# Appending


def _append(context: Context, want: Wanted, memory: Memory) -> Sent | None:
    """Send what is new, or None where the store has to be asked what it holds."""
    positions = memory.positions
    paths = (*want.observed.sources.journals, *want.observed.sources.system)
    if positions is None or len(positions) != len(paths):
        return None
    if memory.must_compare and not want.observed.facts.alive:
        return None
    count = len(want.observed.sources.journals)
    tails = [
        read_tail(path, start) if size > start else Tail((), start)
        for path, start, size in zip(paths, positions, want.sizes, strict=True)
    ]
    if any(size < start for start, size in zip(positions, want.sizes, strict=True)):
        return None
    if any(tail.records for tail in tails[: count - 1]):
        return None  # an attempt that was over has gone on
    points = _new_points(memory, [r for tail in tails[count - 1 :] for r in tail.records])
    mirrored = _new_mirrored(memory, want)
    if points is None or mirrored is None:
        return None
    for tail in tails[:count]:
        memory.extras.add(tail.records)
    if _params_changed(want, memory):
        return None
    number = context.client.send_points(memory.run.id, [*points, *mirrored])
    for point in points:
        memory.last_step[point.key] = max(point.step, memory.last_step[point.key])
    memory.mirrored = dict(want.mirrored)
    memory.run = replace(memory.run, metrics=tuple({*memory.run.metrics, *(p.key for p in mirrored)}))
    memory.positions = tuple(tail.end for tail in tails)
    return Sent(points=number, notes=_unreadable(want, tails))


def _new_points(memory: Memory, records: Sequence[Mapping[str, Any]]) -> list[Point] | None:
    """Points strictly after all that were sent; None if any is not, or has a name never seen."""
    high = dict(memory.last_step)
    points: list[Point] = []
    for record in records:
        step = int(record.get("step", 0))
        for key, value in metric_values(record):
            name = memory.names.get(key)
            if name is None or step <= high[name]:
                return None
            high[name] = step
            points.append(Point(name, step, float(value), milliseconds(record.get("time", 0.0))))
    return points


def _new_mirrored(memory: Memory, want: Wanted) -> list[Point] | None:
    for place, point in memory.mirrored.items():
        other = want.mirrored.get(place)
        if other is None or not _same(other.value, point.value):
            return None
    new = [point for place, point in want.mirrored.items() if place not in memory.mirrored]
    return None if any(point.key in memory.last_step for point in new) else new


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)


# Comparing


def _compare(context: Context, want: Wanted, memory: Memory) -> tuple[Memory, Sent]:
    """Make the store hold exactly the surviving points and params, in a new run if need be."""
    sources = want.observed.sources
    alive = want.observed.facts.alive
    tails = [read_tail(path) for path in (*sources.journals, *sources.system)]
    journals = [tail.records for tail in tails[: len(sources.journals)]]
    system = [tail.records for tail in tails[len(sources.journals) :]]
    names = metric_names(*journals, *system)
    own = points_of(journals, names, alive=alive) | points_of(system, names, alive=False)
    taken = set(names.values())
    points = {place: point for place, point in want.mirrored.items() if point.key not in taken} | own
    extras = Extras()
    for records in journals:
        extras.add(records)
    params = _params(want, extras)
    run, sent = memory.run, Sent()
    missing = _missing(context, run, points, params)
    if missing is None:
        run, missing = _create(context, want, DRAFT), list(points.values())
        sent = Sent(replaced=1)
    _send_params(context, run, params)
    number = context.client.send_points(run.id, sorted(missing, key=lambda p: (p.time_ms, p.step)))
    if run.id != memory.run.id:
        context.client.delete_run(memory.run.id)
        key = {KEY_TAG: f"job/{want.observed.facts.entry.job.id}"}
        context.client.send_tags(run.id, key)
        run = replace(run, tags={**run.tags, **key})
    memory = Memory(
        run=replace(run, metrics=tuple({key for key, _ in points}), params=params.values),
        positions=tuple(tail.end for tail in tails),
        names=names,
        last_step=_last_steps(own, names),
        mirrored=dict(want.mirrored),
        extras=extras,
        files=memory.files if run.id == memory.run.id else {},
        must_compare=alive and (len(journals) > 1 or _said_twice(journals[-1])),
    )
    return memory, sent + Sent(points=number, notes=_unreadable(want, tails))


def _missing(context: Context, run: StoredRun, points: Points, params: Params) -> list[Point] | None:
    """The points that the run lacks; None if it holds something that it must not."""
    if any(params.values.get(key, value) != value for key, value in run.params.items()):
        return None
    stored = context.client.history(run)
    if context.partial:
        own = {key for key, _ in points}
        stored = {place: values for place, values in stored.items() if place[0] in own}
    for place, values in stored.items():
        point = points.get(place)
        if point is None or len(values) != 1 or not _same(point.value, values[0]):
            return None
    return [point for place, point in points.items() if place not in stored]


def _last_steps(points: Points, names: Mapping[str, str]) -> dict[str, int]:
    # A name of which every point is held back was not sent yet: anything may follow.
    result = dict.fromkeys(names.values(), -1)
    for key, step in points:
        result[key] = max(step, result.get(key, step))
    return result


def _said_twice(records: Sequence[Mapping[str, Any]]) -> bool:
    seen: set[tuple[str, int]] = set()
    for record in records:
        for key, _ in metric_values(record):
            place = (key, int(record.get("step", 0)))
            if place in seen:
                return True
            seen.add(place)
    return False


def _unreadable(want: Wanted, tails: Sequence[Tail]) -> tuple[str, ...]:
    number = sum(tail.unreadable for tail in tails)
    if not number:
        return ()
    return (f"{want.observed.run.path}: {number} journal lines are not JSON objects; they were left out",)


# Params, status, tags and artifacts


def _params(want: Wanted, extras: Extras) -> Params:
    config = params_of(want.observed.facts.entry.job.config)
    logged = params_of(extras.params)
    values = dict(config.values)
    for key, value in logged.values.items():
        values[key if values.get(key, value) == value else tracking_name(f"logged.{key}")] = value
    return Params(values, {**logged.texts, **config.texts})


def _params_changed(want: Wanted, memory: Memory) -> bool:
    return dict(_params(want, memory.extras).values) != dict(memory.run.params)


def _send_params(context: Context, run: StoredRun, params: Params) -> None:
    new = {key: value for key, value in params.values.items() if key not in run.params}
    context.client.send_params(run.id, new)


def _finish(context: Context, want: Wanted, memory: Memory, fingerprint: str) -> Sent:
    """Status, then artifacts, then tags with the mark that all of it is there."""
    look, run, client = want.shown, memory.run, context.client
    if context.partial:
        look = replace(look, name=run.name)  # the name depends on the whole sweep, which is not known here
    if (run.status, run.name) != (look.status.value, look.name) or (
        look.end_ms is not None and run.end_ms != look.end_ms
    ):
        client.set_status(run.id, look.status, look.end_ms, look.name if look.name != run.name else None)
        run = replace(run, status=look.status.value, end_ms=look.end_ms, name=look.name)
    tags = {**tags_of(memory.extras.tags), **look.tags}
    if memory.extras.events:
        tags["mlflow.note.content"] = _events_text(memory.extras.events)
    context_name, datasets = datasets_of(want.observed.facts.entry.job)
    new = [d for d in datasets if (d.name, d.digest) not in run.datasets]
    if new:
        client.send_datasets(run.id, new, context_name)
        run = replace(run, datasets=run.datasets | {(d.name, d.digest) for d in new})
    sent, complete, artifacts = _send_artifacts(context, want, memory)
    if artifacts is not None:
        tags[ARTIFACTS_TAG] = artifacts
    if complete:
        tags[SYNCED_TAG] = fingerprint
    changed = {name: value for name, value in tags.items() if run.tags.get(name) != value}
    gone = [name for name in PASSING_TAGS if name in run.tags and name not in tags]
    client.send_tags(run.id, changed, gone)
    kept = {name: value for name, value in run.tags.items() if name not in gone}
    memory.run = replace(run, tags={**kept, **tags})
    if complete:
        memory.fingerprint = fingerprint
    memory.settled = complete and want.observed.facts.state is State.DONE
    return sent


def _events_text(events: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"- **{event.get('name', '')}** {event.get('message', '')}".rstrip() for event in events]
    if len(lines) > EVENTS_SHOWN:
        lines = [f"- {len(lines) - EVENTS_SHOWN} earlier events: see the journal", *lines[-EVENTS_SHOWN:]]
    return tags_of({"note": "\n".join(lines)})["note"]


def _send_artifacts(context: Context, want: Wanted, memory: Memory) -> tuple[Sent, bool, str | None]:
    """(what was sent, whether all of it is there, digest of the files). A store that refuses files must
    not keep the metrics from being sent: that is told and tried again."""
    from manager.tracking.client import TrackingError

    root = want.observed.run.path
    texts = _params(want, memory.extras).texts
    stamps = {place: _stamp(root / place[0]) for place in memory.extras.artifacts}
    notes = [f"{root / place[0]}: logged as an artifact, but not there" for place, s in stamps.items() if s is None]
    present = {place: stamp for place, stamp in stamps.items() if stamp is not None}
    if not present and not texts:
        return Sent(notes=tuple(notes)), True, None
    digest = digest_of([[list(place), list(stamp)] for place, stamp in present.items()] + [dict(texts)])
    if memory.run.tags.get(ARTIFACTS_TAG) == digest:
        return Sent(notes=tuple(notes)), True, None
    number = 0
    try:
        for path, text in texts.items():
            context.client.send_text(memory.run.id, path, text)
        for place, stamp in present.items():
            if memory.files.get(place) != stamp:
                context.client.send_file(memory.run.id, root / place[0], place[1])
                memory.files[place] = stamp
                number += 1
    except TrackingError as error:
        waiting = f"artifacts of {want.shown.name} could not be sent: {error}"
        return Sent(artifacts=number, notes=tuple(notes), waiting=(waiting,)), False, None
    return Sent(artifacts=number, notes=tuple(notes)), True, digest


def _stamp(path: Path) -> Stamp | None:
    """Size and time of a file, or of everything in a folder; None if it is not there."""
    try:
        if not path.is_dir():
            status = path.stat()
            return status.st_size, status.st_mtime_ns
        inside = [file.stat() for file in sorted(path.rglob("*")) if file.is_file()]
        return sum(s.st_size for s in inside), max((s.st_mtime_ns for s in inside), default=0)
    except FileNotFoundError:
        return None
