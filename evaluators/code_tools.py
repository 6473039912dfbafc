"""What the code benchmarks find on this machine: BigCodeBench's libraries, the languages of Aider Polyglot.

Says how many items cannot be judged for what is missing. Runs no item; `manager doctor` shows it.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evaluators import benchmarks
from evaluators.benchmark import Item
from evaluators.benchmarks import bigcodebench
from evaluators.data import DATA_DIR_VARIABLE, default_data_dir
from evaluators.scoring.code_polyglot import LANGUAGES, find_tools
from manager.errors import UserError

ASK_S = 60.0


@dataclass(frozen=True)
class CodeTools:
    """Of one benchmark: what was found, how many items lack something, and what to do."""

    benchmark: str
    ok: bool
    found: str
    advice: str


def examine(data_dir: Path | None = None) -> list[CodeTools]:
    return [_bigcodebench(_items("bigcodebench", data_dir)), _polyglot(_items("aider_polyglot", data_dir))]


def _items(name: str, data_dir: Path | None) -> list[Item] | None:
    """None where no data folder has them; a hub's cache is not opened for it."""
    folder = data_dir or default_data_dir()
    if folder is None:
        return None
    try:
        return list(benchmarks.get(name).items("test", folder))
    except UserError:
        return None


def _bigcodebench(items: list[Item] | None) -> CodeTools:
    python = bigcodebench.python() or sys.executable
    advice = f"docs/sandbox.md, BigCodeBench's libraries; {bigcodebench.PYTHON_VARIABLE} names the Python that has them"
    if items is None:
        text = f"no rows at hand ({DATA_DIR_VARIABLE}): what its items import is not known"
        return CodeTools("bigcodebench", False, text, advice)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in their programs
        needed = {item.id: bigcodebench.modules(item) for item in items}
    try:
        absent = _absent(python, sorted(set().union(*needed.values())))
    except (OSError, subprocess.SubprocessError) as error:
        return CodeTools("bigcodebench", False, f"{python} does not answer: {error}", advice)
    lacking = Counter(name for names in needed.values() for name in names & absent)
    if not lacking:
        text = f"{python} has every library that the {len(items)} items import"
        return CodeTools("bigcodebench", True, text, "versions count too: an item whose reference fails is not judged")
    told = ", ".join(f"{bigcodebench.package(name)} ({count})" for name, count in lacking.most_common())
    cannot = sum(bool(names & absent) for names in needed.values())
    return CodeTools(
        "bigcodebench", False, f"{cannot} of {len(items)} items cannot be judged; {python} lacks {told}", advice
    )


def _absent(python: str, names: Iterable[str]) -> set[str]:
    """Which of these top-level modules that Python does not have; none of them is imported."""
    program = f"import importlib.util\nprint(*[n for n in {list(names)!r} if importlib.util.find_spec(n) is None])"
    answer = subprocess.run(
        [python, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=ASK_S, cwd="/"
    )
    return set(answer.stdout.split())


def _polyglot(items: list[Item] | None) -> CodeTools:
    missing = {language: tools.missing for language in LANGUAGES if (tools := find_tools(language)).missing}
    counts = Counter(str(item.fields["language"]) for item in items or ())
    if not missing:
        return CodeTools("aider_polyglot", True, ", ".join(LANGUAGES), "exercises in six languages")
    told = ", ".join(f"{name} ({counts[name]})" if items else name for name in missing)
    share = f"{sum(counts[name] for name in missing)} of {len(items)} exercises" if items else "exercises"
    return CodeTools(
        "aider_polyglot", False, f"{share} cannot be judged: no tools for {told}", "; ".join(missing.values())
    )
