"""A sync that is cut off at any call, its answer lost or not: the next one finishes everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manager.tracking import sync
from tests.manager.tracked_sweep import Study, begin, end, evaluate, make_study, train, vanish
from tests.manager.tracking_readback import ReadBack, expected

CALLS = (
    "create_experiment",
    "create_run",
    "delete_run",
    "set_status",
    "send_points",
    "send_params",
    "send_tags",
    "send_datasets",
    "create_model",
    "delete_model",
    "link_models",
)


class CutOff(Exception):
    """Stands for the end of the process."""


class Cutter:
    """Ends the sync before or after one of its writing calls; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from manager.tracking.client import TrackingClient

        self.calls = 0
        self.at = -1
        self.after = False
        for name in CALLS:
            monkeypatch.setattr(TrackingClient, name, self._wrapped(getattr(TrackingClient, name)))

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            mine = self.calls
            self.calls += 1
            if mine == self.at and not self.after:
                raise CutOff
            result = function(*args, **kwargs)
            if mine == self.at:
                raise CutOff
            return result

        return call

    def cut(self, study: Study, at: int, *, after: bool) -> bool:
        """Whether the sync got as far as that call."""
        self.calls, self.at, self.after = 0, at, after
        try:
            sync(study.store, study.sweep.name)
        except CutOff:
            return True
        finally:
            self.at = -1
        return False


def check(study: Study, trained: Counter[tuple[str, int, float]]) -> None:
    result = sync(study.store, study.sweep.name)
    assert result.error is None
    back = ReadBack.of(result)
    attempted = [e for e in study.sweep.jobs if study.store.run(e.job.id).attempts()]
    stages = {e.stage for e in study.sweep.jobs}
    assert len(back.runs) == len(attempted) + len(stages) + 1
    run = back.run(stage="train", domain="math")
    assert back.points(run, "train/") == trained
    assert back.line(run, "mini_math/pass_at_1") == [(0, 0.2)]
    assert run.info.status == "FINISHED"
    assert run.data.params["grpo.loss_type"] == "dapo"
    assert run.data.tags["manager.key"] == f"job/{run.data.tags['job_id']}"
    assert "manager.synced" in run.data.tags


def write(study: Study) -> None:
    base = begin(study.run_dir("baseline"))
    end(base, **evaluate(base, 0, {"mini_math": 0.2, "mini_code": 0.1}))
    run = begin(study.run_dir("train"))
    train(run, 1, 8)
    vanish(run)


def go_on(study: Study) -> None:
    run = begin(study.run_dir("train"))
    train(run, 5, 12, offset=0.5)
    end(run, last_step=12)


@pytest.mark.parametrize("after", [False, True], ids=["call lost", "answer lost"])
@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_cut_off_anywhere_the_next_sync_finishes(
    tmp_path: Path,
    with_database: Callable[[Study], Study],
    monkeypatch: pytest.MonkeyPatch,
    after: bool,
    stride: int,
) -> None:
    cutter = Cutter(monkeypatch)
    at = 0
    while True:
        # Both the first sync and the one that replaces a run are cut off at their call number `at`.
        study = with_database(make_study(tmp_path / str(at), domains=("math",)))
        write(study)
        first = cutter.cut(study, at, after=after)
        if not first:
            sync(study.store, study.sweep.name)
        go_on(study)
        second = cutter.cut(study, at, after=after)
        check(study, expected(1, 4) + expected(5, 12, offset=0.5))
        if not first and not second:
            break
        at += stride
    assert at > 15
