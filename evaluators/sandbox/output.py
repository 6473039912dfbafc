"""Whether a program printed what was expected: by line, blanks at the ends aside, numbers by value."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines


def _same_token(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    if len(ours) > 400 or len(theirs) > 400 or not (_NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs)):
        return False
    try:
        return Decimal(ours) == Decimal(theirs)
    except InvalidOperation:
        return False


def same_output(printed: str, expected: str) -> bool:
    """Lines one by one; a line's words must be equal, or be equal decimal numbers (1 and 1.0)."""
    ours, theirs = _lines(printed), _lines(expected)
    if ours == theirs:
        return True
    if len(ours) != len(theirs):
        return False
    for left, right in zip(ours, theirs, strict=True):
        if left == right:
            continue
        words, wanted = left.split(), right.split()
        if len(words) != len(wanted) or not all(map(_same_token, words, wanted)):
            return False
    return True
