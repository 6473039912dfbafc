"""Turns data into what a terminal shows. Builds rich renderables; prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
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
    if value.used is not None:
        bound = "" if value.budget_gpu_hours is None else f" of {value.budget_gpu_hours:,.1f}"
        parts.append(Text(f"{value.used.gpu_hours:,.1f}{bound} GPU-hours used (from {value.used.source})"))
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


def running(rows: Sequence[RunningRow], most: int = 12) -> Text:
    """Two lines a job, so that 80 columns are enough: its title; its bar, step, time left and values."""
    text = Text("running", style="cyan", no_wrap=True, overflow="ellipsis")
    steps = ["starting" if row.step is None else f"{row.step}/{row.total or '?'} {row.unit}" for row in rows]
    width = max(map(len, steps[:most]), default=0)
    for row, step in zip(rows[:most], steps, strict=False):
        title = row.title + (f" (attempt {row.attempt})" if row.attempt > 1 else "")
        text.append(f"\n  {title}\n    ", style="default")
        text.append_text(_bar(row.step or 0, row.total))
        left = "" if row.eta_s is None else f"{duration(row.eta_s)} left"
        text.append(f"  {step:<{width}}  {left:<12}  {values_text(row.values)}".rstrip(), style="default")
    if len(rows) > most:
        text.append(f"\n  … and {len(rows) - most} more", style="default")
    return text


def _bar(step: int, total: int | None, width: int = 10) -> Text:
    full = min(width, width * step // total) if total else 0
    return Text.assemble(("━" * full, "cyan"), ("─" * (width - full), "bright_black"))


def values_text(values: Mapping[str, Any]) -> str:
    """The reward first: what a person looks for."""
    keys = sorted(values, key=lambda key: (not key.startswith("reward"), key.startswith("tokens")))
    return "  ".join(f"{key} {amount(values[key])}" for key in keys)


def amount(value: Any) -> str:
    """A number as people read it: 0.275, 5e-07, 812, 15.5k, 11M."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (size if unit != 'k' else 1e3):.3g}{unit}"
    return f"{value:.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"


def problems(value: SweepStatus, most: int = 20) -> RenderableType:
    """A job and its cause on lines of their own while they fit a screen, one line a stage and cause beyond."""
    if len(value.problems) > most:
        return _grouped_problems(Table(box=None, pad_edge=False, padding=(0, 2, 0, 0)), value)
    parts: list[RenderableType] = []
    for row in value.problems:
        tries = f"{row.attempts} attempt{'s' if row.attempts != 1 else ''}"
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(row.state.value, style=STYLE[row.state]).append(f"  {row.id}  {row.title}")
        told = Text.assemble((row.cause, "bold"), f" ({tries}): {row.message}")
        parts += [line, Padding(told, (0, 0, 0, 4))]
    return Group(*parts)


def _grouped_problems(table: Table, value: SweepStatus) -> Table:
    for name in ("for example", "stage", "jobs", "cause", "message"):
        table.add_column(name)
    groups: dict[tuple[str, str], list[ProblemRow]] = {}
    for row in value.problems:
        groups.setdefault((row.title.split(" ", 1)[0], row.cause), []).append(row)
    for (stage, cause), rows in groups.items():
        table.add_row(rows[0].id, stage, str(len(rows)), cause, rows[0].message)
    return table


# Reasons that are the same for every job with this action: the summary below the list tells them once.
_GENERAL = (Act.SKIP, Act.SUBMIT)


def plan(actions: Sequence[Action], most: int = 60) -> RenderableType:
    """One line a job while they fit a screen or two, one line a stage and action beyond."""
    return _job_lines(actions) if len(actions) <= most else _stage_lines(actions)


def _job_lines(actions: Sequence[Action]) -> RenderableType:
    """Never wrapped in the middle: a job's id, action and title; what is particular about it below."""
    parts: list[RenderableType] = []
    for action in actions:
        line = Text(f"{action.entry.job.id}  ", no_wrap=True, overflow="ellipsis")
        line.append_text(_act_text(action.act)).append(" " * (8 - len(action.act))).append(action.entry.title)
        parts.append(line)
        if action.act not in _GENERAL:
            parts.append(Padding(Text(action.why, style="dim"), (0, 0, 0, 26)))
    return Group(*parts)


def _stage_lines(actions: Sequence[Action], most: int = 40) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "action", "jobs", "why"):
        table.add_column(name, justify="right" if name == "jobs" else "left")
    groups = Counter(
        (action.entry.stage, action.act, "" if action.act in _GENERAL else action.why) for action in actions
    )
    for (stage, act, why), number in groups.most_common(most) if len(groups) > most else groups.items():
        table.add_row(stage, _act_text(act), str(number), why)
    if len(groups) > most:
        table.add_row(f"… and {len(groups) - most} more", "", "", "")
    return table


def _act_text(act: Act) -> Text:
    styles = {Act.SKIP: "green", Act.WAIT: "cyan", Act.LEAVE: "red"}
    return Text(act.value, style=styles.get(act, "bold"))
