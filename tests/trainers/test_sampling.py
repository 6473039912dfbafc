"""Dynamic sampling: groups that teach nothing make room for others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.trainers import running
from trainers import sampling, settings

PAD = 9


def batch(advantages: list[list[float]], prompt: int, completion: int, value: int) -> dict[str, torch.Tensor]:
    rows = sum(map(len, advantages))
    return {
        "prompt_ids": torch.full((rows, prompt), value),
        "prompt_mask": torch.ones(rows, prompt, dtype=torch.long),
        "completion_ids": torch.full((rows, completion), value),
        "completion_mask": torch.ones(rows, completion, dtype=torch.long),
        "advantages": torch.tensor(advantages).flatten(),
        "importance_sampling_ratio": torch.full((rows, 1), float(value)),
        "num_items_in_batch": torch.tensor(rows * completion),
    }


def test_empty_groups_are_filled_in_order_and_padded_like_the_rest():
    ours = batch([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]], prompt=2, completion=3, value=1)
    other = batch([[0.0, 0.0], [0.5, -0.5], [0.0, 0.0]], prompt=4, completion=2, value=2)
    chosen = sampling.pairs([False, True, False], [False, True, False])
    assert chosen == [(0, 1)]
    merged = sampling.replace_groups(ours, other, chosen, samples=2, pad_id=PAD)
    assert merged["advantages"].tolist() == [0.5, -0.5, 1.0, -1.0, 0.0, 0.0]
    assert merged["prompt_ids"][0].tolist() == [2, 2, 2, 2]
    assert merged["prompt_ids"][2].tolist() == [PAD, PAD, 1, 1]
    assert merged["prompt_mask"][2].tolist() == [0, 0, 1, 1]
    assert merged["completion_ids"][0].tolist() == [2, 2, PAD]
    assert merged["completion_mask"][0].tolist() == [1, 1, 0]
    assert merged["importance_sampling_ratio"].flatten().tolist() == [2, 2, 1, 1, 1, 1]
    assert ours["advantages"].tolist() == [0.0, 0.0, 1.0, -1.0, 0.0, 0.0], "the given batch is left as it was"


def test_nothing_changes_where_nothing_has_signal():
    ours, other = (batch([[0.0, 0.0]], prompt=2, completion=2, value=value) for value in (1, 2))
    chosen = sampling.pairs([False], [False])
    assert sampling.replace_groups(ours, other, chosen, samples=2, pad_id=PAD) is ours


@pytest.mark.parametrize(
    ("group", "has"),
    [
        ([1.0, 0.0, 1.0], True),
        ([0.7, 0.7, 0.7], False),
        ([0.1 + 0.2, 0.3, 0.3], False),  # rounding is no difference
        ([0.5, 0.4998, 0.5], True),  # what one token costs under length_shaped is one
        ([math.nan, 1.0, 1.0], False),
        ([math.nan, 1.0, 0.0], True),
        ([math.nan, math.nan, math.nan], False),  # nobody could judge it
    ],
)
def test_a_group_has_signal_where_two_judged_rewards_differ(group: list[float], has: bool):
    assert sampling.with_signal([[1.0, 0.0, 0.0, *group]], [1.0], 3) == [True, has]


def test_the_signal_is_that_of_the_weighted_sum_of_the_parts():
    parts = [[1.0, 0.0], [0.0, 1.0]]
    assert sampling.with_signal(parts, [1.0, 1.0], 2) == [False]
    assert sampling.with_signal(parts, [1.0, 0.5], 2) == [True]


def test_whole_groups_are_needed_on_every_process():
    config = {"generation": {"mode": "transformers", "dynamic_sampling": True}, "batch": {"prompts": 6}}
    assert settings.dynamic_sampling(config, 3)
    with pytest.raises(settings.SettingsError, match=r"batch\.prompts 6 does not divide over 4"):
        settings.dynamic_sampling(config, 4)
    with pytest.raises(settings.SettingsError, match="trainer: rloo"):
        settings.dynamic_sampling({**config, "trainer": "rloo"}, 1)


def test_groups_without_signal_are_replaced_in_a_training_and_after_a_kill(root: Path, model: dict[str, str]) -> None:
    from tests.trainers.test_resume import assert_same_from, kill

    config = running.rl_config(
        model,
        reward={"name": "random", "p": 0.15},
        generation={"mode": "transformers", "dynamic_sampling": True},
        export_steps=None,
    )
    undisturbed = running.start(running.add(root / "a", "rl", config))
    disturbed = running.start(running.add(root / "b", "rl", config))
    kill(disturbed, 5)
    resumed = running.start(disturbed.directory, "0002")
    assert undisturbed.wait()["outcome"] == resumed.wait()["outcome"] == "done"
    before = undisturbed.curve("dynamic_sampling/without_signal_before")
    after = undisturbed.curve("dynamic_sampling/without_signal_after")
    assert sum(before.values()) > 0
    assert sum(after.values()) == 0
    assert_same_from(resumed, undisturbed)
