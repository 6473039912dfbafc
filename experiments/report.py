"""The report of a sweep: one self-contained HTML file with figures and tables beside it.

`main` is the entry of jobs of kind `report`; `build` makes the same from a sweep that may be half done.
Owns the layout of the report folder. The numbers come from `analysis`, the words from `findings`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments import agent_tables
from experiments import study as studies
from experiments.analysis import Analysis, analyse
from experiments.drawing import FigureFile, varying
from experiments.figures import TITLES, draw
from experiments.findings import findings
from experiments.methods import methods
from experiments.outcomes import REPORTED, Source, make_source, source, table
from experiments.tables import to_html, to_latex
from experiments.transfer import Settings
from experiments.versions import by_use, mixed_code, software
from manager.atomic import write_json, write_text
from manager.store import Store

if TYPE_CHECKING:
    from manager.run import Run

ALWAYS = ("reasoning",)  # figures of every study, where their numbers are there
DEFAULT_STUDY = "interventional"


@dataclass(frozen=True)
class ReportResult:
    """What was written, and what it says."""

    path: Path  # report.html
    sweep: str
    title: str
    findings: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    figures: tuple[str, ...]
    notes: tuple[str, ...]
    analysis: Analysis


def main(run: Run) -> dict[str, Any]:
    """Entry of a report job: the evaluations it needs, judged by its study."""
    from experiments.terminal import terminal_text  # it shows this module's result

    store = Store(run.path.parent.parent)
    config = run.config
    found = [
        (entry["stage"], labels, job)
        for entry in config["inputs"]
        for index, labels in zip(entry["needs"], _labels(entry), strict=True)
        if (job := run.need(index).job()).kind in REPORTED
    ]
    made = make_source(store, "", config.get("study"), found, config.get("settings") or {})
    folder = run.path / "artifacts" / "report"
    result = write(made, folder)
    if scores := agent_tables.metrics(result.tables):
        run.log(scores, 0)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        run.log_artifact(path, str(path.parent.relative_to(run.path / "artifacts")))
    return {
        "report": str(result.path.relative_to(run.path)),
        "findings": list(result.findings),
        "summary": terminal_text(result),
    }


def _labels(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The matrix values of every job of an input; none where the config does not hold them."""
    labels: Sequence[Mapping[str, Any]] = entry.get("labels") or [{} for _ in entry["needs"]]
    return labels


def build(store: Store, sweep_name: str, out_dir: Path) -> ReportResult:
    """The report of a sweep as far as it has run, into `out_dir`."""
    return write(source(store, sweep_name), out_dir)


