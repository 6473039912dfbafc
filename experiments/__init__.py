"""The science: what is compared with what, and how it is judged. Reads the store, never writes jobs.

    import experiments
    table = experiments.load("quickstart", store="runs")      # one row per sample, as pandas

Import-light: pandas and the statistics load when they are first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from manager.store import Store

__all__ = ["load"]


def load(sweep: str, *, store: Path | str | Store = "runs", text: bool = False) -> pd.DataFrame:
    """The tidy table of a sweep (columns: experiments.outcomes.COLUMNS); `text` adds the completions."""
    from experiments.outcomes import load as load_table

    return load_table(sweep, store=store, text=text)
