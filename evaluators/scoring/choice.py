"""Judges a choice among lettered options or among labels (yes/no/maybe, entailed/refuted, …) in free text.

The most explicit statement decides, the last one of its kind; an option that is mentioned and rejected does
not count, nor does the article in "A patient". Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evaluators.benchmark import Outcome, Score
from evaluators.scoring import answers
from evaluators.scoring.choice_words import (
    AROUND,
    CALLED_FALSE,
    CONDITIONAL,
    GOES_ON_AS_ANSWER,
    REJECTED_AFTER,
    REJECTED_BEFORE,
    asserted,
    hedged,
    judged_alone,
    leading,
    marked,
)

_TAIL = 20_000


def score_letter(completion: str, gold: str, options: Mapping[str, str], *, truncated: bool = False) -> Score:
    """Compare the chosen letter with `gold`; the full text of an option counts as its letter."""
    text = answers.without_thinking(completion)
    found = find_letter(text, options, complete=not truncated)
    return _judge(found, gold.upper(), truncated)


def score_label(completion: str, gold: str, labels: Sequence[str], *, truncated: bool = False) -> Score:
    """Compare the stated label with `gold`, ignoring case and punctuation."""
    text = answers.without_thinking(completion)
    found = find_label(text, tuple(labels), complete=not truncated)
    return _judge(found, gold, truncated)


def _judge(found: tuple[str, str] | None, gold: str, truncated: bool) -> Score:
    if found is None:
        outcome = Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER
        return Score(0.0, outcome, None, "no choice found")
    chosen, how = found
    if _plain(chosen) == _plain(gold):
        return Score(1.0, Outcome.RIGHT, chosen, how)
    return Score(0.0, Outcome.WRONG, chosen, how)


def find_letter(text: str, options: Mapping[str, str], *, complete: bool = True) -> tuple[str, str] | None:
    """(letter, how it was found), or None. `complete` allows the forms that only a finished answer has."""
    text = text[-_TAIL:]
    letters = "".join(options)
    for how, statement in _statements(text):
        if letter := _letter_in(statement, options):
            return letter, how
    if letter := _last_accepted(asserted(letters), text) or _only_true(letters, text):
        return letter, "stated as correct"
    if not complete:
        return None
    stripped = text.strip()
    lines = [line.strip() for line in stripped.splitlines() if line.strip()]
    ends = (("last line", lines[-1]), ("first line", lines[0])) if lines else ()
    for how, line in ends:
        if (alone := line.strip(AROUND).upper()) in options:
            return alone, how
    for how, line in ends:
        if (led := _led_by(line, options)) and _is_verdict(*led, options):
            return led[0], how
    if letter := _option_text(stripped, options, whole=len(stripped) <= 300):
        return letter, "text of the option"
    if lines and hedged(letters).search(lines[-1]):
        return None
    letter = _last_accepted(marked(letters), text)
    return (letter, "last letter in brackets") if letter else None


def find_label(text: str, labels: tuple[str, ...], *, complete: bool = True) -> tuple[str, str] | None:
    """(label, how it was found), or None."""
    text = text[-_TAIL:]
    for how, statement in _statements(text):
        if label := _label_in(statement, labels):
            return label, how
    if not complete:
        return None
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    for how, line in (("last line", lines[-1]), ("first line", lines[0])) if lines else ():
        if label := _label_leading(line, labels):
            return label, how
    if lines:
        mentioned = _mentions(lines[-1], labels)
        if len(set(mentioned)) == 1:
            return mentioned[0], "last line"
    return None


def _statements(text: str) -> list[tuple[str, str]]:
    """Explicit statements, the most explicit first and the last of each kind first."""
    found = [("boxed", box) for box in reversed(answers.boxed(text)) if box]
    if tagged := answers.tagged(text):
        found.append(("tag", tagged))
    if hashes := answers.hashes(text):
        found.append(("hashes", hashes))
    found += [("phrase", rest) for rest in reversed(answers.phrases(text))]
    return found


def _letter_in(statement: str, options: Mapping[str, str]) -> str | None:
    statement = _ADVERBS.sub("", _bare(statement))
    if re.match(r"(?:not|n't|neither)\b", statement, re.IGNORECASE):
        return _instead(statement, options)
    if (alone := statement.strip(AROUND).upper()) in options:  # before the texts: an option's text may be a letter
        return alone
    if letter := _option_text(statement, options, whole=True):
        return letter
    if led := _led_by(statement, options):
        return led[0]
    if hedged("".join(options)).match(statement):
        return None
    if letter := _last_accepted(asserted("".join(options)), statement):
        return letter
    found = {_named(match) for match in marked("".join(options)).finditer(statement)}
    return found.pop() if len(found) == 1 else None


def _led_by(text: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """The letter with which `text` begins, and the rest; not one rejected, put in question, or one of several."""
    letters = "".join(options)
    match = leading(letters).match(text)
    if match is None or hedged(letters).match(text, match.start(match.lastgroup or 0)):
        return None
    rest = text[match.end() :]
    return None if REJECTED_AFTER.match(rest) or CONDITIONAL.match(rest) else (_named(match), rest)


def _is_verdict(letter: str, rest: str, options: Mapping[str, str]) -> bool:
    """Whether a line answers with the letter it begins with: `B. Because …`, not `Option B is for adults`, `B) no`."""
    if _plain(rest) == _plain(options[letter]):
        return True
    return not CALLED_FALSE.match(rest) and GOES_ON_AS_ANSWER.match(rest) is not None


def _only_true(letters: str, text: str) -> str | None:
    """The one option that is called true where every option is judged in turn: `A: Incorrect. B: Correct.`"""
    judged = {match["letter"]: match["verdict"].lower() for match in judged_alone(letters).finditer(text)}
    true = [letter for letter, verdict in judged.items() if verdict in ("true", "correct", "right", "yes")]
    return true[0] if len(true) == 1 and len(judged) > 1 else None


_ADVERBS = re.compile(
    r"^(?:(?:therefore|thus|then|hence|clearly|most\s+likely|likely|probably|definitely|simply)\b[\s,:]*)+",
    re.IGNORECASE,
)


def _instead(statement: str, options: Mapping[str, str]) -> str | None:
    """`not B but C` chooses C."""
    turn = r"(?i:\bbut\s+(?:rather\s+)?|\bit(?:'s|’s|\s+is)\s+|\brather,?\s+)"
    match = re.search(rf"{turn}(?:option\s+)?[*(]*([{''.join(options)}])\b", statement)
    if match:
        return match.group(1)
    but = re.search(r"\bbut\s+(?:rather\s+)?(.+)", statement)
    return _option_text(but.group(1), options, whole=True) if but else None


def _option_text(text: str, options: Mapping[str, str], *, whole: bool) -> str | None:
    """The letter whose text is all that is said; with `whole`, the only one whose text is said at all."""
    plain = _plain(text)
    same = [letter for letter, option in options.items() if _plain(option) == plain]
    if len(same) == 1:
        return same[0]
    if not whole or not plain:
        return None
    said = [letter for letter, option in options.items() if _contains(plain, _plain(option))]
    longest = [
        letter
        for letter in said
        if not any(_plain(options[letter]) in _plain(options[other]) for other in said if other != letter)
    ]
    if len(longest) != 1:
        return None
    where = plain.find(_plain(options[longest[0]]))
    return None if re.search(r"\b(?:not|unlike|than|except)\W*$", plain[:where]) else longest[0]


def _contains(text: str, part: str) -> bool:
    return len(part) >= 3 and f" {part} " in f" {text} "


def _last_accepted(pattern: re.Pattern[str], text: str) -> str | None:
    """The last match that is not rejected before or after it."""
    for match in reversed(list(pattern.finditer(text))):
        start, end = match.span(match.lastgroup or 0)
        if any(REJECTED_BEFORE.search(text[max(0, place - 60) : place]) for place in (start, match.start())):
            continue
        if REJECTED_AFTER.match(text[end : end + 60]):
            continue
        return _named(match)
    return None


def _named(match: re.Match[str]) -> str:
    return next(group for group in match.groupdict().values() if group).upper()


def _bare(text: str) -> str:
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    return text.replace("$", "").strip(" \t\n*_`\"'")


def _plain(text: str) -> str:
    """Lower case, words and arrows only."""
    return " ".join(re.findall(r"[^\W_]+|[↑↓↔]", text.lower()))


def _label_in(statement: str, labels: Sequence[str]) -> str | None:
    statement = _bare(statement)
    if label := _label_leading(statement, labels):
        return label
    first = re.split(r"(?<=[a-z)])[.;](?:\s|$)", statement)[0]
    mentioned = _mentions(first, labels)
    return mentioned[0] if len(set(mentioned)) == 1 else None


def _label_leading(line: str, labels: Sequence[str]) -> str | None:
    """The label with which a line begins, followed by its end or punctuation, or that is the whole line."""
    line = re.sub(r"^[\s*_`\"'(\[>#-]+", "", _bare(line))
    for label in sorted(labels, key=len, reverse=True):
        match = re.match(rf"{_flexible(label)}(?![\w-])", line, re.IGNORECASE)
        if match is None:
            continue
        rest = line[match.end() :].strip()
        if CONDITIONAL.match(rest) or _another_label(rest, labels):
            continue
        if not rest or rest[0] in ".,;:!?)]*_\"'—–-(`}" or rest.lower().startswith(_REASONS):
            return label
    return None


def _another_label(rest: str, labels: Sequence[str]) -> bool:
    """Whether a second label follows as an alternative: `yes, no, maybe` states none."""
    either = "|".join(_flexible(label) for label in sorted(labels, key=len, reverse=True))
    listed = rf"(?:[,/]|(?:,\s*)?\b(?:and|or)\b)\s*(?:or\s+)?(?:{either})\s*(?:$|[.,;/]|or\b)"
    return re.match(listed, rest, re.IGNORECASE) is not None


_REASONS = ("because", "since", "as ", "due to", "based on", "given")


def _mentions(text: str, labels: Sequence[str]) -> list[str]:
    """Labels named in `text` and not negated, each as its longest form (`irrelevant` is not `relevant`)."""
    ordered = sorted(labels, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w-])(?:{_flexible(label)})(?![\w-])" for label in ordered), re.IGNORECASE)
    found = []
    for match in pattern.finditer(text):
        if REJECTED_BEFORE.search(text[max(0, match.start() - 60) : match.start()]):
            continue
        if CONDITIONAL.match(text, match.end()):
            continue
        found.append(next(label for label in ordered if _plain(label) == _plain(match.group())))
    return found


def _flexible(label: str) -> str:
    """The label's words, however they are spaced or joined."""
    return r"[\s_\-,]+".join(re.escape(word) for word in re.findall(r"[^\W_]+", label))


def labels_in(text: str, labels: Sequence[str]) -> list[str]:
    """Every label that `text` names and does not negate, in order."""
    return _mentions(_bare(text), labels)
