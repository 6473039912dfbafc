"""Files that are whole or absent: write beside, then rename. A reader never sees half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace `path` by `text` in one step; `durable` also survives a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", durable=durable)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any | None:
    """The value, or None where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return json.loads(text)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of an append-only file; a last line cut off by a kill is left out."""
    try:
        stream = open(path, "rb")  # noqa: SIM115  (closed below; the absence of the file is an answer)
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            if line.strip():
                yield json.loads(line)


class JsonlWriter:
    """Appends one record a line. Cuts off a line that an earlier kill left half-written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "a+b")  # noqa: SIM115
        self._drop_torn_line()

    def _drop_torn_line(self) -> None:
        end = self._stream.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            step = min(4096, position)
            self._stream.seek(position - step)
            newline = self._stream.read(step).rfind(b"\n")
            if newline >= 0:
                position = position - step + newline + 1
                break
            position -= step
        if position != end:
            self._stream.truncate(position)
        self._stream.seek(0, os.SEEK_END)

    def write(self, record: dict[str, Any]) -> None:
        """One write call a record, so that a record is never mixed with another."""
        self._stream.write((json.dumps(record, ensure_ascii=False, default=str) + "\n").encode())
        self._stream.flush()

    def close(self, *, durable: bool = False) -> None:
        if durable:
            os.fsync(self._stream.fileno())
        self._stream.close()
