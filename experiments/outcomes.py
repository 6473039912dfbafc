"""Run directories to one tidy table: a row for every sample of every item, benchmark and model.

Owns the reading of outcomes and the columns of the table; judges nothing. Rows are never made up: what
was not evaluated has no row, and a value that is undefined (grader or engine failed) is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.lineage import Pair, Subject, subject
from experiments.pairs import pairs_of
from experiments.reasoning import ChosenTexts, Judge, classify
from manager.atomic import read_jsonl
from manager.errors import UserError
from manager.job import Job, Kind, canonical_json
from manager.store import Store

# The columns of the table and what they hold. Text columns come only with load(..., text=True).
COLUMNS: Mapping[str, str] = {
    "sweep": "name of the sweep",
    "job": "id of the evaluation job",
    "stage": "stage of the sweep that the evaluation belongs to",
    "finished": "whether the evaluation is complete, with all its shards",
    "arm": "base or trained",
    "model": "identity of the evaluated model; equal identities are the same weights",
    "name": "its name for people",
    "base": "name of the model that training started from (of itself for the base arm)",
    "base_model": "identity of that model: the control of a trained model",
    "root_model": "identity of the model at the start of a chain of training runs",
    "run": "id of the training job; empty for the base arm",
    "train_domain": "domain trained on, as labelled; empty for the base arm",
    "train_domains": "the domains in the training data, joined by +",
    "train_subdomains": "the subdomains in the training data, joined by +; empty if not given",
    "algorithm": "loss type or trainer",
    "reward": "reward of the training job",
    "seed": "training seed; missing for the base arm",
    "step": "training step of the checkpoint; missing for the base arm",
    "stages": "how many training runs lie between the root and this model",
    "path": "the training domains of those runs in order, joined by >",
    "path_domains": "every domain in their data, joined by +",
    "augment": "how the agent's observations were augmented in training; empty if not",
    "thinking": "no thinking, where the agent was trained without; else empty",
    "warmup": "the demonstrations before the training and their ratios; empty if there were none",
    "length": "steps of the training run, as its settings say; empty if they do not",
    "benchmark": "name",
    "version": "version of prompt, extraction and scoring",
    "condition": "sampler and data as canonical JSON: only equal conditions are compared",
    "prompting": "a model's own way of being asked: chat, base_fewshot, or an agent's settings",
    "evaluation_seed": "seed of the evaluation job",
    "engine": "what generated the answers",
    "domain": "of the benchmark",
    "subdomain": "of the benchmark; empty if it has none",
    "item": "id of the item in its benchmark",
    "sample": "index of the sample of this item",
    "value": "score 0..1; missing where it is undefined",
    "outcome": "right, wrong, no_answer, truncated, too_long, grader_failed, engine_failed",
    "ended": "stop, length or empty",
    "prompt_tokens": "of the prompt; missing if not recorded",
    "completion_tokens": "of the answer; missing if not recorded",
}
TEXT_COLUMNS = ("text", "extracted", "gold", "why")
REPORTED = (Kind.EVALUATE, Kind.PROBE)  # the jobs that a report reads


@dataclass(frozen=True)
class Evaluation:
    """One evaluation job of a sweep with what it judged."""

    stage: str
    labels: Mapping[str, Any]
    job: Job
    subject: Subject
    finished: bool


@dataclass(frozen=True)
class Source:
    """All evaluations that a report is about, and every job that they descend from."""

    sweep: str
    study: str | None
    store: Store
    evaluations: tuple[Evaluation, ...]
    jobs: Mapping[str, Job]  # every ancestor, by id
    settings: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""  # the merged sweep file
    probes: tuple[Job, ...] = ()  # what measured the environments under a base policy


def load(
    sweep: str, *, store: Store | Path | str, text: bool = False, pairs: Iterable[Pair] | None = None
) -> pd.DataFrame:
    """The tidy table of a sweep, as far as it has run. Columns: COLUMNS, plus TEXT_COLUMNS on request."""
    opened = store if isinstance(store, Store) else Store.open(Path(store))
    return table(source(opened, sweep, pairs), text=text)


def source(store: Store, sweep_name: str, pairs: Iterable[Pair] | None = None) -> Source:
    """The evaluations and probes that a sweep consists of, done or not."""
    sweep = store.read_sweep(sweep_name)
    found = [(e.stage, e.labels, e.job) for e in sweep.jobs if e.job.kind in REPORTED]
    reports = [e.job for e in sweep.jobs if e.job.kind == Kind.REPORT]
    settings = dict(reports[0].config.get("settings") or {}) if reports else {}
    study = sweep.study or (reports[0].config.get("study") if reports else None)
    return make_source(store, sweep.name, study, found, settings, sweep.text, pairs)


def make_source(
    store: Store,
    sweep: str,
    study: str | None,
    found: Iterable[tuple[str, Mapping[str, Any], Job]],
    settings: Mapping[str, Any],
    text: str = "",
    pairs: Iterable[Pair] | None = None,
) -> Source:
    """Follow every evaluation, and every probe, up to the models that it descends from."""
    jobs: dict[str, Job] = {}
    by_name = {pair.model: pair for pair in (pairs if pairs is not None else pairs_of(settings))}

    def last_step(job_id: str) -> int | None:
        result = store.run(job_id).result()
        return result.get("last_step") if result else None

    evaluations, probes = [], []
    for stage, labels, job in found:
        _add_ancestors(store, job, jobs)
        if job.kind == Kind.PROBE:
            probes.append(job)
            continue
        judged = subject(job, jobs, last_step, by_name)
        evaluations.append(Evaluation(stage, labels, job, judged, store.run(job.id).is_done()))
    return Source(sweep, study, store, tuple(evaluations), jobs, settings, text, tuple(probes))


def _add_ancestors(store: Store, job: Job, jobs: dict[str, Job]) -> None:
    pending = [job]
    while pending:
        one = pending.pop()
        if one.id not in jobs:
            jobs[one.id] = one
            pending.extend(store.run(need).job() for need in one.needs if need not in jobs)


@dataclass
class _Rows:
    """Columns under construction: one entry of `files` per outcomes file, one of the others per row."""

    files: list[dict[str, Any]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    item: list[str] = field(default_factory=list)
    sample: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    prompt_tokens: list[float] = field(default_factory=list)
    completion_tokens: list[float] = field(default_factory=list)
    strategies: list[str | None] = field(default_factory=list)
    texts: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in TEXT_COLUMNS})


def table(source: Source, *, text: bool = False, reasoning_items: int = 0, judge: Judge = classify) -> pd.DataFrame:
    """The tidy table of these evaluations. A sample written twice counts once: the later record.

    With `reasoning_items`, the answers to so many items of each benchmark are classified: one more column,
    `strategies`, with the kinds joined by +, missing for the other items.
    """
    rows = _Rows()
    all_finished = _wholly_finished(source.evaluations)
    for evaluation in source.evaluations:
        for benchmark in evaluation.job.config["benchmarks"]:
            path = source.store.run(evaluation.job.id).outcomes / f"{benchmark['name']}.jsonl"
            texts = ChosenTexts(reasoning_items)
            records = _read(path, texts, text)
            if records:
                finished = all_finished(evaluation)
                rows.files.append({**_file_columns(source.sweep, evaluation, benchmark), "finished": finished})
                rows.counts.append(len(records))
                _add_records(rows, records, text)
                if reasoning_items:
                    kinds = texts.classified(judge)
                    rows.strategies.extend(kinds.get(key) for key in records)
    return _frame(rows, text)


def _wholly_finished(evaluations: Iterable[Evaluation]) -> Callable[[Evaluation], bool]:
    """Whether all jobs that share the items of an evaluation are finished: some of them are not a fair selection."""
    pending: set[str] = {one.job.whole().id for one in evaluations if not one.finished}
    return lambda one: one.finished and one.job.whole().id not in pending


_KEPT = ("value", "outcome", "ended", "prompt_tokens", "completion_tokens")


def _read(path: Path, texts: ChosenTexts, text: bool) -> dict[tuple[str, int], dict[str, Any]]:
    """The last record of every sample, without its text unless asked for: answers can fill gigabytes."""
    kept = (*_KEPT, *TEXT_COLUMNS) if text else _KEPT
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in read_jsonl(path):
        key = (str(record["item"]), int(record.get("sample", 0)))
        texts.offer(*key, record.get("text"))
        found[key] = {name: record.get(name) for name in kept}
    return found


def _file_columns(sweep: str, evaluation: Evaluation, benchmark: Mapping[str, Any]) -> dict[str, Any]:
    judged, config = evaluation.subject, evaluation.job.config
    condition = canonical_json(
        {
            "sampler": benchmark.get("sampler"),
            "data": benchmark.get("data"),
        }
    )
    engine = config.get("engine") or {}
    return {
        "sweep": sweep, "job": evaluation.job.id, "stage": evaluation.stage, "finished": evaluation.finished,
        "arm": judged.arm, "model": judged.model, "name": judged.name, "base": judged.base,
        "base_model": judged.base_model, "root_model": judged.root_model, "run": judged.run,
        "train_domain": judged.train_domain, "train_domains": "+".join(judged.train_domains),
        "train_subdomains": "+".join(judged.train_subdomains),
        "algorithm": judged.algorithm, "reward": judged.reward,
        "seed": judged.seed, "step": judged.step, "stages": judged.stages,
        "path": ">".join(judged.path), "path_domains": "+".join(judged.path_domains),
        "augment": judged.augment, "thinking": judged.thinking, "warmup": judged.warmup, "length": judged.length,
        "benchmark": benchmark["name"],
        "version": benchmark.get("version"), "condition": condition,
        "prompting": _way_of_asking(config), "evaluation_seed": config.get("seed"),
        "engine": str(engine.get("name", "")) if isinstance(engine, Mapping) else str(engine),
        "domain": benchmark["domain"], "subdomain": benchmark.get("subdomain") or "",
    }  # fmt: skip


def _way_of_asking(config: Mapping[str, Any]) -> str:
    """One text for one way: the mode, or its mapping in a fixed order; of an agent, how its prompts are made."""
    if "agent" in config:
        agent = config["agent"]
        words = ["thinking" if agent.get("thinking", True) else "no thinking", f"history {agent.get('history')}"]
        words += [f"{key} {canonical_json(value)}" for key, value in sorted(agent.items())
                  if key not in ("thinking", "history") and value is not None]  # fmt: skip
        return ", ".join(words)
    prompting = config.get("prompting")
    return canonical_json(prompting) if isinstance(prompting, Mapping) else str(prompting or "")


def _add_records(rows: _Rows, records: Mapping[tuple[str, int], dict[str, Any]], text: bool) -> None:
    nan = float("nan")
    for (item, sample), record in records.items():
        rows.item.append(item)
        rows.sample.append(sample)
        value, prompt, completion = (record.get(k) for k in ("value", "prompt_tokens", "completion_tokens"))
        rows.value.append(nan if value is None else float(value))
        rows.outcome.append(str(record.get("outcome") or ""))
        rows.ended.append(str(record.get("ended") or ""))
        rows.prompt_tokens.append(nan if prompt is None else float(prompt))
        rows.completion_tokens.append(nan if completion is None else float(completion))
        if text:
            for name in TEXT_COLUMNS:
                rows.texts[name].append(record.get(name))


_NUMBERS = ("seed", "step", "stages", "version", "evaluation_seed")


def _frame(rows: _Rows, text: bool) -> pd.DataFrame:
    files = pd.DataFrame(rows.files, columns=[name for name in COLUMNS if name not in _ROW_COLUMNS])
    which = np.repeat(np.arange(len(files)), rows.counts)
    data: dict[str, Any] = {}
    for name in map(str, files):
        if name in _NUMBERS:
            data[name] = pd.to_numeric(files[name]).astype("Int64").take(which).array
        elif name == "finished":
            data[name] = files[name].to_numpy(dtype=bool)[which]
        else:
            codes, categories = pd.factorize(files[name].astype(object))
            data[name] = pd.Categorical.from_codes(codes[which], categories=categories)
    data["item"] = pd.Categorical(rows.item)
    data["sample"] = np.asarray(rows.sample, dtype=np.int32)
    data["value"] = np.asarray(rows.value, dtype=np.float64)
    data["outcome"], data["ended"] = pd.Categorical(rows.outcome), pd.Categorical(rows.ended)
    data["prompt_tokens"] = np.asarray(rows.prompt_tokens, dtype=np.float64)
    data["completion_tokens"] = np.asarray(rows.completion_tokens, dtype=np.float64)
    if rows.strategies:
        data["strategies"] = pd.Categorical(rows.strategies)
    if text:
        data |= rows.texts
    return pd.DataFrame(data)


_ROW_COLUMNS = ("item", "sample", "value", "outcome", "ended", "prompt_tokens", "completion_tokens")


def require_rows(frame: pd.DataFrame, sweep: str) -> None:
    """Told in one line where there is nothing to report yet."""
    if frame.empty:
        raise UserError(
            f"sweep {sweep!r}: no outcomes yet, so there is nothing to report; `manager status {sweep}` shows what runs"
        )
