"""The figures of a report, drawn from its tables: nothing is computed here that a table does not hold.

Every figure has a wide and a narrow form (for phones). Colours are Okabe and Ito's; marker shapes and
printed numbers say the same as the colours. Points carry their numbers as hover text in the SVG.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, ScalarFormatter

from experiments import agent_figures
from experiments.analysis import Analysis
from experiments.curves import forgetting, reasoning, trajectory
from experiments.drawing import (
    COLOURS,
    GREY,
    MARKERS,
    NARROW_IN,
    WIDE_IN,
    Draw,
    Drawing,
    FigureFile,
    arm_label,
    interval,
    mark,
    new,
    p_text,
    plain,
    points,
    to_svg,
    varying,
)
from experiments.effects import records
from experiments.transfer import GAP, ID, OOD

MANY_ARMS = 9  # from here on, one panel a benchmark would be too tall: a heat map says it better


def transfer(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Change inside and outside the training domain: points and odds ratios, with intervals."""
    effects = pd.concat([analysis.effects("arm"), analysis.effects("average")])
    effects = effects[effects["evaluated"].isin([ID, OOD])]
    if effects.empty or effects["delta_points"].isna().all():
        return None
    names = varying(analysis)
    labels = list(dict.fromkeys(arm_label(r, names) for r in records(effects)))
    rows = len(labels)
    height = 1.3 + 0.52 * rows
    drawing = new(*((NARROW_IN, 2 * height) if narrow else (WIDE_IN, height)))
    grid = drawing.figure.subplots(2 if narrow else 1, 1 if narrow else 2, sharey=not narrow, squeeze=False)
    left, right = list(grid.ravel())
    for record in records(effects):
        side, y = record["evaluated"], labels.index(arm_label(record, names))
        row = {"value": record["delta_points"], "low": record["low_points"], "high": record["high_points"]}
        text = (
            f"{arm_label(record, names)}, {side}: {points(row['value'])} points "
            f"({interval(row['low'], row['high'])}); {record['n_items']} items, {record['n_seeds']} runs"
        ).replace("\n", " ")
        mark(drawing, left, row, y + (-0.13 if side == ID else 0.13), side, text)
    _odds_panel(drawing, right, analysis, labels, names)
    _side_axes(left, labels, "change, points" if narrow else "change of pass@1, percentage points", 0.0)
    _side_axes(right, labels, "odds ratio (log)" if narrow else "common odds ratio (log scale)", 1.0)
    for side in (ID, OOD):
        left.plot([], [], marker=MARKERS[side], color=COLOURS[side], label=side, linewidth=1.8,
                  markerfacecolor=COLOURS[side] if side == ID else "white")  # fmt: skip
    drawing.figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return drawing


def _odds_panel(drawing: Drawing, axes: Axes, analysis: Analysis, labels: Sequence[str], names: Sequence[str]) -> None:
    axes.set_xscale("log")
    table = analysis.tables["odds"]
    if table.empty:
        axes.text(0.5, 0.5, "no odds ratio: scores are not right or wrong", transform=axes.transAxes,
                  ha="center", color=GREY)  # fmt: skip
        return
    for record in records(table[table["kind"].isin(["side", "average"])]):
        label = arm_label(record, names)
        if label in labels:
            side, y = record["evaluated"], labels.index(label)
            row = {"value": record["odds_ratio"], "low": record["low"], "high": record["high"]}
            text = f"{label}, {side}".replace("\n", " ")
            if record["odds_ratio"] is not None:
                text += f": odds ratio {record['odds_ratio']:.2f}"
            if record["low"] is not None:
                text += f" ({record['low']:.2f} to {record['high']:.2f}); CMH p {p_text(record['cmh_p'])}"
            mark(drawing, axes, row, y + (-0.13 if side == ID else 0.13), side, text)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    ticks = [t for t in (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50) if low <= t <= high]
    axes.set_xticks(ticks or [1])


