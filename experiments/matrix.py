"""Success of every source in every target environment, and of the starting checkpoints: levels, not changes. Pure.

A level is estimated by the same bootstrap as a change, as the change from nothing: tasks and training runs are drawn
together for all cells, so that ranks and sums over cells can be made draw by draw. A starting checkpoint is a model
and no training run: it has a spread over tasks only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.bootstrap import Estimand, Estimate, estimate
from experiments.comparison import Comparison, Floats, Paired, Unit
from experiments.transfer import Arm, Settings, arm_weights, strata

START = "starting checkpoint"
OF_START = ("base", "warmup", "prompting")  # what of an arm was there before its training


@dataclass(frozen=True)
class Cell:
    """Success of one arm, or of a starting checkpoint (`source` is then empty), in one environment."""

    group: Mapping[str, str]
    source: str
    trained_on: tuple[str, ...]
    start: str  # the identity of the starting checkpoint
    target: str
    success: Estimate  # 0 to 1, with its draws

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(self.group.values())

    @property
    def inside(self) -> bool:
        return self.target in self.trained_on

    @property
    def percent(self) -> float | None:
        return None if self.success.value is None else 100 * self.success.value

    @property
    def draws(self) -> Floats | None:
        """In percent; None where the success is not known, a constant where nothing is known of its spread."""
        if self.percent is None or self.success.draws is not None:
            return None if self.success.draws is None else 100 * self.success.draws
        return np.array([self.percent])


def success_cells(final: Comparison, found: Sequence[Arm], settings: Settings) -> list[Cell]:
    """Every arm and every starting checkpoint in every environment."""
    if not final.units or not final.benchmarks:
        return []
    levels, starts = _levels(final, found)
    everyone = [*found, *starts.values()]
    places = {t: [i for i, b in enumerate(final.benchmarks) if b.domain == t] for t in final.domains}
    heads: list[tuple[Arm, str]] = [(arm, target) for arm in everyone for target in places]
    estimands = []
    for arm, target in heads:
        weights = arm_weights(levels, arm, places[target], "items")
        estimands.append(Estimand({}, weights if weights is not None else np.zeros(_shape(levels))))
    results = estimate(
        levels, estimands, strata(levels, found), replicates=settings.replicates, level=settings.level,
        seed=settings.seed, keep_draws=True,
    )  # fmt: skip
    return [
        Cell(
            arm.group, arm.train_domain, levels.units[arm.units[0]].train_domains if arm.train_domain else (),
            _start(final, arm) if arm.train_domain else levels.units[arm.units[0]].model, target, result,
        )
        for (arm, target), result in zip(heads, results, strict=True)
    ]  # fmt: skip


def _shape(comparison: Comparison) -> tuple[int, int]:
    return len(comparison.units), len(comparison.benchmarks)


def _start(final: Comparison, arm: Arm) -> str:
    """The starting checkpoint of an arm, by the identity of what was evaluated; empty where there is none."""
    controls = [b.control_model[unit] for b in final.benchmarks for unit in arm.units if b.control_model[unit]]
    return controls[0] if controls else ""


def _levels(final: Comparison, found: Sequence[Arm]) -> tuple[Comparison, dict[str, Arm]]:
    """The comparison of every unit with nothing, one unit added for each starting checkpoint; and those as arms."""
    places: dict[str, int] = {}
    starts: dict[str, Arm] = {}
    added: list[Unit] = []
    for arm in found:
        start = _start(final, arm)
        if start and start not in starts:
            places[start] = arm.units[0]
            kept = (*OF_START, *(["thinking"] if arm.group.get("thinking") and arm.group["thinking"] in start else []))
            group = {name: value if name in kept else "" for name, value in arm.group.items()}
            starts[start] = Arm(group, "", (len(final.units) + len(added),))
            unit = final.units[arm.units[0]]
            added.append(replace(unit, model=start, name=unit.base, run="", train_domain="", train_domains=()))
    benchmarks = tuple(_with_starts(benchmark, list(places.items())) for benchmark in final.benchmarks)
    return Comparison((*final.units, *added), benchmarks, ()), starts


def _with_starts(benchmark: Paired, places: Sequence[tuple[str, int]]) -> Paired:
    """`benchmark` with columns for the starting checkpoints, from the units that they are the control of."""
    columns = [_column(benchmark, start, place) for start, place in places]
    none = np.zeros((len(benchmark.items), 0))
    total = np.concatenate([benchmark.trained_sum, *[c for c, _ in columns], none], axis=1)
    count = np.concatenate([benchmark.trained_count, *[c for _, c in columns], none], axis=1)
    return replace(
        benchmark, trained_sum=total, trained_count=count, control_sum=np.zeros_like(total),
        control_count=np.ones_like(count), control_model=("",) * total.shape[1],
    )  # fmt: skip


def _column(benchmark: Paired, start: str, place: int) -> tuple[Floats, Floats]:
    units = [u for u, control in enumerate(benchmark.control_model) if control == start]
    if not units:
        empty = np.zeros((len(benchmark.items), 1))
        return empty, empty
    chosen = place if place in units else units[0]
    return benchmark.control_sum[:, [chosen]], benchmark.control_count[:, [chosen]]


def matrix_table(cells: Iterable[Cell], effects: pd.DataFrame) -> pd.DataFrame:
    """The matrix as a table: success with its interval, and beside it the change against the starting checkpoint."""
    changes: dict[tuple[str, ...], Mapping[Any, Any]] = {}
    rows = []
    for cell in cells:
        if not changes and len(effects):
            names = (*cell.group, "train_domain", "evaluated")
            chosen = effects[(effects["kind"] == "cell") & (effects["weighting"] == "items")]
            changes = {tuple(str(r[n]) for n in names): r for r in chosen.to_dict("records")}
        change = changes.get((*cell.key, cell.source, cell.target), {}) if cell.source else {}
        rows.append({
            **cell.group, "train_domain": cell.source or None, "evaluated": cell.target,
            "in_domain": cell.inside if cell.source else None, **_interval(cell.success),
            **{name: change.get(name) for name in ("delta_points", "low_points", "high_points", "p_holm", "verdict")},
            "n_items": cell.success.counts.items, "n_samples": cell.success.counts.samples,
            "n_seeds": cell.success.counts.seeds if cell.source else None,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _interval(success: Estimate) -> dict[str, float | None]:
    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * min(max(value, 0.0), 1.0)

    return {
        "success_percent": percent(success.value), "low_percent": percent(success.low),
        "high_percent": percent(success.high),
    }  # fmt: skip
