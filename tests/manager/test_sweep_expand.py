"""What a sweep expands to: combinations, shared jobs, labels, needs, checkpoints, interpolation, configs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluators.prompts import Prompting
from manager.job import Sweep, SweepJob
from manager.sweep import load_sweep
from manager.sweep.document import Document
from manager.sweep.expand import expand
from manager.sweep.mistakes import Mistakes
from manager.sweep.nodes import parse
from tests.manager.sweep_catalog import catalog, expanded, mistakes

STUDY = """
    name: small
    study: interventional
    matrix:
      base: [qwen2.5-7b-instruct, llama-3.2-3b-instruct]
      domain: [math, code, knowledge]
      algorithm: [grpo, dapo]
      seed: [0, 1, 2]
    exclude: [{base: llama-3.2-3b-instruct, algorithm: dapo}]
    include: [{base: deepseek-r1-distill-qwen-7b, domain: math, algorithm: grpo, seed: 0}]
    stages:
      baseline: {kind: evaluate, model: "${base}", suite: all16}
      train:
        kind: rl
        model: ${base}
        data: ${domain}
        seed: ${seed}
        grpo: {loss_type: "${algorithm}", learning_rate: 1e-6}
        deepspeed: zero2
        resources: {nodes: 1, gpus_per_node: 8, time_min: 1440}
      evaluate:
        {kind: evaluate, needs: train, checkpoints: [100, 200, last], suite: all16, resources: {gpus_per_node: 1}}
      report: {kind: report, needs: [baseline, evaluate]}
"""


def stage(sweep: Sweep, name: str) -> list[SweepJob]:
    return [entry for entry in sweep.jobs if entry.stage == name]


def one(folder: Path, body: str, **matrix: Any) -> dict[str, Any]:
    """The config of the only job of a sweep with this stage."""
    text = f"matrix: {json.dumps(matrix)}\nstages:\n  only: {body}\n"
    (entry,) = expanded(folder, text).jobs
    return dict(entry.job.config)


def test_the_grammar_of_the_interventional_study(tmp_path: Path) -> None:
    sweep = expanded(tmp_path, STUDY)
    runs = 1 * 3 * 2 * 3 + 1 * 3 * 1 * 3 + 1
    assert Counter(entry.stage for entry in sweep.jobs) == {
        "baseline": 3, "train": runs, "evaluate": 3 * runs, "report": 1,
    }  # fmt: skip
    assert [entry.labels for entry in stage(sweep, "baseline")] == [
        {"base": "qwen2.5-7b-instruct"}, {"base": "llama-3.2-3b-instruct"}, {"base": "deepseek-r1-distill-qwen-7b"},
    ]  # fmt: skip
    assert stage(sweep, "evaluate")[2].labels == {
        "base": "qwen2.5-7b-instruct", "domain": "math", "algorithm": "grpo", "seed": 0, "checkpoint": "last",
    }  # fmt: skip
    assert len(sweep.by_id()) == len(sweep.jobs)


def test_every_job_comes_after_what_it_needs(tmp_path: Path) -> None:
    seen: set[str] = set()
    for entry in expanded(tmp_path, STUDY).jobs:
        assert set(entry.job.needs) <= seen
        seen.add(entry.job.id)


def test_a_report_gathers_all_jobs_of_its_stages_with_their_labels(tmp_path: Path) -> None:
    sweep = expanded(tmp_path, STUDY)
    (report,) = stage(sweep, "report")
    assert report.labels == {}
    assert report.job.config["study"] == "interventional"
    by_stage = {given["stage"]: given for given in report.job.config["inputs"]}
    for name in ("baseline", "evaluate"):
        jobs = stage(sweep, name)
        assert [report.job.needs[place] for place in by_stage[name]["needs"]] == [e.job.id for e in jobs]
        assert by_stage[name]["labels"] == [dict(e.labels) for e in jobs]


def test_ids_do_not_depend_on_names_resources_or_order(tmp_path: Path) -> None:
    first = expanded(tmp_path, STUDY)
    second = expanded(
        tmp_path, STUDY, "name=other", "stages.train.resources={nodes: 2, gpus_per_node: 8, micro_batch: 2}",
        "matrix.seed=[2,1,0]", "tracking=sqlite:///x.db",
    )  # fmt: skip
    ids = [{e.job.id for e in stage(s, "train")} for s in (first, second)]
    assert ids[0] == ids[1]
    assert second.settings == {"tracking": "sqlite:///x.db"}
    assert stage(second, "train")[0].job.resources.nodes == 2


def test_two_sweeps_share_a_baseline(tmp_path: Path) -> None:
    text = 'name: other\nstages: {b: {kind: evaluate, model: qwen2.5-7b-instruct, suite: all16}}'
    shared = {e.job.id for e in expanded(tmp_path, STUDY).jobs} & {e.job.id for e in expanded(tmp_path, text).jobs}
    assert len(shared) == 1


def test_combinations_that_are_the_same_job_keep_the_labels_they_agree_on(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path,
        """
        values: {steps: {math: 10, code: 10, knowledge: 20}}
        matrix: {domain: [math, code, knowledge], seed: [0]}
        stages:
          train:
            {kind: rl, model: qwen2.5-7b-instruct, data: math, seed: "${seed}",
             grpo: {max_steps: "${values.steps.${domain}}"}}
        """,
    )
    assert [e.labels for e in sweep.jobs] == [{"seed": 0}, {"domain": "knowledge", "seed": 0}]


def test_one_job_cannot_be_asked_for_with_different_resources(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        matrix: {gpus: [1, 2]}
        stages:
          b: {kind: evaluate, model: qwen2.5-7b-instruct, suite: mini, resources: {gpus_per_node: "${gpus}"}}
        """,
    )
    assert found == [
        "sweep.yaml:4: stages.b.resources: combinations that are one and the same job ask for different resources, "
        "which are not part of a job's identity; give them the same"
    ]