def _side_axes(axes: Axes, labels: Sequence[str], title: str, zero: float) -> None:
    axes.axvline(zero, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(title)
    plain(axes)


def cells(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Training domain × evaluated domain; cells inside the training domain are framed."""
    return _heat_map(analysis, analysis.effects("cell"), narrow, "change of pass@1 by evaluated domain, points")


def stages(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Stage of a cascade × evaluated domain: what this stage alone changed."""
    return _heat_map(analysis, analysis.tables["stages"], narrow, "change by this stage alone, points")


def _heat_map(analysis: Analysis, table: pd.DataFrame, narrow: bool, title: str) -> Drawing | None:
    if table.empty or table["delta_points"].isna().all():
        return None
    names = varying(analysis)
    rows = list(dict.fromkeys(arm_label(r, names) for r in records(table)))
    columns = list(dict.fromkeys(str(v) for v in table["evaluated"]))
    many = len(columns) > 5
    width = NARROW_IN if narrow else min(WIDE_IN, 2.4 + 1.7 * len(columns))
    drawing = new(width, (1.9 if many else 1.1) + (0.5 if many else 0.72) * len(rows))
    axes = drawing.figure.subplots()
    limit = max(1.0, float(np.nanmax(np.abs(table["delta_points"].astype(float)))))
    for record in records(table):
        x, y = columns.index(record["evaluated"]), rows.index(arm_label(record, names))
        _cell(drawing, axes, record, (x, y), limit, names, (5.0 if many else 6.5) if narrow else 7.5, not many)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns, rotation=60 if many else 0, ha="left" if many else "center")
    axes.set_yticks(range(len(rows)), rows, fontsize=7 if narrow and many else 9)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.set_xlabel("change of pass@1, points" if narrow else title)
    return drawing


def _cell(
    drawing: Drawing,
    axes: Axes,
    record: Mapping[str, object],
    place: tuple[int, int],
    limit: float,
    names: Sequence[str],
    size: float,
    with_interval: bool,
) -> None:
    x, y = place
    value, low, high, holm = (_float(record[k]) for k in ("delta_points", "low_points", "high_points", "p_holm"))
    colour = "#ffffff" if value is None else matplotlib.colormaps["PuOr"](0.5 + 0.42 * value / limit)
    tip = (
        f"{arm_label(record, names)}, evaluated on {record['evaluated']}: {points(value)} points "
        f"({interval(low, high)}), Holm p {p_text(holm)}; {record['n_items']} items, "
        f"{record['n_samples']} samples, {record['n_seeds']} runs"
    ).replace("\n", " ")
    hatch = "////" if value is None else None
    patch = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#c8c8c8", hatch=hatch)
    patch.set_gid(drawing.tip(tip))
    axes.add_patch(patch)
    ink = "white" if value is not None and abs(value) > 0.75 * limit else "black"
    if with_interval:
        axes.text(x, y - 0.13, points(value), ha="center", va="center", fontsize=11, color=ink)
        spread = interval(low, high) if value is not None else "not evaluated"
        axes.text(x, y + 0.2, spread, ha="center", va="center", fontsize=size, color=ink)
    else:
        axes.text(x, y, points(value), ha="center", va="center", fontsize=size, color=ink)
    if record["in_domain"]:
        frame = Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="black", linewidth=2.4)
        axes.add_patch(frame)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def benchmarks(analysis: Analysis, narrow: bool) -> Drawing | None:
    """One small panel a benchmark: the change under every arm."""
    table = analysis.effects("benchmark")
    table = table[table["delta_points"].notna()]
    if table.empty:
        return None
    names = varying(analysis)
    labels = list(dict.fromkeys(arm_label(r, names) for r in records(table)))
    if len(labels) >= MANY_ARMS:
        return _heat_map(analysis, table, narrow, "change of pass@1 by benchmark, points")
    panels = list(dict.fromkeys(str(v) for v in table["evaluated"]))
    domains = {b.name: b.domain for b in analysis.comparison.benchmarks}
    across = 1 if narrow else min(4 if len(panels) > 6 else 3, len(panels))
    down = -(-len(panels) // across)
    drawing = new(NARROW_IN if narrow else WIDE_IN, 0.5 + down * (0.8 + 0.34 * len(labels)))
    grid = drawing.figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    flat: list[Axes] = list(grid.ravel())
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(flat, panels, strict=False):
        for record in records(table[table["evaluated"] == panel]):
            side = ID if record["in_domain"] else OOD
            row = {
                "value": record["delta_points"],
                "low": record["low_points"],
                "high": record["high_points"],
            }
            tip = (
                f"{panel}, {arm_label(record, names)}: {points(row['value'])} points "
                f"({interval(row['low'], row['high'])}); {record['n_items']} items, {record['n_seeds']} runs"
            ).replace("\n", " ")
            mark(drawing, axes, row, labels.index(arm_label(record, names)), side, tip)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{panel} ({domains.get(panel, '')})", fontsize=9)
        axes.set_yticks(range(len(labels)), [label.replace("trained on ", "") for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        plain(axes)
    drawing.figure.supxlabel("change of pass@1, percentage points", fontsize=9)
    drawing.figure.supylabel("trained on", fontsize=9)
    return drawing


def contrasts(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Each level of the study's factor against the reference, inside and outside."""
    table = analysis.tables["contrasts"]
    if table.empty or table["delta_points"].isna().all():
        return None
    table = table[(table["kind"] == "contrast") & table["evaluated"].isin([ID, OOD, GAP])]
    if table.empty:
        return None
    labels = [f"{r['level']}\nagainst {r['reference']}" for r in records(table)]
    unique = list(dict.fromkeys(labels))
    drawing = new(NARROW_IN if narrow else 7.0, 1.4 + 0.6 * len(unique))
    axes = drawing.figure.subplots()
    offsets = {ID: -0.22, OOD: 0.0, GAP: 0.22}
    for label, record in zip(labels, records(table), strict=True):
        side = str(record["evaluated"])
        row = {"value": record["delta_points"], "low": record["low_points"], "high": record["high_points"]}
        tip = f"{label}, {side}: {points(row['value'])} points ({interval(row['low'], row['high'])})"
        mark(drawing, axes, row, unique.index(label) + offsets[side], side, tip.replace("\n", " "))
    for side in (ID, OOD, GAP):
        axes.plot([], [], marker=MARKERS[side], color=COLOURS[side], label=side, linewidth=1.8,
                  markerfacecolor="white" if side == OOD else COLOURS[side])  # fmt: skip
    _side_axes(axes, unique, f"difference{'' if narrow else ' of changes'}, percentage points", 0.0)
    drawing.figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return drawing


TITLES: Mapping[str, tuple[Draw, str, str]] = {
    "transfer": (
        transfer,
        "Inside and outside the training domain",
        "Change of pass@1 against the base model and the common odds ratio over benchmarks "
        "(Mantel-Haenszel). Filled circles: benchmarks of the training domain; open squares: all others. "
        "Lines are intervals; those of odds ratios take every sample as independent, and the average of odds "
        "ratios is their geometric mean.",
    ),
    "cells": (
        cells,
        "Every training domain on every evaluated domain",
        "Change of pass@1 with its interval. Framed cells lie inside the training domain. "
        "Purple stands for gains and orange for losses; hatched cells were not evaluated.",
    ),
    "benchmarks": (
        benchmarks,
        "By benchmark",
        "Change of pass@1 on each benchmark with its interval; filled circles, or framed cells, lie inside the "
        "training domain.",
    ),
    "trajectory": (
        trajectory,
        "Along training",
        "Change of pass@1 by training step, averaged over training domains, inside (solid, circles) and "
        "outside (dashed, squares) the training domain; bands are intervals. The base is step 0.",
    ),
    "contrasts": (
        contrasts,
        "Levels against each other",
        "Difference of the changes under two levels of the factor, everything else equal. Filled circles: "
        "inside the training domain; open squares: outside; diamonds: the gap between the two.",
    ),
    "stages": (
        stages,
        "What each stage changed",
        "Change of pass@1 against the model that the stage started from. Framed cells lie inside the stage's "
        "training domain.",
    ),
    **agent_figures.TITLES,
    "forgetting": (
        forgetting,
        "KL to the base and the change outside",
        "Each point is a checkpoint: its KL to the base as logged in training, and its change of pass@1 outside "
        "the training domain. The line is the least-squares fit.",
    ),
    "reasoning": (
        reasoning,
        "Kinds of reasoning",
        "Change of the share of answers that show each kind, by rules on their text, with intervals.",
    ),
}


def draw(name: str, analysis: Analysis) -> FigureFile | None:
    """One figure in all its forms; None where its numbers are not there yet."""
    make, title, caption = TITLES[name]
    with matplotlib.rc_context(
        {"font.size": 9, "svg.fonttype": "path", "svg.hashsalt": name, "axes.edgecolor": "#333333"}
    ):
        wide, narrow = make(analysis, False), make(analysis, True)
        if wide is None or narrow is None:
            return None
        for drawing in (wide, narrow):
            drawing.figure.draw_without_rendering()  # lays it out once, for all forms
            drawing.figure.set_layout_engine("none")
        picture = io.BytesIO()
        wide.figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        return FigureFile(
            name, title, caption, to_svg(wide, f"{name}-w"), to_svg(narrow, f"{name}-n"), picture.getvalue()
        )
