"""The pure parts of training on episodes: the order of tasks, returns, advantages."""

from __future__ import annotations

import math
import statistics

import pytest

from evaluators.agent import Episode
from trainers import returns, tasks


def episode(*, success: bool = False, invalid: int = 0, failure: str | None = None) -> Episode:
    return Episode("sokoban", 0, 0, 0, success, float(success), 5, invalid, False, (), "", failure)


POOLS = (tasks.Pool("sokoban", None), tasks.Pool("shop", 7), tasks.Pool("alfworld", None))


def test_environments_take_turns_and_a_finite_one_shows_all_its_tasks_before_one_again() -> None:
    drawn = tasks.draw(POOLS, 3, range(42))
    for start in range(0, 42, 3):
        assert {one.environment for one in drawn[start : start + 3]} == {"sokoban", "shop", "alfworld"}
    assert len({one.environment for one in drawn[::3]}) > 1, "not always in the same order"
    shop = [one.number for one in drawn if one.environment == "shop"]
    assert sorted(shop[:7]) == sorted(shop[7:]) == list(range(7))
    assert shop[:7] != shop[7:]


def test_the_order_follows_from_seed_and_place_alone() -> None:
    whole = tasks.draw(POOLS, 3, range(60))
    assert tasks.draw(POOLS, 3, range(20, 60)) == whole[20:]
    assert tasks.draw(POOLS, 4, range(60)) != whole


def test_an_episode_is_worth_its_end_and_its_invalid_actions_and_nothing_known_where_its_environment_failed() -> None:
    worth = returns.Worth.parse({"name": "episode"})
    assert worth.of(episode(success=True, invalid=2)) == pytest.approx(9.8)
    assert worth.of(episode(invalid=3)) == pytest.approx(-0.3)
    assert worth.of(episode(failure="died")) is None
    assert returns.Worth.parse({"name": "episode", "success": 1, "invalid": 0}).of(episode(success=True)) == 1
    with pytest.raises(returns.ReturnError, match="there are: success, failure, invalid"):
        returns.Worth.parse({"name": "episode", "sucess": 1})
    with pytest.raises(returns.ReturnError, match="rewarded by episode"):
        returns.Worth.parse("correct")


def test_advantages_are_within_the_group() -> None:
    first, second = [10.0, 0.0, -0.1, 9.9], [0.0, 0.0, 0.0, 10.0]
    found = returns.advantages([*first, *second], 4, "group")
    expected = [(one - statistics.mean(first)) / (statistics.stdev(first) + 1e-4) for one in first]
    assert found.values[:4] == pytest.approx(expected)
    assert math.fsum(found.values[4:]) == pytest.approx(0.0)
    plain = returns.advantages([*first, *second], 4, "none")
    assert plain.values[4:] == pytest.approx([-2.5, -2.5, -2.5, 7.5])
    both = returns.advantages([*first, *second], 4, "batch")
    assert both.values[7] == pytest.approx(7.5 / (statistics.stdev([*first, *second]) + 1e-4))


def test_an_episode_without_return_is_left_out_of_its_group() -> None:
    found = returns.advantages([10.0, None, 0.0, None], 4, "group")
    assert found.values[1] == found.values[3] == 0.0
    assert found.values[0] == -found.values[2] == pytest.approx(5 / (statistics.stdev([10.0, 0.0]) + 1e-4))
    alone = returns.advantages([10.0, None, None, None, 0.0, 10.0, 0.0, 0.0], 4, "group")
    assert alone.values[:4] == (0.0, 0.0, 0.0, 0.0)
    assert alone.without_signal == 0.5
    assert returns.advantages([None] * 4, 4, "batch").values == (0.0,) * 4


def test_the_episodes_of_an_optimiser_step_are_the_same_on_any_number_of_processes() -> None:
    for world in (1, 2, 4):
        shares = [tasks.share(32, 2, world, rank) for rank in range(world)]
        first = [number for one in shares for number in one[: len(one) // 2]]
        assert sorted(first) == list(range(16))
        assert tasks.in_order(shares, 2) == list(range(32))
