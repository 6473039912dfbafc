"""The tables beside the main ones: trajectories, contrasts, stages, sensitivity, dynamics, reasoning, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments import dynamics
from experiments.comparison import Comparison, compare
from experiments.contrasts import contrast_estimands, trend_estimands
from experiments.effects import judged
from experiments.mixed import item_counts, mixed_odds
from experiments.outcomes import Source
from experiments.pairs import pairs_of, sizes
from experiments.power import adjust
from experiments.reasoning import Strategy
from experiments.study import Study
from experiments.trajectory import at_steps, common_steps, trajectory_estimands
from experiments.transfer import Arm, Settings, arm_estimands, arms, chosen_units, sides
from experiments.variants import named
from manager.store import Store

REASONING_REPLICATES = 2_000  # six kinds by arm and domain: enough for intervals, a fifth of the time


def trajectory(everything: Comparison, study: Study, settings: Settings) -> pd.DataFrame:
    """Both sides and their gap by step, and the slopes; empty without two common steps."""
    steps = common_steps(everything)
    if len(steps) < 2:
        return pd.DataFrame()
    kept = at_steps(everything, steps)
    estimands = trajectory_estimands(kept, steps, study.arm, settings)
    return judged(kept, estimands, arms(kept.units, study.arm), settings)


def contrasts(final: Comparison, found: Sequence[Arm], study: Study, settings: Settings) -> pd.DataFrame:
    """The levels of each of the study's factors against each other."""
    if not study.compare or not final.benchmarks:
        return pd.DataFrame()
    estimands = []
    for factor in study.compare:
        known = sizes() if factor == "base" else {}
        estimands += contrast_estimands(final, found, factor, settings, known)
        if factor == "base":
            estimands += trend_estimands(final, found, known, settings)
    return judged(final, estimands, found, settings)


def stages(frame: pd.DataFrame, study: Study, settings: Settings) -> pd.DataFrame:
    """What each stage of a cascade changed, against the stage before it, by domain."""
    if "stages" not in study.parts:
        return pd.DataFrame()
    whole = compare(frame, control="root", include_unfinished=settings.include_unfinished)
    single = compare(frame, control="parent", include_unfinished=settings.include_unfinished)
    # The path names the arm, so that "code after math" and "code alone" are two; the parent is the control.
    paths = {unit.model: unit.train_domain for unit in whole.units}
    units = tuple(replace(unit, train_domain=paths[unit.model]) for unit in single.units)
    labelled = Comparison(units, single.benchmarks, single.notes)
    final = labelled.only(chosen_units(labelled.units, settings.checkpoints))
    if not final.units or not final.benchmarks:
        return pd.DataFrame()
    found = arms(final.units, study.arm)
    chosen = [e for e in arm_estimands(final, found, settings) if e.labels["kind"] == "cell"]
    table = judged(final, chosen, found, settings)
    return table[table["weighting"] == settings.weighting]


def mixed_effects(final: Comparison, found: Sequence[Arm], settings: Settings) -> pd.DataFrame:
    """Odds ratios with random items, by arm and side."""
    if not settings.mixed_effects:
        return pd.DataFrame()
    rows: list[dict[str, Any]] = []
    for arm in found:
        for side, indexes in sides(final, arm, settings.in_domain).items():
            counts = item_counts(final, arm, indexes)
            if counts is not None:
                fitted = mixed_odds(counts, settings.level)
                head = {**arm.group, "train_domain": arm.train_domain, "evaluated": side}
                rows.append(head | asdict(fitted) | {"n_seeds": len({final.units[u].run for u in arm.units})})
    table = pd.DataFrame(rows)
    return table.rename(columns={"ratio": "mixed_odds_ratio", "p": "mixed_p"})


def forgetting_tables(
    everything: Comparison, store: Store, study: Study, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(what was logged by checkpoint, the regression of the change outside on KL)."""
    if not everything.units or not everything.benchmarks:
        return pd.DataFrame(), pd.DataFrame()
    logged = dynamics.dynamics(
        everything, arms(everything.units, study.arm), store, settings.in_domain, settings.weighting
    )
    if logged.empty or logged[list(dynamics.LOGGED)].isna().all(axis=None):
        return pd.DataFrame(), pd.DataFrame()
    return logged, pd.DataFrame([asdict(dynamics.forgetting(logged, settings.level))])


def reasoning(frame: pd.DataFrame, study: Study, settings: Settings) -> pd.DataFrame:
    """Shares of answers that show each kind of reasoning, base and trained, and their change."""
    if "strategies" not in frame or frame["strategies"].isna().all():
        return pd.DataFrame()
    seen = frame[frame["strategies"].notna()]
    kinds = seen["strategies"].cat.categories
    parts = []
    for kind in Strategy:
        shows = np.array([kind.value in str(category).split("+") for category in kinds], dtype=float)
        values = shows[seen["strategies"].cat.codes.to_numpy()]
        compared = compare(
            seen.assign(value=values), control=settings.control, include_unfinished=settings.include_unfinished
        )
        compared = replace(compared, units=named(compared.units))
        final = compared.only(chosen_units(compared.units, settings.checkpoints))
        if final.units and final.benchmarks:
            parts.append(_reasoning_rows(kind, final, study, settings))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if not table.empty:
        known = [None if pd.isna(p) else float(p) for p in table["p"]]
        table["p_holm"] = pd.Series(adjust(known, "holm"), dtype="float64")
    return table


def _reasoning_rows(kind: Strategy, final: Comparison, study: Study, settings: Settings) -> pd.DataFrame:
    found = arms(final.units, study.arm)
    chosen = [
        e
        for e in arm_estimands(final, found, settings)
        if e.labels["kind"] == "cell" and e.labels["weighting"] == settings.weighting
    ]
    fewer = replace(settings, replicates=min(settings.replicates, REASONING_REPLICATES))
    table = judged(final, chosen, found, fewer)
    rates = [_rates(final, e.weights) for e in chosen]
    table.insert(0, "strategy", kind.value)
    table["base_percent"] = [base for base, _ in rates]
    table["trained_percent"] = [trained for _, trained in rates]
    return table


def _rates(final: Comparison, weights: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    base = np.nan_to_num(np.stack([b.rate("control") for b in final.benchmarks], axis=1))
    trained = np.nan_to_num(np.stack([b.rate("trained") for b in final.benchmarks], axis=1))
    return 100 * float((weights * base).sum()), 100 * float((weights * trained).sum())


def pairs(source: Source, final: Comparison) -> pd.DataFrame:
    """The published models that were compared, with where each pair comes from."""
    named = {unit.name for unit in final.units if unit.algorithm == "published"}
    rows = [asdict(pair) for pair in pairs_of(source.settings) if pair.model in named]
    return pd.DataFrame(rows).map(lambda v: " + ".join(v) if isinstance(v, tuple) else v)