def write(made: Source, folder: Path) -> ReportResult:
    """Analyse, draw and write everything; report.html comes last, so that it is there only when all is."""
    study = studies.get(made.study or DEFAULT_STUDY)
    settings = Settings.of({key: value for key, value in made.settings.items() if key != "pairs"})
    analysis = analyse(made, table(made, reasoning_items=settings.reasoning_items), study, settings)
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    drawn = [figure for name in (*study.parts, *ALWAYS) if name in TITLES and (figure := draw(name, analysis))]
    for figure in drawn:
        (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
        write_text(folder / "figures" / f"{figure.name}.svg", _standalone(figure.wide_svg))
    versions = software(made)
    for name, frame in {**analysis.tables, "software": versions}.items():
        write_text(folder / "tables" / f"{name}.csv", frame.to_csv(index=False))
        if len(frame):
            write_text(folder / "tables" / f"{name}.tex", to_latex(frame, _shown(name, frame), name))
    said = findings(analysis)
    write_json(folder / "findings.json", said)
    title = f"{study.title}: {made.sweep}" if made.sweep else study.title
    write_text(folder / "report.html", _page(title, analysis, drawn, said, versions, made))
    return ReportResult(
        folder / "report.html", made.sweep, title, tuple(said), analysis.tables,
        tuple(figure.name for figure in drawn), analysis.notes, analysis,
    )  # fmt: skip


def _standalone(svg: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'


EFFECTS = ("delta_points", "low_points", "high_points", "p_holm", "p_equivalent_holm", "verdict",
           "detectable_points", "n_items", "n_samples", "n_seeds")  # fmt: skip
SHOWN: Mapping[str, Sequence[str]] = {
    "effects": ("kind", "base", "algorithm", "train_domain", "evaluated", "weighting", *EFFECTS),
    "odds": ("base", "algorithm", "train_domain", "evaluated", "odds_ratio", "low", "high", "cmh_p",
             "cmh_corrected_p", "breslow_day_p", "paired_odds_ratio", "paired_low", "paired_high", "paired_p",
             "mcnemar_p", "n_items", "n_samples", "n_seeds"),
    "models": ("base", "algorithm", "train_domain", "seed", "step", "benchmark", "base_percent",
               "trained_percent", "delta_points", "n_items", "n_samples"),
}  # fmt: skip


GROUPS = ("base", "algorithm", "reward", "name", "warmup", "thinking", "augment", "length", "prompting")
CHANGES = (*GROUPS, "train_domain", "evaluated", *EFFECTS)
# Tables that are folded away: title and columns.
DETAILS: Mapping[str, tuple[str, Sequence[str]]] = {
    "matrix": ("Success of every source in every environment", (
        *GROUPS, "train_domain", "evaluated", "success_percent", "low_percent", "high_percent", "delta_points",
        "low_points", "high_points", "p_holm", "verdict", "n_items", "n_samples", "n_seeds")),
    "ood_scores": ("OOD scores: sums of ranks outside the training environment", (
        *GROUPS, "train_domain", "ood_score", "low_score", "high_score", "best_percent", "n_targets", "ranks",
        "left_out", "why")),
    "ood_change": ("Changes out of domain by both formulas", (
        "factor", "level", "reference", *GROUPS, "train_domain", "change_percent", "low_change_percent",
        "high_change_percent", "recovered_percent", "low_recovered_percent", "high_recovered_percent", "variant_sum",
        "plain_sum", "start_sum", "n_targets", "why")),
    "axes": ("The axes of the environments, as probed", (
        "environment", "policy", "chars_mean", "chars_low", "chars_high", "tokens_mean", "length_mean", "length_low",
        "length_high", "reach_mean", "reach_low", "reach_high", "cap", "episodes", "states", "failed", "too_long")),
    "correlations": ("OOD score and axes", (
        *GROUPS, "axis", "method", "correlation", "p", "smallest_p", "same_sign_percent", "n_environments", "sources",
        "policy")),
    "contrasts": ("Levels against each other", ("factor", "level", "reference", "evaluated", *EFFECTS)),
    "trajectory": ("Along training", ("kind", *GROUPS, "step", "evaluated", *EFFECTS)),
    "stages": ("What each stage changed", CHANGES),
    "odds": ("Odds ratios, as published and paired", (*GROUPS, *SHOWN["odds"][2:])),
    "mixed": ("Odds ratios with random items (sensitivity)", (
        *GROUPS, "train_domain", "evaluated", "mixed_odds_ratio", "low", "high", "mixed_p", "item_sd", "n_items",
        "n_seeds", "why")),
    "transferability": ("Transferability Index", (
        *GROUPS, "train_domain", "seed", "evaluated", "source_index", "target_index", "transferability",
        "why_undefined", "n_benchmarks")),
    "reasoning": ("Kinds of reasoning", (
        *GROUPS, "train_domain", "evaluated", "strategy", "base_percent", "trained_percent", "delta_points",
        "low_points", "high_points", "p_holm", "n_items", "n_samples", "n_seeds")),
    "dynamics": ("What training logged at each checkpoint", (
        *GROUPS, "train_domain", "seed", "step", "kl", "entropy", "reward", "completion_tokens", "cut_share",
        "outside_points")),
    "controls": ("Negative controls: the base against itself", ("base", "evaluated", *EFFECTS)),
    "pairs": ("The published models", (
        "model", "base", "domains", "subdomains", "family", "size_b", "provenance")),
    "models": ("Every trained model on every benchmark", (
        "name", "base", "algorithm", "train_domain", "seed", "step", "benchmark", "base_percent",
        "trained_percent", "delta_points", "n_items", "n_samples")),
    "more_scores": ("Scores that a benchmark reports beside pass@1", (
        "name", "base", "algorithm", "train_domain", "seed", "step", "benchmark", "score", "percent", "n_tasks")),
    "task_scores": ("The same by task", (
        "name", "base", "algorithm", "train_domain", "seed", "step", "benchmark", "task", "exact_match_percent",
        "balanced_accuracy_percent", "n_samples")),
}  # fmt: skip


def _shown(name: str, frame: pd.DataFrame) -> Sequence[str]:
    return SHOWN.get(name, [str(c) for c in frame.columns])


def _page(
    title: str,
    analysis: Analysis,
    drawn: Sequence[FigureFile],
    said: Sequence[str],
    versions: pd.DataFrame,
    made: Source,
) -> str:
    body = [
        _section("Findings", f'<ul class="findings">{"".join(f"<li>{html.escape(s)}</li>" for s in said)}</ul>'),
        _section("Figures", "".join(_figure(figure) for figure in drawn) or "<p>No figure can be drawn yet.</p>"),
        _section("Tables", _tables(analysis)),
        _section("Missing and left out", _missing(analysis)),
        _section(
            "Data",
            to_html(analysis.tables["data"], [str(c) for c in analysis.tables["data"] if c != "condition"]),
        ),
        _section("Methods", "".join(f"<p>{html.escape(p)}</p>" for p in methods(analysis.study, analysis.settings))),
        _section("Software", _software(versions)),
    ]
    if made.text:
        body.append(
            _section(
                "The sweep",
                f"<details><summary>Its file</summary><pre>{html.escape(made.text)}</pre></details>",
            )
        )
    folder = resources.files("experiments") / "templates"
    page = Template((folder / "report.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=html.escape(title),
        question=html.escape(analysis.study.question),
        css=(folder / "report.css").read_text(encoding="utf-8"),
        facts=_facts(analysis),
        body="\n".join(body),
    )


def _software(versions: pd.DataFrame) -> str:
    wide, mixed = by_use(versions), mixed_code(versions)
    notice = f'<p class="notice">{html.escape(mixed)}.</p>' if mixed else ""
    return notice + to_html(wide, [str(c) for c in wide.columns])


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>"


def _figure(figure: FigureFile) -> str:
    links = f'<a href="figures/{figure.name}.png">PNG</a>, <a href="figures/{figure.name}.svg">SVG</a>'
    return (
        f'<figure id="figure-{figure.name}"><h3>{html.escape(figure.title)}</h3>'
        f'<div class="wide">{figure.wide_svg}</div><div class="narrow">{figure.narrow_svg}</div>'
        f"<figcaption>{html.escape(figure.caption)} Files beside this report: {links}.</figcaption></figure>"
    )


def _facts(analysis: Analysis) -> str:
    comparison = analysis.comparison
    data = analysis.tables["data"]
    numbers = {
        "models compared" if analysis.study.models_are_replicates else "training runs compared": len(
            {u.run for u in comparison.units}
        ),
        "base models": len({u.base for u in comparison.units}),
        "benchmarks": len(comparison.benchmarks),
        "items": int(data["n_items"].sum()) if len(data) else 0,
        "samples": int(data["n_samples"].sum()) if len(data) else 0,
        "evaluations not finished": len(analysis.tables["missing"]),
    }
    return "".join(f"<li><b>{value:,}</b><span>{html.escape(name)}</span></li>" for name, value in numbers.items())


def _tables(analysis: Analysis) -> str:
    keys = [*varying(analysis), "train_domain", "evaluated"]
    parts = []
    for kind, title in (
        ("average", "Averages"),
        ("arm", "By training domain"),
        ("cell", "By evaluated domain"),
    ):
        shown = analysis.effects(kind)
        if len(shown):
            parts.append(f"<h3>{title}</h3>" + to_html(shown, [*keys, *EFFECTS], mark="in_domain"))
    for name, (title, columns) in DETAILS.items():
        table = analysis.tables[name]
        shown = table if "weighting" not in table else table[table["weighting"] == analysis.settings.weighting]
        if len(shown):
            inner = to_html(shown, [c for c in columns if c not in GROUPS or c in keys], mark="in_domain")
            parts.append(f"<details><summary>{html.escape(title)}</summary>{inner}</details>")
    answers = analysis.tables["answers"]
    ended = to_html(answers, list(answers.columns))
    parts.append(f"<details><summary>How the answers ended</summary>{ended}</details>")
    parts.append("<p>All tables lie as CSV and LaTeX in the folder <code>tables</code> beside this report.</p>")
    return "".join(parts)


def _missing(analysis: Analysis) -> str:
    missing = analysis.tables["missing"]
    parts = [f"<p>{html.escape(note)}.</p>" for note in analysis.notes]
    if len(missing):
        parts.append("<p>Evaluations that are not finished:</p>" + to_html(missing, list(missing.columns)))
    if not parts:
        parts.append("<p>Nothing: every evaluation of the sweep is finished, and every sample has a score.</p>")
    return "".join(parts)
