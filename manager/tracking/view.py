"""The study as a ready view of MLflow's UI: pass@1 by checkpoint step, and domain and seed against it.

MLflow keeps a shared view as a tag of the experiment; a link with its key opens it. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from manager.job import Kind, Sweep

VIEW_KEY = "study"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
PASS = "/pass_at_1"


def view_link(experiment_id: str) -> str:
    """Where the view is, under any server's address."""
    mode = "workflowType=machine_learning&compareRunsMode=CHART"
    return f"#/experiments/{experiment_id}/runs?{mode}&viewStateShareKey={VIEW_KEY}"


def study_view(sweep: Sweep, metrics: Sequence[str]) -> str | None:
    """The view as MLflow's UI reads it; None where the sweep trains nothing."""
    if not any(entry.job.kind is Kind.RL for entry in sweep.jobs):
        return None
    judged = sorted(name for name in metrics if name.endswith(PASS))
    domains = [name for name in judged if name.removesuffix(PASS) in _domains(sweep)] or judged
    transfer = "transfer"
    charts = [_parallel("domain-seed", transfer, domains)]
    charts += [_line(f"line {name}", transfer, [name], name) for name in domains]
    if len(domains) > 1:
        charts.append(_line("line all", transfer, domains, "pass@1 on all domains"))
    state = {
        "searchFilter": "tags.kind = 'rl'",
        # Any order but the default one: MLflow then shows the runs themselves, not their closed parents.
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": [f"tags.`{name}`" for name in ("stage", "domain", "seed", "state")],
        "compareRunCharts": charts,
        "compareRunSections": [_section(transfer, "Transfer by checkpoint step")],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    return json.dumps(state, separators=(",", ":"), sort_keys=True)


def _domains(sweep: Sweep) -> set[str]:
    return {
        str(spec.get("domain"))
        for entry in sweep.jobs
        if entry.job.kind is Kind.EVALUATE
        for spec in entry.job.config.get("benchmarks") or ()
    }


def _section(key: str, name: str) -> dict[str, Any]:
    return {"uuid": key, "name": name, "display": True, "isReordered": False, "isGenerated": False}


def _line(key: str, section: str, metrics: Sequence[str], title: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "uuid": key,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": title,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "displayPoints": True,
        "range": {},
        "selectedXAxisMetricKey": "",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _parallel(key: str, section: str, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "uuid": key,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": "domain × seed against pass@1",
        "selectedParams": ["data.domain", "seed"],
        "selectedMetrics": list(metrics),
        "showAllRuns": False,
        "runsCountToCompare": 100,
    }
