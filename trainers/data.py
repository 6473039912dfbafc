"""Training data: the sources of `config.data` -> prompts for RL, demonstrations for supervised training.

What is drawn depends on the config alone (sizes, weights, seed), never on the number of processes. Items
come from the benchmarks' own files; rewards judge them with the same benchmark's scorer.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Benchmark, Item
from manager.run import Failed


@dataclass(frozen=True)
class Row:
    """One drawn item. `draw` numbers its repetitions, so that each can have another wrong answer."""

    benchmark: str
    item: Item
    draw: int = 0


def default_data_dir() -> Path | None:
    """The folder with benchmark data: $MANAGER_DATA, if it is set."""
    place = os.environ.get("MANAGER_DATA")
    return Path(place) if place else None


def item_to_json(item: Item) -> str:
    return json.dumps(asdict(item), ensure_ascii=False)


def item_from_json(text: str) -> Item:
    return Item(**json.loads(text))


def _benchmark(source: Mapping[str, Any]) -> Benchmark:
    try:
        found = benchmarks.get(source["benchmark"])
    except KeyError as error:
        raise Failed(f"data.sources: {error.args[0]}", cause="config") from error
    wanted = source.get("version")
    if wanted is not None and wanted != found.version:
        raise Failed(
            f"data.sources: {found.name} is version {found.version} here, the job was made for version {wanted}; "
            "run `manager sweep` again to make jobs of this version",
            cause="benchmark_version",
        )
    return found


def shares(weights: Sequence[float], size: int) -> list[int]:
    """`size` divided by weight, largest remainders first, so that the parts add up."""
    total = sum(weights)
    exact = [size * weight / total for weight in weights]
    parts = [int(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[: size - sum(parts)]:
        parts[place] += 1
    return parts


def draw(
    data: Mapping[str, Any], data_dir: Path | None = None, *, repeat: bool = False, seed: int | None = None
) -> list[Row]:
    """The rows of `config.data`, shuffled by its seed. With `repeat`, a source may be drawn more than once."""
    sources = data["sources"]
    seed = data.get("seed", 0) if seed is None else seed
    pools: list[tuple[str, list[Item]]] = []
    for source in sources:
        found = _benchmark(source)
        items = list(found.items(source.get("split", "train"), data_dir))
        if not items:
            raise Failed(f"data.sources: {found.name} has no items in this split", cause="data")
        random.Random(f"{seed}/{found.name}").shuffle(items)
        pools.append((found.name, items))
    size = data.get("size") or sum(len(items) for _, items in pools)
    rows: list[Row] = []
    for (name, items), share in zip(pools, shares([s.get("weight", 1.0) for s in sources], size), strict=True):
        if share > len(items) and not repeat:
            raise Failed(
                f"data.size: {share} prompts are wanted of {name}, which has {len(items)}; lower data.size or the weight",
                cause="data",
            )
        rows += [Row(name, items[place % len(items)], place // len(items)) for place in range(share)]
    random.Random(f"{seed}/order").shuffle(rows)
    return rows


def prompts(data: Mapping[str, Any], data_dir: Path | None = None) -> list[dict[str, Any]]:
    """Rows for RL: the conversation, and what the reward needs to judge an answer."""
    return [
        {
            "prompt": benchmarks.get(row.benchmark).messages(row.item),
            "benchmark": row.benchmark,
            "domain": benchmarks.get(row.benchmark).domain,
            "item": item_to_json(row.item),
        }
        for row in draw(data, data_dir)
    ]


def demonstrations(data: Mapping[str, Any], data_dir: Path | None = None) -> list[dict[str, Any]]:
    """Rows for supervised training: a right answer each, and a certainly wrong one for `wrong_share` of them."""
    wrong_share, seed = data.get("wrong_share", 0.0), data.get("seed", 0)
    coin = random.Random(f"{seed}/wrong")
    rows = []
    for row in draw(data, data_dir, repeat=True):
        benchmark = benchmarks.get(row.benchmark)
        mistaken = coin.random() < wrong_share
        answer = benchmark.wrong(row.item, row.draw) if mistaken else benchmark.gold(row.item)
        rows.append({
            "prompt": benchmark.messages(row.item),
            "completion": [{"role": "assistant", "content": answer}],
        })
    return rows
