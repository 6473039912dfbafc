r"""Judges a mathematical answer: what is extracted, and whether it equals the gold answer.

Cheap and exact comparisons first (text, plain numbers); only the rest goes to sympy, in a process of its own
with limits that hold (`evaluators.scoring.math_worker`). Imports neither sympy nor math_verify.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from evaluators.benchmark import Outcome, Score
from evaluators.scoring import answers
from evaluators.scoring.forms import enclosed, one_form, states
from evaluators.scoring.isolation import IsolatedCalls, IsolatedFailure, Limits
from evaluators.scoring.numbers import Plain, last_number, read_number, same_number, tidy, unwrap

MAX_ANSWER_CHARS = 2000
_SEGMENT = re.compile(r"\$\$?(.+?)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_BASE = re.compile(r"(?P<digits>[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)_\{?(?P<base>\d{1,2})\}?")
# "The answer is not 18" states none.
_DENIED = re.compile(
    r"(?:\\\w+\{)?\s*(?:definitely\s+|certainly\s+)?not\s+(?:equal\s+to\s+)?[}\s$\\(*-]*\d", re.IGNORECASE
)
_DENIED_BEFORE = re.compile(r"(?:\bnot|n't|\bcannot)(?:\s+be)?[\s$*]*$", re.IGNORECASE)
_LETTER = re.compile(r"\(?\s*(?P<letter>[A-Za-z])\s*\)?\.?")


def score_math(completion: str, gold: str, *, truncated: bool = False) -> Score:
    """Compare the final answer of `completion` with `gold` (LaTeX or plain)."""
    text = answers.without_thinking(completion)
    candidate = _extract(text, truncated, gold)
    if candidate is None:
        outcome = Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER
        return Score(0.0, outcome, None, "no final answer found")
    extracted, how = candidate
    if len(extracted) > MAX_ANSWER_CHARS:
        return Score(0.0, Outcome.WRONG, extracted[:200], f"{how}: longer than {MAX_ANSWER_CHARS} characters")
    try:
        equal, why = same_answer(gold, extracted)
        if not equal and how == "boxed" and (joined := _joined_boxes(text, gold)):
            equal, why = same_answer(gold, joined)
            extracted = joined if equal else extracted
    except IsolatedFailure as e:
        return Score(None, Outcome.GRADER_FAILED, extracted, f"{how}: {e}")
    outcome = Outcome.RIGHT if equal else Outcome.WRONG
    return Score(1.0 if equal else 0.0, outcome, extracted, f"{how}: {why}")


def same_answer(gold: str, answer: str) -> tuple[bool, str]:
    """Whether the two say the same, and by which comparison. IsolatedFailure where sympy did not end."""
    gold_tidy, answer_tidy = tidy(gold), tidy(answer)
    if not answer_tidy:
        return False, "empty"
    if _squeezed(gold_tidy) == _squeezed(answer_tidy):
        return True, "same text"
    if match := _BASE.fullmatch(unwrap(gold_tidy).replace(" ", "")):
        return _same_in_base(match, answer_tidy), "digits and base"
    gold_number, answer_number = read_number(gold_tidy), read_number(answer_tidy)
    if gold_number is not None and answer_number is not None:
        return same_number(gold_number, answer_number), "numbers"
    if words := _words(gold_tidy):
        said = _words(answer_tidy)
        same = words == said or states(words, answer_tidy) or _same_letter(gold_tidy, answer_tidy)
        return same, "words"
    if {enclosed(gold_tidy), enclosed(answer_tidy)} == {"braces", "parentheses"}:
        return False, "a set is no point and no interval"
    return _symbolic(*one_form(gold_tidy, answer_tidy), gold_number)


def _symbolic(gold: str, answer: str, gold_number: Plain | None) -> tuple[bool, str]:
    if gold_number is not None and not re.search(r"\d|\\pi|\be\b", answer):
        return False, "no number"
    reply = _worker().call({"gold": _braced(gold), "answer": _braced(_without_prose(answer))})
    return bool(reply["equal"]), "symbolic" if reply["parsed"] else "could not be parsed"


@cache
def _worker() -> IsolatedCalls:
    return IsolatedCalls("evaluators.scoring.math_worker", Limits(cpu_s=5.0, wall_s=45.0, memory_mb=2048))


def _extract(text: str, truncated: bool, gold: str) -> tuple[str, str] | None:
    found = answers.explicit(text)
    if found is not None and found.how == "phrase" and _DENIED.match(found.text):
        kept = [rest for rest in answers.phrases(text) if not _DENIED.match(rest)]
        found = answers.Found(kept[-1], "phrase") if kept else None
    if found is not None:
        if found.how == "phrase":
            return _from_phrase(found.text), "phrase"
        if found.how == "boxed" and (rests := answers.phrases(unwrap(found.text))):
            if _DENIED.match(rests[-1]):
                return found.text, "boxed"
            return _from_phrase(rests[-1]), "boxed"  # \\boxed{\\text{The answer is } 18}
        return found.text, found.how
    if truncated:
        return None  # a number in the middle of a calculation is no answer
    tail = text.rstrip()[-2000:]
    if read_number(tidy(gold)) is None and (segments := _segments(tail)):
        return segments[-1], "last formula"
    if (number := last_number(tail)) is not None and not _DENIED_BEFORE.search(tail[: tail.rindex(number)]):
        return number, "last number"
    if (segments := _segments(tail)) and read_number(tidy(gold)) is not None:
        return segments[-1], "last formula"
    return (tail.strip(), "whole text") if 0 < len(tail.strip()) <= 40 else None


def _segments(text: str) -> list[str]:
    return [next(part for part in match.groups() if part is not None) for match in _SEGMENT.finditer(text)]


def _from_phrase(rest: str) -> str:
    """The answer within 'the answer is …': the whole where it is one, else its first formula or number."""
    if read_number(rest) is not None:
        return rest
    if segments := _segments(rest):
        first = _SEGMENT.search(rest)
        before = rest[: first.start()] if first else ""
        if not re.search(r"\d", before):
            return segments[0]
    sentence = re.split(r"(?<=[^\d\s])\.(?:\s|$)|\.\s|\s(?:because|since|as|which|so)\s", rest)[0]
    if read_number(sentence) is not None or not re.search(r"\d", sentence):
        return sentence
    if "=" in sentence:
        return sentence.rsplit("=", 1)[1]
    if re.fullmatch(r"(?:\s*[A-Za-z']{2,}\s+)*.{0,3}[-\d].*", sentence) and re.match(r"[A-Za-z']{2,}\s", sentence):
        return last_number(sentence) or sentence
    return sentence


def _joined_boxes(text: str, gold: str) -> str | None:
    """Several answers boxed one by one, where the gold answer is a list."""
    boxes = [box for box in answers.boxed(text) if box]
    parts = len(re.split(r",(?!\\!)", tidy(gold)))
    if parts < 2 or len(boxes) < parts or tidy(gold).startswith(("(", "[", "\\{")):
        return None
    return ", ".join(boxes[-parts:])


def _squeezed(text: str) -> str:
    text = re.sub(r"\\[dt]frac", r"\\frac", unwrap(text))
    text = re.sub(r"(?<=\d)\s+(?=\d)", "~", text)  # `1 8` is not 18
    return re.sub(r"\s+|\\displaystyle", "", text)


def _words(text: str) -> str | None:
    """The words of an answer that is only words, in lower case; None where it holds any mathematics."""
    plain = unwrap(text).strip()
    if not re.fullmatch(r"[(]?[A-Za-z]+[)]?(?:[\s'’,.-]+[A-Za-z]+)*", plain) or " - " in plain:
        return None
    if not re.search(r"[A-Za-z]{3}|no|^\(?[A-Z]\)?$", plain) or "\\" in plain:
        return None  # single letters are variables
    plain = re.sub(r"[^a-z ]", "", plain.lower().replace("-", " "))
    return re.sub(r"^(?:the|a|an)\s+", "", plain).strip() or None


def _same_letter(gold: str, answer: str) -> bool:
    expected = _LETTER.fullmatch(unwrap(gold))
    if expected is None:
        return False
    given = unwrap(answer)
    got = _LETTER.fullmatch(given) or re.match(r"\(\s*(?P<letter>[A-Z])\s*\)", given)
    return got is not None and got["letter"].upper() == expected["letter"].upper()


def _same_in_base(gold: re.Match[str], answer: str) -> bool:
    squeezed = unwrap(answer).replace(" ", "").replace(",", "")
    squeezed = re.sub(r"_\{?(?:base)?\{?(\d{1,2})\}*$", r"_\1", squeezed)
    return squeezed in (f"{gold['digits']}_{gold['base']}", gold["digits"])


def _braced(text: str) -> str:
    r"""`\\sqrt2` and `\\frac \\pi4` with the braces that LaTeX implies and parsers guess at."""
    text = re.sub(r"\\sqrt\s*(\d|[a-zA-Z](?![a-zA-Z]))", r"\\sqrt{\1}", text)
    token = r"(\d|[a-zA-Z]|\\[a-zA-Z]+)"
    text = re.sub(rf"\\([dt]?frac|[dt]?binom)\s*{token}\s*{token}", r"\\\1{\2}{\3}", text)
    text = text.replace("\\varnothing", "\\emptyset")
    return re.sub(rf"\\[dt]?frac\s*{token}\s*\{{", r"\\frac{\1}{", text)


@lru_cache(maxsize=1024)
def _without_prose(answer: str) -> str:
    """`x = 3 or x = 5` becomes a list, so that it is compared as a set."""
    return re.sub(r"\s*(?:,\s*)?\b(?:or|and)\b\s*", ", ", unwrap(answer)) if "\\" not in answer else answer
