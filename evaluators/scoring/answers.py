"""Finds the final answer in a completion: thinking is cut off, then the most explicit statement counts.

Text only: decides nothing about right or wrong, and every function is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

THINK_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
THINK_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

_BOXED = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=\{|[^\s{\\])")
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"^\s*####\s*(\S.*?)\s*$", re.MULTILINE)
_PHRASE = re.compile(
    r"(?:\b(?:final|correct|best|right|my|the|so|overall)\s+)*"
    r"\b(?:answer|conclusion|choice|option|letter|classification|label|prediction)\b[*_`\"']*"
    r"(?:\s+(?:to|of|for)\s+(?:this|the|your)\s+[\w\s]{1,40}?)?"
    r"(?:,\s*(?:then|therefore|thus|hence)\s*,)?"
    r"(?:\s*[:：]|\s+(?:is|are|should\s+be|would\s+be|must\s+be|=)\b\s*:?|\s*=)",
    re.IGNORECASE,
)
# "The wrong answer is 12" states none.
_OF_ANOTHER = re.compile(r"\b(?:wrong|incorrect|false|mistaken|other|another|alternative|tempting)\s+$", re.IGNORECASE)
# Windows keep the search linear in texts that repeat themselves for megabytes; an answer stands at the end.
_MAX_ANSWER = 4000
_MAX_TAIL = 200_000
_MAX_MATCHES = 64


@dataclass(frozen=True)
class Found:
    """`text` as the model wrote it; `how` names the form: boxed, tag, hashes, phrase."""

    text: str
    how: str


def without_thinking(completion: str) -> str:
    """What follows the last closing tag; empty where thinking was opened and never closed."""
    closed = deque(THINK_CLOSE.finditer(completion), maxlen=1)
    rest = completion[closed[0].end() :] if closed else completion
    opened = THINK_OPEN.search(rest)
    return rest if opened is None else rest[: opened.start()]


def boxed(text: str) -> list[str]:
    r"""The contents of the last `\boxed{…}`s with balanced braces, in order; `\boxed 5` gives `5`."""
    contents = []
    for match in deque(_BOXED.finditer(text[-_MAX_TAIL:]), maxlen=_MAX_MATCHES):
        position, text = match.end(), match.string
        if text[position] != "{":
            contents.append(text[position])
            continue
        end = _closing_brace(text, position)
        if end is None:
            continue
        contents.append(text[position + 1 : end].strip())
    return contents


def _closing_brace(text: str, start: int) -> int | None:
    depth = 0
    index = start
    while index < min(len(text), start + _MAX_ANSWER):
        character = text[index]
        if character == "\\":
            index += 2  # an escaped brace, as in a set: \{1, 2\}
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    return None


def tagged(text: str) -> str | None:
    """The last `<answer>…</answer>`."""
    contents = _TAGGED.findall(text[-_MAX_TAIL:])
    return contents[-1].strip() if contents else None


def hashes(text: str) -> str | None:
    """The last line that begins with `####`."""
    contents = _HASHES.findall(text[-_MAX_TAIL:])
    return contents[-1] if contents else None


def phrases(text: str) -> list[str]:
    """What follows each 'the answer is' or 'Answer:' up to the end of its line, in order. Not 'the wrong answer is'."""
    rests = []
    for match in deque(_PHRASE.finditer(text[-_MAX_TAIL:]), maxlen=_MAX_MATCHES):
        if _OF_ANOTHER.search(match.string, max(0, match.start() - 20), match.start()):
            continue
        rest = match.string[match.end() : match.end() + _MAX_ANSWER].lstrip(" \t*_`")
        if rest.startswith("\n"):  # "**Answer:**" on a line of its own
            rest = rest.lstrip()
        rests.append(rest.split("\n", 1)[0].strip())
    return [rest for rest in rests if rest]


def explicit(text: str) -> Found | None:
    """The most explicit statement of an answer there is, or None."""
    if boxes := [box for box in boxed(text) if box]:
        return Found(boxes[-1], "boxed")
    if (content := tagged(text)) is not None and content:
        return Found(content, "tag")
    if content := hashes(text):
        return Found(content, "hashes")
    if rests := phrases(text):
        return Found(rests[-1], "phrase")
    return None
