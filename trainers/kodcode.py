"""Rows of KodCode (CC-BY-NC-4.0): a question, a solution, and pytest functions that import from `solution`.

They are asked and judged as MBPP is: the tests call the answer's functions over a socket, from a process that the
answer cannot reach. The prompt shows the declarations and not the tests.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.benchmark import Item

MODULE = "solution"


@dataclass(frozen=True)
class Tests:
    """The tests of a row: what runs before them, each test with its call, and the names they use of the answer."""

    setup: str
    tests: tuple[str, ...]
    names: tuple[str, ...]


def read_tests(source: str) -> Tests | None:
    """None where the tests need more than plain functions that call what they import from the solution by name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in the data are not the user's to mend
            module = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    setup, tests, names = [], [], []
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module == MODULE and not node.level:
            if any(alias.name == "*" or alias.asname for alias in node.names):
                return None
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            if node.decorator_list or node.args.args or node.args.posonlyargs:
                return None  # fixtures and parameters are pytest's to give
            tests.append(f"{ast.unparse(node)}\n{node.name}()")
        elif isinstance(node, ast.Import) and any(alias.name.split(".")[0] == MODULE for alias in node.names):
            return None
        elif not (isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["pytest"]):
            setup.append(ast.unparse(node))
    uses_pytest = any(isinstance(node, ast.Name) and node.id == "pytest" for node in ast.walk(module))
    if uses_pytest or not names or not tests:
        return None
    return Tests("\n".join(setup), tuple(tests), tuple(dict.fromkeys(names)))


def declarations(row: Mapping[str, Any], names: Sequence[str], solution: str) -> str:
    """The declarations of what is tested: as the row says, else from the solution."""
    told = [one.get("function_declaration") for one in row.get("test_info") or () if isinstance(one, Mapping)]
    if any(told):
        return "\n".join(text for text in told if text)
    found = []
    for node in ast.parse(solution).body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            found.append(f"def {node.name}({ast.unparse(node.args)}):")
        elif isinstance(node, ast.ClassDef) and node.name in names:
            found.append(f"class {node.name}:")
    return "\n".join(found)


def item(row: Mapping[str, Any], identifier: str) -> Item | None:
    """The row as an item of MBPP; None where it cannot be asked or judged."""
    tests = read_tests(row.get("test") or row.get("test_code") or "")
    question, solution = str(row.get("question") or "").strip(), str(row.get("solution") or "")
    if tests is None or not question or not solution.strip():
        return None
    try:
        shown = declarations(row, tests.names, solution)
    except (SyntaxError, ValueError):
        return None
    fields = {
        "text": question, "tests": tests.tests, "setup": tests.setup, "code": solution, "names": tests.names,
        "declarations": shown,
    }  # fmt: skip
    return Item(identifier, fields, solution)
