r"""Symbolic equality by math-verify, in a worker process (see `evaluators.scoring.isolation`).

The only importer of math_verify and sympy. Answers {"equal": bool, "parsed": bool}; what hangs or eats memory
is ended from outside.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from evaluators.scoring.isolation import serve


def _far_apart(one: Any, other: Any) -> bool:
    """Two constants that differ by more than rounding: `verify` takes all tiny numbers for zero."""
    if not (getattr(one, "is_number", False) and getattr(other, "is_number", False)):
        return False
    a, b = one.evalf(30), other.evalf(30)
    if not (a.is_comparable and b.is_comparable):
        return False
    if not (a.is_finite and b.is_finite):
        return bool(a != b)  # oo - oo is no number that could be compared
    if a == 0 or b == 0:
        return bool(abs(a - b) > 1e-20)  # an exact zero may come out as rounding noise
    return bool(abs(a - b) > 1e-6 * max(abs(a), abs(b)))


def main() -> None:
    logging.disable(logging.CRITICAL)  # math-verify warns that its own time limits are off: ours hold
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    latex = LatexExtractionConfig(boxed_match_priority=0)
    plain = ExprExtractionConfig()

    @lru_cache(maxsize=4096)
    def parsed(text: str) -> list[Any]:
        # No time limits of math-verify's own: they use SIGALRM, which sympy can swallow.
        found: list[Any] = parse(f"$\\boxed{{{text}}}$", [latex], parsing_timeout=None, fallback_mode="no_fallback")
        if not found:
            found = parse(text, [plain], parsing_timeout=None, fallback_mode="no_fallback")
        return found

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        gold, answer = parsed(request["gold"]), parsed(request["answer"])
        if not gold or not answer:
            return {"equal": False, "parsed": False}
        equal = verify(gold, answer, timeout_seconds=None, allow_set_relation_comp=True)
        if equal and "%" not in request["gold"] + request["answer"]:
            equal = not any(_far_apart(one, other) for one in gold[:1] for other in answer[:1])
        return {"equal": bool(equal), "parsed": True}

    serve(handle)


if __name__ == "__main__":
    main()
