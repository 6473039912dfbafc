"""BigCodeBench, complete: Python functions that use third-party libraries (Zhuo et al. 2024, Apache-2.0).

The tests patch and inspect what the function uses, so they run in its own process (see docs/sandbox.md for what
that protects against). An item whose libraries are not installed is told as such, never counted as wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler, Score
from evaluators.benchmarks._code import CodeBenchmark, fenced
from evaluators.scoring import code

if TYPE_CHECKING:
    from evaluators.sandbox import Program, Sandbox

# Imported once by each worker; what of it is not installed is left out.
_PRELOAD = (
    "unittest.mock", "asyncio", "numpy", "pandas", "matplotlib.pyplot", "scipy.stats", "scipy.optimize",
    "scipy.integrate", "scipy.signal", "scipy.spatial", "scipy.fft", "sklearn.linear_model", "sklearn.cluster",
    "sklearn.decomposition", "sklearn.ensemble", "sklearn.model_selection", "sklearn.preprocessing",
    "sklearn.feature_extraction.text", "sklearn.metrics", "seaborn", "statsmodels.api", "requests", "bs4", "nltk",
    "PIL.Image", "cv2", "psutil", "flask", "django",
)  # fmt: skip
_PACKAGES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "Crypto": "pycryptodome",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "flask_login": "Flask-Login",
    "flask_mail": "Flask-Mail",
    "flask_restful": "Flask-RESTful",
    "flask_wtf": "Flask-WTF",
    "Levenshtein": "python-Levenshtein",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "wtforms": "WTForms",
    "yaml": "PyYAML",
}


class BigCodeBench(CodeBenchmark):
    name = "bigcodebench"
    source = DataSource(
        hub="bigcode/bigcodebench", revision=None, folder="bigcodebench", splits={"test": "v0.1.4"}
    )
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        keep = ("complete_prompt", "code_prompt", "canonical_solution", "test", "entry_point", "libs")
        return Item(str(row["task_id"]), {key: row[key] for key in keep}, row["canonical_solution"])

    def question(self, item: Item) -> str:
        return (
            "Complete this Python function. Give the whole program, with the imports it needs, in one fenced code "
            f"block.\n\n{fenced(item.fields['complete_prompt'])}"
        )

    def sandbox(self) -> Sandbox:
        from evaluators import sandbox

        return sandbox.shared(_PRELOAD)

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        from evaluators.sandbox import Limits, UnitTests

        fields = item.fields
        yield UnitTests(
            # the prompt's imports come first, as in the benchmark's own calibrated score
            source=f"{fields['code_prompt'].rstrip()}\n    pass\n\n{solution}",
            tests=fields["test"],
            expected=test_methods(fields["test"]),
            limits=Limits(cpu_s=30, wall_s=30, memory_mb=4096, processes=64, file_mb=256, open_files=512),
        )

    def judge(self, item: Item, solution: str) -> Score:
        return code.score_of(self.verdict(item, solution), solution, absent=self.absent(item))

    def absent(self, item: Item) -> tuple[str, ...]:
        """The packages that the item needs and the sandbox's Python lacks."""
        needed = set(ast.literal_eval(item.fields["libs"]))
        for source in (item.fields["test"], item.fields["code_prompt"] + "    pass\n"):
            needed |= _imported(source)
        return tuple(sorted(_PACKAGES.get(name, name) for name in needed & _not_installed(self.sandbox(), frozenset(needed))))

    def gold(self, item: Item) -> str:
        return fenced(item.fields["complete_prompt"] + item.fields["canonical_solution"])

    def wrong(self, item: Item, seed: int) -> str:
        head = item.fields["code_prompt"].rstrip()
        return fenced(f"{head}\n    raise NotImplementedError({seed})\n")


def test_methods(tests: str) -> dict[str, tuple[str, ...]]:
    """Test class -> its test methods, from the text of the tests."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.parse(tests).body:
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases):
            names = dict.fromkeys(
                part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test")
            )
            found[node.name] = tuple(names)
    return found


def _imported(source: str) -> set[str]:
    """The top-level modules that the source imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@cache
def _not_installed(box: Sandbox, names: frozenset[str]) -> frozenset[str]:
    """Which of the modules the sandbox's Python does not find."""
    from evaluators.sandbox import Script

    program = f"import importlib.util\nprint(*[n for n in {sorted(names)!r} if not importlib.util.find_spec(n)])"
    verdict = box.run(Script(program))
    if not verdict.passed:
        raise RuntimeError(f"the sandbox could not say which modules it has: {verdict}")
    return frozenset(verdict.stdout.decode().split())


BENCHMARK = BigCodeBench()
