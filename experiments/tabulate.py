"""Descriptive tables: pass@1 by model, odds ratios, how answers ended, what was evaluated, what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.comparison import Comparison
from experiments.odds import common_odds, paired_odds
from experiments.outcomes import Evaluation
from experiments.power import adjust
from experiments.transfer import ID, OOD, Arm, Settings, sides


def models(comparison: Comparison) -> pd.DataFrame:
    """pass@1 of every trained model and of its base on the common items of each benchmark, in percent."""
    rows = []
    for benchmark in comparison.benchmarks:
        trained, base = benchmark.rate("trained"), benchmark.rate("control")
        for index, unit in enumerate(comparison.units):
            if benchmark.n_items[index]:
                mask = benchmark.mask[:, index]
                rows.append({
                    "base": unit.base, "algorithm": unit.algorithm, "reward": unit.reward,
                    "train_domain": unit.train_domain, "seed": unit.seed, "step": unit.step,
                    "model": unit.name, "domain": benchmark.domain, "subdomain": benchmark.subdomain,
                    "benchmark": benchmark.name, "base_percent": 100 * base[index],
                    "trained_percent": 100 * trained[index], "delta_points": 100 * benchmark.delta[index],
                    "n_items": int(benchmark.n_items[index]),
                    "n_samples": int(benchmark.trained_count[mask, index].sum()),
                    "n_base_samples": int(benchmark.control_count[mask, index].sum()),
                })  # fmt: skip
    return pd.DataFrame(rows)


def odds(comparison: Comparison, found: Sequence[Arm], settings: Settings) -> pd.DataFrame:
    """Odds ratios by arm: each side and each domain, published form and paired form."""
    rows = []
    for arm in found:
        targets = {**sides(comparison, arm, settings.in_domain)}
        for domain in comparison.domains:
            targets[domain] = [i for i, b in enumerate(comparison.benchmarks) if b.domain == domain]
        for target, indexes in targets.items():
            row = _odds_row(comparison, arm, indexes, settings.level)
            if row is not None:
                kind = "side" if target in (ID, OOD) else "domain"
                head = {**arm.group, "train_domain": arm.train_domain, "kind": kind, "evaluated": target}
                rows.append(head | row)
    table = pd.DataFrame([*rows, *_average_odds(rows, found)])
    if not table.empty:
        for kind in ("side", "domain"):
            chosen = table["kind"] == kind
            for column in ("cmh_p", "paired_p"):
                values = [None if pd.isna(p) else float(p) for p in table.loc[chosen, column]]
                table.loc[chosen, f"{column}_holm"] = pd.Series(
                    adjust(values, "holm"), index=table.index[chosen], dtype="float64"
                )
    return table


def _average_odds(rows: Sequence[dict[str, Any]], found: Sequence[Arm]) -> list[dict[str, Any]]:
    """The geometric mean of the arms' odds ratios by side, without an interval: arms share items."""
    out = []
    groups = {tuple(arm.group.items()) for arm in found if list(arm.group) != ["name"]} or {()}
    for group in sorted(groups):
        for side in (ID, OOD):
            ratios = [
                row["odds_ratio"]
                for row in rows
                if row["kind"] == "side" and row["evaluated"] == side and all(row[k] == v for k, v in group)
            ]
            if len(ratios) > 1 and None not in ratios:
                head = {**dict(group), "train_domain": "", "kind": "average", "evaluated": side}
                out.append(head | {"odds_ratio": float(np.exp(np.mean(np.log(ratios)))), "arms": len(ratios)})
    return out


