"""The grammar of stages that play text environments, and of training on what they made."""

from __future__ import annotations

from pathlib import Path

from evaluators.environments import facts
from manager.job import Kind
from tests.manager.sweep_catalog import expanded, mistakes

STUDY = """
stages:
  plans-a: {kind: collect, environments: [{name: sokoban, height: 5}], episodes: 20}
  plans-b: {kind: collect, environments: [shop], model: qwen2.5-1.5b-instruct, keep: all}
  warmup: {kind: sft, model: qwen2.5-1.5b-instruct, data: {trajectories: {plans-a: 19, plans-b: 3}, seed: 1}}
  probe: {kind: probe, needs: warmup, environments: [sokoban, shop], cap: 40}
  evaluate:
    kind: evaluate
    needs: warmup
    environments: [sokoban, {name: sokoban-large, environment: sokoban, height: 9}]
    episodes: 64
    agent: {history: 1, thinking: false, augment: {epsilon: 40, probability: 0.5}}
    sampling: {sokoban: {temperature: 0.7}}
"""


def test_environments_stand_where_benchmarks_stand(tmp_path: Path) -> None:
    jobs = {entry.stage: entry.job for entry in expanded(tmp_path, STUDY).jobs}
    small, large = jobs["evaluate"].config["benchmarks"]
    assert (small["name"], small["domain"], small["version"]) == ("sokoban", "sokoban", facts("sokoban").version)
    assert small["limit"] == 64
    assert small["data"]["split"] == "test"
    assert small["data"]["options"] == dict(facts("sokoban").options)
    assert (small["sampler"]["temperature"], large["sampler"]["temperature"]) == (0.7, 0.4)
    assert (large["name"], large["data"]["environment"], large["data"]["options"]["height"]) == (
        "sokoban-large", "sokoban", 9,
    )  # fmt: skip
    agent = {"history": 1, "thinking": False, "augment": {"epsilon": 40, "probability": 0.5}}
    assert jobs["evaluate"].config["agent"] == agent
    assert {row["data"]["options"]["cap"] for row in jobs["probe"].config["benchmarks"]} == {40}


def test_collecting_is_by_plan_without_a_model_and_by_the_model_with_one(tmp_path: Path) -> None:
    jobs = {entry.stage: entry.job for entry in expanded(tmp_path, STUDY).jobs}
    assert jobs["plans-a"].kind is Kind.COLLECT
    assert (jobs["plans-a"].config["policy"], jobs["plans-b"].config["policy"]) == ("oracle", "model")
    assert "model" not in jobs["plans-a"].config
    assert jobs["plans-a"].config["benchmarks"][0]["data"]["split"] == "train"


def test_training_on_trajectories_needs_their_jobs(tmp_path: Path) -> None:
    jobs = {entry.stage: entry.job for entry in expanded(tmp_path, STUDY).jobs}
    assert jobs["warmup"].needs == (jobs["plans-a"].id, jobs["plans-b"].id)
    ratios = [{"need": 0, "ratio": 19}, {"need": 1, "ratio": 3}]
    assert jobs["warmup"].config["data"]["trajectories"] == ratios


def test_the_options_of_an_environment_are_in_the_identity(tmp_path: Path) -> None:
    def job(body: str) -> str:
        text = f"stages: {{only: {{kind: probe, model: qwen2.5-1.5b-instruct, {body}}}}}"
        return expanded(tmp_path, text).jobs[0].job.id

    assert job("environments: [sokoban]") == job("environments: [{name: sokoban, height: 6}]")
    assert job("environments: [sokoban]") != job("environments: [{name: sokoban, height: 7}]")


def one(tmp_path: Path, body: str) -> str:
    (line,) = mistakes(tmp_path, f"stages: {{only: {{model: qwen2.5-1.5b-instruct, {body}}}}}")
    return line


def test_mistakes_name_what_is_valid(tmp_path: Path) -> None:
    assert "did you mean sokoban" in one(tmp_path, "kind: evaluate, environments: [sokobann]")
    assert "did you mean height" in one(tmp_path, "kind: evaluate, environments: [{name: sokoban, heigt: 3}]")
    assert "goes with benchmarks" in one(tmp_path, "kind: evaluate, environments: [shop], suite: mini")
    assert "goes with environments" in one(tmp_path, "kind: evaluate, suite: mini, episodes: 3")
    assert "is there twice" in one(tmp_path, "kind: evaluate, environments: [shop, shop]")
    assert "needs epsilon" in one(tmp_path, "kind: probe, environments: [shop], agent: {augment: {probability: 1.0}}")
    assert "the cap of the stage" in one(tmp_path, "kind: probe, environments: [{name: shop, cap: 3}]")
    assert "leave out model" in one(tmp_path, "kind: collect, environments: [shop], policy: oracle")
    assert "episodes are not shared out" in one(tmp_path, "kind: evaluate, environments: [shop], shards: 2")


def test_a_stage_that_makes_no_trajectories_is_refused(tmp_path: Path) -> None:
    text = """
    stages:
      look: {kind: probe, model: qwen2.5-1.5b-instruct, environments: [shop]}
      warmup: {kind: sft, model: qwen2.5-1.5b-instruct, data: {trajectories: {look: 1, nowhere: 2}}}
    """
    first, second = sorted(mistakes(tmp_path, text))
    assert "unknown stage" in first + second
    assert "trajectories are made by a stage of kind" in first + second
