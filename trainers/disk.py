"""Whether the next state fits on the disk. Asked before it is written, never in the middle of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from trainers import checkpoints

MARGIN = 1.1
SPARE_BYTES = 64 * 2**20


def needed(folder: Path, parameters: int, trained: int) -> int:
    """Bytes of the next state and export: as large as the last state, or from the parameters: fp32 weights,
    master copy and two moments of what is trained, and the exported weights."""
    newest = checkpoints.newest_complete(folder)
    recorded = checkpoints.read_json(newest / checkpoints.MARKER)["bytes"] if newest else 0
    return int(MARGIN * (recorded or 4 * parameters + 12 * trained) + 4 * parameters)


def problem(folder: Path, parameters: int, trained: int, step: int) -> str | None:
    """Why the next state cannot be written, while everything before is still whole; None if it can."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = needed(folder, parameters, trained) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if wanted <= free:
        return None
    good = checkpoints.newest_complete(folder)
    return (
        f"{folder}: the state of step {step} needs {wanted / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; nothing was "
        f"written, the last good state is {good.name if good else 'none'}; make room (`manager clean`), then "
        "run `manager sweep` again"
    )
