"""What people ask about single items from the command line: the exact prompt that a model gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Benchmark, Item
from evaluators.benchmark_data import NOT_AS_EXPECTED, of_other_fields
from evaluators.engine import EngineError, Prompt
from evaluators.prompts import Prompter, Prompting, chat_prompt, plain_prompt
from manager.errors import UserError


@dataclass(frozen=True)
class _TokenizerOnly:
    """As much of an engine as a prompt needs: the tokenizer, without the weights."""

    tokenizer: Any
    model: str

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        return chat_prompt(self.tokenizer, messages, thinking, self.model)

    def plain(self, text: str) -> Prompt:
        return plain_prompt(self.tokenizer, text)


@dataclass(frozen=True)
class ShownPrompt:
    """The prompt of one item, as the model gets it."""

    benchmark: str
    item: str
    text: str
    tokens: int
    stop: tuple[str, ...]
    gold: str


def show_prompt(
    benchmark: str,
    item_id: str,
    model: str,
    *,
    revision: str | None = None,
    prompting: str | Mapping[str, Any] = "chat",
    data_dir: Path | None = None,
    split: str = "test",
) -> ShownPrompt:
    """The exact text an item of a benchmark becomes for a model (path or hub id); UserError tells why not."""
    from evaluators.engines.hf import load_tokenizer

    try:
        found = benchmarks.get(benchmark)
    except KeyError as error:
        raise UserError(error.args[0]) from error
    item = find_item(found, item_id, split, data_dir)
    try:
        engine: Any = _TokenizerOnly(load_tokenizer(model, revision), model)
        prompter = Prompter.of(found, Prompting.parse(prompting), engine, data_dir)
        prompt = prompter.prompt(item)
    except EngineError as error:
        raise UserError(str(error)) from error
    tokens = len(prompt.tokens or ())
    return ShownPrompt(benchmark, item.id, prompt.text, tokens, prompter.stop(found.sampler.stop), found.gold(item))


def find_item(benchmark: Benchmark, item_id: str, split: str, data_dir: Path | None) -> Item:
    """The item with that id, or else at that place."""
    items: list[Item] = []
    try:
        items.extend(benchmark.items(split, data_dir))
    except NOT_AS_EXPECTED as error:
        raise UserError(of_other_fields(benchmark.name, len(items), error)) from error
    for item in items:
        if item.id == item_id:
            return item
    if item_id.isdigit() and int(item_id) < len(items):
        return items[int(item_id)]
    some = ", ".join(item.id for item in items[:5])
    raise UserError(f"{benchmark.name}: no item {item_id!r} among the {len(items)} of {split}; ids are like {some}")
