"""How rows of public training sets become items that a benchmark of ours can ask and judge.

One reader for each data set: which benchmark's prompt and scorer fit, and where question and answer are. A
reader gives None for a row that has no answer or none that we can judge; the preparation counts these.
Licences: Eurus-2-RL-Data MIT, DeepCoder-Preview-Dataset MIT, DeepScaleR-Preview-Dataset MIT,
hendrycks_math MIT, KodCode CC-BY-NC-4.0, Multi-subject-RLVR Apache-2.0, medical-o1-verifiable-problem and
FinQA: see their cards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import DataSource, Item
from evaluators.data import load_rows
from evaluators.scoring import answers
from manager.errors import UserError
from manager.run import Failed
from trainers import kodcode, subjects

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One item that can be trained on, and the benchmark that asks and judges it."""

    benchmark: str
    item: Item


@dataclass(frozen=True)
class Reader:
    """`read` makes an Entry of a row; `folder` is the data set's name under a data folder."""

    read: Callable[[Row, str], Entry | None]
    folder: str
    benchmarks: tuple[str, ...] = ("math500",)  # those that its entries name


def _text(value: Any) -> str:
    """A column's text; sets write what they lack as null."""
    return "" if value is None else str(value).strip()


def _math(problem: Any, answer: Any, identifier: str, solution: Any = None) -> Entry | None:
    """A question with one answer, asked and judged as MATH-500 is."""
    problem, answer = _text(problem), _text(answer)
    if not problem or not answer:
        return None
    return Entry("math500", Item(identifier, {"problem": problem, "solution": solution or ""}, answer))


def _program(problem: Any, tests: list[tuple[str, str]], identifier: str) -> Entry | None:
    """A problem with tests on standard input, asked and judged as Codeforces is."""
    problem = _text(problem)
    if not problem or not tests:
        return None
    from evaluators.scoring.code_tests import IoTest

    pairs = tuple(IoTest(stdin, expected) for stdin, expected in tests)
    return Entry("codeforces", Item(identifier, {"problem": problem, "tests": pairs}))


def _io_tests(value: Any) -> list[tuple[str, str]]:
    """Tests in either form that these sets use; calls of functions have none on standard input."""
    tests = (json.loads(value) if value.strip() else []) if isinstance(value, str) else value or []
    if isinstance(tests, Mapping):
        if tests.get("fn_name"):
            return []
        pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
    else:
        pairs = [(test["input"], test["output"]) for test in tests if test.get("type", "stdin") != "functional"]
    return [(stdin, expected) for stdin, expected in pairs if isinstance(stdin, str) and isinstance(expected, str)]


# Instructions that the sets append to a question; ours ask for the answer in our own words.
_EURUS_TAILS = ("Present the answer in LaTex format: \\boxed{Your answer}", "Write Python code to solve the problem.")


def _eurus(row: Row, identifier: str) -> Entry | None:
    question = row["prompt"][-1]["content"]
    for tail in _EURUS_TAILS:
        question = question.split(tail)[0]
    truth = row["reward_model"]["ground_truth"]
    if row["ability"] == "code":
        return _program(question, _io_tests(truth), identifier)
    return _math(question, truth, identifier)


def _deepcoder(row: Row, identifier: str) -> Entry | None:
    return _program(row["problem"], _io_tests(row["tests"]), identifier)


def _kodcode(row: Row, identifier: str) -> Entry | None:
    found = kodcode.item(row, identifier)
    return Entry("mbpp", found) if found else None


def _problem_answer(row: Row, identifier: str) -> Entry | None:
    return _math(row["problem"], row["answer"], identifier, row.get("solution") or "")


def _hendrycks(row: Row, identifier: str) -> Entry | None:
    boxes = answers.boxed(_text(row["solution"]))
    return _math(row["problem"], boxes[-1] if boxes else None, identifier, row["solution"])


def _multi_subject(row: Row, identifier: str) -> Entry | None:
    return _math(row["query"][-1]["content"], row["label"], identifier)


def _medical(row: Row, identifier: str) -> Entry | None:
    return _math(row["Open-ended Verifiable Question"], row["Ground-True Answer"], identifier)


def _finqa(row: Row, identifier: str) -> Entry | None:
    table = "\n".join(" | ".join(map(str, line)) for line in row["table"])
    parts = ["\n".join(row["pre_text"]), table, "\n".join(row["post_text"]), row["question"]]
    return _math("\n\n".join(part for part in parts if part.strip()), row["answer"], identifier)


