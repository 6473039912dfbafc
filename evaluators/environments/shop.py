"""A small web shop as text: find the product that a customer describes, choose its options and buy it.

The same kind of task as WebShop, with products of our own, for sites that do not have WebShop. Pages: search, results,
product, details. The score of a purchase is the share of the wishes that it fulfils, 0 for another kind of product.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from evaluators.environment import Environment, belongs_to, insert_lines, task_rng
from evaluators.environments._shop_catalogue import Catalogue, Product, catalogue
from manager.errors import UserError

PAGE = 10  # products on a page of results
_MAX_ATTEMPTS = 1000
OPTIONS = 2  # a product has so many: its colour and one more
_FORM = re.compile(r"(search|click)\[(.*)\]", re.IGNORECASE | re.DOTALL)
_BACK, _NEXT, _PREVIOUS, _DETAILS, _PRODUCT, _BUY = (
    "back to search",
    "next page",
    "previous page",
    "details",
    "back to product",
    "buy now",
)


@dataclass(frozen=True)
class Goal:
    """What the customer wants; `product` is one that fulfils it."""

    kind: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    below: int
    product: str

    def text(self) -> str:
        wishes = " and ".join(self.attributes)
        chosen = ", ".join(f"{name} {choice}" for name, choice in self.options)
        parts = (f"Buy {self.kind}: {wishes}", chosen, f"for less than {self.below} dollars.")
        return "; ".join(part for part in parts if part)


@dataclass
class _Page:
    """Where the customer is. `results` are kept while a product is looked at."""

    name: str = "search"
    query: str = ""
    results: list[Product] = field(default_factory=list)
    number: int = 0
    product: Product | None = None
    chosen: dict[str, str] = field(default_factory=dict)


class Shop(Environment):
    name = "shop"
    version = 1
    quick = True
    response_tokens = 1024

    def __init__(self, products: int, catalogue_seed: int, cap: int, page: int, choices: int) -> None:
        super().__init__(cap)
        if choices < 0:
            raise UserError(f"environment 'shop': choices must be at least 0, not {choices}")
        if page < 1:
            raise UserError(f"environment 'shop': page must be at least 1, not {page}")
        if products < 10:
            raise UserError(f"environment 'shop': products must be at least 10, not {products}")
        self._catalogue: Catalogue = catalogue(products, catalogue_seed)
        self._key = f"shop:{products}:{catalogue_seed}"
        self._bought: float | None = None
        self._page_size = page
        self._choices = choices

    def _begin(self, task: int, split: str) -> None:
        for attempt in range(_MAX_ATTEMPTS):
            goal = self._draw(task_rng(self._key, task, split, attempt))
            if belongs_to(goal.text(), split):
                break
        else:
            raise UserError("environment 'shop': too few wishes for two splits; raise products or choices")
        self._goal = goal
        self._page = _Page()
        self._bought = None

    def _draw(self, rng: random.Random) -> Goal:
        product = rng.choice(self._catalogue.products)
        return Goal(
            product.kind,
            tuple(sorted(rng.sample(product.attributes, 2))),
            tuple((name, rng.choice(choices)) for name, choices in sorted(product.options.items()))[: self._choices],
            int(product.price) + rng.choice([5, 10, 20]),
            product.id,
        )

    def instruction(self) -> str:
        return (
            "You are shopping for a customer. Find a product that fulfils every wish, choose its options and buy it. "
            "Attributes that a title does not name are on the product's details page.\n"
            "An action is search[words] on the search page, or click[button] with a button of the page you see, such "
            "as click[P0001], click[next page], click[red] or click[buy now]."
        )

    def admissible(self) -> list[str]:
        """`search[<words>]` stands for a search with any words."""
        if self.done:
            return []
        if self._page.name == "search":
            return ["search[<words>]"]
        return [f"click[{button}]" for button in self._buttons()]

    def _buttons(self) -> list[str]:
        page = self._page
        if page.name == "results":
            shown = page.results[page.number * self._page_size : (page.number + 1) * self._page_size]
            more = [_NEXT] if (page.number + 1) * self._page_size < len(page.results) else []
            return [_BACK, *([_PREVIOUS] if page.number else []), *more, *(product.id for product in shown)]
        if page.name == "details":
            return [_BACK, _PRODUCT]
        assert page.product is not None
        choices = [choice for choices in page.product.options.values() for choice in choices]
        return [_BACK, _DETAILS, *choices, _BUY]

    def oracle(self) -> list[str] | None:
        """From any page: search for the wishes, turn pages to the product, choose, buy."""
        goal = self._goal
        query = " ".join([goal.kind, *goal.attributes, *(choice for _, choice in goal.options)])
        found = [product.id for product in self._catalogue.search(query)]
        pages = found.index(goal.product) // self._page_size
        back = [] if self._page.name == "search" else [f"click[{_BACK}]"]
        turning = [f"click[{_NEXT}]"] * pages
        choosing = [f"click[{choice}]" for _, choice in goal.options]
        return [*back, f"search[{query}]", *turning, f"click[{goal.product}]", *choosing, f"click[{_BUY}]"]

    @property
    def score(self) -> float:
        return self._bought or 0.0

    def _over(self) -> bool:
        return self._bought is not None

    def _act(self, action: str) -> bool:
        match = _FORM.fullmatch(action)
        if match is None:
            return False
        what, argument = match.group(1).lower(), match.group(2).strip()
        if what == "search":
            return self._search(argument)
        button = argument if re.fullmatch(r"P\d+", argument) else argument.lower()
        if self._page.name == "search" or button not in self._buttons():
            return False
        self._click(button)
        return True

    def _search(self, query: str) -> bool:
        if self._page.name != "search" or not query or query == "<words>":
            return False
        self._page = _Page("results", query, self._catalogue.search(query))
        return True

    def _click(self, button: str) -> None:
        page = self._page
        if button == _BACK:
            self._page = _Page()
        elif button in (_NEXT, _PREVIOUS):
            page.number += 1 if button == _NEXT else -1
        elif button == _DETAILS:
            page.name = "details"
        elif button == _PRODUCT:
            page.name = "product"
        elif button == _BUY:
            self._bought = self._fulfilled()
        elif page.name == "results":
            page.product, page.name, page.chosen = self._catalogue.find(button), "product", {}
        else:
            assert page.product is not None
            name = next(name for name, choices in page.product.options.items() if button in choices)
            page.chosen[name] = button

    def _fulfilled(self) -> float:
        product, goal = self._page.product, self._goal
        assert product is not None
        if product.kind != goal.kind:
            return 0.0
        wishes = [
            *(attribute in product.attributes for attribute in goal.attributes),
            *(self._page.chosen.get(name) == choice for name, choice in goal.options),
            product.price < goal.below,
        ]
        return sum(wishes) / len(wishes)

    def _state(self) -> str:
        lines = {
            "search": self._search_page,
            "results": self._results_page,
            "product": self._product_page,
            "details": self._details_page,
        }[self._page.name]()
        return "\n".join([f"Wish: {self._goal.text()}", *lines])

    def _search_page(self) -> list[str]:
        return ["Thank you for your order." if self._bought is not None else "Search page. Search with search[words]."]

    def _results_page(self) -> list[str]:
        page = self._page
        pages = max(1, -(-len(page.results) // self._page_size))
        shown = page.results[page.number * self._page_size : (page.number + 1) * self._page_size]
        return [
            f"Results for '{page.query}', page {page.number + 1} of {pages} ({len(page.results)} products).",
            *(f"[{product.id}] {product.title}, {product.price:.2f} dollars" for product in shown),
            self._buttons_line(),
        ]

    def _product_page(self) -> list[str]:
        product = self._page.product
        assert product is not None
        options = [
            f"{name}: {', '.join(f'[{choice}]' for choice in choices)} (chosen: {self._page.chosen.get(name, 'none')})"
            for name, choices in product.options.items()
        ]
        end = ["You have bought it."] if self._bought is not None else [self._buttons_line()]
        return [f"{product.id}: {product.title}", f"Price: {product.price:.2f} dollars", *options, *end]

    def _details_page(self) -> list[str]:
        product = self._page.product
        assert product is not None
        return [f"{product.id}: {product.title}", f"It is {', '.join(product.attributes)}.", self._buttons_line()]

    def _buttons_line(self) -> str:
        named = [button for button in self._buttons() if button in (_BACK, _NEXT, _PREVIOUS, _DETAILS, _PRODUCT, _BUY)]
        return "Buttons: " + ", ".join(f"[{button}]" for button in named)

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Advertisements, trivial features and decoys without a button, until ε characters are reached."""
        return insert_lines(state, distractions(epsilon, rng), rng)


