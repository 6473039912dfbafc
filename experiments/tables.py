"""Tables of a report as HTML, CSV and LaTeX. Undefined is printed as a dash."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import pandas as pd

HEADINGS: Mapping[str, str] = {
    "train_domain": "trained on", "evaluated": "evaluated on", "delta_points": "change, points",
    "low_points": "from", "high_points": "to", "p": "p", "p_holm": "p (Holm)", "p_bh": "p (BH)",
    "p_equivalent_holm": "p (equivalence)", "detectable_points": "detectable, points",
    "seeds_needed": "runs needed",
    "items_factor_needed": "items needed, times", "n_items": "items", "n_samples": "samples",
    "n_seeds": "runs", "n_benchmarks": "benchmarks", "odds_ratio": "odds ratio", "cmh_p": "CMH p",
    "cmh_corrected_p": "CMH p, corrected", "breslow_day_p": "Breslow-Day p", "low": "from", "high": "to",
    "paired_odds_ratio": "paired odds ratio", "paired_low": "from", "paired_high": "to",
    "paired_p": "paired p", "mcnemar_p": "McNemar p", "base_percent": "base, %",
    "trained_percent": "trained, %", "success_percent": "success, %", "low_percent": "from, %",
    "high_percent": "to, %", "ood_score": "OOD score", "low_score": "from", "high_score": "to",
    "best_percent": "best, % of draws", "n_targets": "environments ranked in", "ranks": "rank by environment",
    "left_out": "left out", "change_percent": "change, %", "low_change_percent": "from, %",
    "high_change_percent": "to, %", "recovered_percent": "drop recovered, %", "low_recovered_percent": "from, %",
    "high_recovered_percent": "to, %", "chars_mean": "characters of a state", "chars_low": "from", "chars_high": "to",
    "tokens_mean": "tokens of a state", "length_mean": "steps of an episode", "length_low": "from",
    "length_high": "to", "reach_mean": "goal reached", "reach_low": "from", "reach_high": "to",
    "too_long": "prompt too long",
    "smallest_p": "smallest p", "same_sign_percent": "same sign, % of draws", "n_environments": "environments",
    "items_better": "better", "items_worse": "worse",
}  # fmt: skip

SIGNED = ("delta_points", "low_points", "high_points")


def cell(name: str, value: object) -> str:
    """One value for people."""
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(name, value)
    if isinstance(value, int):
        return f"{value:,}" if name.startswith("n_") else str(value)
    return str(value)


def _number(name: str, value: float) -> str:
    if name in ("p", "smallest_p") or name.endswith("_p") or name.startswith("p_") or name.endswith("_holm"):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if name in SIGNED:
        return f"{value:+.1f}".replace("-", "−")
    if name in ("seeds_needed", "seed", "step") or (value == int(value) and name.startswith("n_")):
        return f"{int(value):,}"
    if name.endswith(("_percent", "_points")):
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def heading(name: str) -> str:
    return HEADINGS.get(name, name.replace("_", " "))


def to_html(table: pd.DataFrame, columns: Sequence[str], *, mark: str | None = None) -> str:
    """A table in its own scrolling box; rows where the column `mark` is True are tinted."""
    present = [c for c in columns if c in table and not table[c].isna().all()]
    numeric = {c for c in present if pd.api.types.is_numeric_dtype(table[c]) or _is_number_column(table[c])}
    head = "".join(f"<th{'' if c in numeric else _TEXT}>{html.escape(heading(c))}</th>" for c in present)
    body = []
    for record in table.to_dict("records"):
        tint = ' class="inside"' if mark is not None and record.get(mark) is True else ""
        cells = "".join(f"<td{'' if c in numeric else _TEXT}>{html.escape(cell(c, record[c]))}</td>" for c in present)
        body.append(f"<tr{tint}>{cells}</tr>")
    rows = "".join(body)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


_TEXT = ' class="text"'


def _is_number_column(values: pd.Series) -> bool:
    known = [v for v in values if v is not None and v is not pd.NA]
    return bool(known) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known)


def to_latex(table: pd.DataFrame, columns: Sequence[str], caption: str) -> str:
    """A booktabs table, for a paper."""
    present = [c for c in columns if c in table]
    lines = [" & ".join(_latex(cell(c, record[c])) for c in present) for record in table.to_dict("records")]
    head = " & ".join(_latex(heading(c)) for c in present)
    rows = " \\\\\n".join(lines)
    return (
        "\\begin{table}\n\\caption{" + _latex(caption) + "}\n\\begin{tabular}{" + "l" * len(present) + "}\n"
        "\\toprule\n" + head + " \\\\\n\\midrule\n" + rows + " \\\\\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


_ESCAPES = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
            "−": "$-$", "–": "--", "×": r"$\times$", "<": "$<$", "±": r"$\pm$", "\\": r"\textbackslash{}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
