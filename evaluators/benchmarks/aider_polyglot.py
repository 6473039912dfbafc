"""Aider Polyglot: 225 Exercism exercises in six languages, one attempt each (Aider-AI, exercises MIT).

Every answer is built and tested in an own copy of its exercise. A language whose tools are not on this
machine is told as such, never counted as wrong.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._code import CodeBenchmark, fenced
from evaluators.scoring import code
from evaluators.scoring.answers import without_thinking
from evaluators.scoring.code_polyglot import (
    TOOLS_VARIABLE,
    Exercise,
    Tools,
    crates_program,
    find_tools,
    judged,
    program,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluators.sandbox import Program, Sandbox, Verdict

_LANGUAGES = {
    "cpp": ("C++17", "cpp"),
    "go": ("Go", "go"),
    "java": ("Java", "java"),
    "javascript": ("JavaScript", "javascript"),
    "python": ("Python", "python"),
    "rust": ("Rust", "rust"),
}
_AROUND_PATH = "`*#:_\"' \t"
_faults: dict[str, str | None] = {}
_faults_lock = threading.Lock()


class AiderPolyglot(CodeBenchmark):
    name = "aider_polyglot"
    version = 2
    source = DataSource(hub=None, folder="aider_polyglot", splits={"test": "test"})
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        parts = ("introduction", "instructions", "instructions_append")
        fields = {
            "language": row["language"],
            "exercise": row["exercise"],
            "text": "\n\n".join(row[part].strip() for part in parts if row[part].strip()),
            "solution": _contents(row["solution_files"]),
            "tests": _contents(row["test_files"]),
            "example": _contents(row["example_files"]),
            "other": _contents(row["other_files"]),
        }
        return Item(f"{row['language']}/{row['exercise']}", fields)

    def question(self, item: Item) -> str:
        fields = item.fields
        language, mark = _LANGUAGES[fields["language"]]
        files = "\n\n".join(f"{path}\n{fenced(text, mark)}" for path, text in fields["solution"].items())
        return (
            f"{fields['text']}\n\nSolve this exercise in {language}, with its standard library only. "
            f"These are the files to change:\n\n{files}\n\nGive every changed file whole, each in one "
            "fenced code block with the file's path alone on the line before it. Keep the names of functions "
            "and classes: tests use them."
        )

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        files = answer_files(item, completion, truncated=truncated)
        if not files:
            return code.no_code(completion, truncated=truncated)
        told = "\n".join(f"{path}\n{fenced(text, '')}" for path, text in files.items())
        tools = find_tools(item.fields["language"])
        if tools.missing:
            return Score(
                None, Outcome.GRADER_FAILED, told, f"{item.fields['language']}: needs {tools.missing}"
            )
        verdict = self.run(item, files, tools)
        if not verdict.passed and (fault := self.fault(item, tools)):
            return Score(None, Outcome.GRADER_FAILED, told, fault)
        return code.score_of(verdict, told)

    def share(self, item: Item, completion: str) -> float | None:
        """No partial credit: an exercise that does not build has no share of tests."""
        return self.score(item, completion).value

    def run(self, item: Item, files: Mapping[str, str], tools: Tools) -> Verdict:
        """Build and test the exercise with these files in place."""
        exercise = _exercise(item, files)
        secret = secrets.token_hex(16)
        return judged(exercise, _box(item, tools).run(program(exercise, tools, secret)), secret)

    def fault(self, item: Item, tools: Tools) -> str | None:
        """Why the exercise cannot be judged on this machine; None where its reference passes."""
        key = f"{item.id} {tools}"
        with _faults_lock:
            if key in _faults:
                return _faults[key]
        fault = self._find_fault(item, tools)
        with _faults_lock:
            _faults[key] = fault
        return fault

    def _find_fault(self, item: Item, tools: Tools) -> str | None:
        if item.fields["language"] == "rust":
            # Some references need crates that the exercise does not name, and answers cannot have.
            verdict = _box(item, tools).run(crates_program(_exercise(item, {}), tools))
            told = f"needs crates that are not on this machine (set {TOOLS_VARIABLE})"
        else:
            verdict = self.run(item, reference_files(item), tools)
            told = "the reference solution fails here"
        return None if verdict.passed else f"{told}: {verdict.kind}: {verdict.detail}"

    def sandbox(self) -> Sandbox:
        raise NotImplementedError("each language has its own")

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        raise NotImplementedError("an answer is several files: see run")

    def gold(self, item: Item) -> str:
        return _told(reference_files(item), item.fields["language"])

    def wrong(self, item: Item, seed: int) -> str:
        """Files that define nothing (the files as handed out pass where the task is to tidy them up)."""
        language = item.fields["language"]
        mark = "#" if language == "python" else "//"
        first = "package nothing\n" if language == "go" else f"{mark} attempt {seed}\n"
        names = [path for path in item.fields["solution"] if not path.endswith(".toml")]
        return _told(dict.fromkeys(names, first), language)


def _exercise(item: Item, files: Mapping[str, str]) -> Exercise:
    fields = item.fields
    placed = {**fields["other"], **fields["solution"], **files}
    return Exercise(fields["language"], fields["exercise"], placed, fields["tests"])


def _box(item: Item, tools: Tools) -> Sandbox:
    from evaluators import sandbox

    preload = (*sandbox.STANDARD, "unittest.mock") if item.fields["language"] == "python" else ()
    return sandbox.shared(preload, mounts=tools.mounts)


def _contents(files: list[dict[str, str]]) -> dict[str, str]:
    return {file["path"]: file["content"] for file in files}


def _told(files: Mapping[str, str], language: str) -> str:
    return "\n\n".join(f"{path}\n{fenced(text, _LANGUAGES[language][1])}" for path, text in files.items())


def reference_files(item: Item) -> dict[str, str]:
    """The reference solution under the paths of the answer."""
    fields = item.fields
    placed: dict[str, str] = {}
    for path, text in fields["example"].items():
        suffix = PurePosixPath(path).suffix
        if fields["language"] == "java":
            placed[path.replace(".meta/src/reference/java/", "src/main/java/")] = text
        else:
            placed[next(name for name in fields["solution"] if name.endswith(suffix))] = text
    return placed


def answer_files(item: Item, completion: str, *, truncated: bool) -> dict[str, str]:
    """The files of an answer: named blocks by their path, or the last block where one file is asked for."""
    found = [block for block in code.blocks(without_thinking(completion)) if block.closed or not truncated]
    wanted = tuple(item.fields["solution"])
    files: dict[str, str] = {}
    for block in found:
        path = _path(block, item)
        if path is not None:
            files[path] = block.text
    if not files and found:
        sources = [path for path in wanted if not path.endswith((".toml", ".h"))] or list(wanted)
        if len(found) == len(wanted):
            files = dict(zip(wanted, (block.text for block in found), strict=True))
        elif len(sources) == 1:
            files = {sources[0]: found[-1].text}
    return files


def _path(block: code.Block, item: Item) -> str | None:
    """The path that stands before a block, where an answer may have a file of that name."""
    words = [word.strip(_AROUND_PATH) for word in (block.before, *re.findall(r"[\w./-]+\.\w+", block.before))]
    wanted = item.fields["solution"]
    for word in words:
        for path in wanted:
            if word == path or word == PurePosixPath(path).name:
                return str(path)
    taken = {*item.fields["tests"], *item.fields["other"]}
    for word in words:  # a further file beside the ones asked for
        place = PurePosixPath(word)
        beside = any(
            place.parent == PurePosixPath(path).parent and place.suffix == PurePosixPath(path).suffix
            for path in wanted
        )
        if beside and re.fullmatch(r"[\w./-]+", word) and ".." not in place.parts and word not in taken:
            return word
    return None


BENCHMARK = AiderPolyglot()
