"""How an exercise of each language is laid out, built and tested, and how its report is read.

C++, Java and JavaScript run the exercises' own test files, unchanged, under small runners of this project
(polyglot_runners) in the place of Catch, JUnit with AssertJ, and jest, so that no package has to be fetched.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluators.sandbox import Program, Verdict

TOOLS_VARIABLE = "MANAGER_POLYGLOT_TOOLS"
_RUNNERS = Path(__file__).parent / "polyglot_runners"
_REPORT = "report.json"
_BUILD_S, _TEST_S = 120.0, 60.0
_RUST_SUMMARY = re.compile(r"^test result: (\w+)\. (\d+) passed; (\d+) failed;", re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """One exercise with an answer's files in place. Paths are relative to the exercise's folder."""

    language: str
    name: str
    files: Mapping[str, str]  # the answer's and all others but the tests
    tests: Mapping[str, str]


@dataclass(frozen=True)
class Tools:
    """What a language needs beside the system's folders. `missing`: what to install, or empty."""

    missing: str = ""
    mounts: tuple[Path, ...] = ()
    path: tuple[str, ...] = ()  # folders in front of PATH


def tools_folder() -> Path | None:
    """The folder with `java/*.jar` and `cargo/` (a CARGO_HOME) for exercises that need more packages."""
    place = os.environ.get(TOOLS_VARIABLE)
    return Path(place).resolve() if place else None


def find_tools(language: str) -> Tools:
    """Where the language's tools are on this machine."""
    return _find_tools(language, os.environ.get("PATH", ""), tools_folder())


@cache
def _find_tools(language: str, _path: str, folder: Path | None) -> Tools:
    needed, install = _NEEDED[language]
    mounts: list[Path] = []
    path: list[str] = []
    for name in needed:
        found = shutil.which(name)
        if found is None:
            return Tools(f"{name} is not on PATH: {install}")
        home = _home(name, Path(found))
        if not home.is_relative_to("/usr"):
            mounts.append(home)
            path.append(str(home / "bin"))
    if folder and language in ("java", "rust"):
        mounts.append(folder)
    return Tools("", tuple(dict.fromkeys(mounts)), tuple(dict.fromkeys(path)))


_NEEDED: dict[str, tuple[tuple[str, ...], str]] = {
    "cpp": (("g++",), "install g++"),
    "go": (("go",), "install Go (https://go.dev/dl)"),
    "java": (("java", "javac"), "install a JDK of version 17 or later"),
    "javascript": (("node",), "install Node.js 20 or later"),
    "python": ((), ""),
    "rust": (("cargo", "rustc", "cc"), "install Rust (https://rustup.rs) and a C compiler"),
}

LANGUAGES = tuple(_NEEDED)


def _home(name: str, found: Path) -> Path:
    """The folder that holds a tool with everything it needs."""
    asked = {"cargo": ("rustc", "--print", "sysroot"), "rustc": ("rustc", "--print", "sysroot"),
             "go": ("go", "env", "GOROOT")}  # fmt: skip
    if name in asked:
        answer = subprocess.run(asked[name], capture_output=True, text=True, check=True, cwd="/")
        return Path(answer.stdout.strip()).resolve()
    return found.resolve().parents[1]


def program(exercise: Exercise, tools: Tools, secret: str) -> Program:
    """What is run for an answer. The tests' files are written over whatever the answer has there."""
    return _PROGRAMS[exercise.language](exercise, tools, secret)


def _command(
    files: Mapping[str, str], build: tuple[tuple[str, ...], ...], test: tuple[str, ...], tools: Tools,
    secret: str, environment: Mapping[str, str],
) -> Program:  # fmt: skip
    from evaluators.sandbox import Command, Limits, Step

    path = ":".join((*tools.path, "/usr/local/bin", "/usr/bin", "/bin"))
    return Command(
        steps=(*(Step(argv, _BUILD_S) for argv in build), Step(test, _TEST_S)),
        files=files,
        stdin=secret,
        environment={"PATH": path, **environment},
        take=(_REPORT,),
        limits=Limits(
            cpu_s=4 * (_BUILD_S + _TEST_S), wall_s=_BUILD_S, memory_mb=3072, processes=1200, file_mb=768,
            open_files=1024, output_kb=4096,
        ),
    )  # fmt: skip


def _runner(name: str) -> str:
    return (_RUNNERS / name).read_text(encoding="utf-8")


def _cpp(exercise: Exercise, tools: Tools, secret: str) -> Program:
    files = {
        **exercise.files,
        **exercise.tests,
        "test/catch.hpp": _runner("catch.hpp"),
        "test/tests-main.cpp": _runner("catch_main.cpp"),
    }
    # the runner first: of what is to be done before everything else, the linker puts its part first
    sources = ["test/tests-main.cpp", *(name for name in files if name.endswith(".cpp"))]
    sources = list(dict.fromkeys(sources))
    compile_ = (
        "g++",
        "-std=c++17",
        "-O1",
        "-pthread",
        "-DEXERCISM_RUN_ALL_TESTS",
        "-I.",
        "-o",
        "tests",
        *sources,
    )
    return _command(files, (compile_,), ("./tests", _REPORT), tools, secret, {})