def test_a_list_of_mappings_zips(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path,
        """
        matrix:
          pair: [{model: fino1-8b, prompts: chat}, {model: fin-r1, prompts: base_fewshot}]
          seed: [0, 1]
        exclude: [{model: fin-r1, seed: [1, 5]}]
        stages:
          e: {kind: evaluate, model: "${model}", prompting: "${prompts}", suite: mini, seed: "${seed}"}
        """,
    )
    assert [e.labels for e in sweep.jobs] == [
        {"model": "fino1-8b", "prompts": "chat", "seed": 0},
        {"model": "fino1-8b", "prompts": "chat", "seed": 1},
        {"model": "fin-r1", "prompts": "base_fewshot", "seed": 0},
    ]


def test_a_sweep_without_a_matrix_and_a_single_value(tmp_path: Path) -> None:
    body = '{kind: evaluate, model: fino1-8b, suite: [gsm8k], seed: 4}'
    assert expanded(tmp_path, f"stages: {{e: {body}}}").jobs[0].labels == {}
    text = "matrix: {seed: 4}\nstages: {e: " + body.replace("4}", '"${seed}"}') + "}"
    assert expanded(tmp_path, text).jobs[0].labels == {"seed": 4}


def test_included_twice_is_there_once(tmp_path: Path) -> None:
    text = """
        matrix: {seed: [0, 1]}
        include: [{seed: 1}, {seed: 2}, {seed: 2}]
        stages: {e: {kind: evaluate, model: fino1-8b, suite: mini, seed: "${seed}"}}
    """
    assert [e.labels["seed"] for e in expanded(tmp_path, text).jobs] == [0, 1, 2]


CHAIN = """
    stages:
      train: {{kind: rl, model: qwen2.5-7b-instruct, data: math, {train}}}
      evaluate: {{kind: evaluate, needs: train, suite: mini, {evaluate}}}
"""


@pytest.mark.parametrize(
    ("train", "evaluate", "steps"),
    [
        ("seed: 0", "seed: 0", ["last"]),
        ("grpo: {max_steps: 300}", "seed: 0", [300]),
        ("grpo: {max_steps: 300}", "checkpoints: [100, 300, last]", [100, 300]),
        ("grpo: {max_steps: 250}", "checkpoints: all", [100, 200, 250]),
        ("grpo: {max_steps: 30}, export_steps: 10", "checkpoints: all", [10, 20, 30]),
        ("grpo: {max_steps: 250}", "checkpoints: last", [250]),
        ("grpo: {num_train_epochs: 1}", "checkpoints: [100, last, 100]", [100, "last"]),
    ],
)
def test_checkpoints(tmp_path: Path, train: str, evaluate: str, steps: list[object]) -> None:
    sweep = expanded(tmp_path, CHAIN.format(train=train, evaluate=evaluate))
    models = [entry.job.config["model"] for entry in stage(sweep, "evaluate")]
    assert models == [{"need": 0, "checkpoint": step} for step in steps]
    labels = [entry.labels.get("checkpoint") for entry in stage(sweep, "evaluate")]
    assert labels == (steps if "checkpoints" in evaluate else [None])


