"""The site: everything that one cluster needs and another does not, in one small file.

Reads and checks it. Knows no job and calls no scheduler.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from manager.errors import UserError

CONTAINERS = ("apptainer", "pyxis")


@dataclass(frozen=True)
class Container:
    """The image that jobs run in. `kind` says what starts it: apptainer, or the pyxis plugin of srun."""

    kind: str
    image: str
    mounts: tuple[str, ...] = ()  # "HOST:INSIDE", as both programs write it
    python: str = "python3"  # inside the image
    options: tuple[str, ...] = ()  # further options of `apptainer exec`, or of srun with pyxis


@dataclass(frozen=True)
class Site:
    """How jobs are asked for on one cluster. Every value can be left out."""

    name: str = "default"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None  # nodes never to be used
    gres: str | None = None  # how GPUs are asked for, with {gpus}: "gpu:h100:{gpus}"; default --gpus-per-node
    time_min: int | None = None  # where a stage says nothing
    cpus_per_task: int | None = None
    memory_gb: float | None = None
    python: str | None = None  # default: the interpreter that runs `manager`
    setup: tuple[str, ...] = ()  # shell lines before the job: modules, a virtual environment
    env: Mapping[str, str] = field(default_factory=dict)
    scratch: str | None = None  # a folder on the node's own disk; becomes TMPDIR
    container: Container | None = None
    sbatch: Mapping[str, Any] = field(default_factory=dict)  # further options, passed through unchanged
    signal_before_limit_s: int = 180  # what a job has to save itself before its time limit
    max_jobs: int | None = None  # of ours in the queue at a time; default: what the cluster allows
    max_parallel: int | None = None  # jobs of one stage that run at a time
    sbatch_interval_s: float = 0.2  # between two calls of sbatch
    timeout_s: float = 60.0  # for each command of Slurm
    settle_s: float = 30.0  # how long a call that was cut off may still appear in the queue


def clusters_file() -> Path:
    """Where the sites are described: $MANAGER_CLUSTERS, or in the user's configuration folder."""
    named = os.environ.get("MANAGER_CLUSTERS")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "manager" / "clusters.yaml"


def load_site(name: str | None, setting: str | Mapping[str, Any] | None) -> Site:
    """The site that `--cluster NAME` or the sweep's `cluster:` asks for.

    `cluster:` is a name from the file or a mapping; a mapping with `name` changes that site for this sweep.
    """
    own: dict[str, Any] = {}
    if isinstance(setting, Mapping):
        own = dict(setting)
        name = name or own.pop("name", None)
        own.pop("name", None)
    elif setting is not None:
        name = name or str(setting)
    path = clusters_file()
    known = _read(path)
    if name is None:
        name = known.get("default") if "default" in known else None
    clusters = known.get("clusters") or {}
    if name is None:
        return _site("default", own, "the sweep's `cluster:`")
    if name not in clusters:
        there = ", ".join(sorted(clusters)) or "none"
        near = difflib.get_close_matches(name, list(clusters), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"cluster {name!r} is not in {path} (there: {there}){hint}; docs/cluster.md shows the file")
    base = _site(name, clusters[name], f"{path}: clusters.{name}")
    return merged(base, own)


def merged(base: Site, own: Mapping[str, Any]) -> Site:
    """The site with some values of a sweep; `env` and `sbatch` add to the site's."""
    if not own:
        return base
    changes = _values(own, "the sweep's `cluster:`")
    for key in ("env", "sbatch"):
        if key in changes:
            changes[key] = {**getattr(base, key), **changes[key]}
    return replace(base, **changes)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("clusters", {}), dict):
        raise UserError(f"{path}: expected `clusters:` with a mapping from names to settings")
    for key in value:
        if key not in ("default", "clusters"):
            raise UserError(f"{path}: unknown key {key!r}; valid: default, clusters")
    return value


def _site(name: str, value: Any, where: str) -> Site:
    return Site(name=name, **_values(value or {}, where))


_TEXTS = ("partition", "account", "qos", "constraint", "exclude", "gres", "python", "scratch")
_WHOLE = ("time_min", "cpus_per_task", "signal_before_limit_s", "max_jobs", "max_parallel")
_NUMBERS = ("memory_gb", "sbatch_interval_s", "timeout_s", "settle_s")


def _values(value: Any, where: str) -> dict[str, Any]:
    """The checked values of a site; all mistakes are told at once."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected a mapping of settings, found {value!r}")
    valid = [item.name for item in fields(Site) if item.name != "name"]
    problems: list[str] = []
    result: dict[str, Any] = {}
    for key, content in value.items():
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, 1)
            problems.append(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))
            continue
        if content is None:
            continue
        try:
            result[key] = _checked(key, content)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise UserError(f"{where}: {'; '.join(problems)}. Valid keys: {', '.join(valid)}")
    return result


def _checked(key: str, content: Any) -> Any:
    if key in _TEXTS:
        if not isinstance(content, str | int):
            raise ValueError(f"expected text, found {content!r}")
        if key == "gres" and "{gpus}" not in str(content):
            raise ValueError("expected a form with {gpus}, for example gpu:h100:{gpus}")
        return str(content)
    if key in _WHOLE:
        if not isinstance(content, int) or isinstance(content, bool) or content < 1:
            raise ValueError(f"expected a whole number above 0, found {content!r}")
        return content
    if key in _NUMBERS:
        if not isinstance(content, int | float) or isinstance(content, bool) or content < 0:
            raise ValueError(f"expected a number, found {content!r}")
        return float(content)
    if key == "setup":
        return _lines(content)
    if key == "container":
        return _container(content)
    if not isinstance(content, Mapping):
        raise ValueError(f"expected a mapping, found {content!r}")
    if key == "env":
        return {str(name): str(text) for name, text in content.items()}
    return {str(name): text for name, text in content.items()}


def _lines(content: Any) -> tuple[str, ...]:
    if isinstance(content, str):
        return tuple(line for line in content.splitlines() if line.strip())
    if isinstance(content, list) and all(isinstance(line, str) for line in content):
        return tuple(content)
    raise ValueError(f"expected text or a list of texts, found {content!r}")


def _container(content: Any) -> Container:
    if not isinstance(content, Mapping) or "image" not in content:
        raise ValueError("expected a mapping with kind and image")
    extra = set(content) - {item.name for item in fields(Container)}
    if extra:
        raise ValueError(f"unknown key {sorted(extra)[0]!r}; valid: kind, image, mounts, python, options")
    kind = str(content.get("kind", "apptainer"))
    if kind not in CONTAINERS:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(CONTAINERS)}")
    return Container(
        kind=kind,
        image=str(content["image"]),
        mounts=_lines(content.get("mounts", [])),
        python=str(content.get("python", "python3")),
        options=_lines(content.get("options", [])),
    )
