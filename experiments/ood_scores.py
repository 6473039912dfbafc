"""The OOD score of a source: the sum of its dense ranks over the environments that it was not trained in. Pure.

In every target environment the sources that were not trained there are ranked by success, 1 for the lowest, so that a
higher score is better. Neighbours in this order that lie closer than half a point share a rank, and so does a chain of
such neighbours: no other rule is the same whichever end the ranking begins at. The rank after a tie is the next one
(dense).

Scores are sums over the same number of rankings or not at all: a target counts only where every source from outside has
a value and there are two of them, and sources that are left with different numbers of targets have no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from experiments.comparison import Floats
from experiments.matrix import Cell

TIE_POINTS = 0.5
ROUNDING = 1e-9  # 13.8 − 13.3 is 0.5, whatever binary numbers make of it


def dense_ranks(values: ArrayLike, tie: float = TIE_POINTS) -> NDArray[np.int64]:
    """Ranks along the last axis, 1 for the lowest; neighbours closer than `tie` share one."""
    given = np.asarray(values, dtype=float)
    order = np.argsort(given, axis=-1, kind="stable")
    ascending = np.take_along_axis(given, order, axis=-1)
    steps = (np.diff(ascending, axis=-1) >= tie - ROUNDING).cumsum(axis=-1)
    ordered = 1 + np.concatenate([np.zeros((*given.shape[:-1], 1), dtype=np.int64), steps], axis=-1)
    ranks: NDArray[np.int64] = np.empty(ordered.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, ordered, axis=-1)
    return ranks


@dataclass(frozen=True)
class Source:
    """A trained arm as the ranking sees it: success in percent by target, None where it is not known."""

    name: str
    trained_on: tuple[str, ...]
    success: Mapping[str, float | None]


@dataclass(frozen=True)
class Score:
    """What a source came to. No score is None, with the reason."""

    source: str
    score: int | None
    ranks: Mapping[str, int]
    left_out: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Ranking:
    """Who is ranked where: targets that count with their sources, by number; and those that do not."""

    targets: Mapping[str, tuple[int, ...]]
    left_out: tuple[str, ...]
    why: str = ""


def ranking(sources: Sequence[Source]) -> Ranking:
    """Which targets count, and whether their ranks may be summed."""
    targets: dict[str, tuple[int, ...]] = {}
    left_out = []
    for target in dict.fromkeys(target for source in sources for target in source.success):
        outside = [i for i, source in enumerate(sources) if target not in source.trained_on]
        known = all(sources[i].success.get(target) is not None for i in outside)
        if known and len(outside) > 1:
            targets[target] = tuple(outside)
        else:
            left_out.append(target)
    counts = {sum(number in outside for outside in targets.values()) for number in range(len(sources))}
    why = ""
    if not targets:
        why = "no environment has a value of two sources that were not trained there"
    elif len(counts) > 1:
        why = "the sources can be ranked in different numbers of environments, whose ranks are no sums of the same"
    return Ranking(targets, tuple(left_out), why)


def scores(sources: Sequence[Source], tie: float = TIE_POINTS) -> list[Score]:
    """The score of every source."""
    made = ranking(sources)
    ranks: list[dict[str, int]] = [{} for _ in sources]
    for target, outside in made.targets.items():
        found = dense_ranks([float(sources[i].success[target] or 0.0) for i in outside], tie)
        for place, number in enumerate(outside):
            ranks[number][target] = int(found[place])
    return [
        Score(source.name, None if made.why else sum(mine.values()), mine, made.left_out, made.why)
        for source, mine in zip(sources, ranks, strict=True)
    ]


@dataclass(frozen=True)
class Scored:
    """The scores of the sources of one group of arms, and what redrawing tasks and runs makes of them."""

    group: Mapping[str, str]
    start: str
    scores: tuple[Score, ...]
    draws: NDArray[np.int64] | None  # replicates × sources


def scored(cells: Sequence[Cell]) -> list[Scored]:
    """Every group of arms that agree in all but the environment."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        if cell.source:
            groups.setdefault(cell.key, []).append(cell)
    out = []
    for members in groups.values():
        by_source: dict[str, list[Cell]] = {}
        for cell in members:
            by_source.setdefault(cell.source, []).append(cell)
        sources = [
            Source(name, own[0].trained_on, {cell.target: cell.percent for cell in own})
            for name, own in by_source.items()
        ]
        if len(sources) > 1:
            draws = _draws(list(by_source.values()), ranking(sources))
            out.append(Scored(members[0].group, members[0].start, tuple(scores(sources)), draws))
    return out


def _draws(by_source: Sequence[Sequence[Cell]], made: Ranking) -> NDArray[np.int64] | None:
    """The scores of every replicate: replicates × sources."""
    if made.why:
        return None
    known = [{cell.target: cell.draws for cell in own} for own in by_source]
    total: NDArray[np.int64] | None = None
    for target, outside in made.targets.items():
        columns = [known[i][target] for i in outside]
        ranks = dense_ranks(np.stack(np.broadcast_arrays(*_present(columns)), axis=1))
        if total is None:
            total = np.zeros((len(ranks), len(by_source)), dtype=np.int64)
        if len(ranks) != len(total):
            return None  # a cell without any spread among others with one
        total[:, list(outside)] += ranks
    return total


def _present(columns: Sequence[Floats | None]) -> list[Floats]:
    return [column for column in columns if column is not None]


def score_table(found: Sequence[Scored], level: float) -> pd.DataFrame:
    """One row a source: its score, its interval over redrawn tasks and runs, its rank in every target."""
    rows: list[dict[str, Any]] = []
    for one in found:
        for number, score in enumerate(one.scores):
            rows.append({
                **one.group, "train_domain": score.source, "ood_score": score.score,
                **_spread(one, number, level),
                "n_targets": len(score.ranks) if score.score is not None else None,
                "ranks": ", ".join(f"{target} {rank}" for target, rank in score.ranks.items()),
                "left_out": ", ".join(score.left_out), "why": score.why,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _spread(one: Scored, number: int, level: float) -> dict[str, float | None]:
    if one.draws is None or len(one.draws) < 2:
        return {"low_score": None, "high_score": None, "best_percent": None}
    tail = (1 - level) / 2
    low, high = np.quantile(one.draws[:, number], [tail, 1 - tail], method="inverted_cdf")
    best = one.draws[:, number] == one.draws.max(axis=1)
    return {"low_score": float(low), "high_score": float(high), "best_percent": 100 * float(best.mean())}
