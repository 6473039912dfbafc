"""From records to the numbers of an evaluation: pass@k, counts by outcome, the summary. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import comb, fsum
from typing import Any

from evaluators.benchmark import Benchmark, Outcome
from evaluators.records import Record


def pass_at_k(samples: int, right: int, k: int) -> float | None:
    """The unbiased chance that one of k samples is right, given `right` of `samples`; None if k > samples."""
    if not 0 <= right <= samples or k < 1:
        raise ValueError(f"pass@{k} of {right} right in {samples}")
    if k > samples:
        return None
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is defined; None where nothing is."""
    defined = [value for value in values if value is not None]
    # An exact sum: the same whatever the order in which records came in, also when shards are joined.
    return fsum(defined) / len(defined) if defined else None


def by_item(records: Iterable[Record]) -> dict[str, list[float]]:
    """The defined values of each item; an empty list where no sample of it could be judged."""
    values: dict[str, list[float]] = defaultdict(list)
    for record in records:
        values[record.item] += [] if record.value is None else [record.value]
    return dict(values)


def benchmark_summary(records: Sequence[Record], domain: str, subdomain: str | None, samples: int) -> dict[str, Any]:
    """One benchmark's part of the result. pass@k only for scores that are right or wrong."""
    values = by_item(records)
    counts = {outcome.value: 0 for outcome in Outcome}
    for record in records:
        counts[record.outcome.value] += 1
    binary = all(value in (0.0, 1.0) for item in values.values() for value in item)
    ks = [k for k in (2**power for power in range(1, 12)) if k <= samples] if binary else []
    return {
        "domain": domain,
        "subdomain": subdomain,
        "items": len(values),
        "samples": samples,
        "pass_at_1": mean(mean(item) for item in values.values()),
        "pass_at_k": {str(k): mean(_item_pass(item, k) for item in values.values()) for k in ks},
        "outcomes": counts,
        "completion_tokens": sum(record.completion_tokens for record in records),
    }


def more_scores(benchmark: Benchmark, records: Iterable[Record], golds: Mapping[str, str | None]) -> dict[str, Any]:
    """The scores that a benchmark reports beside pass@1, where it has a `more_scores`; else nothing."""
    judge = getattr(benchmark, "more_scores", None)
    if judge is None:
        return {}
    rows = ((one.item, golds[one.item] or "", one.value) for one in records if one.value is not None)
    return {"more_scores": judge(rows)}


def _item_pass(values: Sequence[float], k: int) -> float | None:
    return pass_at_k(len(values), sum(1 for value in values if value == 1.0), k)


def domain_scores(benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean over a domain's benchmarks, each weighing the same however many items it has."""
    scores: dict[str, list[float | None]] = defaultdict(list)
    for entry in benchmarks.values():
        scores[entry["domain"]].append(entry["pass_at_1"])
    return {domain: mean(values) for domain, values in scores.items()}
