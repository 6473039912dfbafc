"""Which label a free text states."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.benchmark import Outcome
from evaluators.scoring.stated_label import find_label, score_label

YES_NO_MAYBE = ("yes", "no", "maybe")
ENTAILMENT = ("entailed", "refuted")

LABELS = [
    ("yes", YES_NO_MAYBE, "yes"),
    ("yes", YES_NO_MAYBE, "Yes."),
    ("yes", YES_NO_MAYBE, "Yes, mitochondria play a role."),
    ("yes", YES_NO_MAYBE, "**Yes**"),
    ("yes", YES_NO_MAYBE, "Answer: yes"),
    ("yes", YES_NO_MAYBE, r"\boxed{\text{yes}}"),
    ("yes", YES_NO_MAYBE, "There was no significant difference in age. The answer is yes."),
    ("yes", YES_NO_MAYBE, "No difference was seen in controls, yet the effect is clear.\n\nYes"),
    ("yes", YES_NO_MAYBE, "<think>no, maybe</think>yes"),
    ("no", YES_NO_MAYBE, "No"),
    ("no", YES_NO_MAYBE, "no - the difference was not significant"),
    ("no", YES_NO_MAYBE, "The answer is **no**."),
    ("no", YES_NO_MAYBE, "The answer is no, although yes would be tempting."),
    ("maybe", YES_NO_MAYBE, "Maybe."),
    ("maybe", YES_NO_MAYBE, "The final answer is: maybe"),
    ("maybe", YES_NO_MAYBE, "The evidence is mixed, so the answer is maybe."),
    ("entailed", ("entailed", "refuted"), "The statement is entailed."),
    ("refuted", ("entailed", "refuted"), "The statement is not entailed; it is refuted."),
    ("refuted", ("entailed", "refuted"), r"\boxed{Refuted}"),
    ("Irrelevant", ("Relevant", "Irrelevant"), "Irrelevant"),
    ("Irrelevant", ("Relevant", "Irrelevant"), "The clause is irrelevant."),
    ("Relevant", ("Relevant", "Irrelevant"), "The clause is relevant."),
    ("Common Law", ("UCC", "Common Law"), "Answer: common law"),
    ("UCC", ("UCC", "Common Law"), "The contract is for goods, so the answer is the UCC."),
    ("Limitation of liability", ("Limitation of liability", "Other"), "Label: limitation of liability."),
    ("No", ("Yes", "No"), "Answer: No, because the declarant is not a party."),
    ("yes", YES_NO_MAYBE, 'The answer is "yes".'),
    ("yes", YES_NO_MAYBE, "Answer: **Yes**"),
    ("no", YES_NO_MAYBE, "Answer: No."),
    ("yes", YES_NO_MAYBE, "So, yes."),
    ("no", YES_NO_MAYBE, "In conclusion, no."),
    ("maybe", YES_NO_MAYBE, "Answer: Maybe (the evidence is limited)"),
    ("yes", YES_NO_MAYBE, "**Answer: yes**"),
    ("no", YES_NO_MAYBE, "The answer to the question is no."),
    ("yes", YES_NO_MAYBE, "yes\n\nThe study shows no difference."),
    ("no", YES_NO_MAYBE, "Based on the abstract, the answer is: no"),
    ("no", YES_NO_MAYBE, "Final answer: **no**"),
    ("yes", YES_NO_MAYBE, "The conclusion is yes"),
    ("no", YES_NO_MAYBE, "No, there isn't."),
    ("yes", YES_NO_MAYBE, "Answer: yes\n"),
    ("no", YES_NO_MAYBE, "Answer: not yes, but no"),
    ("no", YES_NO_MAYBE, "Answer: No\n\nThe answer is yes only if the dose is doubled."),
    ("yes", YES_NO_MAYBE, "Answer: yes, no difference was found."),
    ("entailed", ("entailed", "refuted"), "Answer: entailed, not refuted"),
    # forms of the word, and the denial of the opposite
    ("refuted", ENTAILMENT, "The table refutes the statement."),
    ("refuted", ENTAILMENT, "The statement is refuted by the table."),
    ("refuted", ENTAILMENT, "The statement is not entailed."),
    ("refuted", ENTAILMENT, "The table does not support the statement."),
    ("refuted", ENTAILMENT, "Answer: not supported"),
    ("refuted", ENTAILMENT, "The statement is contradicted by the table."),
    ("refuted", ENTAILMENT, "The statement is false."),
    ("refuted", ENTAILMENT, "It cannot be entailed: the statement is refuted."),
    ("refuted", ENTAILMENT, "The statement is neither supported nor entailed; it is refuted."),
    ("refuted", ENTAILMENT, "Although the first half is entailed, the statement as a whole is refuted."),
    ("entailed", ENTAILMENT, "The table entails the statement."),
    ("entailed", ENTAILMENT, "Therefore, the table supports the statement."),
    ("entailed", ENTAILMENT, "Answer: Entailment"),
    ("entailed", ENTAILMENT, "Answer: True"),
    ("entailed", ENTAILMENT, "The statement is not refuted; it is entailed."),
    ("entailed", ENTAILMENT, "Since no row contradicts the statement, it is entailed."),
    ("entailed", ENTAILMENT, "Some would call it refuted, but it is entailed."),
    ("Irrelevant", ("Relevant", "Irrelevant"), "The clause is not relevant."),
    ("Incorrect", ("Correct", "Incorrect"), "The description is not correct."),
    ("Contradiction", ("Contradiction", "Entailment"), "The premise contradicts the hypothesis."),
    # what the writer does not stand behind
    ("refuted", ENTAILMENT, "The statement is incorrect. The correct number is 5."),
    ("refuted", ENTAILMENT, "The first half is entailed but the second half is refuted, so the whole is refuted."),
    ("refuted", ENTAILMENT, "If it were 1990, the statement would hold, but it is 1991, so the statement is refuted."),
    ("refuted", ENTAILMENT, 'The statement "all were true home games" is refuted.'),
    ("no", YES_NO_MAYBE, "**No**\n\nYes, the clause mentions audits, but only in passing."),
    ("no", YES_NO_MAYBE, "The answer is no, though some would say the answer is yes."),
    ("no", YES_NO_MAYBE, "While one might think the answer is yes, the answer is no."),
    ("no", YES_NO_MAYBE, "The answer is no. Others might answer yes."),
    ("no", YES_NO_MAYBE, "Answer: no. If the groups were larger, the answer would be yes."),
    ("maybe", YES_NO_MAYBE, "The answer is yes. Wait, no: it's maybe."),
    ("yes", YES_NO_MAYBE, "The answer is no. Actually, it is yes."),
    ("maybe", YES_NO_MAYBE, "The answer is neither yes nor no, but maybe."),
    ("no", YES_NO_MAYBE, "The answer is a clear no."),
    ("yes", YES_NO_MAYBE, "Answer: → Yes"),
    ("yes", YES_NO_MAYBE, "Answer: « yes »"),
    ("yes", YES_NO_MAYBE, "答案：yes"),
    ("yes", YES_NO_MAYBE, "| Answer | Yes |"),
    ("yes", YES_NO_MAYBE, "✅ Yes"),
]


@pytest.mark.parametrize(("label", "labels", "text"), LABELS)
def test_stated_label_is_found(label: str, labels: tuple[str, ...], text: str) -> None:
    score = score_label(text, label, labels)
    assert score.outcome is Outcome.RIGHT, score


NO_LABEL = [
    "",
    "Mitochondria matter.",
    "It could be yes or no.",
    "<think>yes",
    "Answer: yes, no, maybe",
    "Answer: yes or no",
    "Answer: yes/no/maybe",
    "Answer: yes, maybe",
    "There was no significant difference between the groups.",
    "The conclusion is that there was no significant difference.",
    "The answer is no longer clear.",
    "No evidence is given here.",
    "Answer: No conclusion can be drawn.",
    "Some would say yes.",
    "Is the answer yes?",
    "If the groups were larger, the answer would be yes.",
    "Yes and no.",
    "Maybe more research is needed.",
    "It is not possible to say yes or no.",
    "There was no 'high-risk' type, no or trace regurgitation.",
]


@pytest.mark.parametrize("text", NO_LABEL)
def test_no_label_is_invented(text: str) -> None:
    assert score_label(text, "yes", YES_NO_MAYBE).outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "I cannot determine whether the statement is entailed or refuted.",
        "Is the statement entailed?",
        "Some would say it is entailed.",
        "If the year were 1990, the statement would be entailed.",
        "To check if the statement is refuted, we look at the rows.",
        "Whether the statement is entailed depends on the year.",
        "The table lists the results of several supporting teams.",
        "Answer: entailed/refuted",
    ],
)
def test_no_verdict_is_invented(text: str) -> None:
    assert score_label(text, "entailed", ENTAILMENT).outcome is Outcome.NO_ANSWER


def test_label_before_the_cut_counts() -> None:
    assert score_label("Answer: yes, because", "yes", YES_NO_MAYBE, truncated=True).outcome is Outcome.RIGHT


def test_long_answers_are_judged() -> None:
    assert score_label("no difference " * 1_000_000 + "\nAnswer: yes", "yes", YES_NO_MAYBE).value == 1.0


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_can_be_searched(text: str) -> None:
    label = find_label(text, YES_NO_MAYBE)
    assert label is None or label[0] in YES_NO_MAYBE
