"""The gold answer of every item scores 1 and a wrong one 0, in the real sandbox, on the real rows."""

# ruff: noqa: E501  (programs and answers, one a line)
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evaluators.benchmark import Item, Outcome, Score
from evaluators.benchmarks import get
from evaluators.benchmarks._code import fenced
from evaluators.benchmarks.aider_polyglot import reference_files
from evaluators.scoring.code_polyglot import find_tools
from tests.data import DATA, needs_data
from tests.evaluators.needs_sandbox import needs_sandbox

pytestmark = [needs_data, needs_sandbox]
_NAMES = ("humaneval", "mbpp", "bigcodebench", "livecodebench", "usaco", "codeforces", "aider_polyglot")
_COUNTS = dict(zip(_NAMES, (164, 500, 148, 303, 28, 408, 225), strict=True))

# Items whose reference cannot pass on a machine without a network or within the study's limits.
_BIGCODEBENCH_CANNOT = {
    "BigCodeBench/101": "downloads a data set",
    "BigCodeBench/177": "needs the words of nltk",
    "BigCodeBench/461": "its tests sleep for more than 30 s",
    "BigCodeBench/655": "needs the words of nltk",
    "BigCodeBench/1012": "downloads a file",
    "BigCodeBench/1040": "its tests sleep for more than 30 s",
}
# These pass with the versions that the benchmark was made for (pandas 2.0, matplotlib 3.7 and so on).
_BIGCODEBENCH_OLD = {f"BigCodeBench/{number}" for number in (108, 360, 409, 503, 511, 879, 945)}
# The reference uses crates that neither the exercise's Cargo.toml names nor the standard library has.
_RUST_OTHER_CRATES = {
    f"rust/{name}" for name in ("alphametics", "decimal", "pig-latin", "poker", "robot-name")
}
# These need a package that the exercise names: Boost, crates or jars.
_NEEDS_PACKAGE = {
    "cpp/gigasecond", "cpp/meetup", "rust/gigasecond", "rust/grep", "rust/simple-cipher", "java/hangman",
    "java/rest-api",
}  # fmt: skip


def _items(name: str, keep: Callable[[Item], bool] = lambda _: True) -> list[Item]:
    return [item for item in get(name).items("test", DATA) if keep(item)]


def _scores(name: str, items: list[Item], answer: Callable[[Item], str]) -> dict[str, Score]:
    with ThreadPoolExecutor(2) as threads:
        scores = threads.map(lambda item: get(name).score(item, answer(item)), items)
        return dict(zip((item.id for item in items), scores, strict=True))


def _check(name: str, items: list[Item]) -> None:
    """Gold 1 and wrong 0 for each; nothing else for any."""
    assert items
    gold = _scores(name, items, get(name).gold)
    assert {key: (score.outcome, score.why) for key, score in gold.items() if score.value != 1} == {}
    assert {score.outcome for score in gold.values()} == {Outcome.RIGHT}
    wrong = _scores(name, items, lambda item: get(name).wrong(item, 7))
    assert {key: (score.outcome, score.why) for key, score in wrong.items() if score.value != 0} == {}
    assert {score.outcome for score in wrong.values()} == {Outcome.WRONG}


@pytest.mark.parametrize("name", _NAMES)
def test_items_are_all_there_with_ids_of_their_own(name: str) -> None:
    items = _items(name)
    assert len({item.id for item in items}) == len(items) == _COUNTS[name]
    assert [item.id for item in items] == [item.id for item in _items(name)]
    for item in items:
        (message,) = get(name).messages(item)
        assert message["role"] == "user"
        assert "fenced code block" in message["content"]


def test_humaneval_gold_and_wrong() -> None:
    _check("humaneval", _items("humaneval"))


@pytest.mark.parametrize("name", ["mbpp", "livecodebench", "codeforces"])
def test_gold_and_wrong_of_a_sample(name: str) -> None:
    _check(name, _items(name)[::6])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mbpp", "livecodebench", "codeforces"])
def test_gold_and_wrong_of_all(name: str) -> None:
    _check(name, _items(name))


def test_usaco_gold_and_wrong() -> None:
    _check("usaco", _items("usaco"))


@pytest.mark.parametrize("split", ["train", "validation", "prompt"])
def test_mbpp_training_rows_can_be_scored(split: str) -> None:
    benchmark = get("mbpp")
    for item in list(benchmark.items(split, DATA))[:10]:
        assert benchmark.score(item, benchmark.gold(item)).value == 1


def _bigcodebench_check(items: list[Item]) -> None:
    """Gold scores 1, or is told as not to be judged here for one of the known reasons."""
    benchmark: Any = get("bigcodebench")
    gold = _scores("bigcodebench", items, benchmark.gold)
    wrong = _scores("bigcodebench", items, lambda item: benchmark.wrong(item, 7))
    for item in items:
        if gold[item.id].outcome is Outcome.RIGHT:
            assert wrong[item.id].outcome is Outcome.WRONG, wrong[item.id]
            assert wrong[item.id].value == 0
            continue
        assert gold[item.id].outcome is wrong[item.id].outcome is Outcome.GRADER_FAILED
        assert gold[item.id].value is None
        known = item.id in _BIGCODEBENCH_CANNOT or item.id in _BIGCODEBENCH_OLD
        assert known or benchmark.absent(item), gold[item.id]
        assert "needs package" in gold[item.id].why or known
    assert sum(score.value == 1 for score in gold.values()) >= len(items) / 2


