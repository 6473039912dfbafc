r"""Forms in which people write the same vector, word, set, time or ratio, and what looks like them."""

from __future__ import annotations

import pytest

from evaluators.benchmark import Outcome
from evaluators.scoring.math import score_math

OUTSIDE = [
    "x<-1 \\text{ or } x>1",
    "x > 1 or x < -1",
    "(1,\\infty)\\cup(-\\infty,-1)",
    "x \\in (-\\infty,-1)\\cup(1,\\infty)",
    "(-\\infty,-1) \\text{ or } (1,\\infty)",
    "(-∞, -1) ∪ (1, +∞)",
    "\\{x \\mid x<-1 \\text{ or } x>1\\}",
    "]-\\infty,-1[ \\cup ]1,\\infty[",
]
INSIDE = [
    "-1<x<1",
    "1>x>-1",
    "x>-1 \\text{ and } x<1",
    "\\left\\{ x : -1 < x < 1 \\right\\}",
    "x \\in \\left(-1, 1\\right)",
]
NEITHER = [
    "-1 \\le x \\le 1",
    "x \\le -1 \\text{ or } x \\ge 1",
    "x<-1",
    "x>1",
    "x<1 \\text{ or } x>-1",
    "(-1,2)",
    "\\{-1,1\\}",
]

