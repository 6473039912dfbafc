r"""Sets of real numbers: `(-\infty,-1)\cup(1,\infty)`, `x<-1 \text{ or } x>1`, `-1<x<1`, `x \neq 5`.

Reads each form as intervals with their ends as text; how ends are compared is the caller's. Pure text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from evaluators.scoring.numbers import read_number, tidy, unwrap


@dataclass(frozen=True)
class Interval:
    """Ends as they are written; an infinite end is empty and open."""

    left: str
    right: str
    left_closed: bool
    right_closed: bool


@dataclass(frozen=True)
class RealSet:
    """A union of intervals; `variable` is empty where none is named."""

    parts: tuple[Interval, ...]
    variable: str = ""


_SIGNS = (
    (r"\\(?:leqslant|leq|le)(?![a-zA-Z])|=<|≤", "<="),
    (r"\\(?:geqslant|geq|ge)(?![a-zA-Z])|≥", ">="),
    (r"\\lt(?![a-zA-Z])", "<"),
    (r"\\gt(?![a-zA-Z])", ">"),
    (r"\\(?:neq|ne)(?![a-zA-Z])|\\not\s*=|!=", "!="),
    (r"\\(?:cup|lor|vee)(?![a-zA-Z])|\bor\b|\bU\b", "∪"),
    (r"\\(?:cap|land|wedge)(?![a-zA-Z])|\band\b", "&"),
    (r"\\(?:setminus|backslash|smallsetminus)(?![a-zA-Z])", "∖"),
    (r"\\mathbb\s*\{?\s*R\s*\}?|\\R\b|\bR(?=\s*∖)", "ℝ"),
    (r"\+\s*\\infty", r"\\infty"),
)
_NAME = r"(?:[a-zA-Z]|\\[a-zA-Z]+|[a-zA-Z]\([a-zA-Z]\))"
_BUILDER = re.compile(rf"\\?\{{\s*{_NAME}\s*(?:\\in\s*ℝ\s*)?(?:\\mid|:|\||\\vert|\\colon)\s*(?P<rule>.+?)\s*\\?\}}")
_MEMBER = re.compile(rf"(?P<name>{_NAME})\s*\\in\s*(?=[(\[\]ℝ])")
_WITHOUT = re.compile(r"ℝ\s*(?:∖|-)\s*\\?\{(?P<points>[^{}]+?)\\?\}")
_SIGN = re.compile(r"(<=|>=|!=|<|>)")
_LONGEST = 300


def read_set(text: str) -> RealSet | None:
    """The set that `text` describes; None for anything else."""
    if len(text) > _LONGEST:
        return None
    text = unwrap(tidy(text))
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, f" {sign} ", text)
    text = re.sub(r"\s+", " ", text).strip()
    if match := _BUILDER.fullmatch(text):
        text = match["rule"]
    name = ""
    if match := _MEMBER.match(text):
        name, text = match["name"], text[match.end() :].strip()
        text = re.sub(r"^ℝ\s*,\s*(?=\S)", "", text)
    if text == "ℝ":
        return RealSet((Interval("", "", False, False),), name)
    if match := _WITHOUT.fullmatch(text):
        return _all_but([point.strip() for point in match["points"].split(",")], name)
    sets = [_part(part.strip()) for part in re.split(r"∪|(?<=[)\]])\s*&\s*(?=[(\[])", text)]
    if any(one is None for one in sets):
        return None
    names = {one.variable for one in sets if one and one.variable} | ({name} if name else set())
    if len(names) > 1:
        return None
    return RealSet(tuple(part for one in sets if one for part in one.parts), names.pop() if names else "")


def _part(text: str) -> RealSet | None:
    if bracketed := _bracketed(text):
        return RealSet((bracketed,))
    rules = [_inequality(rule.strip()) for rule in text.split("&")]
    if any(rule is None for rule in rules):
        return None
    known = [rule for rule in rules if rule is not None]
    if len({rule.variable for rule in known}) > 1:
        return None
    if len(known) == 1:
        return known[0]
    return _both(known) if all(len(rule.parts) == 1 for rule in known) else _without_points(known)


def _both(rules: list[RealSet]) -> RealSet | None:
    """`x > -1` and `x < 1`: one end each."""
    parts = [rule.parts[0] for rule in rules]
    lower, upper = [part for part in parts if part.left], [part for part in parts if part.right]
    if len(parts) != 2 or len(lower) != 1 or len(upper) != 1 or lower == upper:
        return None
    both = Interval(lower[0].left, upper[0].right, lower[0].left_closed, upper[0].right_closed)
    return RealSet((both,), rules[0].variable)


def _without_points(rules: list[RealSet]) -> RealSet | None:
    """`x \\neq 2` and `x \\neq -2`."""
    if any(len(rule.parts) != 2 or rule.parts[0].right != rule.parts[1].left for rule in rules):
        return None
    return _all_but([rule.parts[0].right for rule in rules], rules[0].variable)


def _all_but(points: list[str], name: str) -> RealSet | None:
    if len(points) > 1:
        numbers = {point: read_number(point) for point in points}
        if any(number is None for number in numbers.values()):
            return None
        points = sorted(points, key=lambda point: numbers[point].value)  # type: ignore[union-attr]
    ends = ["", *points, ""]
    return RealSet(tuple(Interval(a, b, False, False) for a, b in pairwise(ends)), name)


def _bracketed(text: str) -> Interval | None:
    match = re.fullmatch(r"(?P<opens>[(\[\]])(?P<inside>.+)(?P<closes>[)\]\[])", text)
    if match is None:
        return None
    ends = _split(match["inside"])
    if ends is None or len(ends) != 2 or not all(ends):
        return None
    left, right = (_end(end) for end in ends)
    return Interval(left, right, bool(left) and match["opens"] == "[", bool(right) and match["closes"] == "]")


def _split(text: str) -> list[str] | None:
    """At the commas outside of brackets; None where brackets do not match."""
    depth, parts, start = 0, [], 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return None
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return None if depth else [*parts, text[start:].strip()]


def _end(text: str) -> str:
    return "" if re.fullmatch(r"[-+]?\s*\\infty", text.strip()) else text.strip()


def _inequality(text: str) -> RealSet | None:
    terms = [term.strip() for term in _SIGN.split(text)]
    if not all(terms):
        return None
    if len(terms) == 3:
        left, sign, right = terms
        if not re.fullmatch(_NAME, left) or re.fullmatch(r"\\infty", left):
            left, sign, right = right, {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}[sign], left
        if not re.fullmatch(_NAME, left) or re.search(r"[<>=]", right):
            return None
        if sign == "!=":
            points = _split(right)
            return _all_but(points, left) if points else None
        closed = "=" in sign and bool(_end(right))
        if sign[0] == ">":
            return RealSet((Interval(_end(right), "", closed, False),), left)
        return RealSet((Interval("", _end(right), False, closed),), left)
    if len(terms) != 5:
        return None
    low, first, name, second, high = terms
    if first[0] != second[0] or first[0] not in "<>" or not re.fullmatch(_NAME, name):
        return None
    if first[0] == ">":
        low, first, second, high = high, second, first, low
    left, right = _end(low), _end(high)
    return RealSet((Interval(left, right, bool(left) and "=" in first, bool(right) and "=" in second),), name)


def same_set(gold: RealSet, answer: RealSet, same_end: Callable[[str, str], bool]) -> bool | None:
    """Whether the parts are the same in any order; None where their number differs and touching parts might join."""
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    if len(gold.parts) != len(answer.parts):
        return None
    left = list(answer.parts)
    for part in gold.parts:
        match = next((other for other in left if _same(part, other, same_end)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same(one: Interval, other: Interval, same_end: Callable[[str, str], bool]) -> bool:
    if (one.left_closed, one.right_closed) != (other.left_closed, other.right_closed):
        return False
    pairs = ((one.left, other.left), (one.right, other.right))
    return all(bool(a) == bool(b) and (not a or same_end(a, b)) for a, b in pairs)


def ascending(text: str) -> str:
    """A chain of `>` written the other way round, so that it compares with one of `<`; anything else as it is."""
    terms = re.split(r"\s*(>|\\gt(?![a-zA-Z]))\s*", text)
    if len(terms) < 3 or "<" in text or any(re.search(r"[=≥]|\\g?le?q|\\ge", term) for term in terms[::2]):
        return text
    return " < ".join(reversed(terms[::2]))
