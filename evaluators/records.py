"""The records of an evaluation: one line for each finished sample, append-only, resumable to the sample.

Owns the files under `outcomes/`. A completion is put down before it is scored, so that a kill loses neither
the generation nor the score: `outcomes/generated/` holds what waits for its score and goes at the end.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.benchmark import Outcome, Score
from evaluators.engine import Completion, Ended
from manager.atomic import JsonlWriter, read_jsonl, write_text

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

    @property
    def key(self) -> Key:
        return self.item, self.sample

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Record:
        ended = value["ended"]
        fields = {**value, "outcome": Outcome(value["outcome"]), "ended": Ended(ended) if ended else None}
        return Record(**{name: fields[name] for name in Record.__dataclass_fields__})

    @staticmethod
    def of(completion: Completion, seed: int, score: Score, gold: str | None) -> Record:
        _, item, sample = completion.key
        return Record(
            item, sample, seed, score.value, score.outcome, score.extracted, gold, score.why,
            None if completion.failed else completion.ended,
            completion.prompt_tokens, completion.completion_tokens, completion.text,
        )  # fmt: skip


class OutcomeFiles:
    """The records of one job, by benchmark. Writing is safe from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[Path, JsonlWriter] = {}
        self._lock = threading.Lock()

    def path(self, benchmark: str) -> Path:
        return self._folder / f"{benchmark}.jsonl"

    def _generated(self, benchmark: str) -> Path:
        return self._folder / "generated" / f"{benchmark}.jsonl"

    def load(self, benchmark: str) -> dict[Key, Record]:
        """The finished samples. Those the engine failed on are dropped from the file: they are done again."""
        records = [Record.from_json(value) for value in read_jsonl(self.path(benchmark))]
        kept = _finished(records)
        if len(kept) != len(records):
            write_text(self.path(benchmark), "".join(_line(record) for record in kept.values()), durable=True)
        return kept

    def peek(self, benchmark: str) -> dict[Key, Record]:
        """The finished samples of somebody else's job: nothing is changed."""
        return _finished(Record.from_json(value) for value in read_jsonl(self.path(benchmark)))

    def load_generated(self, benchmark: str) -> Iterator[Completion]:
        """Completions that an earlier attempt put down; some may have their score by now."""
        for value in read_jsonl(self._generated(benchmark)):
            yield Completion(
                (benchmark, value["item"], value["sample"]), value["text"], Ended(value["ended"]),
                value["prompt_tokens"], value["completion_tokens"],
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
        }
        self._write(self._generated(benchmark), value)

    def write(self, benchmark: str, record: Record) -> None:
        self._write(self.path(benchmark), dict(vars(record)))

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        with self._lock:
            if path not in self._writers:
                self._writers[path] = JsonlWriter(path)
            self._writers[path].write(value)

    def close(self, *, complete: bool = False) -> None:
        """Sync to disk; `complete` also removes what only a resumption needs."""
        with self._lock:
            for writer in self._writers.values():
                writer.close(durable=True)
            self._writers = {}
        if complete:
            shutil.rmtree(self._folder / "generated", ignore_errors=True)


def _finished(records: Iterable[Record]) -> dict[Key, Record]:
    kept: dict[Key, Record] = {}
    for record in records:
        if record.outcome is not Outcome.ENGINE_FAILED:
            kept.setdefault(record.key, record)
    return kept


def _line(record: Record) -> str:
    return json.dumps(vars(record), ensure_ascii=False) + "\n"
