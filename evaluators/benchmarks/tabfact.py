"""TabFact: does a table entail a statement (Chen et al. 2020, MIT; tables of Wikipedia, CC BY-SA)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.benchmarks._choice import SAMPLER, ask_for, other_than
from evaluators.data import load_rows
from evaluators.scoring.stated_label import score_label

SOURCE = DataSource(hub="wenhu/tab_fact", config="tab_fact", folder="tabfact")
LABELS = ("entailed", "refuted")


def markdown(table_text: str) -> str:
    """`#`-separated cells, one row a line, as a markdown table of equal width."""
    rows = [line.split("#") for line in table_text.replace("\r", "").split("\n") if line.strip()]
    width = max(len(row) for row in rows)
    cells = [[cell.strip().replace("|", "\\|") for cell in row] + [""] * (width - len(row)) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


@dataclass(frozen=True)
class TabFact:
    name: str = "tabfact"
    domain: str = "knowledge"
    subdomain: str | None = "tables"
    version: int = 3
    source: DataSource = SOURCE
    sampler: Sampler = SAMPLER

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        for index, row in enumerate(load_rows(self.source, split, data_dir)):
            fields = {
                "table": markdown(row["table_text"]),
                "caption": row["table_caption"],
                "statement": row["statement"],
                "table_id": row["table_id"],
            }
            yield Item(f"{split}/{index}", fields, LABELS[0] if int(row["label"]) == 1 else LABELS[1])

    def messages(self, item: Item) -> list[dict[str, str]]:
        fields = item.fields
        content = (
            f"Table: {fields['caption']}\n\n{fields['table']}\n\nStatement: {fields['statement']}\n\n"
            f"Is the statement entailed or refuted by the table? {ask_for(LABELS)}"
        )
        return [{"role": "user", "content": content}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        return score_label(completion, item.answer, LABELS, truncated=truncated)

    def gold(self, item: Item) -> str:
        return f"Answer: {item.answer}"

    def wrong(self, item: Item, seed: int) -> str:
        return f"Answer: {other_than(item.answer, LABELS, seed)}"


BENCHMARK = TabFact()
