"""The grammar of reinforcement learning on text environments."""

from __future__ import annotations

from pathlib import Path

from evaluators.environments import facts
from manager import footprint
from manager.tracking.lineage import training_domain
from tests.manager.sweep_catalog import expanded, mistakes

STUDY = """
matrix: {seed: [0, 1]}
stages:
  train:
    kind: rl
    model: qwen2.5-1.5b-instruct
    environments: [{name: sokoban, height: 5}]
    seed: ${seed}
    agent: {history: 1, augment: {epsilon: 40, probability: 0.5}}
    batch: {prompts: 16, samples: 8, mini_batch: 8}
    grpo: {max_steps: 150, learning_rate: 1e-6, beta: 0.01}
    export_steps: 16
  evaluate: {kind: evaluate, needs: train, environments: [sokoban, shop]}
"""


def test_environments_stand_where_data_stand(tmp_path: Path) -> None:
    jobs = [entry.job for entry in expanded(tmp_path, STUDY).jobs if entry.stage == "train"]
    config = jobs[0].config
    options = {**facts("sokoban").options, "height": 5}
    row = {"name": "sokoban", "version": facts("sokoban").version, "domain": "sokoban", "subdomain": None,
           "data": {"environment": "sokoban", "options": options, "split": "train", "first_task": 0}}  # fmt: skip
    assert config["data"] == {"name": "sokoban", "domain": "sokoban", "seed": 0, "environments": [row]}
    assert [job.config["data"]["seed"] for job in jobs] == [0, 1], "the order of the tasks follows from the seed"
    assert config["agent"] == {"history": 1, "thinking": True, "augment": {"epsilon": 40, "probability": 0.5}}
    assert config["reward"] == {"name": "episode", "success": 10.0, "failure": 0.0, "invalid": -0.1}
    assert config["grpo"]["max_completion_length"] == facts("sokoban").response_tokens
    assert training_domain(jobs[0], {}) == "sokoban"


def test_several_environments_are_several_domains_and_the_longest_answer_counts(tmp_path: Path) -> None:
    job = expanded(tmp_path, STUDY, "stages.train.environments=[sokoban,shop]").jobs[0].job
    assert job.config["data"]["domain"] == ["sokoban", "shop"]
    assert job.config["grpo"]["max_completion_length"] == facts("shop").response_tokens
    shorter = expanded(tmp_path, STUDY, "stages.train.grpo.max_completion_length=64").jobs[0].job
    assert shorter.config["grpo"]["max_completion_length"] == 64


def test_the_options_and_the_agent_are_in_the_identity(tmp_path: Path) -> None:
    def job(*overrides: str) -> str:
        return expanded(tmp_path, STUDY, *overrides).jobs[0].job.id

    assert job() == job("stages.train.reward=episode")
    assert job() == job("stages.train.resources.micro_batch=3"), "how rows are split is none of its business"
    others = ("environments=[{name: sokoban, height: 6}]", "agent.history=0", "reward={name: episode, invalid: 0.0}",
              "agent.rules=false")  # fmt: skip
    assert len({job(), *(job(f"stages.train.{one}") for one in others)}) == 1 + len(others)


def test_the_plan_says_what_the_batch_is_in_words(tmp_path: Path) -> None:
    sweep = expanded(tmp_path, STUDY)
    jobs = {entry.job.id: entry.job for entry in sweep.jobs}
    (row, *_) = footprint.memory(sweep.jobs, jobs, {}, 80.0)
    assert row.batch == (
        "16 tasks x 8 samples = 128 episodes per generation, 2 optimiser step(s) each; 64 episodes x 1 processes = 64 "
        "episodes per optimiser step, every step of them a row; 16 rows at most in a forward pass"
    )


def one(tmp_path: Path, *overrides: str) -> str:
    (line,) = mistakes(tmp_path, STUDY, *(f"stages.train.{change}" for change in overrides))
    return line


def test_mistakes_name_what_is_valid(tmp_path: Path) -> None:
    assert "this stage names environments" in one(tmp_path, "data=math")
    assert "environments are rewarded by episode" in one(tmp_path, "reward=correct")
    assert "environments are rewarded by episode" in one(tmp_path, "reward=[episode]")
    assert "did you mean episode" in one(tmp_path, "reward=episod")
    assert "unknown key" in one(tmp_path, "reward={name: episode, succes: 3}")
    assert "did you mean height" in one(tmp_path, "environments=[{name: sokoban, heigt: 3}]")
    assert "is there twice" in one(tmp_path, "environments=[shop, shop]")
    assert "needs epsilon" in one(tmp_path, "agent.augment={probability: 0.5}")
    assert "max_steps is missing" in one(tmp_path, "grpo.max_steps=-1")
    assert "with environments: dapo" in one(tmp_path, "grpo.loss_type=bnpo")
    assert "leave it out" in one(tmp_path, "grpo.entropy_coef=0.1")
    assert "does not train on environments" in one(tmp_path, "trainer=rloo")
    assert "replaces prompts, not episodes" in one(tmp_path, "algorithm=dapo", "grpo.beta=0.0")
    assert "do not divide over" in one(tmp_path, "resources={tasks_per_node: 5}")


def test_what_belongs_to_environments_is_refused_without_them(tmp_path: Path) -> None:
    text = "stages: {train: {kind: rl, model: qwen2.5-1.5b-instruct, data: math, REST}}"
    (line,) = mistakes(tmp_path, text.replace("REST", "agent: {history: 1}"))
    assert "goes with environments" in line
    (line,) = mistakes(tmp_path, text.replace("REST", "reward: episode"))
    assert "it goes with environments" in line
    (line,) = mistakes(tmp_path, text.replace("REST", "episodes: 3"))
    assert "unknown key" in line
