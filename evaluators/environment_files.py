"""Where the files of an environment's options are on this machine, and whether they are still those of the job.

A job's config holds the digest of such a file and not its place: `{"levels": {"digest": …}}`. Its resources know the
place, which a later sweep may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.environments import facts
from manager.content import digest
from manager.run import Failed

SWEEP_AGAIN = "run `manager sweep` again"


def placed(entry: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The entry of an environment with paths in its options. Failed where the content is gone or another."""
    data, options = entry["data"], dict(entry["data"]["options"])
    for option, patterns in facts(data["environment"]).files.items():
        value = options.get(option)
        if isinstance(value, Mapping):
            options[option] = _place(f"environments.{entry['name']}.{option}", value["digest"], files, patterns)
    return {**entry, "data": {**data, "options": options}}


def _place(what: str, wanted: str, files: Mapping[str, str], patterns: tuple[str, ...]) -> str:
    if wanted not in files:
        raise Failed(f"{what}: nobody told where content {wanted} is; {SWEEP_AGAIN}", cause="environment")
    path = files[wanted]
    try:
        found = digest(Path(path), patterns)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Failed(
            f"{what}: {path}: {why}; bring it back, or name its new place in the sweep file and {SWEEP_AGAIN}: "
            "with the same content it is the same job",
            cause="environment",
        ) from error
    if found != wanted:
        raise Failed(
            f"{what}: {path} holds {found}, and held {wanted} when the sweep was planned; bring the old content back, "
            f"or {SWEEP_AGAIN} to make jobs of the new one",
            cause="data_changed",
        )
    return path
