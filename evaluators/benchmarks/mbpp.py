"""MBPP: short Python tasks with three assertions each (Austin et al. 2021, CC-BY-4.0).

The assertions run in a process of their own and call the answer's functions over a socket.
"""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler
from evaluators.benchmarks._code import CodeBenchmark, fenced, share_passed
from evaluators.scoring import code

if TYPE_CHECKING:
    from evaluators.sandbox import Calls


class Mbpp(CodeBenchmark):
    """The full test split has 500 rows, the sanitized one 257; both row formats are read."""

    name = "mbpp"
    source = DataSource(
        hub="google-research-datasets/mbpp",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        config="full",
        folder="mbpp",
        splits={"train": "train", "test": "test", "validation": "validation", "prompt": "prompt"},
    )
    sampler = Sampler(samples=1, temperature=0.5, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
        tests = tuple(row["test_list"])
        fields = {
            "text": row.get("text") or row["prompt"],
            "tests": tests,
            "setup": setup,
            "code": row["code"],
            "names": names_under_test(row["code"], (setup, *tests)),
        }
        return Item(str(row["task_id"]), fields, row["code"])

    def question(self, item: Item) -> str:
        if declared := item.fields.get("declarations"):  # training items with tests that are not shown
            return (
                f"{item.fields['text'].strip()}\n\nWrite the solution in Python, in one fenced code block. "
                f"It has to define:\n\n{fenced(declared)}"
            )
        tests = "\n".join(item.fields["tests"])
        return (
            f"{item.fields['text'].strip()}\n\nWrite the solution in Python, in one fenced code block. "
            f"It has to pass these tests:\n\n{fenced(tests)}"
        )

    def programs(self, item: Item, solution: str) -> Iterator[Calls]:
        from evaluators.sandbox import Calls, Limits

        tests, setup = item.fields["tests"], item.fields["setup"]
        yield Calls(
            source=solution,
            tests=(setup, *tests),  # a set-up may build objects of the program's classes
            names=item.fields["names"],
            limits=Limits(cpu_s=30, wall_s=30),
        )

    def share(self, item: Item, completion: str) -> float | None:
        """The share of the assertions that hold, each in a run of its own."""
        solution = code.python_code(completion)
        if solution is None:
            return 0.0
        (together,) = self.programs(item, solution)
        setup, *tests = together.tests
        alone = (dataclasses.replace(together, tests=(setup, test)) for test in tests)
        return share_passed(list(self.sandbox().run_many(alone)))

    def gold(self, item: Item) -> str:
        return fenced(item.fields["code"].replace("\r\n", "\n"))

    def wrong(self, item: Item, seed: int) -> str:
        named = item.fields["names"]
        lines = (f"def {name}(*values, **more):\n    raise NotImplementedError({seed})\n" for name in named)
        return fenced("\n".join(lines))


def names_under_test(reference: str, tests: tuple[str, ...]) -> tuple[str, ...]:
    """What the tests use of a program: the names that the reference defines, never what an answer defines.

    An answer that names a function `set` or `len` must not change the meaning of a test.
    """
    defined: set[str] = set()
    for node in _parsed(reference).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined.update(target.id for target in node.targets if isinstance(target, ast.Name))
    used = {node.id for test in tests for node in ast.walk(_parsed(test)) if isinstance(node, ast.Name)}
    return tuple(sorted(defined & used))


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in the data are not the user's to mend
        return ast.parse(source)


BENCHMARK = Mbpp()
