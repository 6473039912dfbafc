"""The transformers engine: batches of prompts, one random stream a sample. No other imports it here.

For machines without vLLM, and the reference for its results. A sample's random numbers come from its own
seed alone, so that what is drawn does not depend on what else is in the batch (up to the rounding of matrix
products).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any

import numpy
import psutil
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache, GenerationConfig

from evaluators.engine import (
    LATER,
    Completion,
    Ended,
    EngineDied,
    EngineError,
    EngineSettings,
    Prompt,
    Request,
    check_model_path,
    first_line,
)
from evaluators.memory import check_weights_fit
from evaluators.prompts import chat_prompt, plain_prompt

MOSTLY_PADDING = 256  # tokens of a prompt; beside a longer one a row of less than half is mostly padding
OPTIONS = {"dtype": "auto", "device": None, "batch_size": 256, "kv_cache_gb": 2.0, "window": 4096}


def load_tokenizer(model: str, revision: str | None = None) -> Any:
    """The model's tokenizer; one that does not load or does not encode is told in one line."""
    check_model_path(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
        ids = tokenizer("a 1", add_special_tokens=False)["input_ids"]
    except Exception as error:
        message = f"{model}: the tokenizer cannot be loaded: {first_line(error)}"
        raise EngineError(message, cause="tokenizer") from error
    if not ids:
        raise EngineError(f"{model}: the tokenizer turns text into nothing; its files are broken", cause="tokenizer")
    return tokenizer


def load(settings: EngineSettings) -> HfEngine:
    """The model on the best device there is."""
    unknown = set(settings.options) - set(OPTIONS)
    if unknown:
        known = ", ".join(OPTIONS)
        message = f"engine: unknown {', '.join(sorted(unknown))}; transformers takes: {known}"
        raise EngineError(message, cause="engine_options")
    options = {**OPTIONS, **settings.options}
    tokenizer = load_tokenizer(settings.model, settings.revision)
    device = torch.device(options["device"] or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        memory, what = torch.cuda.get_device_properties(device).total_memory, torch.cuda.get_device_name(device)
    else:
        memory, what = psutil.virtual_memory().total, "this machine"
    check_weights_fit(settings.model, memory, what, settings.revision)
    try:
        config = AutoConfig.from_pretrained(settings.model, revision=settings.revision)
        model = AutoModelForCausalLM.from_pretrained(settings.model, revision=settings.revision, dtype=options["dtype"])
        stops = _stop_ids(settings, tokenizer)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        message = f"{settings.model}: the model cannot be loaded: {first_line(error)}"
        raise EngineError(message, cause="model") from error
    return HfEngine(
        model.to(device).eval(), tokenizer, settings.model, getattr(config, "max_position_embeddings", None),
        stops, int(options["batch_size"]), float(options["kv_cache_gb"]), int(options["window"]),
    )  # fmt: skip


def _stop_ids(settings: EngineSettings, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, and those of the model's generation config."""
    found = {tokenizer.eos_token_id}
    if os.path.isfile(os.path.join(settings.model, "generation_config.json")) or not os.path.isdir(settings.model):
        eos = GenerationConfig.from_pretrained(settings.model, revision=settings.revision).eos_token_id
        found |= set(eos) if isinstance(eos, list) else {eos}
    return frozenset(token for token in found if token is not None)


@dataclass
class _Row:
    """One request while it is generated."""

    request: Request
    uniform: numpy.random.Generator
    tokens: list[int] = field(default_factory=list)


class HfEngine:
    """One model in this process. `generate` works in windows, each sorted so that batches have one length."""

    def __init__(
        self, model: Any, tokenizer: Any, name: str, context_tokens: int | None,
        stops: frozenset[int], batch_size: int, kv_cache_gb: float, window: int,
    ) -> None:  # fmt: skip
        self.context_tokens = context_tokens
        self._model, self._tokenizer, self._name = model, tokenizer, name
        self._stops, self._batch_size, self._window = stops, batch_size, window
        self._cache_tokens = int(kv_cache_gb * 2**30 / _cache_bytes_a_token(model))
        # Attention over the prompts takes a mask of so many numbers of 4 bytes: no more memory than the cache.
        self._mask_entries = int(kv_cache_gb * 2**28)

    def chat(self, messages: Sequence[Mapping[str, str]], thinking: bool | None) -> Prompt:
        return chat_prompt(self._tokenizer, messages, thinking, self._name)

    def plain(self, text: str) -> Prompt:
        return plain_prompt(self._tokenizer, text)

    def close(self) -> None:
        self._model = None

    def generate(self, requests: Iterator[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        while window := _ready(requests, self._window):
            for batch in self._batches(window):
                if stopping():
                    return
                try:
                    yield from self._run(batch, stopping)
                except torch.OutOfMemoryError as error:
                    raise EngineDied(f"out of memory with {len(batch)} rows: engine.batch_size") from error

    def _batches(self, window: list[Request]) -> Iterator[list[Request]]:
        """Rows of similar length together, longest first, as many as the cache has room for."""
        window.sort(key=lambda request: (-request.max_tokens, -_length(request), request.key))
        batch: list[Request] = []
        for request in window:
            if batch and not self._fits(batch, request):
                yield batch
                batch = []
            batch.append(request)
        if batch:
            yield batch

    def _fits(self, batch: list[Request], request: Request) -> bool:
        """Whether the batch has room for one more row. Its first row is the longest, and decides the padding."""
        rows, longest = len(batch) + 1, _length(batch[0])
        if rows > self._batch_size or request.max_tokens != batch[0].max_tokens:
            return False
        if longest > MOSTLY_PADDING and 2 * _length(request) < longest:
            return False
        return rows * (longest + request.max_tokens) <= self._cache_tokens and rows * longest**2 <= self._mask_entries

    @torch.inference_mode()
    def _run(self, requests: list[Request], stopping: Callable[[], bool]) -> Iterator[Completion]:
        rows = [_Row(request, numpy.random.Generator(numpy.random.Philox(request.seed))) for request in requests]
        device = self._model.device
        tokens, mask = (part.to(device) for part in _padded(requests))
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        while rows and not stopping():
            logits = self._model(
                input_ids=tokens, attention_mask=mask, position_ids=positions,
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip
            drawn = self._draw(logits, rows)
            kept = []
            for place, (row, token) in enumerate(zip(rows, drawn.tolist(), strict=True)):
                completion = self._take(row, token)
                if completion is None:
                    kept.append(place)
                else:
                    yield completion
            if len(kept) < len(rows):
                if not kept:
                    return
                chosen = torch.tensor(kept, device=device)
                rows, drawn, mask, positions = (
                    [rows[i] for i in kept],
                    drawn[chosen],
                    mask[chosen],
                    positions[chosen],
                )
                cache.batch_select_indices(chosen)
            tokens = drawn[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1

    def _draw(self, logits: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
        """The next token of every row: the largest logit, or where its own next uniform number falls."""
        temperatures = [row.request.temperature for row in rows]
        greedy = logits.argmax(dim=1)
        if not any(temperatures):
            return greedy
        heat = torch.tensor(temperatures, device=logits.device, dtype=logits.dtype)
        chances = torch.softmax(logits / heat.clamp(min=1e-6)[:, None], dim=1)
        if any(row.request.top_p < 1.0 for row in rows):
            chances = _nucleus(chances, torch.tensor([row.request.top_p for row in rows], device=logits.device))
        uniform = torch.tensor([row.uniform.random() for row in rows], device=logits.device, dtype=torch.float64)
        reach = chances.double().cumsum(dim=1)
        drawn = torch.searchsorted(reach, (uniform * reach[:, -1])[:, None], right=True)[:, 0]
        drawn = drawn.clamp(max=logits.shape[1] - 1)
        return torch.where(heat > 0, drawn, greedy)

    def _take(self, row: _Row, token: int) -> Completion | None:
        """Add the token; the completion if the row is finished with it."""
        row.tokens.append(token)
        request = row.request
        if token in self._stops:
            return self._finished(row, self._text(row.tokens[:-1]), Ended.STOP)
        if request.stop and self._has_stop(request.stop, row.tokens):
            text = self._text(row.tokens)
            found = min((place for stop in request.stop if (place := text.find(stop)) >= 0), default=None)
            if found is not None:
                return self._finished(row, text[:found], Ended.STOP)
        if len(row.tokens) >= request.max_tokens:
            return self._finished(row, self._text(row.tokens), Ended.LENGTH)
        return None

    def _has_stop(self, stops: tuple[str, ...], tokens: list[int]) -> bool:
        """Looks at the end alone: a token holds at least a byte, so that so many hold any stop text."""
        tail = self._text(tokens[-max(len(stop.encode()) for stop in stops) - 4 :])
        return any(stop in tail for stop in stops)

    def _text(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _finished(self, row: _Row, text: str, ended: Ended) -> Completion:
        if ended is Ended.STOP and not text:
            ended = Ended.EMPTY
        return Completion(row.request.key, text, ended, _length(row.request), len(row.tokens))


def _ready(requests: Iterator[Request], most: int) -> list[Request]:
    """The requests that there are now."""
    return list(takewhile(lambda request: request is not LATER, islice(requests, most)))


def _length(request: Request) -> int:
    assert request.prompt.tokens is not None
    return len(request.prompt.tokens)


def _cache_bytes_a_token(model: Any) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def _padded(requests: list[Request]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the left, and the mask."""
    width = max(_length(request) for request in requests)
    tokens = torch.zeros(len(requests), width, dtype=torch.long)
    mask = torch.zeros(len(requests), width, dtype=torch.long)
    for row, request in enumerate(requests):
        tokens[row, width - _length(request) :] = torch.tensor(request.prompt.tokens, dtype=torch.long)
        mask[row, width - _length(request) :] = 1
    return tokens, mask


def _nucleus(chances: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Only the smallest set of tokens that reaches top_p keeps its chances."""
    ordered, order = chances.sort(dim=1, descending=True)
    beyond = ordered.cumsum(dim=1) - ordered >= top_p[:, None]
    return torch.zeros_like(chances).scatter(1, order, ordered.masked_fill(beyond, 0.0))
