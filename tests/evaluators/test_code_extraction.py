"""What counts as the code of an answer."""


from __future__ import annotations

import pytest

from evaluators.benchmark import Outcome
from evaluators.benchmarks import get
from evaluators.scoring.code import blocks, no_code, python_code

_BLOCK = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (_BLOCK, "print(1)\n"),
        (f"First try:\n{_BLOCK}\nBetter:\n```python\nprint(2)\n```\nDone.", "print(2)\n"),
        ("```\nprint(3)\n```", "print(3)\n"),
        ("```py\nprint(3)\n```\nIt prints:\n```text\n3\n```", "print(3)\n"),
        ("```Python3 title=a.py\nprint(3)\n```", "print(3)\n"),
        (f"<think>\n```python\nprint('draft')\n```\n</think>\n{_BLOCK}", "print(1)\n"),
        (f"a thought without an opening tag</think>{chr(10)}{_BLOCK}", "print(1)\n"),
        ("~~~python\nprint(4)\n~~~", "print(4)\n"),
        ("````python\ntext = '''\n```\n'''\n````", "text = '''\n```\n'''\n"),
        ("   ```python\nprint(5)\n   ```", "print(5)\n"),
        ("def f(x):\n    return x\n", "def f(x):\n    return x\n"),
        ("```python\nprint(6)\n", "print(6)\n"),
        ("The answer is 4.", None),
        ("", None),
        (f"<think>\n{_BLOCK}", None),
        ("```python\n\n```", None),
        ("```javascript\nlet x\n```", None),
    ],
)
def test_python_code_of_an_answer(answer: str, code: str | None) -> None:
    assert python_code(answer) == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\nprint(1", None),
        (f"{_BLOCK}\nBut better:\n```python\nprint(2", None),
        (f"{_BLOCK}\nThis prints", "print(1)\n"),
        ("def f(x):\n    retu", None),
    ],
)
def test_a_block_that_the_limit_cut_off_is_no_answer(answer: str, code: str | None) -> None:
    assert python_code(answer, truncated=True) == code


def test_no_code_is_told_from_cut_off() -> None:
    assert no_code("The answer is 4.", truncated=False).outcome is Outcome.NO_ANSWER
    assert no_code("The answer", truncated=True).outcome is Outcome.TRUNCATED
    assert no_code("<think>", truncated=False).why == "thinking was never closed"
    assert no_code("", truncated=False).value == 0.0


def test_a_megabyte_of_fences_is_read_in_time() -> None:
    assert python_code("```python\n" * 200_000 + "x = 1\n```") is not None
    assert len(blocks("```\nx\n```\n" * 50_000)) == 50_000


def _polyglot_item(*paths: str, language: str = "cpp") -> object:
    row = {
        "language": language, "exercise": "x", "introduction": "", "instructions": "Do.", "instructions_append": "",
        "solution_files": [{"path": path, "content": "stub"} for path in paths],
        "test_files": [{"path": "x_test.cpp", "content": ""}],
        "example_files": [], "other_files": [{"path": "CMakeLists.txt", "content": ""}],
    }  # fmt: skip
    return get("aider_polyglot").item(row, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "files"),
    [
        ("x.h\n```cpp\nH\n```\nx.cpp\n```cpp\nC\n```", {"x.h": "H\n", "x.cpp": "C\n"}),
        ("**`x.cpp`**\n\n```cpp\nC\n```\n### x.h:\n```cpp\nH\n```", {"x.h": "H\n", "x.cpp": "C\n"}),
        ("Here is x.cpp, complete:\n```cpp\nC\n```", {"x.cpp": "C\n"}),
        ("```cpp\nC\n```\n```cpp\nH\n```", {"x.cpp": "C\n", "x.h": "H\n"}),
        ("x.cpp\n```cpp\nold\n```\nBetter, x.cpp\n```cpp\nnew\n```", {"x.cpp": "new\n"}),
        ("more.cpp\n```cpp\nM\n```\nx.cpp\n```cpp\nC\n```", {"more.cpp": "M\n", "x.cpp": "C\n"}),
        ("x_test.cpp\n```cpp\nT\n```\nx.cpp\n```cpp\nC\n```", {"x.cpp": "C\n"}),
        ("../x2.cpp\n```cpp\nT\n```\nx.cpp\n```cpp\nC\n```", {"x.cpp": "C\n"}),
        ("nothing", {}),
    ],
)
def test_files_of_a_polyglot_answer(answer: str, files: dict[str, str]) -> None:
    from evaluators.benchmarks.aider_polyglot import answer_files

    item = _polyglot_item("x.cpp", "x.h")
    assert answer_files(item, answer, truncated=False) == files  # type: ignore[arg-type]
