"""Which changes are asked about: cells, in-domain and out-of-domain averages, gaps and slopes. Pure.

Δ on a set of benchmarks is the mean of their changes of pass@1, weighted by items (the published form) or
equally (macro). An arm is all runs that differ in their seed only; an average over arms gives each arm
the same weight. A benchmark that one run of an arm lacks is left out for the whole arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from experiments.bootstrap import Estimand
from experiments.comparison import Comparison, Floats, Paired, Unit
from manager.errors import UserError

WEIGHTINGS = ("items", "benchmarks")
ID, OOD, GAP = "in-domain", "out-of-domain", "gap"


@dataclass(frozen=True)
class Settings:
    """What an analysis can be told: the keys of `settings:` in a report stage."""

    in_domain: str = "domain"  # or subdomain: law, finance, medicine, tables
    weighting: str = "items"  # of the headline; the other one stands beside it
    replicates: int = 10_000
    level: float = 0.95
    margin_points: float = 2.0  # changes smaller than this count as none in the equivalence test
    power: float = 0.8
    seed: int = 0
    control: str = "parent"  # or root
    include_unfinished: bool = False
    mixed_effects: bool = True  # the mixed-effects sensitivity analysis
    reasoning_items: int = 200  # items a benchmark whose answers are classified; 0 skips it
    transferability_floor: float = 0.1
    checkpoints: int | list[int] = 0  # averaged: the last so many evaluated, or these steps; 0: as the study says

    @staticmethod
    def of(values: Mapping[str, object]) -> Settings:
        """Settings from a mapping; unknown keys and values are told with the valid ones."""
        known = [f.name for f in fields(Settings)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(f"report settings: unknown key {unknown[0]!r}; valid are {', '.join(known)}")
        made = Settings(**values)  # type: ignore[arg-type]  # checked key by key just below
        for key, valid in _CHOICES.items():
            if getattr(made, key) not in valid:
                raise UserError(f"report settings: {key}: {getattr(made, key)!r}; valid are {', '.join(valid)}")
        for field in fields(Settings):
            value, default = getattr(made, field.name), field.default
            if field.name == "checkpoints":
                continue
            wrong = isinstance(value, bool) != isinstance(default, bool) or not isinstance(
                value, (int, float) if isinstance(default, float) else type(default)
            )
            if wrong:
                raise UserError(
                    f"report settings: {field.name}: {value!r} is no {type(default).__name__}; "
                    f"the default is {default!r}"
                )
        _check_checkpoints(made.checkpoints)
        if not 0 < made.level < 1 or not 0 < made.power < 1 or made.replicates < 100:
            raise UserError("report settings: level and power lie between 0 and 1, replicates from 100 on")
        return made


def _check_checkpoints(value: object) -> None:
    listed = value if isinstance(value, list) else [value]
    if not listed or any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in listed):
        raise UserError(
            f"report settings: checkpoints: {value!r}; write how many of the last evaluated ones are averaged, "
            "or a list of steps"
        )


_CHOICES = {
    "in_domain": ("domain", "subdomain"),
    "weighting": WEIGHTINGS,
    "control": ("parent", "root"),
}


@dataclass(frozen=True)
class Arm:
    """The runs that differ in their seed only, at one checkpoint."""

    group: Mapping[str, str]  # base, algorithm, reward
    train_domain: str
    units: tuple[int, ...]

    @property
    def key(self) -> str:
        return " | ".join([*self.group.values(), self.train_domain])


def is_in_domain(unit: Unit, benchmark: Paired, unit_of: str) -> bool:
    """By domain, or by subdomain where both the training data and the benchmark name one."""
    if unit_of == "subdomain" and unit.train_subdomains and benchmark.subdomain:
        return benchmark.subdomain in unit.train_subdomains
    return benchmark.domain in unit.train_domains


def chosen_units(units: Sequence[Unit], checkpoints: int | Sequence[int] = 1) -> list[int]:
    """The checkpoints that stand for every run: its last so many evaluated ones, or those of the given steps."""
    by_run: dict[tuple[str, str], list[int]] = {}
    for index, unit in enumerate(units):
        by_run.setdefault((unit.run, unit.prompting), []).append(index)
    chosen: list[int] = []
    for members in by_run.values():
        if isinstance(checkpoints, int):
            ordered = sorted(members, key=lambda index: (units[index].step or 0, -index))
            chosen += ordered[-max(1, checkpoints) :]
        else:
            chosen += [index for index in members if units[index].step in checkpoints]
    return sorted(chosen)


GROUP_BY = ("base", "algorithm", "reward")


def arms(units: Sequence[Unit], group_by: Sequence[str] = GROUP_BY) -> list[Arm]:
    found: dict[tuple[str, ...], list[int]] = {}
    for index, unit in enumerate(units):
        key = (*(str(getattr(unit, name)) for name in group_by), unit.train_domain)
        found.setdefault(key, []).append(index)
    return [Arm(dict(zip(group_by, key[:-1], strict=True)), key[-1], tuple(members)) for key, members in found.items()]


def strata(comparison: Comparison, found: Sequence[Arm]) -> list[str]:
    """By unit, the arm whose runs are its replicates."""
    names = [""] * len(comparison.units)
    for arm in found:
        for unit in arm.units:
            names[unit] = arm.key
    return names


def arm_weights(comparison: Comparison, arm: Arm, benchmarks: Sequence[int], weighting: str) -> Floats | None:
    """Weights of the arm's mean change over these benchmarks; None where no benchmark is complete."""
    units = list(arm.units)
    complete = [b for b in benchmarks if (comparison.benchmarks[b].n_items[units] > 0).all()]
    if not complete:
        return None
    sizes = np.array(
        [comparison.benchmarks[b].n_items[units].mean() if weighting == "items" else 1.0 for b in complete]
    )
    weights = np.zeros((len(comparison.units), len(comparison.benchmarks)))
    weights[np.ix_(units, complete)] = (sizes / sizes.sum())[None, :] * _shares(comparison, units)[:, None]
    return weights


