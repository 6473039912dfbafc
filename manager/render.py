"""Turns data into what a terminal shows. Builds rich renderables; prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from manager.job import State
from manager.plan import Act, Action
from manager.status import ProblemRow, RunningRow, SweepStatus

STYLE: Mapping[State, str] = {
    State.DONE: "green",
    State.RUNNING: "cyan",
    State.QUEUED: "blue",
    State.FAILED: "bold red",
    State.BLOCKED: "red",
    State.INTERRUPTED: "yellow",
    State.CANCELLED: "magenta",
    State.UNKNOWN: "bold yellow",
    State.WAITING: "dim",
    State.READY: "",
}
SHOWN = tuple(STYLE)


def duration(seconds: float | None) -> str:
    """1:02:03, or – where it is not known."""
    return "–" if seconds is None else str(timedelta(seconds=round(seconds)))


def counts_text(counts: Mapping[State, int]) -> Text:
    text = Text()
    for state in SHOWN:
        if counts.get(state):
            text.append(f"{counts[state]} {state}  ", style=STYLE[state])
    return text


def status(value: SweepStatus) -> RenderableType:
    parts: list[RenderableType] = [stages(value)]
    if value.running:
        parts.append(running(value.running))
    if value.queue_reasons:
        reasons = sorted(value.queue_reasons.items(), key=lambda item: -item[1])
        parts.append(Text("queued: " + ", ".join(f"{number} {reason}" for reason, number in reasons), style="blue"))
    if value.problems:
        parts.append(problems(value))
    return Group(*parts)


def stages(value: SweepStatus) -> Table:
    table = Table(title=f"sweep {value.name}", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage")
    table.add_column("kind", style="dim")
    table.add_column("done", justify="right")
    table.add_column("", width=20)
    table.add_column("states")
    for row in value.stages:
        done = row.counts.get(State.DONE, 0)
        table.add_row(
            row.stage, row.kind, f"{done}/{row.total}", ProgressBar(row.total, done, width=20), counts_text(row.counts)
        )
    return table


def running(rows: Sequence[RunningRow], most: int = 12) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("running", "", "step", "left", "values"):
        table.add_column(name, header_style="cyan", no_wrap=name != "values")
    for row in rows[:most]:
        step = "starting" if row.step is None else f"{row.step}/{row.total or '?'} {row.unit}"
        bar = ProgressBar(row.total, row.step or 0, width=14) if row.total else Text("")
        title = row.title + (f" (attempt {row.attempt})" if row.attempt > 1 else "")
        table.add_row(title, bar, step, duration(row.eta_s), values_text(row.values))
    if len(rows) > most:
        table.add_row(f"… and {len(rows) - most} more")
    return table


def values_text(values: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )


def problems(value: SweepStatus, most: int = 20) -> Table:
    """One line a job while they fit a screen, one line a stage and cause beyond."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    if len(value.problems) > most:
        return _grouped_problems(table, value)
    table.add_column("job", header_style="red", no_wrap=True)
    table.add_column("stage")
    table.add_column("attempts", justify="right")
    table.add_column("cause")
    table.add_column("message", overflow="fold")
    for row in value.problems:
        table.add_row(row.id, row.title, str(row.attempts), row.cause, row.message)
    return table


def _grouped_problems(table: Table, value: SweepStatus) -> Table:
    for name in ("for example", "stage", "jobs", "cause", "message"):
        table.add_column(name)
    groups: dict[tuple[str, str], list[ProblemRow]] = {}
    for row in value.problems:
        groups.setdefault((row.title.split(" ", 1)[0], row.cause), []).append(row)
    for (stage, cause), rows in groups.items():
        table.add_row(rows[0].id, stage, str(len(rows)), cause, rows[0].message)
    return table


def plan(actions: Sequence[Action], most: int = 60) -> RenderableType:
    """One line a job while they fit a screen or two, one line a stage and action beyond."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    if len(actions) <= most:
        for name in ("job", "stage", "action", "why"):
            table.add_column(name)
        for action in actions:
            table.add_row(action.entry.job.id, action.entry.title, _act_text(action.act), action.why)
        return table
    for name in ("stage", "action", "jobs", "why"):
        table.add_column(name)
    groups = Counter((action.entry.stage, action.act, action.why) for action in actions)
    for (stage, act, why), number in groups.items():
        table.add_row(stage, _act_text(act), str(number), why)
    return table


def _act_text(act: Act) -> Text:
    styles = {Act.SKIP: "green", Act.WAIT: "cyan", Act.LEAVE: "red"}
    return Text(act.value, style=styles.get(act, "bold"))
