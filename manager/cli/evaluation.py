"""`manager evaluate`: one model on a suite, as a sweep of one stage, so that it resumes and is shared."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from manager.cli.options import DEFAULT_STORE, StoreOption, Thinking, load
from manager.cli.sweeps import ClusterOption, run_sweep
from manager.errors import UserError
from manager.job import Job
from manager.store import Store

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A catalogue name, a folder with weights, with --revision the id of a hub model, or for an endpoint "
        "what the server calls it.",
    ),
]

_ENGINE_EXAMPLE = "--engine-option max_model_len=8192"
_SAMPLING_EXAMPLE = "--sampling temperature=0"


def evaluate(
    model: Model,
    suite: Annotated[str, typer.Option(help="A suite, or benchmarks separated by commas.")] = "all16",
    engine: Annotated[str, typer.Option(help="vllm, transformers or openai.")] = "vllm",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items of each benchmark.")] = None,
    prompting: Annotated[str, typer.Option(help="chat or base_fewshot.")] = "chat",
    thinking: Thinking = None,
    revision: Annotated[str | None, typer.Option(help="Of a hub model: the commit of its weights.")] = None,
    sampling: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of every benchmark's sampler.")] = None,
    option: Annotated[list[str] | None, typer.Option("--engine-option", help="KEY=VALUE for the engine.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs for the job, or for each shard.")] = 0,
    shards: Annotated[str | None, typer.Option(help="Jobs that share the items: a number, or auto.")] = None,
    deadline: Annotated[float | None, typer.Option("--deadline-min", help="For --shards auto: minutes.")] = None,
    store: StoreOption = DEFAULT_STORE,
    cluster: ClusterOption = None,
) -> None:
    """Evaluate one model. Run again, it goes on where it was; a sweep that needs the same uses the result."""
    from manager.cli.data import benchmarks_of
    from manager.shards import ShardChooser

    stage: dict[str, object] = {
        "kind": "evaluate",
        "model": _model(model, engine, revision),
        "suite": list(benchmarks_of(suite)),
        "engine": {"name": engine, **dict(_pair(each, _ENGINE_EXAMPLE) for each in option or ())},
        "prompting": prompting if thinking is None else {"mode": prompting, "thinking": thinking},
        "resources": {"gpus_per_node": gpus},
    }
    if limit is not None:
        stage["limit"] = limit
    if shards is not None:
        stage["shards"] = int(shards) if shards.isdigit() else shards
    if deadline is not None:
        stage["deadline_min"] = deadline
    if sampling:
        stage["sampling"] = {"all": dict(_pair(each, _SAMPLING_EXAMPLE) for each in sampling)}
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"evaluate-{Path(model).name}-{suite}").strip("-")[:64]
    document = {"name": name, "stages": {"evaluate": stage}}
    here = Store.open(store, create=True)
    chooser = ShardChooser(here)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evaluate.yaml"
        path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
        try:
            sweep = load(path, None, chooser)
        except UserError as error:  # told of the options: nobody wrote this file
            raise UserError(re.sub(rf"{re.escape(str(path))}:\d+: (stages\.evaluate\.)?", "", str(error))) from error
    for line in chooser.lines():
        print(line)
    status = run_sweep(here, sweep, cluster, None)
    _show(here, [entry.job for entry in sweep.jobs])
    raise typer.Exit(status)


def _model(text: str, engine: str, revision: str | None) -> str | dict[str, str]:
    """As a sweep writes it. A server's own name for its model stands where a hub id does."""
    if revision is not None:
        return {"hub": text, "revision": revision}
    if engine != "openai" or Path(text).expanduser().exists():
        return text
    from experiments import catalog

    return text if text in catalog.load().models else {"hub": text}


def _pair(text: str, example: str) -> tuple[str, object]:
    import yaml

    key, separator, value = text.partition("=")
    if not separator:
        raise UserError(f"{text!r} is not KEY=VALUE; for example {example}")
    return key, yaml.safe_load(value)


def _show(store: Store, jobs: Sequence[Job]) -> None:
    """The scores, of all shards together; nothing while one of them is missing."""
    from manager.shards import evaluation_result

    result = evaluation_result(store, jobs[0])
    if result is None:
        return
    for name, row in result["benchmarks"].items():
        score = "–" if row["pass_at_1"] is None else f"{100 * row['pass_at_1']:.1f}"
        counts = ", ".join(f"{number} {outcome}" for outcome, number in row["outcomes"].items() if number)
        print(f"{name:<16} {score:>6}  ({row['items']} items × {row['samples']}: {counts})")
        more = row.get("more_scores") or {}
        if more.get("balanced_accuracy") is not None:
            balanced, tasks = 100 * more["balanced_accuracy"], len(more["tasks"])
            print(f"{'':<16} {balanced:>6.1f}  balanced accuracy, mean over {tasks} tasks")
    print(f"every sample: {' '.join(str(store.run(job.id).outcomes) for job in jobs)}")
