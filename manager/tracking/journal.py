"""Reads journals for the tracking store: complete lines only, from a position on. Never writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Tail:
    """The records from a position to the last complete line."""

    records: tuple[dict[str, Any], ...]
    end: int  # the position after the last complete line
    unreadable: int = 0  # complete lines that are not JSON objects: told, not sent


def read_tail(path: Path, start: int = 0) -> Tail:
    try:
        with open(path, "rb") as stream:
            stream.seek(start)
            data = stream.read()
    except FileNotFoundError:
        return Tail((), 0)
    whole = data[: data.rfind(b"\n") + 1]
    records: list[dict[str, Any]] = []
    unreadable = 0
    for line in whole.splitlines():
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            unreadable += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            unreadable += 1
    return Tail(tuple(records), start + len(whole), unreadable)


def complete_size(path: Path) -> int:
    """The position after the last complete line, without reading the whole file."""
    try:
        with open(path, "rb") as stream:
            position = stream.seek(0, os.SEEK_END)
            while position > 0:
                step = min(65536, position)
                position -= step
                stream.seek(position)
                newline = stream.read(step).rfind(b"\n")
                if newline >= 0:
                    return position + newline + 1
    except FileNotFoundError:
        pass
    return 0
