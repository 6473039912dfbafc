"""Whether the next state fits on the disk. Asked before it is written, never in the middle of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from trainers import checkpoints, fit

MARGIN = 1.1
SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Sizes:
    """What decides how large a state and an export are."""

    parameters: int
    trained: int
    zero_stage: int = 0
    bf16: bool = False


def needed(folder: Path, sizes: Sizes) -> int:
    """Bytes of the next state and export: as large as the last state, or as such a training's are."""
    stage, bf16 = sizes.zero_stage, sizes.bf16
    newest = checkpoints.newest_complete(folder)
    recorded = checkpoints.read_json(newest / checkpoints.MARKER)["bytes"] if newest else 0
    state = recorded or fit.state_bytes(sizes.trained, zero_stage=stage, bf16=bf16)
    return int(MARGIN * state + fit.exported_bytes(sizes.parameters, zero_stage=stage, bf16=bf16))


def problem(folder: Path, sizes: Sizes, step: int) -> tuple[str, int] | None:
    """Why the next state cannot be written, while all before it is whole, and the bytes it needs; None if it can."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = needed(folder, sizes) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if wanted > free:
        for torn in folder.glob("torn-*"):  # kept for a look, which is not worth a training that stops
            shutil.rmtree(torn)
        free = shutil.disk_usage(folder).free
    if wanted <= free:
        return None
    good = checkpoints.newest_complete(folder)
    told = (
        f"{folder}: the state of step {step} needs {wanted / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; nothing was "
        f"written, the last good state is {good.name if good else 'none'}; make room (`manager clean`), then "
        "run `manager sweep` again"
    )
    return told, wanted
