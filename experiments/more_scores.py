"""Scores that a benchmark reports beside pass@1, from the results of finished evaluations: as tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from experiments.outcomes import Source
from manager.shards import evaluation_result

COLUMNS = ("name", "arm", "base", "train_domain", "algorithm", "seed", "step", "benchmark")
SCORES = ("score", "percent", "n_tasks")
TASK_SCORES = ("task", "exact_match_percent", "balanced_accuracy_percent", "n_samples")


def tables(source: Source) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row for each further score of a model on a benchmark, one for each of its tasks)."""
    rows: list[dict[str, Any]] = []
    by_task: list[dict[str, Any]] = []
    seen: set[str] = set()
    for one in source.evaluations:
        whole = one.job.whole().id
        if whole in seen or not one.finished:
            continue  # the shards of an evaluation have one result together
        seen.add(whole)
        judged = one.subject
        named = {
            "name": judged.name, "arm": judged.arm, "base": judged.base, "train_domain": judged.train_domain,
            "algorithm": judged.algorithm, "seed": judged.seed, "step": judged.step,
        }  # fmt: skip
        for benchmark, summary in ((evaluation_result(source.store, one.job) or {}).get("benchmarks") or {}).items():
            more = summary.get("more_scores") or {}
            tasks = more.get("tasks") or {}
            for score, value in more.items():
                if score != "tasks" and value is not None:
                    percent = {"score": score.replace("_", " "), "percent": 100 * value, "n_tasks": len(tasks)}
                    rows.append({**named, "benchmark": benchmark, **percent})
            for task, scores in tasks.items():
                by_task.append(
                    {
                        **named, "benchmark": benchmark, "task": task,
                        "exact_match_percent": 100 * scores["exact_match"],
                        "balanced_accuracy_percent": 100 * scores["balanced_accuracy"],
                        "n_samples": scores["samples"],
                    }
                )  # fmt: skip
    return (
        pd.DataFrame(rows, columns=[*COLUMNS, *SCORES]),
        pd.DataFrame(by_task, columns=[*COLUMNS, *TASK_SCORES]),
    )
