"""Demonstrations for supervised training: the sources of `config.data` -> conversations with answers -> tokens.

What is drawn depends on the config alone (sizes, weights, seed), never on the number of processes. Prompts
for RL are made by trainers/prepare.py.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Item
from manager.run import Failed
from trainers import identity, sources
from trainers.shares import largest_size, shares

DEMONSTRATIONS = 65536
IGNORED = -100  # the label that the loss leaves out


@dataclass(frozen=True)
class Row:
    """One drawn item. `draw` numbers its repetitions, so that each can have another wrong answer."""

    benchmark: str
    item: Item
    draw: int = 0


def data_dir(config: Mapping[str, Any]) -> Path | None:
    """The folder with data: `data_dir` of the config, else $MANAGER_DATA_DIR; else evaluators.data looks."""
    place = config.get("data_dir") or os.environ.get("MANAGER_DATA_DIR")
    return Path(place) if place else None


def draw(data: Mapping[str, Any], folder: Path | None = None, *, size: int | None = None) -> list[Row]:
    """Rows for demonstrations: `data.size`, or `size`, or as many as the weights allow; drawn again if needed."""
    seed = data.get("seed", 0)
    pools = []
    for place, source in enumerate(data["sources"]):
        pool = [entry for entry in sources.entries(source, folder) if entry is not None]
        if not pool:
            raise Failed(f"data.sources: {sources.name_of(source)} has no items in this split", cause="data")
        random.Random(f"{seed}/{place}/{sources.name_of(source)}").shuffle(pool)
        pools.append(pool)
    weights = [float(source.get("weight", 1.0)) for source in data["sources"]]
    wanted = data.get("size") or size or largest_size(weights, [len(pool) for pool in pools])
    rows: list[Row] = []
    for pool, share in zip(pools, shares(weights, wanted), strict=True):
        chosen = [(pool[place % len(pool)], place // len(pool)) for place in range(share)]
        rows += [Row(entry.benchmark, entry.item, number) for entry, number in chosen]
    random.Random(f"{seed}/order").shuffle(rows)
    return rows


def demonstrations(
    data: Mapping[str, Any], seen: int | None, folder: Path | None = None, drawn: Sequence[Row] | None = None
) -> list[dict[str, Any]]:
    """Rows for supervised training: a right answer each, and a certainly wrong one for `wrong_share` of them.

    `seen` is how many examples the training will look at, if that is known: without `data.size`, items are
    drawn again until there are so many (at most DEMONSTRATIONS), each time with another wrong answer, so that
    no wrong answer is learned by heart. `drawn`: the items, where they are prepared already.
    """
    wrong_share, seed = data.get("wrong_share") or 0.0, data.get("seed", 0)
    coin = random.Random(f"{seed}/wrong")
    rows = []
    identity.check_versions(data)
    identity.check_rows(data, folder)
    size = min(seen, DEMONSTRATIONS) if seen else None
    for row in draw(data, folder, size=size) if drawn is None else drawn:
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


def tokenize(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int | None
) -> tuple[dict[str, list[Any]], int]:
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
        if max_length is not None and len(ids) > max_length:
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
