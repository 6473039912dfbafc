"""Judges which of several labels a free text states: yes/no/maybe, entailed/refuted, the classes of LegalBench.

The most explicit statement that the writer stands behind decides. A label counts in the forms of its word (`refutes`
for `refuted`), and of two opposites the denial of one is the other (`not entailed`). Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from evaluators.benchmark import Score
from evaluators.scoring import answers
from evaluators.scoring.choice import TAIL, bare, judge, plain_words
from evaluators.scoring.choice_words import CONDITIONAL, REJECTED_BEFORE
from evaluators.scoring.commitment import committed
from evaluators.scoring.typography import plain_prose

# Pairs in which one label denies the other, with what else is said for them. A pair of labels is looked up by its own
# words; only then do the other words count.
_OPPOSITES: tuple[tuple[str, str], ...] = (
    (
        r"entail(?:s|ed|ment)?|support(?:s|ed)?|true|correct|accurate",
        r"refut(?:e|es|ed|ation)|contradict(?:s|ed|ion|ory)?|disprove[sdn]?|unsupported|false|untrue|incorrect|"
        r"inaccurate",
    ),
    (r"relevant", r"irrelevant"),
    (r"correct", r"incorrect"),
    (r"true", r"false"),
    (r"valid", r"invalid"),
)
# `no significant difference` is no answer: there `no` belongs to the next word.
_BARE = frozenset(("yes", "no", "maybe"))
# Words that describe the next one (`the correct number`), unless they end what is said of the statement.
_ADJECTIVES = frozenset(
    ("true", "false", "untrue", "correct", "incorrect", "accurate", "inaccurate", "unsupported", "other")
)
_PREDICATE = re.compile(r"\s+(?:by|according|in|with|on|overall|that|when|per|for)\b", re.IGNORECASE)
_SO = re.compile(r"\b(?:so|therefore|thus|hence|consequently)\b", re.IGNORECASE)
_STANDS_ALONE = re.compile(
    r"[*_\"')\]}]*\s*(?:$|[.,;:!?—–✅✔(\n/-])|[*_\"')]*\s+(?:because|since|as|due|based|given|but|not)\b"
)
_NEAR = 300  # so near to its end an answer that does not call it one may name its label
_EITHER = re.compile(r"[*_\"']*\s*(?:,?\s*(?:or|and)\b|/)\s*[*_\"']*", re.IGNORECASE)
_REASONS = ("because", "since", "as ", "due to", "based on", "given", "rather than", "instead of", "✅", "✔")
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|no|nothing|none|neither|nor|fails?\s+to|without)\b|n't\b)(?P<between>(?:\W+\w+){0,4}?)\W*$",
    re.IGNORECASE,
)
# What may stand between `not` and the label for the denial to be one of the label itself.
_PLAINLY = re.compile(
    r"(?:\W*(?:be|been|fully|directly|actually|explicitly|clearly|strictly|quite|it|the|is|are|at|all|supported|entailed|"
    r"nor|or|rows?|evidence|data|table)\b)*\W*",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(
    r"\b(?:if|whether|to\s+(?:check|determine|see|decide|verify|find|judge|assess|test))\b[^.;:\n]*$", re.IGNORECASE
)


def score_label(completion: str, gold: str, labels: Sequence[str], *, truncated: bool = False) -> Score:
    """Compare the stated label with `gold`, ignoring case and punctuation."""
    text = answers.without_thinking(completion)
    found = find_label(text, tuple(labels), complete=not truncated)
    return judge(found, gold, truncated)


def find_label(text: str, labels: tuple[str, ...], *, complete: bool = True) -> tuple[str, str] | None:
    """(label, how it was found), or None."""
    text = plain_prose(text[-TAIL:])
    for found in answers.statements(text):
        label = _leading(found.text, labels) if found.how == "correction" else _label_in(found.text, labels)
        if label:
            return label, found.how
    lines = [line.strip() for line in committed(text).splitlines() if line.strip()]
    if not complete or not lines:
        return None
    ends = (("last line", lines[-1]), ("first line", lines[0]))
    for how, line in ends:
        if label := next((one for one in labels if plain_words(line) == plain_words(one)), None):
            return label, how
    for how, line in ends:
        if label := _leading(line, labels):
            return label, how
    last, first = (("last line", lines[-1][-_NEAR:]), ("first line", lines[0][:_NEAR]))
    for how, line in (last, first) if _opposites(labels) else (last,):
        if label := _only_label(line, labels):
            return label, how
    return None


def labels_in(text: str, labels: Sequence[str]) -> list[str]:
    """Every label that `text` names and does not negate, in order."""
    return _mentions(bare(plain_prose(text)), tuple(labels))


def _label_in(statement: str, labels: tuple[str, ...]) -> str | None:
    statement = bare(statement)
    if label := _leading(statement, labels):
        return label
    return _only_label(re.split(r"(?<=[a-z)])[.;](?:\s|$)", statement)[0], labels)


def _only_label(text: str, labels: tuple[str, ...]) -> str | None:
    """The one label that is stated, after `so` if a label is stated there."""
    mentioned = set(_mentions(_SO.split(text)[-1], labels)) or set(_mentions(text, labels))
    return mentioned.pop() if len(mentioned) == 1 else None


def _leading(line: str, labels: tuple[str, ...]) -> str | None:
    """The label with which a line begins, followed by its end or punctuation, or that is the whole line."""
    line = re.sub(r"^[\s*_`\"'(\[>#{-]+", "", bare(line))
    line = re.sub(r"^(?:(?:so|therefore|thus|hence|then|indeed|clearly)\b[\s,:]*)+", "", line, flags=re.IGNORECASE)
    for label in sorted(labels, key=len, reverse=True):
        match = re.match(rf"(?:{_forms(labels)[label]})(?![\w-])", line, re.IGNORECASE)
        if match is None:
            continue
        rest = line[match.end() :].strip()
        if CONDITIONAL.match(rest) or _another_label(rest, labels):
            continue
        if not rest or rest[0] in ".,;:!?)]*_\"'—–-(`}|" or rest.lower().startswith(_REASONS):
            return label
    return None


def _another_label(rest: str, labels: tuple[str, ...]) -> bool:
    """Whether a second label follows as an alternative: `yes, no, maybe` states none."""
    either = "|".join(_forms(labels).values())
    listed = rf"(?:[,/]|(?:,\s*)?\b(?:and|or)\b)\s*(?:or\s+)?(?:{either})\s*(?:$|[.,;/]|or\b)"
    return re.match(listed, rest, re.IGNORECASE) is not None


def _mentions(text: str, labels: tuple[str, ...]) -> list[str]:
    """Labels stated in `text`, each as its longest form (`irrelevant` is not `relevant`); denied, the opposite one."""
    matches = [(match, labels[int((match.lastgroup or "_0")[1:])]) for match in _any_label(labels).finditer(text)]
    for (one, label), (other, another) in pairwise(matches):
        if label != another and _EITHER.fullmatch(text, one.end(), other.start()):
            return [named for _, named in matches]  # "yes or no", also where that is denied
    found = []
    for match, label in matches:
        if CONDITIONAL.match(text, match.end()) or _UNDECIDED.search(text[max(0, match.start() - 200) : match.start()]):
            continue
        said = match.group().lower()
        if said in _BARE and not _STANDS_ALONE.match(text, match.end()):
            continue
        if said in _ADJECTIVES and not (_STANDS_ALONE.match(text, match.end()) or _PREDICATE.match(text, match.end())):
            continue
        before = re.split(r"[.,;:]\s|\(|\bbut\b", text[max(0, match.start() - 60) : match.start()])[-1]
        denied = _DENIED.search(before)
        if denied is None and not REJECTED_BEFORE.search(before):
            found.append(label)
        elif denied and _opposites(labels) and _PLAINLY.fullmatch(denied["between"]):
            found.append(next(other for other in labels if other != label))
    return found


@lru_cache(maxsize=256)
def _opposites(labels: tuple[str, ...]) -> tuple[str, str] | None:
    """The words for each of two labels that deny each other, in their order; None for other labels."""
    if len(labels) != 2:
        return None
    for pair in _OPPOSITES:
        for words in (pair, pair[::-1]):
            if all(re.fullmatch(one, label, re.IGNORECASE) for one, label in zip(words, labels, strict=True)):
                return words[0], words[1]
    return None


@lru_cache(maxsize=256)
def _forms(labels: tuple[str, ...]) -> dict[str, str]:
    """A pattern for each label: its words, however they are spaced or joined, and those of its side of a pair."""
    own = {label: r"[\s_\-,]+".join(re.escape(word) for word in re.findall(r"[^\W_]+", label)) for label in labels}
    words = _opposites(labels)
    if words is None:
        return own
    return {label: f"{own[label]}|{more}" for label, more in zip(labels, words, strict=True)}


@lru_cache(maxsize=256)
def _any_label(labels: tuple[str, ...]) -> re.Pattern[str]:
    ordered = sorted(range(len(labels)), key=lambda place: len(labels[place]), reverse=True)
    either = "|".join(f"(?P<l{place}>{_forms(labels)[labels[place]]})" for place in ordered)
    return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.IGNORECASE)
