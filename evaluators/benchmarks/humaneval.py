"""HumanEval: 164 Python functions to complete from signature and docstring (Chen et al. 2021, MIT licence).

The tests run in a process of their own and call the answer's function over a socket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evaluators.benchmark import DataSource, Item, Sampler
from evaluators.benchmarks._code import CodeBenchmark, fenced

if TYPE_CHECKING:
    from evaluators.sandbox import Program

_FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)


class HumanEval(CodeBenchmark):
    name = "humaneval"
    source = DataSource(
        hub="openai/openai_humaneval",
        revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        folder="humaneval",
        splits={"test": "test"},
    )
    sampler = Sampler(samples=1, temperature=0.0, top_p=1.0, max_tokens=16192)

    def item(self, row: dict[str, Any], index: int) -> Item:
        keep = ("prompt", "test", "entry_point", "canonical_solution")
        return Item(str(row["task_id"]), {key: row[key] for key in keep}, row["canonical_solution"])

    def question(self, item: Item) -> str:
        return (
            "Complete the following Python function. Write the whole function, with the imports it needs, "
            f"in one fenced code block.\n\n{fenced(item.fields['prompt'])}"
        )

    def programs(self, item: Item, solution: str) -> Iterator[Program]:
        from evaluators.sandbox import Calls, Limits

        fields = item.fields
        name = fields["entry_point"]
        yield Calls(
            source=_program(fields["prompt"], solution, name),
            # the prompt also defines what some tests use beside the function
            setup=fields["prompt"],
            tests=(f"{fields['test']}\n\ncheck({name})\n",),
            names=(name,),
            limits=Limits(cpu_s=30, wall_s=30),
        )

    def gold(self, item: Item) -> str:
        return fenced(item.fields["prompt"] + item.fields["canonical_solution"])

    def wrong(self, item: Item, seed: int) -> str:
        body = f"    raise NotImplementedError({seed})\n"
        return fenced(item.fields["prompt"] + body)


def _program(prompt: str, solution: str, name: str) -> str:
    """Prompt and answer as one module; an answer without the function's head continues the prompt."""
    if not re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(name)}\b", solution, re.MULTILINE):
        return prompt + solution
    future = "\n".join(_FUTURE.findall(solution))
    return f"{future}\n{prompt}\n\n{_FUTURE.sub('', solution)}"


BENCHMARK = HumanEval()
