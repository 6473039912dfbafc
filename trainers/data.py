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

DEMONSTRATIONS = 65536
IGNORED = -100  # the label that the loss leaves out


@dataclass(frozen=True)
class Row:
    """One drawn item. `draw` numbers its repetitions, so that each can have another wrong answer."""

    benchmark: str
    item: Item
    draw: int = 0


def data_dir(config: Mapping[str, Any]) -> Path | None:
    """The folder with benchmark data: `data_dir` of the config, else $MANAGER_DATA."""
    place = config.get("data_dir") or os.environ.get("MANAGER_DATA")
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


def _pools(data: Mapping[str, Any], folder: Path | None, seed: int) -> list[tuple[str, list[Item]]]:
    """The items of each source in the order of the draw."""
    pools: list[tuple[str, list[Item]]] = []
    for place, source in enumerate(data["sources"]):
        found = _benchmark(source)
        items = list(found.items(source.get("split", "train"), folder))
        if not items:
            raise Failed(f"data.sources: {found.name} has no items in this split", cause="data")
        random.Random(f"{seed}/{place}/{found.name}").shuffle(items)
        pools.append((found.name, items))
    return pools


def _largest_size(weights: Sequence[float], lengths: Sequence[int]) -> int:
    """The most rows that can be drawn in these proportions without drawing one twice."""
    total = sum(weights)
    size = min(int(length * total / weight) for weight, length in zip(weights, lengths, strict=True) if weight > 0)
    while any(share > length for share, length in zip(shares(weights, size), lengths, strict=True)):
        size -= 1
    return size


def draw(
    data: Mapping[str, Any], folder: Path | None = None, *, repeat: bool = False, size: int | None = None
) -> list[Row]:
    """The rows of `config.data`, shuffled by its seed: `data.size`, or `size`, or as many as the weights allow.

    With `repeat`, items are drawn again if there are not enough.
    """
    seed = data.get("seed", 0)
    pools = _pools(data, folder, seed)
    weights = [float(source.get("weight", 1.0)) for source in data["sources"]]
    size = data.get("size") or size or _largest_size(weights, [len(items) for _, items in pools])
    rows: list[Row] = []
    for (name, items), share in zip(pools, shares(weights, size), strict=True):
        if share > len(items) and not repeat:
            raise Failed(
                f"data.size: {share} prompts are wanted of {name}, which has {len(items)}; "
                "lower data.size or the weight",
                cause="data",
            )
        rows += [Row(name, items[place % len(items)], place // len(items)) for place in range(share)]
    random.Random(f"{seed}/order").shuffle(rows)
    return rows


def prompts(data: Mapping[str, Any], folder: Path | None = None) -> list[dict[str, Any]]:
    """Rows for RL: the conversation, and what the reward needs to judge an answer."""
    return [
        {
            "prompt": benchmarks.get(row.benchmark).messages(row.item),
            "benchmark": row.benchmark,
            "domain": benchmarks.get(row.benchmark).domain,
            "item": item_to_json(row.item),
        }
        for row in draw(data, folder)
    ]


def demonstrations(data: Mapping[str, Any], seen: int | None, folder: Path | None = None) -> list[dict[str, Any]]:
    """Rows for supervised training: a right answer each, and a certainly wrong one for `wrong_share` of them.

    `seen` is how many examples the training will look at, if that is known: without `data.size`, items are
    drawn again until there are so many (at most DEMONSTRATIONS), each time with another wrong answer, so that
    no wrong answer is learned by heart.
    """
    wrong_share, seed = data.get("wrong_share") or 0.0, data.get("seed", 0)
    coin = random.Random(f"{seed}/wrong")
    rows = []
    size = min(seen, DEMONSTRATIONS) if seen else None
    for row in draw(data, folder, repeat=True, size=size):
        benchmark = benchmarks.get(row.benchmark)
        mistaken = coin.random() < wrong_share
        answer = benchmark.wrong(row.item, row.draw) if mistaken else benchmark.gold(row.item)
        rows.append(
            {
                "prompt": benchmark.messages(row.item),
                "completion": [{"role": "assistant", "content": answer}],
            }
        )
    return rows


def tokenize(rows: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int) -> tuple[dict[str, list[Any]], int]:
    """Columns for SFTTrainer with the loss on the answer alone, and how many rows were too long and left out.

    The answer is rendered by the chat template and must continue the prompt as generation would begin it.
    """
    known: dict[str, tuple[list[int], list[int]]] = {}
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": []}
    too_long = 0
    for row in rows:
        key = json.dumps([row["prompt"], row["completion"]])
        if key not in known:
            known[key] = _render(row, tokenizer)
        ids, labels = known[key]
        if len(ids) > max_length:
            too_long += 1
            continue
        columns["input_ids"].append(ids)
        columns["labels"].append(labels)
        columns["length"].append(len(ids))
    if not columns["length"]:
        raise Failed(f"data: all {len(rows)} examples are longer than sft.max_length {max_length}", cause="data")
    return columns, too_long


def _render(row: Mapping[str, Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False)
    if not whole.startswith(prompt):
        raise Failed(
            "model: its chat template renders an answer differently from how generation begins it, "
            "so the loss cannot be put on the answer alone; use a template without rewriting",
            cause="chat_template",
        )
    start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = start + tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
    return ids, [IGNORED] * len(start) + ids[len(start) :]
