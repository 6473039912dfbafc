"""A tiny model made on the spot: config, byte-level tokenizer and random weights. For warm-up from scratch.

The tokenizer has one token a byte, so that no text is lost. A folder with a known `model_type` makes
AutoTokenizer ignore the class that was saved, which can change ids silently: `make` proves that it does not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, set_seed

from manager.run import Failed

PAD, END, START = "<|pad|>", "<|im_end|>", "<|im_start|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'][0] + ' ' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>a ' }}{% endif %}"
)
PROBE = "a B\n\t12+34= ```python\nprint('é €')\n```  <think> x </think>"

# Our names -> the names of transformers' config classes; other keys go there unchanged.
NAMES = {
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "context": "max_position_embeddings",
}


def make_tokenizer(context: int) -> PreTrainedTokenizerFast:
    """256 bytes and three special tokens, with a chat template."""
    vocabulary = {byte: place for place, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [START]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def assert_same_ids(tokenizer: Any, folder: Path | str) -> None:
    """What AutoTokenizer loads from `folder` must give the ids of `tokenizer`, and text must survive."""
    loaded = AutoTokenizer.from_pretrained(folder)
    for text in (
        PROBE,
        tokenizer.apply_chat_template([{"role": "user", "content": PROBE}], tokenize=False, add_generation_prompt=True),
    ):
        ours, theirs = tokenizer(text)["input_ids"], loaded(text)["input_ids"]
        if ours != theirs or loaded.decode(theirs) != text:
            raise Failed(
                f"the tokenizer loaded from {folder} gives other ids than the one that was saved there",
                cause="tokenizer_changed",
            )


def make(spec: Mapping[str, Any], seed: int) -> tuple[Any, PreTrainedTokenizerFast]:
    """(model, tokenizer) of `config.model.scratch`: architecture and sizes; the same for the same seed."""
    sizes = {NAMES.get(key, key): value for key, value in spec.items() if key != "architecture"}
    sizes.setdefault("max_position_embeddings", 512)
    sizes.setdefault("tie_word_embeddings", True)
    if "num_attention_heads" in sizes:
        sizes.setdefault("num_key_value_heads", sizes["num_attention_heads"])
    if "hidden_size" in sizes:
        sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
    tokenizer = make_tokenizer(sizes["max_position_embeddings"])
    try:
        config = AutoConfig.for_model(
            spec.get("architecture", "qwen2"),
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            **sizes,
        )
    except (ValueError, TypeError) as error:
        raise Failed(f"model.scratch: {error}", cause="config") from error
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        assert_same_ids(tokenizer, folder)
    return model, tokenizer
