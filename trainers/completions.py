"""The table of completions: every completion's rewards, and the text of a few in each step, as an artifact.

One Parquet file for the steps between two saved states, written when the state is: after a kill, the steps
that are done again write their file again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from manager.run import Run

TEXTS_A_STEP = 16  # completions whose text is kept; all have their rewards, outcome and length


def _text(message: Any) -> str:
    return message if isinstance(message, str) else str(message[-1]["content"])


class CompletionTable:
    """Gathers rows in memory until the next state is saved. Rank 0 alone writes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows: list[dict[str, Any]] = []

    def add(self, step: int, logs: Mapping[str, Any]) -> None:
        """The last generated batch, as TRL keeps it in `_logs`."""
        if self._run.rank != 0:
            return
        prompts, completions = list(logs["prompt"]), list(logs["completion"])
        columns = {f"reward_{name}": list(values) for name, values in logs["rewards"].items()}
        columns |= {name: list(values) for name, values in logs["extra"].items()}
        columns["advantage"] = list(logs["advantages"])
        for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            kept = place < TEXTS_A_STEP
            row = {"step": step, "place": place} | {name: values[place] for name, values in columns.items()}
            row["prompt"] = _text(prompt) if kept else None
            row["completion"] = _text(completion) if kept else None
            if not kept:
                row["extracted"] = row["why"] = None
            self._rows.append(row)

    def flush(self, step: int) -> None:
        """Write what came since the last state, and tell it as an artifact."""
        if not self._rows:
            return
        import pyarrow
        import pyarrow.parquet

        folder = self._run.path / "artifacts" / "completions"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"until-step-{step:06d}.parquet"
        temporary = path.with_suffix(".tmp")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(self._rows), temporary)
        os.replace(temporary, path)
        self._rows.clear()
        self._run.log_artifact(path, "completions")
