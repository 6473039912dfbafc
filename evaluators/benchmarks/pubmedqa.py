"""PubMedQA: yes/no/maybe questions about the abstract of a study (Jin et al. 2019, MIT licence)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.benchmarks._choice import SAMPLER, ask_for, other_than
from evaluators.benchmarks._pubmedqa_split import TEST_IDS
from evaluators.data import load_rows
from evaluators.scoring.stated_label import score_label

# The hub has one split of 1000; the official test half is picked by its ids.
SOURCE = DataSource(
    hub="qiaojin/PubMedQA",
    revision="9001f2853fb87cab8d220904e0de81ac6973b318",
    config="pqa_labeled",
    folder="pubmedqa",
    splits={"test": "train"},
)
LABELS = ("yes", "no", "maybe")


@dataclass(frozen=True)
class PubMedQA:
    name: str = "pubmedqa"
    domain: str = "knowledge"
    subdomain: str | None = "medicine"
    version: int = 3
    source: DataSource = SOURCE
    sampler: Sampler = SAMPLER

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        for row in load_rows(self.source, split, data_dir):
            if (int(row["pubid"]) in TEST_IDS) == (split == "test"):
                fields = {
                    "question": row["question"],
                    "contexts": list(row["context"]["contexts"]),
                    "labels": list(row["context"]["labels"]),
                    "conclusion": row.get("long_answer", ""),
                }
                yield Item(f"{split}/{row['pubid']}", fields, row["final_decision"])

    def messages(self, item: Item) -> list[dict[str, str]]:
        sections = "\n\n".join(
            f"{label.capitalize()}: {text}"
            for label, text in zip(item.fields["labels"], item.fields["contexts"], strict=True)
        )
        content = (
            f"Abstract of a study, without its conclusion:\n\n{sections}\n\n"
            f"Question: {item.fields['question']}\n\n{ask_for(LABELS)}"
        )
        return [{"role": "user", "content": content}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        return score_label(completion, item.answer, LABELS, truncated=truncated)

    def gold(self, item: Item) -> str:
        return f"{item.fields['conclusion']}\n\nAnswer: {item.answer}".strip()

    def wrong(self, item: Item, seed: int) -> str:
        return f"{item.fields['conclusion']}\n\nAnswer: {other_than(item.answer, LABELS, seed)}".strip()


BENCHMARK = PubMedQA()
