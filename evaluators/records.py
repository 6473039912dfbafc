"""The records of an evaluation: one line for each finished sample, append-only, resumable to the sample.

Owns the files under `outcomes/`. A completion is put down before it is scored, so that a kill loses neither
the generation nor the score: `outcomes/generated/` holds what waits for its score and goes at the end.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.benchmark import Outcome, Score
from evaluators.engine import Completion, Ended
from manager.atomic import JsonlWriter, read_jsonl, sync_directory

Key = tuple[str, int]  # item, sample


@dataclass(frozen=True)
class Record:
    """One sample of one item, as docs/run-directory.md says."""

    item: str
    sample: int
    seed: int
    value: float | None
    outcome: Outcome
    extracted: str | None
    gold: str | None
    why: str
    ended: Ended | None
    prompt_tokens: int | None
    completion_tokens: int
    text: str
    in_thinking: bool = False  # the scorer was given `<think>` before the text

    @property
    def key(self) -> Key:
        return self.item, self.sample

    def slim(self) -> Record:
        """What sums need of it: everything but the texts."""
        return replace(self, text="", why="", extracted=None, gold=None)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Record:
        ended = value["ended"]
        fields = {**value, "outcome": Outcome(value["outcome"]), "ended": Ended(ended) if ended else None}
        fields.setdefault("in_thinking", False)  # records from before there was the field
        return Record(**{name: fields[name] for name in Record.__dataclass_fields__})

    @staticmethod
    def of(completion: Completion, seed: int, score: Score, gold: str | None) -> Record:
        _, item, sample = completion.key
        return Record(
            item, sample, seed, score.value, score.outcome, score.extracted, gold, score.why,
            None if completion.failed else completion.ended,
            completion.prompt_tokens, completion.completion_tokens, completion.text,
            completion.in_thinking,
        )  # fmt: skip


class OutcomeFiles:
    """The records of one job, by benchmark."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[tuple[str, bool], JsonlWriter] = {}
        self._lock = threading.Lock()

    def path(self, benchmark: str) -> Path:
        return self._folder / f"{benchmark}.jsonl"

    def _generated(self, benchmark: str) -> Path:
        return self._folder / "generated" / f"{benchmark}.jsonl"

    def load(self, benchmark: str) -> dict[Key, Record]:
        """The finished samples, without their texts: a job may have gigabytes of these.

        Samples that the engine failed on are dropped from the file: they are done again.
        """
        found: dict[Key, Record] = {}
        lines = 0
        for value in read_jsonl(self.path(benchmark)):
            lines += 1
            record = Record.from_json(value)
            if record.outcome is not Outcome.ENGINE_FAILED:
                found.setdefault(record.key, record.slim())
        if len(found) != lines:
            self._rewrite(benchmark)
        return found

    def _rewrite(self, benchmark: str) -> None:
        """The file with the finished samples alone, put in the place of the old one at once."""
        path = self.path(benchmark)
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        writer = JsonlWriter(beside)
        for record in self.finished(benchmark):
            writer.write(dict(vars(record)))
        writer.close(durable=True)
        os.replace(beside, path)
        sync_directory(path.parent)

    def finished(self, benchmark: str) -> Iterator[Record]:
        """The finished samples, whole, each once. Also of somebody else's job: nothing is changed."""
        seen: set[Key] = set()
        for value in read_jsonl(self.path(benchmark)):
            record = Record.from_json(value)
            if record.outcome is not Outcome.ENGINE_FAILED and record.key not in seen:
                seen.add(record.key)
                yield record

    def load_generated(self, benchmark: str) -> Iterator[Completion]:
        """Completions that an earlier attempt put down; some may have their score by now."""
        for value in read_jsonl(self._generated(benchmark)):
            yield Completion(
                (benchmark, value["item"], value["sample"]), value["text"], Ended(value["ended"]),
                value["prompt_tokens"], value["completion_tokens"], in_thinking=value.get("in_thinking", False),
            )  # fmt: skip

    def write_generated(self, completion: Completion) -> None:
        benchmark, item, sample = completion.key
        value = {
            "item": item,
            "sample": sample,
            "text": completion.text,
            "ended": completion.ended,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "in_thinking": completion.in_thinking,
        }
        self._writer(benchmark, generated=True).write(value)

    def write(self, benchmark: str, record: Record) -> None:
        self._writer(benchmark, generated=False).write(dict(vars(record)))

    def _writer(self, benchmark: str, *, generated: bool) -> JsonlWriter:
        """Each file has one thread that writes it at a time: the job's, or the one that holds the job's lock."""
        writer = self._writers.get((benchmark, generated))
        if writer is None:
            with self._lock:
                writer = JsonlWriter(self._generated(benchmark) if generated else self.path(benchmark))
                self._writers[benchmark, generated] = writer
        return writer

    def close(self, *, complete: bool = False) -> None:
        """Sync to disk; `complete` also removes what only a resumption needs."""
        with self._lock:
            for writer in self._writers.values():
                writer.close(durable=True)
            self._writers = {}
        if complete:
            shutil.rmtree(self._folder / "generated", ignore_errors=True)
