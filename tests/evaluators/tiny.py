"""A tiny model made on the spot for tests of engines, and runs of evaluation jobs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from manager.job import Job, Kind
from manager.run import Run
from manager.store import Store

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    "{% if enable_thinking is defined and not enable_thinking %}<nothink>{% endif %}"
)


def make_model(
    folder: Path, *, context: int = 128, template: str | None = TEMPLATE, seed: int = 0, hidden: int = 64,
    layers: int = 2,
) -> Path:  # fmt: skip
    """A Qwen2 of random weights with one token a byte, saved to `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = {symbol: place for place, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>", model_max_length=context,
        clean_up_tokenization_spaces=False, extra_special_tokens=special,
    )  # fmt: skip
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(2, hidden // 64),
            num_key_value_heads=2,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    # Random logits are flat. These favour digits, letters and the end, differently in every context, so that
    # answers are text, differ by prompt and seed, and end at different lengths.
    likely = tokenizer("0123456789 abcdef+*x", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    head = torch.zeros_like(model.lm_head.weight)
    head[likely] = torch.randn(len(likely), head.shape[1]) * 0.6
    model.lm_head.weight.data.copy_(head)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    text = "1+2= é\n\tx <|end|>"
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == tokenizer(text)["input_ids"]
    return folder


def entry(name: str, *, limit: int | None = 6, **sampler: Any) -> dict[str, Any]:
    """A benchmark's entry in a job's config, as the control plane makes it."""
    benchmark = benchmarks.get(name)
    return {
        "name": name, "version": benchmark.version,
        "domain": benchmark.domain, "subdomain": benchmark.subdomain,
        "data": None, "sampler": {**asdict(benchmark.sampler), "stop": [], **sampler}, "limit": limit,
    }  # fmt: skip


def config(model: Path | str, *entries: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    listed = list(entries) or [entry("mini_math"), entry("mini_code"), entry("mini_knowledge")]
    return {
        "model": {"path": str(model), "digest": "tiny"}, "benchmarks": listed,
        "engine": {"name": "transformers"}, "prompting": "chat", "seed": 7, **more,
    }  # fmt: skip


def make_run(
    root: Path, settings: Mapping[str, Any], *, needs: tuple[str, ...] = (), rank: int = 0, world_size: int = 1
) -> Run:
    """A fresh attempt at the job of these settings; the same settings give the same run directory."""
    directory = Store.open(root, create=True).add_job(Job(Kind.EVALUATE, settings, needs))
    attempt = directory.path / "attempts" / f"{len(directory.attempts()) + 1:04d}"
    attempt.mkdir(parents=True)
    return Run(directory, directory.job(), attempt, rank=rank, world_size=world_size)
