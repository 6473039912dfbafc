"""The correction for what the engine that samples computes otherwise than the trainer, as GRPOConfig names it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch


def correction(
    trained: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor, mode: str, least: float | None, most: float | None
) -> torch.Tensor:
    """Ratio of the two models' probabilities, by token or by row: `token_mask`, `sequence_truncate` and so on.

    A token whose log-probability the engine did not give counts as equal.
    """
    level, how = mode.split("_")
    difference = torch.nan_to_num((trained - sampled) * mask, nan=0.0)
    ratio = torch.exp(difference.sum(dim=-1, keepdim=True) if level == "sequence" else difference)
    if how == "truncate":
        return torch.clamp(ratio, min=least, max=most)
    outside = (ratio < (-math.inf if least is None else least)) | (ratio > (math.inf if most is None else most))
    return ratio.masked_fill(outside, 0.0)


def told(passes: Sequence[Mapping[str, Any]], accelerator: Any, device: Any) -> dict[str, float]:
    """How far engine and trainer are apart, over all processes; nothing where the trainer samples itself."""
    if not passes or "importance_sampling_ratio" not in passes[0]:
        return {}
    sums, least, most = torch.zeros(4), math.inf, 0.0
    for one in passes:
        mask = one["completion_mask"].bool()
        apart = (one["old_per_token_logps"] - one["sampling_per_token_logps"]).abs()
        known = apart[mask & ~torch.isnan(apart)]
        ratios = one["importance_sampling_ratio"]
        ratios = ratios[mask] if ratios.shape == mask.shape else ratios[mask.any(dim=1)].flatten()
        sums += torch.tensor([float(known.sum()), known.numel(), float(ratios.sum()), ratios.numel()])
        if ratios.numel():
            least, most = min(least, float(ratios.min())), max(most, float(ratios.max()))
    sums = accelerator.reduce(sums.to(device), reduction="sum")
    ends = accelerator.gather(torch.tensor([[least, most]], device=device))
    return {
        "sampling/sampling_logp_difference/mean": float(sums[0] / sums[1].clamp(min=1.0)),
        "sampling/importance_sampling_ratio/mean": float(sums[2] / sums[3].clamp(min=1.0)),
        "sampling/importance_sampling_ratio/min": float(ends[:, 0].min()),
        "sampling/importance_sampling_ratio/max": float(ends[:, 1].max()),
    }
