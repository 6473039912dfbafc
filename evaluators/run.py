"""The evaluation job: one engine load for all its benchmarks, every sample accounted for.

Resumable to the sample: what is generated is put down at once, scored in other processes while generation
goes on, and recorded. Reads and writes the run directory only through manager.run and evaluators.records.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluators.benchmark import Item, Outcome, Score
from evaluators.engine import (
    Completion,
    Ended,
    Engine,
    EngineDied,
    EngineError,
    EngineSettings,
    Request,
    load,
    over_all_gpus,
)
from evaluators.plan import Owed, Task, owed, read_task
from evaluators.prompts import Prompter, Prompting, for_scorer, opens_thinking
from evaluators.records import Key, OutcomeFiles, Record
from evaluators.reuse import shared
from evaluators.scorer_pool import ScorerPool
from evaluators.scorer_pool import Task as ScoreTask
from evaluators.summary import benchmark_summary, domain_scores, more_scores
from manager.atomic import read_json
from manager.errors import UserError
from manager.job import Kind
from manager.run import Failed, Run, Stopped

ENGINE_STARTS = 2  # an engine that dies is started again once
FEW = 0.01  # so many of the samples may stay without a completion where asking again did not help


def main(run: Run) -> dict[str, Any]:
    """Evaluate the model of the job on its benchmarks, or environments; the summary for result.json."""
    try:
        if "agent" in run.config:
            from evaluators.episodes import EpisodeEvaluation

            return EpisodeEvaluation(run, model_step(run)).run()
        return Evaluation(run).run()
    except EngineError as error:
        raise Failed(str(error), cause=error.cause) from error


@dataclass
class Tally:
    """What is done, for progress and for the metrics of a benchmark as soon as it is complete."""

    records: dict[str, dict[Key, Record]] = field(default_factory=dict)
    tokens: int = 0
    again: list[str] = field(default_factory=list)  # why samples have no completion that may have one later

    def done(self) -> int:
        return sum(len(records) for records in self.records.values())


class Evaluation:
    """One attempt at an evaluation job."""

    def __init__(self, run: Run, load: Callable[[str, EngineSettings], Engine] = load) -> None:
        self._run, self._load = run, load
        config = run.config
        # None: the benchmarks look where the machine keeps its data.
        self._data_dir = Path(config["data_dir"]) if config.get("data_dir") else None
        try:
            self._prompting = Prompting.parse(config.get("prompting"))
        except UserError as error:
            raise Failed(str(error), cause="prompting") from error
        self._shard = config.get("shard")
        self._tasks = self._read_tasks()
        self._by_name = {task.name: task for task in self._tasks}
        self._total = sum(task.total for task in self._tasks)
        self._step = model_step(run)
        self._files = OutcomeFiles(run.directory.outcomes)
        self._tally = Tally()
        self._lock = threading.Lock()
        self._in_thinking: set[tuple[str, str, int]] = set()  # asked with a prompt that ends in thinking, not yet back

    def _read_tasks(self) -> list[Task]:
        return [read_task(entry, self._data_dir, self._shard) for entry in self._run.config["benchmarks"]]

    def run(self) -> dict[str, Any]:
        for task in self._tasks:
            wanted = set(task.keys())
            found = {key: record for key, record in self._files.load(task.name).items() if key in wanted}
            self._tally.records[task.name] = found
            self._log_if_complete(task)
        self._reuse()
        if self._tally.done() == self._total:
            return self._finish()
        pool = ScorerPool(scorer_count(), self._by_name)
        try:
            self._evaluate(pool)
            if not pool.finish(lambda: self._run.stop_requested):
                raise Stopped(self._run.stop_reason)
        except BaseException:
            pool.abandon()
            self._files.close()
            raise
        self._check_complete()
        return self._finish()

    def _check_complete(self) -> None:
        """A server that was away for a while leaves holes: another attempt asks for these, and only for these."""
        lacking = self._tally.again
        tried_again = int(self._run.attempt_dir.name) > 1
        if lacking and not (tried_again and len(lacking) <= FEW * self._total):
            self._files.close()
            raise Failed(
                f"{len(lacking)} of {self._total} samples have no completion: {lacking[0]}; the next attempt asks for "
                "these alone",
                cause="engine_failed", retryable=True,
            )  # fmt: skip

    def _reuse(self) -> None:
        """Take over the records that other jobs have of the same samples."""
        if self._tally.done() == self._total:
            return
        taken: dict[str, int] = {}
        for job, name, record in shared(self._run, self._tasks, self._tally.records):
            self._files.write(name, record)
            self._tally.records[name][record.key] = record.slim()
            taken[job] = taken.get(job, 0) + 1
        for job, count in taken.items():
            self._run.event("reused", f"{count} records of job {job}", job=job, records=count)
        if taken:
            for task in self._tasks:
                self._log_if_complete(task)

    def _evaluate(self, pool: ScorerPool) -> None:
        """Score what an earlier attempt generated, then generate and score the rest."""
        seeds = {work_key(work): work for work in self._owed()}
        if len(seeds) < self._total:
            self._run.event("resumed", f"{self._total - len(seeds)} of {self._total} samples have their record")
        for task in self._tasks:
            for completion in self._files.load_generated(task.name):
                work = seeds.pop(completion.key, None)
                if work is not None:
                    self._submit(pool, work, completion)
        for start in range(1, ENGINE_STARTS + 1):
            works = list(seeds.values())
            if not works:
                return
            try:
                self._generate(pool, works, seeds)
                return
            except EngineDied as error:
                self._run.event("engine_died", str(error), start=start, owed=len(seeds))
                if start == ENGINE_STARTS:
                    self._mark_failed(list(seeds.values()), str(error))
                    raise Failed(
                        f"the engine died twice: {error}; {len(seeds)} samples are marked engine_failed",
                        cause="engine_died", retryable=True,
                    ) from error  # fmt: skip

    def _owed(self) -> list[Owed]:
        return owed(self._tasks, self._run.config["seed"], self._tally.records)

    def _generate(self, pool: ScorerPool, works: list[Owed], owing: dict[tuple[str, str, int], Owed]) -> None:
        """One engine, from load to close. `owing` loses what has come back."""
        config = self._run.config
        name, own = config["engine"]["name"], {k: v for k, v in config["engine"].items() if k != "name"}
        options = over_all_gpus(name, own, self._run.job.resources.gpus_per_node)
        path, revision = self._run.model_path()
        began = time.monotonic()
        engine = self._load(name, EngineSettings(path, revision, options, config["seed"]))
        took = time.monotonic() - began
        self._run.event("engine_loaded", f"{name} in {took:.1f} s", seconds=round(took, 2))
        try:
            requests = self._requests(engine, works, pool, owing)
            for completion in engine.generate(requests, lambda: self._run.stop_requested):
                work = owing.pop(completion.key)
                if completion.key in self._in_thinking:
                    self._in_thinking.discard(completion.key)
                    completion = replace(completion, in_thinking=True)
                if completion.too_long:
                    self._record(work, completion, Score(0.0, Outcome.TOO_LONG, None, completion.failed))
                elif completion.failed:
                    self._tally.again += [completion.failed] if completion.again else []
                    self._record(work, completion, Score(None, Outcome.ENGINE_FAILED, None, completion.failed))
                else:
                    self._files.write_generated(completion)
                    self._submit(pool, work, completion)
            if self._run.stop_requested:
                raise Stopped(self._run.stop_reason)
        finally:
            engine.close()

    def _requests(
        self, engine: Engine, works: list[Owed], pool: ScorerPool, owing: dict[tuple[str, str, int], Owed]
    ) -> Iterator[Request]:
        """Requests as the engine has room for them; a prompt that does not fit is recorded as such."""
        prompters = {
            task.name: Prompter.of(task.benchmark, self._prompting, engine, self._data_dir) for task in self._tasks
        }
        last: tuple[Owed, Any] | None = None
        for work in works:
            if last is not None and last[0].item is work.item and last[0].task is work.task:
                prompt = last[1]  # the samples of an item share their prompt
            else:
                prompt = render(prompters[work.task.name], work)
                last = (work, prompt)
            sampler = work.task.sampler
            room = sampler.max_tokens
            if prompt.tokens is not None and engine.context_tokens is not None:
                room = min(room, engine.context_tokens - len(prompt.tokens))
                if room < 1:
                    owing.pop(work_key(work))
                    why = f"{len(prompt.tokens)} tokens of prompt, {engine.context_tokens} of context"
                    nothing = Completion(work_key(work), "", Ended.EMPTY, len(prompt.tokens), 0)
                    self._record(work, nothing, Score(0.0, Outcome.TOO_LONG, None, why))
                    continue
            if prompt.tokens is not None and opens_thinking(prompt.text):  # else a server applies the template
                self._in_thinking.add(work_key(work))
            yield Request(
                work_key(work), prompt, work.seed, room, sampler.temperature, sampler.top_p,
                prompters[work.task.name].stop(sampler.stop),
            )  # fmt: skip

    def _submit(self, pool: ScorerPool, work: Owed, completion: Completion) -> None:
        truncated = completion.ended is Ended.LENGTH
        pool.submit(
            ScoreTask(
                work.task.name,
                work.item,
                for_scorer(completion.text, in_thinking=completion.in_thinking),
                truncated,
                lambda score: self._record(work, completion, score),
            )
        )

    def _record(self, work: Owed, completion: Completion, score: Score) -> None:
        """Called from the scorers' threads too: a record, progress, the metrics of what became complete."""
        record = Record.of(completion, work.seed, score, gold_text(work.item))
        with self._lock:
            self._files.write(work.task.name, record)
            self._tally.records[work.task.name][record.key] = record.slim()
            self._tally.tokens += completion.completion_tokens
            self._run.progress(self._tally.done(), self._total, "sample", tokens=self._tally.tokens)
            self._log_if_complete(work.task)

    def _mark_failed(self, works: list[Owed], why: str) -> None:
        for work in works:
            nothing = Completion(work_key(work), "", Ended.EMPTY, None, 0, failed=why)
            self._record(work, nothing, Score(None, Outcome.ENGINE_FAILED, None, why))

    def _log_if_complete(self, task: Task) -> None:
        records = self._tally.records[task.name]
        if len(records) == task.total and not self._shard:  # the score of a part is nobody's score
            score = self._summary(task)["pass_at_1"]
            if score is not None:
                self._run.log({f"{task.name}/pass@1": score}, self._step)

    def _summary(self, task: Task) -> dict[str, Any]:
        records = list(self._tally.records[task.name].values())
        summary = benchmark_summary(records, task.domain, task.subdomain, task.sampler.samples)
        return summary | more_scores(task.benchmark, records, {item.id: gold_text(item) for item in task.items})

    def _finish(self) -> dict[str, Any]:
        summaries = {task.name: self._summary(task) for task in self._tasks}
        if not self._shard:
            scores = {f"{domain}/pass@1": score for domain, score in domain_scores(summaries).items()}
            self._run.log({name: score for name, score in scores.items() if score is not None}, self._step)
        self._run.progress(self._tally.done(), self._total, "sample", tokens=self._tally.tokens)
        self._files.close(complete=True)
        summary = {"benchmarks": summaries, "model_step": self._step}
        return {**summary, "shard": dict(self._shard)} if self._shard else summary