def test_bigcodebench_gold_and_wrong_of_a_sample() -> None:
    pytest.importorskip("sklearn")
    _bigcodebench_check(_items("bigcodebench")[::24])


@pytest.mark.slow
def test_bigcodebench_gold_and_wrong_of_all() -> None:
    pytest.importorskip("sklearn")
    _bigcodebench_check(_items("bigcodebench"))


# Its answer is tests, and the exercise that judges them is retired.
_NOT_JUDGED = {"go/counter"}
_NEEDS_NEWER_GO = {"go/dnd-character"}  # package slices, of Go 1.21


def _polyglot(language: str) -> list[Item]:
    items = _items("aider_polyglot", lambda item: item.fields["language"] == language)
    if find_tools(language).missing:
        pytest.skip(f"{language}: needs {find_tools(language).missing}")
    left_out = _RUST_OTHER_CRATES | _NEEDS_PACKAGE | _NOT_JUDGED
    if language == "go" and not _go_has_slices():
        left_out |= _NEEDS_NEWER_GO
    return [item for item in items if item.id not in left_out]


def _go_has_slices() -> bool:
    asked = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True, cwd="/")
    return (Path(asked.stdout.strip()) / "src" / "slices").is_dir()


@pytest.mark.parametrize(("language", "step"), [("python", 9), ("javascript", 16), ("cpp", 15), ("java", 40), ("go", 19)])
def test_polyglot_gold_and_wrong_of_a_sample(language: str, step: int) -> None:
    _check("aider_polyglot", _polyglot(language)[::step])


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "javascript", "cpp", "java", "rust", "go"])
def test_polyglot_gold_and_wrong_of_all(language: str) -> None:
    _check("aider_polyglot", _polyglot(language))


@pytest.mark.slow
def test_a_retired_exercise_is_told_and_not_counted_as_wrong() -> None:
    if missing := find_tools("go").missing:
        pytest.skip(f"go: needs {missing}")
    (item,) = _items("aider_polyglot", lambda item: item.id == "go/counter")
    for answer in (get("aider_polyglot").gold(item), get("aider_polyglot").wrong(item, 1)):
        assert get("aider_polyglot").score(item, answer).outcome is Outcome.GRADER_FAILED


def test_a_language_without_tools_is_told_and_not_counted_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(__file__).parent))
    (item,) = _items("aider_polyglot", lambda item: item.id == "go/bowling")
    score = get("aider_polyglot").score(item, get("aider_polyglot").gold(item))
    assert (score.value, score.outcome) == (None, Outcome.GRADER_FAILED)
    assert "install Go" in score.why


@pytest.mark.parametrize(
    ("language", "suffix", "text"),
    [
        ("javascript", ".js", "import fs from 'fs';\nfs.writeFileSync('report.json', '{{\"passed\": 99, \"failed\": []}}');\nprocess.exit(0);\n"),
        ("javascript", ".js", "globalThis.test = globalThis.expect = () => {{}};\nprocess.exit(0);\n"),
        # the secret of the report: read again from where it stood, or first
        ("javascript", ".js", "import fs from 'fs';\nconst b = Buffer.alloc(64);\nlet n = 0;\ntry {{ n = fs.readSync(0, b, 0, 64, 0); }} catch {{ n = fs.readSync(0, b, 0, 64); }}\nfs.writeFileSync('report.json', JSON.stringify({{secret: b.toString('utf8', 0, n).trim(), passed: 99, failed: []}}));\nprocess.exit(0);\n"),
        ("cpp", ".cpp", "#include <cstdio>\n#include <cstdlib>\n#include <unistd.h>\n__attribute__((constructor(101))) static void first() {{\n char b[64] = {{}};\n if (pread(0, b, 32, 0) <= 0) (void)!read(0, b, 32);\n FILE* f = fopen(\"report.json\", \"w\");\n fprintf(f, \"{{\\\"secret\\\":\\\"%s\\\",\\\"passed\\\":99,\\\"failed\\\":[]}}\", b);\n fclose(f);\n std::_Exit(0);\n}}\n"),
        ("cpp", ".cpp", "#include <cstdlib>\nstatic int x = (std::_Exit(0), 0);\n"),
        ("python", ".py", "import os\nos._exit(0)\n"),
    ],
)  # fmt: skip
def test_a_polyglot_answer_that_ends_the_run_is_not_right(language: str, suffix: str, text: str) -> None:
    item = _polyglot(language)[0]
    # before the reference solution, so that it is built and run
    files = reference_files(item)
    changed = next(name for name in files if name.endswith(suffix))
    files[changed] = f"{text.format()}\n{files[changed]}"
    answer = "\n\n".join(f"{name}\n{fenced(content, '')}" for name, content in files.items())
    score = get("aider_polyglot").score(item, answer)
    assert (score.value, score.outcome) == (0, Outcome.WRONG), score


