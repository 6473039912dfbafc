r"""What counts as the same mathematical answer, in the forms that models write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.benchmark import Outcome
from evaluators.scoring import answers
from evaluators.scoring.math import score_math
from evaluators.scoring.numbers import read_number

RIGHT = [
    # numbers: separators, currency, percent, units, decimals
    ("18", r"So she makes \boxed{18}."),
    ("18", r"\boxed{18.00}"),
    ("18", "The answer is 18. A common wrong answer is 20."),
    ("18", "The answer is 18. The answer is not 20."),
    ("10", r"\boxed{\binom52}"),
    ("\\emptyset", r"\boxed{\varnothing}"),
    ("\\{1,2\\}", r"\boxed{\{2, 1\}}"),
    ("\\{1,2\\}", r"\boxed{2, 1}"),
    ("18", r"\boxed{\$18}"),
    ("18", "The answer is $18."),
    ("18", "The answer is **18**."),
    ("18", "**Answer:** 18 dollars"),
    ("18", "**Final Answer**\n\n\\[\n\\boxed{18}\n\\]"),
    ("18", "Answer:\n18"),
    ("18", "9 * 2 = 18\n#### 18"),
    ("18", "<answer>18</answer>"),
    ("18", "She sells 9 eggs at $2 each, so she makes $18 every day."),
    ("2125", r"\boxed{2,125}"),
    ("2,125", "The final answer is 2125."),
    ("1450000", r"\boxed{1.45 \text{ million}}"),
    ("1450000", r"\boxed{1{,}450{,}000}"),
    ("10,\\!080", r"\boxed{10080}"),
    ("11,\\! 111,\\! 111,\\! 100", r"\boxed{11111111100}"),
    ("\\$32,\\!348", r"\boxed{32348}"),
    ("\\$18.90", r"\boxed{18.9}"),
    ("\\$36", r"\boxed{36 \text{ dollars}}"),
    (".35625", r"\boxed{0.35625}"),
    (".0000672", r"\boxed{6.72 \times 10^{-5}}"),
    ("5.4 \\text{ cents}", r"\boxed{5.4}"),
    ("15\\mbox{ cm}^2", r"\boxed{15}"),
    ("864 \\mbox{ inches}^2", r"\boxed{864\text{ square inches}}"),
    ("90^\\circ", r"\boxed{90}"),
    ("90", r"\boxed{90^\circ}"),
    ("90^\\circ", r"\boxed{90 \text{ degrees}}"),
    ("\\frac{270}7\\text{ degrees}", r"\boxed{\frac{270}{7}^\circ}"),
    ("10\\%", r"\boxed{10}"),
    ("10", r"\boxed{10\%}"),
    ("10\\%", r"\boxed{0.1}"),
    ("-3", r"\boxed{−3}"),
    ("073", r"\boxed{73}"),
    ("204", "204"),
    ("1/3", r"\boxed{0.3333333}"),
    # fractions, mixed numbers, roots
    ("\\frac 59", r"\boxed{\frac{5}{9}}"),
    ("\\frac 59", r"\boxed{5/9}"),
    ("\\frac{3}{4}", r"\boxed{\dfrac{3}{4}}"),
    ("\\frac{3}{4}", r"\boxed{0.75}"),
    ("\\frac{3}{4}", r"\boxed{\tfrac34}"),
    ("1\\frac{4}{5}", r"\boxed{\frac{9}{5}}"),
    ("137 \\frac{1}{2}", r"\boxed{137.5}"),
    ("\\frac{\\sqrt{3}}{3}", r"\boxed{\frac{1}{\sqrt{3}}}"),
    ("3\\sqrt{13}", r"\boxed{\sqrt{117}}"),
    ("11\\sqrt2", r"\boxed{11\sqrt{2}}"),
    ("\\frac{3\\sqrt{3}}{4}", r"\boxed{\frac{3}{4}\sqrt{3}}"),
    ("12\\pi", r"\boxed{12 \pi}"),
    ("18+2\\pi", r"\boxed{2\pi + 18}"),
    # expressions and equations
    ("p - q", r"\boxed{-q + p}"),
    ("2k+2", r"\boxed{2(k+1)}"),
    ("x^3+3x-6", r"\boxed{-6 + 3x + x^3}"),
    ("(a+5)(b+2)", r"\boxed{(b+2)(a+5)}"),
    ("6 - 5i", r"\boxed{-5i + 6}"),
    ("x=5", r"\boxed{5}"),
    ("5", r"\boxed{x = 5}"),
    ("y = 2x + 3", r"\boxed{y = 3 + 2x}"),
    ("5x - 7y + 11z + 4 = 0", r"\boxed{10x - 14y + 22z + 8 = 0}"),
    ("\\cot x", r"\boxed{\frac{\cos x}{\sin x}}"),
    ("\\frac{11+9a}{20}", r"\boxed{\frac{9a+11}{20}}"),
    # tuples, sets, intervals, matrices
    ("(6,31,-1)", r"\boxed{(6, 31, -1)}"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", r"\boxed{(3, \pi/2)}"),
    ("1,-2", r"\boxed{-2, 1}"),
    ("1,-2", r"\boxed{-2 \text{ and } 1}"),
    ("1,-2", r"The solutions are \boxed{1} and \boxed{-2}."),
    ("3, 5, 7", r"\boxed{\{3,5,7\}}"),
    ("1 \\pm \\sqrt{19}", r"\boxed{1+\sqrt{19}, 1-\sqrt{19}}"),
    ("(3,4]", r"\boxed{\left(3, 4\right]}"),
    ("(-\\infty, 2) \\cup (3, \\infty)", r"\boxed{(-\infty,2)\cup(3,\infty)}"),
    ("x \\in [-2,7]", r"\boxed{[-2, 7]}"),
    ("x \\in [-2,7]", r"\boxed{-2 \le x \le 7}"),
    (
        "\\begin{pmatrix} -2 \\\\ -14 \\\\ -7 \\end{pmatrix}",
        r"\boxed{\begin{bmatrix} -2 \\ -14 \\ -7 \end{bmatrix}}",
    ),
    (
        "\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}",
        r"\boxed{\begin{pmatrix} \frac{1}{5} \\ -\frac{18}{5} \end{pmatrix}}",
    ),
    # words, letters, bases
    ("\\text{Evelyn}", r"\boxed{Evelyn}"),
    ("\\text{east}", r"\boxed{\textbf{East}}"),
    ("\\text{ellipse}", "The answer is an ellipse."),
    ("\\text{(C)}", r"\boxed{C}"),
    ("\\text{(C)}", r"\boxed{\text{(C) } 12}"),
    ("4210_{5}", r"\boxed{4210_5}"),
    ("52_8", r"\boxed{52}"),
    # thinking
    ("18", "<think>Perhaps \\boxed{17}? No.</think>The answer is \\boxed{18}."),
    ("18", "Perhaps it is 17.\n</think>\n\n\\boxed{18}"),
    ("18", "First I thought \\boxed{17}, but it is \\boxed{18}"),
    ("1,-2", "\\boxed{x = 1 \\text{ or } x = -2}"),
    ("3", "\\boxed{n=3}"),
    ("\\frac{1}{2}", "\\boxed{\\frac{1}{2} \\text{ hours}}"),
    ("18", "The answer is: **$18$**"),
    ("18", "\\boxed{\\text{The answer is } 18}"),
    ("1000000", "\\boxed{10^6}"),
    ("1000000", "\\boxed{1\\,000\\,000}"),
    ("0", "\\boxed{-0}"),
    ("18", "So the final answer is\n$$\n\\boxed{18}\n$$"),
    ("18", "The answer is 18 (since 9*2=18)."),
    ("18", "The answer is approximately 18.0."),
    ("18", "#### 18%"),
    ("\\frac{\\pi}{2}", "\\boxed{\\dfrac{\\pi}{2} \\text{ radians}}"),
    ("-2,1", "\\boxed{(-2, 1)}"),
    ("18", "The answer is \\(18\\)."),
    ("18", "The answer is $9 \\times 2 = 18$."),
    ("18", "Therefore, the answer is 9*2 = $18."),
    ("18", "**Final Answer**: The total is 18 eggs."),
    ("540", "The answer is 3 * 180 = 540 meters."),
    ("70000", "He made a profit of $70,000."),
    ("3", "Answer: 3 bolts"),
    ("20", "Total: 20 cups.\n\nAnswer: 20 cups of feed"),
    ("1/2", "\\boxed{.5}"),
    ("x=5", "\\boxed{x=5}"),
    ("\\frac{3}{4}", "The answer is \\frac{3}{4}."),
    ("2", "The answer is **2**"),
    ("10", "\\boxed{10\\text{ (dollars)}}"),
    ("10", "\\boxed{\\$10.00}"),
    ("5", "\\boxed{5 \\, \\text{m/s}}"),
    ("7", "\\boxed{\\boxed{7}}"),
    ("7", "$\\boxed{7}$ apples"),
    ("25", "the answer should be 25"),
    ("\\text{Evelyn}", "\\boxed{\\text{Evelyn}}."),
    ("2k", "\\boxed{2k}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "\\boxed{-2, 1+\\sqrt{5}, 1-\\sqrt{5}}"),
    ("3R^2", "\\boxed{3 R^{2}}"),
    ("(0,9) \\cup (9,36)", "\\boxed{(0, 9) \\cup (9, 36)}"),
    ("y = -2x", "\\boxed{-2x}"),
    ("5r^5", "\\boxed{5 r^{5}}"),
    ("58,500", "\\boxed{58500}"),
    ("18", "<think>\n\n</think>\n\nJanet makes $18 per day."),
    ("114200", "The final answer is: $114,200"),
    ("13", "13"),
    ("16", "**16**"),
    ("160", "Answer: \\$160"),
    ("8 \\pi", "\\boxed{8\\pi \\text{ square units}}"),
    ("36^\\circ", "\\boxed{36 \\degree}"),
    ("15x - 80", "\\boxed{15x-80}"),
    ("34", "\\boxed{34}^\\circ"),
    ("2", "The probability is $2$"),
    ("6+9i", "\\boxed{6 + 9i}"),
    ("18", "#### $18"),
    ("\\begin{pmatrix} -1 & 0 \\\\ 0 & -1 \\end{pmatrix}", "\\boxed{\\begin{pmatrix}-1&0\\\\0&-1\\end{pmatrix}}"),
    (
        "\\begin{pmatrix} -2 \\\\ -14 \\\\ -7 \\end{pmatrix}",
        "\\boxed{\\left(\\begin{array}{c}-2\\\\-14\\\\-7\\end{array}\\right)}",
    ),
    # what others say, what is conceded or supposed is no statement of the writer
    ("18", "The answer is 18, though some say it is 20."),
    ("18", "The answer is $18$, although one might think the answer is $20$."),
    ("18", "While one might think the answer is $20$, the answer is $18$."),
    ("18", "One might think the answer is 20, but it is 18."),
    ("18", "The answer is 18. If she had sold more, the answer would be 20."),
    ("18", "The answer is $18$. If we had doubled it, the answer would be $36$."),
    ("18", "If she sells all of them, she would make 18 dollars."),
    ("18", "She has 18 apples, although she started with 20."),
    ("18", "The answer is 18, not 20."),
    ("18", "The answer is 18 (since 9 + 9 = 18)."),
    ("18", "Answer: 18 (confidence: 95%)"),
    # corrections and checks
    ("18", "The answer is 20. Wait, no: it's 18."),
    ("18", "Answer: $20$. Actually, that's wrong; it should be $18$."),
    ("18", "\\boxed{20}. Wait, I made a mistake. The answer is 18."),
    ("18", "\\boxed{18}. Wait, let me double-check: 3 + 4 = 7. Yes."),
    ("18", "**18**\n\nCheck: 3 + 4 = 7."),
    # structure and typography
    ("18", "The answer is\n\\[\n18\n\\]"),
    ("18", "The final answer is: $$18$$"),
    ("18", "Steps: 3, 4.\n\n- $18$"),
    ("18", "Answer - 18"),
    ("18", "Answer: → 18"),
    ("18", "Answer: “18”"),
    ("18", "Answer: １８"),
    ("18", "答案是18。"),
    ("18", '{"answer": 18, "unit": "eggs"}'),
    ("18", "| Item | Count |\n|---|---|\n| Answer | 18 |"),
    ("18", "Answer (in eggs): 18"),
    ("18", "\\boxed{\\text{Total: } 18}"),
    ("18", "\\boxed{\\text{Janet makes } \\$18}"),
    ("18", "\\boxed{\\color{red}{18}}"),
    ("18", "\\boxed{\\approx 18}"),
    ("\\frac{17}{21}", "### Final Answer\n\n$\\frac{17}{21}$"),
    ("\\frac{17}{21}", '{"answer": "\\\\frac{17}{21}"}'),
    ("\\frac{1}{2}", "\\boxed{½}"),
    ("52_8", "So $y = 52_8$."),
    ("1,-2", "The answer is $x=1$ or $x=-2$."),
    ("17", "Then we subtract the other three: $36 - 7 - 2 - 10 = 17 = x$."),
    ("0.43", "As $t$ must be positive, $t = \\frac{3}{7} \\approx 0.43.$"),
    ("p - q", "So\n\\begin{align*}\nS &= 2p - p - q \\\\\n&= p - q.\n\\end{align*}"),
    ("(15,-29)", "At $t = 2,$ $(x,y) = (2^3 + 7, -3 \\cdot 2^2 - 17) = (15,-29).$"),
    ("300", "A bag costs $1.50 x 50 = $75.\nTherefore, the chef spent $75 x 4 = $300 for the four bags."),
    ("18", "If she sells 9 eggs at $2, she would make $18, so the answer is 18."),
]

WRONG = [
    ("18", r"\boxed{81}"),
    ("18", r"\boxed{-18}"),
    ("18", r"\boxed{18x}"),
    ("18", "<think>\\boxed{18}</think> The answer is \\boxed{19}."),
    ("18", "The answer is 1.8."),
    ("18", "#### 180"),
    ("2125", r"\boxed{2,126}"),
    ("0.5", r"\boxed{0.51}"),
    ("10\\%", r"\boxed{11\%}"),
    ("\\frac{3}{4}", r"\boxed{\frac{4}{3}}"),
    ("1\\frac{4}{5}", r"\boxed{\frac{4}{5}}"),
    ("3\\sqrt{13}", r"\boxed{3\sqrt{12}}"),
    ("12\\pi", r"\boxed{12}"),
    ("\\pi", r"\boxed{3.14}"),
    ("p - q", r"\boxed{q - p}"),
    ("2k+2", r"\boxed{2k+1}"),
    ("y = 2x + 3", r"\boxed{y = 2x - 3}"),
    ("6 - 5i", r"\boxed{6 + 5i}"),
    ("(6,31,-1)", r"\boxed{(31,6,-1)}"),
    ("1,-2", r"\boxed{1}"),
    ("1,-2", r"\boxed{1,2}"),
    ("3, 5, 7", r"\boxed{3, 5}"),
    ("(3,4]", r"\boxed{[3,4]}"),
    ("(3,4]", r"\boxed{(3,4)}"),
    ("(-\\infty, 2) \\cup (3, \\infty)", r"\boxed{(-\infty,2)}"),
    (
        "\\begin{pmatrix} -2 \\\\ -14 \\\\ -7 \\end{pmatrix}",
        r"\boxed{\begin{pmatrix} -2 \\ 14 \\ -7 \end{pmatrix}}",
    ),
    ("\\text{Evelyn}", r"\boxed{\text{Briana}}"),
    ("\\text{(C)}", r"\boxed{D}"),
    ("52_8", r"\boxed{53_8}"),
    ("52_8", r"\boxed{42}"),
    ("18", r"\boxed{17 \text{ or } 18}"),
    ("18", r"\boxed{\text{eighteen}}"),
    ("18", "The answer is 5 or 18."),
    ("18", "The answer is not 18, it is 20."),
    ("18", "\\boxed{\\text{The answer is not } 18}"),
    ("18", "\\boxed{1 8}"),
    ("18", "The answer is 20. The wrong answer is 18."),
    ("(0,1)", "\\boxed{\\{0,1\\}}"),
    ("\\{0,1\\}", "\\boxed{(0,1)}"),
    ("[0,1]", "\\boxed{\\lbrace 0, 1 \\rbrace}"),
    ("18", "18 is not the answer; the answer is 20."),
    ("20", "The answer is 20% of 50, so 10."),
    ("5", "\\boxed{5\\%x}"),
    ("2", "\\boxed{2 \\text{ or } 3}"),
    ("9", "\\boxed{3^3}"),
    ("x^2", "\\boxed{x^3}"),
    ("(1,2)", "\\boxed{(2,1)}"),
    ("0.1", "\\boxed{0.10001}"),
    ("12", "\\boxed{1 2 3}"),
    ("1.5", "\\boxed{15}"),
    ("100", "\\boxed{1,00,0}"),
    ("4", "The answer is between 4 and 6."),
    ("\\frac{1}{3}", "\\boxed{0.33}"),
    ("3", "\\boxed{3, 4}"),
    ("3,4", "\\boxed{3}"),
    ("-1", "\\boxed{1}"),
    ("2", "\\boxed{2i}"),
    ("e", "\\boxed{2.71}"),
    ("10", "\\boxed{10 \\text{ million}}"),
    ("1", "\\boxed{11}"),
    ("\\infty", "\\boxed{-\\infty}"),
    ("(2,\\infty)", "\\boxed{[2,\\infty)}"),
    ("20", "The answer is 18, though some say it is 20."),
    ("20", "The answer is 18. If she had sold more, the answer would be 20."),
    ("20", "The answer is 20. Wait, no: it's 18."),
    ("20", "The answer is 18, not 20."),
    ("21", "### Final Answer\n\n$\\frac{17}{21}$"),
    ("18", "\\boxed{\\text{at least } 18}"),
    ("18", "\\boxed{\\text{between 18 and 20}}"),
    ("18", "\\boxed{\\text{not } 18}"),
]


@pytest.mark.parametrize(("gold", "completion"), RIGHT)
def test_same_answer_in_another_form_is_right(gold: str, completion: str) -> None:
    score = score_math(completion, gold)
    assert (score.value, score.outcome) == (1.0, Outcome.RIGHT), score


@pytest.mark.parametrize(("gold", "completion"), WRONG)
def test_another_answer_is_wrong(gold: str, completion: str) -> None:
    score = score_math(completion, gold)
    assert (score.value, score.outcome) == (0.0, Outcome.WRONG), score


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "   \n",
        "I cannot solve this problem, because the statement is unclear.",
        "So we see that the answer cannot be 18.",
        "I'm sorry, I can't solve this.",
        "I don't know.",
        "There is not enough information.",
        "The final answer is unknown.",
        "Answer: None",
        "Answer:",
        "The answer is",
        "\\boxed{}",
        "\\boxed{\\text{}}",
        '{"answer": null}',
        "**Final Answer**",
    ],
)
def test_no_answer_is_told_apart(completion: str) -> None:
    assert score_math(completion, "18").outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    "completion",
    ["", "First, 3 + 4 = 7 and then we add 11 so that we get 18", "<think>\\boxed{18} hmm, let me"],
)
def test_cut_off_without_an_answer_is_truncated(completion: str) -> None:
    assert score_math(completion, "18", truncated=True).outcome is Outcome.TRUNCATED


def test_cut_off_after_the_answer_is_still_judged() -> None:
    assert score_math("So \\boxed{18}. To check, we", "18", truncated=True).outcome is Outcome.RIGHT


def test_unclosed_thinking_is_no_answer() -> None:
    assert score_math("<think>it must be \\boxed{18}", "18").outcome is Outcome.NO_ANSWER


def test_score_keeps_what_was_extracted_and_why() -> None:
    score = score_math(r"\boxed{\frac{1}{\sqrt{3}}}", r"\frac{\sqrt{3}}{3}")
    assert score.extracted == r"\frac{1}{\sqrt{3}}"
    assert score.why == "boxed: symbolic"


def test_what_hangs_sympy_is_a_grader_failure_and_the_next_answer_is_judged() -> None:
    hanging = score_math(r"\boxed{9^{9^{9^{9^{9}}}} x + 1}", "2k+2")
    assert hanging.value in (None, 0.0)
    assert score_math(r"\boxed{2(k+1)}", "2k+2").outcome is Outcome.RIGHT


def test_ten_megabytes_are_judged() -> None:
    assert score_math("a" * 10_000_000 + r" \boxed{18}", "18").outcome is Outcome.RIGHT
    assert score_math(r"\boxed{" * 300_000, "18").outcome is Outcome.NO_ANSWER
    assert score_math("1" * 10_000_000, "18").outcome in (Outcome.WRONG, Outcome.NO_ANSWER)
    assert score_math("the answer is " * 200_000, "18").outcome in (Outcome.WRONG, Outcome.NO_ANSWER)


@given(st.integers(-(10**12), 10**12))
@settings(deadline=None)
def test_an_integer_is_read_with_and_without_separators(value: int) -> None:
    for text in (str(value), f"{value:,}", f"\\${value:,}", f"{value}.0", f"{value:,} apples", f"${value}$"):
        read = read_number(text)
        assert read is not None
        assert read.value == value


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_can_be_searched(text: str) -> None:
    answers.explicit(answers.without_thinking(text))
    read_number(text)
    assert score_math("", text or "1").outcome is Outcome.NO_ANSWER


@given(st.text(alphabet="ab{}\\ 1", max_size=40))
@settings(deadline=None)
def test_boxed_content_is_balanced(inner: str) -> None:
    for content in answers.boxed(rf"x \boxed{{{inner}}} y"):
        unescaped = content.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert unescaped.count("{") >= unescaped.count("}")
