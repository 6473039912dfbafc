"""From the tidy table to the tables of a report. Computes; writes nothing and words nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from experiments import agent_tables, more_scores, supplements, tabulate, transferability
from experiments.comparison import Comparison, compare
from experiments.controls import negative_controls
from experiments.effects import effect_table, effects
from experiments.outcomes import Source, require_rows
from experiments.study import Study
from experiments.transfer import Settings, arms, chosen_units
from experiments.variants import named, plain_first


@dataclass(frozen=True)
class Analysis:
    """Everything a report says, as numbers. Changes are in percentage points."""

    sweep: str
    study: Study
    settings: Settings
    comparison: Comparison  # the checkpoints that stand for every run, usually the last
    tables: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...]

    def effects(self, kind: str, weighting: str | None = None) -> pd.DataFrame:
        """The changes of one kind, by the headline's weighting unless told otherwise."""
        table = self.tables["effects"]
        wanted = weighting or ("items" if kind == "benchmark" else self.settings.weighting)
        return table[(table["kind"] == kind) & (table["weighting"] == wanted)]


def analyse(source: Source, frame: pd.DataFrame, study: Study, settings: Settings) -> Analysis:
    """All tables of one sweep, as far as it has run. A table without rows says that nothing could be computed."""
    require_rows(frame, source.sweep)
    settings = replace(
        settings, control=study.control or settings.control, checkpoints=settings.checkpoints or study.checkpoints
    )
    everything = compare(frame, control=settings.control, include_unfinished=settings.include_unfinished)
    everything = replace(everything, units=named(everything.units))
    if any(len({everything.units[u].prompting for u in arm.units}) > 1 for arm in arms(everything.units, study.arm)):
        study = replace(study, arm=(*study.arm, "prompting"))  # ways of asking are no replicates of each other
    final = everything.only(chosen_units(everything.units, settings.checkpoints))
    found = plain_first(arms(final.units, study.arm))
    changes = effects(final, found, study, settings)
    models = tabulate.models(final)
    scores, task_scores = more_scores.tables(source)
    dynamics, forgetting = supplements.forgetting_tables(everything, source.store, study, settings)
    tables = {
        "effects": changes,
        **agent_tables.tables(source, final, found, changes, study, settings),
        "trajectory": supplements.trajectory(everything, study, settings),
        "contrasts": supplements.contrasts(final, found, study, settings),
        "stages": supplements.stages(frame, study, settings),
        "models": models,
        "odds": tabulate.odds(final, found, settings),
        "mixed": supplements.mixed_effects(final, found, settings),
        "transferability": transferability.table(models, settings.transferability_floor),
        "dynamics": dynamics,
        "forgetting": forgetting,
        "reasoning": supplements.reasoning(frame, study, settings),
        "controls": effect_table(negative_controls(frame, settings), settings),
        "answers": tabulate.answers(frame),
        "more_scores": scores,
        "task_scores": task_scores,
        "data": tabulate.data(frame, settings),
        "pairs": supplements.pairs(source, final),
        "missing": tabulate.missing(source.evaluations),
    }
    return Analysis(source.sweep, study, settings, final, tables, everything.notes)