@pytest.mark.parametrize(
    ("train", "evaluate", "message"),
    [
        ("grpo: {max_steps: 300}", "checkpoints: [400]", "train ends at step 300 (max_steps), so there is no step 400"),
        ("export_steps: 20", "checkpoints: [50]", "train exports every 20 steps (export_steps), and 50 is not one of"),
        ("seed: 0", "checkpoints: all", "all: the steps of train are not known before it ran; give stages.train.grpo"),
        ("seed: 0", "checkpoints: [0]", "step 0 is the model that train starts from"),
        ("seed: 0", "checkpoints: [-5]", "-5 is not a step"),
        ("seed: 0", "checkpoints: []", "an empty list; name steps, or last"),
        ("seed: 0", "checkpoints: [final]", "expected a step, last or all, not 'final'"),
        ("seed: 0", "checkpoints: [100, all]", "all stands alone"),
        ("seed: 0", "checkpoint: 100", "unknown key, did you mean checkpoints"),
    ],
)  # fmt: skip
def test_checkpoints_that_are_not_there(tmp_path: Path, train: str, evaluate: str, message: str) -> None:
    (line,) = mistakes(tmp_path, CHAIN.format(train=train, evaluate=evaluate))
    assert line.startswith("sweep.yaml:4: stages.evaluate.checkpoint")
    assert message in line


def test_a_cascade_starts_each_stage_from_the_last_one(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path,
        """
        matrix: {seed: [0, 1]}
        defaults: {rl: {seed: "${seed}", grpo: {max_steps: 200}}}
        stages:
          math: {kind: rl, model: qwen2.5-7b-instruct, data: math}
          code: {kind: rl, needs: math, data: code}
          knowledge: {kind: rl, needs: code, checkpoint: 100, data: knowledge, grpo: {max_steps: 50}}
        """,
    )
    assert [entry.title for entry in sweep.jobs] == [
        "math seed=0", "math seed=1", "code seed=0", "code seed=1", "knowledge seed=0", "knowledge seed=1",
    ]  # fmt: skip
    last = sweep.jobs[-1].job
    assert last.needs == (sweep.jobs[3].job.id,)
    assert last.config["model"] == {"need": 0, "checkpoint": 100}
    assert last.config["grpo"] == {"max_steps": 50}
    assert sweep.jobs[2].job.config["model"] == {"need": 0, "checkpoint": 200}


def test_interpolation(tmp_path: Path) -> None:
    sweep = expanded(
        tmp_path,
        """
        values: {lr: {math: 1e-6, code: 5e-7}, beta: 0.1}
        matrix: {domain: [math, code], beta: [0.0]}
        stages:
          train:
            kind: rl
            model: qwen2.5-7b-instruct
            data: mini-${domain}
            grpo:
              learning_rate: ${values.lr.${domain}}
              beta: ${beta}
              epsilon: ${values.beta}
              epsilon_high: ${.epsilon}
              generation_kwargs: {name: "${domain}-\\\\${x}", home: "${oc.env:PLACE}", other: "${oc.env:NONE,here}"}
        """,
        environ={"PLACE": "/data"},
    )
    configs = {entry.labels["domain"]: entry.job.config for entry in sweep.jobs}
    assert configs["code"]["data"]["name"] == "mini-code"
    assert configs["code"]["grpo"] == {
        "learning_rate": 5e-7, "beta": 0.0, "epsilon": 0.1, "epsilon_high": 0.1,
        "generation_kwargs": {"name": "code-${x}", "home": "/data", "other": "here"},
    }  # fmt: skip
    assert configs["math"]["grpo"]["learning_rate"] == 1e-6


