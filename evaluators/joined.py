"""The result of an evaluation whose items several jobs share: from the records of all of them, never of some.

Reads run directories; writes nothing. A partial score would be that of another selection of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluators import benchmarks
from evaluators.records import Key, OutcomeFiles, Record
from evaluators.summary import benchmark_summary, more_scores
from manager.store import RunDirectory


def joined_result(shards: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """The result that the unsharded job would have; None while a shard is missing."""
    results = [shard.result() for shard in shards]
    done = [result for result in results if result is not None]
    if not done or len(done) != len(results):
        return None
    config = shards[0].job().config
    summaries: dict[str, dict[str, Any]] = {}
    for entry in config["benchmarks"]:
        records: dict[Key, Record] = {}
        golds: dict[str, str | None] = {}
        for shard in shards:
            for one in OutcomeFiles(shard.outcomes).finished(entry["name"]):
                records[one.key] = one.slim()
                golds[one.item] = one.gold
        name, every, samples = entry["name"], list(records.values()), entry["sampler"]["samples"]
        summaries[name] = benchmark_summary(every, entry["domain"], entry.get("subdomain"), samples)
        summaries[name] |= more_scores(benchmarks.get(name), every, golds)
    return {
        "outcome": "done",
        "finished": max(float(result["finished"]) for result in done),
        "benchmarks": summaries,
        "model_step": done[0].get("model_step"),
    }
