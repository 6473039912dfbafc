r"""Judges a mathematical answer: what is extracted, and whether it equals the gold answer.

Cheap and exact comparisons first (text, plain numbers); only the rest goes to sympy, in a process of its own
with limits that hold (`evaluators.scoring.math_worker`). Imports neither sympy nor math_verify.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from evaluators.benchmark import Outcome, Score
from evaluators.scoring import answers
from evaluators.scoring.colons import same_time_or_ratio
from evaluators.scoring.forms import enclosed, one_form, same_list, states, without_label, without_unit
from evaluators.scoring.intervals import ascending, read_set, same_set
from evaluators.scoring.isolation import IsolatedCalls, IsolatedFailure, Limits
from evaluators.scoring.math_answer import final_answer
from evaluators.scoring.numbers import Plain, read_number, same_number, tidy, unwrap
from evaluators.scoring.typography import plain_mathematics

MAX_ANSWER_CHARS = 2000
_BASE = re.compile(r"(?P<digits>[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)_\{?(?P<base>\d{1,2})\}?")
_BASES = {
    name: str(base)
    for base, name in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=2
    )
}
_LETTER = re.compile(r"\(?\s*(?P<letter>[A-Za-z])\s*\)?\.?")


def score_math(completion: str, gold: str, *, truncated: bool = False) -> Score:
    """Compare the final answer of `completion` with `gold` (LaTeX or plain)."""
    text = plain_mathematics(answers.without_thinking(completion)[-answers.MAX_TAIL :])
    candidate = final_answer(text, gold, truncated=truncated)
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
    gold_tidy, answer_tidy = (tidy(plain_mathematics(text)) for text in (gold, answer))
    if not answer_tidy:
        return False, "empty"
    if _squeezed(gold_tidy) == _squeezed(answer_tidy):
        return True, "same text"
    if match := _BASE.fullmatch(unwrap(gold_tidy).replace(" ", "")):
        return _same_in_base(match, answer_tidy), "digits and base"
    gold_number, answer_number = read_number(gold_tidy), read_number(without_label(answer_tidy))
    if gold_number is not None and answer_number is not None:
        return same_number(gold_number, answer_number), "numbers"
    for compare, name in ((same_time_or_ratio, "time or ratio"), (_same_interval, "intervals"), (same_list, "list")):
        if (same := compare(gold_tidy, answer_tidy)) is not None:
            return same, name
    if words := _words(gold_tidy):
        said = _words(answer_tidy)
        same = words == said or states(words, answer_tidy) or _same_letter(gold_tidy, answer_tidy)
        return same, "words"
    if {enclosed(gold_tidy), enclosed(answer_tidy)} == {"braces", "parentheses"}:
        return False, "a set is no point and no interval"
    return _symbolic(*one_form(gold_tidy, answer_tidy), gold_number)


def _same_interval(gold: str, answer: str) -> bool | None:
    wanted = read_set(gold)
    given = read_set(answer) if wanted else None
    return same_set(wanted, given, lambda a, b: same_answer(a, b)[0]) if wanted and given else None


def _symbolic(gold: str, answer: str, gold_number: Plain | None) -> tuple[bool, str]:
    if gold_number is not None and not re.search(r"\d|\\pi|\be\b", answer):
        return False, "no number"
    gold, answer = (_braced(_without_prose(ascending(without_unit(text)))) for text in (gold, answer))
    reply = _worker().call({"gold": gold, "answer": answer})
    return bool(reply["equal"]), "symbolic" if reply["parsed"] else "could not be parsed"


@cache
def _worker() -> IsolatedCalls:
    return IsolatedCalls("evaluators.scoring.math_worker", Limits(cpu_s=5.0, wall_s=45.0, memory_mb=2048))


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
    squeezed = re.sub(r"[\s,]", "", unwrap(answer)).lower()
    squeezed = squeezed.rsplit("=", 1)[-1]
    squeezed = re.sub(r"\(?base-?(\w+?)\)?$", r"_\1", squeezed)
    squeezed = re.sub(r"^\((\w+)\)(?=_)", r"\1", squeezed)
    squeezed = re.sub(r"_[{(]*_?(\w+?)[})]*$", lambda match: f"_{_BASES.get(match[1], match[1])}", squeezed)
    return squeezed in (f"{gold['digits']}_{gold['base']}".lower(), gold["digits"].lower())


def _braced(text: str) -> str:
    r"""`\\sqrt2` and `\\frac \\pi4` with the braces that LaTeX implies and parsers guess at."""
    text = re.sub(r"\\sqrt\s*(\d|[a-zA-Z](?![a-zA-Z]))", r"\\sqrt{\1}", text)
    token = r"(\d|[a-zA-Z]|\\[a-zA-Z]+)"
    text = re.sub(rf"\\([dt]?frac|[dt]?binom)\s*{token}\s*{token}", r"\\\1{\2}{\3}", text)
    text = text.replace("\\varnothing", "\\emptyset")
    return re.sub(rf"\\[dt]?frac\s*{token}\s*\{{", r"\\frac{\1}{", text)


@lru_cache(maxsize=1024)
def _without_prose(text: str) -> str:
    """`x = 3 or x = 5` becomes a list, so that it is compared as a set."""
    text = text.replace("**", "^")
    if not re.search(r"\b(?:or|and)\b", text):
        return unwrap(text) if "\\" not in text else text
    return re.sub(r"(?:\s*,)?\s*\b(?:or|and)\b\s*(?:,\s*)?", ", ", unwrap(text))