def test_the_environment_can_give_matrix_values(tmp_path: Path) -> None:
    text = """
        name: run-${oc.env:WHO}
        matrix: {seed: ["${oc.env:SEED}"], count: "${oc.decode:${oc.env:COUNTS}}"}
        stages:
          e: {kind: evaluate, model: fino1-8b, suite: mini, seed: "${count}", engine: {name: vllm, x: "${seed}"}}
    """
    sweep = expanded(tmp_path, text, environ={"SEED": "a", "COUNTS": "[1, 2]", "WHO": "me"})
    assert sweep.name == "run-me"
    assert [e.labels for e in sweep.jobs] == [{"seed": "a", "count": 1}, {"seed": "a", "count": 2}]


def test_rl_config_is_fully_resolved(tmp_path: Path) -> None:
    config = one(tmp_path, "{kind: rl, model: qwen2.5-7b-instruct, data: mini-math, grpo: {beta: 0}}")
    assert config == {
        "model": {
            "name": "qwen2.5-7b-instruct",
            "hub": "Qwen/Qwen2.5-7B-Instruct",
            "revision": catalog().models["qwen2.5-7b-instruct"]["revision"],
        },
        "data": {
            "name": "mini-math", "domain": "math", "seed": 42, "size": None,
            "sources": [{"benchmark": "mini_math", "version": 3, "split": "train", "domain": "math", "weight": 1.0}],
            "max_prompt_tokens": 1024,
        },
        "seed": 0,
        "trainer": "grpo",
        "batch": {"prompts": 64, "samples": 8, "mini_batch": 64},
        "grpo": {"beta": 0},
        "export_steps": 100,
        "reward": {"name": "correct"},
        "deepspeed": None,
        "peft": None,
        "generation": {"mode": "transformers"},
    }  # fmt: skip


def test_sft_config_is_fully_resolved(tmp_path: Path) -> None:
    data = "{name: mini-math, size: 500, seed: 1, wrong_share: 0.5}"
    body = f"{{kind: sft, model: tiny, data: {data}, sft: {{max_steps: 5}}}}"
    config = one(tmp_path, body)
    assert config["model"]["scratch"]["architecture"] == "qwen2"
    assert {key: value for key, value in config["data"].items() if key != "sources"} == {
        "name": "mini-math", "domain": "math", "seed": 1, "size": 500, "wrong_share": 0.5,
    }  # fmt: skip
    assert config["batch"] == {"examples": 32}
    assert config["sft"] == {"max_steps": 5}


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("{mode: base_fewshot}", "base_fewshot"),
        ("{system: null}", "chat"),
        ("{thinking: false}", {"mode": "chat", "thinking": False}),
        ("{mode: chat, thinking: true, system: Be brief.}",
         {"mode": "chat", "thinking": True, "system": "Be brief."}),
        ("{mode: base_fewshot, system: Solve.}", {"mode": "base_fewshot", "system": "Solve."}),
    ],
)  # fmt: skip
def test_ways_of_asking_reach_the_evaluation(tmp_path: Path, written: str, resolved: Any) -> None:
    config = one(tmp_path, f"{{kind: evaluate, model: fino1-8b, suite: mini, prompting: {written}}}")
    assert config["prompting"] == resolved
    way = Prompting.parse(config["prompting"])
    assert {"mode": way.mode, "thinking": way.thinking, "system": way.system} == {
        "thinking": None, "system": None, **({"mode": resolved} if isinstance(resolved, str) else resolved),
    }  # fmt: skip


def test_evaluate_config_is_fully_resolved(tmp_path: Path) -> None:
    config = one(
        tmp_path,
        "{kind: evaluate, model: {hub: org/model, revision: abc}, suite: [gsm8k, medqa], limit: {gsm8k: 100}, "
        "sampling: {all: {temperature: 0.6}, medqa: {samples: 4, temperature: 1.0}}, "
        "engine: {name: openai, base_url: u}}",
    )
    assert config["model"] == {"name": "org/model", "hub": "org/model", "revision": "abc"}
    assert config["engine"] == {"name": "openai", "base_url": "u"}
    assert config["prompting"] == "chat"
    gsm8k, medqa = config["benchmarks"]
    assert gsm8k == {
        "name": "gsm8k", "version": 3, "domain": "math", "subdomain": None,
        "data": {"hub": "hub/gsm8k", "revision": "abc"}, "limit": 100,
        "sampler": {"samples": 1, "temperature": 0.6, "top_p": 1.0, "max_tokens": 16192, "stop": []},
    }  # fmt: skip
    assert (medqa["sampler"]["samples"], medqa["sampler"]["temperature"], medqa["limit"]) == (4, 1.0, None)


