"""A job and its identity: the digest of what decides its result. Pure: no disk, clock or environment.

The id covers the kind, the fully resolved config and the ids of what the job needs. Resources, names,
paths and tracking are not part of it: two sweeps that need the same baseline share one job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

# Raised when the meaning of a config changes without its text changing: every id changes with it.
IDENTITY_VERSION = 1
ID_LENGTH = 16


class Kind(StrEnum):
    SFT = "sft"
    RL = "rl"
    EVALUATE = "evaluate"
    SAMPLE = "sample"
    COLLECT = "collect"
    PROBE = "probe"
    REPORT = "report"


class State(StrEnum):
    """What is known of a job now. Derived from the run directory and the scheduler, never stored."""

    WAITING = "waiting"  # a needed job has no result yet
    READY = "ready"  # could be submitted
    QUEUED = "queued"  # the scheduler holds it
    RUNNING = "running"  # an attempt is alive
    DONE = "done"  # the terminal record is there
    FAILED = "failed"  # the last attempt failed, and nothing will retry it by itself
    INTERRUPTED = "interrupted"  # the last attempt stopped or vanished; it will be resumed
    BLOCKED = "blocked"  # a needed job failed
    CANCELLED = "cancelled"  # by the user
    UNKNOWN = "unknown"  # a witness could not be asked


@dataclass(frozen=True)
class Resources:
    """What a job asks of the machine. Not part of the identity; micro_batch only splits the same batch."""

    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int | None = None  # default: one per GPU, at least one
    cpus_per_task: int | None = None  # default: the site's, or the scheduler's
    memory_gb: float | None = None
    time_min: int | None = None  # default: the site's
    micro_batch: int | None = None  # completions (or examples) per device and forward pass
    slurm: Mapping[str, Any] = field(default_factory=dict)  # passed to submitit unchanged
    environment_processes: int | None = None  # that slow environments of one kind share, for each process of the job
    files: Mapping[str, str] = field(default_factory=dict)  # where content is that the config names by its digest
    starts_with: int | None = None  # the step of needs[0] whose saved weights suffice to start; None: its result

    server_gpus: int = 0  # the last of them run the server that generates, and do not train

    @property
    def tasks(self) -> int:
        """The number of processes on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def world_size(self) -> int:
        return self.nodes * self.tasks

    @property
    def training_processes(self) -> int:
        return self.world_size - self.server_gpus


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """What identifies a JSON value, in as many digits as a job's id."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:ID_LENGTH]


class _NotRead(Mapping[str, Any]):
    """In the place of a config that nobody read: any use of it is a mistake of the program, and told."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(f"job {self._job_id} was read without its config; Store.read_sweep reads it")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError(f"job {self._job_id} was read without its config; Store.read_sweep reads it")

    def __len__(self) -> int:
        raise RuntimeError(f"job {self._job_id} was read without its config; Store.read_sweep reads it")


@dataclass(frozen=True)
class Job:
    """One unit of work. `config` holds JSON values only; `needs` are ids, in the order config refers to them."""

    kind: Kind
    config: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources, compare=False)

    @cached_property
    def id(self) -> str:
        return digest_of([IDENTITY_VERSION, self.kind.value, self.config, list(self.needs)])

    def to_json(self) -> dict[str, Any]:
        return {
            "identity_version": IDENTITY_VERSION,
            "id": self.id,
            "kind": self.kind.value,
            "config": self.config,
            "needs": list(self.needs),
            "resources": asdict(self.resources),
        }

    def shard(self, index: int, of: int) -> Job:
        """One of `of` evaluations that share the items of this one; one of one is the evaluation itself."""
        return self if of == 1 else replace(self, config={**self.config, "shard": {"index": index, "of": of}})

    def whole(self) -> Job:
        """The evaluation that a shard is a part of; any other job is its own."""
        if "shard" not in self.config:
            return self
        return replace(self, config={key: value for key, value in self.config.items() if key != "shard"})

    def shards(self) -> list[Job]:
        """All jobs that share the items of this one's evaluation, in the order of their indexes."""
        whole, of = self.whole(), self.config.get("shard", {"of": 1})["of"]
        return [whole.shard(index, of) for index in range(of)]

    @staticmethod
    def outline(job_id: str, kind: Kind, needs: tuple[str, ...], resources: Resources) -> Job:
        """A job as a sweep's record tells it, for whoever only asks for states: its config is not read."""
        job = Job(kind, _NotRead(job_id), needs, resources)
        job.__dict__["id"] = job_id  # what `id` would have computed from the config
        return job

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Job:
        return Job(
            kind=Kind(value["kind"]),
            config=value["config"],
            needs=tuple(value["needs"]),
            resources=Resources(**value["resources"]),
        )


@dataclass(frozen=True)
class SweepJob:
    """A job's place in one sweep: the stage it belongs to and the matrix values that decide it."""

    stage: str
    labels: Mapping[str, Any]
    job: Job

    @property
    def title(self) -> str:
        labels = " ".join(f"{key}={value}" for key, value in self.labels.items())
        return f"{self.stage} {labels}".strip()


@dataclass(frozen=True)
class Sweep:
    """An expanded sweep: its jobs in an order in which every job comes after what it needs."""

    name: str
    study: str | None
    jobs: tuple[SweepJob, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # tracking, cluster, budget: not identity
    text: str = ""  # the fully merged sweep as YAML, for the record

    def by_id(self) -> dict[str, SweepJob]:
        return {entry.job.id: entry for entry in self.jobs}
