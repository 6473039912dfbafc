"""The official layout of ALFWorld, made by the package's own generator, is read as the package itself reads it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.environments import alfworld, facts, make
from manager import content
from tests.evaluators.environments import alfworld_official as given
from tests.evaluators.environments import contract

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("alfworld") is None, reason="needs alfworld (the agents extra)"),
]
# Task types, as the package numbers them.
CONFIG = {
    "env": {"goal_desc_human_anns_prob": 0, "task_types": [1, 2, 3, 4, 5, 6], "domain_randomization": False},
    "dataset": {"num_train_games": -1, "num_eval_games": -1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All six kinds to test on, two to train on, one each of rooms that were seen, and one with a movable thing."""
    root = tmp_path_factory.mktemp("alfworld")
    games = {
        "train": [given.official("place", 10), given.official("heat", 11)],
        "valid_seen": [given.official("clean", 12)],
        "valid_unseen": [given.official(kind, seed) for seed, kind in enumerate(given.TYPES)],
    }
    made = given.write(root, games)
    movable = made / "valid_unseen" / "pick_and_place_with_movable_recep-Pen-Mug-Desk-301" / "trial_T20190908_1"
    movable.mkdir(parents=True)
    for name in ("game.tw-pddl", "traj_data.json"):
        source = next(made.glob(f"valid_unseen/pick_and_place_simple*/*/{name}"))
        (movable / name).write_text(source.read_text())
    return made


@pytest.fixture(autouse=True)
def own_home(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(data.parent))  # the package makes this folder when it is imported


def package_games(data: Path, which: str) -> set[Path]:
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    paths = {"data_path": "train", "eval_id_data_path": "valid_seen", "eval_ood_data_path": "valid_unseen"}
    places = {key: str(data / split) for key, split in paths.items()}
    config: dict[str, Any] = {**CONFIG, "dataset": {**CONFIG["dataset"], **places}}
    return {Path(one) for one in AlfredTWEnv(config, train_eval=which).game_files}


def test_the_splits_are_the_packages_and_test_is_out_of_distribution(data: Path) -> None:
    for split, which in (("train", "train"), ("test", "eval_out_of_distribution")):
        assert set(alfworld._official_games(str(data), split)) == package_games(data, which)
    environment = make("alfworld", data=str(data.parent))  # the folder above will do
    assert (environment.task_count("train"), environment.task_count("test")) == (2, 6)
    assert all("valid_unseen" in str(one) for one in alfworld._official_games(str(data), "test"))
    assert environment.cap == 50


def package_world(game: Path) -> Any:
    """A game as the package plays it."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs import PddlEnv

    world = AlfredDemangler(PddlEnv(textworld.EnvInfos(admissible_commands=True, won=True)), shuffle=False)
    world.load(str(game))
    return world


def doable(commands: list[str]) -> set[str]:
    return {" ".join(one.split()) for one in commands if not one.startswith(alfworld._IDLE)}


@pytest.mark.parametrize("task", range(6))
def test_goal_names_commands_and_success_are_the_packages_along_its_experts_way(data: Path, task: int) -> None:
    game = alfworld._official_games(str(data), "test")[task]
    told = json.loads(game.read_text())
    environment = make("alfworld", data=str(data), cap=len(told["walkthrough"]) + 1)
    world = package_world(game)
    seen, state = world.reset(), environment.reset(task, "test")
    goal = seen.feedback.partition("Your task is to: ")[2].strip()
    assert state.startswith(f"Task: {goal}\n")
    assert told["solvable"]
    for command in told["walkthrough"]:
        assert set(environment.admissible()) == doable(seen.admissible_commands)
        seen, _, _ = world.step(command)
        if not command.startswith(alfworld._IDLE):
            assert environment.step(command).valid
    assert seen.won
    assert environment.success


def test_the_planner_solves_all_within_the_cap(data: Path) -> None:
    environment = make("alfworld", data=str(data))
    assert contract.solved_share(environment, range(6), "test") == contract.solved_share(
        environment, range(2), "train"
    ) == 1.0  # fmt: skip


def test_the_content_of_what_is_played_is_the_identity(data: Path) -> None:
    patterns = facts("alfworld").files["data"]
    before = content.digest(data, patterns)
    seen = next(data.glob("valid_seen/*/*/game.tw-pddl"))
    seen.write_text(seen.read_text() + " ")
    assert content.digest(data, patterns) == before, "rooms that were seen are not played"
    unseen = next(data.glob("valid_unseen/*/*/game.tw-pddl"))
    unseen.write_text(unseen.read_text() + " ")
    assert content.digest(data, patterns) != before
    assert content.digest(data.parent, patterns), "also from the folder above"
