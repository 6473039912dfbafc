r"""Which number or formula a solution gives as its final answer. Text only; whether it is right: `math.py`.

The most explicit statement counts; only a finished answer may end in its result without calling it the answer.
"""

from __future__ import annotations

import re
from itertools import pairwise

from evaluators.scoring import answers
from evaluators.scoring.commitment import committed
from evaluators.scoring.numbers import find_last_number, last_number, read_number, tidy, unwrap
from evaluators.scoring.typography import LEADS

# Dollars enclose a formula where no space stands inside of them and no digit behind: `$2 + $3 = $5` are amounts.
_SEGMENT = re.compile(
    r"\$\$(.+?)(?<!\\)\$\$|\$(?!\s)((?:[^$\n\\]|\\.)+?)(?<!\s)\$(?!\d)"
    r"|\$ ((?:[^$\n\\]|\\.)+?) \$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|\\begin\{(?:align|equation|gather)\w*\*?\}(.+?)\\end\{(?:align|equation|gather)",
    re.DOTALL,
)
_SIDES = re.compile(r"=|\\approx(?![a-zA-Z])")
_RELATION = re.compile(r"[<>]|\\(?:l|g|n)eq?(?![a-zA-Z])|\\(?:in|leqslant|geqslant|mid|pmod|equiv)(?![a-zA-Z])")
# "The answer is not 18" states none.
_DENIED = re.compile(
    r"(?:\\\w+\{)?\s*(?:definitely\s+|certainly\s+)?not\s+(?:equal\s+to\s+)?[}\s$\\(*-]*\d", re.IGNORECASE
)
_DENIED_BEFORE = re.compile(r"(?:\bnot|n't|\bcannot)(?:\s+be)?[\s$*]*$", re.IGNORECASE)
_NOTHING = re.compile(
    r"[\W_]*(?:(?:is|are|currently|still)\s+)*(?:un(?:known|clear|certain|determined|decidable)|null|none|n/?a|"
    r"not\s+(?:known|clear|given|available|determined|enough\b.*)|to\s+be\s+determined|impossible\s+to\s+\w+|\?+)?[\W_]*",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:sorry|cannot|can't|unable|don't\s+know|do\s+not\s+know|no\s+idea|not\s+enough|need\s+more|impossible\s+to|"
    r"unknown|unclear|undetermined|depends|let\s+(?:me|us)|let's)\b|:\s*$|\b(?:is|answer)\W*$",
    re.IGNORECASE,
)
_PROSE = re.compile(r"\b[A-Za-z][a-z]{2,}\b")
# After the answer: "18, not 20", "18 rather than 20", "18 (since 9 + 9 = 18)".
_OTHERS = re.compile(r",?\s+(?:not|rather\s+than|instead\s+of|as\s+opposed\s+to)\s", re.IGNORECASE)
_REMARK = re.compile(r"(?<=\S)\s+\((?!mod\b)[^()]*[A-Za-z]{3,}[^()]*\)[\s.*]*$")
_REASON = re.compile(r"(?<=[^\d\s])\.(?:\s|$)|\.\s|\s(?:because|since|as|which|so)\s")
_JOINED = re.compile(r"\s*,?\s*(?:,|\bor\b|\band\b)\s*", re.IGNORECASE)
_SHORT = 40
# Sums that test the answer stand behind it.
_CHECK = re.compile(
    r"^\W*(?:check(?:ing)?|verif(?:y|ying|ication)|(?:let\s+me|let's|let\s+us|to)\s+(?:double-?\s?)?(?:check|verify))\b",
    re.IGNORECASE | re.MULTILINE,
)


def final_answer(text: str, gold: str, *, truncated: bool = False) -> tuple[str, str] | None:
    """(answer, how it was found), or None. `gold` says only what kind of answer is looked for."""
    for found in answers.statements(text):
        if not found.text or (found.how == "phrase" and _DENIED.match(found.text)):
            continue
        if found.how not in ("phrase", "correction", "boxed"):
            return None if _says_nothing(found.text) else (found.text, found.how)
        value = _VALUE[found.how](found.text)
        if value is not None:
            return None if _says_nothing(value) else (value, found.how)
    return None if truncated else _closing(text, gold)


def _says_nothing(value: str) -> bool:
    """`unknown`, `None`, or no letter and no digit at all."""
    return len(value) <= _SHORT and _NOTHING.fullmatch(unwrap(value)) is not None