def distractions(epsilon: float, rng: random.Random) -> list[str]:
    """Lines of a shop that do not matter to anybody's wish, of at least `epsilon` characters together."""
    lines: list[str] = []
    while sum(map(len, lines)) < max(1.0, epsilon):
        lines.append(rng.choice(_DISTRACTIONS).format(rng.choice(_BRAND_NAMES), rng.randint(2, 98)))
    return lines


_BRAND_NAMES = ("Norvale", "Pemberly", "Quillon", "Rosswick", "Tamsin", "Underhill")
_DISTRACTIONS = (
    "Advertisement: {0} garden chairs, now {1} percent off.",
    "Advertisement: subscribe to the {0} newsletter and win a voucher.",
    "{1} people have looked at this page today.",
    "Shipped in a recycled box from warehouse {1}.",
    "The colours on your screen may differ slightly.",
    "Sold out: {0} picnic basket, {1} dollars.",
    "Customers also liked: {0} candles (not in stock).",
)


def make(
    products: int = 1000, catalogue_seed: int = 0, cap: int = 15, page: int = PAGE, choices: int = OPTIONS
) -> Shop:
    """A shop; the catalogue depends on `products` and `catalogue_seed` alone.

    `page` is the products on a page of results, `choices` the most options that a customer names.
    """
    return Shop(products, catalogue_seed, cap, page, choices)