SAME_FORM = [
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "(1,-2,3)"),
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "\\begin{bmatrix}1\\\\-2\\\\3\\end{bmatrix}"),
    ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\left(\\frac15,-\\frac{18}{5}\\right)"),
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "\\langle 1,-2,3\\rangle"),
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "(1,-2,3)^T"),
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "[1,-2,3]"),
    ("(1,-2,3)", "\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}"),
    ("(3,\\frac\\pi2)", "\\begin{pmatrix}3\\\\ \\pi/2\\end{pmatrix}"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"),
    ("\\text{even}", "even function"),
    ("\\text{even}", "The function is even"),
    ("\\text{even}", "f is an even function"),
    ("\\text{even}", "\\text{even function}"),
    ("\\text{neither}", "neither even nor odd"),
    ("\\text{Evelyn}", "Evelyn has the greatest average speed"),
    ("\\text{ellipse}", "an ellipse"),
    ("\\text{ellipse}", "It is an ellipse."),
    ("\\text{circle}", "a circle, not an ellipse"),
    ("\\text{Monday}", "Monday"),
    ("\\text{Monday}", "on Monday"),
    ("\\text{two lines}", "two lines"),
    ("\\text{A,D}", "D, A"),
    ("\\text{A,D}", "\\text{A and D}"),
    ("6, 8\\text{, and }10", "6,8,10"),
    ("(6,31,-1)", "\\langle 6,31,-1\\rangle"),
    (
        "\\begin{pmatrix} 0 & -15 \\\\ -2 & -4 \\end{pmatrix}",
        "\\begin{pmatrix} 0 & -15 \\\\[4pt] -2 & -4 \\end{pmatrix}",
    ),
    # sets of real numbers
    *(("(-\\infty,-1)\\cup(1,\\infty)", form) for form in OUTSIDE),
    *(("(-1,1)", form) for form in INSIDE),
    ("[-2,7]", "-2 ≤ x ≤ 7"),
    ("[-2,7]", "x \\ge -2 \\text{ and } x \\le 7"),
    ("x \\in [-2,7]", "-2 \\leqslant x \\leqslant 7"),
    ("[3,\\infty)", "\\{x \\in \\mathbb{R} : x \\geq 3\\}"),
    ("x>1", "(1,\\infty)"),
    ("(-\\infty,5)\\cup(5,\\infty)", "x \\neq 5"),
    ("(-\\infty,5)\\cup(5,\\infty)", "\\mathbb{R} \\setminus \\{5\\}"),
    ("(-\\infty,-2)\\cup(-2, 2)\\cup(2,\\infty)", "x \\neq 2 \\text{ and } x \\neq -2"),
    ("(1,4-\\sqrt{3})\\cup(4+\\sqrt{3},7)", "1<x<4-\\sqrt3 \\text{ or } 4+\\sqrt3<x<7"),
    ("(-\\infty, 0] \\cup (\\tfrac12, \\tfrac32]", "x\\le 0 \\text{ or } \\frac12<x\\le\\frac32"),
    ("-80\\leq g(x)\\leq 82", "[-80, 82]"),
    ("f(2) < f(1) < f(4)", "f(4) > f(1) > f(2)"),
    ("\\infty", "+\\infty"),
    # clock times and ratios
    ("10:30", "10{:}30"),
    ("10:30", "10:30 \\text{ a.m.}"),
    ("\\text{1:03 PM}", "1:03 \\text{ p.m.}"),
    ("9\\text{ a.m.}", "9:00 \\text{ AM}"),
    ("9\\text{ a.m.}", "9"),
    ("2:3", "4:6"),
    ("2:3", "2 \\text{ to } 3"),
    ("3:1", "3"),
    ("1:2:3", "2:4:6"),
    # units, bases, symbols
    ("8\\sqrt{3} \\text { square inches}", "8√3"),
    ("8\\sqrt{3} \\text { square inches}", "\\sqrt{192} \\text{ in}^2"),
    ("x^3+3x-6", "x³ + 3x − 6"),
    ("x^3+3x-6", "x**3 + 3x - 6"),
    ("1 \\pm \\sqrt{19}", "1 ± √19"),
    ("52_8", "52_{\\text{eight}}"),
    ("52_8", "(52)_8"),
    ("52_8", "52 \\text{ (base 8)}"),
]
OTHER = [
    ("\\begin{pmatrix} 1 \\\\ -2 \\\\ 3 \\end{pmatrix}", "(1, -2, 4)"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "(1,2,3,4)"),
    ("\\begin{pmatrix} 1 \\\\ 2\\end{pmatrix}", "\\begin{pmatrix} 1 & 2\\end{pmatrix}"),
    ("\\text{odd}", "even"),
    ("\\text{even}", "neither even nor odd"),
    ("\\text{even}", "not even"),
    ("\\text{even}", "odd, not even"),
    ("\\text{Evelyn}", "Carla"),
    ("\\text{ellipse}", "a circle, not an ellipse"),
    ("\\text{two lines}", "lines"),
    ("\\text{parabola}", "hyperbola"),
    ("\\text{Navin}", "Navin and Evelyn"),
    ("\\text{east}", "northeast"),
    ("6-5i", "\\begin{pmatrix}6\\\\-5\\end{pmatrix}"),
    ("\\text{A,D}", "A, B"),
    ("\\begin{pmatrix} 6 \\\\ -15 \\end{pmatrix}", "[6,-15)"),
    *(("(-\\infty,-1)\\cup(1,\\infty)", form) for form in (*INSIDE, *NEITHER)),
    *(("(-1,1)", form) for form in (*OUTSIDE, *NEITHER)),
    ("[-2,7]", "-2<x<7"),
    ("[3,\\infty)", "x>3"),
    ("(-\\infty,5)\\cup(5,\\infty)", "x \\neq 4"),
    ("(-\\infty,5)\\cup(5,\\infty)", "\\mathbb{R}"),
    ("(2,12) \\cup (12,102)", "(2,102)"),
    ("f(2) < f(1) < f(4)", "f(2) > f(1) > f(4)"),
    ("\\infty", "-\\infty"),
    ("10:30", "\\frac{1}{3}"),
    ("10:30", "1:3"),
    ("10:30", "10:31"),
    ("\\frac{1}{3}", "10:30"),
    ("\\text{1:03 PM}", "1:03 \\text{ AM}"),
    ("9\\text{ a.m.}", "9 \\text{ p.m.}"),
    ("9\\text{ a.m.}", "9:30 \\text{ a.m.}"),
    ("2:3", "3:2"),
    ("2:3", "\\frac{3}{2}"),
    ("1:2:3", "1:2"),
    ("8\\sqrt{3} \\text { square inches}", "3\\sqrt{8}"),
    ("52_8", "52_9"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME_FORM)
def test_another_form_of_the_same_vector_or_word_is_right(gold: str, answer: str) -> None:
    assert score_math(f"So the answer is $\\boxed{{{answer}}}$.", gold).outcome is Outcome.RIGHT


@pytest.mark.parametrize(("gold", "answer"), OTHER)
def test_what_looks_like_the_vector_or_word_is_wrong(gold: str, answer: str) -> None:
    assert score_math(f"So the answer is $\\boxed{{{answer}}}$.", gold).outcome is Outcome.WRONG
