"""mini_knowledge: multiple choice over a fixed, invented knowledge base, computed on the spot.

Each invented being eats one thing and lives in one place. Every fact can be learned from the train
questions; the test questions ask the same facts with sets of options that train never shows for them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import combinations, permutations
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._mini import missing, number, side, spread

BEINGS = ("ba", "bo", "da", "du", "ga", "go", "ka", "ki", "la", "lu", "ma", "mo", "na", "nu", "ra", "zu")
VALUES = {
    "eats": ("egg", "fig", "ham", "jam", "oat", "pea"),
    "home": ("bay", "cave", "dune", "hill", "lake", "wood"),
}
LETTERS = "ABCD"
LETTER = re.compile(r"(?<![A-Za-z])[A-D](?![A-Za-z])")
QUESTIONS_A_FACT = {"train": 40, "test": 8}


def fact(being: str, relation: str) -> str:
    """The knowledge base: what is true of a being, by decree."""
    values = VALUES[relation]
    return values[number(f"mini_knowledge/fact/{being}/{relation}") % len(values)]


class MiniKnowledge:
    name = "mini_knowledge"
    domain = "knowledge"
    subdomain: str | None = None
    version = 1
    source = DataSource()
    sampler = Sampler(samples=4, temperature=1.0, max_tokens=4)

    def items(self, split: str, data_dir: Path | None) -> Iterator[Item]:
        """Questions on every fact, in one fixed order."""
        chosen: list[Item] = []
        for relation, values in VALUES.items():
            for being in BEINGS:
                true = fact(being, relation)
                others = [value for value in values if value != true]
                arranged = [
                    options
                    for distractors in combinations(others, len(LETTERS) - 1)
                    for options in permutations((true, *distractors))
                    if side("mini_knowledge", f"{being}/{relation}/{'/'.join(options)}") == split
                ]
                limit = QUESTIONS_A_FACT[split]
                chosen += [
                    self._item(being, relation, options)
                    for options in spread(f"mini_knowledge-{being}-{relation}", arranged)[:limit]
                ]
        yield from spread("mini_knowledge", chosen)

    def _item(self, being: str, relation: str, options: tuple[str, ...]) -> Item:
        listed = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, options, strict=True))
        answer = LETTERS[options.index(fact(being, relation))]
        return Item(
            f"{being}-{relation}-{'-'.join(options)}", {"question": f"{being} {relation} {listed}"}, answer
        )

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": item.fields["question"]}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """The last letter that stands alone is the answer."""
        found = LETTER.findall(completion)
        if not found:
            return missing("no letter in the answer", truncated)
        right = found[-1] == item.answer
        return Score(
            float(right), Outcome.RIGHT if right else Outcome.WRONG, found[-1], "last letter standing alone"
        )

    def gold(self, item: Item) -> str:
        return str(item.answer)

    def wrong(self, item: Item, seed: int) -> str:
        others = [letter for letter in LETTERS if letter != item.answer]
        return random.Random(f"{seed}/{item.id}").choice(others)


BENCHMARK = MiniKnowledge()
