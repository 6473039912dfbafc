"""What a modelling choice changes out of domain, by the two published formulas, from the cells of the matrix. Pure.

Over the environments that an arm was not trained in, with success in the variant, in the plain arm and at the starting
checkpoint: the change is Σ(variant − plain) / Σ plain, and the share of the drop that is recovered is
Σ(variant − plain) / |Σ(plain − start)|. A quotient over nothing is None. So is the recovered share where the plain arm
did not drop: there is nothing to recover, and the formula's absolute value would hide that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.comparison import Floats
from experiments.contrasts import Pair, matched_levels
from experiments.matrix import Cell
from experiments.study import Study
from experiments.transfer import Arm, Settings

ALL = "all"


def relative_change(variant: Sequence[float], plain: Sequence[float]) -> float | None:
    """Σ(variant − plain) / Σ plain."""
    below = sum(plain)
    return (sum(variant) - below) / below if below else None


def drop_recovered(variant: Sequence[float], plain: Sequence[float], start: Sequence[float]) -> float | None:
    """Σ(variant − plain) / |Σ(plain − start)|; None where nothing was lost."""
    lost = sum(start) - sum(plain)
    return (sum(variant) - sum(plain)) / lost if lost > 0 else None


@dataclass(frozen=True)
class Triple:
    """The three successes of one environment that a formula needs, in percent, each with its draws."""

    variant: Cell
    plain: Cell
    start: Cell | None


def change_table(
    found: Sequence[Arm], cells: Sequence[Cell], study: Study, settings: Settings
) -> pd.DataFrame:
    """Both formulas for every level of every factor: by training environment, and summed over all of them."""
    by_arm: dict[tuple[tuple[str, ...], str], list[Cell]] = {}
    starts = {(cell.start, cell.target): cell for cell in cells if not cell.source}
    for cell in cells:
        by_arm.setdefault((cell.key, cell.source), []).append(cell)
    rows: list[dict[str, Any]] = []
    for factor in study.compare:
        for level, reference, pairs in matched_levels(found, factor, {}):
            for group, members in _by_rest(pairs, factor).items():
                triples = {arm.train_domain: _triples(arm, other, by_arm, starts) for arm, other in members}
                whole = [triple for own in triples.values() for triple in own]
                head = {"factor": factor, "level": level, "reference": reference, **dict(group)}
                for domain, own in ({ALL: whole, **triples} if len(triples) > 1 else triples).items():
                    rows.append({**head, "train_domain": domain, **_row(own, settings.level)})
    return pd.DataFrame(rows)


def _by_rest(pairs: Sequence[Pair], factor: str) -> dict[tuple[tuple[str, str], ...], list[Pair]]:
    groups: dict[tuple[tuple[str, str], ...], list[Pair]] = {}
    for arm, other in pairs:
        rest = tuple((name, value) for name, value in other.group.items() if name != factor)
        groups.setdefault(rest, []).append((arm, other))
    return groups


def _triples(
    arm: Arm, other: Arm, by_arm: Mapping[tuple[tuple[str, ...], str], Sequence[Cell]],
    starts: Mapping[tuple[str, str], Cell],
) -> list[Triple]:  # fmt: skip
    """The environments outside of both arms' training with a value of both."""
    plain = {cell.target: cell for cell in by_arm.get((tuple(other.group.values()), other.train_domain), ())}
    out = []
    for cell in by_arm.get((tuple(arm.group.values()), arm.train_domain), ()):
        beside = plain.get(cell.target)
        if beside is None or cell.inside or beside.inside or cell.percent is None or beside.percent is None:
            continue
        start = starts.get((beside.start, cell.target))
        out.append(Triple(cell, beside, start if start is not None and start.percent is not None else None))
    return out


def _row(triples: Sequence[Triple], level: float) -> dict[str, Any]:
    variant, plain = ([float(getattr(t, name).percent) for t in triples] for name in ("variant", "plain"))
    known = bool(triples) and all(triple.start is not None for triple in triples)
    start = [float(triple.start.percent or 0.0) for triple in triples if triple.start is not None] if known else []
    change = relative_change(variant, plain) if triples else None
    recovered = drop_recovered(variant, plain, start) if known else None
    row: dict[str, Any] = {
        "variant_sum": sum(variant) if triples else None, "plain_sum": sum(plain) if triples else None,
        "start_sum": sum(start) if known else None, "n_targets": len(triples),
        "change_percent": None if change is None else 100 * change,
        "recovered_percent": None if recovered is None else 100 * recovered,
    }  # fmt: skip
    drawn = _drawn_sums(triples, known) if triples else None
    gained = None if drawn is None else drawn["variant"] - drawn["plain"]
    over = {"change": None, "recovered": None} if drawn is None else {
        "change": drawn["plain"], "recovered": drawn["start"] - drawn["plain"] if known else None,
    }  # fmt: skip
    for name, below in over.items():
        low, high = (None, None) if row[f"{name}_percent"] is None else _quotients(gained, below, level)
        row |= {f"low_{name}_percent": low, f"high_{name}_percent": high}
    return {**row, "why": _why(triples, change, recovered, known=known)}


def _drawn_sums(triples: Sequence[Triple], known: bool) -> dict[str, Floats] | None:
    sums: dict[str, Floats] = {}
    for name in ("variant", "plain", *(["start"] if known else [])):
        draws = [getattr(triple, name).draws for triple in triples]
        if any(one is None for one in draws):
            return None
        sums[name] = np.sum(np.broadcast_arrays(*draws), axis=0)
    return sums


def _quotients(above: Floats | None, below: Floats | None, level: float) -> tuple[float | None, float | None]:
    """A percentile interval of a quotient; none where what it is divided by may be nothing or of either sign."""
    if above is None or below is None or len(above) < 2 or len(below) < 2:
        return None, None
    tail = (1 - level) / 2
    if np.quantile(below, tail) <= 0:
        return None, None
    sure = below > 0
    low, high = np.quantile(100 * above[sure] / below[sure], [tail, 1 - tail])
    return float(low), float(high)


def _why(triples: Sequence[Triple], change: float | None, recovered: float | None, *, known: bool) -> str:
    if not triples:
        return "no environment outside of the training has both values"
    reasons = []
    if change is None:
        reasons.append("the plain arm has no success there")
    if not known:
        reasons.append("the starting checkpoint was not evaluated there")
    elif recovered is None:
        reasons.append("the plain arm lost nothing that could be recovered")
    return "; ".join(reasons)
