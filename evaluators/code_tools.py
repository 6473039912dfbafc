"""What the code benchmarks find on this machine: BigCodeBench's libraries, the languages of Aider Polyglot.

Says how many items cannot be judged for what is missing. Runs no item; `manager doctor` shows it.
"""

from __future__ import annotations

import re
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
from evaluators.scoring.code_polyglot import LANGUAGES, TOOLS_VARIABLE, find_tools, tools_folder
from manager.errors import UserError

ASK_S = 60.0
BOOST = Path("/usr/include/boost")


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
    lacking = [(item.id, package) for item in items or () if (package := lacking_package(item))]
    lacking = [(name, package) for name, package in lacking if name.partition("/")[0] not in missing]
    if not missing and not lacking:
        return CodeTools("aider_polyglot", True, ", ".join(LANGUAGES), "exercises in six languages")
    cannot = sum(counts[name] for name in missing) + len(lacking)
    share = f"{cannot} of {len(items)} exercises" if items else "exercises"
    told = ", ".join(f"{name} ({counts[name]})" if items else name for name in missing)
    why = [f"no tools for {told}"] if told else []
    why += [f"no packages for {', '.join(f'{name} ({package})' for name, package in lacking)}"] if lacking else []
    advice = list(missing.values())
    advice += [f"docs/sandbox.md, Polyglot's tools: {TOOLS_VARIABLE}, Boost's headers"] if lacking else []
    return CodeTools("aider_polyglot", False, f"{share} cannot be judged: {'; '.join(why)}", "; ".join(advice))


def lacking_package(item: Item) -> str | None:
    """A package that the exercise itself names and this machine has no place for; references are not looked at."""
    fields, folder = item.fields, tools_folder()
    if fields["language"] == "cpp":
        named = any("boost/" in text for text in (*fields["tests"].values(), *fields["example"].values()))
        return "Boost" if named and not BOOST.is_dir() else None
    if fields["language"] == "rust":
        text = {**fields["other"], **fields["solution"]}.get("Cargo.toml", "")
        crates = re.findall(r"^([\w-]+)\s*=", text.partition("[dependencies]")[2].partition("[")[0], re.MULTILINE)
        return ", ".join(crates) if crates and not (folder and (folder / "cargo").is_dir()) else None
    if fields["language"] == "java":
        build = fields["other"].get("build.gradle", "")
        jars = re.findall(r"^\s*\w*[iI]mplementation\W+([\w.-]+):([\w.-]+)", build, re.MULTILINE)
        named_jars = [name for group, name in jars if not group.startswith(("org.junit", "org.assertj"))]
        return ", ".join(named_jars) if named_jars and not (folder and any((folder / "java").glob("*.jar"))) else None
    return None
