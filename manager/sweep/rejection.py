"""What the keys of stages of kind `sample` mean: how many answers, how drawn, how many kept. Pure."""

from __future__ import annotations

from typing import Any

from manager.sweep.part import Part

SAMPLES, KEEP, MAX_TOKENS = 8, 1, 4096
SAMPLING_KEYS = ("temperature", "top_p", "max_tokens")


def sampling(part: Part) -> dict[str, Any]:
    """`samples`, `keep` and `sampling`."""
    samples = part.whole(("samples",), SAMPLES)
    keep = part.whole(("keep",), KEEP)
    part.keys(("sampling",), SAMPLING_KEYS)
    temperature = part.number(("sampling", "temperature"), 1.0, least=0.0, most=100.0)
    if samples is not None and keep is not None and keep > samples:
        part.wrong(("keep",), f"{keep} answers kept of {samples} sampled; at most {samples}")
    if temperature == 0 and samples is not None and samples > 1:
        part.wrong(
            ("sampling", "temperature"),
            f"{samples} samples at temperature 0 are the same answer {samples} times; raise it or set samples: 1",
        )
    return {
        "samples": samples,
        "keep": keep,
        "sampling": {
            "temperature": temperature,
            "top_p": part.number(("sampling", "top_p"), 1.0, least=1e-6, most=1.0),
            "max_tokens": part.whole(("sampling", "max_tokens"), MAX_TOKENS),
        },
    }
