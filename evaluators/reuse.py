"""Records that other evaluation jobs of the same store already have: the same samples are not drawn twice.

A sample is the same if everything that decides it is: the weights, engine, prompting and seed of the job, and
version, rows and sampler of the benchmark. How the weights came there is not: a checkpoint is the same by the job
that made it, by its path and as a copy. Then its record is copied, whole, into this job's own directory.

What decides a job's samples is put down before it has any (manager/alike.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluators.plan import Task
from evaluators.records import Key, OutcomeFiles, Record
from manager import alike
from manager.job import IDENTITY_VERSION
from manager.model_folder import digest, files_of
from manager.run import Failed, Run

# Options of engines that decide how fast an answer comes and not which one is drawn.
PLACEMENT = frozenset(
    ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend",
     "gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "batch_size", "kv_cache_gb", "window",
     "concurrency", "retries", "timeout_s", "pause_s")
)  # fmt: skip


def made_by(run: Run) -> dict[str, Any]:
    """What decides the samples of a job: in common, and by benchmark."""
    config = run.config
    common = {
        "identity_version": IDENTITY_VERSION,  # what configs mean
        "model": _weights(run),
        "engine": {key: value for key, value in config["engine"].items() if key not in PLACEMENT},
        "prompting": config.get("prompting"),
        "seed": config["seed"],
        "data_dir": config.get("data_dir"),
    }
    return {"common": common, "benchmarks": {entry["name"]: _asked(entry) for entry in config["benchmarks"]}}


def _weights(run: Run) -> Any:
    """The digest of the files that an engine loads; the name alone where a server has them."""
    if run.config["engine"]["name"] != "openai" and (folder := files_of(*run.model_path())) is not None:
        return digest(folder)
    model = run.config["model"]
    return {**model, "need": run.job.needs[model["need"]]} if "need" in model else model


def _asked(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry.get(key) for key in ("version", "sampler", "data")}


def say(run: Run) -> dict[str, Any]:
    """Put down what decides the job's samples, before it has any; Failed if those it has are of another making."""
    found, before = made_by(run), alike.made_by(run.directory)
    if before is not None and before["common"] != found["common"]:
        changed = ", ".join(key for key, value in found["common"].items() if before["common"].get(key) != value)
        raise Failed(
            f"the records that the job has were made with another {changed}; "
            f"`manager retry {run.directory.id} --from-scratch` sets them aside",
            cause="model_changed",
        )
    alike.enter(run.directory, found)
    return found


def shared(run: Run, tasks: list[Task], have: Mapping[str, Mapping[Key, Record]]) -> Iterator[tuple[str, str, Record]]:
    """(job id, benchmark, record) of every sample that is missing here and known elsewhere, each once."""
    own = say(run)
    missing = {task.name: set(task.keys()) - set(have[task.name]) for task in tasks}
    for directory, other in alike.others(run.directory, own["common"]):
        for name, keys in missing.items():
            if not keys or other["benchmarks"].get(name) != own["benchmarks"][name]:
                continue
            for record in OutcomeFiles(directory.outcomes).finished(name):
                if record.key in keys:
                    keys.remove(record.key)
                    yield directory.id, name, record
