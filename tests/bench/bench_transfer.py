"""Speed and memory of the transfer statistics on a study of the real size. Run:

    python -m tests.bench.bench_transfer [--replicates 10000]

18 model pairs × 16 benchmarks with their real numbers of items (AIME and AMC with 16 samples), with the
bootstrap of 10,000 replicates. Side by side: the same intervals by a plain loop over replicates (numpy, one
pair and benchmark at a time), timed on a few of them and scaled up.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from experiments import tabulate
from experiments.comparison import Comparison, compare
from experiments.effects import effects
from experiments.study import get
from experiments.transfer import Settings, arms

# name: domain, items, samples. The sizes of LegalBench (155 tasks) and FinBench are rough, and on the large side.
BENCHMARKS = {
    "gsm8k": ("math", 1319, 1), "math500": ("math", 500, 1), "aime24": ("math", 30, 16), "amc23": ("math", 40, 16),
    "mbpp": ("code", 500, 1), "humaneval": ("code", 164, 1), "bigcodebench": ("code", 1140, 1),
    "livecodebench": ("code", 1055, 1), "usaco": ("code", 307, 1), "codeforces": ("code", 408, 1),
    "polyglot": ("code", 225, 1), "pubmedqa": ("knowledge", 500, 1), "medqa": ("knowledge", 1273, 1),
    "tabfact": ("knowledge", 12779, 1), "legalbench": ("knowledge", 90000, 1), "finbench": ("knowledge", 10000, 1),
}  # fmt: skip
PAIRS = 18
TARGET_S, TARGET_GIB = 20.0, 2.0


def table(seed: int = 0) -> pd.DataFrame:
    """A tidy table as `experiments.load` gives it: every sample of 18 models and their 18 bases."""
    rng = np.random.default_rng(seed)
    domains = ("math", "code", "knowledge")
    parts = []
    for name, (domain, items, samples) in BENCHMARKS.items():
        chance = rng.beta(1.2, 1.2, items)
        ids = pd.Categorical.from_codes(
            np.repeat(np.arange(items), samples), categories=[f"{name}-{i}" for i in range(items)]
        )
        for pair in range(PAIRS):
            for arm in ("base", "trained"):
                shift = 0.03 if arm == "trained" else 0.0
                value = rng.random((items, samples)) < np.clip(chance + shift, 0, 1)[:, None]
                trained_on = domains[pair % 3] if arm == "trained" else ""
                parts.append({
                    "arm": arm, "model": f"{arm}-{pair}", "name": f"{arm}-{pair}", "base": f"base-{pair}",
                    "base_model": f"base-{pair}", "root_model": f"base-{pair}", "run": f"{arm}-{pair}",
                    "train_domain": trained_on, "train_domains": trained_on, "train_subdomains": "",
                    "path": trained_on, "path_domains": trained_on, "algorithm": "published",
                    "reward": "published", "benchmark": name, "domain": domain, "subdomain": "", "condition": "{}",
                    "prompting": "chat",
                    "items": ids, "value": value.ravel().astype(float),
                })  # fmt: skip
    return _joined(parts)


def _joined(parts: list[dict[str, object]]) -> pd.DataFrame:
    lengths = [len(part["value"]) for part in parts]  # type: ignore[arg-type]
    which = np.repeat(np.arange(len(parts)), lengths)
    columns = {}
    for name in parts[0]:
        if name not in ("items", "value"):
            codes, categories = pd.factorize(np.array([part[name] for part in parts], dtype=object))
            columns[name] = pd.Categorical.from_codes(codes[which], categories=categories)
    columns["item"] = union_categoricals([part["items"] for part in parts])
    columns["value"] = np.concatenate([part["value"] for part in parts])
    rows = len(which)
    missing = pd.array(np.zeros(rows), dtype="Int64")
    return pd.DataFrame(columns).assign(finished=True, seed=missing, step=missing, stages=1, version=1)


class Clock:
    """Wall and CPU seconds since the last lap."""

    def __init__(self) -> None:
        self._last = (time.perf_counter(), time.process_time())

    def lap(self) -> tuple[float, float]:
        now = (time.perf_counter(), time.process_time())
        wall_s, cpu_s = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return wall_s, cpu_s


def plain_loop_s(comparison: Comparison, replicates: int, sample: int) -> float:
    """Seconds for all pairs and benchmarks by a loop over replicates, from `sample` replicates of each."""
    rng = np.random.default_rng(0)
    started = time.process_time()
    for benchmark in comparison.benchmarks:
        for pair in range(PAIRS):
            difference = benchmark.difference[:, pair]
            for _ in range(sample):
                difference[rng.integers(0, len(difference), len(difference))].mean()
    return (time.process_time() - started) * replicates / sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    replicates = parser.parse_args().replicates
    frame = table()
    study, settings = get("observational"), Settings(replicates=replicates)
    print(f"{PAIRS} pairs x {len(BENCHMARKS)} benchmarks, {len(frame):,} samples, {replicates:,} replicates")
    before_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    clock = Clock()
    comparison = compare(frame)
    pairing = clock.lap()
    found = arms(comparison.units, study.arm)
    quantities = effects(comparison, found, study, settings)
    intervals = clock.lap()
    tabulate.odds(comparison, found, settings)
    odds = clock.lap()
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    loop_s = plain_loop_s(comparison, replicates, 20)
    for name, (wall_s, cpu_s) in {
        "pairing with the bases": pairing,
        f"intervals and tests of {len(quantities)} quantities": intervals,
        "odds ratios, published and paired": odds,
        f"together (target {TARGET_S:.0f} s)": tuple(map(sum, zip(pairing, intervals, odds, strict=True))),
    }.items():
        print(f"{name:45s} {wall_s:7.1f} s, of which {cpu_s:.1f} s on a CPU")
    print(f"peak memory {memory_gib:.2f} GiB (target {TARGET_GIB:.0f}; the table alone {before_gib:.2f})")
    print(f"plain loop over replicates, items only: {loop_s:.0f} s on a CPU; ratio {loop_s / intervals[1]:.0f}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
