"""Environments that come from packages of the `agents` extra keep the same contract as our own."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.environments import make
from manager.errors import UserError
from tests.evaluators.environments import contract


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed (the agents extra)"
    )


@needs("reasoning_gym")
@pytest.mark.parametrize(
    "task", ["chain_sum", "maze", "knights_knaves", "word_sorting", "mini_sudoku", "shortest_path"]
)
def test_reasoning_gym(task: str) -> None:
    environment = make("reasoning_gym", task=task)
    for split in ("train", "test"):
        assert contract.solved_share(environment, range(20), split) == 1.0
    contract.check_repeats(lambda: make("reasoning_gym", task=task), range(3))
    contract.check_augmentation(environment, range(5), 80)


@needs("reasoning_gym")
def test_reasoning_gym_splits_share_no_question() -> None:
    environment = make("reasoning_gym")
    contract.check_splits_are_disjoint(environment, lambda: environment._entry["question"], 100)  # type: ignore[attr-defined]


@needs("reasoning_gym")
def test_reasoning_gym_task_without_two_splits_of_questions_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.environments.reasoning_gym.belongs_to", lambda content, split: split == "train")
    with pytest.raises(UserError, match="too few questions for two splits"):
        make("reasoning_gym").reset(0, "test")


@needs("reasoning_gym")
def test_reasoning_gym_wrong_answer_ends_the_episode_without_success() -> None:
    environment = make("reasoning_gym")
    environment.reset(0, "test")
    assert environment.step("banana").done
    assert (environment.score, environment.success) == (0.0, False)
    environment.reset(0, "test")
    assert not environment.step(None).valid
    assert environment.done


@needs("reasoning_gym")
@pytest.mark.parametrize(
    ("task", "why"), [("game_of_life_halting", "scores 1"), ("figlet_font", "scores"), ("graph_color", "no answer")]
)
def test_reasoning_gym_task_with_an_unsound_judge_is_refused(task: str, why: str) -> None:
    with pytest.raises(UserError, match=f"'{task}' is not admitted: .*{why}"):
        make("reasoning_gym", task=task)


@needs("reasoning_gym")
@pytest.mark.slow
def test_most_reasoning_gym_tasks_are_admitted() -> None:
    from reasoning_gym.factory import DATASETS

    from evaluators.environments.reasoning_gym import refusal

    refused = {task: refusal(task) for task in DATASETS if task != "composite"}
    assert sum(why is None for why in refused.values()) >= 90, refused


@needs("minigrid")
@pytest.mark.parametrize(
    "level", ["BabyAI-GoToLocal-v0", "BabyAI-PickupLoc-v0", "BabyAI-UnlockLocal-v0", "BabyAI-PutNextLocal-v0"]
)
def test_babyai(level: str) -> None:
    environment = make("babyai", level=level)
    for split in ("train", "test"):
        assert contract.solved_share(environment, range(40), split) >= 0.95
    contract.check_repeats(lambda: make("babyai", level=level), range(3))
    contract.check_augmentation(environment, range(5), 60)


@needs("minigrid")
def test_babyai_splits_and_invalid_actions() -> None:
    environment = make("babyai")
    contract.check_splits_are_disjoint(environment, environment.content, 100)  # type: ignore[attr-defined]
    contract.check_invalid_actions(environment)
    environment.reset(0, "train")
    assert not environment.step("drop").valid


@needs("minigrid")
def test_babyai_says_what_is_seen_and_where() -> None:
    environment = make("babyai", level="BabyAI-GoToLocal-v0")
    texts = []
    for task in range(20):
        texts.append(environment.reset(task, "test"))
        while not environment.done and "go forward" in environment.admissible():
            texts.append(environment.step("go forward").text)
    assert all(text.startswith("Mission: go to ") for text in texts)
    assert any("You see a wall 1 step ahead." in text for text in texts)
    assert any("steps ahead and 1 step to the left." in text for text in texts)


@needs("minigrid")
def test_babyai_unknown_level_lists_the_levels() -> None:
    with pytest.raises(UserError, match=r"no level 'GoTo'; it has: .*BabyAI-GoTo-v0"):
        make("babyai", level="GoTo")


@pytest.mark.parametrize(("name", "package"), [("reasoning_gym", "reasoning_gym"), ("babyai", "gymnasium")])
def test_missing_package_is_told_with_what_to_install(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    if name == "reasoning_gym":
        from evaluators.environments.reasoning_gym import refusal

        refusal.cache_clear()
    with pytest.raises(UserError, match=rf"needs the package {package}.*rl-transfer-manager\[agents\]"):
        make(name)


@needs("textworld")
def test_textworld() -> None:
    environment = make("textworld")
    for split in ("train", "test"):
        assert contract.solved_share(environment, range(10), split) >= 0.95
    contract.check_repeats(lambda: make("textworld"), range(2))
    contract.check_augmentation(environment, range(3), 80)
    contract.check_invalid_actions(environment)
    contract.check_splits_are_disjoint(environment, environment.content, 8)  # type: ignore[attr-defined]


@needs("textworld")
def test_textworld_games_do_not_depend_on_the_hash_seed() -> None:
    program = "from evaluators.environments import make\nprint(make('textworld').reset(5, 'test'))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert "Objective: " in texts.pop()


@needs("textworld")
def test_textworld_rules_name_every_form_of_a_command() -> None:
    environment = make("textworld", rooms=6, objects=10, quest_length=8, cap=60)
    rules = environment.instruction()
    for task in range(8):
        environment.reset(task, "train")
        for action in environment.oracle() or []:
            for command in environment.admissible():
                verb, *words = command.split()
                preposition = next((word for word in ("from", "on", "into", "with") if word in words), "")
                assert re.search(rf"\b{verb} [\w ]*{preposition}", rules), command
            environment.step(action)


@needs("textworld")
def test_textworld_state_says_what_is_there() -> None:
    environment = make("textworld")
    texts = [environment.reset(task, "test") for task in range(6)]
    for action in environment.oracle() or []:
        texts.append(environment.step(action).text)
    everything = "\n".join(texts)
    assert "You are in the " in everything
    assert "An exit leads " in everything
    assert "There is the " in everything
    assert "You carry: nothing." in everything


needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")


@needs("scienceworld")
@needs_java
@pytest.mark.slow
def test_scienceworld() -> None:
    tasks = ["find-plant", "lifespan-longest-lived", "chemistry-mix-paint-secondary-color"]
    environment = make("scienceworld", tasks=tasks)
    for split in ("train", "test"):
        assert contract.solved_share(environment, range(6), split) >= 0.95
    contract.check_repeats(lambda: make("scienceworld", tasks=tasks), range(2))
    contract.check_augmentation(environment, range(3), 80)
    contract.check_splits_are_disjoint(environment, environment.content, 12)  # type: ignore[attr-defined]
    assert (environment.task_count("test") or 0) > 50
    with pytest.raises(UserError, match="no task 100000"):
        environment.reset(100_000, "test")


@needs("scienceworld")
@needs_java
def test_scienceworld_invalid_actions_and_two_worlds_in_one_process() -> None:
    one = make("scienceworld", tasks="find-plant", cap=5)
    other = make("scienceworld", tasks="find-plant", cap=5)
    contract.check_invalid_actions(one)
    one.reset(0)
    before = other.reset(0)
    plan = one.oracle() or []
    assert one.step(plan[0]).valid
    assert other.reset(0) == before
    one.step("look around")
    assert one.oracle() is None  # off the package's own solution
    for form in ("open OBJ", "move OBJ to OBJ", "pour OBJ in OBJ", "focus on OBJ", "read OBJ", "wait1"):
        assert form in one.instruction()
    assert "reset task" not in one.instruction()
    electric = make("scienceworld", tasks=["power-component", "find-plant"])
    assert "connect OBJ to OBJ" in electric.instruction()  # a form that only some tasks have


@needs("scienceworld")
@needs_java
@pytest.mark.slow
def test_scienceworld_short_tasks_fit_into_the_cap() -> None:
    environment = make("scienceworld")
    assert contract.solved_share(environment, range(42), "test") >= 0.95
    assert contract.solved_share(environment, range(42), "train") >= 0.95


@needs("scienceworld")
@needs_java
def test_scienceworld_unknown_task_lists_the_tasks() -> None:
    with pytest.raises(UserError, match="has no task boil-egg; it has: boil, "):
        make("scienceworld", tasks="boil-egg")


@needs("alfworld")
def test_alfworld() -> None:
    environment = make("alfworld")
    for split in ("train", "test"):
        assert contract.solved_share(environment, range(4), split) >= 0.95
    contract.check_repeats(lambda: make("alfworld"), range(2))
    contract.check_augmentation(environment, range(2), 200)
    contract.check_invalid_actions(environment)
    contract.check_splits_are_disjoint(environment, environment.content, 4)  # type: ignore[attr-defined]


@needs("alfworld")
@pytest.mark.slow
def test_alfworld_sampled_tasks_of_both_splits() -> None:
    for split in ("train", "test"):
        assert contract.solved_share(make("alfworld"), range(40), split) >= 0.95


@needs("alfworld")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["place", "light", "clean", "heat", "cool", "two"])
def test_alfworld_every_kind_of_task_can_be_solved_and_is_not_solved_at_the_start(kind: str) -> None:
    environment = make("alfworld", kinds=[kind])
    for task in range(2):
        state = environment.reset(task, "test")
        assert state.startswith("Task: ")
        assert not environment.success
        verbs = {action.split()[0] for action in environment.oracle() or []}
        assert {"light": "use", "place": "move", "two": "move"}.get(kind, kind) in verbs
    assert contract.solved_share(environment, range(2), "test") == 1.0


@needs("alfworld")
def test_alfworld_closed_furniture_hides_what_is_in_it() -> None:
    environment = make("alfworld")
    environment.reset(0, "train")
    closed = next(action for action in environment.admissible() if action.startswith("go to cabinet"))
    assert "It is closed." in environment.step(closed).text
    assert "In or on it: " in environment.step(closed.replace("go to", "open")).text


@needs("alfworld")
def test_alfworld_augmentation_adds_a_sentence_for_every_twelve() -> None:
    environment = make("alfworld")
    state = environment.reset(0, "train")
    for epsilon, sentences in ((200, 16), (300, 25), (11, 0)):
        longer = environment.augment(state, epsilon, random.Random(0))
        assert longer.count("Through the window you see a ") == sentences


@needs("alfworld")
def test_alfworld_official_layout_is_read(tmp_path: Path) -> None:
    from evaluators.environments._alfworld_rooms import make_problem
    from evaluators.environments.alfworld import _logic

    problem = make_problem(random.Random(3), ("place",))
    mangled = re.sub(r"\b(?!loc_)([a-z]+)_(\d+)\b", r"\1_bar__plus_0\2_dot_25", problem.pddl)
    domain, grammar = _logic()
    for folder, solvable in (("trial_1", True), ("trial_2", False)):
        place = tmp_path / "valid_unseen" / "pick_and_place_simple" / folder
        place.mkdir(parents=True)
        game = {
            "pddl_domain": domain,
            "grammar": grammar.replace("UNKNOWN GOAL", problem.task),
            "pddl_problem": mangled,
            "solvable": solvable,
        }
        (place / "game.tw-pddl").write_text(json.dumps(game))
    environment = make("alfworld", data=str(tmp_path))
    assert environment.task_count("test") == 1
    assert environment.reset(0, "test").startswith(f"Task: {problem.task}.")
    assert contract.solved_share(environment, range(1), "test") == 1.0
    with pytest.raises(UserError, match="no task 1"):
        environment.reset(1, "test")
    with pytest.raises(UserError, match="alfworld-download"):
        environment.reset(0, "train")


@needs("alfworld")
def test_alfworld_official_games_come_in_a_mixed_order(tmp_path: Path) -> None:
    """Folders are named by kind of task: by name the first games, which jobs play, would be of one kind."""
    from evaluators.environments.alfworld import _official_games

    data = tmp_path / "immovable"  # only what is below the folder of a split tells what a game is about
    kinds = ("look_at_obj", "pick_and_place", "pick_clean", "pick_heat")
    for kind in kinds:
        for trial in range(25):
            place = data / "train" / f"{kind}-Mug-None-Desk-301" / f"trial_{trial}"
            place.mkdir(parents=True)
            (place / "game.tw-pddl").write_text(json.dumps({"solvable": True}))
    games = _official_games(str(data), "train")
    assert len(games) == 100
    assert {game.parts[-3].partition("-")[0] for game in games[:15]} == set(kinds)
    shutil.copytree(data, tmp_path / "elsewhere" / "json_2.1.1")  # what the package's ALFWORLD_DATA is, a folder higher
    moved = _official_games(str(tmp_path / "elsewhere"), "train")
    assert [game.parts[-3:] for game in moved] == [game.parts[-3:] for game in games]


@needs("alfworld")
def test_alfworld_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(UserError, match="has no kind fry; it has: place, light"):
        make("alfworld", kinds=["fry"])
