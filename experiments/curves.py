"""Figures over a continuous axis and of kinds: trajectories, forgetting against KL, reasoning."""

from __future__ import annotations

import numpy as np

from experiments.analysis import Analysis
from experiments.drawing import (
    COLOURS,
    GREY,
    MARKERS,
    NARROW_IN,
    Drawing,
    arm_label,
    interval,
    mark,
    new,
    plain,
    points,
    varying,
)
from experiments.effects import records
from experiments.transfer import ID, OOD

DOMAIN_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DOMAIN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def trajectory(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Both sides by step with bands, one panel a group of arms."""
    table = analysis.tables["trajectory"]
    if table.empty:
        return None
    table = table[(table["kind"] == "step") & (table["weighting"] == analysis.settings.weighting)]
    table = table[table["evaluated"].isin([ID, OOD])]
    if table.empty or table["delta_points"].isna().all():
        return None
    names = varying(analysis)
    panels = list(dict.fromkeys(arm_label(r, names) for r in records(table)))
    across = 1 if narrow else min(3, len(panels))
    down = -(-len(panels) // across)
    drawing = new(NARROW_IN if narrow else max(6.0, 3.2 * across), 0.6 + 2.6 * down)
    grid = drawing.figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    flat = list(grid.ravel())
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(flat, panels, strict=False):
        for side in (ID, OOD):
            rows = [r for r in records(table) if arm_label(r, names) == panel and r["evaluated"] == side]
            rows.sort(key=lambda r: int(r["step"]))
            steps = [0, *(int(r["step"]) for r in rows)]
            low, high = ([0.0, *(r[k] if r[k] is not None else np.nan for r in rows)]
                         for k in ("low_points", "high_points"))  # fmt: skip
            axes.fill_between(steps, low, high, color=COLOURS[side], alpha=0.16, linewidth=0)
            values = [0.0, *(r["delta_points"] for r in rows)]
            axes.plot(steps, values, color=COLOURS[side], linestyle="-" if side == ID else "--", label=side)
            for row in rows:
                tip = (
                    f"{panel}, step {row['step']}, {side}: {points(row['delta_points'])} points "
                    f"({interval(row['low_points'], row['high_points'])}); {row['n_seeds']} runs"
                ).replace("\n", " ")
                axes.plot(
                    [row["step"]], [row["delta_points"]], marker=MARKERS[side], color=COLOURS[side],
                    markerfacecolor=COLOURS[side] if side == ID else "white", gid=drawing.tip(tip),
                )  # fmt: skip
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(panel.replace("\n", " "), fontsize=9)
        axes.set_xlabel("training step")
        axes.set_ylabel("change, points")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e2e2e2", linewidth=0.6)
    handles, labels = flat[0].get_legend_handles_labels()
    drawing.figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return drawing


def forgetting(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Change outside the training domain against KL to the base, a point a checkpoint."""
    table = analysis.tables["dynamics"]
    if table.empty or table["kl"].isna().all():
        return None
    drawing = new(NARROW_IN if narrow else 6.0, 3.4)
    axes = drawing.figure.subplots()
    domains = list(dict.fromkeys(str(d) for d in table["train_domain"]))
    for record in records(table):
        if record["kl"] is None or record["outside_points"] is None:
            continue
        kind = domains.index(str(record["train_domain"])) % len(DOMAIN_COLOURS)
        tip = (
            f"trained on {record['train_domain']}, seed {record['seed']}, step {record['step']}: KL "
            f"{record['kl']:.4g}, outside {points(record['outside_points'])} points"
        )
        axes.plot([record["kl"]], [record["outside_points"]], marker=DOMAIN_MARKERS[kind], linestyle="none",
                  color=DOMAIN_COLOURS[kind], markerfacecolor="white", gid=drawing.tip(tip))  # fmt: skip
    for kind, domain in enumerate(domains):
        axes.plot([], [], marker=DOMAIN_MARKERS[kind % 7], color=DOMAIN_COLOURS[kind % 7], linestyle="none",
                  markerfacecolor="white", label=f"trained on {domain}")  # fmt: skip
    fit = records(analysis.tables["forgetting"])
    if fit and fit[0]["slope"] is not None:
        known = table.dropna(subset=["kl", "outside_points"])
        x = np.array([known["kl"].astype(float).min(), known["kl"].astype(float).max()])
        middle = known["outside_points"].astype(float).mean() - fit[0]["slope"] * known["kl"].astype(float).mean()
        axes.plot(x, middle + fit[0]["slope"] * x, color=GREY, linewidth=1.2)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("KL to the base")
    axes.set_ylabel("change outside, points")
    axes.spines[["top", "right"]].set_visible(False)
    drawing.figure.legend(loc="outside upper center", ncols=1 if narrow else 3, frameon=False)
    return drawing


def reasoning(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Change of each kind's share, inside and outside the training domain, one panel an arm."""
    table = analysis.tables["reasoning"]
    if table.empty or table["delta_points"].isna().all():
        return None
    if (table["base_percent"] + table["trained_percent"]).max() == 0:
        return None  # no answer shows any kind
    names = varying(analysis)
    arms = list(dict.fromkeys(arm_label(r, names) for r in records(table)))[:12]
    kinds = list(dict.fromkeys(str(v) for v in table["strategy"]))
    across = 1 if narrow else min(3, len(arms))
    down = -(-len(arms) // across)
    drawing = new(NARROW_IN if narrow else max(6.0, 3.0 * across), 0.7 + down * 2.5)
    grid = drawing.figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    flat = list(grid.ravel())
    for axes in flat[len(arms) :]:
        axes.set_visible(False)
    for axes, arm in zip(flat, arms, strict=False):
        rows = [r for r in records(table) if arm_label(r, names) == arm]
        domains = list(dict.fromkeys(r["evaluated"] for r in rows))
        for record in rows:
            side = ID if record["in_domain"] else OOD
            shift = 0.5 * (domains.index(record["evaluated"]) + 0.5) / len(domains) - 0.25
            row = {"value": record["delta_points"], "low": record["low_points"], "high": record["high_points"]}
            tip = (
                f"{arm}, answers on {record['evaluated']}, {record['strategy']}: base {record['base_percent']:.1f} %, "
                f"trained {record['trained_percent']:.1f} %, {points(row['value'])} points "
                f"({interval(row['low'], row['high'])})"
            ).replace("\n", " ")
            mark(drawing, axes, row, kinds.index(record["strategy"]) + shift, side, tip)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        axes.set_title(arm.replace("\n", " "), fontsize=9)
        plain(axes)
    drawing.figure.supxlabel("change of the share of answers, points", fontsize=9)
    return drawing
