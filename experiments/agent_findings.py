"""Findings of the agents study: who generalises best, what goes with it, what the modelling choices change. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experiments.analysis import Analysis
from experiments.axes import LEAST
from experiments.drawing import p_text, points
from experiments.effects import records
from experiments.ood_change import ALL

Of = Callable[[Mapping[str, Any]], str]


def agent_findings(analysis: Analysis, of: Of) -> list[str]:
    return [*_scores(analysis, of), *_axes(analysis), *_correlations(analysis, of), *_changes(analysis, of)]


def _groups(table: list[dict[str, Any]], of: Of) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        found.setdefault(of(row), []).append(row)
    return found


def _scores(analysis: Analysis, of: Of) -> list[str]:
    out = []
    for group, rows in _groups(records(analysis.tables["ood_scores"]), of).items():
        known = [r for r in rows if r["ood_score"] is not None]
        known.sort(key=lambda r: (-r["ood_score"], r["train_domain"]))
        if not known:
            out.append(f"No OOD score{group}: {rows[0]['why']}.")
            continue
        order = ", ".join(f"{r['train_domain']} {r['ood_score']:.0f}" for r in known)
        text = f"OOD score by training environment{group}, the higher the better: {order}"
        if known[0]["best_percent"] is not None:
            sure = ", ".join(f"{r['train_domain']} {r['best_percent']:.0f} %" for r in known)
            text += f". Over redrawn tasks and runs the best, alone or with others: {sure}"
        if known[0]["left_out"]:
            text += f"; left out, as not every source has a value there or fewer than two do: {known[0]['left_out']}"
        out.append(f"{text}.")
    return out


def _axes(analysis: Analysis) -> list[str]:
    rows = records(analysis.tables["axes"])
    out = []
    for policy in dict.fromkeys(str(row["policy"]) for row in rows):
        parts = [
            f"{r['environment']} {r['chars_mean']:.0f} characters a state, {r['length_mean']:.1f} steps of at most "
            f"{r['cap']}, goal reached in {100 * r['reach_mean']:.0f} %{_too_long(r)}"
            for r in rows
            if r["policy"] == policy
        ]
        out.append(f"The environments under {policy}: {'; '.join(parts)}.")
    if rows and analysis.tables["correlations"].empty:
        out.append(
            f"Fewer than {LEAST} training environments have both an OOD score and a probe: the two are not correlated."
        )
    return out


def _too_long(row: Mapping[str, Any]) -> str:
    """How many of the failures are the context's; probes made before these were counted do not say."""
    count = row.get("too_long")
    return f" ({count:.0f} of {row['episodes']} episodes outgrew the context)" if count and count > 0 else ""


def _correlations(analysis: Analysis, of: Of) -> list[str]:
    table = analysis.tables["correlations"]
    if table.empty:
        return []
    level = 1 - analysis.settings.level
    out = []
    for group, rows in _groups(records(table[table["method"] == "Spearman"]), of).items():
        known = [r for r in rows if r["correlation"] is not None]
        if not known:
            continue
        parts = [f"{r['axis']} {r['correlation']:+.2f} (p {p_text(r['p'])})".replace("-", "−") for r in known]
        n = known[0]["n_environments"]
        over = f"over {n} training environments{group}"
        text = f"Rank correlation of the OOD score with the axes {over}: {'; '.join(parts)}."
        smallest = min((r["smallest_p"] for r in known if r["smallest_p"] is not None), default=None)
        if smallest is not None:
            text += f" With {n} environments no p below {p_text(smallest)} can be reached"
            text += ", so that none could be established." if smallest > level else "."
        out.append(text)
    return out


def _changes(analysis: Analysis, of: Of) -> list[str]:
    table = analysis.tables["ood_change"]
    if table.empty:
        return []
    out = []
    heads = ["factor", "level", "reference"]
    for row in records(table):
        same = table[(table[heads] == [row[h] for h in heads]).all(axis=1)]
        summed = (same["train_domain"] == ALL).any()
        if (row["train_domain"] == ALL) != summed:
            continue
        where = "summed over the training environments" if summed else f"trained in {row['train_domain']}"
        plain = {name: value for name, value in row.items() if name != row["factor"]}
        text = f"{row['level']} against {row['reference']}{of(plain)}, out of domain, {where}: "
        if row["change_percent"] is None:
            out.append(f"{text}no relative change: {row['why']}.")
            continue
        text += f"success changes by {points(row['change_percent'])} % of the plain arm's{_spread(row, 'change')}"
        if row["recovered_percent"] is not None:
            text += f"; share of the drop recovered {points(row['recovered_percent'])} %{_spread(row, 'recovered')}"
        elif row["why"]:
            text += f"; no share of the drop: {row['why']}"
        out.append(f"{text}.")
    return out


def _spread(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"low_{name}_percent"], row[f"high_{name}_percent"]
    return "" if low is None else f" ({points(low)} to {points(high)})"
