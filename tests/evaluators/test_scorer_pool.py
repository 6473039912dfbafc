"""Scoring in processes of its own: hanging, crashing and greedy scorers; nothing outlives the parent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from evaluators.scorer_pool import ScorerPool, Task

BAD = '''
"""A benchmark whose scorer does what the answer says."""
import os, sys, time
from evaluators.benchmark import DataSource, Sampler, Score, Outcome

class Bad:
    name = "bad_scorer"; domain = "bad"; subdomain = None; version = 1
    source = DataSource(); sampler = Sampler()
    score_seconds = float(os.environ.get("BAD_SECONDS", "2"))
    def score(self, item, completion, *, truncated=False):
        if completion == "hang": time.sleep(3600)
        if completion == "hang deaf":
            import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True: pass
        if completion == "exit": os._exit(3)
        if completion == "raise": raise ZeroDivisionError("in the scorer")
        if completion == "memory": return len(bytearray(64 * 2**30))
        if completion == "print":
            print("noise " * 100000); sys.stdout.flush(); os.write(1, b"raw noise")
        if completion == "child":
            import subprocess; subprocess.Popen(["sleep", "36171"]); time.sleep(3600)
        if completion == "limit":
            import resource; return Score(1.0, Outcome.RIGHT, str(resource.getrlimit(resource.RLIMIT_AS)[0]), "")
        return Score(1.0, Outcome.RIGHT, completion[:10], "")

BENCHMARK = Bad()
'''


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmark above, found as any other, in this process and in the scorers'."""
    (tmp_path / "bad_scorer.py").write_text(BAD)
    (tmp_path / "bad_code.py").write_text(BAD.replace('domain = "bad"', 'domain = "code"'))
    site = f"import evaluators.benchmarks as b\nb.__path__.append({str(tmp_path)!r})\n"
    (tmp_path / "sitecustomize.py").write_text(site)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), root]))
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    benchmarks.names.cache_clear()
    yield
    benchmarks.names.cache_clear()
    benchmarks.get.cache_clear()
    for name in ("bad_scorer", "bad_code"):
        sys.modules.pop(f"evaluators.benchmarks.{name}", None)


def scores(*answers: str, workers: int = 1) -> dict[str, Score]:
    found: dict[str, Score] = {}
    pool = ScorerPool(workers)
    for answer in answers:
        pool.submit(
            Task(
                "bad_scorer",
                Item("1", {}),
                answer,
                False,
                lambda score, key=answer: found.update({key: score}),
            )
        )
    pool.finish()
    return found


@pytest.mark.usefixtures("bad")
def test_what_goes_wrong_in_a_scorer_is_the_graders_failure_and_the_next_is_judged() -> None:
    bad_ones = ("hang", "hang deaf", "exit", "raise", "memory")
    found = scores(*(word for bad in bad_ones for word in (bad, f"after {bad}")))
    for bad in bad_ones:
        assert (found[bad].value, found[bad].outcome) == (None, Outcome.GRADER_FAILED)
        assert found[f"after {bad}"].outcome is Outcome.RIGHT
    assert "longer than 2 s" in found["hang"].why
    assert "ended with code 3" in found["exit"].why
    assert "ZeroDivisionError: in the scorer" in found["raise"].why
    assert "MemoryError" in found["memory"].why


@pytest.mark.usefixtures("bad")
def test_programs_that_a_scorer_runs_do_not_inherit_its_memory_limit() -> None:
    found: list[str | None] = []
    pool = ScorerPool(1, memory_gb=2.0)
    for benchmark in ("bad_scorer", "bad_code", "bad_scorer"):
        pool.submit(Task(benchmark, Item("1", {}), "limit", False, lambda score: found.append(score.extracted)))
    pool.finish()
    assert found == [str(2 * 2**30), str(resource.getrlimit(resource.RLIMIT_AS)[1]), str(2 * 2**30)]


@pytest.mark.usefixtures("bad")
def test_what_a_scorer_prints_does_not_reach_the_answers() -> None:
    assert scores("print", "next")["next"].outcome is Outcome.RIGHT


@pytest.mark.usefixtures("bad")
def test_huge_answers_pass() -> None:
    huge = "x" * 10_000_000
    assert scores(huge)[huge].extracted == "x" * 10


@pytest.mark.usefixtures("bad")
def test_a_scorers_children_go_with_it() -> None:
    assert scores("child")["child"].outcome is Outcome.GRADER_FAILED
    ours = [p for p in psutil.process_iter(["cmdline", "status"]) if p.info["cmdline"] == ["sleep", "36171"]]
    left = [p for p in ours if p.info["status"] != psutil.STATUS_ZOMBIE]
    assert not left


@pytest.mark.usefixtures("bad")
def test_asked_to_stop_it_does_not_wait_for_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAD_SECONDS", "600")
    pool = ScorerPool(1)
    found: list[Score] = []
    pool.submit(Task("bad_scorer", Item("1", {}), "hang", False, found.append))
    assert pool.finish(lambda: True) is False
    pool.abandon()
    assert not found


@pytest.mark.usefixtures("bad")
def test_an_error_in_recording_is_raised_not_swallowed() -> None:
    def full(score: Score) -> None:
        raise OSError(28, "No space left on device")

    pool = ScorerPool(1)
    pool.submit(Task("bad_scorer", Item("1", {}), "fine", False, full))
    with pytest.raises(OSError, match="No space"):
        pool.finish()


def running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("bad")
def test_scorers_end_when_their_parent_is_killed() -> None:
    code = (
        "import time; from evaluators.scorer_pool import *; from evaluators.benchmark import Item\n"
        "pool = ScorerPool(2)\n"
        "for _ in range(2): pool.submit(Task('bad_scorer', Item('1', {}), 'hang', False, print))\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "BAD_SECONDS": "600"})
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while len(children) < 2 and time.monotonic() < deadline:
        children = [p for p in psutil.Process(parent.pid).children() if "evaluators.scorer_process" in p.cmdline()]
        time.sleep(0.05)
    assert len(children) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while any(running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_real_scorers_are_found_in_the_process() -> None:
    benchmark = benchmarks.get("mini_math")
    item = next(iter(benchmark.items("test", None)))
    found: list[Score] = []
    pool = ScorerPool(2)
    for answer in (benchmark.gold(item), benchmark.wrong(item, 0), ""):
        pool.submit(Task("mini_math", item, answer, False, found.append))
    pool.finish()
    assert {score.outcome for score in found} == {Outcome.RIGHT, Outcome.WRONG, Outcome.NO_ANSWER}
