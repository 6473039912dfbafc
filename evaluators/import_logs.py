"""Samples that other tools generated, brought into the store as a finished evaluation job.

Each is matched to an item of ours by its question, scored again by our scorer where the text is there, and
kept with both scores. Disagreements and what fits no item are listed, never dropped silently.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Benchmark, Item, Outcome, Score
from evaluators.engine import Completion, Ended
from evaluators.logs import LoggedSample, read
from evaluators.records import OutcomeFiles, Record
from evaluators.scorer_pool import ScorerPool, Task
from evaluators.summary import benchmark_summary, more_scores
from manager.atomic import write_text
from manager.errors import UserError
from manager.job import Job, Kind
from manager.store import Store

# What other tools call our benchmarks, where it is not our name within theirs.
TASKS = {"minerva_math500": "math500", "hendrycks_math500": "math500", "aime": "aime24", "math": "math500"}
SHORTEST_QUESTION = 5
SHORTEST_PART = 16  # of a question looked for within a longer prompt


@dataclass(frozen=True)
class Disagreement:
    """One sample that the tool and our scorer judge differently."""

    item: str
    sample: int
    theirs: float
    ours: float
    why: str


@dataclass(frozen=True)
class Imported:
    """What became of a log."""

    job: str
    benchmark: str
    records: int
    rescored: int
    unmatched: tuple[str, ...]  # the tool's own ids of samples whose question is no item of ours
    disagreements: tuple[Disagreement, ...]


def import_logs(
    store: Store,
    tool: str,
    path: Path,
    *,
    benchmark: str | None = None,
    model: str | None = None,
    data_dir: Path | None = None,
) -> Imported:
    """Bring a log of `lm-eval` or `inspect` into the store; the same log twice gives the same job."""
    log = read(tool, path)
    if not log.samples:
        raise UserError(f"{path}: there are no samples in it")
    name = benchmark or _benchmark_name({sample.task for sample in log.samples}, path)
    try:
        ours = benchmarks.get(name)
    except KeyError as error:
        raise UserError(f"--benchmark: {error.args[0]}") from error
    model = model or log.model
    if not model:
        raise UserError(f"{path}: the log does not name its model; say it with --model")
    items = {item.id: item for item in ours.items("test", data_dir)}
    matched, unmatched = _match(ours, list(items.values()), log.samples)
    if not matched:
        raise UserError(
            f"{path}: none of its {len(log.samples)} samples asks an item of {name}; "
            "is --benchmark right, and the data of the same revision?"
        )
    job = _job(tool, path, model, ours, max(sample.sample for _, sample in matched) + 1)
    directory = store.add_job(job)
    records = _score(ours, matched)
    files = OutcomeFiles(directory.outcomes)
    have = files.load(name)
    for record in records:
        if record.key not in have:
            files.write(name, record)
    files.close(complete=True)
    differing = _disagreements(records, matched)
    _write_comparison(directory.path / "artifacts" / f"imported-{name}.jsonl", records, matched)
    samples = max(record.sample for record in records) + 1
    summary = benchmark_summary(records, ours.domain, ours.subdomain, samples)
    summary |= more_scores(ours, records, {record.item: record.gold for record in records})
    directory.write_result(
        {
            "outcome": "done", "attempt": 0, "finished": time.time(), "model_step": 0,
            "benchmarks": {name: summary},
            "imported": {"tool": tool, "unmatched": len(unmatched), "disagreements": len(differing)},
        }
    )  # fmt: skip
    rescored = sum(1 for _, sample in matched if sample.text is not None)
    return Imported(job.id, name, len(records), rescored, unmatched, differing)


def _benchmark_name(tasks: set[str], path: Path) -> str:
    """Our benchmark of a task's name: itself, a known other name, or the longest of ours that it begins with."""
    found = set()
    for task in tasks:
        plain = re.sub(r"[-\s]", "_", task.lower())
        begins = [name for name in benchmarks.names() if plain.startswith(name)]
        known = [ours for theirs, ours in TASKS.items() if plain.startswith(theirs)]
        found |= {max(begins, key=len)} if begins else set(known[:1])
    if len(found) != 1:
        raise UserError(
            f"{path}: task {', '.join(sorted(tasks))} is not clearly one of ours; say it with --benchmark, "
            f"one of {', '.join(benchmarks.names())}"
        )
    return found.pop()


