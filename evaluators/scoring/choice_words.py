"""What people write around a letter or label: that it is chosen, rejected, put in question, or one of several.

Patterns only; `evaluators.scoring.choice` decides with them.
"""

from __future__ import annotations

import re
from functools import lru_cache

# What may follow the letter A where it is a choice and not an article.
_AFTER_A = r"(?=\s*(?:$|[\n.,;:!?)\]}*_\"'—–(]|-\s|(?:because|since|as|is|was|due|for|given|and|but|based|per)\b))"
_CORRECT = r"(?:(?:is|was|seems|appears|remains|being|as)\s+(?:clearly\s+|definitely\s+|thus\s+|also\s+|likely\s+)*)"
_GOOD = r"(?:the\s+|a\s+|most\s+|probably\s+|likely\s+)*(?:correct|right|best|appropriate|true|answer|likely)"
REJECTED_AFTER = re.compile(
    r"[\s*_)\]\"':–—-]*(?:is|was|are|would\s+be|seems|can|could|cannot|does|doesn't|isn't|did|has|might|may)?\s*"
    r"(?:clearly\s+|also\s+|therefore\s+|definitely\s+)?"
    r"(?:not\b|n't|incorrect|wrong|false|ruled?\s+out|excluded|eliminated|unlikely|less\s+likely|no\s+longer|"
    r"isn't|doesn't|wasn't|cannot|can't|can\s+be\s+(?:ruled|excluded|eliminated|rejected))",
    re.IGNORECASE,
)
REJECTED_BEFORE = re.compile(
    r"(?:\bnot|\bnever|\b(?:wrong|incorrect|tempting|mistake)\s+to|n't\s+be|n't|\bisn't|\bwasn't|rather\s+than|"
    r"instead\s+of|rules?\s+out|ruling\s+out|ruled\s+out|"
    r"eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|reject(?:s|ed|ing)?|unlike|except|neither|nor|than|"
    r"tempting\s+to\s+(?:say|choose|pick)|discard(?:s|ed|ing)?|incorrect(?:ly)?|wrong(?:ly)?)"
    r"\s*(?:\b(?:be|is|it|the|option|options|choice|answer|choices)\b\s*)*[\s\"'(*:]*$",
    re.IGNORECASE,
)
AROUND = "().:[]{}*#<>\"' "
_FALSE = r"false|no|incorrect|wrong|not\s+correct"
CALLED_FALSE = re.compile(rf"[\s.)\]:*–—-]*(?:{_FALSE})[\s.!*]*$", re.IGNORECASE)
GOES_ON_AS_ANSWER = re.compile(r"[^\w]*(?:$|because|since|as|due|based|given)|[*_\"']*[.,:;!)\]}–—-]", re.IGNORECASE)
CONDITIONAL = re.compile(r"\s*(?:only\s+|even\s+)?(?:if|when)\b|[\s*)]*(?:\?|->|→)", re.IGNORECASE)


@lru_cache(maxsize=64)
def leading(letters: str) -> re.Pattern[str]:
    """A letter that opens a statement: `B`, `(B)`, `B. Because`, `**B)** text`, `Option B`."""
    others = letters.replace("A", "")
    return re.compile(
        r"[\s*_`\"'(\[{\\#]*(?i:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:option|choice|answer|letter)\s*[:–-]?\s*)?"
        rf"[*_`\"'(\[{{\\]*(?:(?P<a>A){_AFTER_A}|(?P<other>[{others or letters}])(?![\w'’]|[-‐‑][a-z]|\s+cells?\b))",
    )


@lru_cache(maxsize=64)
def hedged(letters: str) -> re.Pattern[str]:
    """A statement that names several: `B or C`, `A, B, C`, `(A)/(B)`, `either B or C`."""
    one = rf"(?:[Oo]ptions?\s+|[Cc]hoices?\s+)?[*(\[\"']*[{letters}][*)\]\"']*"
    joined = r"\s*(?:,\s*(?:and\s+|or\s+)?|/|&|\(?\b(?:and/or|and|or)\b)\s*"
    return re.compile(
        rf"[\s*_`\"'(\[{{\\#]*(?:(?:[Ee]ither|[Bb]oth)\s+)?{one}{joined}{one}"
        r"\s*(?:$|[.,;:!?/&)}]|(?:and|or|are|both|together)\b)"
    )


@lru_cache(maxsize=64)
def judged_alone(letters: str) -> re.Pattern[str]:
    """An option with a verdict on it, one of several in a row: `A: Incorrect.`"""
    return re.compile(
        rf"(?:^|[\s(*]|[Oo]ption\s)(?P<letter>[{letters}])[)\]*]*\s*[).:–—-]+[\s*]*"
        rf"(?P<verdict>(?i:true|correct|right|yes|{_FALSE}))(?=[*\s]*(?:[.,;!]|\n|$))",
        re.MULTILINE,
    )


@lru_cache(maxsize=64)
def asserted(letters: str) -> re.Pattern[str]:
    """`B is correct`, `I choose (B)`, `Option B is the best answer`, `go with B`."""
    return re.compile(
        rf"(?:\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+)?[*(\[\"']*\b(?P<subject>[{letters}])\b[*)\]\"']*\s*"
        rf"(?:\([^()\n]{{0,120}}\)\s*)?(?=(?:[:,\-–—][^.\n]{{0,120}}?)?\s*{_CORRECT}{_GOOD}\b)"
        r"|\b(?:choose|chose|choosing|select|selecting|pick|picking|go\s+with|going\s+with|opt\s+for|settle\s+on)\s+"
        rf"(?:the\s+)?(?:[Oo]ption\s+|[Cc]hoice\s+|[Aa]nswer\s+)?[*(\[\"']*(?P<object>[{letters}])\b(?!\s+[a-z]{{2,}}ing)"
        rf"|\b(?P<fits>[{letters}])\s+best\s+(?:explains|fits|describes|matches|answers|accounts)\b"
        rf"|\b(?:must|has\s+to|should)\s+be\s+(?:[Oo]ption\s+)?[*(]*(?P<must>[{letters}])\b(?=[*)]*\s*(?:[.,;]|$))"
    )


@lru_cache(maxsize=64)
def marked(letters: str) -> re.Pattern[str]:
    """A letter in brackets or bold, or after `option`."""
    return re.compile(
        rf"\((?P<round>[{letters}])\)|\*\*\s*\(?(?P<bold>[{letters}])[).:]?\s*\*\*"
        rf"|\b(?:[Oo]ption|[Cc]hoice)\s+(?P<option>[{letters}])\b"
    )
