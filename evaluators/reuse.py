"""Records that other evaluation jobs of the same store already have: the same samples are not drawn twice.

A sample is the same if everything that decides it is: the model, engine, prompting and seed of the job, and
version, data and sampler of the benchmark. Then its record is copied, whole, into this job's own directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluators.plan import Task
from evaluators.records import Key, OutcomeFiles, Record
from manager.atomic import read_json
from manager.job import Job, Kind, canonical_json
from manager.run import Run
from manager.store import RunDirectory


def job_key(job: Job) -> str:
    """What all samples of a job have in common. A model that a job made is known by that job's id."""
    model = dict(job.config["model"])
    if "need" in model:
        model["need"] = job.needs[model["need"]]
    parts = [model, job.config["engine"], job.config.get("prompting"), job.config["seed"], job.config.get("data_dir")]
    return canonical_json(parts)


def benchmark_key(entry: Mapping[str, Any]) -> str:
    return canonical_json([entry["name"], entry["version"], entry["sampler"], entry.get("data")])


def other_jobs(run: Run) -> Iterator[tuple[RunDirectory, Job]]:
    """The other evaluation jobs of the store that have outcomes and ask the same of the same model."""
    own = job_key(run.job)
    for folder in sorted(run.path.parent.iterdir()):
        if folder.name == run.path.name or not (folder / "outcomes").is_dir():
            continue
        value = read_json(folder / "job.json")
        if value is not None and value["kind"] == Kind.EVALUATE and value["identity_version"] == identity(run):
            job = Job.from_json(value)
            if job_key(job) == own:
                yield RunDirectory(folder), job


def identity(run: Run) -> int:
    """The version of what configs mean: equal text of another version is not the same."""
    return int(run.job.to_json()["identity_version"])


def shared(run: Run, tasks: list[Task], have: Mapping[str, Mapping[Key, Record]]) -> Iterator[tuple[str, str, Record]]:
    """(job id, benchmark, record) of every sample that is missing here and known elsewhere, each once."""
    own = {entry["name"]: benchmark_key(entry) for entry in run.config["benchmarks"]}
    missing = {task.name: set(task.keys()) - set(have[task.name]) for task in tasks}
    for directory, job in other_jobs(run):
        for entry in job.config["benchmarks"]:
            name = entry["name"]
            if own.get(name) != benchmark_key(entry) or not missing[name]:
                continue
            for record in OutcomeFiles(directory.outcomes).finished(name):
                if record.key in missing[name]:
                    missing[name].remove(record.key)
                    yield directory.id, name, record
