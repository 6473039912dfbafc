"""What a study is: its question, what counts as one arm, and which analyses and figures answer it.

Import-light: the control plane reads the names from here to validate a sweep. A study is a module of this
package that defines `STUDY`; it is found by reading the file, so that naming one loads nothing.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from manager.errors import UserError


@dataclass(frozen=True)
class Study:
    """One way to ask whether training transfers. `arm`: what, beside the training domain, makes an arm."""

    name: str
    title: str
    question: str
    arm: tuple[str, ...] = ("base", "algorithm", "reward")
    models_are_replicates: bool = False  # averages are over a population of models, not over seeds
    parts: tuple[str, ...] = ("transfer", "cells", "benchmarks")  # sections of the report, in order
    control: str | None = None  # parent or root, where the study fixes it
    compare: tuple[str, ...] = ()  # attributes whose levels are set against each other, one at a time
    checkpoints: int = 1  # how many of a run's last evaluated checkpoints are averaged

    @property
    def leads_with_extras(self) -> bool:
        """Whether what the study is about lies beside the averages: a contrast, a course, a stage."""
        return bool(self.parts) and self.parts[0] in ("contrasts", "trajectory", "stages", "matrix")


@cache
def names() -> tuple[str, ...]:
    """Every study there is, without importing any."""
    folder = Path(__file__).parent
    marker = re.compile(r"^STUDY\b.*= Study\(", re.MULTILINE)
    return tuple(sorted(p.stem for p in folder.glob("*.py") if marker.search(p.read_text(encoding="utf-8"))))


def get(name: str) -> Study:
    """The study of that name; an unknown one is told with those that exist."""
    if name not in names():
        raise UserError(f"unknown study {name!r}; there are: {', '.join(names())}")
    found: Study = importlib.import_module(f"experiments.{name}").STUDY
    return found
