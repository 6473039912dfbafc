r"""Reads one plain number out of an answer: separators, currency, percent, units, fractions, mixed numbers.

Exact (`Fraction`), standard library only; most answers are decided here and never reach sympy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Plain:
    """`exact` is False for what was written with decimals, where rounding has to be forgiven."""

    value: Fraction
    percent: bool = False
    exact: bool = True


# Not the second half of `\\`, which ends a row of a matrix.
_SPACES = re.compile(r"(?<!\\)\\[,;:!> ]|~|\\quad|\\qquad|[\u00a0\u2009\u202f]")
_WRAPPERS = re.compile(
    r"\\(?:text|mbox|mathrm|mathbf|textbf|textit|operatorname|mathit|bf|rm|boldsymbol|bold|bm|mathsf|underline)"
    r"\s*\{([^{}]*)\}"
)
# What only changes how a formula looks: colour, size, the space between the rows of a matrix.
_LOOKS = re.compile(
    r"\\(?:text)?color\s*\{[a-zA-Z]+\}|\\(?:large|Large|LARGE|huge|Huge|displaystyle|textstyle)(?![a-zA-Z])"
    r"|(?<=\\\\)\s*\[-?[\d.]+\s*(?:pt|em|ex|mm|cm|in)\]"
)
_ABOUT = re.compile(
    r"^(?:\\(?:approx|sim|simeq|thickapprox)(?![a-zA-Z])|~|(?:approximately|about|roughly|exactly)\b)\s*", re.IGNORECASE
)
_DELIMITERS = re.compile(r"^(?:\$\$?|\\\(|\\\[)|(?:\$\$?|\\\)|\\\])$")
_INTEGER = r"\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+(?!\d)|\d+"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<whole>{_INTEGER})?(?P<decimals>\.\d*)?"
    r"(?:\s*(?:\\times|\\cdot|\*|×|·)\s*10\s*\^\s*\{?(?P<power>[-+]?\d{1,3})\}?|[eE](?P<exponent>[-+]?\d{1,3})\b)?"
)
_LATEX_FRACTION = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<whole>\d+)?\s*\\[dt]?frac\s*"
    r"(?:\{\s*(?P<num>[-+]?\d+)\s*\}|\s*(?P<num1>\d))\s*(?:\{\s*(?P<den>\d+)\s*\}|(?P<den1>\d))"
)
_SLASH_FRACTION = re.compile(r"(?P<sign>[-+]?)\s*(?:(?P<whole>\d+)\s+)?(?P<num>\d+)\s*/\s*(?P<den>\d+)")
_SCALE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PERCENT = re.compile(r"\s*(?:\\?%|per\s?cent(?:age)?(?:\s+points?)?\b)", re.IGNORECASE)
_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree\b)")
_SHORT_UNITS = frozenset({"m", "g", "s", "h", "l", "L", "N", "J", "W", "V", "K", "C", "F", "A"})
# After these words the number is not the whole answer.
_NOT_UNITS = frozenset(re.findall("[a-z]+", "or and not if than to plus minus times but either between is equals mod"))
_UNIT = re.compile(r"\s*(?:[A-Za-zµ]+\.?)(?:\s*\^\s*\{?[-+]?\d\}?|[²³])?|\s*/\s*[A-Za-z]+(?:\^\{?\d\}?)?")


def tidy(text: str) -> str:
    r"""The answer without LaTeX delimiters, invisible spaces, `\left`, `\text{}` and closing punctuation."""
    text = text.strip().replace("−", "-").replace("–", "-")
    text = re.sub(r"\\(?:left|right)(?![a-zA-Z])", "", text)
    text = text.replace("\\%", "%").replace("\\$", "$").replace("{,}", ",")
    text = re.sub(r",\\!\s*", ",", text)
    text = _LOOKS.sub("", text)
    text = _SPACES.sub(" ", text)
    text = text.strip(" *`_\t\n").rstrip(".;:, ")
    for _ in range(3):
        stripped = _DELIMITERS.sub("", text).strip(" *`").rstrip(".;: ")
        if stripped == text:
            break
        text = stripped
    return re.sub(r"\s+", " ", text).strip()


def unwrap(text: str) -> str:
    r"""`\text{cm}` and its kin become what they hold."""
    for _ in range(4):
        text, count = _WRAPPERS.subn(r" \1 ", text)
        if not count:
            break
    return re.sub(r"\s+", " ", text).strip()


def read_number(text: str) -> Plain | None:
    """The number that the whole of `text` states, or None where it states anything else."""
    if len(text) > 300:
        return None
    body = unwrap(tidy(text))
    body = _ABOUT.sub("", re.sub(r"^[A-Za-z]\w?\s*=\s*", "", body))
    body = re.sub(r"^(?P<sign>[-+]?)\s*(?:US)?[$€£¥₹]\s*", r"\g<sign>", body).strip()
    if body.startswith("{") and body.endswith("}"):
        body = body[1:-1].strip()
    value, end, exact = _value(body)
    if value is None:
        return None
    rest = body[end:]
    percent = bool(match := _PERCENT.match(rest))
    if match:
        rest = rest[match.end() :]
    if match := _DEGREES.match(rest):
        rest = rest[match.end() :]
    scale = re.match(r"\s*(hundred|thousand|million|billion|trillion)\b", rest, re.IGNORECASE)
    if scale:
        value *= _SCALE[scale.group(1).lower()]
        rest = rest[scale.end() :]
    rest = re.sub(r"^\s*[$€£¥₹]", "", rest)
    return Plain(value, percent, exact) if _is_unit(rest) else None


def _value(body: str) -> tuple[Fraction | None, int, bool]:
    for pattern in (_LATEX_FRACTION, _SLASH_FRACTION):
        if match := pattern.match(body):
            parts = match.groupdict()
            numerator = int(parts["num"] or parts.get("num1") or 0)
            denominator = int(parts["den"] or parts.get("den1") or 0)
            if denominator == 0:
                return None, 0, True
            value = int(parts["whole"] or 0) + Fraction(numerator, denominator)
            return (-value if parts["sign"] == "-" else value), match.end(), True
    match = _NUMBER.match(body)
    if match is None or not (match["whole"] or (match["decimals"] or ".") != "."):
        return None, 0, True
    decimals = match["decimals"] or ""
    value = Fraction((re.sub(r"[ ,]", "", match["whole"] or "") or "0") + (decimals if decimals != "." else ""))
    if power := match["power"] or match["exponent"]:
        value *= Fraction(10) ** int(power)
    return (-value if match["sign"] == "-" else value), match.end(), len(decimals) < 2


def _is_unit(rest: str) -> bool:
    """Only words of a unit follow the number: `cm^2`, `miles per hour`, `eggs`, nothing."""
    rest = rest.strip()
    if not rest:
        return True
    spaced = rest
    position = 0
    words = 0
    while position < len(spaced):
        match = _UNIT.match(spaced, position)
        if match is None or match.end() == position:
            return False
        word = re.sub(r"[^A-Za-z]", "", match.group().split("^")[0])
        if word.lower() in _NOT_UNITS or (len(word) == 1 and word not in _SHORT_UNITS):
            return False
        position = match.end()
        words += 1
    return words <= 6


def same_number(gold: Plain, answer: Plain) -> bool:
    """Equal, forgiving the rounding of decimals at the sixth place, and a percent sign on either side."""
    if _close(gold, answer):
        return True
    if gold.percent != answer.percent:
        shown = gold if gold.percent else answer
        other = answer if gold.percent else gold
        return _close(Plain(shown.value / 100, exact=shown.exact), other)
    return False


def _close(a: Plain, b: Plain) -> bool:
    if a.value == b.value:
        return True
    if a.exact and b.exact:
        return False
    tolerance = Fraction(5, 10**7) * min(Fraction(1), max(abs(a.value), abs(b.value)))
    return abs(a.value - b.value) <= tolerance


_LAST_NUMBER = re.compile(
    r"(?<![\w.,])[-+]?\s?\\?[$€£¥₹]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:/\d+)?(?:\s?\\?%)?(?![\w]*=)"
)


def find_last_number(text: str) -> re.Match[str] | None:
    """The last number written in `text`, with its sign and percent; the dash of a list is no sign."""
    found = None
    for match in _LAST_NUMBER.finditer(text):
        if any(character.isdigit() for character in match.group()):
            found = match
    if found and found.group().startswith("- ") and re.search(r"(?:^|\n)[ \t]*\Z", text[: found.start()]):
        return _LAST_NUMBER.search(text, found.start() + 1)
    return found


def last_number(text: str) -> str | None:
    """The text of `find_last_number`."""
    found = find_last_number(text)
    return found.group().strip() if found else None
