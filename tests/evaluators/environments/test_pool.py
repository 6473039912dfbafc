"""A pool plays many episodes at once; what fails in one place is told there and goes no further."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from evaluators.environment_pool import EnvironmentPool
from evaluators.environments import make
from manager.errors import UserError


@pytest.fixture
def pool() -> Iterator[EnvironmentPool]:
    pool = EnvironmentPool("sokoban", count=6, processes=2)
    yield pool
    pool.close()


def _start(pool: EnvironmentPool) -> None:
    pool.reset({index: (index, "test") for index in range(pool.count)})


def test_pool_plays_as_single_environments_do(pool: EnvironmentPool) -> None:
    shown = pool.reset({index: (index, "test") for index in range(6)})
    plans = pool.oracle(range(6))
    for index in range(6):
        single = make("sokoban")
        assert shown[index].text == single.reset(index, "test")
        assert plans[index] == single.oracle()
        assert pool.admissible([index])[index] == single.admissible()
    while going := {index: plan.pop(0) for index, plan in plans.items() if plan}:
        shown.update(pool.step(going))
    assert all(one.done and one.success and one.score == 1.0 for one in shown.values())


@pytest.mark.parametrize("name", ["sokoban", "shop"])
def test_64_environments_are_played_to_the_end_side_by_side(name: str) -> None:
    pool = EnvironmentPool(name, count=64)
    shown = pool.reset({index: (index, "test") for index in range(64)})
    plans = pool.oracle(range(64))
    while going := {index: plan.pop(0) for index, plan in plans.items() if plan}:
        shown.update(pool.step(going))
    assert [one.success for one in shown.values()].count(True) >= 61
    assert not any(one.failure for one in shown.values())
    pool.close()


def test_facts_and_augmentation(pool: EnvironmentPool) -> None:
    assert (pool.facts.cap, pool.facts.tasks) == (15, {"train": None, "test": None})
    assert pool.facts.instruction == make("sokoban").instruction()
    state = pool.reset({4: (0, "train")})[4].text
    first, again = (pool.augment({4: (state, 40.0, 7)})[4] for _ in range(2))
    assert first == again
    assert len(first) > len(state)


def test_invalid_and_missing_actions_are_told(pool: EnvironmentPool) -> None:
    _start(pool)
    shown = pool.step({0: "fly", 3: None})
    assert [(one.valid, one.invalid, one.steps) for one in shown.values()] == [(False, 1, 1), (False, 1, 1)]


def test_environment_that_raises_fails_alone(pool: EnvironmentPool) -> None:
    pool.reset({0: (0, "test")})
    shown = pool.step({0: "up", 2: "up"})  # 2 was never reset
    assert shown[0].failure is None
    assert "step before reset" in (shown[2].failure or "")
    assert (shown[2].done, shown[2].score) == (True, None)
    assert pool.reset({2: (1, "test")})[2].failure is None


@pytest.mark.parametrize(
    ("blow", "why"), [(signal.SIGKILL, "ended with code -9"), (signal.SIGSTOP, "no answer within 2 s")]
)
def test_process_that_dies_or_hangs_is_replaced(blow: signal.Signals, why: str) -> None:
    pool = EnvironmentPool("sokoban", count=4, processes=2, wall_s=60)
    _start(pool)
    place = pool._places[1]
    place._wall_s = 2
    assert place._process is not None
    os.kill(place._process.pid, blow)
    shown = pool.step(dict.fromkeys(range(4), "up"))
    assert [why in (shown[index].failure or "") for index in range(4)] == [False, True, False, True]
    place._wall_s = 60
    assert all(one.failure is None for one in pool.reset({1: (0, "test"), 3: (1, "test")}).values())
    pool.close()


def test_mistakes_of_the_user_are_told_as_such() -> None:
    with pytest.raises(UserError, match="unknown environment 'chess'"):
        EnvironmentPool("chess", count=2)
    with pytest.raises(UserError, match="has no option colour"):
        EnvironmentPool("sokoban", {"colour": "red"}, count=2)
    with pytest.raises(UserError, match="at least one environment"):
        EnvironmentPool("sokoban", count=0)


def test_environment_outside_the_pool_is_a_bug(pool: EnvironmentPool) -> None:
    with pytest.raises(IndexError, match="no environment 6 in a pool of 6"):
        pool.step({6: "up"})


def test_closing_ends_the_processes(pool: EnvironmentPool) -> None:
    _start(pool)
    processes = [place._process for place in pool._places]
    pool.close()
    assert all(process is not None and process.poll() is not None for process in processes)
