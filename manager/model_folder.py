"""A model in a local folder: whether it is one, and the digest of its weights for a job's identity."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

SAMPLE_BYTES = 64 * 1024


def find(text: str, base: Path) -> tuple[str, str] | str | None:
    """(absolute path, digest) of the model folder `text`, relative to `base`; None if there is none.

    A folder or file that cannot be a model is told as a text.
    """
    path = Path(os.path.abspath(base / Path(text).expanduser()))
    if not path.exists():
        return None
    if not path.is_dir():
        return "is a file; a model is a folder with config.json and weights"
    if not (path / "config.json").is_file():
        return "has no config.json; a model is a folder that save_pretrained wrote"
    try:
        return str(path), digest(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def digest(folder: Path) -> str:
    """Names, sizes and the first and last 64 KiB of every file: cheap, and changed by any save."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in Path(name).parts):
            continue
        size = path.stat().st_size
        whole.update(f"{name}\0{size}\0".encode())
        with open(path, "rb") as stream:
            whole.update(stream.read(SAMPLE_BYTES))
            if size > 2 * SAMPLE_BYTES:
                stream.seek(-SAMPLE_BYTES, os.SEEK_END)
            whole.update(stream.read(SAMPLE_BYTES))
    return whole.hexdigest()[:16]
