"""Which software made the numbers: what the jobs recorded, and what analysed them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import pandas as pd

from experiments.outcomes import Source
from manager.atomic import read_json

ANALYSED_WITH = ("numpy", "scipy", "statsmodels", "pandas", "matplotlib")


def software(source: Source) -> pd.DataFrame:
    """Versions by package: those recorded in the jobs' environment.json, and those of this analysis."""
    rows: dict[tuple[str, str], set[str]] = {}
    for job_id, job in source.jobs.items():
        attempt = source.store.run(job_id).last_attempt()
        environment = read_json(attempt.path / "environment.json") if attempt else None
        for name, value in _versions(environment or {}):
            rows.setdefault((str(job.kind), name), set()).add(value)
    for name in ANALYSED_WITH:
        rows.setdefault(("report", name), set()).add(metadata.version(name))
    rows.setdefault(("report", "python"), set()).add(platform.python_version())
    return pd.DataFrame(
        [(kind, name, ", ".join(sorted(values))) for (kind, name), values in sorted(rows.items())],
        columns=["used by", "software", "version"],
    )


def _versions(environment: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(name, version) pairs, whether packages are nested or not."""
    for key, value in environment.items():
        if isinstance(value, dict) and key in ("versions", "packages", "software"):
            yield from ((str(k), str(v)) for k, v in value.items() if v)
        elif isinstance(value, str) and value and key in ("python", "code", "code_version", "git"):
            yield key, value
