"""Identity: what is part of it and what is not."""

from __future__ import annotations

import dataclasses

import pytest

from manager.job import Job, Kind, Resources

CONFIG = {"model": {"name": "tiny"}, "seed": 0, "grpo": {"learning_rate": 1e-6}}


def test_the_id_is_stable_across_versions_of_this_code() -> None:
    # Golden on purpose: if this changes, every result that anybody has stored is run again.
    assert Job(Kind.RL, CONFIG, ("a" * 16,)).id == "2b20f022a89fc826"


def test_order_of_keys_does_not_matter() -> None:
    assert Job(Kind.RL, dict(reversed(CONFIG.items()))).id == Job(Kind.RL, CONFIG).id


def test_resources_are_not_part_of_the_identity() -> None:
    small, large = Job(Kind.RL, CONFIG), Job(Kind.RL, CONFIG, resources=Resources(nodes=4, gpus_per_node=8, time_min=9))
    assert small.id == large.id


@pytest.mark.parametrize(
    "other",
    [
        Job(Kind.SFT, CONFIG),
        Job(Kind.RL, {**CONFIG, "seed": 1}),
        Job(Kind.RL, {**CONFIG, "grpo": {"learning_rate": 2e-6}}),
        Job(Kind.RL, CONFIG, ("b" * 16,)),
    ],
)
def test_what_decides_the_result_changes_the_id(other: Job) -> None:
    assert other.id != Job(Kind.RL, CONFIG).id


def test_json_round_trip_keeps_everything() -> None:
    job = Job(Kind.EVALUATE, CONFIG, ("x", "y"), Resources(nodes=2, gpus_per_node=8, slurm={"qos": "high"}))
    again = Job.from_json(job.to_json())
    assert again == job
    assert again.id == job.id
    assert dataclasses.asdict(again.resources) == dataclasses.asdict(job.resources)


def test_nan_has_no_place_in_a_config() -> None:
    with pytest.raises(ValueError, match="JSON"):
        _ = Job(Kind.RL, {"p": float("nan")}).id
