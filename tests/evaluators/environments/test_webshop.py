"""The adapter for WebShop keeps the contract, on a small package with its interface (the real one is a checkout)."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.environment_pool import EnvironmentPool
from evaluators.environments import facts, make, webshop
from evaluators.worlds import Worlds
from manager.errors import UserError
from tests.evaluators.environments import contract

STAND_IN = Path(__file__).parent / "webshop_stand_in"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(STAND_IN)
    _forget()


def _forget() -> None:
    webshop._load.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "web_agent_site"]:
        del sys.modules[name]


def test_contract(folder: str) -> None:
    for split in ("train", "test"):
        assert contract.solved_share(make("webshop", folder=folder), range(60), split) >= 0.95
    contract.check_repeats(lambda: make("webshop", folder=folder), range(5))
    contract.check_invalid_actions(make("webshop", folder=folder))
    contract.check_augmentation(make("webshop", folder=folder), range(5), 80)


def test_first_500_goals_are_the_test_split(folder: str) -> None:
    shop = make("webshop", folder=folder)
    assert (shop.task_count("test"), shop.task_count("train")) == (500, 140)
    contract.check_splits_are_disjoint(shop, shop._state, 140)
    first = shop.reset(0, "train")
    assert shop._world[1].goals[500]["instruction_text"] in first  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="has 140 goals of split 'train'; there is no task 140"):
        shop.reset(140, "train")


def test_tasks_do_not_depend_on_the_random_numbers_of_the_process(folder: str) -> None:
    program = (
        "import random, sys\nfrom evaluators.environments import make\nrandom.seed(int(sys.argv[1]))\n"
        f"shop = make('webshop', folder={folder!r})\nshop.reset(3, 'test')\nprint(shop.step('search[lamp]').text)\n"
        "print(random.random())"
    )
    seen = [
        subprocess.run([sys.executable, "-c", program, seed], capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    ]
    pages, after = zip(*(text.rstrip().rsplit("\n", 1) for text in seen), strict=True)
    assert pages[0] == pages[1]
    assert "$" in pages[0]
    assert after[0] != after[1]  # and it leaves the process's own numbers as they were


def test_pages_are_lines_and_actions_are_those_of_the_page(folder: str) -> None:
    shop = make("webshop", folder=folder)
    state = shop.reset(0, "test")
    assert state.splitlines()[:2] == ["WebShop", "Instruction:"]
    assert shop.admissible() == ["search[<words>]"]
    assert not shop.step("click[search]").valid
    assert shop.step("search[shirt]").valid
    assert not shop.step("search[shirt]").valid  # there is no search bar on this page
    assert {"click[back to search]", "click[b000000000]"} <= set(shop.admissible())
    assert shop.step("click[B000000000]").valid
    bought = shop.step("click[Buy Now]")
    assert bought.done
    assert 0 < shop.score < 1
    assert not shop.success


@pytest.mark.parametrize("words", ["red [cotton] shirt", "red\n cotton shirt", "[red shirt]"])
def test_brackets_and_line_breaks_are_no_words(folder: str, words: str) -> None:
    """WebShop itself does nothing then, and says nothing."""
    shop = make("webshop", folder=folder)
    before = shop.reset(0, "test")
    shown = shop.step(f"search[{words}]")
    assert shown.valid
    assert shown.text != before


@pytest.mark.parametrize("words", ["<r>", "<q> shirt", "<a> cotton", "<words>", "[ ]"])
def test_commands_of_the_shop_itself_are_no_searches(folder: str, words: str) -> None:
    shop = make("webshop", folder=folder)
    shop.reset(0, "test")
    assert not shop.step(f"search[{words}]").valid


def test_a_button_that_webshop_cannot_read_is_not_possible(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make("webshop", folder=folder)
    shop.reset(0, "test")
    shop.step("search[shirt]")
    site = shop._site  # type: ignore[attr-defined]
    monkeypatch.setattr(site, "_clickables", lambda: ["back to search", "xl [slim]", "xl]"])
    assert not shop.step("click[xl [slim]]").valid
    assert shop.step("click[back to search]").valid


def test_fewer_products_than_asked_for_are_told(folder: str) -> None:
    """A checkout reads the file of 1,000 products whatever number is asked for, beside an index of more."""
    for products in (None, 100000):
        with pytest.raises(UserError, match=r"products are asked for and the checkout gives 40; run ./setup.sh -d all"):
            make("webshop", folder=folder, products=products)


def test_oracle_finds_its_way_from_any_page_also_for_human_goals(folder: str) -> None:
    for goals in ("human", "synthetic"):
        shop = make("webshop", folder=folder, goals=goals)
        shop.reset(7, "test")
        shop.step("search[kettle]")
        for action in shop.oracle() or []:
            shop.step(action)
        assert shop.success


def test_environments_of_a_process_share_the_shop_and_leave_no_visits_behind(folder: str) -> None:
    one, other = make("webshop", folder=folder), make("webshop", folder=folder)
    assert one._world[1] is other._world[1]  # type: ignore[attr-defined]
    before = other.reset(1, "test")
    one.reset(1, "test")
    one.step("search[lamp]")
    assert other._state() == before
    for task in range(20):
        one.reset(task, "test")
        one.oracle()
    assert len(one._world[1].user_sessions) <= 3  # type: ignore[attr-defined]


def test_many_environments_share_one_process_unless_asked_otherwise(folder: str) -> None:
    """Each process would load all products."""
    worlds = Worlds("webshop", {"folder": folder}, 6)
    worlds.grow(2)
    shown = [one.reset(task, "test").text for task, one in enumerate(worlds.all)]
    assert len(set(shown)) == 8
    assert len(worlds._pools) == 1
    assert re.fullmatch(r"8 of webshop in one process of [\d,]+ MB", worlds.told())
    assert worlds._pools[0].memory_mb() > 1
    worlds.close()
    asked = Worlds("webshop", {"folder": folder}, 6, processes=2)
    assert [pool.count for pool in asked._pools] == [3, 3]
    assert asked.told().startswith("6 of webshop in 2 processes of ")
    asked.close()


def test_pool_of_processes_plays_it(folder: str) -> None:
    pool = EnvironmentPool("webshop", {"folder": folder}, count=4, processes=2)
    shown = pool.reset({index: (index, "test") for index in range(4)})
    plans = pool.oracle(range(4))
    while going := {index: plan.pop(0) for index, plan in plans.items() if plan}:
        shown.update(pool.step(going))
    assert all(one.success for one in shown.values())
    pool.close()


def test_missing_webshop_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _forget()
    assert facts("webshop").options["products"] == 1000  # what a plan needs does not need WebShop
    with pytest.raises(UserError, match=r"is no package: clone princeton-nlp/WebShop, run its ./setup.sh"):
        make("webshop")
    with pytest.raises(UserError, match="holds no web_agent_site"):
        make("webshop", folder=str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / "web_agent_site" / "envs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import a_module_that_nobody_has\n")
    with pytest.raises(UserError, match="needs a_module_that_nobody_has, which WebShop imports"):
        make("webshop", folder=str(tmp_path))
    _forget()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"products": 500}, "products 500 has no search index; there are 100, 1000, 100000"),
        ({"goals": "other"}, "goals 'other' is not one of human, synthetic"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make("webshop", **options)


def test_augmentation_is_about_epsilon_characters(folder: str) -> None:
    shop = make("webshop", folder=folder)
    state = shop.reset(0, "test")
    added = len(shop.augment(state, 80, random.Random(0))) - len(state)
    assert 80 <= added < 240
