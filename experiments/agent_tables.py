"""The tables of the agents study: matrix, OOD scores, changes out of domain, axes and their correlations."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from experiments.axes import axes_table, correlation_table
from experiments.comparison import Comparison
from experiments.matrix import matrix_table, success_cells
from experiments.ood_change import change_table
from experiments.ood_scores import score_table, scored
from experiments.outcomes import Source
from experiments.study import Study
from experiments.transfer import Arm, Settings

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
