"""Which of a few subjects a question is about, by its words: for data sets that carry no subject.

A heuristic, only for leaving mathematics and computer science out of knowledge data. It prefers to leave out
too much: a word of the list anywhere in the question counts.
"""

from __future__ import annotations

import re

WORDS = {
    "mathematics": (
        r"equations?|polynomials?|integrals?|derivatives?|matri(?:x|ces)|theorems?|eigen\w+|probabilit\w+|"
        r"trigonometr\w+|algebra\w*|geometr\w+|calculus|logarithms?|differentia\w+|determinants?|\\frac|\\int|\\sqrt"
    ),
    "computer science": (
        r"algorithms?|operating systems?|compilers?|cpu|cache|databases?|sql|tcp|ip address(?:es)?|binary trees?|"
        r"linked lists?|stacks?|programming|software|bytes?|computer\w*|network protocols?|data structures?|python|java"
    ),
}
_PATTERNS = {name: re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) for name, words in WORDS.items()}


def of(text: str) -> frozenset[str]:
    """The subjects whose words the text holds."""
    return frozenset(name for name, pattern in _PATTERNS.items() if pattern.search(text))
