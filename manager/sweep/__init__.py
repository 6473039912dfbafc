"""Sweep files: what people write, expanded into jobs. Grammar: docs/sweep.md.

`load_sweep` reads a file; `expand` is pure. Nothing here imports torch, a trainer or a benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from manager.catalog import Catalog
from manager.content import find as find_files
from manager.job import Sweep
from manager.model_folder import find
from manager.sweep.document import Document, read
from manager.sweep.expand import expand
from manager.sweep.mistakes import Mistake, SweepErrors
from manager.sweep.shards import ChooseShards, one_shard

__all__ = ["Document", "Mistake", "SweepErrors", "expand", "load_sweep", "read"]


def load_sweep(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    catalog: Catalog,
    environ: Mapping[str, str],
    choose_shards: ChooseShards = one_shard,
) -> Sweep:
    """The jobs of a sweep file with the command line's overrides. All mistakes at once: `SweepErrors`."""
    known = lru_cache(maxsize=None)(find)  # thousands of rows name a few folders
    return expand(
        read(path, overrides), catalog, environ=environ, find_model=known, find_files=find_files,
        choose_shards=choose_shards,
    )  # fmt: skip
