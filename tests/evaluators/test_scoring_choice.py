"""Which option or label a free text chooses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.benchmark import Outcome
from evaluators.scoring.choice import find_letter, score_letter
from evaluators.scoring.stated_label import find_label, score_label

OPTIONS = {
    "A": "Disclose the error to the patient",
    "B": "Cross-linking of DNA",
    "C": "Generation of free radicals",
    "D": "Inhibition of proteasome",
}

LETTERS = [
    ("B", "B"),
    ("B", "B."),
    ("B", "(B)"),
    ("B", "B)"),
    ("B", "**B**"),
    ("B", "B. Cross-linking of DNA"),
    ("B", "B: Cross-linking of DNA"),
    ("B", r"\boxed{B}"),
    ("B", r"The answer is $\boxed{\text{B}}$."),
    ("B", r"\boxed{\text{(B) Cross-linking of DNA}}"),
    ("B", r"\boxed{\textbf{B}}"),
    ("B", "<answer>B</answer>"),
    ("B", "The answer is B."),
    ("B", "The answer is (B)."),
    ("B", "The answer is: B"),
    ("B", "Answer: B"),
    ("B", "**Answer:** B"),
    ("B", "**Answer: B**"),
    ("B", "### Final Answer\n\n**B. Cross-linking of DNA**"),
    ("B", "Final answer: Option B"),
    ("B", "The correct answer is option B, cross-linking of DNA."),
    ("B", "The correct option is **B**."),
    ("B", "Therefore, B is correct."),
    ("B", "Option B is the best answer because the drug binds DNA."),
    ("B", "I would choose B."),
    ("B", "I'll go with option (B)."),
    ("B", "Cross-linking of DNA"),
    ("B", "The answer is cross-linking of DNA."),
    ("B", "The mechanism is cross-linking of DNA, as with all platinum compounds."),
    ("B", "A patient with tinnitus received cisplatin. The answer is B."),
    ("B", "A patient with tinnitus received cisplatin.\n\nB"),
    ("B", "A common mistake is to pick C. The answer is B."),
    ("B", "A is incorrect because it is unethical. C is wrong. D is not correct. The answer is B."),
    ("B", "The answer is not A. The answer is B."),
    ("B", "The answer is B, not A."),
    ("B", "The answer is B rather than C."),
    ("B", "Answer: A? No. On reflection, the answer is B."),
    ("B", "(A) is ruled out. (C) is unlikely. (D) can be excluded. That leaves (B)."),
    ("B", "Option A can be eliminated. Option B is correct."),
    ("B", "<think>The answer is C? Or D?</think>\nB"),
    ("B", "It could be A or C at first sight.\n</think>\nThe answer is B."),
    ("A", "A"),
    ("A", "A."),
    ("A", "The answer is A."),
    ("A", "The answer is A because honesty matters."),
    ("A", "Answer: A) Disclose the error to the patient"),
    ("A", "Option A is correct."),
    ("A", "A: Disclose the error to the patient"),
    ("A", "The answer is to disclose the error to the patient."),
    ("C", "B is tempting, but C is the correct answer."),
    ("C", "B is not the answer. C is the answer."),
    ("D", "Between B and D, D is more specific. So the final answer is (D)."),
    ("D", "The best choice is D: Inhibition of proteasome"),
    ("C", "The correct answer is (C) Generation of free radicals"),
    ("C", "Answer: (C). This is because A is not right."),
    ("C", "I think the answer would be C"),
    ("C", "My answer: C"),
    ("C", "C is the right choice"),
    ("C", "Hence, option C."),
    ("C", "So the answer is option C: Generation of free radicals."),
    ("C", "Correct answer: C"),
    ("C", "ANSWER: C"),
    ("C", "Answer C"),
    ("C", "the final answer is $\\boxed{C}$"),
    ("C", "The best option is C."),
    ("C", "Answer is C"),
    ("C", "answer: c"),
    ("C", "(c)"),
    ("C", "c"),
    ("C", "\\boxed{c}"),
    ("C", "\\boxed{C. Generation of free radicals}"),
    ("C", "The answer is *C*."),
    ("C", "The answer is C) Generation"),
    ("C", "**C. Generation of free radicals**"),
    ("C", "C\n\nExplanation: A patient with cancer..."),
    ("C", "Final Answer: The final answer is C. I hope it is correct."),
    ("C", "The most likely mechanism is Generation of free radicals (Option C)."),
    ("C", "Among the options, C best explains the findings."),
    ("C", "Thus the correct choice would be C, since A and B are wrong."),
    ("C", "Answer: **C**: Generation of free radicals"),
    ("C", "The answer is therefore C."),
    ("C", "The answer, then, is C."),
    ("C", "Answer:C"),
    ("C", "Answer - C"),
    ("C", "[C]"),
    ("C", "### C"),
    ("C", "The correct answer is:\n\n**C. Generation of free radicals**"),
    ("C", "Therefore the answer is not B but C."),
    ("C", "The answer can't be A or B. It must be C."),
    ("C", "Choice C"),
    ("C", "the correct letter is C"),
    ("C", "The answer is not B. It is C."),
    ("D", "The answer is not cross-linking of DNA but inhibition of proteasome."),
    ("C", "A - wrong. B - wrong. C - correct. D - wrong."),
    ("C", "A: Incorrect.\nB: Incorrect.\nC: Correct.\nD: Incorrect."),
    ("C", "A) no\nB) no\nC) yes\nD) no"),
    ("C", "**A. False**\n**B. False**\n**C. True**\n**D. False**"),
    ("C", "**Answer: C**\n\nIncorrect option: A - Disclose"),
    ("C", "C\n\nOption A is for adults. Option B is for DNA."),
    ("C", "Answer: C\n\nWhy not B? The answer would be B if the patient were pregnant."),
    ("C", "The answer is C. A common wrong answer is B."),
    ("D", "Answer: <D>"),
    ("D", "'D'"),
    ("D", "Answer: D (not B or C)"),
    ("D", "The answer is D, C being too slow."),
    ("B", "The answer is B, C is wrong."),
]

NO_LETTER = [
    "",
    "A patient with tinnitus received cisplatin.",
    "I am not sure.",
    "A 45-year-old man presents with a headache.",
    "The answer is not A.",
    "The answer depends on the dose.",
    "Both B and C are plausible mechanisms here, and neither can be excluded.",
    "The answer is B or C.",
    "The answer is either (B) or (C).",
    "Answer: B and C",
    "Answer: B/C",
    "Answer: A, B, C, D",
    "The wrong answer is A.",
    "The incorrect option is B.",
    "I would not choose B.",
    "Never choose B.",
    "It would be wrong to choose B.",
    "Answer: B? Hard to say.",
    "The answer is B-cell lymphoma.",
    "The answer is D-dimer.",
    "B is out. C is out.",
]

YES_NO_MAYBE = ("yes", "no", "maybe")

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
]


@pytest.mark.parametrize(("letter", "text"), LETTERS)
def test_chosen_letter_is_found(letter: str, text: str) -> None:
    assert score_letter(text, letter, OPTIONS).outcome is Outcome.RIGHT, score_letter(text, letter, OPTIONS)


@pytest.mark.parametrize("text", NO_LETTER)
def test_no_letter_is_invented(text: str) -> None:
    score = score_letter(text, "A", OPTIONS)
    assert score.outcome is Outcome.NO_ANSWER, score
    assert score_letter(text, "A", OPTIONS, truncated=True).outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(("label", "labels", "text"), LABELS)
def test_stated_label_is_found(label: str, labels: tuple[str, ...], text: str) -> None:
    score = score_label(text, label, labels)
    assert score.outcome is Outcome.RIGHT, score


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mitochondria matter.",
        "It could be yes or no.",
        "<think>yes",
        "Answer: yes, no, maybe",
        "Answer: yes or no",
        "Answer: yes/no/maybe",
        "Answer: yes, maybe",
    ],
)
def test_no_label_is_invented(text: str) -> None:
    assert score_label(text, "yes", YES_NO_MAYBE).outcome is Outcome.NO_ANSWER


def test_another_letter_is_wrong() -> None:
    score = score_letter("The answer is C.", "B", OPTIONS)
    assert (score.value, score.outcome, score.extracted) == (0.0, Outcome.WRONG, "C")


def test_answer_before_the_cut_counts() -> None:
    assert score_letter("The answer is B. To explain,", "B", OPTIONS, truncated=True).outcome is Outcome.RIGHT
    assert score_label("Answer: yes, because", "yes", YES_NO_MAYBE, truncated=True).outcome is Outcome.RIGHT
    assert score_letter("Let us look at B", "B", OPTIONS, truncated=True).outcome is Outcome.TRUNCATED


def test_long_answers_are_judged() -> None:
    assert score_letter("A patient. " * 1_000_000 + "The answer is B.", "B", OPTIONS).outcome is Outcome.RIGHT
    assert score_label("no difference " * 1_000_000 + "\nAnswer: yes", "yes", YES_NO_MAYBE).value == 1.0


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_can_be_searched(text: str) -> None:
    letter = find_letter(text, OPTIONS)
    assert letter is None or letter[0] in OPTIONS
    label = find_label(text, YES_NO_MAYBE)
    assert label is None or label[0] in YES_NO_MAYBE


@given(st.sampled_from("ABCD"), st.text(alphabet="xyz .\n", max_size=80))
@settings(deadline=None)
def test_explicit_statement_wins_over_what_stands_before(letter: str, before: str) -> None:
    assert score_letter(f"{before}\nThe answer is ({letter}).", letter, OPTIONS).outcome is Outcome.RIGHT
