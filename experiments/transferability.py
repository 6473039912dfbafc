"""The Transferability Index (arXiv 2507.00432) with its undefined cases. Pure.

ΔR_b = R_model − R_base in percent; σ_g its standard deviation over the benchmarks of group g; δ_b = ΔR_b / σ_g;
s_b = sign(δ_b) √|δ_b|; weights ∝ 100 − R_base,b, normalised within the group; DI_g = Σ ŵ_b s_b;
TI_g = 100 · DI_g / DI_source. It is undefined, not 0, where a group has one benchmark or no spread, and where
the source's own index is near 0: a ratio to nothing says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Index:
    """A value, or why there is none."""

    value: float | None
    why: str = ""


def domain_index(base_percent: Sequence[float] | pd.Series, trained_percent: Sequence[float] | pd.Series) -> Index:
    """DI of one group of benchmarks."""
    base, trained = np.asarray(base_percent, dtype=float), np.asarray(trained_percent, dtype=float)
    if len(base) < 2:
        return Index(None, "one benchmark: no spread to scale by")
    change = trained - base
    spread = float(np.std(change))
    if spread < 1e-9:
        return Index(None, "every benchmark changed by the same amount")
    headroom = 100 - base
    if headroom.sum() <= 0:
        return Index(None, "the base is perfect on every benchmark")
    scaled = change / spread
    return Index(float((headroom / headroom.sum()) @ (np.sign(scaled) * np.sqrt(np.abs(scaled)))))


def transferability(source: Index, target: Index, floor: float = 0.1) -> Index:
    """TI of a target group in percent of the source group."""
    if source.value is None:
        return Index(None, f"source: {source.why}")
    if target.value is None:
        return Index(None, f"target: {target.why}")
    if abs(source.value) < floor:
        return Index(None, f"the source's own index is near 0 ({source.value:+.2f})")
    return Index(100 * target.value / source.value)


def table(models: pd.DataFrame, floor: float = 0.1) -> pd.DataFrame:
    """TI of every trained model from its training domain to every other domain (input: Analysis models)."""
    columns = ["base", "algorithm", "train_domain", "seed", "step", "model", "evaluated",
               "source_index", "target_index", "transferability", "why_undefined", "n_benchmarks"]  # fmt: skip
    rows = []
    keys = ["base", "algorithm", "reward", "train_domain", "seed", "step", "model"]
    for key, part in models.groupby(keys, dropna=False, sort=False) if len(models) else ():
        head = dict(zip(keys, key, strict=True))
        by_domain = {str(d): g for d, g in part.groupby("domain", sort=False)}
        if head["train_domain"] not in by_domain:
            continue
        index = {d: domain_index(g["base_percent"], g["trained_percent"]) for d, g in by_domain.items()}
        source = index[head["train_domain"]]
        for domain in by_domain:
            if domain != head["train_domain"]:
                found = transferability(source, index[domain], floor)
                rows.append({
                    **head, "evaluated": domain, "source_index": source.value,
                    "target_index": index[domain].value, "transferability": found.value,
                    "why_undefined": found.why, "n_benchmarks": len(by_domain[domain]),
                })  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
