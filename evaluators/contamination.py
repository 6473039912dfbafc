"""Finds training prompts that repeat benchmark items: the same text, or a run of 13 words in common.

Pure but for reading the benchmarks' items. Says what overlaps and where; what to do
about it is the caller's choice.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.benchmarks import get

WORDS_IN_A_ROW = 13
# A run of words found in more items than this is a template ("Which of the following is the most likely …").
TEMPLATE_ITEMS = 10
# A shorter part of an item (a name, a caption) says nothing when a prompt is equal to it.
WORDS_IN_A_PART = 5

_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]


class Overlap(StrEnum):
    EXACT = "exact"
    WORDS = "words"


@dataclass(frozen=True)
class Hit:
    """One training prompt that repeats one benchmark item; `words` is the first common run."""

    prompt: int
    benchmark: str
    item: str
    overlap: Overlap
    words: str


@dataclass(frozen=True)
class ContaminationReport:
    """All hits, by prompt; `prompts` and `items` say how much was compared."""

    prompts: int
    items: int
    hits: tuple[Hit, ...]

    @property
    def contaminated(self) -> frozenset[int]:
        """The positions of the prompts that have to go."""
        return frozenset(hit.prompt for hit in self.hits)

    def by_benchmark(self) -> dict[str, tuple[int, int]]:
        """benchmark -> (prompts that hit it, its items that are hit)."""
        names = sorted({hit.benchmark for hit in self.hits})
        return {
            name: (
                len({hit.prompt for hit in self.hits if hit.benchmark == name}),
                len({hit.item for hit in self.hits if hit.benchmark == name}),
            )
            for name in names
        }


@dataclass(frozen=True)
class Text:
    """One benchmark item: what is asked, and its parts that alone give it away (question, solution)."""

    benchmark: str
    item: str
    text: str
    parts: tuple[str, ...] = ()


def benchmark_texts(names: Iterable[str], data_dir: Path | None, split: str = "test") -> Iterator[Text]:
    """The question of every item of the named benchmarks; UserError where data is missing."""
    for name in names:
        benchmark = get(name)
        for item in benchmark.items(split, data_dir):
            asked = "\n".join(message["content"] for message in benchmark.messages(item) if message["role"] == "user")
            parts = (str(value) for value in item.fields.values() if isinstance(value, str))
            yield Text(name, item.id, asked, tuple(part for part in parts if len(words_of(part)) >= WORDS_IN_A_PART))


class BenchmarkIndex:
    """Benchmark items ready to be compared with any number of prompts."""

    def __init__(self, texts: Iterable[Text], *, words_in_a_row: int = WORDS_IN_A_ROW) -> None:
        self._n = words_in_a_row
        self._codes: dict[str, int] = {}
        self._texts: list[Text] = []
        self._words: list[list[str]] = []
        self._exact: dict[tuple[str, ...], list[int]] = {}
        hashes: list[Hashes] = []
        owners: list[NDArray[np.int64]] = []
        for text in texts:
            position = len(self._texts)
            words = words_of(text.text)
            self._texts.append(text)
            self._words.append(words)
            for whole in {tuple(words), *(tuple(words_of(part)) for part in text.parts)}:
                self._exact.setdefault(whole, []).append(position)
            own = np.unique(self._runs(words))
            hashes.append(own)
            owners.append(np.full(len(own), position, dtype=np.int64))
        self._index(hashes, owners)

    def _index(self, hashes: Sequence[Hashes], owners: Sequence[NDArray[np.int64]]) -> None:
        """Sorted by hash, templates dropped."""
        everything = np.concatenate([*hashes, np.empty(0, np.uint64)])
        owner = np.concatenate([*owners, np.empty(0, np.int64)])
        order = np.argsort(everything, kind="stable")
        everything, owner = everything[order], owner[order]
        _, inverse, counts = np.unique(everything, return_inverse=True, return_counts=True)
        kept = counts[inverse] <= TEMPLATE_ITEMS
        self._hashes, self._owners = everything[kept], owner[kept]

    def compare(self, prompts: Iterable[str]) -> ContaminationReport:
        """Every overlap of every prompt."""
        hits: list[Hit] = []
        count = 0
        for count, prompt in enumerate(prompts, 1):
            hits.extend(self._hits(count - 1, words_of(prompt)))
        return ContaminationReport(count, len(self._texts), tuple(hits))

    def _hits(self, number: int, words: list[str]) -> Iterator[Hit]:
        found: Counter[int] = Counter()
        for position in self._exact.get(tuple(words), []) if words else []:
            found[position] += 1
            text = self._texts[position]
            yield Hit(number, text.benchmark, text.item, Overlap.EXACT, " ".join(words[: self._n]))
        runs = self._runs(words)
        if not len(self._hashes) or not len(runs):
            return
        left = np.searchsorted(self._hashes, runs, side="left")
        here = np.flatnonzero(self._hashes[np.minimum(left, len(self._hashes) - 1)] == runs)
        for start in here:
            right = int(np.searchsorted(self._hashes, runs[start], side="right"))
            run = words[start : start + self._n]
            for position in self._owners[int(left[start]) : right]:
                if position not in found and _contains(self._words[position], run):
                    found[position] += 1
                    text = self._texts[position]
                    yield Hit(number, text.benchmark, text.item, Overlap.WORDS, " ".join(run))

    def _runs(self, words: Sequence[str]) -> Hashes:
        """One 64-bit hash for each run of n words; equal runs have equal hashes."""
        if len(words) < self._n:
            return np.empty(0, np.uint64)
        codes = np.fromiter((self._codes.setdefault(word, len(self._codes) + 1) for word in words), np.uint64)
        codes = _mixed(codes)
        count = len(words) - self._n + 1
        total = np.zeros(count, np.uint64)
        for offset in range(self._n):
            total = total * _MULTIPLIER + codes[offset : offset + count]
        return _mixed(total)


def find_overlaps(
    prompts: Iterable[str], benchmarks: Iterable[str], data_dir: Path | None = None
) -> ContaminationReport:
    """Compare training prompts with the test items of the named benchmarks."""
    return BenchmarkIndex(benchmark_texts(benchmarks, data_dir)).compare(prompts)


def words_of(text: str) -> list[str]:
    """Words in one spelling: compatibility forms joined, lower case, punctuation dropped."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _contains(words: Sequence[str], run: Sequence[str]) -> bool:
    """The run itself, so that two runs with one hash are never taken for the same."""
    first = run[0]
    return any(
        words[start] == first and list(words[start : start + len(run)]) == list(run)
        for start in range(len(words) - len(run) + 1)
    )


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
