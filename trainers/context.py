"""How many tokens a model's context has, and how long a prompt may be with a whole answer after it.

Torch-free: `manager plan`, the server's command and the trainers ask the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators import environments

PROMPT_TOKENS = 1024  # where a stage names no `data.max_prompt_tokens`
ANSWER_TOKENS = 256  # TRL's max_completion_length where nothing is said
# Ways of stretching positions after which config.json's number is the context; with others it is longer.
NAMED = ("default", "llama3", "longrope", "su")


class ContextError(ValueError):
    """An answer as long as the context: one line with the key and what to do."""


def tokens(config: Mapping[str, Any]) -> int | None:
    """The context that a model's config.json names; None where it does not say."""
    config = config.get("text_config") or config
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if (rope.get("rope_type") or rope.get("type") or "default") not in NAMED:
        return None
    found = config.get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def prompt_tokens(data: Mapping[str, Any]) -> int:
    """The longest prompt of `config.data`: as it says, or what the study gives its environments."""
    if "environments" in data:
        return max(int(environments.facts(one["data"]["environment"]).prompt_tokens) for one in data["environments"])
    return int(data.get("max_prompt_tokens") or PROMPT_TOKENS)


def answer_tokens(config: Mapping[str, Any]) -> int:
    """The longest answer of a training by reinforcement."""
    return int((config.get("grpo") or {}).get("max_completion_length") or ANSWER_TOKENS)


def room(asked: int, answer: int, context: int | None) -> int:
    """The longest prompt: `asked`, or less where a whole answer would not fit the context after it."""
    if context is None:
        return asked
    if answer >= context:
        raise ContextError(
            f"grpo.max_completion_length {answer} leaves no room for a prompt in the model's context of {context} "
            f"tokens; at most {context - 1}, less the prompts"
        )
    return min(asked, context - answer)
