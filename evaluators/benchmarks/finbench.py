"""FinBench: financial risk questions from two sources, kept apart by `subsource` in each item.

`finbench/<config>`: yuweiyin/FinBench (Yin et al. 2023, CC BY-NC 4.0): is a customer a risk, given a row.
`finben/<name>`: tasks of the FinBen collection with the fields query, choices, gold.
`finbench_cd2_source` is a stand-in for tests of the first; its items say so in their ids.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.benchmarks._choice import SAMPLER, ask_for, other_than
from evaluators.data import load_rows, require
from evaluators.scoring.stated_label import score_label
from manager.errors import UserError

LOG = logging.getLogger(__name__)

SOURCE = DataSource(hub="yuweiyin/FinBench", folder="finbench")
YES_NO = ("yes", "no")
_QUESTIONS = {
    "cd": "Will this customer default on the credit card payment?",
    "ld": "Will this customer default on the loan?",
    "cf": "Is this transaction fraudulent?",
    "cc": "Will this customer leave the company?",
}
_CONFIGS = ("cd1", "cd2", "ld1", "ld2", "ld3", "cf1", "cf2", "cc1", "cc2", "cc3")
TABLES: Mapping[str, DataSource] = {
    config: DataSource(hub="yuweiyin/FinBench", config=config, folder=f"finbench/{config}")
    for config in _CONFIGS
}
STAND_IN = {"cd2_source": DataSource(folder="finbench_cd2_source")}
CHOICES: Mapping[str, DataSource] = {
    "german": DataSource(hub="TheFinAI/flare-german", folder="finben/german"),
    "australian": DataSource(hub="TheFinAI/flare-australian", folder="finben/australian"),
    "lendingclub": DataSource(hub="ChanceFocus/cra-lendingclub", folder="finben/lendingclub"),
    "ccfraud": DataSource(hub="ChanceFocus/cra-ccfraud", folder="finben/ccfraud"),
}


def _present(sources: Mapping[str, DataSource], split: str, data_dir: Path | None) -> list[str]:
    present = []
    for name, source in sources.items():
        try:
            require(source, split, data_dir)
        except UserError:
            continue  # what is missing is told by `items`, all at once
        present.append(name)
    return present


@dataclass(frozen=True)
class FinBench:
    name: str = "finbench"
    domain: str = "knowledge"
    subdomain: str | None = "finance"
    version: int = 3
    source: DataSource = SOURCE
    sampler: Sampler = SAMPLER

    def data_sources(self) -> list[tuple[DataSource, str]]:
        return [
            (source, split) for source in (*TABLES.values(), *CHOICES.values()) for split in ("test", "train")
        ]

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        tables: Mapping[str, DataSource] = TABLES
        names = _present(TABLES, split, data_dir)
        choices = _present(CHOICES, split, data_dir)
        missing = [name for name in (*TABLES, *CHOICES) if name not in (*names, *choices)]
        if not names and not choices:
            tables, names = STAND_IN, _present(STAND_IN, split, data_dir)
            if not names:
                raise UserError(
                    "data of 'finbench' not found: no folder finbench/<config> or finben/<name> holds "
                    f"{split}.jsonl; run `manager data fetch --suite finbench --to {data_dir or 'DIR'}`"
                )
            LOG.warning("finbench: the stand-in rows are used: the scores are no FinBench scores")
        elif missing:
            LOG.warning("finbench: scores are without these parts, not on this disk: %s", ", ".join(missing))
        for name in names:
            yield from _table_items(name, tables[name], split, data_dir)
        for name in choices:
            yield from _choice_items(name, CHOICES[name], split, data_dir)

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"{item.fields['body']}\n\n{ask_for(item.fields['labels'])}"}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        return score_label(completion, item.answer, item.fields["labels"], truncated=truncated)

    def gold(self, item: Item) -> str:
        return f"Answer: {item.answer}"

    def wrong(self, item: Item, seed: int) -> str:
        return f"Answer: {other_than(item.answer, item.fields['labels'], seed)}"


def _table_items(name: str, source: DataSource, split: str, data_dir: Path | None) -> Iterator[Item]:
    question = _QUESTIONS[name[:2]]
    for index, row in enumerate(load_rows(source, split, data_dir)):
        body = f"A customer's record:\n\n{_record(row)}\n\n{question}"
        fields = {"body": body, "labels": YES_NO, "subsource": f"finbench/{name}"}
        yield Item(f"{name}/{split}/{index}", fields, YES_NO[0] if int(row["y"]) == 1 else YES_NO[1])


def _record(row: Mapping[str, Any]) -> str:
    """The features as the data set itself spells them, else names and unscaled values."""
    listed = row.get("X_instruction_for_profile")
    if listed:
        lines = [line.strip().rstrip(";.") for line in str(listed).splitlines()[1:] if ":" in line]
        if lines:
            return "\n".join(f"- {line}" for line in lines)
    pairs = zip(row["col_name"], row["X_ml_unscale"], strict=True)
    return "\n".join(f"- {name}: {value:g}" for name, value in pairs)


def _choice_items(name: str, source: DataSource, split: str, data_dir: Path | None) -> Iterator[Item]:
    for index, row in enumerate(load_rows(source, split, data_dir)):
        labels = tuple(str(choice) for choice in row["choices"])
        body = str(row["query"]).rstrip().removesuffix("Answer:").rstrip()
        fields = {"body": body, "labels": labels, "subsource": f"finben/{name}"}
        yield Item(f"{name}/{split}/{row.get('id', index)}", fields, labels[int(row["gold"])])


BENCHMARK = FinBench()
