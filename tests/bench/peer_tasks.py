"""The same items and prompts as tasks of lm-eval and of lighteval, each judged by its own scorers.

Both take what they ship for GSM8K and MATH-500 and get our prompts as their data. Their other task sets are
judged as GSM8K is, which both do quickly: the comparison is of time, and the answers of a random model are
wrong by any scorer. Code benchmarks too are judged so: both would fetch what runs the programs from a hub.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from evaluators import benchmarks
from evaluators.benchmark import Item

LIGHTEVAL_TASKS = '''
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def asked(line, task_name=None):
    return Doc(task_name=task_name, query=line["prompt"], choices=[line["gold"]], gold_index=0)


def task(name, folder, max_tokens):
    math = name == "math500"
    metric = Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1}) if math else Metrics.expr_gold_metric
    return LightevalTaskConfig(
        name=f"ours_{name}", prompt_function=asked, hf_repo=folder, hf_subset="default", hf_avail_splits=["test"],
        evaluation_splits=["test"], generation_size=max_tokens, metrics=[metric], stop_sequence=[], version=0,
    )


'''


@dataclass(frozen=True)
class TaskSet:
    """One benchmark's first items, put down for both."""

    name: str
    items: tuple[str, ...]  # their ids, in the order of the rows


def write(
    names: tuple[str, ...], items: int, data_dir: Path, folder: Path, max_tokens: int, end: str, peers: Path
) -> list[TaskSet]:
    """`folder/lm_eval/*.yaml`, `folder/lighteval_tasks.py` and the rows that both read."""
    (folder / "lm_eval").mkdir(parents=True)
    (shipped,) = peers.glob("lib/python3*/site-packages/lm_eval/tasks")
    tasks, sets = LIGHTEVAL_TASKS, []
    for name in names:
        chosen = list(itertools.islice(benchmarks.get(name).items("test", data_dir), items))
        rows = [_row(name, item) for item in chosen]
        place = folder / "rows" / name
        place.mkdir(parents=True)
        (place / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        task = _lm_eval_task(name, place / "test.jsonl", max_tokens, end, shipped)
        (folder / "lm_eval" / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
        tasks += f"{name} = task({name!r}, {str(place)!r}, {max_tokens})\n"
        sets.append(TaskSet(name, tuple(item.id for item in chosen)))
    (folder / "lighteval_tasks.py").write_text(f"{tasks}\nTASKS_TABLE = [{', '.join(names)}]\n", encoding="utf-8")
    return sets


def _row(name: str, item: Item) -> dict[str, str]:
    (message,) = benchmarks.get(name).messages(item)
    asked, gold = message["content"], str(item.answer)
    solution = str(item.fields.get("solution") or f"\\boxed{{{gold}}}")
    return {"prompt": asked, "problem": asked, "gold": gold, "answer": f"#### {gold}", "solution": solution}


def _lm_eval_task(name: str, rows: Path, max_tokens: int, end: str, shipped: Path) -> dict[str, object]:
    task: dict[str, object] = {
        "task": f"ours_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
        "training_split": None,
        "fewshot_split": None,
        "num_fewshot": 0,
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [end], "do_sample": False, "temperature": 0.0, "max_gen_toks": max_tokens},
    }
    if name == "math500":  # its process_docs keeps problem, solution and the answer that it finds there
        del task["doc_to_target"]
        task |= {"include": str(shipped / "minerva_math" / "minerva_math500.yaml"), "doc_to_text": "{{problem}}",
                 "fewshot_config": None}  # fmt: skip
    else:
        task |= {"include": str(shipped / "gsm8k" / "gsm8k.yaml")}
    return task