def _javascript(exercise: Exercise, tools: Tools, secret: str) -> Program:
    runners = ("jest_like.mjs", "resolve.mjs", "register.mjs", "globals.mjs")
    files = {**exercise.files, **exercise.tests, **{f".runner/{name}": _runner(name) for name in runners}}
    (spec,) = [name for name in exercise.tests if name.endswith(".spec.js")]
    files["package.json"] = '{"private": true}'
    run = (
        "node",
        "--max-old-space-size=512",
        "--import",
        "./.runner/register.mjs",
        "./.runner/jest_like.mjs",
    )
    return _command(files, (), (*run, f"/tmp/work/{spec}", _REPORT), tools, secret, {})


_JUNIT = "org/junit/jupiter/api"
_ON_METHODS = "@Retention(RetentionPolicy.RUNTIME) public @interface"
_JAVA_TYPES = {
    f"{_JUNIT}/Test": f"{_ON_METHODS} Test {{}}",
    f"{_JUNIT}/BeforeEach": f"{_ON_METHODS} BeforeEach {{}}",
    f"{_JUNIT}/AfterEach": f"{_ON_METHODS} AfterEach {{}}",
    f"{_JUNIT}/Disabled": f'{_ON_METHODS} Disabled {{ String value() default ""; }}',
    f"{_JUNIT}/DisplayName": f"{_ON_METHODS} DisplayName {{ String value(); }}",
    f"{_JUNIT}/extension/ExtendWith": f"{_ON_METHODS} ExtendWith {{ Class<?>[] value(); }}",
    f"{_JUNIT}/extension/ExtensionContext": "public interface ExtensionContext {}",
    f"{_JUNIT}/extension/BeforeTestExecutionCallback": (
        "public interface BeforeTestExecutionCallback "
        "{ void beforeTestExecution(ExtensionContext context) throws Exception; }"
    ),
    f"{_JUNIT}/extension/AfterTestExecutionCallback": (
        "public interface AfterTestExecutionCallback "
        "{ void afterTestExecution(ExtensionContext context) throws Exception; }"
    ),
    "org/assertj/core/api/AssertionsForClassTypes": ("public class AssertionsForClassTypes extends Assertions {}"),
}


def _java_type(path: str, text: str) -> str:
    package = path.rpartition("/")[0].replace("/", ".")
    return f"package {package};\n\nimport java.lang.annotation.*;\n\n{text}\n"


def _java(exercise: Exercise, tools: Tools, secret: str) -> Program:
    runner = {
        "RunTests.java": _runner("java/RunTests.java"),
        "org/assertj/core/api/Assertions.java": _runner("java/Assertions.java"),
        **{f"{path}.java": _java_type(path, text) for path, text in _JAVA_TYPES.items()},
    }
    files = {**exercise.files, **exercise.tests, **{f".runner/{path}": text for path, text in runner.items()}}
    folder = tools_folder()
    jars = f":{folder}/java/*" if folder else ""  # what a few exercises use beside JUnit and AssertJ
    sources = [name for name in files if name.endswith(".java")]
    classes = [Path(name).stem for name in exercise.tests if name.endswith("Test.java")]
    machine = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    flags = ("-encoding", "UTF-8", "-nowarn", "-proc:none", "-cp", f"out{jars}", "-d", "out")
    compile_ = ("javac", *(f"-J{flag}" for flag in machine), *flags, *sources)
    test = ("java", *machine[:2], "-cp", f"out{jars}", "RunTests", _REPORT, *classes)
    return _command(files, (compile_,), test, tools, secret, {})


def _rust(exercise: Exercise, tools: Tools, secret: str) -> Program:
    files = {**exercise.files, **exercise.tests}
    folder = tools_folder()
    crates = folder / "cargo" if folder and (folder / "cargo").is_dir() else "/tmp/work/.cargo"
    environment = {
        "CARGO_HOME": str(crates),
        "CARGO_TARGET_DIR": "/tmp/work/target",
        "CARGO_INCREMENTAL": "0",
    }
    test = ("cargo", "test", "--offline", "--jobs", "2")
    return _command(files, ((*test, "--no-run"),), (*test, "--", "--include-ignored"), tools, "", environment)


def crates_program(exercise: Exercise, tools: Tools) -> Program:
    """Whether the crates that an exercise's own Cargo.toml names are on this machine."""
    from evaluators.sandbox import Step

    rust = _rust(exercise, tools, "")
    return dataclasses.replace(rust, steps=(Step(("cargo", "generate-lockfile", "--offline"), _BUILD_S),))


