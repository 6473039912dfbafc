"""Whether a saved state can go on with another number of processes. Pure: asked before a job is queued, and by it.

Without ZeRO every process holds the whole state. With it DeepSpeed converts the state once (trainers/universal.py),
where it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def zero_stage(deepspeed: Any) -> int:
    """The ZeRO stage of `config.deepspeed`: a shipped name or a mapping."""
    if not deepspeed:
        return 0
    if isinstance(deepspeed, str):
        return int(deepspeed.removeprefix("zero")[0])
    return int(deepspeed.get("zero_optimization", {}).get("stage", 0))


def obstacle(config: Mapping[str, Any], saved: int, now: int) -> str | None:
    """Why a state that `saved` processes wrote cannot go on with `now` of them; None where it can."""
    if saved == now or not zero_stage(config.get("deepspeed")):
        return None
    return None
