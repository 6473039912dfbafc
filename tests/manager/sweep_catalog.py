"""A catalogue for tests of the grammar: the shipped rows, with benchmarks that need no module."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from experiments.catalog import load
from manager.catalog import BenchmarkRow, Catalog
from manager.job import Sweep
from manager.sweep import SweepErrors, load_sweep

DOMAINS = {
    "math": ("mini_math", "gsm8k", "math500", "aime24", "amc23"),
    "code": (
        "mini_code", "mbpp", "humaneval", "bigcodebench", "livecodebench", "usaco", "codeforces", "aider_polyglot",
    ),
    "knowledge": ("mini_knowledge", "pubmedqa", "medqa", "tabfact", "legalbench", "finbench"),
}  # fmt: skip


@cache
def catalog() -> Catalog:
    sampler = {"samples": 1, "temperature": 0.0, "top_p": 1.0, "max_tokens": 16192, "stop": []}
    rows = {
        name: BenchmarkRow(name, domain, None, 3, sampler, {"hub": f"hub/{name}", "revision": "abc"})
        for domain, names in DOMAINS.items()
        for name in names
    }
    return replace(load(), benchmarks=rows)


def expanded(folder: Path, text: str, *overrides: str, environ: Mapping[str, str] | None = None) -> Sweep:
    """The sweep that `text` is, as a file in `folder`."""
    path = folder / "sweep.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load_sweep(path, overrides, catalog=catalog(), environ=environ or {})


def mistakes(folder: Path, text: str, *overrides: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines that are told about `text`, with the folder left out."""
    try:
        expanded(folder, text, *overrides, environ=environ)
    except SweepErrors as error:
        return str(error).replace(f"{folder}/", "").split("\n")
    return []
