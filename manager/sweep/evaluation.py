"""What the keys of evaluation stages mean: suite, sampling, limit, engine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manager.job import Resources
from manager.sweep.mistakes import shown, unknown
from manager.sweep.part import Part
from manager.sweep.sections import few_shot
from manager.sweep.values import MISSING

SAMPLER_KEYS = ("samples", "temperature", "top_p", "max_tokens", "stop")


def benchmarks(part: Part) -> dict[str, Any]:
    """`suite`, `sampling` and `limit`: what is asked, how often and how."""
    value = part.get("suite")
    if value is None:
        part.wrong(("suite",), f"missing; a suite ({', '.join(part.catalog.suites)}) or a list of benchmarks")
        return {}
    if isinstance(value, str) and value in part.catalog.suites:
        names: list[Any] = list(part.catalog.suites[value])
    elif isinstance(value, str) and value in part.catalog.benchmarks:
        names = [value]
    elif isinstance(value, list) and value:
        names = value
    elif isinstance(value, str):
        part.wrong(
            ("suite",),
            f"{shown(value)}: {unknown('suite', value, [*part.catalog.suites, *part.catalog.benchmarks])}",
        )
        return {}
    else:
        part.wrong(("suite",), f"expected the name of a suite or a list of benchmarks, not {shown(value)}")
        return {}
    rows = [_benchmark(part, name, value) for name in dict.fromkeys(str(name) for name in names if name is not MISSING)]
    _check_names(part, "sampling", names, extra=("all",))
    if isinstance(part.get("limit"), dict):
        _check_names(part, "limit", names)
    return {"benchmarks": rows}


def _check_names(part: Part, key: str, names: list[str], extra: tuple[str, ...] = ()) -> None:
    for name in part.mapping((key,)):
        if name not in names and name not in extra:
            part.wrong((key, name), unknown("benchmark of this suite", name, [*names, *extra]))


def _benchmark(part: Part, name: str, value: Any) -> dict[str, Any]:
    row = part.catalog.benchmarks.get(name)
    if row is None:
        where: tuple[Any, ...] = (
            ("suite", value.index(name)) if isinstance(value, list) and name in value else ("suite",)
        )
        part.wrong(where, f"{shown(name)}: {unknown('benchmark', name, part.catalog.benchmarks)}")
        return {}
    sampler = dict(row.sampler)
    for key in ("all", name):
        if isinstance(part.get("sampling"), dict) and part.get("sampling", key) is not None:
            sampler |= read_sampler(part, ("sampling", key))
    if sampler["samples"] > 1 and sampler["temperature"] == 0:
        part.wrong(
            ("sampling",),
            f"{name}: {sampler['samples']} samples at temperature 0 are the same answer "
            f"{sampler['samples']} times; raise the temperature or set samples: 1",
        )
    limit = part.get("limit")
    count = part.whole(("limit", name)) if isinstance(limit, dict) else part.whole(("limit",))
    source = {key: value for key, value in row.source.items() if value}
    if few_shot(part.get("prompting")) and (rows := row.example_rows()) is not None:
        source["example_rows"] = rows
    return {
        "name": name,
        "version": row.version,
        "domain": row.domain,
        "subdomain": row.subdomain,
        "data": source,
        "sampler": sampler,
        "limit": count,
    }


def read_sampler(part: Part, path: tuple[str, ...]) -> dict[str, Any]:
    """What is given of a sampler."""
    part.keys(path, SAMPLER_KEYS)
    stop = part.get(*path, "stop")
    if stop is not None and not (isinstance(stop, list) and all(isinstance(text, str) for text in stop)):
        part.wrong((*path, "stop"), f"expected a list of texts, not {shown(stop)}")
    found = {
        "samples": part.whole((*path, "samples")),
        "temperature": part.number((*path, "temperature"), least=0.0, most=100.0),
        "top_p": part.number((*path, "top_p"), least=1e-6, most=1.0),
        "max_tokens": part.whole((*path, "max_tokens")),
        "stop": stop,
    }
    return {key: value for key, value in found.items() if value is not None}


WHEN = ("done", "saved")


def when(part: Part) -> dict[str, Any]:
    """`when`: after the training is done, or as soon as the weights are saved. No part of the identity."""
    return {"when": part.choice(("when",), WHEN, "word", "done")}


def engine(part: Part) -> dict[str, Any]:
    value = part.get("engine")
    if isinstance(value, dict):
        if value.get("name") is None:
            part.wrong(("engine",), f"needs a name: {', '.join(part.catalog.engines)}")
        part.choice(("engine", "name"), part.catalog.engines, "engine")
        return {"engine": part.passed(("engine",))}
    return {"engine": {"name": part.choice(("engine",), part.catalog.engines, "engine", "vllm")}}


def check(config: Mapping[str, Any], resources: Resources, tell: Callable[[tuple[str, ...], str], None]) -> None:
    if "environments" in config and config.get("shards", (1, None))[0] != 1:
        tell(("shards",), "only the items of benchmarks are shared among jobs; environments are played by one")
    engine = config["engine"]
    sizes = [engine.get(key, 1) for key in ("tensor_parallel_size", "data_parallel_size")]
    if resources.gpus_per_node and all(isinstance(size, int) for size in sizes):
        wanted = sizes[0] * sizes[1]
        if wanted > resources.gpus_per_node:
            tell(
                ("engine",),
                f"tensor_parallel_size {sizes[0]} x data_parallel_size {sizes[1]} = {wanted} GPUs, "
                f"but the stage asks for {resources.gpus_per_node}; set resources.gpus_per_node",
            )
