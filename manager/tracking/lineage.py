"""Which job's run shows what of other jobs: models, their training jobs, and mirrored evaluations. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from manager.job import Job, Kind, Sweep, SweepJob, canonical_json


@dataclass(frozen=True)
class Mirror:
    """An evaluation whose metrics appear on a training job's run too."""

    evaluation: str  # job id
    step: int | None  # 0 for the model that training started from; None: the evaluation's own step
    prefix: str = ""  # tells apart several evaluations of the same checkpoints


def training_job(job: Job, jobs: Mapping[str, Job]) -> Job | None:
    """The job whose weights this one starts from or evaluates; None for a published model."""
    model = job.config.get("model")
    if not isinstance(model, Mapping) or "need" not in model:
        return None
    return jobs.get(job.needs[model["need"]])


def root_model(job: Job, jobs: Mapping[str, Job]) -> str | None:
    """The name of the model at the start of a chain of training jobs."""
    parent = training_job(job, jobs)
    if parent is not None:
        return root_model(parent, jobs)
    model = job.config.get("model")
    if not isinstance(model, Mapping) or "need" in model:
        return None
    return str(model.get("name") or model.get("hub") or PurePath(str(model.get("path", "model"))).name)


def model_identity(job: Job) -> str | None:
    """Equal for two jobs that start from or evaluate the same weights."""
    model = job.config.get("model")
    if not isinstance(model, Mapping):
        return None
    if "need" in model:
        return f"{job.needs[model['need']]}@{model.get('checkpoint', 'last')}"
    return canonical_json(model)


def training_domain(job: Job, jobs: Mapping[str, Job]) -> str | None:
    """The domain that the weights were last trained on; None before any training by reinforcement."""
    trained: Job | None = job if job.kind is Kind.RL else training_job(job, jobs)
    if trained is None or trained.kind is not Kind.RL:
        return None
    data = trained.config.get("data")
    named = (data.get("domain") or data.get("name")) if isinstance(data, Mapping) else data
    if isinstance(named, Sequence) and not isinstance(named, str):
        return "+".join(str(name) for name in named)
    return str(named) if named else None


def checkpoint_of(job: Job) -> int | str | None:
    model = job.config.get("model")
    if not isinstance(model, Mapping) or "need" not in model:
        return None
    checkpoint: int | str | None = model.get("checkpoint", "last")
    return checkpoint


def _protocol(job: Job) -> str:
    """What two evaluations must have in common to be points of one line: everything but the model."""
    return canonical_json([job.config.get("benchmarks"), job.config.get("prompting")])


def mirrors(sweep: Sweep) -> dict[str, tuple[Mirror, ...]]:
    """For every training job the evaluations of its checkpoints and of the model it started from."""
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    evaluations = [entry for entry in sweep.jobs if entry.job.kind is Kind.EVALUATE]
    by_trained: dict[str, list[SweepJob]] = {}
    by_model: dict[str, list[SweepJob]] = {}
    for entry in evaluations:
        parent = training_job(entry.job, jobs)
        if parent is not None:
            by_trained.setdefault(parent.id, []).append(entry)
        identity = model_identity(entry.job)
        if identity is not None:
            by_model.setdefault(identity, []).append(entry)
    result: dict[str, tuple[Mirror, ...]] = {}
    for job in jobs.values():
        if job.kind not in (Kind.RL, Kind.SFT):
            continue
        own = by_trained.get(job.id, [])
        before = by_model.get(model_identity(job) or "", [])
        found = _mirrors_of(own, before)
        if found:
            result[job.id] = found
    return result


def _mirrors_of(own: Sequence[SweepJob], before: Sequence[SweepJob]) -> tuple[Mirror, ...]:
    prefixes = _prefixes(own or before)
    found = [Mirror(entry.job.id, None, prefixes[_protocol(entry.job)]) for entry in own]
    seen: set[str] = set()
    for entry in before:
        protocol = _protocol(entry.job)
        if protocol in prefixes and protocol not in seen:
            seen.add(protocol)
            found.append(Mirror(entry.job.id, 0, prefixes[protocol]))
    return tuple(found)


def _prefixes(entries: Sequence[SweepJob]) -> dict[str, str]:
    """No prefix for a single protocol; else the stage, and labels that differ where that is not enough."""
    first: dict[str, SweepJob] = {}
    for entry in entries:
        first.setdefault(_protocol(entry.job), entry)
    if len(first) <= 1:
        return dict.fromkeys(first, "")
    stages = [entry.stage for entry in first.values()]
    varying = [
        key
        for key in dict.fromkeys(key for entry in first.values() for key in entry.labels)
        if len({str(entry.labels.get(key)) for entry in first.values()}) > 1
    ]
    result = {}
    for number, (protocol, entry) in enumerate(first.items(), 1):
        name = entry.stage
        if stages.count(entry.stage) > 1:
            labels = " ".join(f"{key}:{entry.labels[key]}" for key in varying if key in entry.labels)
            name = f"{entry.stage} {labels or number}"
        result[protocol] = f"{name}/"
    return result
