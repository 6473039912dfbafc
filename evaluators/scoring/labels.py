"""Figures over many label judgements: balanced accuracy, as LegalBench reports it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping


def balanced_accuracy(pairs: Iterable[tuple[str, str | None]]) -> float | None:
    """Mean over the gold labels of the share answered right; None where there is no pair.

    `pairs` are (gold, answer), compared without case and punctuation; no answer (None) is a wrong one.
    """
    right: dict[str, int] = defaultdict(int)
    seen: dict[str, int] = defaultdict(int)
    for gold, answer in pairs:
        label = normal(gold)
        seen[label] += 1
        right[label] += answer is not None and normal(answer) == label
    if not seen:
        return None
    return sum(right[label] / seen[label] for label in seen) / len(seen)


def balanced_accuracy_by_task(
    records: Iterable[tuple[str, str, str | None]],
) -> tuple[Mapping[str, float], float | None]:
    """Per task, and the mean over tasks (None without any), from (task, gold, answer)."""
    by_task: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for task, gold, answer in records:
        by_task[task].append((gold, answer))
    figures = {task: value for task, pairs in by_task.items() if (value := balanced_accuracy(pairs)) is not None}
    return figures, (sum(figures.values()) / len(figures) if figures else None)


def normal(text: str) -> str:
    """Letters and digits in lower case, words kept apart by one space."""
    kept = "".join(character for character in text.lower() if character.isalnum() or character.isspace())
    return " ".join(kept.split())
