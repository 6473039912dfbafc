"""mini_knowledge: multiple choice over a fixed, invented knowledge base, computed on the spot.

For tests and the quickstart, not a measure of models. Each invented being eats one thing and lives in one
place; an option is chosen by its first letter. Every fact can be learned from the train questions; the test
questions ask for the same facts with sets of options that train never shows for them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._mini import missing, number, spread

BEINGS = tuple(consonant + vowel for consonant in "bdkmrsz" for vowel in "aou")
VALUES = {
    "eats": ("ant", "bun", "cod", "dal", "egg"),
    "home": ("ark", "bog", "cot", "den", "elm"),
}
OPTIONS = 3
LETTER = re.compile(r"(?<![A-Za-z])[a-fA-F](?![A-Za-z])")


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
        """Every fact with every set of options that belongs to the split, in one fixed order."""
        chosen: list[Item] = []
        for relation, values in VALUES.items():
            for being in BEINGS:
                true = fact(being, relation)
                others = [value for value in values if value != true]
                sets = spread(f"mini_knowledge-{being}-{relation}", combinations(others, OPTIONS - 1))
                # Two of the ten sets of options are for test, for every fact the same number.
                kept = sets[:2] if split == "test" else sets[2:]
                chosen += [self._item(being, relation, (true, *distractors)) for distractors in kept]
        yield from spread("mini_knowledge", chosen)

    def _item(self, being: str, relation: str, options: tuple[str, ...]) -> Item:
        listed = " ".join(sorted(options))
        question = f"{being} {relation} {listed}"
        letters = [option[0] for option in sorted(options)]
        return Item(
            question.replace(" ", "-"), {"question": question, "letters": letters}, fact(being, relation)[0]
        )

    def messages(self, item: Item) -> list[dict[str, str]]:
        return [{"role": "user", "content": item.fields["question"]}]

    def score(self, item: Item, completion: str, *, truncated: bool = False) -> Score:
        """The last letter that stands alone is the answer."""
        found = LETTER.findall(completion)
        if not found:
            return missing("no letter in the answer", truncated)
        right = found[-1].lower() == item.answer
        outcome = Outcome.RIGHT if right else Outcome.WRONG
        return Score(float(right), outcome, found[-1], "last letter standing alone")

    def gold(self, item: Item) -> str:
        return str(item.answer)

    def wrong(self, item: Item, seed: int) -> str:
        others = [letter for letter in item.fields["letters"] if letter != item.answer]
        return random.Random(f"{seed}/{item.id}").choice(others)


BENCHMARK = MiniKnowledge()
