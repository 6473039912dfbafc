"""Everything that can be wrong with a sweep, told at once: the lines of a golden file, changed on purpose.

    UPDATE_GOLDEN=1 python -m pytest tests/manager/test_sweep_errors.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.manager.sweep_catalog import mistakes

GOLDEN = Path(__file__).parent / "golden" / "sweep_errors.txt"
WRONG = Path(__file__).parent / "golden" / "sweep_errors.yaml"
OVERRIDES = ("stages.train.grpo.learnin_rate=1", "matrix.seed=[0,0]", "budget_gpu_hours=lots", "matrixx.a=1")


def test_all_mistakes_of_a_sweep_are_told_at_once_as_in_the_golden_file(tmp_path: Path) -> None:
    found = mistakes(tmp_path, WRONG.read_text(encoding="utf-8"), *OVERRIDES)
    text = "\n".join(found) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_a_right_sweep_has_no_mistakes(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "stages: {e: {kind: evaluate, model: fino1-8b, suite: mini}}") == []


TRAIN = "matrix: {x: [1]}\nstages:\n  t: {kind: rl, model: fino1-8b, data: math, seed: \"${x}\", %s}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("batch: {prompts: 60, samples: 8}, resources: {gpus_per_node: 7}",
         "t.resources: 60 prompts x 8 samples = 480 completions an optimiser step do not divide over 7 processes "
         "(7 on one node); change the batch, or use 4, 5, 6, 8 processes"),
        ("batch: {prompts: 4, samples: 2}, resources: {nodes: 2, gpus_per_node: 8}",
         "t.resources: 4 prompts x 2 samples = 8 completions an optimiser step do not divide over 16 processes "
         "(2 nodes x 8); change the batch, or use 1, 2, 4, 8 processes"),
        ("batch: {prompts: 64, mini_batch: 48}",
         "t.batch.mini_batch: 64 prompts do not divide into steps of 48; valid: "),
        ("batch: {prompts: 16, mini_batch: 32}", "32 prompts an optimiser step, but only 16 are generated at a time"),
        ("batch: {samples: 1}", "t.batch.samples: 1 sample a prompt has nothing to be compared with; at least 2"),
        ("batch: {prompts: 16, samples: 4}, resources: {gpus_per_node: 8, micro_batch: 3}",
         "t.resources.micro_batch: 16 prompts x 4 samples = 64 completions an optimiser step over 8 processes are 8 "
         "each, which do not divide into forward passes of 3; valid: 1, 2, 4, 8"),
        ("resources: {nodes: 0}", "t.resources.nodes: 0 is too small; at least 1"),
        ("resources: {time_min: -5}", "t.resources.time_min: -5 is too small; at least 1"),
        ("resources: {time_min: 90.5}", "t.resources.time_min: expected a whole number, not 90.5"),
        ("resources: {gpus_per_node: 8, tasks_per_node: 4}",
         "t.resources.tasks_per_node: 4 processes for 8 GPUs; training runs one process on each GPU"),
        ("resources: {gpu_per_node: 8}", "t.resources.gpu_per_node: unknown key, did you mean gpus_per_node"),
        ("resources: 8", "t.resources: expected a mapping of keys to values, not 8"),
        ("grpo: {num_generations: 8}", "t.grpo.num_generations: is set by the system; write batch.samples"),
        ("grpo: {loss_type: dappo}", "t.grpo.loss_type: 'dappo' is not one of its values, did you mean dapo"),
        ("grpo: {beta: .nan}", "t.grpo.beta: nan is not a finite number"),
        ("grpo: {learning_rate: fast}", "t.grpo.learning_rate: expected a number, not 'fast'"),
        ("grpo: {zzz: 1}", "t.grpo.zzz: unknown key of GRPOConfig"),
        ("trainer: rloo, grpo: {loss_type: grpo}", "t.grpo.loss_type: unknown key of RLOOConfig"),
        ("algorithm: rloo, trainer: grpo", "t.trainer: algorithm rloo is run by the trainer rloo; leave trainer out"),
        ("algorithm: grpoo", "t.algorithm: 'grpoo': unknown algorithm, did you mean grpo"),
        ("reward: noisi", "t.reward: 'noisi': unknown reward, did you mean noisy"),
        ("reward: noisy", "t.reward: reward noisy needs p: the probability of a flip"),
        ("reward: {name: noisy, p: a}", "t.reward.p: expected a number, not 'a'"),
        ("reward: {name: noisy, p: 0.1, q: 1}", "t.reward.q: reward noisy: unknown key; there are: p"),
        ("deepspeed: zero4", "t.deepspeed: 'zero4': unknown DeepSpeed configuration, did you mean zero"),
        ("generation: {mode: collocate}", "t.generation.mode: 'collocate': unknown mode, did you mean colocate"),
        ("generation: {mode: colocate, vllm_gpu_memory: 0.4}",
         "t.generation.vllm_gpu_memory: unknown key, did you mean"),
        ("batch: {prompts: 64, mini_batch: 16}, export_steps: 50",
         "t.export_steps: 64 generated prompts make 4 optimiser steps of 16, and weights are exported "
         "between them only: 50 is no multiple of 4"),
        ("grpo: {num_iterations: 3}, export_steps: 50",
         "t.export_steps: 64 generated prompts make 3 optimiser steps of 64, and weights are exported "),
        ("batch: {prompts: 64, mini_batch: 16}, grpo: {save_steps: 6}",
         "t.grpo.save_steps: 64 generated prompts make 4 optimiser steps of 16; a state saved among them could not be "
         "resumed exactly: 6 is no multiple of 4"),
        ("reward: [correct, format_only], grpo: {reward_weights: [1.0]}",
         "t.grpo.reward_weights: 1 weights for 2 rewards; one for each of `reward`"),
        ("generation: {mode: colocate, vllm_tensor_parallel_size: 3}, resources: {gpus_per_node: 8}",
         "t.generation.vllm_tensor_parallel_size: 8 processes do not divide into groups of 3"),
        ("generation: {dynamic_sampling: true}, batch: {prompts: 12}, resources: {gpus_per_node: 8}",
         "t.batch.prompts: dynamic sampling needs whole groups on every process: 12 prompts, 8 processes; use a "
         "multiple of 8"),
        ("seed: -1", "t.seed: -1 is too small; at least 0"),
        ("seed: true", "t.seed: expected a whole number, not true"),
    ],
)  # fmt: skip
def test_training_that_makes_no_sense(tmp_path: Path, body: str, message: str) -> None:
    text = TRAIN % body
    if "seed" in body:
        text = f"stages:\n\n  t: {{kind: rl, model: fino1-8b, data: math, {body}}}\n"
    (line,) = mistakes(tmp_path, text)
    assert line.startswith("sweep.yaml:3: stages.t")
    assert message in line


EVALUATE = "stages:\n\n  e: {kind: evaluate, model: fino1-8b, suite: [gsm8k, medqa], %s}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sampling: {gsm8k: {samples: 4}}",
         "e.sampling: gsm8k: 4 samples at temperature 0 are the same answer 4 times"),
        ("sampling: {gsm8k: {temprature: 1}}", "e.sampling.gsm8k.temprature: unknown key, did you mean temperature"),
        ("sampling: {mbpp: {samples: 1}}",
         "e.sampling.mbpp: unknown benchmark of this suite; there are: all, gsm8k, medqa"),
        ("limit: {mbpp: 3}", "e.limit.mbpp: unknown benchmark of this suite; there are: gsm8k, medqa"),
        ("limit: 0", "e.limit: 0 is too small; at least 1"),
        ("engine: vlm", "e.engine: 'vlm': unknown engine, did you mean vllm"),
        ("engine: {tensor_parallel_size: 2}", "e.engine: needs a name: vllm, transformers, openai"),
        ("engine: {name: vllm, tensor_parallel_size: 4}, resources: {gpus_per_node: 2}",
         "e.engine: tensor_parallel_size 4 x data_parallel_size 1 = 4 GPUs, but the stage asks for 2"),
        ("resources: {nodes: 2}", "e.resources.nodes: this kind runs as one process on one node"),
        ("prompting: fewshot", "e.prompting: 'fewshot': unknown prompting, did you mean base_fewshot"),
        ("prompting: {mode: fewshot}", "e.prompting.mode: 'fewshot': unknown prompting, did you mean base_fewshot"),
        ("prompting: {thinkin: true}", "e.prompting.thinkin: unknown key, did you mean thinking"),
        ("prompting: {thinking: 'on'}", "e.prompting.thinking: expected true or false, not 'on'"),
        ("prompting: {system: 3}", "e.prompting.system: expected a text, not 3"),
        ("prompting: {mode: base_fewshot, thinking: true}", "e.prompting.thinking: goes to a chat template"),
        ("checkpoints: [last]", "e.checkpoints: names steps of a needed stage, and this stage needs none"),
        ("data: math", "e.data: unknown key; there are: agent, checkpoints, deadline_min, engine,"),
    ],
)  # fmt: skip
def test_evaluation_that_makes_no_sense(tmp_path: Path, body: str, message: str) -> None:
    (line,) = mistakes(tmp_path, EVALUATE % body)
    assert line.startswith("sweep.yaml:3: stages.e")
    assert message in line


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fino1-7b", "'fino1-7b': unknown model, did you mean fino1-8b"),
        ("tiny", "tiny is made from scratch; make it in a stage of kind sft and need that stage"),
        ("./nowhere", "no folder ./nowhere (looked for it in"),
        ("/no/where", "no folder /no/where"),
        ("Qwen/Qwen3-8B", "a model of the hub is written {hub: Qwen/Qwen3-8B, revision: COMMIT} or gets a row in"),
        ("3", "expected a name of the catalogue or a path, not 3"),
        ("{hub: a/b, scratch: {}}", "expected {hub: id, revision: commit} or {name: …, scratch: {…}}"),
        ("./empty", "./empty: has no config.json; a model is a folder that save_pretrained wrote"),
        ("./sweep.yaml", "./sweep.yaml: is a file; a model is a folder with config.json and weights"),
    ],
)
def test_models_that_are_none(tmp_path: Path, model: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (line,) = mistakes(tmp_path, f"stages: {{e: {{kind: evaluate, suite: mini, model: {model}}}}}")
    assert line.startswith("sweep.yaml:1: stages.e.model")
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a/b", "1: name: 'a/b' cannot be the name of a folder; use letters, digits, . _ -"),
        ("name: ../x", "1: name: '../x' cannot be the name of a folder"),
        ("name: é", "1: name: 'é' cannot be the name of a folder"),
        ("name: 7", "1: name: 7 cannot be the name of a folder"),
        ("study: interventionl", "1: study: 'interventionl': unknown study, did you mean interventional"),
        ("budget_gpu_hours: -1", "1: budget_gpu_hours: expected a number above 0, not -1"),
        ("matrix: [1]", "1: matrix: expected a mapping of names to lists of values"),
        ("matrix: {name: [1]}", "1: matrix.name: the name name is a key of the sweep itself; choose another"),
        ("matrix: {a: []}", "1: matrix.a: no values"),
        ("matrix: {a: [[1]]}", "1: matrix.a[0]: a value of the matrix is a text, a number, true or false"),
        ("matrix: {a: [1, 1.0]}", "1: matrix.a[1]: the value 1.0 is there twice"),
        ("matrix: {a: [{b: 1}, {c: 2}]}",
         "1: matrix.a[1]: every mapping of the list needs the same keys; differing: b, c"),
        ("matrix: {a: [{b: 1}], b: [1]}", "1: matrix.b: the name b is twice in the matrix; choose another"),
        ("matrix: {a: [{b: 1}, 2]}", "1: matrix.a[1]: a list holds either values or mappings, not both"),
        ("matrix: {seed: [0]}", "1: matrix.seed: no stage uses ${seed}; use it or take it out"),
        ("exclude: {a: 1}", "1: exclude: expected a list of mappings"),
        ("exclude: [{a: 1}]", "1: exclude[0].a: unknown matrix key; there are none yet"),
        (
            "defaults: {trian: {}}",
            "1: defaults.trian: unknown kind; there are: collect, evaluate, probe, report, rl, sample, sft",
        ),
        ("defaults: {rl: {seeed: 1}}", "1: defaults.rl.seeed: unknown key, did you mean seed"),
        ("values: 3", "1: values: expected a mapping of names to values"),
        ("tracking: 3", "1: tracking: expected a name or a mapping, not 3"),
    ],
)  # fmt: skip
def test_the_sweep_itself(tmp_path: Path, text: str, message: str) -> None:
    stages = "\nstages: {e: {kind: evaluate, model: fino1-8b, suite: mini}}"
    assert any(message in line for line in mistakes(tmp_path, text + stages))


def test_too_many_combinations_are_refused_before_they_are_made(tmp_path: Path) -> None:
    axes = ", ".join(f"k{n}: [{', '.join(map(str, range(100)))}]" for n in range(5))
    used = ", ".join(f"k{n}: '${{k{n}}}'" for n in range(5))
    stage = f"{{kind: evaluate, model: fino1-8b, suite: mini, engine: {{name: vllm, {used}}}}}"
    text = f"matrix: {{{axes}}}\nstages: {{e: {stage}}}"
    assert mistakes(tmp_path, text) == [
        "sweep.yaml:1: matrix: 100 x 100 x 100 x 100 x 100 = 10,000,000,000 combinations; at most 200,000"
    ]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("", "stages: missing; a sweep has at least one stage"),
        ("a: 3", "stages.a: expected a mapping with kind:"),
        ("a: {model: x}", "stages.a.kind: missing; one of: sft, rl, evaluate, sample, collect, probe, report"),
        ("a: {kind: evalute}", "stages.a.kind: 'evalute': unknown kind, did you mean evaluate"),
        ("a.b: {kind: evaluate}", "a stage's name is letters, digits, - and _"),
        ("a: {kind: evaluate, suite: mini}",
         "stages.a: no model: write model: NAME, or needs: a stage of kind sft or rl"),
        ("a: {kind: rl, needs: b, data: math}, b: {kind: rl, needs: a, data: math}", "goes in a circle: "),
        ("a: {kind: rl, needs: a, data: math}", "stages.a.needs: a stage cannot need itself"),
        ("trn: {kind: rl, model: fino1-8b, data: math}, e: {kind: evaluate, needs: tr, suite: mini}",
         "stages.e.needs: 'tr': unknown stage, did you mean trn"),
        ("e: {kind: evaluate, model: fino1-8b, suite: mini}, f: {kind: evaluate, needs: e, suite: mini}",
         "stages.f.needs: e is of kind evaluate; a stage of kind evaluate can need sft or rl"),
        ("t: {kind: rl, model: fino1-8b, data: math}, e: {kind: evaluate, needs: t, model: fino1-8b, suite: mini}",
         "stages.e.model: it needs t, which makes its model; leave out model or needs"),
        ("t: {kind: rl, model: fino1-8b, data: math}, u: {kind: rl, model: fino1-8b, data: code}, "
         "e: {kind: evaluate, needs: [t, u], suite: mini}", "starts from one model and needs at most one stage"),
        ("r: {kind: report, study: scale}", "stages.r: needs: names the stages that it reports on; there is none"),
        ("e: {kind: evaluate, model: fino1-8b, suite: mini}, r: {kind: report, needs: e}",
         "stages.r.study: missing here and in the sweep; one of: agentic, algorithms"),
        ("e: {kind: evaluate, model: fino1-8b, suite: mini}, r: {kind: report, needs: e, study: scale, "
         "settings: {in_doman: domain}}", "stages.r.settings.in_doman: unknown key, did you mean in_domain"),
        ("e: {kind: evaluate, model: fino1-8b, suite: mini}, r: {kind: report, needs: e, study: scale, "
         "settings: {replicates: many}}", "stages.r.settings.replicates: expected a whole number, not 'many'"),
        ("t: {kind: rl, model: fino1-8b}", "stages.t.data: missing; name a domain: mini-math"),
        ("t: {kind: rl, model: fino1-8b, data: {mix: {}}}", "stages.t.data.mix: needs domains with weights"),
        ("t: {kind: rl, model: fino1-8b, data: {mix: {math: 0}}}", "stages.t.data.mix: needs domains with weights"),
        ("t: {kind: rl, model: fino1-8b, data: {mix: {maths: 1}}}", "stages.t.data.mix.maths: 'maths': unknown domain"),
        ("t: {kind: rl, model: fino1-8b, data: {name: math, mix: {}}}",
         "stages.t.data: expected one of name (a domain)"),
        ("t: {kind: rl, model: fino1-8b, data: maths}", "stages.t.data: 'maths': unknown domain, did you mean math"),
        ("e: {kind: evaluate, model: fino1-8b}", "stages.e.suite: missing; a suite (mini"),
        ("e: {kind: evaluate, model: fino1-8b, suite: [gms8k]}",
         "stages.e.suite[0]: 'gms8k': unknown benchmark, did you mean"),
    ],
)  # fmt: skip
def test_stages_that_do_not_fit(tmp_path: Path, stages: str, message: str) -> None:
    found = mistakes(tmp_path, f"stages: {{{stages}}}")
    assert any(message in line for line in found), found
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${sed}", "${sed}: there is no sed in the matrix or under values; did you mean ${seed}"),
        ("${oc.env:NOT_SET}",
         "the environment variable NOT_SET is not set; export it or write ${oc.env:NOT_SET,default}"),
        ("${seed", "'${seed' is not a valid interpolation; write ${key}, ${values.key} or ${oc.env:NAME}"),
        ("${nope:1}", "Unsupported interpolation type nope"),
        ("${stages.t.grpo.output_dir}", "stages.t.seed: "),
    ],
)
def test_interpolations_that_lead_nowhere(tmp_path: Path, value: str, message: str) -> None:
    text = (
        "matrix: {seed: [0, 1]}\n"
        f"stages: {{t: {{kind: rl, model: fino1-8b, data: math, seed: '{value}', export_steps: '${{seed}}'}}}}"
    )
    found = mistakes(tmp_path, text.replace("[0, 1]", "[1, 2]"))
    assert any(message in line for line in found), found


def test_a_mistake_in_a_matrix_value_is_told_once_where_it_is_written(tmp_path: Path) -> None:
    text = """
        matrix:
          base: [fino1-8b, no-such-model]
          seed: [0, 1]
        stages:
          b: {kind: evaluate, model: "${base}", suite: mini}
          t: {kind: rl, model: "${base}", data: math, seed: "${seed}"}
    """
    (line,) = mistakes(tmp_path, text)
    assert line.startswith("sweep.yaml:3: matrix.base[1]: 'no-such-model': unknown model")


def test_a_mistake_for_every_combination_is_told_a_few_times(tmp_path: Path) -> None:
    text = f"""
        matrix: {{seed: [{", ".join(map(str, range(1000)))}]}}
        stages: {{e: {{kind: evaluate, model: fino1-8b, suite: mini, seed: "x${{seed}}"}}}}
    """
    found = mistakes(tmp_path, text)
    assert found[0] == "sweep.yaml:3: stages.e.seed: expected a whole number, not 'x0'"
    assert found[5:] == ["sweep.yaml:3: stages.e.seed: and 995 more for other combinations"]


def test_nothing_is_left_of_the_matrix(tmp_path: Path) -> None:
    text = """
        matrix: {seed: [0, 1]}
        exclude: [{seed: [0, 1]}]
        stages: {e: {kind: evaluate, model: fino1-8b, suite: mini, seed: "${seed}"}}
    """
    assert mistakes(tmp_path, text) == ["sweep.yaml:3: exclude: no combination is left"]
