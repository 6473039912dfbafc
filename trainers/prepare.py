"""Training data made once and read memory-mapped: filtered, decontaminated, size-matched, with a digest.

A preparation lives in its own folder under a cache, named for everything that decides it; COMPLETE.json in
it is written last and holds the digest of the prompts and what was left out and why.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmark_data, benchmarks
from evaluators.benchmark import DataSource
from evaluators.data import require
from manager.atomic import read_json, write_json
from manager.errors import UserError
from manager.job import digest_of
from manager.run import Failed
from trainers import identity, sources
from trainers.shares import largest_size, shares
from trainers.sources import Entry, name_of

MARKER = "COMPLETE.json"
REPEATS = "repeats.jsonl"  # which prompts were left out because of which benchmark items
Length = Callable[[list[dict[str, str]]], int]


@dataclass(frozen=True)
class Prepared:
    """A finished preparation: rows are in `path`, read with `load`."""

    path: Path
    digest: str
    rows: int
    left_out: Mapping[str, Mapping[str, int]]  # source -> reason -> rows

    @property
    def repeats(self) -> Path:
        """What was left out because it repeats a benchmark: source, prompt, item, and the words in common."""
        return self.path / REPEATS


@dataclass(frozen=True)
class PromptLimit:
    """Prompts longer than `tokens` are left out; `tokenizer` names what counts them, for the cache's key."""

    tokens: int
    tokenizer: str
    length: Length


def _fingerprint(source: Mapping[str, Any], folder: Path | None) -> str:
    """What tells one state of a source from another: version, revision, or the file's digest."""
    from evaluators.data import fingerprint

    split = source.get("split", "train")
    if "benchmark" in source:
        benchmark = benchmarks.get(source["benchmark"])
        if benchmark.source.hub is None and benchmark.source.folder is None:
            return f"{benchmark.name} {benchmark.version}"  # computed, not read
        if own := getattr(benchmark, "data_sources", None):  # of many tasks, of which some may be on this disk
            present = [place for place, one in own() if one == split and _on_disk(place, split, folder)]
            parts = [fingerprint(place, split, folder) for place in present]
            return f"{benchmark.name} {benchmark.version} {' '.join(parts)}"
        place = getattr(benchmark, "train_source", benchmark.source)
        return f"{benchmark.name} {benchmark.version} {fingerprint(place, split, folder)}"
    with sources.fetch_told(source, folder):
        return fingerprint(sources.place_of(source), split, folder)


def _on_disk(place: DataSource, split: str, folder: Path | None) -> bool:
    try:
        require(place, split, folder)
    except UserError:
        return False
    return True


def request_key(data: Mapping[str, Any], folder: Path | None, limit: PromptLimit | None) -> str:
    """The name of the preparation: the digest of all that decides it."""
    known = set(benchmarks.names())
    request = [
        identity.PREPARATION,
        {key: data.get(key) for key in ("seed", "size", "sources", "decontaminate")},
        [_fingerprint(source, folder) for source in data["sources"]],
        [benchmark_data.identity(name, folder) for name in sorted({*(data.get("decontaminate") or ())} & known)],
        [limit.tokens, limit.tokenizer] if limit else None,
    ]
    return digest_of(request)


def _distinct(
    entries: Iterable[Entry | None], seen: set[str], left_out: Counter[str], limit: PromptLimit | None
) -> list[Entry]:
    """The entries that can be trained on, each question once; `seen` are those of the sources before."""
    kept: list[Entry] = []
    for entry in entries:
        if entry is None:
            left_out["no answer that can be judged"] += 1
            continue
        messages = benchmarks.get(entry.benchmark).messages(entry.item)
        # Sets that took a problem from the same place differ in its spaces and line breaks.
        text = " ".join("\n".join(message["content"] for message in messages).split())
        if text in seen:
            left_out["asked before"] += 1
        elif limit is not None and limit.length(messages) > limit.tokens:
            left_out[f"longer than {limit.tokens} tokens"] += 1
        else:
            kept.append(entry)
        seen.add(text)
    return kept


def question_of(entry: Entry) -> str:
    """The question alone: the words in which a prompt asks for an answer are the same everywhere and say nothing."""
    for name in ("problem", "question", "text", "statement", "prompt"):
        if isinstance(value := entry.item.fields.get(name), str):
            return value
    return "\n".join(message["content"] for message in benchmarks.get(entry.benchmark).messages(entry.item))


def _without_overlap(
    entries: list[Entry], names: list[str], folder: Path | None, left_out: Counter[str]
) -> tuple[list[Entry], list[dict[str, str]]]:
    """The entries whose questions repeat no item of the named benchmarks, and what the others repeat."""
    from evaluators.contamination import BenchmarkIndex, benchmark_texts

    if unknown := sorted(set(names) - set(benchmarks.names())):
        raise Failed(f"data.decontaminate: no benchmark {', '.join(unknown)} here", cause="config")
    texts = [question_of(entry) for entry in entries]
    report = BenchmarkIndex(benchmark_texts(names, folder)).compare(texts)
    for hit in {hit.prompt: hit for hit in report.hits}.values():
        left_out[f"repeats {hit.benchmark}"] += 1
    told = [
        {"prompt": entries[hit.prompt].item.id, "benchmark": hit.benchmark, "item": hit.item,
         "overlap": hit.overlap.value, "words": hit.words, "question": texts[hit.prompt]}
        for hit in report.hits
    ]  # fmt: skip
    return [entry for place, entry in enumerate(entries) if place not in report.contaminated], told


