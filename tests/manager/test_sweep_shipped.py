"""Every sweep file that is shipped expands."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.job import Kind
from manager.sweep import SweepErrors, load_sweep
from tests.manager.sweep_catalog import catalog

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.rglob("*.yaml"))


def test_there_are_sweeps() -> None:
    assert {"quickstart.yaml", "interventional.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SWEEPS)))
def test_a_shipped_sweep_expands_to_a_study_with_a_report(path: Path) -> None:
    sweep = load_sweep(path, catalog=catalog(), environ={})
    kinds = [entry.job.kind for entry in sweep.jobs]
    assert sweep.study is not None
    assert kinds.count(Kind.REPORT) == 1
    assert Kind.EVALUATE in kinds
    evaluated = {entry.job.id for entry in sweep.jobs if entry.job.kind == Kind.EVALUATE}
    assert evaluated <= set(sweep.jobs[-1].job.needs)  # nothing is evaluated that nobody reports


@pytest.mark.parametrize(
    ("name", "runs"),
    [("longitudinal", 9), ("algorithms", 18), ("rewards", 9), ("scale", 9), ("cascade", 9)],
)
def test_studies_share_their_training_with_the_interventional_one(name: str, runs: int) -> None:
    """As their first lines say; runs are the jobs of kind rl that both have."""
    both = [load_sweep(SWEEPS / f"{one}.yaml", catalog=catalog(), environ={}) for one in (name, "interventional")]
    trained = [{e.job.id for e in sweep.jobs if e.job.kind == Kind.RL} for sweep in both]
    assert len(trained[0] & trained[1]) == runs


def test_small_sweeps_share_the_base_model_of_the_quickstart() -> None:
    quickstart = load_sweep(SWEEPS / "quickstart.yaml", catalog=catalog(), environ={})
    (base,) = (e.job.id for e in quickstart.jobs if e.stage == "base")
    for path in (SWEEPS / "mini").glob("*.yaml"):
        if path.stem != "agentic":  # an agent starts from plans of its environments
            assert base in load_sweep(path, catalog=catalog(), environ={}).by_id()


def test_every_study_has_a_sweep_and_a_small_one() -> None:
    for folder in (SWEEPS, SWEEPS / "mini"):
        studies = {load_sweep(path, catalog=catalog(), environ={}).study for path in folder.glob("*.yaml")}
        assert studies == set(catalog().studies)


def test_judged_rewards_take_their_endpoint_from_the_environment() -> None:
    environ = {"JUDGE_MODEL": "judge", "JUDGE_URL": "http://localhost:1/v1"}
    sweep = load_sweep(
        SWEEPS / "rewards.yaml", ["matrix.reward=[judge_soft]"], catalog=catalog(), environ=environ
    )
    rewards = [e.job.config["reward"] for e in sweep.jobs if e.job.kind == Kind.RL]
    assert {reward["base_url"] for reward in rewards} == {"http://localhost:1/v1"}
    with pytest.raises(SweepErrors, match="the environment variable JUDGE_MODEL is not set"):
        load_sweep(SWEEPS / "rewards.yaml", ["matrix.reward=[judge_soft]"], catalog=catalog(), environ={})


def test_shipped_sweeps_have_names_of_their_own() -> None:
    names = [load_sweep(path, catalog=catalog(), environ={}).name for path in FILES]
    assert len(set(names)) == len(names)
