"""The products of the small shop, made from word lists by a seed, and the search over them. No state."""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_BRANDS = ("Aldora", "Brimley", "Castell", "Dunmore", "Elverton", "Fenwick", "Garrow", "Hollis", "Ivarson", "Kestrel")
_COLOURS = ("black", "white", "red", "blue", "green", "yellow", "grey", "brown", "pink", "purple", "orange", "silver")
_CLOTHES_SIZES = ("x-small", "small", "medium", "large", "x-large")
_SHOE_SIZES = tuple(str(size) for size in range(36, 47))
_VOLUMES = ("250 ml", "350 ml", "500 ml", "750 ml", "1 litre")
_LENGTHS = ("50 cm", "100 cm", "150 cm", "200 cm")

# kind -> (attributes it can have, name of its second option, choices of that option)
_KINDS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "running shoes": (
        ("lightweight", "waterproof", "breathable", "vegan", "wide fit", "reflective"),
        "size",
        _SHOE_SIZES,
    ),
    "hiking boots": (
        ("waterproof", "leather", "insulated", "ankle high", "steel toe", "non slip"),
        "size",
        _SHOE_SIZES,
    ),
    "sandals": (("leather", "vegan", "quick drying", "non slip", "arch support", "handmade"), "size", _SHOE_SIZES),
    "t-shirt": (
        ("organic cotton", "long sleeve", "slim fit", "machine washable", "v neck", "striped"),
        "size",
        _CLOTHES_SIZES,
    ),
    "raincoat": (("waterproof", "hooded", "lightweight", "packable", "windproof", "lined"), "size", _CLOTHES_SIZES),
    "sweater": (
        ("merino wool", "hand knitted", "machine washable", "turtleneck", "oversized", "striped"),
        "size",
        _CLOTHES_SIZES,
    ),
    "trousers": (
        ("slim fit", "stretch", "quick drying", "high waist", "organic cotton", "pleated"),
        "size",
        _CLOTHES_SIZES,
    ),
    "pyjamas": (
        ("flannel", "organic cotton", "long sleeve", "machine washable", "striped", "two piece"),
        "size",
        _CLOTHES_SIZES,
    ),
    "backpack": (
        ("waterproof", "laptop sleeve", "lightweight", "foldable", "anti theft", "padded straps"),
        "size",
        _CLOTHES_SIZES[1:4],
    ),
    "water bottle": (
        ("insulated", "leak proof", "stainless steel", "dishwasher safe", "wide mouth", "bpa free"),
        "volume",
        _VOLUMES,
    ),
    "coffee mug": (
        ("handmade", "dishwasher safe", "double walled", "ceramic", "with lid", "microwave safe"),
        "volume",
        _VOLUMES,
    ),
    "teapot": (
        ("cast iron", "ceramic", "with infuser", "handmade", "dishwasher safe", "heat resistant"),
        "volume",
        _VOLUMES,
    ),
    "desk lamp": (
        ("dimmable", "usb powered", "adjustable arm", "touch control", "energy saving", "foldable"),
        "cable",
        _LENGTHS,
    ),
    "charging cable": (
        ("braided", "fast charging", "magnetic", "right angle", "water resistant", "reversible"),
        "length",
        _LENGTHS,
    ),
    "curtain": (("blackout", "machine washable", "linen", "thermal", "sheer", "easy hang"), "length", _LENGTHS),
    "table runner": (
        ("linen", "machine washable", "embroidered", "stain resistant", "handmade", "reversible"),
        "length",
        _LENGTHS,
    ),
    "blanket": (
        ("merino wool", "machine washable", "weighted", "fleece", "hand knitted", "reversible"),
        "length",
        _LENGTHS,
    ),
    "gloves": (
        ("leather", "touch screen", "waterproof", "insulated", "merino wool", "non slip"),
        "size",
        _CLOTHES_SIZES,
    ),
    "scarf": (("silk", "merino wool", "hand knitted", "lightweight", "striped", "reversible"), "length", _LENGTHS),
    "umbrella": (
        ("windproof", "automatic", "compact", "reflective", "reversible", "wooden handle"),
        "length",
        _LENGTHS[:2],
    ),
}


@dataclass(frozen=True)
class Product:
    """`options` maps a name to the choices there are; every product has a colour and one more."""

    id: str
    kind: str
    title: str
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    price: float

    @property
    def words(self) -> list[str]:
        choices = " ".join(choice for choices in self.options.values() for choice in choices)
        return words_of(f"{self.title} {' '.join(self.attributes)} {choices}")


@dataclass(frozen=True)
class Catalogue:
    """The products in order of their ids, and where each word occurs."""

    products: tuple[Product, ...]
    postings: Mapping[str, tuple[int, ...]]

    def find(self, product_id: str) -> Product | None:
        number = int(product_id[1:]) if re.fullmatch(r"P\d+", product_id) else -1
        return self.products[number] if 0 <= number < len(self.products) else None

    def search(self, query: str) -> list[Product]:
        """Products by how many of the query's words they have, rare words counting more; ties in order of id."""
        scores: dict[int, float] = defaultdict(float)
        for word in sorted(set(words_of(query))):
            found = self.postings.get(word, ())
            for position in found:
                scores[position] += math.log(1 + len(self.products) / len(found))
        ranked = sorted(scores, key=lambda position: (-round(scores[position], 9), position))
        return [self.products[position] for position in ranked]


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@cache
def catalogue(count: int, seed: int) -> Catalogue:
    """The same products for the same numbers, on every machine."""
    rng = random.Random(f"shop:{seed}")
    products = tuple(_product(f"P{number:04d}", rng) for number in range(count))
    postings: dict[str, list[int]] = defaultdict(list)
    for position, product in enumerate(products):
        for word in sorted(set(product.words)):
            postings[word].append(position)
    return Catalogue(products, {word: tuple(positions) for word, positions in postings.items()})


def _product(product_id: str, rng: random.Random) -> Product:
    kind = rng.choice(list(_KINDS))
    possible, option, choices = _KINDS[kind]
    attributes = tuple(sorted(rng.sample(possible, rng.randint(2, 4))))
    colours = tuple(sorted(rng.sample(_COLOURS, rng.randint(2, 5))))
    kept = tuple(choice for choice in choices if rng.random() < 0.7) or choices[:1]
    title = f"{rng.choice(_BRANDS)} {rng.choice(attributes)} {kind}"
    return Product(
        product_id, kind, title, attributes, {"colour": colours, option: kept}, rng.randint(500, 12000) / 100
    )