def _go(exercise: Exercise, tools: Tools, secret: str) -> Program:
    environment = {
        "GOCACHE": "/tmp/work/.cache", "GOPATH": "/tmp/work/.go", "GOPROXY": "off", "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0",
    }  # fmt: skip
    files = {**exercise.files, **exercise.tests}
    return _command(files, (), ("go", "test", "-json", "./..."), tools, "", environment)


def _python(exercise: Exercise, _tools: Tools, _secret: str) -> Program:
    from evaluators.sandbox import Limits, UnitTests

    name, text = next((name, text) for name, text in exercise.tests.items() if name.endswith("_test.py"))
    others = {Path(other).stem: content for other, content in exercise.tests.items() if other != name}
    return UnitTests(
        source="",
        tests=text,
        expected=unit_test_methods(text),
        test_modules=others,
        files=exercise.files,
        limits=Limits(cpu_s=_TEST_S, wall_s=_TEST_S, memory_mb=2048, processes=64),
    )


_PROGRAMS: dict[str, Callable[[Exercise, Tools, str], Program]] = {
    "cpp": _cpp, "go": _go, "java": _java, "javascript": _javascript, "python": _python, "rust": _rust,
}  # fmt: skip


def unit_test_methods(tests: str) -> dict[str, tuple[str, ...]]:
    """Test class -> its test methods, from the text of a unittest file."""
    import ast

    found: dict[str, tuple[str, ...]] = {}
    for node in ast.parse(tests).body:
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(base) for base in node.bases):
            names = [
                part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test")
            ]
            found[node.name] = tuple(dict.fromkeys(names))
    return found


_TEST_MARK = {
    "cpp": re.compile(r"^\s*TEST_CASE\s*\(", re.MULTILINE),
    "go": re.compile(r"^func Test\w*\(", re.MULTILINE),
    "java": re.compile(r"@Test\b"),
    "javascript": re.compile(r"(?<![.\w])x?(?:test|it)(?:\.only)?\s*\("),
    "rust": re.compile(r"^\s*#\[test\]", re.MULTILINE),
}


_BENCHMARKS = re.compile(r"^#if\w*[^\n]*EXERCISM_INCLUDE_BENCHMARK.*?^#endif", re.MULTILINE | re.DOTALL)


def fewest_tests(exercise: Exercise) -> int:
    """How many tests the files have at least: a report with fewer is not of them."""
    mark = _TEST_MARK[exercise.language]
    texts = [_BENCHMARKS.sub("", text) for text in exercise.tests.values()]
    if any("#[cfg(feature" in text for text in texts):  # tests of a feature that is off
        return 1
    return sum(len(mark.findall(text)) for text in texts)


def judged(exercise: Exercise, verdict: Verdict, secret: str) -> Verdict:
    """The verdict by the tests' report; an exit status of 0 alone proves nothing."""
    from evaluators.sandbox import VerdictKind

    if exercise.language == "python":
        return verdict
    if exercise.language in ("rust", "go"):
        passed, failed = (_rust_counts if exercise.language == "rust" else _go_counts)(verdict.stdout)
    else:
        passed, failed = _reported(verdict.files.get(_REPORT, b""), secret)
    if failed:
        return dataclasses.replace(verdict, kind=VerdictKind.FAILED_ASSERTION, detail=failed[0][:500])
    if not verdict.passed:
        return dataclasses.replace(verdict, detail=f"{verdict.detail} {_first_error(verdict)}".strip())
    if passed < max(1, fewest_tests(exercise)):
        told = f"{passed} of at least {fewest_tests(exercise)} tests reported"
        return dataclasses.replace(verdict, kind=VerdictKind.CRASHED, detail=told)
    return verdict


def _first_error(verdict: Verdict) -> str:
    text = (verdict.stdout + b"\n" + verdict.stderr).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower()]
    return lines[0][:300] if lines else ""


def _reported(report: bytes, secret: str) -> tuple[int, list[str]]:
    try:
        message = json.loads(report)
        if message["secret"] == secret:
            return int(message["passed"]), [str(text) for text in message["failed"]]
    except (ValueError, KeyError, TypeError):
        pass  # the answer's program ended first, or wrote there itself: no test is counted
    return 0, []


def _rust_counts(output: bytes) -> tuple[int, list[str]]:
    text = output.decode(errors="replace")
    results = _RUST_SUMMARY.findall(text)
    failed = re.findall(r"^test (.+) \.\.\. FAILED$", text, re.MULTILINE)
    failed += [f"{count} failed" for _, _, count in results if int(count) and not failed]
    return sum(int(count) for _, count, _ in results), failed


def _go_counts(output: bytes) -> tuple[int, list[str]]:
    passed, failed = 0, []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # what the compiler prints
        if event.get("Action") == "pass" and event.get("Test"):
            passed += 1
        elif event.get("Action") == "fail":
            failed.append(str(event.get("Test") or "the package"))
    return passed, failed
