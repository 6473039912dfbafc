"""Which option a free text chooses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.benchmark import Outcome
from evaluators.scoring.choice import find_letter, score_letter

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
    # what others say, what is conceded, supposed or asked is no statement of the writer
    ("C", "The answer is C, though some say the answer is B."),
    ("C", "The answer is C, although one might think the answer is B."),
    ("C", "Although A, B and D are plausible, C is the best answer."),
    ("C", "While the answer B is tempting, the answer is C."),
    ("C", "Despite B being plausible, C is correct."),
    ("C", "B is incorrect, while C is correct."),
    ("C", "Some would argue that B is correct, but the correct answer is C."),
    ("C", "The answer is C. Many students choose B."),
    ("C", "Answer: C\n\nNote: Someone could argue that B is the best answer."),
    ("C", "At first glance, B seems correct, but C is correct."),
    ("C", "If the patient were pregnant, the answer would be B. Here, the answer is C."),
    ("C", "Answer: C. Had the drug been different, the answer would have been B."),
    ("C", "The answer is C. B would be correct if the lesion were older."),
    ("C", "Is the answer B? No. The answer is C."),
    ("C", "If I had to choose, I would choose C."),
    # corrections
    ("D", "The answer is B. Wait, no: it's D."),
    ("D", "The answer is B... wait, actually it's D."),
    ("D", "Answer: B. Hmm, on second thought, D."),
    ("D", "The answer is B. Correction: D."),
    ("D", "\\boxed{B}\n\nWait, I made a mistake. The correct answer is D."),
    ("B", "\\boxed{B}. Wait, let me check A and C again. Yes."),
    # elimination
    ("D", "A is wrong because of the age. B is incorrect. C can be ruled out. So D."),
    ("D", "We can eliminate A and B. C is unlikely. This leaves D."),
    ("D", "Eliminating A, B and C, we are left with D."),
    ("A", "Not B, since no fever. Not C. Not D. Only A remains."),
    ("D", "A, B, and C are incorrect. D is the only remaining option."),
    ("C", "- **A**: ❌ too late\n- **B**: ❌\n- **C**: ✅ fits\n- **D**: ❌"),
    ("C", "1. Option A: This is incorrect.\n2. Option B: This is incorrect.\n3. Option C: This is correct."),
    # small letters where they can be nothing else
    ("B", "I choose b"),
    ("B", "I would select option (b)."),
    ("B", "The answer is b because it binds DNA."),
    ("A", "I'd pick a."),
    ("B", "option b"),
    # typography, structure
    ("D", "Answer: → D"),
    ("D", "Answer → D"),
    ("D", "=> D"),
    ("D", "✅ **D. Inhibition of proteasome**"),
    ("D", "Answer: D ✅"),
    ("D", "Answer: Ｄ"),
    ("D", "Answer：（D）"),
    ("D", "The answer is “D”."),
    ("D", "Answer：「D」"),
    ("D", "Answer: 【D】"),
    ("D", "所以答案是 D。"),
    ("D", "故选 D。"),
    ("D", "__Answer: D__"),
    ("D", "<b>Answer: D</b>"),
    ("D", "{'final_answer': 'D'}"),
    ("D", '```json\n{"reasoning": "because", "answer": "D"}\n```'),
    ("D", "| Question | Answer |\n| --- | --- |\n| 1 | D |"),
    ("D", "| Answer | D |"),
    ("D", "The most appropriate next step is **D) surgery**."),
    ("D", "Ans. D"),
    ("D", "It's probably D."),
    ("D", "D - it acts on the proteasome"),
    ("C", "A. first\nB. second\nC. third\nD. fourth\n\nC is the best answer."),
    ("C", "C is correct. The patient has hepatitis B."),
    ("B", "Most experts say radicals matter less, so the answer is B."),
    ("B", "If the drug were stopped, the pressure would rise, so the answer is B."),
    ("B", "So the answer should be B, right? Yes, B."),
    ("B", "Cross-linking of DNA is the best choice. Generation of free radicals would be wrong."),
    ("B", "I'd choose B over A."),
    ("B", "This makes option B the best choice."),
    ("B", "The answer appears to be B."),
    ("B", "The correct answer in this case is B."),
    ("A", "I think A."),
    ("C", "The correct answer is (C) Radicals. (B) Cross-linking of DNA is incorrect."),
    ("B", "B\n\nA: 5%\nB: 70%\nC: 15%\nD: 10%"),
    ("B", "**Answer: B**\n\n- **A** – not the correct answer.\n- **C** – the correct answer if he were older."),
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
    "Some say the answer is B.",
    "One might think that the answer is C.",
    "Although the answer B is tempting, I do not know.",
    "If the patient were older, the answer would be B.",
    "If B is correct, then C is wrong.",
    "Is the answer B? Could it be D?",
    "Let us check whether the answer is C.",
    "Suppose the answer is C.",
    "I don't think the answer is B.",
    "I doubt that B is correct.",
    "Many students would choose B.",
    "I would need more data to choose B or C.",
    "B or C is correct.",
    "Please choose A, B, C, or D.",
    "I choose a treatment that works.",
    "The answer is a matter of debate.",
    "Option A describes a drug. Option B describes another one.",
    "Let's think about option C first.",
    "Influenza A is likely.",
    "The patient has hepatitis B.",
    "A. Disclose the error\nB. Cross-linking\nC. Free radicals\nD. Proteasome",
    "Let me analyze each option:\n\n**A**: this is about honesty.\n**B**: this is about DNA.",
    '{"answer": null}',
    "\\boxed{}",
    "❌ A\n❌ B",
    "I'm sorry, but I can't help with that.",
    "I cannot decide between A (Disclose the error to the patient) and B (Cross-linking of DNA).",
    "A man.\n\nA. 0%\nB. 25%\nC. 50%\nD. 100%",
    "The correct answer is not listed among the options.",
    "Answer: E",
]


@pytest.mark.parametrize(("letter", "text"), LETTERS)
def test_chosen_letter_is_found(letter: str, text: str) -> None:
    assert score_letter(text, letter, OPTIONS).outcome is Outcome.RIGHT, score_letter(text, letter, OPTIONS)


@pytest.mark.parametrize("text", NO_LETTER)
def test_no_letter_is_invented(text: str) -> None:
    score = score_letter(text, "A", OPTIONS)
    assert score.outcome is Outcome.NO_ANSWER, score
    assert score_letter(text, "A", OPTIONS, truncated=True).outcome is Outcome.TRUNCATED


def test_another_letter_is_wrong() -> None:
    score = score_letter("The answer is C.", "B", OPTIONS)
    assert (score.value, score.outcome, score.extracted) == (0.0, Outcome.WRONG, "C")


def test_answer_before_the_cut_counts() -> None:
    assert score_letter("The answer is B. To explain,", "B", OPTIONS, truncated=True).outcome is Outcome.RIGHT
    assert score_letter("Let us look at B", "B", OPTIONS, truncated=True).outcome is Outcome.TRUNCATED


def test_long_answers_are_judged() -> None:
    assert score_letter("A patient. " * 1_000_000 + "The answer is B.", "B", OPTIONS).outcome is Outcome.RIGHT


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_can_be_searched(text: str) -> None:
    letter = find_letter(text, OPTIONS)
    assert letter is None or letter[0] in OPTIONS


@given(st.sampled_from("ABCD"), st.text(alphabet="xyz .\n", max_size=80))
@settings(deadline=None)
def test_explicit_statement_wins_over_what_stands_before(letter: str, before: str) -> None:
    assert score_letter(f"{before}\nThe answer is ({letter}).", letter, OPTIONS).outcome is Outcome.RIGHT


@given(st.sampled_from("ABCD"), st.sampled_from("ABCD"))
@settings(deadline=None)
def test_what_others_say_never_counts(chosen: str, other: str) -> None:
    for text in (
        f"The answer is {chosen}, though some say the answer is {other}.",
        f"While one might think the answer is {other}, the answer is {chosen}.",
        f"The answer is {other}. Wait, no: it's {chosen}.",
    ):
        assert score_letter(text, chosen, OPTIONS).extracted == chosen


@pytest.mark.parametrize(
    "unit", ["Wait, no: ", "some say ", "whether ", "if ", "A is wrong, ", "(A) or (B) ", "\n", "*"]
)
def test_an_answer_that_repeats_itself_is_judged(unit: str) -> None:
    assert score_letter(unit * 100_000 + "\n\nThe answer is B.", "B", OPTIONS).outcome is Outcome.RIGHT
