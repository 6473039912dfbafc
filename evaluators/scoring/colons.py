"""Clock times and ratios: `10:30` is no third, `1:03 p.m.` is `1:03 PM`, `4:6` is `2:3`. Pure text.

A colon does not say which of the two it is. What can be a clock time (`10:30`, not `2:3` or `1:75`) equals only the
same hour and minute, or a ratio of the same two terms; the rest are ratios, equal in proportion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from evaluators.scoring.numbers import read_number, tidy, unwrap


@dataclass(frozen=True)
class Clock:
    """`half` is `a`, `p`, or empty where it is not said."""

    hour: int
    minute: int
    half: str = ""


Ratio = tuple[Fraction, ...]

_CLOCK = re.compile(r"(?P<hour>\d{1,2})(?:\s?:\s?(?P<minute>\d\d))?(?:\s?(?P<half>[ap])\.?\s?m\.?)?", re.IGNORECASE)
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*(?::|\bto\b)\s*\d+(?:\.\d+)?)+")


def _plain(text: str) -> str:
    text = unwrap(tidy(text)).replace("{:}", ":").replace("\\colon", ":").strip(" .")
    return re.sub(r"^[A-Za-z]\w?\s*=\s*", "", text)


def read_clock(text: str) -> Clock | None:
    """The time that is all of `text`, with a colon or with its half of the day."""
    match = _CLOCK.fullmatch(_plain(text))
    if match is None or not (match["minute"] or match["half"]):
        return None
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    return Clock(hour, minute, (match["half"] or "").lower()) if hour <= 24 and minute < 60 else None


def read_ratio(text: str) -> Ratio | None:
    """The terms of `2:3` or `2 to 3`."""
    plain = _plain(text)
    if _RATIO.fullmatch(plain) is None:
        return None
    return tuple(Fraction(term) for term in re.findall(r"\d+(?:\.\d+)?", plain))


def same_time_or_ratio(gold: str, answer: str) -> bool | None:
    """Whether the two are the same time or ratio; None where neither side is one that can be told."""
    time, ratio = read_clock(gold), read_ratio(gold)
    if time is None and ratio is None:
        given = read_clock(answer)
        return False if given is not None and read_number(gold) is not None and ":" in answer else None
    if time is not None and (given := read_clock(answer)) is not None:
        halves = {time.half, given.half} - {""}
        return (time.hour, time.minute) == (given.hour, given.minute) and len(halves) < 2
    terms, number = read_ratio(answer), read_number(answer)
    if time is not None:
        if terms is not None:
            return terms == ratio
        return number is not None and time.minute == 0 and bool(time.half) and number.value == time.hour
    assert ratio is not None
    if terms is not None:
        pairs = zip(terms, ratio, strict=False)
        return len(terms) == len(ratio) and all(a * ratio[-1] == b * terms[-1] for a, b in pairs)
    return number is not None and len(ratio) == 2 and ratio[1] != 0 and number.value == ratio[0] / ratio[1]
