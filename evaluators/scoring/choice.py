"""Judges a choice among lettered options in free text (labels: `evaluators.scoring.stated_label`).

The most explicit statement that the writer stands behind decides, the last one of its kind; an option that is
mentioned and rejected does not count, nor does the article in "A patient". Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from evaluators.benchmark import Outcome, Score
from evaluators.scoring import answers
from evaluators.scoring.choice_words import (
    AROUND,
    CALLED,
    CALLED_FALSE,
    CALLED_RIGHT,
    CONDITIONAL,
    GOES_ON_AS_ANSWER,
    REJECTED_AFTER,
    REJECTED_BEFORE,
    after_another,
    asserted,
    concluded,
    enumerated,
    hedged,
    is_name,
    judged_alone,
    leading,
    marked,
)
from evaluators.scoring.commitment import committed
from evaluators.scoring.typography import LEADS, plain_prose

TAIL = 20_000
_SHORT = 300  # of a text this short, naming one option's text is an answer


def score_letter(completion: str, gold: str, options: Mapping[str, str], *, truncated: bool = False) -> Score:
    """Compare the chosen letter with `gold`; the full text of an option counts as its letter."""
    text = answers.without_thinking(completion)
    found = find_letter(text, options, complete=not truncated)
    return judge(found, gold.upper(), truncated)


def judge(found: tuple[str, str] | None, gold: str, truncated: bool) -> Score:
    """The score of what was found, (choice, how), or of nothing."""
    if found is None:
        outcome = Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER
        return Score(0.0, outcome, None, "no choice found")
    chosen, how = found
    if plain_words(chosen) == plain_words(gold):
        return Score(1.0, Outcome.RIGHT, chosen, how)
    return Score(0.0, Outcome.WRONG, chosen, how)


def find_letter(text: str, options: Mapping[str, str], *, complete: bool = True) -> tuple[str, str] | None:
    """(letter, how it was found), or None. `complete` allows the forms that only a finished answer has."""
    text = plain_prose(text[-TAIL:])
    for found in answers.statements(text):
        if letter := _stated(found, options):
            return letter, found.how
    letters = "".join(options)
    own = committed(text)
    if letter := _last_accepted(asserted, letters, own) or _only_true(letters, text):
        return letter, "stated as correct"
    if letter := _text_called_right(own, options):
        return letter, "stated as correct"
    return _closing(own, options) if complete else None


def _closing(text: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """What a finished answer says without calling it one: in its last or first line, by an option's text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    ends = (("last line", lines[-1]), ("first line", lines[0]))
    for how, line in ends:
        if (alone := line.strip(AROUND).upper()) in options:
            return alone, how
    letters = "".join(options)
    if letter := _last_accepted(concluded, letters, lines[-1]):
        return letter, "conclusion"
    for how, line in ends:
        led = None if _listed(lines, how, letters) else _led_by(line, options)
        if led and _is_verdict(*led, options):
            return led[0], how
    named = sum(enumerated(letters).match(line) is not None for line in lines)
    if letter := _option_text(text.strip(), options, whole=len(text.strip()) <= _SHORT and named < 2):
        return letter, "text of the option"
    if hedged(letters).search(lines[-1]):
        return None
    letter = _ending(lines[-1], options)
    return (letter, "end of the last line") if letter else None


def _stated(found: answers.Found, options: Mapping[str, str]) -> str | None:
    if found.how == "correction":
        return _corrected(found.text, options)
    if found.line != found.text and (letter := _option_text(found.line, options, whole=False)):
        return letter
    return _letter_in(found.text, options)


def _letter_in(statement: str, options: Mapping[str, str]) -> str | None:
    statement = _ADVERBS.sub("", bare(statement))
    if re.match(r"(?:not|n't|neither)\b", statement, re.IGNORECASE):
        return _instead(statement, options)
    if (alone := statement.strip(AROUND).upper()) in options:  # before the texts: an option's text may be a letter
        return alone
    led = _led_by(statement, options)
    if led and re.match(r"[*_\"']*[).:\]]", led[1]):  # `(C) Age. Tumor stage is …` names two texts and chooses C
        return led[0]
    if letter := _option_text(statement, options, whole=True):
        return letter
    if led:
        return led[0]
    letters = "".join(options)
    if hedged(letters).match(statement):
        return None
    if letter := _last_accepted(asserted, letters, statement):
        return letter
    found = {_named(match) for match in marked(letters).finditer(statement)}
    return found.pop() if len(found) == 1 else None


def _corrected(statement: str, options: Mapping[str, str]) -> str | None:
    """The letter, or the option's text, that is all a correction says."""
    statement = re.sub(r"(?i)^(?:the\s+)?(?:option|choice|answer|letter)\s+", "", bare(statement))
    statement = re.split(r",|\s+(?:because|since|as|not)\b", statement)[0]
    alone = statement.strip(AROUND)
    return alone.upper() if alone.upper() in options else _option_text(statement, options, whole=False)


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
    if plain_words(rest) == plain_words(options[letter]):
        return True
    return not CALLED_FALSE.match(rest) and GOES_ON_AS_ANSWER.match(rest) is not None


