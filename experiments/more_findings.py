"""Findings from the tables beside the main ones: slopes, contrasts, forgetting, controls, reasoning. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from experiments.agent_findings import agent_findings
from experiments.analysis import Analysis
from experiments.drawing import interval, p_text, points
from experiments.effects import records
from experiments.power import Verdict
from experiments.trajectory import PER_STEPS
from experiments.transfer import GAP, ID, OOD

Of = Callable[[Mapping[str, Any]], str]  # " (base, algorithm)": what of the arm varies in this report


def more(analysis: Analysis, of: Of) -> list[str]:
    """The sentences in the order of the study's sections."""
    return [
        *agent_findings(analysis, of), *_contrasts(analysis), *_slopes(analysis, of), *_stages(analysis, of),
        *_forgetting(analysis), *_reasoning(analysis, of), *_controls(analysis),
    ]  # fmt: skip


def _numbers(record: Mapping[str, Any], analysis: Analysis, unit: str = "points") -> str:
    level = round(100 * analysis.settings.level)
    spread = interval(record["low_points"], record["high_points"])
    return f"{points(record['delta_points'])} {unit}, {level} % interval {spread}"


def _claimed(record: Mapping[str, Any]) -> bool:
    return record["verdict"] in (Verdict.GAIN, Verdict.LOSS)


def _slopes(analysis: Analysis, of: Of) -> list[str]:
    table = analysis.tables["trajectory"]
    if table.empty:
        return []
    chosen = table[(table["kind"] == "slope") & (table["weighting"] == analysis.settings.weighting)]
    out = []
    for record in records(chosen[chosen["evaluated"] == GAP]):
        if record["low_points"] is None:
            continue
        numbers = _numbers(record, analysis, f"points per {PER_STEPS} steps")
        head = f"Along training{of(record)}, the gap between inside and outside"
        if _claimed(record):
            moves = "grows" if record["delta_points"] > 0 else "shrinks"
            out.append(f"{head} {moves}: {numbers} (p {p_text(record['p_holm'])}).")
        else:
            out.append(f"{head}: no evidence that it grows or shrinks: {numbers}.")
    return out


def _contrasts(analysis: Analysis) -> list[str]:
    table = analysis.tables["contrasts"]
    if table.empty:
        return []
    where = {ID: "inside the training domain", OOD: "outside it", GAP: "in the gap between the two"}
    out = []
    for record in records(table):
        if record["low_points"] is None:
            continue
        place, numbers = where[str(record["evaluated"])], _numbers(record, analysis)
        if record["kind"] == "trend":
            head = f"With every doubling of the base's size, the change {place}"
            what = {True: "moves", False: "shows no established trend"}[_claimed(record)]
            out.append(f"{head} {what}: {numbers} (adjusted p {p_text(record['p_holm'])}).")
            continue
        head = f"{record['level']} against {record['reference']}, {place}"
        if _claimed(record):
            claim = "more" if record["delta_points"] > 0 else "less"
            out.append(f"{head}: {claim}: {numbers} (adjusted p {p_text(record['p_holm'])}).")
        elif record["verdict"] == Verdict.EQUIVALENT:
            margin = analysis.settings.margin_points
            out.append(f"{head}: no difference of more than {margin:g} points: {numbers}.")
        else:
            out.append(f"{head}: no evidence of a difference: {numbers}.")
    return out


def _stages(analysis: Analysis, of: Of) -> list[str]:
    table = analysis.tables["stages"]
    if table.empty:
        return []
    later = table[table["train_domain"].astype(str).str.contains("→")]
    out = []
    for record in records(later):
        if _claimed(record):
            moves = "raised" if record["delta_points"] > 0 else "lowered"
            out.append(
                f"The last stage of {record['train_domain']}{of(record)} {moves} {record['evaluated']}: "
                f"{_numbers(record, analysis)} (adjusted p {p_text(record['p_holm'])})."
            )
    if len(later) and not out:
        out.append("No later stage of the cascade changed any domain beyond what chance explains.")
    return out


def _forgetting(analysis: Analysis) -> list[str]:
    found = records(analysis.tables["forgetting"])
    if not found:
        return []
    fit = found[0]
    if fit["slope"] is None and "forgetting" not in analysis.study.parts:
        return []  # nobody asked
    if fit["slope"] is None:
        return [f"Whether KL to the base predicts forgetting cannot be said: {fit['why']}."]
    spread = f"{interval(fit['low'], fit['high'])}, p {p_text(fit['p'])}"
    level = 1 - analysis.settings.level
    known = fit["p"] is not None and fit["p"] < level
    claim = "is related to" if known else "shows no established relation to"
    return [
        f"KL to the base {claim} the change outside the training domain: {points(fit['slope'])} points per unit "
        f"of KL ({spread}; R² {fit['r_squared']:.2f}; {fit['n_checkpoints']} checkpoints of {fit['n_runs']} "
        "runs). A relation across runs is not a cause."
    ]


def _reasoning(analysis: Analysis, of: Of) -> list[str]:
    table = analysis.tables["reasoning"]
    if table.empty or (table["base_percent"] + table["trained_percent"]).max() == 0:
        return []  # answers too short to show any
    level = 1 - analysis.settings.level
    changed = table[table["p_holm"].notna() & (table["p_holm"] < level)]
    if changed.empty:
        return ["No kind of reasoning changed its share beyond what chance explains, as far as rules on the text see."]
    largest = changed.assign(size=changed["delta_points"].abs()).nlargest(3, "size")
    parts = [
        f"{r['strategy']} on {r['evaluated']} after training on {r['train_domain']}{of(r)} from "
        f"{r['base_percent']:.0f} % to {r['trained_percent']:.0f} % of the answers"
        for r in records(largest)
    ]
    rest = f" ({len(changed)} of {len(table)} shares changed)" if len(changed) > len(parts) else ""
    return [f"Kinds of reasoning that changed most: {'; '.join(parts)}{rest}."]


def _controls(analysis: Analysis) -> list[str]:
    table: pd.DataFrame = analysis.tables["controls"]
    if table.empty:
        return []
    false = [r for r in records(table) if _claimed(r)]
    if false:
        which = ", ".join(f"{r['base']} on {r['evaluated']} ({points(r['delta_points'])} points)" for r in false)
        return [
            f"Warning: the base judged against itself shows a change where there is none: {which}. "
            f"Chance does so in about one report in {round(1 / (1 - analysis.settings.level))}; otherwise something "
            "beside training differs between evaluations, and must be found before the results are believed."
        ]
    return [
        f"Negative control: the base judged against itself shows no change in {len(table)} of {len(table)} "
        "comparisons, as it must."
    ]
