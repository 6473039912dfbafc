"""Change along training: both sides by checkpoint, and whether the gap between them grows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.bootstrap import Estimand
from experiments.comparison import Comparison, Floats
from experiments.transfer import GAP, ID, OOD, Arm, Settings, arm_weights, arms, sides

PER_STEPS = 100  # slopes are points per so many steps


def common_steps(comparison: Comparison) -> list[int]:
    """The steps at which every run was evaluated; others cannot be averaged over the same runs."""
    by_run: dict[str, set[int]] = {}
    for unit in comparison.units:
        if unit.step is not None:
            by_run.setdefault(unit.run, set()).add(unit.step)
    return sorted(set.intersection(*by_run.values())) if by_run else []


def at_steps(comparison: Comparison, steps: Sequence[int]) -> Comparison:
    """Only the checkpoints of these steps, so that every run has the same ones."""
    return comparison.only(i for i, unit in enumerate(comparison.units) if unit.step in steps)


def trajectory_estimands(
    comparison: Comparison, steps: Sequence[int], group_by: Sequence[str], settings: Settings
) -> list[Estimand]:
    """Both sides and their gap at each step, averaged over the arms of a group; then the slopes."""
    out: list[Estimand] = []
    for group, members in _groups(arms(comparison.units, group_by)).items():
        labels = dict(zip(group_by, group, strict=True))
        for weighting in ("items", "benchmarks"):
            by_step = [w for s in steps if (w := _sides_at(comparison, members, s, settings, weighting)) is not None]
            if len(by_step) != len(steps):
                continue
            head = {**labels, "kind": "step", "train_domain": "", "weighting": weighting, "arms": len(members)}
            for step, weights in zip(steps, by_step, strict=True):
                out += [Estimand({**head, "step": step, "evaluated": s}, w) for s, w in weights.items()]
            out += _slopes(head, steps, by_step)
    return out


def _groups(found: Sequence[Arm]) -> dict[tuple[str, ...], list[Arm]]:
    groups: dict[tuple[str, ...], list[Arm]] = {}
    for arm in found:
        groups.setdefault(tuple(arm.group.values()), []).append(arm)
    return groups


def _sides_at(
    comparison: Comparison, members: Sequence[Arm], step: int, settings: Settings, weighting: str
) -> dict[str, Floats] | None:
    """Weights of both sides over the arms that have both, from the checkpoints of one step."""
    inside, outside = [], []
    for arm in members:
        here = Arm(arm.group, arm.train_domain, tuple(u for u in arm.units if comparison.units[u].step == step))
        side = sides(comparison, here, settings.in_domain)
        weights = [arm_weights(comparison, here, side[s], weighting) for s in (ID, OOD)]
        if weights[0] is not None and weights[1] is not None:
            inside.append(weights[0])
            outside.append(weights[1])
    if not inside:
        return None
    mean_in, mean_out = np.mean(inside, axis=0), np.mean(outside, axis=0)
    return {ID: mean_in, OOD: mean_out, GAP: mean_in - mean_out}


def _slopes(
    head: Mapping[str, object], steps: Sequence[int], by_step: Sequence[Mapping[str, Floats]]
) -> list[Estimand]:
    """Least-squares slopes over the checkpoints: weighted sums of changes like everything else."""
    if len(steps) < 2:
        return []
    times = np.asarray(steps, dtype=float) / PER_STEPS
    factors = (times - times.mean()) / ((times - times.mean()) ** 2).sum()
    return [
        Estimand(
            {**head, "kind": "slope", "evaluated": side},
            np.sum([f * weights[side] for f, weights in zip(factors, by_step, strict=True)], axis=0),
        )
        for side in (ID, OOD, GAP)
    ]
