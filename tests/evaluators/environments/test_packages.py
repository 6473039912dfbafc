"""Environments that come from packages of the `agents` extra keep the same contract as our own."""

from __future__ import annotations

import importlib.util

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
    import sys

    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    if name == "reasoning_gym":
        from evaluators.environments.reasoning_gym import refusal

        refusal.cache_clear()
    with pytest.raises(UserError, match=rf"needs the package {package}.*rl-transfer-manager\[agents\]"):
        make(name)
