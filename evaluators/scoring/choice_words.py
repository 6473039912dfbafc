"""What people write around a letter or label: that it is chosen, rejected, put in question, or one of several.

Patterns only; `evaluators.scoring.choice` and `evaluators.scoring.stated_label` decide with them. A letter may be
written in lower case where something else says that it is one: after `option`, in brackets, before a full stop.
"""

from __future__ import annotations

import re
from functools import lru_cache

_OPEN, _CLOSE = r"[*_`(\[{\"'\\$]*", r"[*_`)\]}\"'$]*"
# What may follow the letter A, or one in lower case, where it is a choice and not an article.
_REASON = r"(?:because|since|as|due|for|given|but|based|per|not|rather|instead|over)\b"
_AFTER = rf"(?=[*_`)\]}}\"'$]*\s*(?:$|[\n.,;:!?)✅✔—–(]|-\s|{_REASON}))"
_AFTER_A = rf"(?=[*_`)\]}}\"'$]*\s*(?:$|[\n.,;:!?)\]}}*_\"'—–(✅✔|<]|-\s|(?:is|was|and)\b|{_REASON}))"
_CORRECT = (
    r"(?:(?:is|was|seems|appears|remains|being|as)\s+"
    r"(?:(?:clearly|definitely|thus|also|likely|indeed|therefore)\s+)*)"
)
_GOOD = (
    r"(?:(?:the|a|most|probably|likely|only)\s+)*"
    r"(?:(?:correct|right|best|appropriate|true|answer|likely|accurate|suitable)\b|(?:remaining|possible|valid|plausible)\s+"
    r"(?:option|choice|answer)|only\s+(?:option|choice|answer|one))"
)
CALLED_RIGHT = re.compile(rf" {_CORRECT}{_GOOD}")
REJECTED_AFTER = re.compile(
    r"[\s*_)\]\"':–—-]*(?:is|was|are|would\s+be|seems|can|could|cannot|does|doesn't|isn't|did|has|might|may)?\s*"
    r"(?:clearly\s+|also\s+|therefore\s+|definitely\s+)?"
    r"(?:not\b|n't|incorrect|wrong|false|❌|✗|✘|ruled?\s+out|excluded|eliminated|unlikely|less\s+likely|no\s+longer|"
    r"isn't|doesn't|wasn't|cannot|can't|can\s+be\s+(?:ruled|excluded|eliminated|rejected))",
    re.IGNORECASE,
)
REJECTED_BEFORE = re.compile(
    r"(?:\bnot|\bnever|\b(?:wrong|incorrect|tempting|mistake)\s+to|n't\s+be|n't|\bisn't|\bwasn't|rather\s+than|"
    r"instead\s+of|rules?\s+out|ruling\s+out|ruled\s+out|"
    r"eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|reject(?:s|ed|ing)?|unlike|except|neither|nor|\bthan|\bover|"
    r"tempting\s+to\s+(?:say|choose|pick)|discard(?:s|ed|ing)?|incorrect(?:ly)?|wrong(?:ly)?|compared\s+(?:to|with)|"
    r"\b(?:consider|examine|evaluate|analyze|discuss|think\s+about|look\s+at|start\s+with|whether|if))"
    r"\s*(?:\b(?:be|is|it|the|option|options|choice|answer|choices)\b\s*)*[\s\"'(*:]*$",
    re.IGNORECASE,
)
AROUND = "().:[]{}*#<>\"'` _-–—~$!,✅✔☑👉•→⇒➡➤∴=|"
_FALSE = r"false|no|incorrect|wrong|not\s+correct"
_TRUE = r"true|correct|right|yes"
CALLED_FALSE = re.compile(rf"[\s.)\]:*–—-]*(?:{_FALSE}|[❌✗✘])[\s.!*]*$", re.IGNORECASE)
# The verdict of a line on one option, not a word of the option: `Right-sided pain`.
CALLED = re.compile(
    r"(?:^|[-–—:(*]\s*|\b(?:is|was|are|→)\s+(?:(?:clearly|also|the|therefore)\s+)*)"
    rf"(?:(?P<false>{_FALSE})|(?P<true>{_TRUE}))\b"
    r"(?=[*_)\s]*(?:[.,;:!)]|$|[—–]|-\s|(?:because|since|as|answer|option|choice)\b))"
    r"|(?P<cross>[❌✗✘])|(?P<tick>[✅✔☑✓])",
    re.IGNORECASE,
)
GOES_ON_AS_ANSWER = re.compile(
    r"[^\w]*(?:$|because|since|as|due|based|given)|[*_\"']*(?:[.,:;!)\]}–—-]|\s[-–—]\s)", re.IGNORECASE
)
CONDITIONAL = re.compile(r"\s*(?:only\s+|even\s+)?(?:if|when)\b|[\s*)]*(?:\?|->|→)", re.IGNORECASE)
# A capital letter after another word is part of a name (`hepatitis B`, `group A`), except after these.
_BEFORE_A_LETTER = frozenset(
    re.findall(
        "[a-z]+",
        "option options choice choices answer letter so thus hence therefore then that and but or because since as "
        "while whereas think believe say conclude only is clearly indeed here although though if with which makes "
        "making than be leaves leaving answers now no not between both either out actually finally overall probably",
    )
)


