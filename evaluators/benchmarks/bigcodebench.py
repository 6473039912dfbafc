"""BigCodeBench, complete: Python functions that use third-party libraries (Zhuo et al. 2024, Apache-2.0).

The tests patch and inspect what the function uses, so they run in its own process (docs/sandbox.md says what
that protects against). They need many libraries, some in old versions: MANAGER_BIGCODEBENCH_PYTHON names the
Python of an environment that has them. An item whose reference solution fails here is told as such (a package
is missing, of another version, a network is needed); no answer to it is counted as wrong.
"""

from __future__ import annotations

import ast
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Outcome, Sampler, Score
from evaluators.benchmarks._code import CodeBenchmark, fenced
from evaluators.scoring import code

if TYPE_CHECKING:
    from evaluators.sandbox import Program, Sandbox, Verdict

PYTHON_VARIABLE = "MANAGER_BIGCODEBENCH_PYTHON"
# Imported once by each worker; what of it is not installed is left out.
_PRELOAD = (
    "unittest.mock", "asyncio", "numpy", "pandas", "matplotlib.pyplot", "scipy.stats", "scipy.optimize",
    "scipy.integrate", "scipy.signal", "scipy.spatial", "scipy.fft", "sklearn.linear_model",
    "sklearn.cluster", "sklearn.decomposition", "sklearn.ensemble", "sklearn.model_selection",
    "sklearn.preprocessing", "sklearn.feature_extraction.text", "sklearn.metrics", "seaborn",
    "statsmodels.api", "requests", "bs4", "nltk", "PIL.Image", "cv2", "psutil", "flask", "django",
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


_faults: dict[tuple[str, int, str | None], str | None] = {}
_faults_lock = threading.Lock()


class BigCodeBench(CodeBenchmark):
    name = "bigcodebench"
    version = 2
    source = DataSource(
        hub="bigcode/bigcodebench",
        revision="b74c0d0bf70d2c0bc459be537895cca163007f1a",
        folder="bigcodebench",
        splits={"test": "v0.1.4"},
    )
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        keep = ("complete_prompt", "code_prompt", "canonical_solution", "test", "entry_point", "libs")
        return Item(str(row["task_id"]), {key: row[key] for key in keep}, row["canonical_solution"])

    def question(self, item: Item) -> str:
        return (
            "Complete this Python function. Give the whole program, with the imports it needs, in one fenced "
            f"code block.\n\n{fenced(item.fields['complete_prompt'])}"
        )

    def sandbox(self) -> Sandbox:
        from evaluators import sandbox

        return sandbox.shared(_PRELOAD, python=python())

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
        verdict = self.verdict(item, solution)
        if not verdict.passed and (fault := self.fault(item)):
            return Score(None, Outcome.GRADER_FAILED, solution, fault)
        return code.score_of(verdict, solution)

    def fault(self, item: Item) -> str | None:
        """Why the item cannot be judged on this machine; None where its reference solution passes."""
        key = (item.id, hash(item.fields["test"]), os.environ.get(PYTHON_VARIABLE))
        with _faults_lock:
            known = key in _faults
        if not known:
            fault = self._find_fault(item)
            with _faults_lock:
                _faults[key] = fault
        return _faults[key]

    def _find_fault(self, item: Item) -> str | None:
        reference = item.fields["complete_prompt"] + item.fields["canonical_solution"]
        verdict: Verdict | None = None
        for _ in range(2):  # some tests draw random numbers
            verdict = self.verdict(item, reference)
            if verdict.passed:
                return None
            if verdict.kind == "time_limit":
                break
        assert verdict is not None
        absent = self.absent(item)
        if absent:
            return f"needs package {', '.join(absent)} (in the Python of {PYTHON_VARIABLE})"
        last = verdict.detail.strip().splitlines()[-1:] or [""]
        return f"the reference solution fails here as well: {verdict.kind}: {last[0][:300]}"

    def absent(self, item: Item) -> tuple[str, ...]:
        """The packages that the item needs and the sandbox's Python lacks."""
        from evaluators.sandbox import Script

        program = (
            "import importlib.util\n"
            f"print(*[name for name in {sorted(modules(item))!r} if not importlib.util.find_spec(name)])"
        )
        verdict = self.sandbox().run(Script(program))
        if not verdict.passed:
            raise RuntimeError(f"the sandbox could not say which modules it has: {verdict}")
        return tuple(sorted(package(name) for name in verdict.stdout.decode().split()))

    def gold(self, item: Item) -> str:
        return fenced(item.fields["complete_prompt"] + item.fields["canonical_solution"])

    def wrong(self, item: Item, seed: int) -> str:
        head = item.fields["code_prompt"].rstrip()
        return fenced(f"{head}\n    raise NotImplementedError({seed})\n")


def python() -> str | None:
    """The Python with the benchmark's libraries; None: the project's own."""
    return os.environ.get(PYTHON_VARIABLE) or None


def modules(item: Item) -> set[str]:
    """The top-level modules that the item's program and tests import."""
    needed = set(ast.literal_eval(item.fields["libs"]))
    for source in (item.fields["test"], item.fields["code_prompt"].rstrip() + "\n    pass\n"):
        needed |= _imported(source)
    return needed


def package(module: str) -> str:
    """What to install for a module."""
    return _PACKAGES.get(module, module)


def test_methods(tests: str) -> dict[str, tuple[str, ...]]:
    """Test class -> its test methods, from the text of the tests."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.parse(tests).body:
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases):
            names = dict.fromkeys(
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef) and part.name.startswith("test")
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


BENCHMARK = BigCodeBench()
