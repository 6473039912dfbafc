"""The shop: pages, purchases and their scores, search."""

from __future__ import annotations

import pytest

from evaluators.environments import make
from evaluators.environments._shop_catalogue import catalogue
from manager.errors import UserError
from tests.evaluators.environments import contract


def test_oracle_solves_at_least_95_percent() -> None:
    for split in ("train", "test"):
        assert contract.solved_share(make("shop"), range(200), split) >= 0.95


def test_contract() -> None:
    contract.check_repeats(lambda: make("shop"), range(5))
    contract.check_invalid_actions(make("shop"))
    contract.check_augmentation(make("shop"), range(10), 80)
    environment = make("shop")
    contract.check_splits_are_disjoint(environment, lambda: environment._goal.text(), 150)  # type: ignore[attr-defined]


def test_catalogue_is_the_same_everywhere() -> None:
    first = catalogue(1000, 0).products[0]
    assert (first.id, len(catalogue(1000, 0).products)) == ("P0000", 1000)
    assert catalogue(1000, 0) == catalogue.__wrapped__(1000, 0)
    assert catalogue(1000, 1) != catalogue(1000, 0)


def test_pages_lead_where_their_buttons_say() -> None:
    shop = make("shop")
    state = shop.reset(3, "test")
    assert state.startswith("Wish: Buy ")
    assert shop.admissible() == ["search[<words>]"]
    results = shop.step("search[waterproof]")
    assert "Results for 'waterproof', page 1 of" in results.text
    assert "click[next page]" in shop.admissible()
    assert "click[previous page]" not in shop.admissible()
    assert "page 2 of" in shop.step("click[Next Page]").text
    assert "click[previous page]" in shop.admissible()
    product = next(action for action in shop.admissible() if action.startswith("click[P"))
    assert "Price: " in shop.step(product).text
    assert "It is " in shop.step("click[details]").text
    assert "waterproof" in shop.step("click[back to product]").text + shop.step("click[details]").text
    assert "Search page." in shop.step("click[back to search]").text
    assert not shop.step("click[buy now]").valid
    assert not shop.step("search[]").valid


def test_purchase_ends_the_episode_and_is_scored_by_the_wishes_fulfilled() -> None:
    shop = make("shop")
    shop.reset(0, "train")
    plan = shop.oracle()
    assert plan is not None
    for action in plan[:-3]:
        shop.step(action)
    observation = shop.step("click[buy now]")  # without choosing the two options
    assert observation.done
    assert "You have bought it." in observation.text
    assert shop.score == pytest.approx(3 / 5)
    assert not shop.success
    with pytest.raises(RuntimeError, match="after the episode ended"):
        shop.step("click[buy now]")


def test_another_kind_of_product_scores_nothing() -> None:
    shop = make("shop", cap=30)
    state = shop.reset(1, "train")
    kind = state.split("Buy ")[1].split(":")[0]
    other = next(name for name in ("teapot", "scarf") if name != kind)
    shop.step(f"search[{other}]")
    shop.step(next(action for action in shop.admissible() if action.startswith("click[P")))
    assert shop.step("click[buy now]").done
    assert shop.score == 0.0


def test_oracle_finds_its_way_from_any_page() -> None:
    shop = make("shop")
    for task in range(20):
        shop.reset(task, "test")
        shop.step("search[red]")
        shop.step("click[P0001]" if "click[P0001]" in shop.admissible() else "click[next page]")
        for action in shop.oracle() or []:
            if not shop.done:
                shop.step(action)
        assert shop.success


def test_search_ranks_what_has_more_of_the_words_first() -> None:
    found = catalogue(1000, 0).search("insulated water bottle")
    assert all(product.kind == "water bottle" and "insulated" in product.attributes for product in found[:5])
    assert catalogue(1000, 0).search("zzz") == []


def test_wrong_options_are_told() -> None:
    with pytest.raises(UserError, match="products must be at least 10"):
        make("shop", products=3)


def test_a_page_shows_as_many_products_as_asked() -> None:
    shop = make("shop", products=10, page=2)
    for task in range(20):
        shop.reset(task, "train")
        plan = shop.oracle()
        assert plan is not None
        for action in plan:
            observation = shop.step(action)
            assert observation.text.count("\n[P") <= 2
        assert shop.success
    with pytest.raises(UserError, match="page must be at least 1"):
        make("shop", page=0)


def test_a_shop_without_two_splits_of_wishes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.environments.shop.belongs_to", lambda content, split: split == "train")
    assert make("shop").reset(0, "train")
    with pytest.raises(UserError, match="too few wishes for two splits"):
        make("shop").reset(0, "test")