def one(letters: str) -> str:
    """A pattern of one option's letter, marked or not; a small letter, or the article, only where it ends a phrase."""
    others = letters.replace("A", "")
    big = rf"A{_AFTER_A}|[{others}](?![\w'’]|[-‐‑][a-zA-Z])" if "A" in letters and others else rf"[{letters}]\b"
    return rf"(?:{big}|[{letters.lower()}]{_AFTER})"


def is_name(text: str, start: int) -> bool:
    """Whether the letter at a place belongs to the word before it: `vitamin D`."""
    word = re.search(r"([A-Za-z]+) \Z", text[max(0, start - 30) : start])
    return word is not None and word.group(1).lower() not in _BEFORE_A_LETTER


@lru_cache(maxsize=64)
def leading(letters: str) -> re.Pattern[str]:
    """A letter that opens a statement: `B`, `(B)`, `B. Because`, `**B)** text`, `Option B`."""
    others = letters.replace("A", "")
    small = f"[{letters.lower()}]"
    noun = r"(?:option|choice|answer|letter)\s*[:–-]?\s*"
    return re.compile(
        rf"[\s#]*{_OPEN}(?i:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?{noun})?{_OPEN}"
        rf"(?:(?P<a>A){_AFTER_A}|(?P<other>[{others or letters}])(?![\w'’]|[-‐‑][a-z]|\s+cells?\b)"
        rf"|(?P<small>{small}){_AFTER}|(?<=\()(?P<round>{small})(?=\)))",
    )


@lru_cache(maxsize=64)
def hedged(letters: str) -> re.Pattern[str]:
    """A statement that names several: `B or C`, `A, B, C`, `(A)/(B)`, `either B or C`."""
    one_of = rf"(?:[Oo]ptions?\s+|[Cc]hoices?\s+)?[*(\[\"']*[{letters}{letters.lower()}][*)\]\"']*"
    joined = r"\s*(?:,\s*(?:and\s+|or\s+)?|/|&|\(?\b(?:and/or|and|or)\b)\s*"
    return re.compile(
        rf"[\s*_`\"'(\[{{\\#]*(?:(?:[Ee]ither|[Bb]oth)\s+)?{one_of}{joined}{one_of}"
        r"\s*(?:$|[.,;:!?/&)}\]]|(?:and|or|are|both|together)\b)"
    )


@lru_cache(maxsize=64)
def after_another(letters: str) -> re.Pattern[str]:
    """What ends with another option and a word that joins them: `B or`."""
    return re.compile(rf"\b[{letters}][)*\]\"']*\s*(?:/|,?\s*\b(?:or|and)\b)\s*(?i:option\s+)?[*(\[\"']*$")


@lru_cache(maxsize=64)
def judged_alone(letters: str) -> re.Pattern[str]:
    """An option with a verdict on it, one of several in a row: `A: Incorrect.`"""
    return re.compile(
        rf"(?:^|[\s(*]|[Oo]ption\s)(?P<letter>[{letters}])[)\]*]*\s*[).:–—-]+[\s*]*"
        rf"(?P<verdict>(?i:true|correct|right|yes|{_FALSE}))(?=[*\s]*(?:[.,;!]|\n|$))",
        re.MULTILINE,
    )


@lru_cache(maxsize=64)
def enumerated(letters: str) -> re.Pattern[str]:
    """A line about one option: `B) text`, `- **B**: text`, `2. Option B: text`."""
    return re.compile(
        rf"[\s*_•+❌✅✔✗-]*(?:\d+[.)]\s*)?[*_(\[]*(?:[Oo]ption\s+|[Cc]hoice\s+)?[*_(\[]*(?P<letter>[{letters}])[*_]*"
        r"[.):\]–—-]"
    )