def _listed(lines: list[str], how: str, letters: str) -> bool:
    """Whether the line beside the first or last one is about the next option: then they list options."""
    if len(lines) < 2:
        return False
    pair = lines[-2:] if how == "last line" else lines[:2]
    about = [enumerated(letters).match(line) for line in pair]
    places = [letters.index(match["letter"]) for match in about if match]
    return len(places) == 2 and places[1] == places[0] + 1


def _only_true(letters: str, text: str) -> str | None:
    """The one option that is called true where every option is judged in turn: `A: Incorrect. B: Correct.`"""
    judged = {match["letter"]: CALLED.match(match["verdict"]) for match in judged_alone(letters).finditer(text)}
    for line in text.splitlines():
        line = line[:_SHORT]
        if (about := enumerated(letters).match(line)) and about["letter"] not in judged:
            judged[about["letter"]] = CALLED.search(line, about.end() - 1)
    called = {letter: match.lastgroup for letter, match in judged.items() if match}
    true = [letter for letter, verdict in called.items() if verdict in ("true", "tick")]
    return true[0] if len(true) == 1 and len(called) > 1 else None


_ADVERBS = re.compile(
    r"^(?:(?:therefore|thus|then|hence|clearly|most\s+likely|likely|probably|definitely|simply|indeed|still|actually|"
    r"certainly|obviously|instead)\b[\s,:]*)+",
    re.IGNORECASE,
)


def _instead(statement: str, options: Mapping[str, str]) -> str | None:
    """`not B but C` chooses C."""
    turn = r"(?i:\bbut\s+(?:rather\s+)?|\bit(?:'s|\s+is)\s+|\brather,?\s+)"
    match = re.search(rf"{turn}(?:option\s+)?[*(]*([{''.join(options)}])\b", statement)
    if match:
        return match.group(1)
    but = re.search(r"\bbut\s+(?:rather\s+)?(.+)", statement)
    return _option_text(but.group(1), options, whole=True) if but else None


def _option_text(text: str, options: Mapping[str, str], *, whole: bool) -> str | None:
    """The letter whose text is all that is said; with `whole`, the only one whose text is said at all."""
    plain = plain_words(text)
    same = [letter for letter, option in options.items() if plain_words(option) == plain]
    if len(same) == 1 and plain:
        return same[0]
    if not whole or not plain:
        return None
    said = [letter for letter, option in options.items() if _contains(plain, plain_words(option))]
    longest = [
        letter
        for letter in said
        if not any(
            _contains(plain_words(options[other]), plain_words(options[letter])) for other in said if other != letter
        )
    ]
    if len(longest) != 1:
        return None
    where = plain.find(plain_words(options[longest[0]]))
    return None if re.search(r"\b(?:not|unlike|than|except)\W*$", plain[:where]) else longest[0]


def _text_called_right(text: str, options: Mapping[str, str]) -> str | None:
    """`Cross-linking of DNA is the best answer`, where no other option's text is called so."""
    words = f" {plain_words(text)} "
    named = []
    for letter, option in options.items():
        said = f" {plain_words(option)}"
        place = words.find(said) if len(said) > 3 else -1
        while place >= 0 and not CALLED_RIGHT.match(words, place + len(said)):
            place = words.find(said, place + 1)
        named += [letter] if place >= 0 else []
    return named[0] if len(named) == 1 else None


def _contains(text: str, part: str) -> bool:
    return len(part) >= 3 and f" {part} " in f" {text} "


def _ending(line: str, options: Mapping[str, str]) -> str | None:
    """The letter in brackets, in bold or after `option` with which a line ends, with or without its option's text."""
    match = next(reversed(list(marked("".join(options)).finditer(line))), None)
    if match is None or _is_rejected(line, *match.span(match.lastgroup or 0), match.start()):
        return None
    rest = plain_words(line[match.end() :])
    return _named(match) if rest in ("", plain_words(options[_named(match)])) else None


def _last_accepted(pattern: Callable[[str], re.Pattern[str]], letters: str, text: str) -> str | None:
    """The last match that is not rejected before or after it, one of several, or part of a name."""
    for match in reversed(list(pattern(letters).finditer(text))):
        start, end = match.span(match.lastgroup or 0)
        named = match.lastgroup == "subject" and is_name(text, match.start())
        several = hedged(letters).match(text, start) or after_another(letters).search(text[max(0, start - 30) : start])
        if not named and not several and not _is_rejected(text, start, end, match.start()):
            return _named(match)
    return None


def _is_rejected(text: str, start: int, end: int, begins: int) -> bool:
    if any(REJECTED_BEFORE.search(text[max(0, place - 60) : place]) for place in (start, begins)):
        return True
    return REJECTED_AFTER.match(text[end : end + 60]) is not None


def _named(match: re.Match[str]) -> str:
    return next(group for group in match.groupdict().values() if group).upper()


def bare(text: str) -> str:
    r"""A statement without `\text{}`, dollars, quotes, arrows and ticks around it."""
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = text.replace("$", "").strip(" \t\n*_`\"'")
    led = LEADS.match(text)
    return text[led.end() :].strip(" \t\n*_`\"'") if led else text


def plain_words(text: str) -> str:
    """Lower case, words and arrows only."""
    return " ".join(re.findall(r"[^\W_]+|[↑↓↔]", text.lower()))
