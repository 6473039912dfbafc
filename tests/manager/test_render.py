"""What a terminal of 80 columns shows: no title torn, numbers as people read them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from manager import render
from manager.job import Job, Kind, State, SweepJob
from manager.plan import Act, Action
from manager.status import ProblemRow, RunningRow, SweepStatus

LABELS = {"domain": "knowledge", "seed": 2, "checkpoint": 80}


def lines(value: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(value)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def entry(seed: int) -> SweepJob:
    return SweepJob("evaluate", LABELS | {"seed": seed}, Job(Kind.EVALUATE, {"seed": seed}))


def running(title: str, **values: float) -> RunningRow:
    return RunningRow("0" * 16, title, 1, "here", 11, 40, "step", values, 83.0, 0.0)


def test_a_plan_has_one_line_for_each_job_that_is_done_or_new() -> None:
    acts = [Action(entry(n), Act.SKIP if n % 2 else Act.SUBMIT, State.READY, "a general reason") for n in range(10)]
    shown = lines(render.plan(acts))
    assert len(shown) == 10
    assert shown[3] == f"{acts[3].entry.job.id}  skip    evaluate domain=knowledge seed=3 checkpoint=80"


def test_a_plan_tells_below_a_job_what_is_particular_about_it() -> None:
    shown = lines(render.plan([Action(entry(0), Act.LEAVE, State.FAILED, "out of memory " * 10)]))
    assert shown[0].endswith("leave   evaluate domain=knowledge seed=0 checkpoint=80")
    assert all(line.startswith(" " * 26) for line in shown[1:])
    assert " ".join(" ".join(shown[1:]).split()) == ("out of memory " * 10).strip()


def test_a_large_plan_is_told_by_stage() -> None:
    acts = [Action(entry(n), Act.SUBMIT, State.READY, "no result yet") for n in range(100)]
    shown = lines(render.plan(acts))
    assert len(shown) == 2
    assert shown[1].split() == ["evaluate", "submit", "100"]


def test_progress_fits_80_columns_with_the_reward_first() -> None:
    shown = lines(
        render.running([running("evaluate domain=knowledge seed=2 checkpoint=80", tokens=9870.0, reward=0.275)])
    )
    assert shown[1] == "  evaluate domain=knowledge seed=2 checkpoint=80"
    assert shown[2].split() == ["━━────────", "11/40", "step", "0:01:23", "left", "reward", "0.275", "tokens", "9870"]
    assert len(shown) == 3


def test_too_many_running_jobs_are_counted() -> None:
    assert lines(render.running([running("train")] * 20))[-1] == "  … and 8 more"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.275, "0.275"), (5e-7, "5e-07"), (812, "812"), (9870.0, "9870"), (15500.0, "15.5k"), (11_000_000, "11M"),
     (3, "3"), (True, "True"), ("gsm8k", "gsm8k"), (-2.5, "-2.5"), (2e9, "2G")],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them(value: object, text: str) -> None:
    assert render.amount(value) == text


def test_a_problem_has_its_title_in_one_line_and_its_cause_below() -> None:
    row = ProblemRow("a" * 16, entry(0).title, State.FAILED, 2, "disk_full", "no space left " * 8)
    shown = lines(render.problems(SweepStatus("s", (), (), (row,))))
    assert shown[0] == f"failed  {'a' * 16}  {entry(0).title}"
    assert shown[1].startswith("    disk_full (2 attempts): no space left")
