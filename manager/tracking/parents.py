"""The runs of a sweep and of its stages: status, counts, description, the report and its figures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from manager.job import Kind, Sweep
from manager.store import Store
from manager.tracking.names import MAX_TAG_VALUE, tags_of
from manager.tracking.projection import JobFacts, RunStatus, milliseconds, status_of
from manager.tracking.send import ARTIFACTS_TAG, Sent
from manager.tracking.view import VIEW_TAG, study_view, view_link

if TYPE_CHECKING:
    from manager.tracking.client import StoredRun, TrackingClient

NOTE = "mlflow.note.content"
VIEW_MARK = "manager.view"  # digest of the view that the experiment has
REPORT_FOLDER = "report"


def send_stage(
    client: TrackingClient, run: StoredRun, status: RunStatus, facts: Sequence[JobFacts], total: int
) -> StoredRun:
    run = _status(client, run, status, facts)
    return _tags(client, run, {"jobs": _count_text(facts, total)})


def send_sweep(
    client: TrackingClient,
    experiment_id: str,
    run: StoredRun,
    sweep: Sweep,
    store: Store,
    status: RunStatus,
    facts: Sequence[JobFacts],
    metrics: Sequence[str],
) -> tuple[StoredRun, Sent]:
    """The sweep's run, the experiment's description and its view. `metrics`: what evaluations measured."""
    run = _status(client, run, status, facts)
    files = report_files(sweep, store, facts)
    tags = {
        "study": sweep.study or "",
        "jobs": _count_text(facts, len(sweep.jobs)),
        "store": str(store.root),
        NOTE: describe(sweep, facts, experiment_id, run.id, files),
    }
    view = study_view(sweep, metrics)
    if view is not None:
        tags[VIEW_MARK] = hashlib.sha256(view.encode()).hexdigest()[:16]
        if run.tags.get(VIEW_MARK) != tags[VIEW_MARK]:
            client.tag_experiment(experiment_id, {VIEW_TAG: view})
    if run.tags.get(NOTE) != tags[NOTE]:
        client.tag_experiment(experiment_id, {NOTE: tags[NOTE]})
    run, sent = _report(client, run, sweep, files)
    return _tags(client, run, {name: value for name, value in tags.items() if value}), sent


def _status(client: TrackingClient, run: StoredRun, status: RunStatus, facts: Sequence[JobFacts]) -> StoredRun:
    end_ms = None
    if status not in (RunStatus.RUNNING, RunStatus.SCHEDULED):
        ends = [(f.result or f.end or {}).get("finished") or f.last_sign_s for f in facts]
        end_ms = max((milliseconds(end) for end in ends if end is not None), default=run.start_ms)
    if run.status == status.value and (end_ms is None or run.end_ms == end_ms):
        return run
    client.set_status(run.id, status, end_ms, None)
    return replace(run, status=status.value, end_ms=end_ms)


def _tags(client: TrackingClient, run: StoredRun, tags: Mapping[str, str]) -> StoredRun:
    changed = {name: value for name, value in tags_of(tags).items() if run.tags.get(name) != value}
    if not changed:
        return run
    client.send_tags(run.id, changed)
    return replace(run, tags={**run.tags, **changed})


def _count_text(facts: Sequence[JobFacts], total: int) -> str:
    counts = Counter(status_of(f) for f in facts)
    words = [f"{counts[RunStatus.FINISHED]} of {total} done"]
    for status, word in (
        (RunStatus.RUNNING, "running"),
        (RunStatus.FAILED, "failed"),
        (RunStatus.KILLED, "stopped"),
    ):
        if counts[status]:
            words.append(f"{counts[status]} {word}")
    return ", ".join(words)


# The report


def report_files(sweep: Sweep, store: Store, facts: Sequence[JobFacts]) -> dict[str, Path]:
    """Files of the report by their place under the run's artifacts: of the report jobs, else of the sweep."""
    files: dict[str, Path] = {}
    done = [f for f in facts if f.entry.job.kind is Kind.REPORT and f.result and f.result.get("report")]
    for fact in done:
        assert fact.result is not None
        report = store.run(fact.entry.job.id).path / str(fact.result["report"])
        folder = REPORT_FOLDER if len(done) == 1 else f"{REPORT_FOLDER}/{fact.entry.stage}-{fact.entry.job.id[:6]}"
        files |= _below(report.parent, folder)
    return files or _below(store.sweep_dir(sweep.name) / REPORT_FOLDER, REPORT_FOLDER)


def _below(root: Path, folder: str) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    return {f"{folder}/{p.relative_to(root).as_posix()}": p for p in sorted(root.rglob("*")) if p.is_file()}


def _report(client: TrackingClient, run: StoredRun, sweep: Sweep, files: Mapping[str, Path]) -> tuple[StoredRun, Sent]:
    """Send the report's files where any of them changed. A store that refuses files is told, not raised."""
    from manager.tracking.client import TrackingError

    stats = {place: path.stat() for place, path in files.items()}
    mark = repr([(place, s.st_size, s.st_mtime_ns) for place, s in stats.items()]) + sweep.text
    digest = hashlib.sha256(mark.encode()).hexdigest()[:16]
    if run.tags.get(ARTIFACTS_TAG) == digest:
        return run, Sent()
    try:
        if sweep.text:
            client.send_text(run.id, "sweep.yaml", sweep.text)
        for place, path in files.items():
            client.send_file(run.id, path, place.rpartition("/")[0])
    except TrackingError as error:
        return run, Sent(waiting=(f"the report of {sweep.name} could not be sent: {error}",))
    return _tags(client, run, {ARTIFACTS_TAG: digest}), Sent(artifacts=len(files))


def describe(
    sweep: Sweep, facts: Sequence[JobFacts], experiment_id: str, run_id: str, files: Mapping[str, Path]
) -> str:
    """What the sweep is, how far it is and where its report is, in Markdown."""
    by_stage: dict[str, list[JobFacts]] = {}
    for fact in facts:
        by_stage.setdefault(fact.entry.stage, []).append(fact)
    lines = [f"Sweep **{sweep.name}**" + (f", study **{sweep.study}**" if sweep.study else ""), ""]
    pages = [place for place in files if place.endswith(".html")]
    link = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts"
    for place in pages[:5]:
        lines += [f"Report: [{place}]({link}/{place})", ""]
    if any(entry.job.kind is Kind.RL for entry in sweep.jobs):
        lines.append(f"Charts: [transfer by checkpoint step]({view_link(experiment_id)})")
    lines.append("")
    lines += ["| stage | jobs |", "|---|---|"]
    for stage in dict.fromkeys(entry.stage for entry in sweep.jobs):
        total = sum(entry.stage == stage for entry in sweep.jobs)
        lines.append(f"| {stage} | {_count_text(by_stage.get(stage, []), total)} |")
    findings = [
        str(text) for f in facts if f.entry.job.kind is Kind.REPORT for text in (f.result or {}).get("findings", ())
    ]
    if findings:
        lines += ["", "Findings:", *(f"- {text}" for text in findings)]
    text = "\n".join(lines)
    return text if len(text) <= MAX_TAG_VALUE else text[: MAX_TAG_VALUE - 1] + "…"
