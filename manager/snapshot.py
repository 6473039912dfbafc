"""The code that jobs run, frozen when they are submitted: editing the checkout changes no job in the queue.

Copies the project's packages into the store, once for each content. Knows no scheduler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from manager import __version__
from manager.atomic import write_json, write_text

PACKAGES = ("manager", "experiments", "trainers", "evaluators")
GIT_TIMEOUT_S = 60


def take_snapshot(store_root: Path, source: Path | None = None) -> Path:
    """The folder with the code as it is now; an equal one that is there already is used again.

    It holds the files as they are in the checkout (new ones too, ignored ones not), `code.json` with the
    commit, and `code.diff` with what differs from it.
    """
    root = (source or Path(__file__).resolve().parents[1]).resolve()
    files = _files(root)
    digest = _digest(root, files)
    place = store_root / "code" / digest
    if (place / "code.json").is_file():
        return place
    draft = store_root / "code" / f".draft-{os.urandom(6).hex()}"
    for name in files:
        target = draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    write_text(draft / "code.diff", _git(root, "diff", "HEAD", "--", *PACKAGES) or "")
    write_json(draft / "code.json", {**describe(root), "digest": digest, "files": len(files)})
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
    commit = (_git(root, "rev-parse", "HEAD") or "").strip()
    if not commit:
        return {"version": __version__, "commit": None}
    changed = (_git(root, "diff", "--name-only", "HEAD", "--", *PACKAGES) or "").split("\n")
    new = (_git(root, "ls-files", "--others", "--exclude-standard", "--", *PACKAGES) or "").split("\n")
    return {
        "version": __version__,
        "commit": commit,
        "changed": [name for name in changed if name],
        "new": [name for name in new if name],
    }


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where this is no checkout or git is not installed."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.decode(errors="replace") if answer.returncode == 0 else None


def _files(root: Path) -> list[str]:
    """The files of the packages, relative to `root`, sorted."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKAGES)
    names = {name for name in (listed or "").split("\0") if name and (root / name).is_file()}
    if not names:  # installed, not a checkout
        for package in PACKAGES:
            names |= {
                str(path.relative_to(root))
                for path in (root / package).rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            }
    return sorted(names)


def _digest(root: Path, files: Sequence[str]) -> str:
    total = hashlib.sha256()
    for name in files:
        content = hashlib.sha256((root / name).read_bytes()).hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()[:16]
