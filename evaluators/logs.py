"""Sample logs of other evaluation tools, read into one shape: lm-eval's samples_*.jsonl, inspect's .json and .eval.

Reads files only; knows no benchmark and judges nothing.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.errors import UserError

# Of several filters over the same answer, the one that people report.
PREFERRED_FILTERS = ("flexible-extract", "none", "strict-match")
ZSTD = 93  # the method's number in zip archives
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
NOT_A_LOG = (ValueError, KeyError, TypeError, AttributeError, OSError)
LETTER_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
TASK_FILE = re.compile(r"samples_(?P<task>.+?)_\d{4}-\d{2}-\d{2}T.*\.jsonl")


@dataclass(frozen=True)
class LoggedSample:
    """One answer as another tool has it. `text` is None where only likelihoods were compared."""

    task: str
    place: str  # the tool's own number or id of the item
    sample: int
    texts: tuple[str, ...]  # what the item's question may be found by
    text: str | None
    ended: str  # stop or length
    scores: Mapping[str, float | None] = field(default_factory=dict)  # every score the tool gave, by name
    score: float | None = None  # the one that counts
    completion_tokens: int = 0


@dataclass(frozen=True)
class Log:
    """What a path holds: the model's name, if it is told, and the samples."""

    model: str | None
    samples: tuple[LoggedSample, ...]


def read(tool: str, path: Path) -> Log:
    """The log at `path` (a file, or a folder of them) of `lm-eval` or `inspect`."""
    readers = {"lm-eval": (read_lm_eval, ("samples_*.jsonl",)), "inspect": (read_inspect, ("*.eval", "*.json"))}
    if tool not in readers:
        raise UserError(f"import: no tool {tool!r}; there are: {', '.join(readers)}")
    reader, patterns = readers[tool]
    files = [path] if path.is_file() else sorted(file for pattern in patterns for file in path.rglob(pattern))
    if not files:
        raise UserError(f"{path}: no {' or '.join(patterns)} here; lm-eval writes them with --log_samples")
    logs = [reader(file) for file in files]
    models = {log.model for log in logs if log.model}
    if len(models) > 1:
        raise UserError(f"{path}: logs of several models ({', '.join(sorted(models))}); import one at a time")
    return Log(next(iter(models), None), tuple(sample for log in logs for sample in log.samples))


def read_lm_eval(path: Path) -> Log:
    """One samples file. A line is an item under one filter; its lines under other filters are put together."""
    match = TASK_FILE.fullmatch(path.name)
    task = match["task"] if match else path.stem.removeprefix("samples_")
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    # Not splitlines: answers hold U+2028 and the like.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.setdefault(str(row["doc_id"]), {})[str(row.get("filter", "none"))] = row
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: not a sample of lm-eval: {type(error).__name__} {error}") from error
    samples = [one for place, filters in rows.items() for one in _lm_eval_samples(task, place, filters)]
    return Log(_lm_eval_model(path), tuple(samples))


def _lm_eval_model(path: Path) -> str | None:
    """The model's name from the results file beside the samples."""
    for results in sorted(path.parent.glob("results_*.json"), reverse=True):
        name = json.loads(results.read_text(encoding="utf-8")).get("model_name")
        if name:
            return str(name)
    return None


def _lm_eval_samples(task: str, place: str, filters: Mapping[str, Mapping[str, Any]]) -> Iterator[LoggedSample]:
    first = next((name for name in PREFERRED_FILTERS if name in filters), next(iter(filters)))
    row = filters[first]
    scores = {
        f"{metric},{name}": _number(one.get(metric))
        for name, one in filters.items()
        for metric in one.get("metrics", [])
    }
    main = scores.get(f"{row['metrics'][0]},{first}") if row.get("metrics") else None
    texts = tuple(value for value in (row.get("doc") or {}).values() if isinstance(value, str))
    answers = row.get("resps") or [[]]
    # Generated: one request whose answers are its repeats. Likelihoods: a request an option, with pairs in it.
    generated = [answer for answer in answers[0] if isinstance(answer, str)]
    for sample, text in enumerate(generated or [None]):
        # Of several repeats the tool's filter takes the first: its score says nothing of the others.
        theirs = (scores, main) if sample == 0 else ({}, None)
        yield LoggedSample(task, place, sample, texts, text, "stop", *theirs)


def _number(value: Any) -> float | None:
    """A score as a number; lists and other shapes are no score of one sample."""
    return float(value) if isinstance(value, int | float) else None


def read_inspect(path: Path) -> Log:
    """One log of inspect: JSON, or a zip of it with a file a sample."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                head = json.loads(_member(path, archive, "header.json"))
                names = sorted(name for name in archive.namelist() if name.startswith("samples/"))
                rows = [json.loads(_member(path, archive, name)) for name in names]
        else:
            head = json.loads(path.read_text(encoding="utf-8"))
            rows = head.get("samples") or []
        task, model = str(head["eval"]["task"]).rpartition("/")[2], head["eval"].get("model")
        samples = tuple(_inspect_sample(task, row) for row in rows)
    except (*NOT_A_LOG, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{path}: not a log of inspect: {type(error).__name__} {error}") from error
    return Log(model, samples)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive. Inspect compresses with zstd, which Python's own reader has from 3.14 on."""
    entry = archive.getinfo(name)
    if entry.compress_type != ZSTD:
        return archive.read(entry)
    import pyarrow

    with path.open("rb") as file:
        file.seek(entry.header_offset + LOCAL_HEADER.size - 4)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)  # the name and the extra field
        packed = pyarrow.BufferReader(file.read(entry.compress_size))
    text: bytes = pyarrow.CompressedInputStream(packed, "zstd").read()
    if zlib.crc32(text) != entry.CRC:
        raise zipfile.BadZipFile(f"{name} is damaged")
    return text


def _inspect_sample(task: str, row: Mapping[str, Any]) -> LoggedSample:
    output = row.get("output") or {}
    choice = (output.get("choices") or [{}])[0]
    content = (choice.get("message") or {}).get("content")
    asked = row["input"]
    texts = [asked] if isinstance(asked, str) else [_plain(message.get("content")) for message in asked]
    scores = {name: _grade(score.get("value")) for name, score in (row.get("scores") or {}).items()}
    cut = choice.get("stop_reason") in ("max_tokens", "model_length")
    return LoggedSample(
        task, str(row["id"]), int(row.get("epoch", 1)) - 1, tuple(texts),
        None if content is None else _plain(content), "length" if cut else "stop", scores,
        next(iter(scores.values()), None), int((output.get("usage") or {}).get("output_tokens") or 0),
    )  # fmt: skip


def _plain(content: Any) -> str:
    """A message's content as text, with reasoning where the model wrote it."""
    if isinstance(content, str):
        return content
    parts = []
    for part in content or []:
        if part.get("type") == "reasoning":
            parts.append(f"<think>{part.get('reasoning', '')}</think>")
        else:
            parts.append(part.get("text", ""))
    return "".join(parts)


def _grade(value: Any) -> float | None:
    return LETTER_GRADES.get(value) if isinstance(value, str) else _number(value)
