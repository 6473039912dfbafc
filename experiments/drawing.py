"""What all figures share: colours, marks with intervals, labels, hover texts and the SVG that holds them.

Colours are Okabe and Ito's; marker shapes and printed numbers say the same as the colours.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis import Analysis
from experiments.transfer import GAP, ID, OOD

COLOURS = {ID: "#0072B2", OOD: "#D55E00", GAP: "#000000"}
MARKERS = {ID: "o", OOD: "s", GAP: "D"}
GREY = "#595959"
WIDE_IN, NARROW_IN = 9.0, 4.1
PIXELS_PER_INCH = 110  # of the page at most, so that letters are about as large as the text


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
    extra = [str(row[name]) for name in varying if row.get(name)]
    domain = str(row.get("train_domain") or "")
    head = f"trained on {domain}" if domain else "average"
    return head + (f"\n{', '.join(extra)}" if extra else "")


def varying(analysis: Analysis) -> list[str]:
    """Which parts of an arm take more than one value here."""
    table = analysis.tables["effects"]
    return [name for name in analysis.study.arm if name in table and table[name].dropna().nunique() > 1]


def new(width: float, height: float) -> Drawing:
    return Drawing(Figure(figsize=(width, height), layout="constrained"))


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e2e2e2", linewidth=0.6)
    axes.set_axisbelow(True)


def mark(drawing: Drawing, axes: Axes, row: Mapping[str, float | None], y: float, side: str, tip: str) -> None:
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


def p_text(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def to_svg(drawing: Drawing, prefix: str) -> str:
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
    width = drawing.figure.get_size_inches()[0] * PIXELS_PER_INCH
    head = f'<svg role="img" aria-label="{html.escape(prefix)}" style="max-width:{width:.0f}px" '
    return text.replace("<svg ", head, 1)
