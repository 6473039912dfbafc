r"""Forms in which people write the same answer: a column vector as a tuple, a word within a sentence. Pure text."""

from __future__ import annotations

import re

from evaluators.scoring.numbers import unwrap

_COLUMN = re.compile(
    r"\\begin\{(?P<name>[pbvBV]?matrix)\}(?P<rows>[^&]*?\\\\[^&]*?)\\end\{(?P=name)\}"
    r"|\\(?:left)?\(?\\begin\{array\}\{c\}(?P<array>[^&]*?\\\\[^&]*?)\\end\{array\}(?:\\right\))?",
    re.DOTALL,
)
_TRANSPOSED = re.compile(r"\^\{?\s*(?:T|\\top|\\intercal|\\mathsf\{T\}|\\text\{T\})\s*\}?$")
_BRACKETS = tuple(
    zip(
        ("\\left(", "\\left[", "\\left\\langle", "\\langle", "(", "[", "<"),
        ("\\right)", "\\right]", "\\right\\rangle", "\\rangle", ")", "]", ">"),
        strict=True,
    )
)

_UNIT = re.compile(
    r"(?<=\S)\s*\\(?:text|mbox|mathrm)\s*\{\s*(?P<words>[A-Za-z][A-Za-z .]*)\}\s*(?:\^\s*\{?\d\}?)?\s*\.?$"
)
_LABEL = re.compile(r"^\\(?:text|mathrm|mbox)\s*\{(?P<words>[A-Za-z ,'’]+)[:=]?\s*\}\s*[:=]?\s*(?=[-\d.\\$])")
_SENTENCE = re.compile(r"\\(?:text|mathrm|mbox)\s*\{(?P<words>[^{}]*[A-Za-z]{2}[^{}]*)\}")
_NUMBERS = re.compile(
    r"(?<![\w.,])-?\\?\$?\d[\d,]*(?:\.\d+)?%?(?![\w.,]*\d)"
    r"(?!\w|\s*(?:hundred|thousand|[mb]illion)|[-/^+*=:<>])"
)
# Words that join or deny: an answer with one of them says more than one thing.
_TURNS = re.compile(r"\b(?:and|or|nor|not|neither|never|no|but|either|except|cannot)\b|n't\b", re.IGNORECASE)
_BOUNDS = re.compile(r"\b(?:less|more|greater|fewer|than|at|least|most|between|under|over|up|minus|plus|times)\b", re.I)
_ASIDE = re.compile(r",?\s+(?:not|rather than|instead of|and not)\s+(?:an?\s+|the\s+)?\w+\.?$", re.IGNORECASE)
_LEADS = frozenset(["is", "are", "was", "were", "be", "on", "in", "at", "to", "a", "an", "the", "its", "called", "by"])
_BARE = frozenset(("yes", "no", "true", "false"))
_MOST_WORDS = 12


def without_unit(text: str) -> str:
    r"""A formula without the unit behind it: `8\sqrt{3} \text{ square inches}`, not `x \text{ or } y`."""
    match = _UNIT.search(text)
    if match is None or match.start() == 0 or _several(match["words"]):
        return text
    return text[: match.start()]


def without_label(text: str) -> str:
    r"""A number without the words before it: `\text{Total: } 33`, `\text{33 in all}`, not `\text{at least } 33`."""
    if sentence := _SENTENCE.fullmatch(text):
        numbers = _NUMBERS.findall(sentence["words"])
        return text if len(numbers) != 1 or _several(sentence["words"]) else str(numbers[0])
    match = _LABEL.match(text)
    return text if match is None or _several(match["words"]) else text[match.end() :]


def _several(words: str) -> bool:
    return bool(_TURNS.search(words) or _BOUNDS.search(words))


def same_list(gold: str, answer: str) -> bool | None:
    """Letters or words in any order, where the gold answer is a list of them: `A,D` is `D and A`. Else None."""
    wanted = _listed(gold)
    return None if wanted is None else wanted == _listed(answer, alone=True)


def _listed(text: str, *, alone: bool = False) -> list[str] | None:
    plain = re.sub(r"\\[{}]|[{}()\[\]]", " ", unwrap(text)).strip()
    terms = [term.strip().lower() for term in re.split(r",|\band\b|&", plain) if term.strip()]
    if not all(re.fullmatch(r"[a-z]|[a-z]{3,}", term) for term in terms) or (len(terms) < 2 and not alone):
        return None
    return sorted(terms) if alone or "\\text" in text or "\\mbox" in text else None


def one_form(gold: str, answer: str) -> tuple[str, str]:
    """The two as they are, or both as tuples where just one of them is a column vector."""
    column, other = _entries(gold), _entries(answer)
    if column is not None and other is None and (listed := _tuple(answer)) is not None:
        return f"({', '.join(column)})", listed
    if other is not None and column is None and unwrap(gold).strip().startswith(("(", "\\left(", "\\langle")):
        return (_tuple(gold) or gold), f"({', '.join(other)})"
    if gold.startswith("(") and answer.startswith(("\\langle", "<")):
        return gold, _tuple(answer) or answer
    return gold, answer


def _entries(text: str) -> list[str] | None:
    """The entries of a matrix of one column; None for anything else."""
    match = _COLUMN.fullmatch(unwrap(text).strip())
    if match is None:
        return None
    rows = [row.strip() for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["rows"] or match["array"] or "")]
    return [row for row in rows if row]


def _tuple(text: str) -> str | None:
    """A list of coordinates in the parentheses of a point, also where it is written transposed or in angles."""
    plain = _TRANSPOSED.sub("", unwrap(text).strip()).strip()
    for opening, closing in _BRACKETS:
        if plain.startswith(opening) and plain.endswith(closing):
            inside = plain[len(opening) : -len(closing)].strip()
            return f"({inside})" if "," in inside else None
    return None


def enclosed(text: str) -> str:
    """`braces` for a set of several, `parentheses` for a point or an interval, else nothing: math-verify mixes them."""
    plain = unwrap(text).strip().replace("\\lbrace", "\\{").replace("\\rbrace", "\\}")
    if "," not in plain:
        return ""
    if re.fullmatch(r"\\\{[^{}]*\\\}", plain):
        return "braces"
    return "parentheses" if re.fullmatch(r"[(\[][^()\[\]]*[)\]]", plain) else ""


def states(words: str, answer: str) -> bool:
    """Whether a sentence answers with these words: `The function is even.` says `even`, `not even` does not.

    At its beginning, or after a verb or an article; up to two words may follow (`even function`), or more if it begins
    so. What joins or denies (`Navin and Evelyn`) is no such answer.
    """
    if words in _BARE or len(words) < 3:
        return False
    said = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", answer).replace("$", " ")
    if "\\" in said or re.search(r"\d|=", said):
        return False
    said = _ASIDE.sub("", said.strip())
    tokens = re.sub(r"[^a-z' ]", " ", said.lower()).replace("'s", " is").split()
    wanted = words.split()
    if len(tokens) > _MOST_WORDS:
        return False
    for start in range(len(tokens) - len(wanted) + 1):
        if tokens[start : start + len(wanted)] != wanted:
            continue
        before, after = tokens[:start], tokens[start + len(wanted) :]
        if words == "neither":
            return not before or before[-1] in _LEADS
        if _TURNS.search(" ".join([*before, *after])) or "," in said:
            return False
        return (not before or before[-1] in _LEADS) and (len(after) <= 2 or not before)
    return False
