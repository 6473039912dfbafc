"""The code that jobs run, frozen when they are submitted: editing the checkout changes no job in the queue.

Copies the project's packages into the store, once for each content. Knows no scheduler.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manager import __version__
from manager.atomic import read_json, write_json, write_text

PACKAGES = ("manager", "experiments", "trainers", "evaluators")
GIT_TIMEOUT_S = 60


def take_snapshot(store_root: Path, source: Path | None = None) -> Path:
    """The folder with the code as it is now; an equal one that is there already is used again.

    It holds the files as they are in the checkout (new ones too, ignored ones not), `code.json` with the
    commit, and `code.diff` with what differs from it.
    """
    root = _root(source)
    files = _files(root)
    digest = _digest(root, files)
    place = store_root / "code" / digest
    if (place / "code.json").is_file():
        return place
    return _freeze(root, files, place, describe(root), _git(root, "diff", "HEAD", "--", *PACKAGES) or b"")


def restore_snapshot(store_root: Path, digest: str, commit: str | None, source: Path | None = None) -> bool:
    """Make a lost snapshot again: from the checkout where that is still the same code, else from its commit.
    False where neither gives this very code."""
    root = _root(source)
    if _digest(root, _files(root)) == digest:
        take_snapshot(store_root, root)
        return True
    archive = _git(root, "archive", "--format=tar", commit) if commit else None
    if archive is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        files = _found(Path(folder))
        if _digest(Path(folder), files) != digest:
            return False
        said: dict[str, object] = {"version": __version__, "commit": commit, "changed": [], "new": []}
        _freeze(Path(folder), files, store_root / "code" / digest, said, b"")
    return True


def commit_of(snapshot: Path) -> str | None:
    """The commit that the frozen code is, or differs from."""
    said: dict[str, Any] = read_json(snapshot / "code.json") or {}
    return said.get("commit")


def _root(source: Path | None) -> Path:
    return (source or Path(__file__).resolve().parents[1]).resolve()


def _freeze(root: Path, files: Sequence[str], place: Path, said: Mapping[str, object], diff: bytes) -> Path:
    draft = place.parent / f".draft-{os.urandom(6).hex()}"
    for name in files:
        target = draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    write_text(draft / "code.diff", diff.decode(errors="replace"))
    write_json(draft / "code.json", {**said, "digest": place.name, "files": len(files)})
    try:
        os.rename(draft, place)
    except OSError:
        # Somebody else was first with the same content.
        shutil.rmtree(draft)
        if not (place / "code.json").is_file():
            raise
    return place


def describe(root: Path) -> dict[str, object]:
    """Which version this is: the commit, whether files differ from it, and which are new."""
    commit = _lines(_git(root, "rev-parse", "HEAD"))
    if not commit:
        return {"version": __version__, "commit": None}
    return {
        "version": __version__,
        "commit": commit[0],
        "changed": _lines(_git(root, "diff", "--name-only", "HEAD", "--", *PACKAGES)),
        "new": _lines(_git(root, "ls-files", "--others", "--exclude-standard", "--", *PACKAGES)),
    }


def _lines(answer: bytes | None) -> list[str]:
    return [line for line in (answer or b"").decode(errors="replace").split("\n") if line]


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git says, or None where this is no checkout or git is not installed."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout if answer.returncode == 0 else None


def _files(root: Path) -> list[str]:
    """The files of the packages, relative to `root`, sorted."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKAGES) or b""
    names = {name for name in listed.decode(errors="replace").split("\0") if name and (root / name).is_file()}
    return sorted(names) or _found(root)  # nothing is listed where this is installed, not a checkout


def _found(root: Path) -> list[str]:
    """Every file of the packages in a folder that is no checkout, sorted."""
    return sorted(
        str(path.relative_to(root))
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _digest(root: Path, files: Sequence[str]) -> str:
    total = hashlib.sha256()
    for name in files:
        content = hashlib.sha256((root / name).read_bytes()).hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()[:16]