def test_mixtures_weigh_domains_and_share_within_them(tmp_path: Path) -> None:
    config = one(tmp_path, "{kind: rl, model: fino1-8b, data: {mix: {code: 3, mini-math: 1}, size: 100}}")
    data = config["data"]
    assert (data["name"], data["domain"], data["size"]) == ("code+mini-math", ["code", "math"], 100)
    assert [source["weight"] for source in data["sources"]] == [0.375, 0.75, 1.875, 1.0]  # 3 shared as 1:2:5
    assert data["decontaminate"] == sorted(catalog().suites["all16"])


def test_algorithms_set_the_trainer_and_what_is_written_wins(tmp_path: Path) -> None:
    body = '{kind: rl, model: fino1-8b, data: math, algorithm: "${algorithm}", grpo: {beta: 0.5}}'
    sweep = expanded(tmp_path, f"matrix: {{algorithm: [dapo, rloo]}}\nstages:\n  t: {body}\n")
    dapo, rloo = (entry.job.config for entry in sweep.jobs)
    assert (dapo["trainer"], dapo["grpo"]["loss_type"], dapo["grpo"]["beta"]) == ("grpo", "dapo", 0.5)
    assert (rloo["trainer"], rloo["grpo"]) == ("rloo", {"beta": 0.5})
    assert dapo["generation"] == {"mode": "transformers", "dynamic_sampling": True}
    assert "algorithm" not in dapo  # what it stands for decides the result, not its name


def test_rewards_take_their_defaults(tmp_path: Path) -> None:
    body = "{kind: rl, model: fino1-8b, data: math, reward: [{name: noisy, p: 0.2}, length_shaped]}"
    assert one(tmp_path, body)["reward"] == [
        {"name": "noisy", "p": 0.2}, {"name": "length_shaped", "penalty": 0.5, "buffer_tokens": None},
    ]  # fmt: skip


def test_generation_follows_the_gpus_unless_it_is_said(tmp_path: Path) -> None:
    body = "{kind: rl, model: fino1-8b, data: math, resources: {gpus_per_node: %s}%s}"
    assert one(tmp_path, body % (8, ""))["generation"] == {"mode": "colocate"}
    assert one(tmp_path, body % (4, ""))["generation"] == {"mode": "colocate"}
    served = one(tmp_path, body % ("8, server_gpus: 4", ", generation: server"))
    assert served["generation"] == {"mode": "server"}


def test_a_model_folder_is_known_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 200_000)
    body = "{kind: evaluate, model: ./models/mine, suite: mini}"
    first = one(tmp_path, body)["model"]
    assert first["path"] == str(folder)
    assert one(tmp_path, body.replace("./", ""))["model"] == first
    with open(folder / "model.safetensors", "r+b") as stream:
        stream.seek(199_990)
        stream.write(b"x")
    assert one(tmp_path, body)["model"]["digest"] != first["digest"]


def test_the_merged_sweep_is_kept_as_text(tmp_path: Path) -> None:
    sweep = expanded(tmp_path, STUDY, "matrix.seed=[9]")
    path = tmp_path / "again.yaml"
    path.write_text(sweep.text)
    again = load_sweep(path, catalog=catalog(), environ={})
    assert [entry.job.id for entry in again.jobs] == [entry.job.id for entry in sweep.jobs]


def test_expansion_needs_no_disk() -> None:
    found = Mistakes()
    root = parse("stages: {e: {kind: evaluate, model: fino1-8b, suite: mini}}", "memory", found)
    assert len(expand(Document(root, "memory", found), catalog()).jobs) == 1


def test_a_matrix_key_may_be_a_word_of_any_language(tmp_path: Path) -> None:
    text = """
        name: words
        values: {seeds: {klein: 1}}
        matrix: {größe: [klein]}
        stages:
          e: {kind: evaluate, model: qwen2.5-7b-instruct, suite: all16, seed: "${values.seeds.${größe}}"}
    """
    sweep = expanded(tmp_path, text)
    assert [entry.job.config["seed"] for entry in sweep.jobs] == [1]
    assert sweep.jobs[0].labels == {"größe": "klein"}
