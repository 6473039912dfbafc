"""A model on this disk, in a folder or in the hub's cache: whether it is one, what identifies it, what it tells.

Reads files alone: no library of the hub or of models is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Set
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

MARK = "COMPLETE.json"  # what an export ends with (trainers/checkpoints.py)
WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "consolidated*.pth", "*.gguf")
# As tokenizers of all sorts are saved; one that is made of its settings alone has tokenizer_config.json.
TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
SAMPLED = frozenset((".safetensors", ".bin", ".pt", ".pth", ".gguf"))  # other files are read whole
WHOLE_BYTES = 1 << 20  # weights up to this size too
PIECE_BYTES = 4096
SAMPLES = 1024  # of a large file of unknown form
MOST_HEADER_BYTES = 1 << 28


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
    """Equal for folders that hold the same model, wherever they are: cheap, and changed by any training.

    Names and sizes of all files, and what is in them; of weights a piece from the middle of every tensor, since an
    adapter that was merged changes nothing but a few tensors somewhere in the middle.
    """
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if hidden or name == MARK or not path.is_file():  # the mark says where a model is from, not what it is
            continue
        size = path.stat().st_size
        whole.update(f"{name}\0{size}\0".encode())
        with open(path, "rb") as stream:
            if size <= WHOLE_BYTES or path.suffix not in SAMPLED:
                while block := stream.read(WHOLE_BYTES):
                    whole.update(block)
                continue
            for offset, length in _pieces(stream, size):
                stream.seek(offset)
                whole.update(stream.read(length))
    return whole.hexdigest()[:16]


def _pieces(stream: BinaryIO, size: int) -> list[tuple[int, int]]:
    """(offset, length) of what is read of a large file."""
    header = int.from_bytes(stream.read(8), "little")
    try:
        tensors: Any = json.loads(stream.read(header)) if header < min(size, MOST_HEADER_BYTES) else None
        places = [entry["data_offsets"] for name, entry in tensors.items() if name != "__metadata__"]
        middles = sorted(8 + header + (begin + end - PIECE_BYTES) // 2 for begin, end in places)
        return [(0, 8 + header), *((max(0, middle), PIECE_BYTES) for middle in middles)]
    except (ValueError, KeyError, TypeError, AttributeError):  # no safetensors
        step = (size - PIECE_BYTES) / (SAMPLES - 1)
        return [(round(number * step), PIECE_BYTES) for number in range(SAMPLES)]


def in_cache(hub: str, revision: str | None = None, variables: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of a hub model in the cache that `variables` name; None where this revision is not there."""
    caches = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(variables.get("HF_HOME") or caches / "huggingface")
    cache = Path(variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE") or home / "hub").expanduser()
    place = cache / f"models--{hub.replace('/', '--')}"
    name = place / "refs" / (revision or "main")
    commit = name.read_text(encoding="utf-8").strip() if name.is_file() else revision
    folder = place / "snapshots" / str(commit)
    return folder if (folder / "config.json").is_file() else None


def files_of(model: str, revision: str | None = None) -> Path | None:
    """The model's files: its own folder, or a hub id's in the cache on this disk; None where neither is there."""
    return Path(model) if Path(model).is_dir() else in_cache(model, revision)


def architecture(folder: Path) -> Mapping[str, Any] | None:
    """The model's config.json; None where it cannot be read."""
    try:
        value: Mapping[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return value


def lacking(folder: Path) -> str | None:
    """What a folder that is to be loaded lacks of weights and tokenizer; None where both are there."""
    if not folder.is_dir():
        return "is not there any more"
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        return "has no config.json"
    if (without := _without_weights(folder, names)) is not None:
        return without
    if not any(fnmatch(name, pattern) for name in names for pattern in TOKENIZERS):
        return "has no tokenizer"
    return None


def _without_weights(folder: Path, names: Set[str]) -> str | None:
    """One whole set of files is enough: `hf download` with patterns brings the index of a set without the set."""
    weights = {name for name in names if any(fnmatch(name, pattern) for pattern in WEIGHTS)}
    wanted: set[str] = set()
    broken = "has no weights (*.safetensors)"
    for index in sorted(name for name in names if name.endswith((".safetensors.index.json", ".bin.index.json"))):
        try:
            shards = set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, json.JSONDecodeError, KeyError):
            return f"has {index}, which cannot be read"
        absent = sorted(shards - names)
        if not absent:
            return None
        wanted |= shards
        if len(absent) < len(shards):
            broken = f"lacks {len(absent)} of the {len(shards)} files of its weights, such as {absent[0]}"
    return None if weights - wanted else broken


def weight_names(folder: Path) -> frozenset[str]:
    """The names of the model's weights, as safetensors tell them; none where they lie in another form."""
    try:
        if (index := folder / "model.safetensors.index.json").is_file():
            return frozenset(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        with open(folder / "model.safetensors", "rb") as stream:
            header = stream.read(int.from_bytes(stream.read(8), "little"))
        return frozenset(json.loads(header)) - {"__metadata__"}
    except (OSError, ValueError, KeyError):
        return frozenset()


def has_chat_template(folder: Path) -> bool:
    """Whether a tokenizer that is loaded from the folder would have one."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return bool(settings.get("chat_template"))
