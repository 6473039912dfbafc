"""Which module runs a job of each kind, by name, so that nothing heavy is imported before a job starts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from manager.errors import UserError
from manager.run import Run

ENTRIES: Mapping[str, str] = {
    "sft": "trainers.sft",
    "rl": "trainers.grpo",
    "evaluate": "evaluators.run",
    "sample": "trainers.rejection",
    "collect": "evaluators.collect",
    "probe": "evaluators.probe",
    "report": "experiments.report",
}

# What says the command line of a kind's generation server (manager/server_rank.py runs it).
SERVERS: Mapping[str, str] = {"rl": "trainers.server", "sft": "trainers.server"}

# Kinds whose processes form one torch.distributed group; of the others only rank 0 works.
DISTRIBUTED = frozenset({"sft", "rl"})


def entry_module(kind: str) -> str:
    """The module of a kind. MANAGER_KINDS="rl=my_lab.ppo" puts a module of your own in its place."""
    for pair in filter(None, os.environ.get("MANAGER_KINDS", "").split(",")):
        name, separator, module = pair.partition("=")
        if not separator:
            raise UserError(f"MANAGER_KINDS: {pair!r} is not kind=module; for example rl=my_lab.ppo")
        if name == kind:
            return module
    return ENTRIES[kind]


def load_entry(kind: str) -> Callable[[Run], Mapping[str, Any]]:
    entry: Callable[[Run], Mapping[str, Any]] = importlib.import_module(entry_module(kind)).main
    return entry
