"""The prompts of a job: prepared by its first process, or by any job before, and read memory-mapped by all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from manager.run import Failed, Run
from trainers import checkpoints, data, distributed, prepare


def load(run: Run, limit: prepare.PromptLimit | None) -> Any:
    """The rows, on every rank; what is wrong with the data fails all of them."""
    cache = Path(os.environ.get("MANAGER_PREPARED_DATA") or run.path.parents[1] / "prepared")
    prepared, problem, cause = None, "", ""
    if run.rank == 0:
        try:
            prepared = prepare.prepare(run.config["data"], cache, data.data_dir(run.config), limit)
            _require_same(run, prepared.digest)
        except Failed as error:
            problem, cause = str(error), error.cause
    prepared, problem, cause = distributed.from_first((prepared, problem, cause))
    if problem:
        raise Failed(problem, cause=cause)
    run.event("data", f"{prepared.rows} prompts, digest {prepared.digest[:12]}", digest=prepared.digest,
              rows=prepared.rows, left_out=prepared.left_out)  # fmt: skip
    return prepare.load(prepared)


def _require_same(run: Run, digest: str) -> None:
    """A training that has a state goes on with the prompts that it began with, or not at all."""
    if checkpoints.newest_complete(run.path / "checkpoints") is None:
        return
    told = [one["digest"] for one in run.directory.journal() if one.get("name") == "data" and "digest" in one]
    if told and told[-1] != digest:
        raise Failed(
            f"data: the prompts have the digest {digest[:12]}, those that the training began with had {told[-1][:12]}; "
            f"bring the old data back, or remove {run.path / 'checkpoints'} to start it anew",
            cause="data_changed",
        )
