"""Supervised training on what other stages played or sampled: their `trajectories/`, mixed at given ratios.

A row there is one prompt and its answer: a state-action pair of a text environment, or an answer to a prompt. What is
drawn depends on the files, the ratios, the size and the seed alone.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from manager.atomic import read_jsonl
from manager.run import Failed, Run
from trainers.shares import largest_size, shares

FOLDER = "trajectories"


def demonstrations(run: Run) -> list[dict[str, Any]]:
    """Conversations for supervised training, in a shuffled order. Their number and digest are told."""
    setting = run.config["data"]
    seed, sources = setting["seed"], [one for one in setting["trajectories"] if one["ratio"] > 0]
    pools = []
    for source in sources:
        pool = _rows(run.need(source["need"]).path / FOLDER)
        random.Random(f"{seed}/{source['need']}").shuffle(pool)
        pools.append(pool)
    ratios = [float(source["ratio"]) for source in sources]
    wanted = setting.get("size") or largest_size(ratios, [len(pool) for pool in pools])
    rows: list[dict[str, Any]] = []
    counts = shares(ratios, wanted)
    for pool, count in zip(pools, counts, strict=True):
        rows += [pool[place % len(pool)] for place in range(count)]
    random.Random(f"{seed}/order").shuffle(rows)
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    repeated = sum(max(0, count - len(pool)) for pool, count in zip(pools, counts, strict=True))
    run.event(
        "data", f"{' + '.join(map(str, counts))} pairs, {repeated} of them again, digest {digest[:12]}",
        digest=digest, rows=len(rows), by_source=counts, repeated=repeated,
    )  # fmt: skip
    return rows


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Every row of a job's files, as SFTTrainer's examples are written; files in the order of their names."""
    rows = [
        {"prompt": row["messages"], "completion": [{"role": "assistant", "content": row["completion"]}]}
        for path in sorted(folder.glob("*.jsonl"))
        for row in read_jsonl(path)
    ]
    if not rows:
        raise Failed(f"data.trajectories: {folder} holds no row", cause="data")
    return rows
