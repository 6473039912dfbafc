"""Sokoban: rules, search, splits, views, level files."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.environment import belongs_to, read_action
from evaluators.environments import make, names
from evaluators.environments._sokoban_levels import MOVES, generate, moved, read_levels, solve
from evaluators.environments.sokoban import VIEWS
from manager.errors import UserError
from tests.evaluators.environments import contract

TWO_LEVELS = """; 0
######
#@$ .#
######

; 1
#####
# @ #
#$* #
#.  #
#####
"""


def _level(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "levels.txt"
    path.write_text(text)
    return read_levels(path)


def test_oracle_solves_every_task() -> None:
    for split in ("train", "test"):
        assert contract.solved_share(make("sokoban"), range(100), split) == 1.0


def test_contract() -> None:
    contract.check_repeats(lambda: make("sokoban"), range(5))
    contract.check_invalid_actions(make("sokoban"))
    for view in VIEWS:
        contract.check_augmentation(make("sokoban", view=view), range(10), 40)
    environment = make("sokoban")
    contract.check_splits_are_disjoint(environment, lambda: environment._level.text(), 150)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("epsilon", "lines"), [(1, 1), (30, 3), (40, 4), (49, 4)])
def test_augmentation_names_so_many_things_out_of_reach(epsilon: float, lines: int) -> None:
    environment = make("sokoban")
    state = environment.reset(0, "train")
    added = [line for line in environment.augment(state, epsilon, random.Random(1)).split("\n")
             if line not in state.split("\n")]  # fmt: skip
    assert len(added) == lines
    for line in added:
        place = re.fullmatch(r"Out of reach, beyond the walls, is a \w+ \w+ at \((\d+), (\d+)\)\.", line)
        assert place is not None
        assert int(place[1]) >= 6
        assert int(place[2]) >= 6


@pytest.mark.parametrize(("height", "width", "boxes", "cap"), [(5, 7, 1, 20), (6, 6, 2, 40), (8, 8, 2, 60)])
def test_other_sizes(height: int, width: int, boxes: int, cap: int) -> None:
    environment = make("sokoban", height=height, width=width, boxes=boxes, cap=cap)
    assert contract.solved_share(environment, range(10), "test") == 1.0


def test_a_larger_cap_leaves_the_tasks_as_they_are_where_their_plans_are_bounded() -> None:
    """Probing under another cap measures the tasks that are trained on."""
    played, probed, longer = make("sokoban"), make("sokoban", cap=50, max_moves=15), make("sokoban", cap=50)
    assert [played.reset(task, "test") for task in range(40)] == [probed.reset(task, "test") for task in range(40)]
    assert probed.cap == 50
    assert max(len(longer.oracle() or []) for task in range(100) if longer.reset(task, "test")) > 15


def test_rules(tmp_path: Path) -> None:
    pushed, other = _level(tmp_path, TWO_LEVELS)
    assert moved(pushed, (1, 1), pushed.boxes, "up") is None
    assert moved(pushed, (1, 1), pushed.boxes, "right") == ((1, 2), frozenset({(1, 3)}))
    assert moved(other, (1, 2), other.boxes, "down") == ((2, 2), frozenset({(2, 1), (3, 2)}))
    assert moved(other, (2, 3), other.boxes, "left") is None  # two boxes in a row
    assert solve(pushed, pushed.player, pushed.boxes) == ["right", "right"]
    assert pushed.text() == "######\n#@$ .#\n######"


def test_box_in_a_corner_has_no_plan(tmp_path: Path) -> None:
    (stuck,) = _level(tmp_path, "#####\n#$ @#\n#  .#\n#####\n")
    assert solve(stuck, stuck.player, stuck.boxes) is None


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_search_finds_a_plan_exactly_where_plain_search_does(seed: int) -> None:
    level = generate(random.Random(seed), 5, 5, 1)
    reached, queue = {(level.player, level.boxes)}, [(level.player, level.boxes)]
    for state in queue:
        for move in MOVES:
            after = moved(level, *state, move)
            if after is not None and after not in reached:
                reached.add(after)
                queue.append(after)
    solvable = any(boxes == level.targets for _, boxes in reached)
    assert (solve(level, level.player, level.boxes) is not None) == solvable


def test_states_name_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "levels.txt"
    path.write_text(TWO_LEVELS)
    shown = {}
    for view in ("coordinates", "matrix"):
        for split in ("train", "test"):
            environment = make("sokoban", levels=str(path), view=view)
            for task in range(sum(belongs_to(level.text(), split) for level in read_levels(path))):
                shown[environment.reset(task, split)] = view
            with pytest.raises(UserError, match="there is no task"):
                environment.reset(2, split)
    assert any("######\n#@$ .#\n######" in text for text, view in shown.items() if view == "matrix")
    assert any("A box is at (1, 2).\nA target is at (1, 4)." in text for text in shown)
    assert len(shown) == 4


def test_the_view_of_cells_tells_what_each_of_them_holds(tmp_path: Path) -> None:
    path = tmp_path / "levels.txt"
    path.write_text("######\n#@$ .#\n#*   #\n######\n")
    shown = {}
    for split in ("train", "test"):
        environment = make("sokoban", levels=str(path), view="cells")
        if environment.task_count(split):
            shown[split] = [environment.reset(0, split), environment.step("right").text]
    ((first, second),) = shown.values()
    assert first.split("All cells:\n")[1].count("\n") == 23
    for line in ("Row 0, column 0: a wall.", "Row 1, column 1: free floor, where you are.", "Row 1, column 2: a box.",
                 "Row 1, column 4: a target.", "Row 2, column 1: a box on a target."):  # fmt: skip
        assert line in first.split("\n")
    assert "Row 1, column 1: free floor.\nRow 1, column 2: free floor, where you are." in second


def test_score_counts_boxes_on_targets() -> None:
    environment = make("sokoban", boxes=2, cap=60)
    environment.reset(0, "train")
    scores = [environment.score]
    for action in environment.oracle() or []:
        environment.step(action)
        scores.append(environment.score)
    assert scores[-1] == 1.0
    assert set(scores) <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "picture"}, "view 'picture' is not one of coordinates, cells, matrix, short"),
        ({"boxes": 9}, "9 boxes do not fit"),
        ({"colour": "red"}, "has no option colour; it has: height, width"),
        ({"cap": 0}, "cap must be at least 1"),
        ({"max_moves": 2}, "max_moves 2 is less than min_moves 3"),
        ({"levels": "no/such/levels.txt"}, "levels: no/such/levels.txt cannot be read"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make("sokoban", **options)


def test_unknown_name_and_broken_levels_are_told(tmp_path: Path) -> None:
    assert "sokoban" in names()
    with pytest.raises(UserError, match=r"unknown environment 'socoban'; there are: .*sokoban"):
        make("socoban")
    with pytest.raises(UserError, match="level 0: needs one player"):
        _level(tmp_path, "####\n#$.#\n####\n")
    with pytest.raises(UserError, match="holds no level"):
        _level(tmp_path, "; nothing\n")


@pytest.mark.parametrize(
    ("completion", "action"),
    [
        ("<think>left?</think><action>up</action>", "up"),
        ("<think><action>left</action></think>\n<action> up </action>", "up"),
        ("<action>left</action> <action>up</action>", "up"),
        ("up", None),
        ("<think>hm <action></action>", None),
        ("", None),
        ("<think>I could <action>up</action> now", None),
        ("<think>a</think><action>left</action><think>or <action>up</action>", "left"),
        ("<THINK>x</Think> <action>down</action>", "down"),
    ],
)
def test_action_is_read_from_a_completion(completion: str, action: str | None) -> None:
    assert read_action(completion) == action