def _odds_row(comparison: Comparison, arm: Arm, indexes: Sequence[int], level: float) -> dict[str, Any] | None:
    units = list(arm.units)
    tables, parts = [], []
    n_items = 0
    for index in indexes:
        benchmark = comparison.benchmarks[index]
        rows = benchmark.mask[:, units].all(axis=1)
        if not rows.any():
            continue
        right, count = benchmark.trained_sum[rows][:, units], benchmark.trained_count[rows][:, units]
        base, base_count = benchmark.control_sum[rows, units[0]], benchmark.control_count[rows, units[0]]
        if not (np.equal(np.mod(right, 1), 0).all() and np.equal(np.mod(base, 1), 0).all()):
            return None  # partial scores have no odds
        a, n1, c, n2 = right.sum(), count.sum(), base.sum(), base_count.sum()
        tables.append([[a, n1 - a], [c, n2 - c]])
        parts.append((right.sum(axis=1), count.sum(axis=1), base, base_count))
        n_items += int(rows.sum())
    if not tables:
        return None
    common = common_odds(tables, level)
    trained, trained_n, base_right, base_n = (np.concatenate([p[i] for p in parts]) for i in range(4))
    paired = paired_odds(trained, trained_n, base_right, base_n, level)
    return {
        "odds_ratio": common.ratio, "low": common.low, "high": common.high,
        "cmh": common.cmh, "cmh_p": common.p, "cmh_corrected": common.cmh_corrected,
        "cmh_corrected_p": common.p_corrected, "breslow_day": common.breslow_day,
        "breslow_day_p": common.breslow_day_p, "paired_odds_ratio": paired.ratio, "paired_low": paired.low,
        "paired_high": paired.high, "paired_p": paired.p, "items_better": paired.better,
        "items_worse": paired.worse, "mcnemar_p": paired.mcnemar_p, "n_benchmarks": len(tables),
        "n_items": n_items, "n_samples": common.n, "n_seeds": len({comparison.units[u].run for u in units}),
    }  # fmt: skip


def answers(frame: pd.DataFrame) -> pd.DataFrame:
    """How answers ended, by model arm and benchmark: shares of each outcome and mean tokens."""
    keys = ["arm", "base", "train_domain", "algorithm", "domain", "benchmark"]
    grouped = frame.groupby(keys, observed=True, dropna=False)
    shares = grouped["outcome"].value_counts(normalize=True).unstack().fillna(0.0) * 100
    shares.columns = [f"{name}_percent" for name in shares.columns]
    shares["n_samples"] = grouped.size()
    shares["completion_tokens"] = grouped["completion_tokens"].mean()
    shares["cut_percent"] = grouped["ended"].agg(lambda s: 100 * float((s == "length").mean()))
    return shares.reset_index()


def data(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """What was evaluated: items and samples by benchmark, with its version."""
    used = frame if settings.include_unfinished else frame[frame["finished"]]
    rows = []
    keys = ["domain", "subdomain", "benchmark", "version", "condition"]
    for key, part in used.groupby(keys, observed=True, dropna=False):
        per_item = part.groupby(["model", "item"], observed=True).size()
        rows.append(dict(zip(keys, key, strict=True)) | {
            "n_items": part["item"].nunique(), "samples_per_item": float(per_item.median()),
            "n_models": part["model"].nunique(), "n_samples": len(part),
            "source": data_source(str(part["condition"].iloc[0])),
            "engine": ", ".join(sorted(set(part["engine"].astype(str)))),
        })  # fmt: skip
    return pd.DataFrame(rows)


PROCEDURAL = "procedural"


def data_source(condition: str) -> str | None:
    """Where a benchmark's items come from: the hub's id and revision, or made by a program."""
    source = json.loads(condition).get("data")
    if source is None:
        return None
    if not source:
        return PROCEDURAL
    named = str(source.get("hub") or source.get("folder") or "a folder")
    return f"{named}@{source['revision']}" if source.get("revision") else named


def missing(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """The evaluations of the sweep that are not finished."""
    columns = ["stage", "job", "model", "labels"]
    return pd.DataFrame(
        [
            (e.stage, e.job.id, e.subject.name, " ".join(f"{k}={v}" for k, v in e.labels.items()))
            for e in evaluations
            if not e.finished
        ],
        columns=columns,
    )