def _drawn(data: Mapping[str, Any], pools: list[list[Entry]]) -> list[tuple[Mapping[str, Any], Entry]]:
    """`data.size` entries by weight (or as many as the weights allow), shuffled by the seed."""
    seed = data.get("seed", 0)
    weights = [float(source.get("weight", 1.0)) for source in data["sources"]]
    size = data.get("size") or largest_size(weights, [len(pool) for pool in pools])
    rows: list[tuple[Mapping[str, Any], Entry]] = []
    for place, (source, pool, share) in enumerate(zip(data["sources"], pools, shares(weights, size), strict=True)):
        if share > len(pool):
            raise Failed(
                f"data.size {size}: {share} prompts are wanted of {name_of(source)}, which has {len(pool)} that can "
                "be used; lower data.size or the weight",
                cause="data",
            )
        random.Random(f"{seed}/{place}/{name_of(source)}").shuffle(pool)
        rows += [(source, entry) for entry in pool[:share]]
    random.Random(f"{seed}/order").shuffle(rows)
    return rows


def _row(source: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    benchmark = benchmarks.get(entry.benchmark)
    return {
        "prompt": benchmark.messages(entry.item),
        "benchmark": entry.benchmark,
        "domain": source.get("domain") or benchmark.domain,
        "item": pickle.dumps(entry.item),
    }


def _content_digest(rows: list[tuple[Mapping[str, Any], Entry]]) -> str:
    digest = hashlib.sha256()
    for _, entry in rows:
        benchmark = benchmarks.get(entry.benchmark)
        digest.update(repr((entry.benchmark, benchmark.version, benchmark.messages(entry.item), entry.item)).encode())
    return digest.hexdigest()


def prepare(
    data: Mapping[str, Any], cache: Path, folder: Path | None = None, limit: PromptLimit | None = None
) -> Prepared:
    """The preparation of `config.data`, from the cache if it is there. Failed says what is wrong with the data."""
    try:
        identity.check_versions(data)
        identity.check_rows(data, folder)
        key = request_key(data, folder, limit)
        target = cache / key
        if (target / MARKER).is_file():
            return _read(target, data)
        rows, left_out, repeats = _collect(data, folder, limit)
    except UserError as error:
        raise Failed(str(error), cause="data") from error
    from datasets import Dataset

    temporary = cache / f".{key}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        Dataset.from_list([_row(source, entry) for source, entry in rows]).save_to_disk(temporary)
        facts = {"digest": _content_digest(rows), "rows": len(rows), "left_out": left_out, "data": dict(data)}
        listed = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in repeats)
        (temporary / REPEATS).write_text(listed, encoding="utf-8")
        write_json(temporary / MARKER, facts, durable=True)
        try:
            os.rename(temporary, target)
        except OSError:
            if not (target / MARKER).is_file():  # else another job was as quick: its rows are the same
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _read(target, data)


def _collect(
    data: Mapping[str, Any], folder: Path | None, limit: PromptLimit | None
) -> tuple[list[tuple[Mapping[str, Any], Entry]], dict[str, dict[str, int]], list[dict[str, str]]]:
    left_out: dict[str, dict[str, int]] = {}
    pools: list[list[Entry]] = []
    repeats: list[dict[str, str]] = []
    seen: set[str] = set()
    against = data.get("decontaminate")
    for place, source in enumerate(data["sources"]):
        counts: Counter[str] = Counter()
        pool = _distinct(sources.entries(source, folder), seen, counts, limit)
        if against:
            pool, found = _without_overlap(pool, list(against), folder, counts)
            repeats += [{"source": name_of(source), **one} for one in found]
        if not pool:
            why = ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "it has no rows"
            raise Failed(f"data.sources: nothing of {name_of(source)} can be used: {why}", cause="data")
        left_out[f"{place}: {name_of(source)}"] = dict(counts)
        pools.append(pool)
    return _drawn(data, pools), left_out, repeats


def _read(path: Path, data: Mapping[str, Any]) -> Prepared:
    facts = read_json(path / MARKER)
    assert facts is not None
    wanted = data.get("digest")
    if wanted is not None and wanted != facts["digest"]:
        raise Failed(
            f"data: the prompts have the digest {facts['digest'][:12]}, the job was made for {wanted[:12]}; the data "
            "have changed: run `manager sweep` again to make jobs of these",
            cause="data_changed",
        )
    return Prepared(path, facts["digest"], facts["rows"], facts["left_out"])


def load(prepared: Prepared) -> Any:
    """The rows as a memory-mapped data set with prompt, benchmark, domain and item."""
    from datasets import Dataset

    return Dataset.load_from_disk(str(prepared.path))


def item_of(column: bytes) -> Any:
    """The item of a row of our own cache."""
    return pickle.loads(column)
