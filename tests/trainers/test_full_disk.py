"""A disk that is really full, at every moment of a training: what was saved stays whole, and the sweep goes on after.

The store lies on a disk of a bounded size in a mount namespace of its own, in which tests/trainers/full_disk.py runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.full_disk import ROOT, main, training

BYTES = 500_000_000
DEADLINE_S = 1800
TRIES = 8


def boxed(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run with a disk of BYTES at `place`, which nobody else sees and which is gone afterwards."""
    place.mkdir(exist_ok=True)
    argv = ["bwrap", "--dev-bind", "/", "/", "--size", str(BYTES), "--tmpfs", str(place), "--", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S,
                          check=False)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def can_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (apt install bubblewrap), which makes a small disk without root")
    tried = boxed(tmp_path_factory.mktemp("tried") / "disk", "true")
    if tried.returncode:
        pytest.skip(f"a disk of a bounded size cannot be mounted here: {tried.stderr.strip()}")


class Undisturbed:
    """The same trainings with room enough, by kind; that of kind rl starts from the weights of the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, dict[str, Any]] = {}

    def model(self, kind: str) -> str:
        if kind == "sft":
            return kind
        self.of("sft")
        run = training(self._folder / "sft" / "store")
        assert run is not None
        return str(run.model_dir("last"))

    def of(self, kind: str) -> dict[str, Any]:
        if kind not in self._found:
            model, place = self.model(kind), self._folder / kind
            place.mkdir()
            self._found[kind] = main(place / "store", model, "never")["after first"]
        assert self._found[kind]["done"], self._found[kind]
        return self._found[kind]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def told(tmp_path: Path, model: str, moment: str) -> dict[str, Any]:
    """What was seen; again where the disk was full only after the moment: nothing holds the training back in it."""
    found: dict[str, Any] = {}
    for number in range(TRIES):
        place = tmp_path / f"disk-{number}"
        done = boxed(place, sys.executable, "-m", "tests.trainers.full_disk", str(place / "store"), model, moment)
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout)
        assert "Traceback" not in str(found), found
        if moment == "result" or found["first"]["code"]:
            break
    return found


def same(found: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    """Everything is there, and is what it would have been."""
    assert found["done"]
    for what in ("whole", "models"):
        assert found[what] == undisturbed[what]
    assert found["losses"] == {str(step): loss for step, loss in undisturbed["losses"].items()}


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path: Path, undisturbed: Undisturbed) -> None:
    found = told(tmp_path, "sft", "start")
    assert found["first"]["code"] == 1
    assert found["first"]["err"].count("\n") == 1
    assert "No space left on device" in found["first"]["err"]
    same(found["after again"], undisturbed.of("sft"))


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("sft", "state"),  # what matters most runs with every change
        *(pytest.param(kind, moment, marks=pytest.mark.slow) for kind, moment in (
            ("sft", "log"), ("sft", "export"), ("rl", "log"), ("rl", "state"), ("rl", "export"))),
    ],
)  # fmt: skip
def test_a_disk_that_fills_up_stops_the_training_and_the_sweep_goes_on_when_there_is_room(
    tmp_path: Path, undisturbed: Undisturbed, kind: str, moment: str
) -> None:
    found = told(tmp_path, undisturbed.model(kind), moment)
    assert found["first"]["code"] == 1
    after = found["after first"]
    [[outcome, cause, message]] = after["attempts"]
    assert (outcome, cause) == ("failed", "disk_full")
    assert "full" in message or "nothing was written" in message
    assert "run `manager sweep` again" in message
    assert "\n" not in message
    assert after["whole"], "a state was saved before, and is as it was written"
    assert after["marked"] == after["whole"], "no half of a state is called one"
    assert after["models"] in ([], ["step-000006"]), "nor half of an export"
    assert found["again"]["code"] == 0
    assert "a job that a full disk stopped: there is room now" in found["again"]["out"]
    assert "resumed" in found["after again"]["events"]
    same(found["after again"], undisturbed.of(kind))


@pytest.mark.slow
def test_a_result_still_fits_a_disk_that_is_full(tmp_path: Path, undisturbed: Undisturbed) -> None:
    found = told(tmp_path, "sft", "result")
    assert found["first"]["code"] == 0, "an attempt keeps room for its last words"
    same(found["after first"], undisturbed.of("sft"))
