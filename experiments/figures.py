"""The figures of a report, drawn from its tables: nothing is computed here that a table does not hold.

Every figure has a wide and a narrow form (for phones). Colours are Okabe and Ito's; marker shapes and
printed numbers say the same as the colours. Points carry their numbers as hover text in the SVG.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, ScalarFormatter

from experiments.analysis import Analysis
from experiments.effects import records
from experiments.transfer import GAP, ID, OOD

COLOURS = {ID: "#0072B2", OOD: "#D55E00", GAP: "#000000"}
MARKERS = {ID: "o", OOD: "s", GAP: "D"}
GREY = "#595959"
WIDE_IN, NARROW_IN = 9.0, 4.1


@dataclass
class Drawing:
    """A figure and the hover texts of its marks, by the mark's id."""

    figure: Figure
    tips: dict[str, str] = field(default_factory=dict)

    def tip(self, text: str) -> str:
        key = f"tip-{len(self.tips)}"
        self.tips[key] = text
        return key


@dataclass(frozen=True)
class FigureFile:
    """A drawn figure in every form that the report needs."""

    name: str
    title: str
    caption: str
    wide_svg: str
    narrow_svg: str
    png: bytes


Draw = Callable[[Analysis, bool], Drawing | None]


def points(value: float | None, digits: int = 1) -> str:
    """A signed number of points; a dash where it is undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return (text if float(text) else text.replace("-", "+")).replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    if low is None or high is None or not np.isfinite(low) or not np.isfinite(high):
        return "no interval"
    return f"{points(low, digits)} to {points(high, digits)}"


def arm_label(row: Mapping[str, object], varying: Sequence[str]) -> str:
    """The training domain, and of base, algorithm and reward what differs within the report."""
    extra = [str(row[name]) for name in varying if name in row and str(row[name])]
    domain = str(row.get("train_domain") or "")
    head = f"trained on {domain}" if domain else "average"
    return head + (f"\n{', '.join(extra)}" if extra else "")


def varying(analysis: Analysis) -> list[str]:
    """Which parts of an arm take more than one value here."""
    table = analysis.tables["effects"]
    return [name for name in analysis.study.arm if name in table and table[name].dropna().nunique() > 1]


def _new(width: float, height: float) -> Drawing:
    return Drawing(Figure(figsize=(width, height), layout="constrained"))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e2e2e2", linewidth=0.6)
    axes.set_axisbelow(True)


def _mark(drawing: Drawing, axes: Axes, row: Mapping[str, float | None], y: float, side: str, tip: str) -> None:
    value, low, high = row["value"], row["low"], row["high"]
    if value is None or not np.isfinite(value):
        axes.text(0.01, y, "–", transform=axes.get_yaxis_transform(), va="center", color=GREY)
        return
    gid = drawing.tip(tip)
    if low is not None and high is not None and np.isfinite(low) and np.isfinite(high):
        (line,) = axes.plot([low, high], [y, y], color=COLOURS[side], linewidth=1.8, solid_capstyle="butt")
        line.set_gid(drawing.tip(tip))
    axes.plot(
        [value], [y], marker=MARKERS[side], markersize=6.5, color=COLOURS[side], linestyle="none", gid=gid,
        markerfacecolor=COLOURS[side] if side != OOD else "white", markeredgewidth=1.6,
    )  # fmt: skip


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
    drawing = _new(*((NARROW_IN, 2 * height) if narrow else (WIDE_IN, height)))
    grid = drawing.figure.subplots(2 if narrow else 1, 1 if narrow else 2, sharey=not narrow, squeeze=False)
    left, right = list(grid.ravel())
    for record in records(effects):
        side, y = record["evaluated"], labels.index(arm_label(record, names))
        row = {"value": record["delta_points"], "low": record["low_points"], "high": record["high_points"]}
        text = (
            f"{arm_label(record, names)}, {side}: {points(row['value'])} points "
            f"({interval(row['low'], row['high'])}); {record['n_items']} items, {record['n_seeds']} runs"
        ).replace("\n", " ")
        _mark(drawing, left, row, y + (-0.13 if side == ID else 0.13), side, text)
    _odds_panel(drawing, right, analysis, labels, names)
    _side_axes(left, labels, "change of pass@1, percentage points", 0.0)
    _side_axes(right, labels, "common odds ratio (log scale)", 1.0)
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
    for record in records(table[table["kind"] == "side"]):
        label = arm_label(record, names)
        if label in labels:
            side, y = record["evaluated"], labels.index(label)
            row = {"value": record["odds_ratio"], "low": record["low"], "high": record["high"]}
            text = f"{label}, {side}".replace("\n", " ")
            if record["odds_ratio"] is not None:
                text += (
                    f": odds ratio {record['odds_ratio']:.2f} ({record['low']:.2f} to {record['high']:.2f}); "
                    f"CMH p {_p(record['cmh_p'])}"
                )
            _mark(drawing, axes, row, y + (-0.13 if side == ID else 0.13), side, text)
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
    _plain(axes)


def cells(analysis: Analysis, narrow: bool) -> Drawing | None:
    """Training domain × evaluated domain; cells inside the training domain are framed."""
    table = analysis.effects("cell")
    if table.empty or table["delta_points"].isna().all():
        return None
    names = varying(analysis)
    rows = list(dict.fromkeys(arm_label(r, names) for r in records(table)))
    columns = list(dict.fromkeys(str(v) for v in table["evaluated"]))
    width = NARROW_IN if narrow else min(WIDE_IN, 2.4 + 1.7 * len(columns))
    drawing = _new(width, 1.1 + 0.72 * len(rows))
    axes = drawing.figure.subplots()
    limit = max(1.0, float(np.nanmax(np.abs(table["delta_points"].astype(float)))))
    shades = matplotlib.colormaps["PuOr"]
    for record in records(table):
        x, y = columns.index(record["evaluated"]), rows.index(arm_label(record, names))
        value = record["delta_points"]
        known = value is not None and np.isfinite(value)
        colour = shades(0.5 + 0.42 * value / limit) if known else "#ffffff"
        tip = (
            f"{arm_label(record, names)}, evaluated on {record['evaluated']}: {points(value)} points "
            f"({interval(record['low_points'], record['high_points'])}), Holm p "
            f"{_p(record['p_holm'])}; {record['n_items']} items, {record['n_samples']} samples, "
            f"{record['n_seeds']} runs"
        ).replace("\n", " ")
        hatch = None if known else "////"
        patch = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#c8c8c8", hatch=hatch)
        patch.set_gid(drawing.tip(tip))
        axes.add_patch(patch)
        dark = known and abs(value) > 0.75 * limit
        ink = "white" if dark else "black"
        axes.text(x, y - 0.13, points(value), ha="center", va="center", fontsize=11, color=ink)
        spread = interval(record["low_points"], record["high_points"]) if known else "not evaluated"
        axes.text(x, y + 0.2, spread, ha="center", va="center", fontsize=6.5 if narrow else 7.5, color=ink)
        if record["in_domain"]:
            frame = Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor="black", linewidth=2.4)
            axes.add_patch(frame)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.set_xlabel("change of pass@1, points" if narrow else "change of pass@1 by evaluated domain, points")
    return drawing


def _p(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def benchmarks(analysis: Analysis, narrow: bool) -> Drawing | None:
    """One small panel a benchmark: the change under every arm."""
    table = analysis.effects("benchmark")
    table = table[table["delta_points"].notna()]
    if table.empty:
        return None
    names = varying(analysis)
    labels = list(dict.fromkeys(arm_label(r, names) for r in records(table)))
    panels = list(dict.fromkeys(str(v) for v in table["evaluated"]))
    domains = {b.name: b.domain for b in analysis.comparison.benchmarks}
    across = 1 if narrow else min(4 if len(panels) > 6 else 3, len(panels))
    down = -(-len(panels) // across)
    drawing = _new(NARROW_IN if narrow else WIDE_IN, 0.5 + down * (0.8 + 0.34 * len(labels)))
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
            _mark(drawing, axes, row, labels.index(arm_label(record, names)), side, tip)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{panel} ({domains.get(panel, '')})", fontsize=9)
        axes.set_yticks(range(len(labels)), [label.replace("trained on ", "") for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        _plain(axes)
    drawing.figure.supxlabel("change of pass@1, percentage points", fontsize=9)
    drawing.figure.supylabel("trained on", fontsize=9)
    return drawing


TITLES: Mapping[str, tuple[Draw, str, str]] = {
    "transfer": (
        transfer,
        "Inside and outside the training domain",
        "Change of pass@1 against the base model and the common odds ratio over benchmarks "
        "(Mantel-Haenszel). Filled circles: benchmarks of the training domain; open squares: all others. "
        "Lines are intervals.",
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
        "Change of pass@1 on each benchmark with its interval; filled circles lie inside the training domain.",
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
        picture = io.BytesIO()
        wide.figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        return FigureFile(name, title, caption, _svg(wide, f"{name}-w"), _svg(narrow, f"{name}-n"), picture.getvalue())


def _svg(drawing: Drawing, prefix: str) -> str:
    """The SVG element alone, scaling with its container, ids made unique, hover texts put in."""
    stream = io.StringIO()
    drawing.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" ', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*" ', r"<svg \1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for key, tip in drawing.tips.items():
        text = text.replace(f'<g id="{key}">', f'<g id="{key}"><title>{html.escape(tip)}</title>', 1)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(prefix)}" ', 1)
