"""`shards` and `deadline_min` of an evaluation stage: how many jobs share the items of one evaluation. Pure.

A shard is a job of its own: which items it asks decides its result. One shard is the unsharded job, so that
`shards: 1` and no `shards` are the same. What `auto` chooses is the caller's to decide: it needs the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manager.job import Job
from manager.sweep.mistakes import shown
from manager.sweep.part import Part

AUTO = "auto"
MOST_SHARDS = 64

# (the unsharded job, the jobs it descends from, the deadline in minutes) -> how many shards
ChooseShards = Callable[[Job, Mapping[str, Job], float], int]


def one_shard(job: Job, jobs: Mapping[str, Job], deadline_min: float) -> int:
    """For an expansion that must not read the store."""
    return 1


def read_shards(part: Part) -> dict[str, Any]:
    value, deadline = part.get("shards"), part.get("deadline_min")
    if value == AUTO:
        if deadline is None:
            part.wrong(("shards",), "auto needs deadline_min: the minutes in which the evaluation has to be done")
            return {}
        return {"shards": (AUTO, part.number(("deadline_min",), least=1.0))}
    if deadline is not None:
        part.wrong(("deadline_min",), "only shards: auto has a deadline; write shards: auto, or leave this out")
        return {}
    if value is None:
        return {"shards": (1, None)}
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SHARDS:
        part.wrong(("shards",), f"expected auto or a whole number from 1 to {MOST_SHARDS}, not {shown(value)}")
        return {}
    return {"shards": (value, None)}