def _closing(text: str, gold: str) -> tuple[str, str] | None:
    """The last formula or number of a finished answer, or all of a very short one."""
    tail = committed(text.rstrip()[-2000:], hypotheses=False)
    check = _CHECK.search(tail)
    if check and re.search(r"\d", tail[: check.start()]):
        tail = tail[: check.start()]
    segments = [match for match in _SEGMENT.finditer(tail) if not _PROSE.search(unwrapped_prose(_content(match)))]
    if segments and read_number(tidy(gold)) is None:
        formula = _content(segments[-1])
        return (formula.rsplit("=", 1)[-1] if formula.count("=") > 1 else formula), "last formula"
    values = [
        match for match in segments if re.search(r"\d", _content(match)) and not _RELATION.search(_content(match))
    ]
    number = find_last_number(tail)
    inside = number and next((match for match in segments if match.start() <= number.start() < match.end()), None)
    if values and number and (inside or number.end() <= values[-1].end()):
        return _number_in(_content(values[-1])), "last formula"
    if number and not _DENIED_BEFORE.search(tail[: number.start()]):
        return number.group().strip(), "last number"
    if segments:
        return _content(segments[-1]), "last formula"
    whole = tail.strip()
    empty = re.search(r"[^\W_]", re.sub(r"\\[a-zA-Z]+", "", whole)) is None
    if empty or len(whole) > _SHORT or _REFUSED.search(whole) or _says_nothing(whole):
        return None
    # The words "It is even." answer a question for a word, and no question for a number.
    worded = _PROSE.search(unwrapped_prose(whole)) is not None
    return (whole, "whole text") if not worded or _PROSE.search(unwrapped_prose(unwrap(gold))) else None


def _number_in(formula: str) -> str:
    r"""The last side of `36 - 19 = 17 = x` or `3/7 \approx 0.43` that is a number; else the last side."""
    sides = [side.strip() for side in _SIDES.split(formula)]
    return next((side for side in reversed(sides) if read_number(side) is not None), sides[-1])


def unwrapped_prose(formula: str) -> str:
    r"""What a formula says in words outside of its commands: nothing for `\frac{\text{cm}}{2}`."""
    command = r"\\(?:text|mbox|mathrm|textbf|mathbf|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+|\{[a-z]+\}"
    return re.sub(command, " ", re.sub(r"\\(?:begin|end)\s*\{\w+\*?\}", " ", formula))


def _content(match: re.Match[str]) -> str:
    """What a formula says; of several aligned rows the last side of the last."""
    content = next(part for part in match.groups() if part is not None)
    if match.group().startswith("\\begin") or "&=" in content:
        content = re.split(r"&\s*=|=\s*&", content)[-1].split("\\end{")[0]
    return content.strip()


def _segments(text: str) -> list[re.Match[str]]:
    return list(_SEGMENT.finditer(text))


def _from_phrase(rest: str) -> str:
    """The answer within 'the answer is …': the whole where it is one, else its first formula or number."""
    lead = LEADS.match(rest)
    rest = (rest[lead.end() :] if lead else rest).rstrip("✅✔ ")
    if len(rest) > 1 and rest[0] == '"' and '"' in rest[1:]:
        rest = rest[1 : rest.index('"', 1)]
    rest = _REMARK.sub("", _OTHERS.split(rest, maxsplit=1)[0])
    if read_number(rest) is not None:
        return rest
    if listed := _several(rest):
        return listed
    if (segments := _segments(rest)) and not re.search(r"\d", rest[: segments[0].start()]):
        return _content(segments[0])
    sentence = _REASON.split(rest)[0]
    if read_number(sentence) is not None or not re.search(r"\d", sentence):
        return sentence
    if "=" in sentence:
        return sentence.rsplit("=", 1)[1]
    if re.fullmatch(r"(?:\s*[A-Za-z']{2,}\s+)*.{0,3}[-\d].*", sentence) and re.match(r"[A-Za-z']{2,}\s", sentence):
        return last_number(sentence) or sentence
    return sentence


def _several(rest: str) -> str | None:
    """Formulas that are joined and nothing else: `$x=1$ or $x=-2$`."""
    segments = _segments(rest)
    if len(segments) < 2 or rest[: segments[0].start()].strip(" *_"):
        return None
    between = (rest[one.end() : other.start()] for one, other in pairwise(segments))
    if not all(_JOINED.fullmatch(text) for text in between):
        return None
    return ", ".join(_content(segment) for segment in segments)


def _from_correction(rest: str) -> str | None:
    """The number or formula that is all a correction says."""
    rest = _OTHERS.split(rest, maxsplit=1)[0].strip(" *_")
    if read_number(rest) is not None:
        return rest
    segments = _segments(rest)
    if len(segments) == 1 and not _PROSE.search(rest[: segments[0].start()] + rest[segments[0].end() :]):
        return _content(segments[0])
    return None


def _from_box(content: str) -> str | None:
    r"""What a box holds; of a sentence in it (`\text{The answer is } 18`) its answer."""
    rests = answers.phrases(unwrap(content))
    if not rests or _DENIED.match(rests[-1]):
        return content
    return _from_phrase(rests[-1])


_VALUE = {"phrase": _from_phrase, "correction": _from_correction, "boxed": _from_box}
