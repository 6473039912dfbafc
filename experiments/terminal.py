"""The summary of a report for a terminal: the cells as a table, then the findings."""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.agent_figures import in_order, percent, source_label
from experiments.drawing import arm_label, interval, points, varying
from experiments.effects import records
from experiments.report import ReportResult


def terminal(result: ReportResult) -> RenderableType:
    """What was found, in a form that fits 80 columns."""
    cells = _cells(result) if result.analysis.tables["matrix"].empty else _matrix(result)
    parts: list[RenderableType] = [Text(result.title, style="bold"), cells]
    parts += [Padding(Text(f"• {sentence}"), (0, 0, 0, 1)) for sentence in result.findings]
    parts += [Padding(Text(f"left out: {note}", style="dim"), (0, 0, 0, 1)) for note in result.notes]
    parts.append(Text(f"report: {result.path}", style="dim", overflow="fold"))
    return Group(*parts)


def terminal_text(result: ReportResult, width: int = 79) -> str:
    """The same as plain text, for a result that is shown again later."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal(result))
    return console.export_text()


def _cells(result: ReportResult) -> Table:
    shown = Table(caption="change of pass@1, points (interval); * inside the training domain", box=None)
    table = result.analysis.effects("cell")
    names = varying(result.analysis)
    domains = list(dict.fromkeys(str(v) for v in table["evaluated"])) if len(table) else []
    shown.add_column("")
    for domain in domains:
        shown.add_column(domain, justify="right")
    rows: dict[str, dict[str, str]] = {}
    for record in records(table):
        value = record["delta_points"]
        text = points(value) + ("*" if record["in_domain"] is True else "")
        if interval(record["low_points"], record["high_points"]) != "no interval":
            text += f"\n({interval(record['low_points'], record['high_points'])})"
        rows.setdefault(arm_label(record, names), {})[str(record["evaluated"])] = text
    for label, values in rows.items():
        shown.add_row(label, *(values.get(domain, "–") for domain in domains))
    return shown


def _matrix(result: ReportResult) -> Table:
    """Success with the change against the starting checkpoint, sources × environments."""
    shown = Table(caption="success, % (change, points); * inside the training environment", box=None)
    table = records(result.analysis.tables["matrix"])
    names = varying(result.analysis)
    targets = list(dict.fromkeys(str(row["evaluated"]) for row in table))
    shown.add_column("")
    for target in targets:
        shown.add_column(target, justify="right", overflow="fold")
    rows: dict[str, dict[str, str]] = {}
    for row in in_order(table):
        change = f"\n({points(row['delta_points'])})" if row["delta_points"] is not None else ""
        text = percent(row["success_percent"]) + ("*" if row["in_domain"] is True else "") + change
        rows.setdefault(source_label(row, names), {})[str(row["evaluated"])] = text
    for label, values in rows.items():
        shown.add_row(label, *(values.get(target, "–") for target in targets))
    return shown