def _job(tool: str, path: Path, model: str, benchmark: Benchmark, samples: int) -> Job:
    """The job that this log is the outcome of: its content is part of the identity."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    entry = {
        "name": benchmark.name, "version": benchmark.version, "domain": benchmark.domain,
        "subdomain": benchmark.subdomain, "data": None, "limit": None,
        "sampler": {"samples": samples, "temperature": None, "top_p": None, "max_tokens": None, "stop": []},
    }  # fmt: skip
    return Job(
        Kind.EVALUATE,
        {
            "model": {"name": model, "hub": model, "revision": None},
            "benchmarks": [entry],
            "engine": {"name": f"imported from {tool}", "digest": digest.hexdigest()},
            "prompting": f"as {tool} had it",
            "seed": 0,
        },
    )


Matched = Sequence[tuple[Item, LoggedSample]]


def _match(
    benchmark: Benchmark, items: Sequence[Item], samples: Sequence[LoggedSample]
) -> tuple[list[tuple[Item, LoggedSample]], tuple[str, ...]]:
    """Items by the texts of their questions. A text that several items have decides nothing."""
    places: dict[str, list[Item]] = {}
    for item in items:
        own = [value for value in item.fields.values() if isinstance(value, str)]
        for text in {_normal(text) for text in [*own, benchmark.messages(item)[-1]["content"]]}:
            if len(text) >= SHORTEST_QUESTION:
                places.setdefault(text, []).append(item)
    alone = {text: hits[0] for text, hits in places.items() if len(hits) == 1}
    matched, unmatched, seen = [], [], set()
    for sample in samples:
        texts = [_normal(text) for text in sample.texts]
        found = {alone[text].id: alone[text] for text in texts if text in alone} or _within(alone, texts)
        key = (next(iter(found), None), sample.sample)
        if len(found) == 1 and key not in seen:
            seen.add(key)
            matched.append((next(iter(found.values())), sample))
        else:
            unmatched.append(sample.place)
    return matched, tuple(unmatched)


def _within(alone: Mapping[str, Item], texts: Sequence[str]) -> dict[str, Item]:
    """The item whose question is part of a longer prompt: of several, the one with the longest."""
    hits = [text for text in alone if len(text) >= SHORTEST_PART and any(text in whole for whole in texts)]
    longest = max(hits, key=len, default=None)
    return {} if longest is None else {alone[longest].id: alone[longest]}


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _score(benchmark: Benchmark, matched: Matched) -> list[Record]:
    """Our score of every text; theirs where there is only theirs."""
    records: list[Record] = []
    pool = ScorerPool(workers=2)
    for item, sample in matched:
        completion = Completion(
            (benchmark.name, item.id, sample.sample), sample.text or "", Ended(sample.ended), None,
            sample.completion_tokens,
        )  # fmt: skip

        def keep(score: Score, completion: Completion = completion, item: Item = item) -> None:
            gold = None if item.answer is None else str(item.answer)[:2000]
            records.append(Record.of(completion, 0, score, gold))

        if sample.text is None:
            keep(_their_score(sample))
        else:
            pool.submit(Task(benchmark.name, item, sample.text, sample.ended == "length", keep))
    pool.finish()
    return sorted(records, key=lambda record: (record.item, record.sample))


def _their_score(sample: LoggedSample) -> Score:
    why = "the tool's own score: it kept no text"
    if sample.score is None:
        return Score(None, Outcome.GRADER_FAILED, None, "neither a text nor a score in the log")
    return Score(sample.score, Outcome.RIGHT if sample.score == 1.0 else Outcome.WRONG, None, why)


def _theirs(matched: Matched) -> Mapping[tuple[str, int], LoggedSample]:
    return {(item.id, sample.sample): sample for item, sample in matched}


def _disagreements(records: Sequence[Record], matched: Matched) -> tuple[Disagreement, ...]:
    theirs = _theirs(matched)
    return tuple(
        Disagreement(record.item, record.sample, theirs[record.key].score or 0.0, record.value, record.why)
        for record in records
        if record.value is not None and theirs[record.key].score not in (None, record.value)
    )


def _write_comparison(path: Path, records: Sequence[Record], matched: Matched) -> None:
    """Both scores of every sample, for people and for later analysis."""
    theirs = _theirs(matched)
    lines = [
        {
            "item": record.item, "sample": record.sample, "ours": record.value, "outcome": record.outcome,
            "theirs": theirs[record.key].score, "their_scores": dict(theirs[record.key].scores),
            "agree": None if theirs[record.key].score is None else record.value == theirs[record.key].score,
        }
        for record in records
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def to_json(imported: Imported) -> dict[str, Any]:
    return asdict(imported)
