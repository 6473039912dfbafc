"""Figures over many label judgements: balanced accuracy, as LegalBench reports it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import fsum
from typing import Any


def balanced_accuracy(judged: Iterable[tuple[str, float]]) -> float | None:
    """Mean over the gold labels of the share answered right; None where nothing was judged.

    `judged` are (gold, score of an answer); gold labels are the same without case and punctuation.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for gold, score in judged:
        scores[normal(gold)].append(score)
    shares = [fsum(values) / len(values) for values in scores.values()]
    return fsum(shares) / len(shares) if shares else None


def scores_by_task(judged: Iterable[tuple[str, str, float]]) -> dict[str, Any]:
    """Balanced accuracy as a mean over tasks, and both scores of each task, from (task, gold, score)."""
    by_task: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for task, gold, score in judged:
        by_task[task].append((gold, score))
    tasks = {
        task: {
            "samples": len(pairs),
            "exact_match": fsum(score for _, score in pairs) / len(pairs),
            "balanced_accuracy": balanced_accuracy(pairs),
        }
        for task, pairs in sorted(by_task.items())
    }
    means = {
        name: fsum(one[name] for one in tasks.values()) / len(tasks) if tasks else None
        for name in ("exact_match", "balanced_accuracy")
    }
    return {
        "balanced_accuracy": means["balanced_accuracy"],
        "exact_match_by_task": means["exact_match"],
        "tasks": tasks,
    }


def normal(text: str) -> str:
    """Letters and digits in lower case, words kept apart by one space."""
    kept = "".join(character for character in text.lower() if character.isalnum() or character.isspace())
    return " ".join(kept.split())
