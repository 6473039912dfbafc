"""WebShop (Yao et al. 2022) for sites that have it: its own text environment, products, goals and judge.

It is no package: `folder` is a checkout of princeton-nlp/WebShop with its data and search index, and what it imports
(gym, flask, pyserini, spacy, …) is installed where the jobs run. `WebAgentTextEnv` does the work; here are contract,
split of the goals and a plan. Its prices and goals are drawn from Python's random numbers when it loads: they are
seeded, so that a task is the same in every process.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from evaluators.environment import Environment, insert_lines
from evaluators.environments.shop import distractions
from manager.errors import UserError

TEST_GOALS = 500  # the first of the shuffled goals are for evaluation, as in the study
SMALL = 1000  # products in the files that a checkout reads unless its web_agent_site/utils.py is changed
SIZES = (100, SMALL, 100000)  # those with a search index of their own; None: all products
_PAGES = 5  # a search shows at most fifty products, ten a page
# Searches by a category, an attribute or at random, which WebShop takes for commands; and our own `<words>`.
_OWN_SEARCH = re.compile(r"<\w+>( |$)")
_FORM = re.compile(r"(search|click)\[(.*)\]", re.IGNORECASE | re.DOTALL)
_BACK, _NEXT, _BUY, _SEARCH = "back to search", "next >", "buy now", "search"
_numbers = itertools.count()


class WebShop(Environment):
    name = "webshop"
    version = 2
    response_tokens = 1024
    processes = 1  # each would load all products and the search index: gigabytes
    # Not what it writes while it runs: sessions, compiled code.
    files: ClassVar = {"folder": ("web_agent_site/**/*.py", "search_engine/**/*", "data/*")}

    def __init__(self, folder: str | None, products: int | None, goals: str, seed: int, cap: int) -> None:
        super().__init__(cap)
        if products is not None and products not in SIZES:
            raise UserError(
                f"environment 'webshop': products {products} has no search index; "
                f"there are {', '.join(map(str, SIZES))}, and null for all"
            )
        if goals not in ("human", "synthetic"):
            raise UserError(f"environment 'webshop': goals {goals!r} is not one of human, synthetic")
        self._world = _load(folder, products, goals == "human", seed)
        self._site = self._new_site()
        self._bought: float | None = None
        self._plan: list[str] | None = None
        self._task = 0

    def _new_site(self) -> Any:
        """A customer of the shop that all environments of this process share: products and index fill gigabytes."""
        kind, server = self._world
        return kind(observation_mode="text", server=server, session_prefix=f"{next(_numbers)}-")

    def task_count(self, split: str) -> int | None:
        goals = len(self._world[1].goals)
        return min(TEST_GOALS, goals) if split == "test" else max(0, goals - TEST_GOALS)

    def _begin(self, task: int, split: str) -> None:
        count = self.task_count(split) or 0
        if task >= count:
            raise UserError(f"environment 'webshop': has {count} goals of split {split!r}; there is no task {task}")
        self._task = task + (TEST_GOALS if split == "train" else 0)
        self._text = self._enter(self._site)
        self._bought = self._plan = None

    def _enter(self, site: Any) -> str:
        """A visit of its own: the shop remembers visits, and a second one under the same name would go on."""
        self._leave(site)
        site.session_prefix = f"{next(_numbers)}-"
        return str(site.reset(session=self._task)[0])

    def _leave(self, site: Any) -> None:
        self._world[1].user_sessions.pop(site.session, None)

    def instruction(self) -> str:
        return (
            "You are shopping on a web site for a customer, whose instruction is on every page. Find a product that "
            "fulfils it, choose its options and buy it.\n"
            "An action is search[words] on the search page, or click[button] with a button, product or option of the "
            "page you see, such as click[next >], click[red] or click[buy now]."
        )

    def admissible(self) -> list[str]:
        """`search[<words>]` stands for a search with any words."""
        if self.done:
            return []
        available = self._site.get_available_actions()
        search = ["search[<words>]"] if available["has_search_bar"] else []
        return [*search, *(f"click[{one}]" for one in available["clickables"] if one != _SEARCH)]

    def _act(self, action: str) -> bool:
        match = _FORM.fullmatch(action)
        if match is None:
            return False
        what, argument = match.group(1).lower(), match.group(2).strip().lower()
        available = self._site.get_available_actions()
        if what == "search":
            argument = _words(argument)
            possible = available["has_search_bar"] and argument and not _OWN_SEARCH.match(argument)
        else:
            # An opening bracket or a line break in a name is more than WebShop's own reading of an action can take.
            possible = argument in available["clickables"] and argument != _SEARCH and not set("[\n") & set(argument)
        if not possible:
            return False
        text, reward, done, _ = self._site.step(f"{what}[{argument}]")
        self._text = str(text)
        if done:
            self._bought = float(reward)
        return True

    def _state(self) -> str:
        """The page, its parts on lines of their own."""
        return "\n".join(part for part in self._text.split(" [SEP] ") if part.strip())

    @property
    def score(self) -> float:
        return self._bought or 0.0

    def _over(self) -> bool:
        return self._bought is not None

    def oracle(self) -> list[str] | None:
        """Back to the search, then a plan that was tried on another visit and got the whole reward; None without."""
        if self._plan is None:
            self._plan = self._try()
        if not self._plan:
            return None
        back = [] if self._site.get_available_actions()["has_search_bar"] else [f"click[{_BACK}]"]
        return [*back, *self._plan]

    def _try(self) -> list[str]:
        """Search for the product of the goal by its name and by its kind, choose the options, buy it."""
        goal = self._world[1].user_sessions[self._site.session]["goal"]
        options = goal["goal_options"]
        chosen = list(options.values()) if isinstance(options, dict) else list(options)
        for words in (goal["name"], goal["query"]):
            query = _words(str(words))
            site = self._new_site()
            self._enter(site)
            plan = self._buy(site, query, str(goal["asin"]).lower(), [str(one).lower() for one in chosen])
            self._leave(site)
            if plan:
                return plan
        return []

    def _buy(self, site: Any, query: str, product: str, options: list[str]) -> list[str]:
        plan = [f"search[{query}]"]
        site.step(plan[0])
        for _ in range(_PAGES):
            there = site.get_available_actions()["clickables"]
            if product in there or _NEXT not in there:
                break
            plan.append(f"click[{_NEXT}]")
            site.step(plan[-1])
        for button in (product, *options, _BUY):
            if button not in site.get_available_actions()["clickables"]:
                return []
            plan.append(f"click[{button}]")
            _, reward, done, _ = site.step(plan[-1])
        return plan if done and reward >= 1 else []

    def augment(self, state: str, epsilon: float, rng: random.Random) -> str:
        """Advertisements, trivial features and decoys without a button, until ε characters are reached."""
        return insert_lines(state, distractions(epsilon, rng), rng)


def _words(text: str) -> str:
    """What can be searched for: WebShop does nothing where there are brackets or line breaks among the words."""
    return re.sub(r"[\[\]\s]+", " ", text).lower().strip()


@cache
def _load(folder: str | None, products: int | None, human: bool, seed: int) -> tuple[Any, Any]:
    """(the text environment's class, a shop with its products, goals and index); once a process."""
    kind = _import(folder)
    before = random.getstate()
    random.seed(seed)
    try:
        first = kind(observation_mode="text", num_products=products, human_goals=human)
    except (OSError, KeyError, ValueError) as e:
        raise UserError(
            f"environment 'webshop': its data cannot be read ({e}); run ./setup.sh -d "
            f"{'all' if products is None else 'small'} in the checkout of princeton-nlp/WebShop"
        ) from e
    finally:
        random.setstate(before)
    loaded = len(first.server.all_products)
    if (products is None or products > SMALL) and loaded <= SMALL:
        raise UserError(
            f"environment 'webshop': {products or 'all'} products are asked for and the checkout gives {loaded}; run "
            "./setup.sh -d all, and name the files of all products in its web_agent_site/utils.py"
        )
    return kind, first.server


def _import(folder: str | None) -> Any:
    if folder is not None and folder not in sys.path:
        if not (Path(folder) / "web_agent_site").is_dir():
            raise UserError(
                f"environment 'webshop': {folder} holds no web_agent_site; "
                "folder is a checkout of princeton-nlp/WebShop, set up by its ./setup.sh"
            )
        sys.path.append(folder)
    try:
        from web_agent_site.envs import WebAgentTextEnv
    except ModuleNotFoundError as e:
        if e.name and e.name.split(".")[0] == "web_agent_site":
            what = "WebShop, which is no package: clone princeton-nlp/WebShop, run its ./setup.sh, name it by folder"
        else:
            what = f"{e.name}, which WebShop imports: install WebShop's requirements.txt, or use environment: shop"
        raise UserError(f"environment 'webshop' needs {what}") from e
    return WebAgentTextEnv


def make(
    folder: str | None = None, products: int | None = 1000, goals: str = "synthetic", seed: int = 0, cap: int = 15
) -> WebShop:
    """WebShop from the checkout `folder`, or from the import path; the first 500 goals are the test split."""
    return WebShop(folder, products, goals, seed, cap)