def work_key(work: Owed) -> tuple[str, str, int]:
    return work.task.name, work.item.id, work.sample


def render(prompter: Prompter, work: Owed) -> Any:
    """The item's prompt; an item that lacks what its benchmark needs is told with its id."""
    try:
        return prompter.prompt(work.item)
    except UserError as error:
        raise Failed(str(error), cause="data") from error
    except (KeyError, TypeError) as error:
        raise Failed(
            f"benchmarks.{work.task.name}: item {work.item.id} cannot be asked, "
            f"{type(error).__name__} {error}; is the data of the pinned revision?",
            cause="data",
        ) from error


def gold_text(item: Item) -> str | None:
    """The gold answer as text, for people who read the records."""
    return None if item.answer is None else str(item.answer)[:2000]


def scorer_count() -> int:
    """One process for every core this job may use but the one that feeds the engine."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def model_step(run: Run) -> int:
    """The step of reinforcement learning that the model is from; 0 for a base, also one made by supervised training.

    So that the charts of a study begin with the base at 0 and go on with its checkpoints.
    """
    model = run.config["model"]
    if "need" in model and run.need(model["need"]).job().kind is Kind.SFT:
        return 0
    if isinstance(model.get("checkpoint"), int):
        return int(model["checkpoint"])
    path, _ = run.model_path()
    complete = read_json(Path(path) / "COMPLETE.json") if os.path.isdir(path) else None
    return int(((complete or {}).get("source") or {}).get("step") or 0)
