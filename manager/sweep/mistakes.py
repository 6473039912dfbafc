"""What is wrong with a sweep: one line a mistake, with file, line and key, all told at once."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from manager.errors import UserError

FEW = 5
LISTED = 24  # more valid names than this are not listed in a message


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: a line of a file, or an override on the command line."""

    file: str
    line: int  # at most 0: an override; `file` then holds its text and -line is its number

    @property
    def is_override(self) -> bool:
        return self.line <= 0

    def __str__(self) -> str:
        return f"command line: {self.file}" if self.is_override else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Mistake:
    place: Place
    key: str  # dotted; empty for the file as a whole
    message: str

    def __str__(self) -> str:
        said = self.place.is_override and self.place.file.partition("=")[0].strip() == self.key
        return f"{self.place}: {self.message}" if said or not self.key else f"{self.place}: {self.key}: {self.message}"


class SweepErrors(UserError):
    """Every mistake of a sweep file; its text has one line for each, but few for each key and value."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(_lines(mistakes)))


def _lines(mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Of a key that is wrong for many combinations in as many ways, the first few and the number of the rest."""
    count = Counter((mistake.place, mistake.key) for mistake in mistakes)
    told: Counter[tuple[Place, str]] = Counter()
    for mistake in mistakes:
        at = (mistake.place, mistake.key)
        told[at] += 1
        if told[at] <= FEW:
            yield str(mistake)
        elif told[at] == FEW + 1:
            yield str(replace(mistake, message=f"and {count[at] - FEW:,} more for other combinations"))


@dataclass
class Mistakes:
    """Collects mistakes; the same one found for many combinations is kept once."""

    found: dict[Mistake, None] = field(default_factory=dict)

    def add(self, place: Place, key: Sequence[str | int] | str, message: str) -> None:
        text = key if isinstance(key, str) else dotted(key)
        self.found.setdefault(Mistake(place, text, message))

    def __len__(self) -> int:
        return len(self.found)

    def raise_if_any(self) -> None:
        """Tell all of them, in the order of the files and lines; the command line last."""
        if self.found:
            files = dict.fromkeys(mistake.place.file for mistake in self.found if not mistake.place.is_override)
            order = {file: number for number, file in enumerate(files)}
            raise SweepErrors(
                sorted(self.found, key=lambda m: (order.get(m.place.file, len(order)), abs(m.place.line)))
            )


def dotted(path: Iterable[str | int]) -> str:
    """`stages.evaluate.checkpoints[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: object, valid: Iterable[str], count: int = 1) -> list[str]:
    """The valid names that are most like `word`, best first."""
    names = list(valid)
    folded = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(word).lower(), folded, n=count, cutoff=0.6)
    return [folded[name] for name in close]


def unknown(what: str, word: object, valid: Iterable[str], *, count: int = 1) -> str:
    """`unknown key, did you mean seed`, or what is valid where nothing is like it."""
    names = sorted(valid)
    close = nearest(word, names, count)
    if close:
        return f"unknown {what}, did you mean {' or '.join(close)}"
    if not names:
        return f"unknown {what}; there are none yet"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"unknown {what}; there are: {', '.join(names[:LISTED])}{more}"


def shown(value: object, length: int = 60) -> str:
    """A value as a person wrote it, short."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= length else text[: length - 1] + "…"
