"""`WebAgentTextEnv` with WebShop's interface: names, arguments, sessions and what a step returns, on a few products.

Like the original it draws prices and the order of the goals from Python's random numbers when it loads, remembers
sessions by their name, takes a search on any page, and does nothing where an action is not possible.
"""

from __future__ import annotations

import itertools
import random
import re
import string

COLOURS, SIZES = ("red", "blue", "green", "black"), ("small", "medium", "large", "x-large")
KINDS = ("men's shirt", "desk lamp", "tea kettle", "running shoes")


class _Server:
    def __init__(self, num_products: int | None, human_goals: int | None) -> None:
        self.products = {}
        for number in range(40):
            asin = f"B{number:09d}"
            kind = KINDS[number % 4]
            name = f"{string.ascii_uppercase[number % 26]}{number} {kind}"
            self.products[asin] = {"asin": asin, "name": name, "query": kind, "price": random.uniform(10, 90)}
        self.all_products = list(self.products.values())
        self.goals = [
            {
                "asin": asin, "name": product["name"], "query": product["query"], "attributes": ["cotton"],
                "price_upper": product["price"] + random.choice([10, 20]),
                "goal_options": [colour, size] if human_goals else {"color": colour, "size": size},
                "instruction_text": f"Find me a {product['name']} with color: {colour}, and size: {size}",
            }
            for asin, product in self.products.items()
            for colour, size in itertools.product(COLOURS, SIZES)
        ]  # fmt: skip
        random.seed(233)
        random.shuffle(self.goals)
        self.user_sessions: dict[str, dict] = {}

    def found(self, words: str) -> list[str]:
        wanted = set(words.split())
        hits = {asin: len(wanted & set(p["name"].lower().split())) for asin, p in self.products.items()}
        return sorted((asin for asin, number in hits.items() if number), key=lambda asin: (-hits[asin], asin))[:50]


class WebAgentTextEnv:
    def __init__(self, observation_mode="html", file_path="", server=None, **kwargs) -> None:
        self.observation_mode = observation_mode
        self.kwargs = kwargs
        self.server = server or _Server(kwargs.get("num_products"), kwargs.get("human_goals"))
        self.session_prefix = kwargs.get("session_prefix")
        self.reset()

    def reset(self, session=None, instruction_text=None):
        number = session if isinstance(session, int) else random.randrange(len(self.server.goals))
        self.session = str(session) if session is not None else "".join(random.choices(string.ascii_lowercase, k=10))
        if self.session_prefix is not None:
            self.session = self.session_prefix + self.session
        state = self.server.user_sessions.setdefault(
            self.session, {"goal": self.server.goals[number], "done": False, "visits": 0}
        )
        state["visits"] += 1
        assert state["visits"] == 1, "a session that goes on: the adapter must give each episode its own"
        self._page, self._found, self._number, self._asin, self._options = "search", [], 0, None, {}
        return self._text(), None

    def get_available_actions(self):
        return {"has_search_bar": self._page == "search", "clickables": self._clickables()}

    def _clickables(self):
        if self._page == "search":
            return ["search"]
        if self._page == "results":
            more = ["next >"] if 10 * (self._number + 1) < len(self._found) else []
            shown = self._found[10 * self._number : 10 * (self._number + 1)]
            return ["back to search", *more, *(asin.lower() for asin in shown)]
        return ["back to search", "< prev", "buy now", *COLOURS, *SIZES]

    def step(self, action):
        found = re.match(r"(.+)\[(.+)\]", action)  # the original's way: the last bracket counts, and no line break
        what, argument = (found[1], found[2].lower()) if found else (action, "")
        reward, done = 0, False
        if what == "search" and argument:
            self._page, self._found, self._number = "results", self.server.found(argument), 0
        elif what == "click" and argument in self._clickables() and argument != "search":
            reward, done = self._click(argument)
        return self._text(), reward, done, None

    def _click(self, button):
        if button == "back to search":
            self._page, self._options = "search", {}
        elif button == "next >":
            self._number += 1
        elif button == "< prev":
            self._page = "results"
        elif button == "buy now":
            return self._reward(), True
        elif button in COLOURS or button in SIZES:
            self._options["color" if button in COLOURS else "size"] = button
        else:
            self._page, self._asin, self._options = "item", button.upper(), {}
        return 0, False

    def _reward(self):
        goal = self.server.user_sessions[self.session]["goal"]
        options = goal["goal_options"]
        wanted = set(options.values() if isinstance(options, dict) else options)
        right = [self._asin == goal["asin"], self.server.products[self._asin]["price"] <= goal["price_upper"],
                 *(one in self._options.values() for one in wanted)]  # fmt: skip
        return sum(right) / len(right)

    def _text(self):
        goal = self.server.user_sessions[self.session]["goal"]
        shown = [f"{asin} ${self.server.products[asin]['price']:.2f}" for asin in self._found[:10]]
        body = {"search": ["Search"], "results": ["Page 1", *shown], "item": [f"{self._asin}", "Buy Now"]}[self._page]
        return " [SEP] ".join(["WebShop", "Instruction:", goal["instruction_text"], *body])

    def close(self):
        pass
