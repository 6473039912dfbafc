"""Which clauses of a text the writer stands behind: no concession, no view of others, no question, no hypothesis.

`The answer is C, though some say the answer is B` states C alone. Text only: the clauses that are not the writer's
own are blanked, so that places in the text stay what they are. Linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_ENDS = re.compile(r"[.!?]+[*_\"')\]]*(?=\s)|[;\n]")
_WORD = re.compile(r"[a-z]+")
# What a sentence must hold for a rule to be worth trying: looking up words is cheaper than the patterns.
_CONCEDES = frozenset(
    _WORD.findall("although though albeit despite spite notwithstanding while whilst whereas even granted admittedly")
)
_OTHER_MINDS = frozenset(
    _WORD.findall(
        "some many most other others several people students readers experts authors scholars sources takers "
        "testtakers critics commentators models one someone somebody anyone you it first surface mistake error trap "
        "distractor misconception wrong cannot can could hard"
    )
)
_OPENS = frozenset(
    _WORD.findall("whether think believe say know doubt sure certain clear suppose assume pretend imagine if")
)
_TRIGGERS = _CONCEDES | _OTHER_MINDS | _OPENS | {"would"}

# Not "the answer is B, right?".
_QUESTION = re.compile(r"(?<!, right)(?<!, correct)(?<!, no)(?<!n't it)\?[*_\"')\]\s]*$", re.IGNORECASE)
# "Although A is plausible, C is right": the clause ends at the comma before the main one.
_CONCEDED_FIRST = re.compile(
    r"\W*(?:(?:and|but|so|now)\b\W*)?(?:(?P<noun>despite|in\s+spite\s+of|notwithstanding)|"
    r"(?:(?:even\s+)?(?:al)?though|even\s+if|whil(?:e|st)|whereas|granted|admittedly))\b",
    re.IGNORECASE,
)
# "C is right, although A is plausible": it ends with the sentence, or with its parenthesis. Not "A, though, is right".
_CONCEDED_LAST = re.compile(
    r"(?P<bracket>\()?\s*(?<!\bas\s)\b(?:(?:even\s+)?(?:al)?though(?!,)|even\s+if|albeit|despite|in\s+spite\s+of|"
    r"notwithstanding)\b",
    re.IGNORECASE,
)
_A_CLAUSE = re.compile(r"\b(?!and\b|or\b|options?\b|choices?\b|answers?\b)[a-z]{2,}")

_ADVERB = r"(?:\s+(?:also|often|still|initially|easily|well|then|reasonably|mistakenly|wrongly|at\s+first))?"
_THINK = (
    r"(?:say|think|argue|claim|believe|suggest|assume|guess|conclude|object|expect|infer|suppose|suspect|contend|"
    r"be\s+(?:tempted|inclined|misled))"
)
_PICK = r"(?:choose|pick|select|answer|prefer|opt|consider|call|go\s+with|get)"
_PERSONS = r"(?:people|students|readers|experts|authors|scholars|sources|test-?takers|critics|commentators|models)"
_OTHERS = re.compile(
    rf"\b(?:(?:(?:some|many|most|several|other)\s+)?{_PERSONS}|some|many|most|others|several)"
    rf"(?:\s+(?:might|may|could|would|can|will|do))?{_ADVERB}\s+(?:{_THINK}|{_PICK})\b"
    rf"|\b(?:one|someone|somebody|anyone)\s+(?:might|may|could|would|can){_ADVERB}\s+(?:{_THINK}|{_PICK})\b"
    rf"|\byou\s+(?:might|may|could){_ADVERB}\s+{_THINK}\b"
    r"|\bit\s+(?:(?:might|may|could|would)\s+(?:\w+\s+)?(?:seem|appear|look|be\s+(?:argued|thought|said|tempting))|"
    r"(?:is|was|seems)\s+tempting\s+to)\b"
    r"|\b(?:at\s+first\s+(?:glance|sight|look)|on\s+the\s+surface)\b"
    r"|\b(?:a|the|one|another)\s+(?:very\s+)?(?:common|frequent|typical|popular|usual|easy)\s+"
    r"(?:mistake|error|trap|distractor|misconception|wrong\s+\w+)\b"
    r"|\b(?:cannot|can't|could\s+not|hard\s+to)\s+(?:decide|choose|determine|tell)\b",
    re.IGNORECASE,
)
# "Let us check whether the answer is C": nothing is said yet.
_OPEN = re.compile(
    r"\bwhether\b|\b(?:i|we)(?:\s+(?:do\s+not|cannot)|\s+(?:don|can)'t|\s+hardly)\s+(?:think|believe|say|know)\b|"
    r"\b(?:i|we)\s+doubt\b|\b(?:not|n't)\s+(?:\w+\s+)?(?:sure|certain|clear)\s+(?:if|that)\b|"
    r"(?:^|\b(?:let\s+us|let's|let\s+me|we|i|to|can|could)\s+)(?:\w+\s+)?(?:suppose|assume|pretend|imagine)\b|"
    r"\b(?:to|let\s+us|let's|let\s+me)\s+(?:check|see|determine|decide|verify|find\s+out|judge|assess|test)\s+if\b",
    re.IGNORECASE,
)
# Where the writer speaks again: "some say B, so …", "…, but the answer is C".
_TURN = re.compile(r"\b(?:but|however|yet|therefore|thus|hence)\b|,\s*(?:and\s+)?so\b", re.IGNORECASE)
_OPEN_ENDS = re.compile(r"\b(?:but|however|yet)\b|,(?=\s)", re.IGNORECASE)

_WOULD = re.compile(r"\bwould\b", re.IGNORECASE)
_SUPPOSED = re.compile(
    r"\b(?:if|unless)\b(?!\s+(?:i|we)\s+(?:had|have|were|was|must)\s+(?:to\s+)?(?:choose|pick|guess|answer|select|say|decide|bet)\b)"
    r"|(?:^|(?<=[,;:(.]))\s*(?:had|were|should)\s+(?:the|it|this|that|he|she|they|we|there|an?|his|her|its)\b",
    re.IGNORECASE,
)
_CLAUSE_STARTS = ",:(—–"


def committed(text: str, *, hypotheses: bool = True) -> str:
    """The text with what is not its writer's own statement blanked; `hypotheses=False` leaves "if …, it would …"."""
    if "?" not in text and _TRIGGERS.isdisjoint(_WORD.findall(text.lower())):
        return text
    pieces, done = [], 0
    for start, end in sorted(_not_own(text, hypotheses)):
        if end > done:
            start = max(start, done)
            pieces += [text[done:start], " " * (end - start)]
            done = end
    return "".join([*pieces, text[done:]])


