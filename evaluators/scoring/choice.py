"""Judges a choice among lettered options or among labels (yes/no/maybe, entailed/refuted, …) in free text.

The most explicit statement decides, the last one of its kind; an option that is mentioned and rejected does
not count, nor does the article in "A patient". Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from evaluators.benchmark import Outcome, Score
from evaluators.scoring import answers

_TAIL = 20_000
# What may follow the letter A where it is a choice and not an article.
_AFTER_A = r"(?=\s*(?:$|[\n.,;:!?)\]}*_\"'—–(]|-\s|(?:because|since|as|is|was|due|for|given|and|but|based|per)\b))"
_CORRECT = r"(?:(?:is|was|seems|appears|remains|being|as)\s+(?:clearly\s+|definitely\s+|thus\s+|also\s+|likely\s+)*)"
_GOOD = r"(?:the\s+|a\s+|most\s+|probably\s+|likely\s+)*(?:correct|right|best|appropriate|true|answer|likely)"
_REJECTED_AFTER = re.compile(
    r"[\s*_)\]\"':–—-]*(?:is|was|are|would\s+be|seems|can|could|cannot|does|doesn't|isn't|did|has|might|may)?\s*"
    r"(?:clearly\s+|also\s+|therefore\s+|definitely\s+)?"
    r"(?:not\b|n't|incorrect|wrong|false|ruled?\s+out|excluded|eliminated|unlikely|less\s+likely|no\s+longer|"
    r"isn't|doesn't|wasn't|cannot|can't|can\s+be\s+(?:ruled|excluded|eliminated|rejected))",
    re.IGNORECASE,
)
_REJECTED_BEFORE = re.compile(
    r"(?:\bnot|n't\s+be|n't|\bisn't|\bwasn't|rather\s+than|instead\s+of|rules?\s+out|ruling\s+out|ruled\s+out|"
    r"eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|reject(?:s|ed|ing)?|unlike|except|neither|nor|than|"
    r"tempting\s+to\s+(?:say|choose|pick)|discard(?:s|ed|ing)?|incorrect(?:ly)?|wrong(?:ly)?)"
    r"\s*(?:\b(?:be|is|it|the|option|options|choice|answer|choices)\b\s*)*[\s\"'(*:]*$",
    re.IGNORECASE,
)


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
    if letter := _last_accepted(_asserted(letters), text):
        return letter, "stated as correct"
    if not complete:
        return None
    stripped = text.strip()
    lines = [line.strip() for line in stripped.splitlines() if line.strip()]
    for how, line in (("last line", lines[-1]), ("first line", lines[0])) if lines else ():
        if (alone := line.strip("().:[]*# ").upper()) in options:
            return alone, how
        if (match := _leading(letters).match(line)) and not _REJECTED_AFTER.match(line[match.end() :]):
            return _named(match), how
    if letter := _option_text(stripped, options, whole=len(stripped) <= 300):
        return letter, "text of the option"
    if letter := _last_accepted(_marked(letters), text):
        return letter, "last letter in brackets"
    return None


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
    if (alone := statement.strip("().:[]{} ").upper()) in options:  # before the texts: an option's text may be a letter
        return alone
    if letter := _option_text(statement, options, whole=True):
        return letter
    match = _leading("".join(options)).match(statement)
    if match and not _REJECTED_AFTER.match(statement[match.end() :]):
        return _named(match)
    if letter := _last_accepted(_asserted("".join(options)), statement):
        return letter
    marked = {_named(found) for found in _marked("".join(options)).finditer(statement)}
    return marked.pop() if len(marked) == 1 else None


_ADVERBS = re.compile(
    r"^(?:(?:therefore|thus|then|hence|clearly|most\s+likely|likely|probably|definitely|simply)\b[\s,:]*)+",
    re.IGNORECASE,
)


def _instead(statement: str, options: Mapping[str, str]) -> str | None:
    """`not B but C` chooses C."""
    match = re.search(rf"\bbut\s+(?:rather\s+)?(?:option\s+)?[*(]*([{''.join(options)}])\b", statement)
    return match.group(1) if match else None


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
        if _REJECTED_BEFORE.search(text[max(0, start - 60) : start]):
            continue
        if _REJECTED_AFTER.match(text[end : end + 60]):
            continue
        return _named(match)
    return None


def _named(match: re.Match[str]) -> str:
    return next(group for group in match.groupdict().values() if group).upper()


def _bare(text: str) -> str:
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    return text.replace("$", "").strip(" \t\n*_`\"'")


@lru_cache(maxsize=64)
def _leading(letters: str) -> re.Pattern[str]:
    """A letter that opens a statement: `B`, `(B)`, `B. Because`, `**B)** text`, `Option B`."""
    others = letters.replace("A", "")
    return re.compile(
        r"[\s*_`\"'(\[{\\#]*(?i:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:option|choice|answer|letter)\s*[:–-]?\s*)?"
        rf"[*_`\"'(\[{{\\]*(?:(?P<a>A){_AFTER_A}|(?P<other>[{others or letters}])(?![\w'’]))",
    )


@lru_cache(maxsize=64)
def _asserted(letters: str) -> re.Pattern[str]:
    """`B is correct`, `I choose (B)`, `Option B is the best answer`, `go with B`."""
    return re.compile(
        rf"(?:\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+)?[*(\[\"']*\b(?P<subject>[{letters}])\b[*)\]\"']*\s*"
        rf"(?:\([^()\n]{{0,120}}\)\s*)?(?=(?:[:,\-–—][^.\n]{{0,120}}?)?\s*{_CORRECT}{_GOOD}\b)"
        r"|\b(?:choose|chose|choosing|select|selecting|pick|picking|go\s+with|going\s+with|opt\s+for|settle\s+on)\s+"
        rf"(?:the\s+)?(?:[Oo]ption\s+|[Cc]hoice\s+|[Aa]nswer\s+)?[*(\[\"']*(?P<object>[{letters}])\b(?!\s+[a-z]{{2,}}ing)"
        rf"|\b(?P<fits>[{letters}])\s+best\s+(?:explains|fits|describes|matches|answers|accounts)\b"
        rf"|\b(?:must|has\s+to|should)\s+be\s+(?:[Oo]ption\s+)?[*(]*(?P<must>[{letters}])\b(?=[*)]*\s*(?:[.,;]|$))"
    )


@lru_cache(maxsize=64)
def _marked(letters: str) -> re.Pattern[str]:
    """A letter in brackets or bold, or after `option`."""
    return re.compile(
        rf"\((?P<round>[{letters}])\)|\*\*\s*\(?(?P<bold>[{letters}])[).:]?\s*\*\*"
        rf"|\b(?:[Oo]ption|[Cc]hoice)\s+(?P<option>[{letters}])\b"
    )


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
        if not rest or rest[0] in ".,;:!?)]*_\"'—–-(`}" or rest.lower().startswith(_REASONS):
            return label
    return None


_REASONS = ("because", "since", "as ", "due to", "based on", "given")


def _mentions(text: str, labels: Sequence[str]) -> list[str]:
    """Labels named in `text` and not negated, each as its longest form (`irrelevant` is not `relevant`)."""
    ordered = sorted(labels, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w-])(?:{_flexible(label)})(?![\w-])" for label in ordered), re.IGNORECASE)
    found = []
    for match in pattern.finditer(text):
        if _REJECTED_BEFORE.search(text[max(0, match.start() - 60) : match.start()]):
            continue
        found.append(next(label for label in ordered if _plain(label) == _plain(match.group())))
    return found


def _flexible(label: str) -> str:
    """The label's words, however they are spaced or joined."""
    return r"[\s_\-,]+".join(re.escape(word) for word in re.findall(r"[^\W_]+", label))


def labels_in(text: str, labels: Sequence[str]) -> list[str]:
    """Every label that `text` names and does not negate, in order."""
    return _mentions(_bare(text), labels)
