"""All programs that judge one answer share a limit: sleeping a little less than each test allows wins nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from evaluators.benchmarks._code import fenced
from evaluators.sandbox import Command, Limits, Sandbox, Script, Step, VerdictKind, judgement
from evaluators.scorer_pool import ScorerPool, Task
from evaluators.scoring.code_tests import IoTest
from tests.evaluators.needs_sandbox import needs_sandbox
from trainers import rewards, scoring

pytestmark = needs_sandbox
SLEEPS_S, WHOLE_S = 1.5, 4.4  # two of five tests, also where each takes half a second more than it sleeps
DOUBLES = fenced(f"import time\ntime.sleep({SLEEPS_S})\nprint(2 * int(input()))\n")
PRINTED = ("codeforces", Item("io", {"tests": tuple(IoTest(str(n), str(2 * n)) for n in range(1, 6))}))
CALLED = (
    "mbpp",
    Item("calls", {"tests": tuple(f"assert f({n}) == {n}" for n in range(5)), "setup": "", "names": ("f",)}),
)
WRONG = Score(0.0, Outcome.WRONG)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(1) as made:
        yield made


def test_what_was_not_reached_has_not_passed(sandbox: Sandbox) -> None:
    slow = Script(f"import time; time.sleep({SLEEPS_S})", limits=Limits(wall_s=30))
    with judgement.within(WHOLE_S):
        verdicts = [sandbox.run(slow) for _ in range(5)]
    assert [verdict.passed for verdict in verdicts] == [True, True, False, False, False]
    assert {verdict.detail for verdict in verdicts[2:]} == {"more than 4.4 s for all tests together"}
    assert {verdict.kind for verdict in verdicts[2:]} == {VerdictKind.TIME_LIMIT}
    assert sandbox.run(slow).passed  # nothing bounds what comes after


def test_programs_that_run_side_by_side_share_it_too(sandbox: Sandbox) -> None:
    slow = Script(f"import time; time.sleep({SLEEPS_S})", limits=Limits(wall_s=30))
    with judgement.within(WHOLE_S):
        assert sum(verdict.passed for verdict in sandbox.run_many([slow] * 5)) == 2


def test_the_steps_of_a_command_share_it(sandbox: Sandbox) -> None:
    steps = tuple(Step(("/bin/sleep", str(SLEEPS_S)), 30) for _ in range(5))
    assert sandbox.run(Command(steps[:3])).passed
    with judgement.within(WHOLE_S):
        verdict = sandbox.run(Command(steps))
    assert (verdict.kind, verdict.step) == (VerdictKind.TIME_LIMIT, 2)


@pytest.mark.parametrize(("name", "item", "answer"), [
    (*PRINTED, DOUBLES),
    (*CALLED, fenced(f"import time\ndef f(n):\n    time.sleep({SLEEPS_S})\n    return n\n")),
])  # fmt: skip
def test_partial_credit_is_for_the_tests_that_were_reached(
    name: str, item: Item, answer: str, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr(type(benchmarks.get(name)), "sandbox", lambda self: sandbox)  # one worker
    assert scoring.share_of_tests(name, item, answer, False, WRONG, WHOLE_S) == pytest.approx(2 / 5)


def test_the_reward_partial_has_that_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring.share_of_tests, "__defaults__", (WHOLE_S,))
    [(_, part)] = rewards.resolve("partial")
    asked = rewards.Judged(PRINTED[0], "code", PRINTED[1], DOUBLES, 3, False, WRONG)
    context = rewards.Context(seed=0, step=0, rank=0, limit_tokens=100)
    assert part([asked, asked], context) == pytest.approx([2 / 5, 2 / 5])


@pytest.mark.parametrize(("seconds", "value", "why"), [
    (WHOLE_S, 0.0, "time_limit: test 3: more than 4.4 s for all tests together"),
    (600.0, 1.0, "passed"),
])  # fmt: skip
def test_a_scorer_calls_such_a_program_wrong_and_not_its_own_failure(seconds: float, value: float, why: str) -> None:
    found: list[Score] = []
    pool = ScorerPool(1, code_s=seconds)
    pool.submit(Task(*PRINTED, DOUBLES, False, found.append))
    pool.finish()
    assert [(score.value, score.why) for score in found] == [(value, why)]
