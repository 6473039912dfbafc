"""What files hold, as one digest: for options of a sweep that name files, whose content decides a result.

Reads files alone. Not for models, whose folders are larger and are only looked at in places (manager/model_folder.py).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

ID_LENGTH = 16
WHOLE_BYTES = 16 * 2**20  # of a folder's larger files the start, the middle and the end are read
SAMPLE_BYTES = 2**20

# (text, base, patterns) -> (absolute path, digest), or what is wrong with it
FindFiles = Callable[[str, Path, Sequence[str]], "tuple[str, str] | str"]


def find(text: str, base: Path, patterns: Sequence[str]) -> tuple[str, str] | str:
    """(absolute path, digest) of the file `text`, or of what `patterns` name in the folder; relative to `base`."""
    path = Path(os.path.abspath(base / Path(text).expanduser()))
    try:
        return str(path), digest(path, patterns)
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError as error:
        return f"{path}: {error}"


def digest(path: Path, patterns: Sequence[str] = ()) -> str:
    """Of one file its content. Of a folder the names and contents of the files that `patterns` name; where it lies and
    what else is in it does not count. OSError or ValueError where they are not there."""
    if not patterns:
        return _of_file(path, whole=True)[:ID_LENGTH]
    if not path.is_dir():
        raise ValueError("is no folder" if path.exists() else "is not there")
    found = sorted({one for pattern in patterns for one in path.glob(pattern) if one.is_file()})
    if not found:
        raise ValueError(f"holds no {' or '.join(patterns)}")
    whole = hashlib.sha256()
    for one in found:
        whole.update(f"{one.relative_to(path).as_posix()}\0{_of_file(one, whole=False)}\0".encode())
    return whole.hexdigest()[:ID_LENGTH]


def _of_file(path: Path, *, whole: bool) -> str:
    known = path.stat()
    return _hashed(path, known.st_size, known.st_mtime_ns, known.st_ino, whole or known.st_size <= WHOLE_BYTES)


@lru_cache(maxsize=65536)
def _hashed(path: Path, size: int, mtime_ns: int, inode: int, whole: bool) -> str:
    """Once for as long as the file does not change."""
    with open(path, "rb") as stream:
        if whole:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        found = hashlib.sha256(str(size).encode())
        for start in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
            stream.seek(start)
            found.update(stream.read(SAMPLE_BYTES))
        return found.hexdigest()