def _shares(comparison: Comparison, units: Sequence[int]) -> Floats:
    """Every run counts the same, however many of its checkpoints are averaged."""
    runs = [(comparison.units[u].run or comparison.units[u].model, comparison.units[u].prompting) for u in units]
    return np.array([1 / (len(set(runs)) * runs.count(run)) for run in runs])


def sides(comparison: Comparison, arm: Arm, unit_of: str) -> dict[str, list[int]]:
    """The benchmarks inside and outside the arm's training domain."""
    first = comparison.units[arm.units[0]]
    inside = [i for i, b in enumerate(comparison.benchmarks) if is_in_domain(first, b, unit_of)]
    return {ID: inside, OOD: [i for i in range(len(comparison.benchmarks)) if i not in inside]}


def arm_estimands(comparison: Comparison, found: Sequence[Arm], settings: Settings) -> list[Estimand]:
    """Cells by domain and by benchmark, and the two sides with their gap, of every arm."""
    out: list[Estimand] = []
    for arm in found:
        side = sides(comparison, arm, settings.in_domain)
        targets: list[tuple[str, str, list[int]]] = [
            ("cell", d, [i for i, b in enumerate(comparison.benchmarks) if b.domain == d]) for d in comparison.domains
        ]
        targets += [("benchmark", b.name, [i]) for i, b in enumerate(comparison.benchmarks)]
        for weighting in WEIGHTINGS:
            for kind, name, benchmarks in targets:
                if kind == "benchmark" and weighting != "items":
                    continue
                weights = arm_weights(comparison, arm, benchmarks, weighting)
                inside = [b in side[ID] for b in benchmarks]
                labels = _labels(kind, arm, name, weighting) | {
                    "in_domain": all(inside) if all(inside) or not any(inside) else None
                }
                out.append(Estimand(labels, _or_empty(comparison, weights)))
            out += _sides(comparison, [arm], settings.in_domain, weighting, "arm", _labels("arm", arm, "", weighting))
    return out


def average_estimands(
    comparison: Comparison, found: Sequence[Arm], settings: Settings, *, pooled: bool
) -> list[Estimand]:
    """Both sides and the gap, averaged over the arms of a group that have both sides."""
    groups: dict[tuple[str, ...], list[Arm]] = {}
    for arm in found:
        groups.setdefault(() if pooled else tuple(arm.group.values()), []).append(arm)
    out: list[Estimand] = []
    for members in groups.values():
        labels = {} if pooled else dict(members[0].group)
        for weighting in WEIGHTINGS:
            base = {**labels, "kind": "average", "train_domain": "", "weighting": weighting}
            out += _sides(comparison, members, settings.in_domain, weighting, "average", base, pooled=pooled)
    return out


def _sides(
    comparison: Comparison,
    members: Sequence[Arm],
    unit_of: str,
    weighting: str,
    kind: str,
    labels: Mapping[str, object],
    *,
    pooled: bool = False,
) -> list[Estimand]:
    both: list[tuple[Floats, Floats]] = []
    single: dict[str, Floats | None] = {ID: None, OOD: None}
    for arm in members:
        side = sides(comparison, arm, unit_of)
        inside, outside = (arm_weights(comparison, arm, side[s], weighting) for s in (ID, OOD))
        single = {ID: inside, OOD: outside}
        if inside is not None and outside is not None:
            both.append((inside, outside))
    empty = np.zeros((len(comparison.units), len(comparison.benchmarks)))
    if both:
        mean_in = np.mean([b[0] for b in both], axis=0)
        mean_out = np.mean([b[1] for b in both], axis=0)
        parts = {ID: mean_in, OOD: mean_out, GAP: mean_in - mean_out}
    elif kind == "arm":
        parts = {ID: _or(single[ID], empty), OOD: _or(single[OOD], empty), GAP: empty}
    else:
        parts = {ID: empty, OOD: empty, GAP: empty}
    return [
        Estimand(
            {**labels, "evaluated": s, "in_domain": s == ID if s != GAP else None, "arms": len(both)},
            w,
            pooled,
        )
        for s, w in parts.items()
    ]


def _or(weights: Floats | None, empty: Floats) -> Floats:
    return empty if weights is None else weights


def _or_empty(comparison: Comparison, weights: Floats | None) -> Floats:
    return _or(weights, np.zeros((len(comparison.units), len(comparison.benchmarks))))


def _labels(kind: str, arm: Arm, evaluated: str, weighting: str) -> dict[str, object]:
    return {
        "kind": kind, **arm.group, "train_domain": arm.train_domain, "evaluated": evaluated,
        "weighting": weighting, "arms": 1,
    }  # fmt: skip
