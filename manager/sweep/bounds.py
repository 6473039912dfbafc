"""Numbers that a library would take and nobody means: a bound for each, from rows of the catalogue. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def out_of_bounds(value: Any, bound: Mapping[str, Any]) -> str | None:
    """What is wrong with a number, in words; `bound`: least, most, above, below, `or` (one more value), whole."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value == bound.get("or"):
        return None
    if not math.isfinite(value):
        return None  # told as such
    fits = (
        value >= bound.get("least", value)
        and value <= bound.get("most", value)
        and ("above" not in bound or value > bound["above"])
        and ("below" not in bound or value < bound["below"])
        and (not bound.get("whole") or isinstance(value, int))
    )
    return None if fits else f"{value} is out of its range: {in_words(bound)}"


def in_words(bound: Mapping[str, Any]) -> str:
    """`above 0 and at most 1`, with the meaning of the value beside it."""
    words = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    told = " and ".join(f"{word} {bound[key]:g}" for key, word in words.items() if key in bound)
    told = f"a whole number, {told}" if bound.get("whole") else told
    return f"{told}, or {bound['or']}: {bound['means']}" if "or" in bound else told