@lru_cache(maxsize=64)
def asserted(letters: str) -> re.Pattern[str]:
    """`B is correct`, `I choose (B)`, `Option B is the best answer`, `this leaves B`."""
    letter = one(letters)
    noun = r"(?i:(?:the\s+)?(?:option|choice|answer|letter)\s+)?"
    verb = (
        r"(?i:choose|chose|choosing|select|selecting|pick|picking|(?:go|going|went)\s+with|opt\s+for|settle\s+on|"
        r"stick\s+with|vote\s+for)"
    )
    opinion = r"(?i:(?:i|we|i'd|i'll)\s+(?:(?:would|will|still|now|then)\s+)*(?:think|believe|say|answer))"
    return re.compile(
        rf"(?i:\b(?:option|choice|answer)\s+)?[*(\[\"']*\b(?P<subject>[{letters}])\b[*)\]\"']*\s*"
        rf"(?:\([^()\n]{{0,120}}\)\s*)?(?=(?:[:,\-–—][^.\n]{{0,120}}?)?\s*{_CORRECT}{_GOOD})"
        rf"|\b{verb}\s+{noun}{_OPEN}(?P<object>{letter})(?!\s+[a-z]{{2,}}ing)"
        rf"|\b{opinion}\s+{noun}{_OPEN}(?P<opinion>{letter})(?={_CLOSE}\s*(?:[.;\n]|$))"
        rf"|\b(?P<fits>[{letters}])\s+(?:best\s+(?:explains|fits|describes|matches|answers|accounts)|fits\s+best)\b"
        rf"|\b(?i:makes|making)\s+{noun}{_OPEN}(?P<makes>[{letters}]){_CLOSE}\s+(?i:the\s+(?:correct|right|best|most))\b"
        rf"|\b(?i:must|has\s+to|should)\s+be\s+{noun}{_OPEN}(?P<must>{letter})(?={_CLOSE}\s*(?:[.,;]|$))"
        rf"|\b(?i:(?:leaves?|leaving|left)\b(?:\s+(?:us|me|with|only|just))*|(?:remaining|correct)\s+(?:one\s+)?is)"
        rf"\s+{noun}{_OPEN}(?P<left>{letter})(?={_CLOSE}\s*(?:[.,;\n]|$|as\b|which\b))"
        rf"|\b(?i:only)\s+{noun}{_OPEN}(?P<only>[{letters}]){_CLOSE}\s+(?i:remains|is\s+left|fits|works|matches)\b"
    )


@lru_cache(maxsize=64)
def concluded(letters: str) -> re.Pattern[str]:
    """A sentence that says nothing but a letter, after words that conclude: `So, B.`, `It's (B).`, `Hence option B`."""
    then = (
        r"(?:so|thus|therefore|hence|then|consequently|overall|finally|in\s+(?:conclusion|short|summary)|"
        r"by\s+elimination)"
    )
    it = r"(?:it|that|this)(?:\s+is|'s|\s+must\s+be)(?:\s+(?:probably|likely|most\s+likely|clearly|definitely))?"
    return re.compile(
        rf"(?:^|(?<=[.!?;:\n])|(?<=\s))[\s*_]{{0,6}}(?i:{then}\b[\s,:]*(?:{it}\s+)?|{it}\s+)"
        rf"(?i:(?:the\s+)?(?:option|choice|answer|letter)\s+)?{_OPEN}(?P<letter>[{letters}{letters.lower()}])"
        rf"(?={_CLOSE}\s*(?:[.!;\n]|$))"
        rf"|\b(?i:points?\s+to|corresponds\s+to|supports?|suggests?)\s+{_OPEN}(?P<points>[{letters}]){_CLOSE}[.\s]*$"
        rf"|\b(?P<would>[{letters}]){_CLOSE}\s+(?i:would|must|should|has\s+to)\s+be\s+{_GOOD}[\w\s]{{0,20}}[.\s*]*$",
    )


@lru_cache(maxsize=64)
def marked(letters: str) -> re.Pattern[str]:
    """A letter in brackets or bold, or after `option`."""
    small = letters.lower()
    return re.compile(
        rf"\((?P<round>[{letters}{small}])\)|\*\*\s*\(?(?P<bold>[{letters}])[).:]?\s*\*\*"
        rf"|\*\*\s*\(?(?P<text>[{letters}])[).:][^*\n]{{1,200}}\*\*"
        rf"|\b(?i:option|choice)\s+(?P<option>[{letters}]\b|[{small}]{_AFTER})"
    )
