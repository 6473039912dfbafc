"""MedQA (USMLE, four options): medical licensing questions (Jin et al. 2020, MIT licence)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.benchmarks._choice import SAMPLER, ask_for, other_than
from evaluators.data import load_rows
from evaluators.scoring.choice import score_letter

SOURCE = DataSource(
    hub="GBaker/MedQA-USMLE-4-options", revision="0fb93dd23a7339b6dcd27e241cb9b5eca62d4d18", folder="medqa"
)


@dataclass(frozen=True)
class MedQA:
    name: str = "medqa"
    domain: str = "knowledge"
    subdomain: str | None = "medicine"
    version: int = 3
    source: DataSource = SOURCE
    sampler: Sampler = SAMPLER

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        for index, row in enumerate(load_rows(self.source, split, data_dir)):
            fields = {"question": row["question"], "options": dict(sorted(row["options"].items()))}
            yield Item(f"{split}/{index}", fields, row["answer_idx"])

    def messages(self, item: Item) -> list[dict[str, str]]:
        options = item.fields["options"]
        listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
        content = f"{item.fields['question']}\n\n{listed}\n\n{ask_for(list(options))}"
        return [{"role": "user", "content": content}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        return score_letter(completion, item.answer, item.fields["options"], truncated=truncated)

    def gold(self, item: Item) -> str:
        return f"{item.fields['options'][item.answer]} fits best.\n\nAnswer: {item.answer}"

    def wrong(self, item: Item, seed: int) -> str:
        letter = other_than(item.answer, list(item.fields["options"]), seed)
        return f"{item.fields['options'][letter]} fits best.\n\nAnswer: {letter}"


BENCHMARK = MedQA()
