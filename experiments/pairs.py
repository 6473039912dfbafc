"""Published models and the bases they were trained from: the rows of the catalogue that name a base."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from experiments.lineage import Pair
from manager.errors import UserError

KEYS = ("model", "base", "domains", "subdomains", "size_b", "family", "provenance")


@cache
def _models() -> Mapping[str, Mapping[str, Any]]:
    from experiments import catalog  # it knows sweeps and benchmarks, which a table of outcomes does not need

    return catalog.load().models


def catalogue_pairs() -> list[Pair]:
    """The shipped pairs; `inferred` ones are our reading of a model card."""
    return [_pair(name, row) for name, row in _models().items() if row.get("base")]


def pairs_of(settings: Mapping[str, Any]) -> list[Pair]:
    """The catalogue's pairs and those that a report's settings add (`pairs:`), which win."""
    found = {pair.model: pair for pair in catalogue_pairs()}
    for row in settings.get("pairs") or ():
        unknown = sorted(set(row) - set(KEYS))
        if unknown or not {"model", "base", "domains"} <= set(row):
            told = f"unknown key {unknown[0]!r}" if unknown else "model, base and domains are needed"
            raise UserError(f"report settings: pairs: {told}; valid are {', '.join(KEYS)}")
        found[row["model"]] = _pair(row["model"], row)
    return list(found.values())


def _pair(name: str, row: Mapping[str, Any]) -> Pair:
    source = str(row.get("source") or row.get("provenance") or "")
    inferred = " (inferred)" if row.get("inferred") else ""
    size = row.get("size_b")
    return Pair(
        model=name, base=str(row["base"]), domains=tuple(row.get("domains") or ()),
        subdomains=tuple(row.get("subdomains") or ()), size_b=float(size) if size else None,
        family=str(row.get("family") or ""), provenance=source + inferred,
    )  # fmt: skip


def sizes() -> dict[str, float]:
    """Billions of parameters by catalogue name."""
    return {name: float(row["size_b"]) for name, row in _models().items() if row.get("size_b")}
