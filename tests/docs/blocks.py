"""The command and YAML blocks of the documents, with where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    place: str  # README.md:12

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands of a shell block, without comments; a line that ends in a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines)
        return tuple(line for line in stripped if line)


def blocks(language: str) -> Iterator[Block]:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[1] == language:
                line = text.count("\n", 0, found.start()) + 1
                yield Block(language, found[2], f"{path.relative_to(ROOT)}:{line}")
