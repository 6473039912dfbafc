"""Figures of the agents study: the matrix of success, the OOD scores, and the scores against the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from experiments.analysis import Analysis
from experiments.axes import AXES, CORRELATED
from experiments.drawing import (
    GREY,
    NARROW_IN,
    WIDE_IN,
    Draw,
    Drawing,
    interval,
    new,
    p_text,
    plain,
    points,
    varying,
)
from experiments.effects import records
from experiments.matrix import START

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FAINT = 10.0  # points: changes much smaller than this stay pale, also where there is none larger
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def source_label(row: Mapping[str, Any], names: Sequence[str], *, starts: bool = True) -> str:
    """The environment trained in, or that this is where training starts; and what sets the arm apart."""
    extra = [str(row[name]) for name in names if row.get(name)]
    head = str(row.get("train_domain") or START) if starts else ""
    return "\n".join(part for part in (head, ", ".join(extra)) if part)


def percent(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.1f}"


def matrix(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Sources × targets: success with its interval, and the change against the starting checkpoint as colour."""
    table = analysis.tables["matrix"]
    if table.empty or table["success_percent"].isna().all():
        return None
    rows = in_order(records(table))
    names = varying(analysis)
    labels = list(dict.fromkeys(source_label(r, names) for r in rows))
    targets = list(dict.fromkeys(str(r["evaluated"]) for r in rows))
    many = len(targets) > (3 if narrow else 6)
    width = NARROW_IN if narrow else min(WIDE_IN, 2.6 + 1.6 * len(targets))
    drawing = new(width, (1.7 if many else 1.0) + 0.74 * len(labels))
    axes = drawing.figure.subplots()
    changes = [abs(r["delta_points"]) for r in rows if r["delta_points"] is not None]
    limit = max([FAINT, *changes])
    for row in rows:
        place = targets.index(str(row["evaluated"])), labels.index(source_label(row, names))
        _matrix_cell(drawing, axes, row, place, limit, label=source_label(row, names), small=narrow)
    axes.set_xlim(-0.5, len(targets) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks(range(len(targets)), targets, rotation=55 if many else 0, ha="left" if many else "center")
    axes.set_yticks(range(len(labels)), labels, fontsize=6.5 if narrow else 8.5)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.set_xlabel("success, % (interval)\nchange, points" if narrow else
                    "success, % (interval); below it the change against the starting checkpoint, points")  # fmt: skip
    return drawing


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each starting checkpoint before what was trained from it."""
    bases = list(dict.fromkeys((row["base"], row.get("warmup") or "") for row in rows))
    return sorted(rows, key=lambda r: (bases.index((r["base"], r.get("warmup") or "")), r["train_domain"] is not None))


def _matrix_cell(
    drawing: Drawing,
    axes: Axes,
    row: Mapping[str, Any],
    place: tuple[int, int],
    limit: float,
    *,
    label: str,
    small: bool,
) -> None:
    x, y = place
    success, change = row["success_percent"], row["delta_points"]
    shade = 0.5 + 0.42 * change / limit if change is not None else None
    colour = "#f4f4f4" if shade is None else matplotlib.colormaps["PuOr"](shade)
    low, high = row["low_percent"], row["high_percent"]
    spread = "" if low is None else f"{percent(low)} to {percent(high)}"
    tip = (
        f"{label}, evaluated in {row['evaluated']}: success {percent(success)} % ({spread or 'no interval'}); "
        f"{row['n_items']} tasks, {row['n_samples']} episodes"
    )
    if row["train_domain"] is not None:
        tip += (
            f", {row['n_seeds'] or 0:.0f} runs; change {points(change)} points "
            f"({interval(row['low_points'], row['high_points'])}), Holm p {p_text(row['p_holm'])}"
        )
    patch = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#ffffff" if success is None else colour, edgecolor="#c8c8c8",
                      hatch="////" if success is None else None)  # fmt: skip
    patch.set_gid(drawing.tip(tip.replace("\n", " ")))
    axes.add_patch(patch)
    ink = "white" if change is not None and abs(change) > 0.75 * limit else "black"
    size = 6.0 if small else 7.5
    axes.text(x, y - 0.24, percent(success), ha="center", va="center", fontsize=8.5 if small else 11, color=ink)
    axes.text(x, y + 0.05, spread, ha="center", va="center", fontsize=size, color=ink)
    if change is not None:
        axes.text(x, y + 0.3, points(change), ha="center", va="center", fontsize=size, color=ink)
    if row["in_domain"]:
        axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="black", linewidth=2.4))


def ood_scores(analysis: Analysis, narrow: bool) -> Drawing | None:
    """The OOD score of every source with its interval, one panel a group of arms."""
    table = analysis.tables["ood_scores"]
    if table.empty or table["ood_score"].isna().all():
        return None
    names = varying(analysis)
    rows = [row for row in records(table) if row["ood_score"] is not None]
    panels = list(dict.fromkeys(source_label(row, names, starts=False) for row in rows))
    sources = list(dict.fromkeys(str(row["train_domain"]) for row in rows))
    across = 1 if narrow else min(3, len(panels))
    down = -(-len(panels) // across)
    drawing = new(NARROW_IN if narrow else max(5.5, 3.0 * across), 0.6 + down * (0.75 + 0.32 * len(sources)))
    grid = drawing.figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    flat: list[Axes] = list(grid.ravel())
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(flat, panels, strict=False):
        for row in rows:
            if source_label(row, names, starts=False) == panel:
                _score_mark(drawing, axes, row, sources.index(str(row["train_domain"])))
        axes.set_title(panel.replace("\n", " "), fontsize=8.5)
        axes.set_yticks(range(len(sources)), sources)
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=True)
        plain(axes)
    drawing.figure.supxlabel("OOD score: sum of ranks, higher is better", fontsize=9)
    return drawing


def _score_mark(drawing: Drawing, axes: Axes, row: Mapping[str, Any], y: int) -> None:
    low, high = row["low_score"], row["high_score"]
    tip = f"trained in {row['train_domain']}: OOD score {row['ood_score']:.0f} ({row['ranks']})"
    if low is not None:
        tip += f"; redrawn {low:.0f} to {high:.0f}, best in {row['best_percent']:.0f} % of the draws"
        (line,) = axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=1.8, solid_capstyle="butt")
        line.set_gid(drawing.tip(tip))
    axes.plot([row["ood_score"]], [y], marker="o", markersize=6.5, color=COLOURS[0], gid=drawing.tip(tip))


def axes(analysis: Analysis, narrow: bool) -> Drawing | None:
    """The OOD score against each axis, a point a training environment."""
    pairs = _scores_with_axes(analysis)
    if pairs.empty:
        return None
    names = varying(analysis)
    across = 1 if narrow else len(CORRELATED)
    down = len(CORRELATED) if narrow else 1
    drawing = new(NARROW_IN if narrow else WIDE_IN, 0.7 + 2.7 * down)
    grid = drawing.figure.subplots(down, across, sharey=True, squeeze=False)
    rows = records(pairs)
    groups = list(dict.fromkeys(source_label(row, names, starts=False) for row in rows))
    sources = list(dict.fromkeys(str(row["train_domain"]) for row in rows))
    for panel, axis in zip(grid.ravel(), CORRELATED, strict=True):
        for row in rows:
            group = groups.index(source_label(row, names, starts=False))
            beside = 0.09 * (group - (len(groups) - 1) / 2)  # equal scores stay apart
            _axis_mark(drawing, panel, row, axis, (sources.index(str(row["train_domain"])), group), beside)
        panel.margins(x=0.1, y=0.12)
        panel.set_xlabel(AXES[axis].replace(" (", "\n("), fontsize=8)
        panel.set_ylabel("OOD score" if narrow or panel is grid[0][0] else "")
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(color="#e2e2e2", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    for number, source in enumerate(sources):
        grid[0][0].plot([], [], marker="o", color=COLOURS[number % 7], linestyle="none", label=source)
    for number, group_name in enumerate(groups if len(groups) > 1 else ()):
        grid[0][0].plot([], [], marker=MARKS[number % 7], color=GREY, linestyle="none", markerfacecolor="white",
                        label=group_name.replace("\n", " ") or "plain")  # fmt: skip
    drawing.figure.legend(loc="outside upper center", ncols=2 if narrow else 4, frameon=False, fontsize=8)
    return drawing


def _scores_with_axes(analysis: Analysis) -> pd.DataFrame:
    """Each source with a score beside what was probed, for the groups that a correlation was made of."""
    scores, probed, related = (analysis.tables[name] for name in ("ood_scores", "axes", "correlations"))
    if related.empty:
        return pd.DataFrame()
    group = [name for name in analysis.study.arm if name in related and name in scores]
    policies = related[[*group, "policy"]].drop_duplicates()
    beside = probed.rename(columns={"environment": "train_domain"}).drop_duplicates(["train_domain", "policy"])
    return scores.merge(policies, on=group).merge(beside, on=["train_domain", "policy"]).dropna(subset=["ood_score"])


def _axis_mark(
    drawing: Drawing, panel: Axes, row: Mapping[str, Any], axis: str, kind: tuple[int, int], beside: float
) -> None:
    """A colour an environment, a shape a group of arms."""
    x, y = row[f"{axis}_mean"], row["ood_score"] + beside
    low, high = row[f"{axis}_low"], row[f"{axis}_high"]
    colour = COLOURS[kind[0] % 7]
    tip = f"{row['train_domain']}: {AXES[axis]} {x:.4g} ({low:.4g} to {high:.4g}), OOD score {row['ood_score']:.0f}"
    panel.plot([low, high], [y, y], color=colour, linewidth=1.1, alpha=0.5)
    if row["low_score"] is not None:
        panel.plot([x, x], [row["low_score"], row["high_score"]], color=colour, linewidth=1.1, alpha=0.5)
    panel.plot([x], [y], marker=MARKS[kind[1] % 7], color=colour, linestyle="none", gid=drawing.tip(tip))


TITLES: Mapping[str, tuple[Draw, str, str]] = {
    "matrix": (
        matrix,
        "Success of every source in every environment",
        "Mean success over the averaged checkpoints and training runs, with its interval over tasks and runs; below it "
        "the change against the starting checkpoint, which is also the colour (purple: gain, orange: loss). Framed: "
        "the environment that the source was trained in. Hatched: not evaluated.",
    ),
    "ood_scores": (
        ood_scores,
        "OOD score of every source",
        "Sum over the environments that a source was not trained in of its dense rank there, 1 for the lowest success; "
        "neighbours closer than half a point share a rank. Lines: intervals over redrawn tasks and runs.",
    ),
    "axes": (
        axes,
        "OOD score against the axes of the environments",
        "One point a training environment; horizontal lines are the probe's intervals over episodes, vertical ones "
        "those of the score. So few points establish no relation by themselves: the table of correlations has the "
        "smallest p that so many can reach.",
    ),
}
