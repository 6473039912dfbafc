"""Rejection sampling: a model answers training prompts, and the answers that the reward judges right are kept.

The evaluation engine samples and the benchmarks' scorers judge, resumable to the sample. Owns the
`trajectories/` of jobs of kind `sample`; it trains nothing. Heavy libraries are the engine's to import.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluators import benchmarks
from evaluators.benchmark import Outcome, Sampler
from evaluators.engine import Ended, EngineError
from evaluators.plan import Task
from evaluators.prompts import for_scorer
from evaluators.records import Record
from evaluators.run import Evaluation
from manager.atomic import sync_directory
from manager.run import Failed, Run
from trainers import data, prepare


def main(run: Run) -> dict[str, Any]:
    """Sample, judge, keep; returns the result summary."""
    try:
        return RejectionSampling(run).run()
    except EngineError as error:
        raise Failed(str(error), cause=error.cause) from error


class RejectionSampling(Evaluation):
    """The evaluation of a model on training prompts, whose right answers become demonstrations."""

    def _read_tasks(self) -> list[Task]:
        """One task for each benchmark whose prompt and scorer the prepared prompts use."""
        cache = Path(os.environ.get("MANAGER_PREPARED_DATA") or self._run.path.parents[1] / "prepared")
        prepared = prepare.prepare(self._run.config["data"], cache, data.data_dir(self._run.config))
        self._run.event("data", f"{prepared.rows} prompts, digest {prepared.digest[:12]}", digest=prepared.digest,
                        rows=prepared.rows, left_out=prepared.left_out)  # fmt: skip
        items: dict[str, dict[str, Any]] = {}
        self._domains: dict[tuple[str, str], str] = {}
        for row in prepare.load(prepared):
            item = prepare.item_of(row["item"])
            if item.id in items.setdefault(row["benchmark"], {}):
                raise Failed(f"data.sources: two prompts of {row['benchmark']} have the id {item.id}", cause="data")
            items[row["benchmark"]][item.id] = item
            self._domains[row["benchmark"], item.id] = row["domain"]
        sampling = self._run.config["sampling"]
        sampler = Sampler(self._run.config["samples"], sampling["temperature"], sampling["top_p"],
                          sampling["max_tokens"], ())  # fmt: skip
        return [
            Task(benchmarks.get(name), sampler, benchmarks.get(name).domain, None, tuple(found.values()))
            for name, found in items.items()
        ]

    def _reuse(self) -> None:
        """Nothing: evaluations ask other items."""

    def _log_if_complete(self, task: Task) -> None:
        """Nothing: a share of right answers to training prompts is no score of the benchmark."""

    def _finish(self) -> dict[str, Any]:
        self._run.progress(self._tally.done(), self._total, "sample", tokens=self._tally.tokens)
        self._files.close(complete=True)
        summary = self._write()
        for domain, counts in summary.items():
            self._run.log({f"sampled/{domain}/{name}": float(value) for name, value in counts.items()}, self._step)
        if not any(counts["kept"] for counts in summary.values()):
            raise Failed(
                f"data: none of {self._total} answers is right, so there is nothing to train on; "
                "take an easier domain, a better model, or more samples",
                cause="nothing_kept",
            )
        return {"trajectories": summary, "model_step": self._step}

    def _write(self) -> dict[str, dict[str, int]]:
        """The kept answers of each domain, a file each; prompts in the order of the data."""
        summary: dict[str, dict[str, int]] = {}
        rows: dict[str, list[dict[str, Any]]] = {}
        for task in self._tasks:
            records = by_item(self._files.finished(task.name))
            for item in task.items:
                domain = self._domains[task.name, item.id]
                counts = summary.setdefault(domain, {"prompts": 0, "answers": 0, "right": 0, "solved": 0, "kept": 0})
                right = [one for one in records.get(item.id, ()) if is_right(one)]
                chosen = keep(right, self._run.config["keep"])
                counts["prompts"] += 1
                counts["answers"] += len(records.get(item.id, ()))
                counts["right"] += len(right)
                counts["solved"] += bool(right)
                counts["kept"] += len(chosen)
                rows.setdefault(domain, []).extend(self._row(domain, task, item, one) for one in chosen)
        for domain, found in rows.items():
            write_rows(self._run.path / "trajectories" / f"{domain}.jsonl", found)
        return summary

    def _row(self, domain: str, task: Task, item: Any, record: Record) -> dict[str, Any]:
        messages = list(task.benchmark.messages(item))
        if self._prompting.system is not None:
            messages = [{"role": "system", "content": self._prompting.system}, *messages]
        return {
            "environment": domain, "task": item.id, "step": 0, "messages": messages,
            "completion": for_scorer(record.text, in_thinking=record.in_thinking), "success": True,
            "benchmark": task.name, "sample": record.sample,
        }  # fmt: skip


def by_item(records: Iterator[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.item, []).append(record)
    return found


def is_right(record: Record) -> bool:
    """Judged right, and ended by the model: an answer that was cut off would teach never to end."""
    return record.outcome is Outcome.RIGHT and record.ended is Ended.STOP


def keep(right: list[Record], most: int) -> list[Record]:
    """At most `most` different answers, the first by the number of their sample."""
    different: dict[str, Record] = {}
    for record in sorted(right, key=lambda one: one.sample):
        different.setdefault(record.text, record)
    return list(different.values())[:most]


def write_rows(path: Path, rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)
