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
    deepspeed = config.get("deepspeed")
    if saved == now or not deepspeed or zero_stage(deepspeed):
        return None
    return (
        f"has a state that {saved} processes saved, and {now} are asked for now: DeepSpeed converts such a state "
        "only with ZeRO (zero_optimization.stage 1, 2 or 3)"
    )
