"""The findings of a report in plain words, each made from its numbers with their uncertainty. Pure.

A change is only claimed where its p, adjusted by Holm, is below the level. Its absence is only claimed
where the equivalence test says so; otherwise the sentence names what the interval excludes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.analysis import Analysis
from experiments.drawing import interval, p_text, points, varying
from experiments.effects import records
from experiments.more_findings import more
from experiments.power import Verdict
from experiments.tabulate import PROCEDURAL
from experiments.transfer import GAP, ID, OOD

FEW_SEEDS = 5
MOST_ARMS = 6  # beyond that the arms are counted, and the tables hold them one by one


def findings(analysis: Analysis) -> list[str]:
    """The sentences, most general first."""
    out: list[str] = []
    for record in records(analysis.effects("average")):
        out += _average(record, analysis)
    extra = more(analysis, lambda record: _of(record, analysis))
    # Studies of a factor or of time are asked for what they compare; the arms come after it.
    out += [*extra, *_arms(analysis)] if analysis.study.leads_with_extras else [*_arms(analysis), *extra]
    out += caveats(analysis)
    return out


def _of(record: Mapping[str, Any], analysis: Analysis) -> str:
    names = [str(record[name]) for name in varying(analysis) if record.get(name)]
    return f" ({', '.join(names)})" if names else ""


def _average(record: Mapping[str, Any], analysis: Analysis) -> list[str]:
    if record["delta_points"] is None or record["arms"] < 2:
        return []
    over = f"over {record['arms']} {'models' if analysis.study.models_are_replicates else 'training domains'}"
    where = {
        ID: f"Inside the training domain, on average {over}",
        OOD: f"Outside the training domain, on average {over}",
        GAP: f"The gap between the two, on average {over}",
    }[str(record["evaluated"])]
    return [f"{where}{_of(record, analysis)}: {sentence(record, analysis)}"]


def sentence(record: Mapping[str, Any], analysis: Analysis) -> str:
    """One change in words: the claim that its numbers allow, then the numbers."""
    level = round(100 * analysis.settings.level)
    margin = analysis.settings.margin_points
    value, low, high = record["delta_points"], record["low_points"], record["high_points"]
    gap = record["evaluated"] == GAP
    if low is None or high is None:
        return f"{points(value)} points, but too little data for an interval ({_data(record, analysis)})."
    numbers = f"{points(value)} points, {level} % interval {interval(low, high)}"
    verdict = record["verdict"]
    if verdict in (Verdict.GAIN, Verdict.LOSS):
        claim = {
            (Verdict.GAIN, False): "pass@1 rose",
            (Verdict.LOSS, False): "pass@1 fell",
            (Verdict.GAIN, True): "gains are larger inside",
            (Verdict.LOSS, True): "gains are larger outside",
        }[Verdict(verdict), gap]
        return f"{claim}: {numbers} (adjusted p {p_text(record['p_holm'])}; {_data(record, analysis)})."
    if verdict == Verdict.EQUIVALENT:
        return (
            f"no change of more than {margin:g} points either way (equivalence test, adjusted p "
            f"{p_text(record['p_equivalent_holm'])}): {numbers} ({_data(record, analysis)})."
        )
    what = "a difference" if gap else "a change"
    if low > 0 or high < 0:
        return (
            f"{what} is suggested but not established: {numbers}, which alone would exclude none, but "
            f"adjusted for the number of comparisons p is {p_text(record['p_holm'])} ({_data(record, analysis)})."
        )
    return f"no evidence of {what}: {numbers}; {excluded(low, high)} ({_data(record, analysis)})."


def excluded(low: float, high: float) -> str:
    """What the interval rules out, which is not the same as no effect."""
    gains = f"gains above {high:.1f} points" if high > 0 else "gains"
    losses = f"losses beyond {-low:.1f} points" if low < 0 else "losses"
    return f"{gains} and {losses} are excluded"


def _data(record: Mapping[str, Any], analysis: Analysis) -> str:
    runs = record["n_seeds"]
    what = "model" if analysis.study.models_are_replicates else "training run"
    only = "" if record["seeds_resampled"] or analysis.study.models_are_replicates else "; for these runs only"
    only = only.replace("these runs", "this run") if runs == 1 else only
    return f"{record['n_items']:,} items, {runs} {what}{'s' if runs != 1 else ''}{only}"


def _arms(analysis: Analysis) -> list[str]:
    """Each arm: inside its domain, then what its training did elsewhere. Many arms are counted instead."""
    rows = [r for r in records(analysis.effects("arm")) if r["evaluated"] != GAP and r["delta_points"] is not None]
    if len(rows) > 2 * MOST_ARMS:
        return [s for side in (ID, OOD) for s in _counted([r for r in rows if r["evaluated"] == side], analysis)]
    out = []
    for record in rows:
        side = "in its own domain" if record["evaluated"] == ID else "in the other domains"
        trained = f"Trained on {record['train_domain']}{_of(record, analysis)}"
        out.append(f"{trained}, {side}: {sentence(record, analysis)}")
    return out


def _counted(rows: list[dict[str, Any]], analysis: Analysis) -> list[str]:
    if not rows:
        return []
    side = "in its own domain" if rows[0]["evaluated"] == ID else "in the other domains"
    what = "models" if analysis.study.models_are_replicates else "arms"
    words = {Verdict.GAIN: "rose", Verdict.LOSS: "fell", Verdict.EQUIVALENT: "did not change beyond the margin",
             Verdict.OPEN: "are undecided"}  # fmt: skip
    parts = []
    for verdict, word in words.items():
        found = [r for r in rows if r["verdict"] == verdict]
        named = f" ({'; '.join(_short(r, analysis) for r in found)})" if found and verdict != Verdict.OPEN else ""
        parts.append(f"{len(found)} {word}{named}")
    return [f"Of {len(rows)} {what}, each {side}, adjusted for their number: {', '.join(parts)}."]


def _short(record: Mapping[str, Any], analysis: Analysis) -> str:
    names = [str(record[name]) for name in varying(analysis) if record.get(name)]
    who = ", ".join(names if analysis.study.models_are_replicates else [str(record["train_domain"]), *names])
    return f"{who} {points(record['delta_points'])}"


def caveats(analysis: Analysis) -> list[str]:
    """What a reader must know before believing the numbers."""
    out = []
    effects = analysis.tables["effects"]
    arm_seeds = effects.loc[effects["kind"] == "arm", "n_seeds"]
    arm_seeds = arm_seeds[arm_seeds > 0]
    if len(arm_seeds) and not analysis.study.models_are_replicates:
        fewest = int(arm_seeds.min())
        if fewest == 1:
            out.append(
                "Some arms have a single training run: their intervals cover the items only and say nothing "
                "about what another seed would give."
            )
        elif fewest < FEW_SEEDS:
            out.append(
                f"Only {fewest} training runs per arm: the spread over seeds is known poorly, and the "
                "intervals are widened for it."
            )
    inside = records(analysis.effects("average"))
    gap = next((r for r in inside if r["evaluated"] == OOD and r["detectable_points"] is not None), None)
    if gap is not None:
        out.append(_could_detect(gap, analysis))
    data = analysis.tables["data"]
    made = sorted(data.loc[data["source"] == PROCEDURAL, "benchmark"].astype(str)) if len(data) else []
    if made:
        out.append(
            f"Procedural benchmarks, generated by a program to exercise the whole system: {', '.join(made)}. They "
            "say nothing about abilities outside themselves."
        )
    missing = analysis.tables["missing"]
    if len(missing):
        out.append(f"{len(missing)} evaluation(s) of the sweep are not finished and are not counted.")
    return out


def _could_detect(record: Mapping[str, Any], analysis: Analysis) -> str:
    power, margin = round(100 * analysis.settings.power), analysis.settings.margin_points
    text = (
        f"With this data a change outside the training domain of {record['detectable_points']:.1f} points "
        f"would be found with {power} % power"
    )
    if record["detectable_points"] <= margin:
        return f"{text}."
    ways = []
    if record["seeds_needed"]:
        ways.append(f"{int(record['seeds_needed'])} runs per arm")
    if record["items_factor_needed"]:
        ways.append(f"{record['items_factor_needed']:.1f} times the items")
    if ways:
        return f"{text}; for {margin:g} points it would take {' or '.join(ways)}."
    return f"{text}; for {margin:g} points it would take both more runs and more items."