READERS: dict[str, Reader] = {
    "PRIME-RL/Eurus-2-RL-Data": Reader(_eurus, "eurus2", ("math500", "codeforces")),
    "agentica-org/DeepCoder-Preview-Dataset": Reader(_deepcoder, "deepcoder", ("codeforces",)),
    "agentica-org/DeepScaleR-Preview-Dataset": Reader(_problem_answer, "deepscaler"),
    "KodCode/KodCode-V1": Reader(_kodcode, "kodcode", ("mbpp",)),
    "KodCode/KodCode-V1-SFT-R1": Reader(_kodcode, "kodcode_sft_r1", ("mbpp",)),
    "KodCode/KodCode-Light-RL-10K": Reader(_kodcode, "kodcode_light_rl", ("mbpp",)),
    "EleutherAI/hendrycks_math": Reader(_hendrycks, "math"),
    "deepmind/code_contests": Reader(_deepcoder, "code_contests", ("codeforces",)),
    "virtuoussy/Multi-subject-RLVR": Reader(_multi_subject, "multi_subject_rlvr"),
    "FreedomIntelligence/medical-o1-verifiable-problem": Reader(_medical, "medical_o1_verifiable"),
    "ibm-research/finqa": Reader(_finqa, "finqa"),
}


def name_of(source: Row) -> str:
    return str(source.get("benchmark") or source["hub"])


def keeps(row: Row, filters: Mapping[str, list[Any]]) -> bool:
    """`column: [values]` keeps rows with one of them, `not_column: [values]` drops them."""
    for key, values in filters.items():
        column = key.removeprefix("not_")
        if column not in row and column != "subject":
            raise Failed(f"data.sources.filters: no column {column!r}; there are: {', '.join(row)}", cause="data")
        value = row.get(column)
        if column == "subject" and value is None:
            # Sets without subjects are told apart by the words of the question.
            found = subjects.of(str(row))
            hit = bool(found & set(values))
        else:
            hit = value in values
        if hit == key.startswith("not_"):
            return False
    return True


def place_of(source: Row) -> DataSource:
    """Where the rows of a public set are: on the hub, and under a data folder."""
    reader = READERS.get(source["hub"])
    if reader is None:
        raise Failed(f"data.sources: no reader for {source['hub']}; there are: {', '.join(READERS)}", cause="config")
    revision = source.get("revision")
    return DataSource(
        hub=source["hub"],
        config=source.get("config"),
        revision=None if revision == "unpinned" else revision,
        folder=reader.folder,
    )


@contextmanager
def fetch_told(source: Row, folder: Path | None) -> Iterator[None]:
    """Where a public set is not on this disk, tell the command that brings it: no benchmark does."""
    try:
        yield
    except UserError as error:
        told = str(error).partition("; run ")[0]
        name, to = source.get("domain") or "DOMAIN", folder or "DIR"
        hint = f"run `manager data fetch --domain {name} --to {to}` where there is a network"
        raise UserError(f"{told}; {hint}") from error


def entries(source: Row, folder: Path | None) -> Iterator[Entry | None]:
    """What a source of `config.data` holds, in its own order; None for a row without an answer to judge."""
    count = 0
    try:
        for count, entry in enumerate(_entries(source, folder), 1):  # noqa: B007  (told below)
            yield entry
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        what = f"has no column {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise Failed(
            f"data.sources: {name_of(source)}, split {source.get('split', 'train')}: the row after {count} that were "
            f"read {what}; mend it or take it out, then run `manager sweep` again",
            cause="data",
        ) from error


def _entries(source: Row, folder: Path | None) -> Iterator[Entry | None]:
    split = source.get("split", "train")
    if "benchmark" in source:
        benchmark = benchmarks.get(source["benchmark"])
        for item in benchmark.items(split, folder):
            yield Entry(benchmark.name, item) if item.answer != "" else None
        return
    place = place_of(source)
    filters = source.get("filters") or {}
    with fetch_told(source, folder):
        rows = load_rows(place, split, folder)
    for index, row in enumerate(rows):
        if keeps(row, filters):
            yield READERS[source["hub"]].read(row, f"{place.folder}/{split}/{index}")
