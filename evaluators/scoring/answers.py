"""Finds the final answer in a completion: thinking is cut off, then the most explicit statement counts.

Text only: decides nothing about right or wrong, and every function is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from evaluators.scoring.commitment import committed

THINK_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
THINK_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)

_BOXED = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=\{|[^\s{\\])")
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]{0,8}####[ \t]*(\S.*)$", re.MULTILINE)
_NAME = r"(?:answer|conclusion|choice|option|letter|classification|label|prediction|verdict)"
_JSON = re.compile(
    rf"[\"'](?:\w{{1,20}}[_ ])?{_NAME}[\"']\s*:\s*"
    r"(?:\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|([^\s,{}\"']+))",
    re.IGNORECASE,
)
# The key of a table: `| Answer | B |`, or the head of a column.
_CELL = re.compile(r"[\s*_`]*(?:(?:final|correct|my|the)\s+)?answer[\s*_`:]*", re.IGNORECASE)
_PHRASE = re.compile(
    rf"(?:(?<![a-zA-Z]){_NAME}\b|\bans\b\.?)[*_`\"']*"
    r"(?:\s+(?:to|of|for)\s+(?:this|the|your)\s+[\w\s]{1,40}?)?"
    r"(?:\s*\([^()\n]{1,40}\)(?=[*_]*\s*[:：=]))?"
    r"(?:,\s*(?:then|therefore|thus|hence)\s*,)?"
    r"(?:\s+(?:here|now|in\s+this\s+case)\b)?"
    r"(?:\s*[:：]|\s+(?:is|are|was|remains?|stays|equals|(?:appears|seems)\s+to\s+be|"
    r"(?:should|would|must|will|can|has\s+to|have\s+to)\s+(?:(?:therefore|thus|then|only|have\s+to)\s+)?be)\b\s*:?|\s*=(?!=)"
    r"|\s*(?:→|⇒|=>|->))"
    r"|\bans\.(?=\s)|^[ \t*_#]{0,8}(?:(?:final|correct|my)\s+)?answer\s+[-–—]\s+(?=[^\n]{1,40}$)"
    r"|(?:最终|正确|最后)?答案\s*(?:应该|应|就)?\s*[是为选:：]+|(?:故|应|因此|所以)选\s*(?:择|项)?\s*[:：]?",
    re.IGNORECASE | re.MULTILINE,
)
# "The wrong answer is 12" states none.
_OF_ANOTHER = re.compile(
    r"\b(?:wrong|incorrect|false|mistaken|other|another|alternative|tempting|each|every|which|any)\s+$", re.IGNORECASE
)
# "Wait, no: it's D": what takes back an answer, and what puts another in its place.
_BACK = (
    r"(?:wait|hold\s+on|no|nope|hm+|actually|sorry|oops|correction|rather|(?:scratch|strike)\s+that|my\s+mistake|"
    r"on\s+(?:second\s+thoughts?|reflection)|let\s+me\s+correct\s+(?:that|myself|this)|"
    r"i\s+(?:made|misread|misspoke|miscalculated|miscounted)\b[^.,;:\n]{0,30}|"
    r"(?:that|this)(?:'s|’s|\s+is|\s+was)\s+(?:wrong|not\s+right|not\s+correct|incorrect|a\s+mistake))"
)
# After a box, only this lets a later sentence count for more than the box.
_TAKEN_BACK = re.compile(
    r"(?:^|[.!?…,;:—–(\n-])[ \t*_]{0,4}(?:wait|hold\s+on|sorry|oops|correction|scratch\s+that|on\s+second\s+thoughts?|"
    r"i\s+made\s+an?\s+(?:\w+\s+)?(?:mistake|error)|that(?:'s|’s|\s+is|\s+was)\s+(?:wrong|not\s+right|incorrect))\b",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    rf"(?:^|[.!?…;—–(\n-]|,(?=[ \t]?(?:wait|sorry|actually|correction)\b))[ \t*_]{{0,4}}(?:{_BACK}\b[\s,.:;!…—–-]*)+"
    r"(?:(?:(?:it|that|this)(?:\s+(?:is|was|should\s+be|must\s+be|has\s+to\s+be)|'s|’s)|(?:should|must)\s+be|"
    r"i\s+mean(?:t)?|make\s+(?:it|that))\b\s*:?\s*)?(?P<rest>[^\n]{1,120})",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<!\\)[.!?…](?:\s|$)|[;\n]|\s—\s")
# Windows keep the search linear in texts that repeat themselves for megabytes; an answer stands at the end.
_MAX_ANSWER = 4000
MAX_TAIL = 200_000
_MAX_MATCHES = 64


@dataclass(frozen=True)
class Found:
    """`text` as the model wrote it; `how` names the form: boxed, tag, hashes, json, table, phrase, correction.

    `at` is its place in the last `MAX_TAIL` characters. `text` is without what the writer does not stand behind, `line`
    with it: the text of an option may itself be a hypothesis.
    """

    text: str
    how: str
    at: int = 0
    line: str = ""


def without_thinking(completion: str) -> str:
    """What follows the last closing tag; empty where thinking was opened and never closed."""
    closed = deque(THINK_CLOSE.finditer(completion), maxlen=1)
    rest = completion[closed[0].end() :] if closed else completion
    opened = THINK_OPEN.search(rest)
    return rest if opened is None else rest[: opened.start()]


def boxed(text: str) -> list[str]:
    r"""The contents of the last `\boxed{…}`s with balanced braces, in order; `\boxed 5` gives `5`."""
    return [found.text for found in _boxes(text[-MAX_TAIL:])]


def _boxes(text: str) -> list[Found]:
    contents = []
    for match in deque(_BOXED.finditer(text), maxlen=_MAX_MATCHES):
        position = match.end()
        if text[position] != "{":
            contents.append(Found(text[position], "boxed", match.start()))
            continue
        end = _closing_brace(text, position)
        if end is not None:
            contents.append(Found(text[position + 1 : end].strip(), "boxed", match.start()))
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


def _matches(pattern: re.Pattern[str], text: str, how: str) -> list[Found]:
    """The last matches of a form, each with its one group that holds text."""
    found = []
    for match in deque(pattern.finditer(text), maxlen=_MAX_MATCHES):
        content = next((group for group in match.groups() if group is not None), "").strip()
        if how == "json":
            content = "" if content in ("null", "None") else content.replace("\\\\", "\\").replace('\\"', '"')
        found.append(Found(content, how, match.start()))
    return found


def _tagged(text: str) -> list[Found]:
    """The last `<answer>…</answer>`."""
    opened, last = None, None
    for match in _TAG.finditer(text):
        if not match[1]:
            opened = match
        elif opened is not None:
            last = Found(text[opened.end() : match.start()].strip(), "tag", opened.start())
            opened = None
    return [last] if last else []


def _cells(text: str) -> list[Found]:
    """The value beside `Answer` in the last table, or the last one below it."""
    rows: deque[tuple[int, list[str]]] = deque(maxlen=_MAX_MATCHES)
    place = 0
    if "|" not in text:
        return []
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("|"):
            cells = line.strip().strip("|").split("|")
            if len(cells) > 1 and not re.fullmatch(r"[\s:|-]*", "".join(cells)):
                rows.append((place, cells))
        elif line.strip():
            rows.clear()
        place += len(line)
    found = []
    for number, (at, cells) in enumerate(rows):
        for column, cell in enumerate(cells):
            if _CELL.fullmatch(cell) is None:
                continue
            below = rows[-1][1] if number < len(rows) - 1 else []
            if column + 1 < len(cells) and _CELL.fullmatch(cells[column + 1]) is None and len(cells) == 2:
                found.append(Found(cells[column + 1].strip(), "table", at))
            elif column < len(below):
                found.append(Found(below[column].strip(), "table", at))
    return found


def phrases(text: str) -> list[str]:
    """What follows each 'the answer is' or 'Answer:' up to the end of its line, in order. Not 'the wrong answer is'."""
    return [found.text for found in _phrases(text[-MAX_TAIL:], 0)][::-1]


def _phrases(text: str, after: int) -> Iterator[Found]:
    """The phrases behind a place, the last one first; only the lines that are asked for are read closely."""
    for match in reversed(deque(_PHRASE.finditer(text, after), maxlen=_MAX_MATCHES)):
        start, end = match.span()
        if _OF_ANOTHER.search(text, max(0, start - 20), start):
            continue
        begins = _line_start(text, start)
        own = committed(text[begins : end + _MAX_ANSWER])
        stated = _rest(own, end - begins) if own[end - begins - 1] == text[end - 1] else ""
        # The text of an option may be a hypothesis of its own: then what leads to it decides.
        line = _rest(text, end)
        if stated or (line and committed(text[begins:end]) == text[begins:end]):
            yield Found(stated, "phrase", end, line)


def _line_start(text: str, place: int) -> int:
    return max(text.rfind("\n", 0, place) + 1, place - _MAX_ANSWER)


def _rest(text: str, start: int) -> str:
    """What is stated at a place: the rest of its line, or the displayed formula or the line that comes next."""
    rest = text[start : start + _MAX_ANSWER].lstrip(" \t*_`")
    if rest.startswith("\n"):  # "**Answer:**" on a line of its own
        rest = rest.lstrip()
    for opening, closing in (("\\[", "\\]"), ("$$", "$$")):
        if rest.startswith(opening) and (end := rest.find(closing, len(opening))) > 0:
            return " ".join(rest[: end + len(closing)].split())
    return rest.split("\n", 1)[0].strip()


def _corrections(text: str, after: int) -> list[Found]:
    """The short statements that take back what was said before them: `Wait, no: it's D.` The last one first."""
    said = _WORD.search(text, after)
    if said is None or _CORRECTED.search(text, said.end()) is None:
        return []
    begins = _line_start(text, after)
    own = committed(text[begins:])
    found = []
    for match in deque(_CORRECTED.finditer(own, said.end() - begins), maxlen=_MAX_MATCHES):
        end = _SENTENCE_END.search(own, match.start("rest"), match.end("rest"))
        rest = own[match.start("rest") : end.start() if end else match.end("rest")].strip()
        if rest:
            found.append(Found(rest, "correction", begins + match.start()))
    return found[::-1]


def statements(text: str) -> Iterator[Found]:
    """Explicit statements, the most explicit first and the last of each kind first.

    A correction comes before what it corrects; whether it is an answer is for the caller to see.
    """
    text = text[-MAX_TAIL:]
    formal = [
        *reversed(_boxes(text)),
        *_tagged(text),
        *reversed(_matches(_HASHES, text, "hashes")),
        *reversed(_matches(_JSON, text, "json")),
        *reversed(_cells(text)),
    ]
    formal = [found for found in formal if found.text]
    place = max((found.at for found in formal), default=0)
    behind = list(islice(_phrases(text, place), None if formal else 1))
    if not formal and not behind:
        return
    yield from _corrections(text, max(place, *(found.at for found in behind), 0))
    back = _TAKEN_BACK.search(text, place) if formal and behind else None
    if back:
        yield from (found for found in behind if found.at > back.start())
    yield from formal
    yield from _phrases(text, 0)


def explicit(text: str) -> Found | None:
    """The most explicit statement of an answer there is, or None; a correction is left to who can read it."""
    return next((found for found in statements(text) if found.text and found.how != "correction"), None)
