"""LegalBench: legal reasoning, the tasks scored by exact match (Guha et al. 2023; licence per task).

A task is a hub config or the folder `legalbench/<task>`. Which labels it has is read from its rows. Exact
match is the score of an item; balanced accuracy of each task is beside it in the result.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._choice import SAMPLER, ask_for, other_than
from evaluators.benchmarks._legalbench_tasks import INSTRUCTIONS, NEEDS_PROMPT_TEXT, SEVERAL_LABELS
from evaluators.data import default_data_dir, load_rows, require
from evaluators.scoring import answers
from evaluators.scoring.choice import score_letter
from evaluators.scoring.labels import normal, scores_by_task
from evaluators.scoring.stated_label import labels_in, score_label
from manager.errors import UserError

LOG = logging.getLogger(__name__)

SOURCE = DataSource(hub="nguha/legalbench", revision="daec8237410aa23e3faf4bc41ad8b3a7e1696826", folder="legalbench")
# The commit of HazyResearch/legalbench whose prompt texts are fetched for the tasks that need them.
PROMPT_COMMIT = "a2bb323c0555aeeaecbd716941a04b3375c8e08d"
PROMPT_FILE = "base_prompt.txt"

# The fields that a question may show, in this order. Others would give the answer away.
_SHOWN = {
    "statute": "Statute",
    "description": "Description",
    "contract": "Contract",
    "policy": "Policy",
    "claim": "Claim",
    "text": "Text",
    "Paragraph": "Paragraph",
    "citation": "Citation",
    "bill_title": "Bill title",
    "bill_summary": "Bill summary",
    "company_name": "Company",
    "company_description": "Company description",
    "question": "Question",
    **{f"choice_{number}": str(number) for number in range(6)},
}
_MAX_LABELS = 30


def task_source(task: str) -> DataSource:
    """Where the rows of one task are."""
    return replace(SOURCE, config=task, folder=f"legalbench/{task}")


def tasks_present(split: str, data_dir: Path | None) -> tuple[str, ...]:
    """The exact-match tasks whose rows, and prompt text where one is needed, are on this disk."""
    return tuple(task for task in INSTRUCTIONS if _present(task, split, data_dir))


def _present(task: str, split: str, data_dir: Path | None) -> bool:
    try:
        require(task_source(task), split, data_dir)
    except UserError:
        return False
    return task not in NEEDS_PROMPT_TEXT or _prompt_text(task, data_dir) is not None


def _prompt_text(task: str, data_dir: Path | None) -> str | None:
    folder = data_dir or default_data_dir()
    path = folder / "legalbench" / task / PROMPT_FILE if folder else None
    return path.read_text(encoding="utf-8") if path is not None and path.is_file() else None


@lru_cache(maxsize=512)
def labels_of(task: str, data_dir: Path | None) -> tuple[str, ...]:
    """The labels found in the rows of a task, most frequent spelling of each, in alphabetical order."""
    spellings: dict[str, dict[str, int]] = {}
    for split in ("train", "test"):
        try:
            rows = list(load_rows(task_source(task), split, data_dir))
        except UserError:
            continue  # a task may have only one of the two; `items` insists on the one it is asked for
        for row in rows:
            parts = row["answer"].split(",") if task in SEVERAL_LABELS else [row["answer"]]
            for part in parts:
                counts = spellings.setdefault(normal(part), {})
                counts[part.strip()] = counts.get(part.strip(), 0) + 1
    if len(spellings) > _MAX_LABELS:
        raise UserError(
            f"legalbench task {task!r} has {len(spellings)} different answers: no choice among labels; "
            "remove its folder from the data"
        )
    return tuple(
        sorted(max(sorted(counts), key=lambda spelling: counts[spelling]) for counts in spellings.values())
    )


@dataclass(frozen=True)
class LegalBench:
    name: str = "legalbench"
    domain: str = "knowledge"
    subdomain: str | None = "law"
    version: int = 4
    source: DataSource = SOURCE
    sampler: Sampler = SAMPLER

    def data_sources(self) -> list[tuple[DataSource, str]]:
        return [(task_source(task), split) for task in INSTRUCTIONS for split in ("test", "train")]

    def extra_files(self) -> dict[str, str]:
        """Files beside the rows: path in the data folder -> where it is published."""
        root = f"https://raw.githubusercontent.com/HazyResearch/legalbench/{PROMPT_COMMIT}/tasks"
        return {
            f"legalbench/{task}/{PROMPT_FILE}": f"{root}/{quote(task)}/{PROMPT_FILE}"
            for task in sorted(NEEDS_PROMPT_TEXT)
        }

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        present = tasks_present(split, data_dir)
        if not present:
            raise UserError(
                "data of 'legalbench' not found: no folder legalbench/<task> holds "
                f"{split}.jsonl; run `manager data fetch --suite legalbench --to {data_dir or 'DIR'}`"
            )
        if len(present) < len(INSTRUCTIONS):
            LOG.warning(
                "legalbench: %d of %d exact-match tasks have %s rows on this disk; scores are over these",
                len(present), len(INSTRUCTIONS), split,
            )  # fmt: skip
        # An item of each task in turn: the first so many items are of as many tasks as can be.
        waiting = [_items_of(task, split, data_dir) for task in present]
        while waiting:
            left = []
            for items in waiting:
                if (item := next(items, None)) is not None:
                    yield item
                    left.append(items)
            waiting = left

    def example_group(self, item: Item) -> str:
        """The few shots of an item are of its own task: tasks have different questions and labels."""
        return str(item.fields["task"])

    def messages(self, item: Item) -> list[dict[str, str]]:
        task, labels = item.fields["task"], item.fields["labels"]
        if "prompt" in item.fields:
            body = item.fields["prompt"]
        else:
            shown = "\n\n".join(
                f"{_SHOWN[name]}: {text.strip()}" for name, text in item.fields["shown"].items()
            )
            body = f"{INSTRUCTIONS[task]}\n\n{shown}"
        closing = ask_for(labels)
        if task in SEVERAL_LABELS:
            closing = closing.replace("where X is", "where X is one or more, separated by commas, of")
        return [{"role": "user", "content": f"{body}\n\n{closing}"}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        labels: Sequence[str] = item.fields["labels"]
        if item.fields["task"] in SEVERAL_LABELS:
            return _score_several(completion, item.answer, labels, truncated)
        if all(re.fullmatch(r"[A-Z]", label) for label in labels):
            return score_letter(completion, item.answer, dict.fromkeys(labels, ""), truncated=truncated)
        return score_label(completion, item.answer, labels, truncated=truncated)

    def more_scores(self, judged: Iterable[tuple[str, str, float]]) -> dict[str, Any]:
        """Balanced accuracy, from (item id, gold, score)."""
        return scores_by_task((item.partition("/")[0], gold, score) for item, gold, score in judged)

    def gold(self, item: Item) -> str:
        return f"Answer: {item.answer}"

    def wrong(self, item: Item, seed: int) -> str:
        return f"Answer: {other_than(_label(item), item.fields['labels'], seed)}"


def _items_of(task: str, split: str, data_dir: Path | None) -> Iterator[Item]:
    labels = labels_of(task, data_dir)
    prompt = _prompt_text(task, data_dir) if task in NEEDS_PROMPT_TEXT else None
    for index, row in enumerate(load_rows(task_source(task), split, data_dir)):
        shown = {name: str(row[name]) for name in _SHOWN if row.get(name) is not None}
        fields = {"task": task, "labels": labels, "shown": shown}
        if prompt is not None:
            fields["prompt"] = _filled(prompt, row)
        yield Item(f"{task}/{split}/{row.get('index', index)}", fields, row["answer"].strip())


def _label(item: Item) -> str:
    """The item's answer as its label is spelled."""
    same = [label for label in item.fields["labels"] if normal(label) == normal(item.answer)]
    return same[0] if same else str(item.answer)


def _filled(prompt: str, row: Mapping[str, Any]) -> str:
    filled = re.sub(r"\{\{(.+?)\}\}", lambda match: str(row[match.group(1).strip()]), prompt)
    return re.sub(r"\s*(?:Answer|A|Label):\s*$", "", filled.rstrip())


def _score_several(completion: str, gold: str, labels: Sequence[str], truncated: bool) -> Score:
    """All of the gold labels and no other."""
    found = answers.explicit(answers.without_thinking(completion))
    chosen = labels_in(found.text, labels) if found else []
    if not chosen:
        return Score(0.0, Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER, None, "no label found")
    extracted = ",".join(sorted(set(chosen)))
    same = {normal(label) for label in chosen} == {normal(label) for label in gold.split(",")}
    return Score(float(same), Outcome.RIGHT if same else Outcome.WRONG, extracted, "labels")


BENCHMARK = LegalBench()