def _not_own(text: str, hypotheses: bool) -> Iterator[Span]:
    for start, end in _sentences(text):
        sentence = text[start:end]
        words = _TRIGGERS.intersection(_WORD.findall(sentence.lower()))
        if words or "?" in sentence:
            yield from ((start + one, start + other) for one, other in _spans(sentence, words, hypotheses))


def _sentences(text: str) -> Iterator[Span]:
    start = 0
    for match in _ENDS.finditer(text):
        yield start, match.end() - (match.group() == "\n")
        start = match.end()
    yield start, len(text)


def _spans(sentence: str, words: frozenset[str], hypotheses: bool) -> Iterator[Span]:
    if _QUESTION.search(sentence):
        yield 0, len(sentence)
        return
    main = _main_clause(sentence) if words & _CONCEDES else 0
    if main:
        yield 0, main
    for pattern, ends, needed in ((_OTHERS, _TURN, _OTHER_MINDS), (_OPEN, _OPEN_ENDS, _OPENS)):
        position = main if words & needed else len(sentence)
        while match := pattern.search(sentence, position):
            turn = ends.search(sentence, match.end())
            position = turn.start() if turn else len(sentence)
            yield match.start(), position
    if words & _CONCEDES and (match := _CONCEDED_LAST.search(sentence, main)):
        closing = sentence.find(")", match.end()) if match["bracket"] else -1
        turn = _TURN.search(sentence, match.end())
        yield match.start(), closing + 1 or (turn.start() if turn else len(sentence))
    if hypotheses and "would" in words and (match := _WOULD.search(sentence, main)):
        yield from _hypothesis(sentence, main, match.start())


def _main_clause(sentence: str) -> int:
    """Where the main clause begins after a concession; 0 where the sentence begins with none."""
    match = _CONCEDED_FIRST.match(sentence)
    if match is None:
        return 0
    said = match.end() if match["noun"] else None
    if said is None:  # in "Although A, B and C are plausible, D" the first comma is one of a list
        verb = _A_CLAUSE.search(sentence, match.end())
        said = verb.end() if verb else len(sentence)
    comma = sentence.find(",", said)
    return comma + 1 or len(sentence)


def _hypothesis(sentence: str, main: int, would: int) -> Iterator[Span]:
    supposed = _SUPPOSED.search(sentence, main)
    if supposed is None:
        return
    start = supposed.start()
    if would < start:
        start = max(main, *(sentence.rfind(mark, main, would) + 1 for mark in _CLAUSE_STARTS))
    turn = _TURN.search(sentence, max(would, supposed.end()))
    yield start, turn.start() if turn else len(sentence)
