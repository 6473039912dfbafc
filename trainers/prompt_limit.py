"""How long a prompt is to a model: the limit that prepared prompts keep, named by what the tokenizer does.

Not by the folder that it lies in: every stage of a cascade, and `manager data prepare`, then share one preparation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.job import digest_of
from trainers.prepare import PromptLimit


def prompt_limit(tokenizer: Any, tokens: int, options: Mapping[str, Any] | None = None) -> PromptLimit:
    """At most `tokens` by this tokenizer; `options` go to its chat template, as in the training."""
    options = dict(options or {})

    def length(messages: list[dict[str, str]]) -> int:
        encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, **options)
        return len(encoded["input_ids"])

    return PromptLimit(tokens, _identity(tokenizer, options), length)


def _identity(tokenizer: Any, options: Mapping[str, Any]) -> str:
    rules = getattr(tokenizer, "backend_tokenizer", None)
    told = rules.to_str() if rules is not None else f"{tokenizer.name_or_path} {tokenizer.vocab_size}"
    return digest_of([told, tokenizer.chat_template, options])
