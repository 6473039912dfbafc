r"""Characters that mean the same as plain ones: full-width forms, quotation marks, dashes, mathematical symbols.

Pure text. Nothing here decides what an answer is.
"""

from __future__ import annotations

import re

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_INVISIBLE = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFE0F, 0xFEFF), None)
_SAME = {
    **_FULL_WIDTH,
    **_INVISIBLE,
    **{ord(mark): '"' for mark in "“”„‟«»「」『』＂"},
    **{ord(mark): "'" for mark in "‘’‚‛‹›"},
    **dict(zip(map(ord, "【】〔〕"), "[]()", strict=True)),
    **dict(zip(map(ord, "。、\u3000\u00a0\u202f\u2009"), (".", ",", " ", " ", " ", " "), strict=True)),
    ord("−"): "-",
}
_TAGS = re.compile(r"</?(?:b|strong|i|em|u|p|br|li|span|div|code|h[1-6])(?:\s[^<>\n]{0,80})?\s*/?>", re.IGNORECASE)

# Ticks, arrows and bullets before an answer.
LEADS = re.compile(r"(?:[\s*_`✅✔☑👉•→⇒➡➤∴▶]|=>|->|>\s)+")

# As LaTeX, for the parsers. A space keeps `2π` and `\pi r` apart.
_SYMBOLS = {
    "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ",
    "≠": r"\neq ", "±": r"\pm ", "·": r"\cdot ", "⋅": r"\cdot ", "×": r"\times ", "÷": r"\div ", "π": r"\pi ",
    "θ": r"\theta ", "∈": r"\in ", "ℝ": r"\mathbb{R}", "≈": r"\approx ", "∅": r"\emptyset ", "∨": r"\lor ",
    "∧": r"\land ", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}",
    "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}", "ⁿ": "^{n}",
    **{digit: f"^{{{value}}}" for value, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}  # fmt: skip
_LATEX = {**_SAME, **{ord(symbol): latex for symbol, latex in _SYMBOLS.items()}}
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[a-zA-Z]))")


def plain_prose(text: str) -> str:
    """The text with ASCII letters, quotes and brackets for their full-width and typographic forms, without HTML."""
    text = text.translate(_SAME)
    return _TAGS.sub("", text) if "<" in text else text


def plain_mathematics(text: str) -> str:
    r"""A formula with LaTeX for its Unicode symbols: `2√5` is `2\sqrt{5}`, `(-∞, 1]` is `(-\infty , 1]`."""
    if text.isascii():
        return text
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match[1] or match[2]}}}", text)
    return text.translate(_LATEX)
