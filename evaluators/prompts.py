"""How an item becomes the prompt of a model: chat template or few-shot text. Owns no model or tokenizer."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from evaluators.benchmark import Benchmark, Item
from evaluators.benchmark_data import has_train
from evaluators.engine import Engine, EngineError, Prompt
from manager.errors import UserError

SHOTS = 4
STEP_BY_STEP = "Please reason step by step, then give the final answer in the form that the examples show."
NEXT_QUESTION = "\nQuestion:"
THINKING = "<think>"
_OPEN_AT_END = re.compile(r"<think(?:ing)?>\s*\Z", re.IGNORECASE)


class Mode(StrEnum):
    CHAT = "chat"
    BASE_FEWSHOT = "base_fewshot"


@dataclass(frozen=True)
class Prompting:
    """The prompting factor of a study. `thinking` goes to the chat template; None leaves its default."""

    mode: Mode = Mode.CHAT
    thinking: bool | None = None
    system: str | None = None

    @staticmethod
    def parse(value: str | Mapping[str, Any] | None) -> Prompting:
        """From a config: `chat`, `base_fewshot`, or a mapping with mode, thinking and system."""
        if value is None or isinstance(value, str):
            value = {"mode": value or Mode.CHAT}
        unknown = set(value) - {"mode", "thinking", "system"}
        if unknown:
            raise UserError(f"prompting: unknown {', '.join(sorted(unknown))}; there are: mode, thinking, system")
        mode = value.get("mode", Mode.CHAT)
        if mode not in list(Mode):
            raise UserError(f"prompting.mode: {mode!r} is not one of {', '.join(Mode)}")
        return Prompting(Mode(mode), value.get("thinking"), value.get("system"))


@dataclass(frozen=True)
class Prompter:
    """Makes the prompts of one benchmark for one engine."""

    benchmark: Benchmark
    prompting: Prompting
    engine: Engine
    # By group, which is "" where the benchmark makes none; one more than are shown where they are test items.
    shots: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)

    @staticmethod
    def of(benchmark: Benchmark, prompting: Prompting, engine: Engine, data_dir: Path | None) -> Prompter:
        shots = examples(benchmark, data_dir) if prompting.mode is Mode.BASE_FEWSHOT else {}
        return Prompter(benchmark, prompting, engine, shots)

    def prompt(self, item: Item) -> Prompt:
        messages = self.benchmark.messages(item)
        if self.prompting.mode is Mode.BASE_FEWSHOT:
            return self.engine.plain(self._few_shot_text(item, messages))
        if self.prompting.system is not None:
            messages = [{"role": "system", "content": self.prompting.system}, *messages]
        return self.engine.chat(messages, self.prompting.thinking)

    def stop(self, sampler_stop: Sequence[str]) -> tuple[str, ...]:
        """Where to stop: a base model goes on with a question of its own."""
        own = (NEXT_QUESTION,) if self.prompting.mode is Mode.BASE_FEWSHOT else ()
        return (*sampler_stop, *own)

    def _few_shot_text(self, item: Item, messages: Sequence[Mapping[str, str]]) -> str:
        group = group_of(self.benchmark, item)
        if group not in self.shots:
            raise UserError(f"{self.benchmark.name}: no train item of {group!r} to show as an example; fetch its rows")
        shots = [shot for shot in self.shots[group] if shot.id != item.id][:SHOTS]
        parts = [self.prompting.system or STEP_BY_STEP]
        parts += [
            f"Question: {_joined(self.benchmark.messages(shot))}\nAnswer: {self.benchmark.gold(shot)}" for shot in shots
        ]
        return "\n\n".join([*parts, f"Question: {_joined(messages)}\nAnswer:"])


def group_of(benchmark: Benchmark, item: Item) -> str:
    """Whose examples an item is shown: of a benchmark of many tasks (`example_group`), those of its task."""
    group: Callable[[Item], str] | None = getattr(benchmark, "example_group", None)
    return group(item) if group is not None else ""


def examples(benchmark: Benchmark, data_dir: Path | None) -> dict[str, tuple[Item, ...]]:
    """The items to show, by group."""
    if not hasattr(benchmark, "example_group"):
        return {"": example_items(benchmark, data_dir)}
    found: dict[str, tuple[Item, ...]] = {}
    for item in benchmark.items("train", data_dir):
        shown = found.setdefault(group_of(benchmark, item), ())
        if len(shown) < SHOTS:
            found[group_of(benchmark, item)] = (*shown, item)
    return found


def example_items(benchmark: Benchmark, data_dir: Path | None) -> tuple[Item, ...]:
    """The first train items. A benchmark that has only a test split shows others of its items, never the same."""
    try:
        return tuple(islice(benchmark.items("train", data_dir), SHOTS))
    except UserError:
        if has_train(benchmark):
            raise  # it is not on this disk
        return tuple(islice(benchmark.items("test", data_dir), SHOTS + 1))


def _joined(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n\n".join(message["content"] for message in messages)


def opens_thinking(prompt: str) -> bool:
    """Whether the prompt ends inside thinking, so that the completion begins there without an opening tag."""
    return _OPEN_AT_END.search(prompt[-200:]) is not None


def for_scorer(completion: str, *, in_thinking: bool) -> str:
    """The text a scorer is given: with the tag that the prompt opened, or an answer within cut-off thinking counts."""
    return THINKING + completion if in_thinking else completion


def chat_prompt(tokenizer: Any, messages: Sequence[Mapping[str, str]], thinking: bool | None, model: str) -> Prompt:
    """Through the chat template of a transformers tokenizer."""
    if not getattr(tokenizer, "chat_template", None):
        raise EngineError(
            f"{model}: its tokenizer has no chat template; use `prompting: base_fewshot` (--prompting base_fewshot), "
            "or put a chat_template.jinja into the model's folder",
            cause="no_chat_template",
        )
    options = {} if thinking is None else {"enable_thinking": thinking}
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **options)
    # The template wrote the special tokens already: a second BOS would change the answers.
    return Prompt(text, _ids(tokenizer, text, special=False), tuple(messages))


def plain_prompt(tokenizer: Any, text: str) -> Prompt:
    return Prompt(text, _ids(tokenizer, text, special=True))


def _ids(tokenizer: Any, text: str, *, special: bool) -> array[int]:
    # Compact on purpose: a hundred thousand prompts as lists of int would be gigabytes.
    return array("q", tokenizer(text, add_special_tokens=special)["input_ids"])
