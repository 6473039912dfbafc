"""From a completion to code, and from a sandbox verdict to a score. Runs nothing itself.

Shared by the code benchmarks and the code reward of training.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.benchmark import Outcome, Score
from evaluators.scoring.answers import without_thinking

if TYPE_CHECKING:
    from evaluators.sandbox import Verdict

_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
_LOOKS_LIKE_PYTHON = re.compile(r"^(?:def|class|import|from|async def|@\w)\b", re.MULTILINE)
_PYTHON_NAMES = frozenset({"python", "py", "python3", "py3"})
_MOST_CHARACTERS = 400_000


@dataclass(frozen=True)
class Block:
    """One fenced block; `closed` is False where the text ended inside it."""

    language: str
    text: str
    closed: bool
    before: str = ""  # the last line of prose above it, where a file's name can stand


def blocks(text: str) -> list[Block]:
    """The fenced blocks in order. A block ends at a fence of its own kind, at least as long, with no name."""
    found: list[Block] = []
    opening: re.Match[str] | None = None
    after = 0
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
            continue
        marks, name = fence.group(1), fence.group(2).strip()
        if marks[0] == opening.group(1)[0] and len(marks) >= len(opening.group(1)) and not name:
            found.append(_block(text, opening, fence.start(), after, closed=True))
            opening, after = None, fence.end()
    if opening is not None:
        found.append(_block(text, opening, len(text), after, closed=False))
    return found


def _block(text: str, opening: re.Match[str], end: int, after: int, *, closed: bool) -> Block:
    language = opening.group(2).strip().split(" ")[0].lower()
    prose = [line for line in text[after : opening.start()].splitlines() if line.strip()]
    return Block(language, text[opening.end() + 1 : end], closed, prose[-1].strip() if prose else "")


def python_code(completion: str, *, truncated: bool = False) -> str | None:
    """The answer's Python: the last closed fenced block in Python or without a language, after any thinking.

    Without fences, the whole answer where it has the look of a program. A block that the token limit cut off
    is no answer.
    """
    answer = without_thinking(completion)[-_MOST_CHARACTERS:]
    found = blocks(answer)
    usable = [block for block in found if block.language in _PYTHON_NAMES or not block.language]
    closed = [block for block in usable if block.closed and block.text.strip()]
    if closed and (not truncated or closed[-1] is usable[-1]):
        return closed[-1].text
    if usable and not truncated and usable[-1].text.strip():
        return usable[-1].text
    if not found and not truncated and _LOOKS_LIKE_PYTHON.search(answer):
        return answer
    return None


def no_code(completion: str, *, truncated: bool) -> Score:
    """The score of an answer without code."""
    if truncated:
        return Score(0.0, Outcome.TRUNCATED, why="cut off at the token limit before a code block ended")
    why = "thinking was never closed" if "<think>" in completion and "</think>" not in completion else "no code block"
    return Score(0.0, Outcome.NO_ANSWER, why=why)


def score_of(verdict: Verdict, code: str) -> Score:
    """The score of one verdict; undefined where the sandbox or the tests were at fault."""
    why = f"{verdict.kind}: {verdict.detail}" if verdict.detail else str(verdict.kind)
    if verdict.passed:
        return Score(1.0, Outcome.RIGHT, code, why)
    if verdict.kind == "sandbox_error":
        return Score(None, Outcome.GRADER_FAILED, code, why)
    return Score(0.0, Outcome.WRONG, code, why)
