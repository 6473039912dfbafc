"""Kinds of reasoning in a completion, by rules that anybody can read: which of six it shows.

A completion can show several kinds or none. Rules see the surface of English text only; they are the same for
base and trained models, so changes can be compared, while the levels depend on the rules. A judge of your
own (a callable, for example a model behind an endpoint) can take their
place: `outcomes.table(..., judge=...)`.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum


class Strategy(StrEnum):
    VERIFICATION = "verification"
    BACKTRACKING = "backtracking"
    SUBGOALS = "subgoals"
    ENUMERATION = "enumeration"
    CODE = "code-like"
    RECALL = "recall"


Judge = Callable[[str], Collection[Strategy]]

MEANING: Mapping[Strategy, str] = {
    Strategy.VERIFICATION: "checks a result: substitutes back, re-computes, tests on an example",
    Strategy.BACKTRACKING: "gives up a line of thought and starts another",
    Strategy.SUBGOALS: "names steps or parts before working on them",
    Strategy.ENUMERATION: "goes through cases or candidates one by one",
    Strategy.CODE: "thinks in code: a function, a loop, a trace of variables",
    Strategy.RECALL: "cites a fact, theorem, definition or guideline",
}

_RULES: Mapping[Strategy, tuple[str, ...]] = {
    Strategy.VERIFICATION: (
        r"\b(?:let(?:'s| me| us)|i(?:'ll| will| should| need to)|to) (?:double[- ]?check|verify|re-?check|check)\b",
        r"\b(?:double[- ]checking|verifying|checking (?:this|that|the|our|my|it))\b",
        r"\b(?:plug(?:ging)?|substitut(?:e|ing)) (?:it |this |that |these |them |the \w+ )?back\b",
        r"\bsanity check\b",
        r"\bdoes (?:this|that|it) (?:make sense|hold|satisfy|match)\b",
    ),
    Strategy.BACKTRACKING: (
        r"(?:^|[.!?\n]\s*)(?:wait|hmm|hold on|no,|actually,)",
        r"\b(?:that(?:'s| is|) (?:not right|wrong|incorrect)|this (?:is|seems) wrong)",
        r"\bi made (?:a|an) (?:mistake|error)",
        r"\b(?:let(?:'s| me| us)) (?:try (?:another|a different|again)|start over|go back|reconsider|rethink)\b",
        r"\b(?:another|a different|an alternative) (?:approach|way|method)\b",
    ),
    Strategy.SUBGOALS: (
        r"(?:^|\n)\s*(?:\*\*|#+ *)?step \d+",
        r"\bfirst(?:ly)?,? (?:i|we|let|find|compute|note|consider)\b.*\b(?:then|next|second(?:ly)?|finally)\b",
        r"\b(?:break (?:this|it|the problem) (?:down|into)|sub-?problems?|sub-?goals?|the plan is|my plan)\b",
        r"\b(?:i|we) (?:first )?need to (?:find|compute|determine|figure out)\b.*\b(?:before|then|and then)\b",
    ),
    Strategy.ENUMERATION: (
        r"\bcase (?:1|i|one|a)\b.*\bcase (?:2|ii|two|b)\b",
        r"\b(?:consider|check|try|go through|list|enumerate) (?:each|every|all(?: of)?|the) "
        r"(?:possible |possibilit|case|option|candidate|value|choice)",
        r"\boption \(?a\)?\b.*\boption \(?b\)?\b.*\boption \(?c\)?",
        r"\b(?:if|for) (\w) ?= ?(\d+)\b.*\b(?:if|for) \1 ?= ?(?!\2\b)\d+\b.*\b(?:if|for) \1 ?= ?\d+\b",
    ),
    Strategy.CODE: (
        r"```",
        r"(?:^|\n)\s*(?:def \w+\(|for \w+ in |while .+:|import \w+|return \w+|#include\b|public static)",
        r"\b(?:loop (?:over|through)|iterate over|the function (?:returns|takes)|time complexity|edge cases?)\b",
    ),
    Strategy.RECALL: (
        r"\b(?:i (?:recall|remember)|recall that|as we know|it is (?:well[- ])?known|known fact)\b",
        r"\bby (?:the )?(?:definition|\w+(?:'s)? (?:theorem|lemma|law|formula|rule|inequality|identity))\b",
        r"\b(?:according to (?:the )?\w+|guidelines? recommend|(?:is|are) (?:defined as|classically|typically|"
        r"characteri[sz]ed by|associated with))\b",
    ),
}  # fmt: skip

_PATTERNS = {
    kind: re.compile("|".join(f"(?:{_r})" for _r in rules), re.IGNORECASE | re.DOTALL)
    for kind, rules in _RULES.items()
    if kind != Strategy.ENUMERATION
}
# One of its rules refers to a group of its own, so these are kept apart.
_ENUMERATION = tuple(re.compile(r, re.IGNORECASE | re.DOTALL) for r in _RULES[Strategy.ENUMERATION])
LONGEST = 20_000  # characters that are looked at: some rules look far ahead


def classify(text: str | None) -> frozenset[Strategy]:
    """The kinds that the rules find; none for an empty completion."""
    if not text:
        return frozenset()
    seen = text[:LONGEST]
    found: set[Strategy] = {kind for kind, pattern in _PATTERNS.items() if pattern.search(seen)}
    if any(pattern.search(seen) for pattern in _ENUMERATION):
        found.add(Strategy.ENUMERATION)
    return frozenset(found)


class ChosenTexts:
    """The answers to at most `limit` items of a file that is read once: whole files do not fit in memory.

    Which items are kept depends on their ids alone, so it is the same for every model that answered them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: dict[str, dict[int, str]] = {}
        self._largest: list[tuple[int, str]] = []  # a heap, largest key first

    def offer(self, item: str, sample: int, text: str | None) -> None:
        """Keep this answer if its item is among the chosen ones; a later answer replaces an earlier one."""
        if text is None or self._limit < 1:
            return
        if item not in self._texts:
            key = -zlib.crc32(item.encode())
            if len(self._texts) == self._limit:
                if (key, item) <= self._largest[0]:
                    return
                _, dropped = heapq.heapreplace(self._largest, (key, item))
                del self._texts[dropped]
            else:
                heapq.heappush(self._largest, (key, item))
            self._texts[item] = {}
        self._texts[item][sample] = text

    def classified(self, judge: Judge) -> dict[tuple[str, int], str]:
        """The kinds that each kept answer shows, joined by +."""
        return {
            (item, sample): "+".join(sorted(judge(text)))
            for item, samples in self._texts.items()
            for sample, text in samples.items()
        }