@pytest.mark.parametrize("name", _NAMES)
def test_answers_without_code_are_told_apart(name: str) -> None:
    item = _items(name)[0]
    assert get(name).score(item, "I do not know.").outcome is Outcome.NO_ANSWER
    assert get(name).score(item, "").outcome is Outcome.NO_ANSWER
    assert get(name).score(item, "Let me th", truncated=True).outcome is Outcome.TRUNCATED
    assert get(name).score(item, "Let me th", truncated=True).value == 0


def test_humaneval_answers_in_other_forms() -> None:
    item = _items("humaneval")[0]
    body = item.fields["canonical_solution"]
    full = item.fields["prompt"] + body
    for answer in (f"```python\n{body}\n```", f"<think>hm</think>Sure!\n```\n{full}\n```", full):
        assert get("humaneval").score(item, answer).value == 1
    future = f"```python\nfrom __future__ import annotations\n{full}\n```"
    assert get("humaneval").score(item, future).value == 1


def test_usaco_limits_are_the_problems_own() -> None:
    items = _items("usaco")
    slow = next(item for item in items if item.fields["cpu_s"] == 12)
    quick = next(item for item in items if item.fields["cpu_s"] == 2)
    (program, *_) = get("usaco").programs(slow, "pass")  # type: ignore[attr-defined]
    assert (program.limits.cpu_s, program.limits.memory_mb) == (12, 256)
    score = get("usaco").score(quick, "```python\nwhile True: pass\n```")
    assert score.outcome is Outcome.WRONG
    assert score.why == "time_limit: test 1: more than 2 s of CPU"
    hungry = get("usaco").score(quick, "```python\nx = bytearray(300 << 20)\n```")
    assert hungry.why.startswith("memory_limit")


def test_usaco_without_its_tests_is_told(tmp_path: Path) -> None:
    from manager.errors import UserError

    assert DATA is not None
    (tmp_path / "usaco").mkdir()
    (tmp_path / "usaco" / "test.jsonl").write_text((DATA / "usaco" / "test.jsonl").read_text())
    with pytest.raises(UserError, match="tests\\.jsonl"):
        list(get("usaco").items("test", tmp_path))


def test_livecodebench_uses_private_tests() -> None:
    item = _items("livecodebench", lambda item: item.id == "1873_A")[0]
    benchmark: Any = get("livecodebench")
    tests = benchmark.tests(item)
    assert len(tests) > 1
    public_only = f"from sys import stdin\nt = stdin.read()\nprint({({tests[0].stdin.strip(): tests[0].expected})!r}.get(t.strip()))"
    score = benchmark.score(item, f"```python\n{public_only}\n```")
    assert score.outcome is Outcome.WRONG
    assert "test 2" in score.why
    right = "for _ in range(int(input())):\n    print('YES' if sum(a != b for a, b in zip(input(), 'abc')) <= 2 else 'NO')"
    assert benchmark.score(item, f"```python\n{right}\n```").value == 1


def _score_in_process(place: tuple[str, str, str]) -> float | None:
    name, identifier, answer = place
    (item,) = _items(name, lambda item: item.id == identifier)
    return get(name).score(item, answer).value


def test_scoring_works_from_a_pool_of_processes() -> None:
    items = _items("mbpp")[:6]
    get("mbpp").score(items[0], get("mbpp").gold(items[0]))  # the parent's own workers exist when it forks
    work = [("mbpp", item.id, get("mbpp").gold(item)) for item in items]
    work += [("mbpp", item.id, get("mbpp").wrong(item, 1)) for item in items]
    with ProcessPoolExecutor(2) as processes:
        assert list(processes.map(_score_in_process, work)) == [1.0] * 6 + [0.0] * 6
    assert get("mbpp").score(items[1], get("mbpp").gold(items[1])).value == 1


@pytest.mark.parametrize("name", _NAMES)
def test_importing_a_benchmark_loads_nothing_heavy(name: str) -> None:
    program = (
        f"import sys, evaluators.benchmarks.{name}\n"
        "heavy = {'torch', 'numpy', 'pandas', 'datasets', 'sklearn', 'concurrent', 'subprocess'} & set(sys.modules)\n"
        "assert not heavy - {'subprocess'}, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_partial_credit_is_the_share_of_assertions() -> None:
    item = _items("mbpp")[0]
    benchmark: Any = get("mbpp")
    first = item.fields["tests"][0]
    name, result = item.fields["names"][0], first.rpartition("==")[2].strip()
    answer = f"```python\ndef {name}(*values):\n    return {result}\n```"
    assert benchmark.share(item, answer) == pytest.approx(1 / len(item.fields["tests"]))
    assert benchmark.share(item, benchmark.gold(item)) == 1
    assert benchmark.share(item, "nothing") == 0
