"""Dividing a number of rows by weight. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def shares(weights: Sequence[float], size: int) -> list[int]:
    """`size` divided by weight, largest remainders first, so that the parts add up."""
    total = sum(weights)
    exact = [size * weight / total for weight in weights]
    parts = [int(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[: size - sum(parts)]:
        parts[place] += 1
    return parts


def largest_size(weights: Sequence[float], lengths: Sequence[int]) -> int:
    """The most rows that can be drawn in these proportions without drawing one twice."""
    total = sum(weights)
    size = min(int(length * total / weight) for weight, length in zip(weights, lengths, strict=True) if weight > 0)
    while any(share > length for share, length in zip(shares(weights, size), lengths, strict=True)):
        size -= 1
    return size
