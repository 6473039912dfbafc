"""The tables of the agents study: matrix, OOD scores, changes out of domain, axes and their correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.axes import axes_table, correlation_table
from experiments.comparison import Comparison
from experiments.effects import records
from experiments.matrix import matrix_table, success_cells
from experiments.ood_change import change_table
from experiments.ood_scores import score_table, scored
from experiments.outcomes import Source
from experiments.study import Study
from experiments.transfer import Arm, Settings
from experiments.variants import CHOICES

NAMES = ("matrix", "ood_scores", "ood_change", "axes", "correlations")


def tables(
    source: Source, final: Comparison, found: Sequence[Arm], effects: pd.DataFrame, study: Study, settings: Settings
) -> dict[str, pd.DataFrame]:
    """All of them; empty for studies that are not about sources and targets."""
    if "matrix" not in study.parts:
        return {name: pd.DataFrame() for name in NAMES}
    cells = success_cells(final, found, settings)
    ranked = scored(cells)
    axes = axes_table(source)
    return {
        "matrix": matrix_table(cells, effects),
        "ood_scores": score_table(ranked, settings.level),
        "ood_change": change_table(found, cells, study, settings),
        "axes": axes,
        "correlations": correlation_table(ranked, axes, final),
    }


def metrics(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """The scores and the changes out of domain by name, for the tracking store. What is undefined is left out."""
    found: dict[str, float] = {}
    for table, names in (("ood_scores", ("ood_score",)), ("ood_change", ("change_percent", "recovered_percent"))):
        varying = [one for one in ("base", *CHOICES) if one in tables[table] and tables[table][one].nunique() > 1]
        for row in records(tables[table]):
            choices = [str(row[name]) for name in varying if row[name]]
            against = [str(row["level"])] if row.get("level") else []
            place = " ".join([*choices, *against, str(row["train_domain"])])
            found |= {f"{name}/{place}": float(row[name]) for name in names if row[name] is not None}
    return found
