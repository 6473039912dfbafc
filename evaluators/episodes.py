"""Jobs that play episodes: what is shared by evaluating, probing and collecting, and the evaluation of an agent.

Resumable to the episode: a finished one is a line of `episodes/<environment>.jsonl`; one that a kill interrupted is
played again from its start, with the same seeds. Reads and writes the run directory only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluators.agent import AgentSettings, Episode
from evaluators.benchmark import Outcome, Sampler, Score
from evaluators.engine import (
    Completion,
    Ended,
    Engine,
    EngineDied,
    EngineError,
    EngineSettings,
    load,
    over_all_gpus,
    sample_seed,
)
from evaluators.environment_files import placed
from evaluators.environments import facts
from evaluators.player import EngineFailed, Player, Work
from evaluators.records import OutcomeFiles, Record
from evaluators.summary import benchmark_summary, domain_scores, mean
from evaluators.worlds import Worlds
from manager.atomic import JsonlWriter, read_jsonl
from manager.errors import UserError
from manager.run import Failed, Run, Stopped

AT_ONCE = 64  # environments of one kind that are played side by side
ENGINE_STARTS = 2  # an engine that dies is started again once


@dataclass(frozen=True)
class Played:
    """One environment of a job: what is played in it."""

    name: str  # in the sweep
    environment: str
    options: Mapping[str, Any]
    split: str
    sampler: Sampler
    tasks: tuple[int, ...]

    @property
    def total(self) -> int:
        return len(self.tasks) * self.sampler.samples

    def works(self, seed: int) -> Iterator[Work]:
        for task in self.tasks:
            for sample in range(self.sampler.samples):
                yield Work(self.name, task, sample, sample_seed(seed, self.name, str(task), sample), self.split)


def task_count(entry: Mapping[str, Any]) -> int | None:
    """How many tasks the environment of a config's entry has (None: without end), which this code can play."""
    name, data = entry["name"], entry["data"]
    kind = data["environment"]
    try:
        known = facts(kind)
        if known.version != entry["version"]:
            raise Failed(
                f"environments.{name}.version: the job was made for version {entry['version']}, this code has "
                f"{known.version}; plan the sweep again, or use the code that made the job",
                cause="benchmark_version",
            )
        worlds = Worlds(kind, data["options"], 1)
        count = worlds.all[0].task_count(data["split"])
        worlds.close()
    except UserError as error:
        raise Failed(str(error), cause="environment") from error
    return count


def read_played(entry: Mapping[str, Any]) -> Played:
    """A config entry (`benchmarks`), checked against this code and against how many tasks there are."""
    name, data = entry["name"], entry["data"]
    count = task_count(entry)
    last = data["first_task"] + entry["limit"]
    if count is not None and last > count:
        raise Failed(
            f"environments.{name}: tasks {data['first_task']} to {last - 1} of {data['split']} are asked for, "
            f"and there are {count}; lower episodes",
            cause="environment",
        )
    sampler = Sampler(**{**entry["sampler"], "stop": tuple(entry["sampler"].get("stop") or ())})
    tasks = tuple(range(data["first_task"], last))
    return Played(name, data["environment"], data["options"], data["split"], sampler, tasks)


class EpisodeFiles:
    """The episodes of one job, by environment; each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, JsonlWriter] = {}

    def read(self, name: str) -> Iterator[Episode]:
        seen: set[tuple[int, int]] = set()
        for value in read_jsonl(self._folder / f"{name}.jsonl"):
            episode = Episode.from_json(value)
            if (episode.task, episode.sample) not in seen:
                seen.add((episode.task, episode.sample))
                yield episode

    def write(self, episode: Episode) -> None:
        if episode.environment not in self._writers:
            self._writers[episode.environment] = JsonlWriter(self._folder / f"{episode.environment}.jsonl")
        self._writers[episode.environment].write(episode.to_json())

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close(durable=True)
        self._writers = {}


Keep = Callable[[Episode], None]
Tally = dict[str, float | None]  # what is told of one episode beside its outcome


class EpisodeJob:
    """One attempt at a job that plays episodes. `keep` is given each as it is finished, also those found."""

    def __init__(
        self, run: Run, keep: Keep = lambda episode: None, load: Callable[[str, EngineSettings], Engine] = load
    ) -> None:
        self.run, self._keep, self._load = run, keep, load
        config = run.config
        self.settings = AgentSettings.parse(config.get("agent"))
        entries = [placed(entry, run.job.resources.files) for entry in config["benchmarks"]]
        self.played = {entry["name"]: read_played(entry) for entry in entries}
        self.files = EpisodeFiles(run.path / "episodes")
        self._lock = threading.Lock()
        self._done: set[Work] = set()
        self.total = sum(played.total for played in self.played.values())

    def play(self) -> None:
        """Until every episode is there."""
        works = [work for played in self.played.values() for work in played.works(self.run.config["seed"])]
        by_key = {(work.environment, work.task, work.sample): work for work in works}
        for name in self.played:
            for episode in self.files.read(name):
                work = by_key.get((name, episode.task, episode.sample))
                if work is not None:
                    self._done.add(work)
                    self._keep(episode)
        if self._done:
            self.run.event("resumed", f"{len(self._done)} of {self.total} episodes are there")
        self._tell()
        try:
            if self.run.config.get("policy") == "oracle":
                self._play_oracle([work for work in works if work not in self._done])
            else:
                self._play_model(works, by_key)
        finally:
            self.files.close()
        self._tell_too_long()

    def _tell_too_long(self) -> None:
        """An event for each environment in which prompts outgrew the context: failures that are not the policy's."""
        for name in self.played:
            why = [episode.too_long for episode in self.files.read(name) if episode.too_long]
            if why:
                self.run.event(
                    "prompts_too_long", f"{name}: {len(why)} of {self.played[name].total} episodes ended because the "
                    f"prompt of a step did not fit the context, as in: {why[0]}", environment=name, episodes=len(why),
                )  # fmt: skip

    def cap(self, name: str) -> int:
        """The steps that an episode may take; 1 where the environment has no such option."""
        return int(self.played[name].options.get("cap", 1))

    def _finished(self, by_key: Mapping[tuple[str, int, int], Work]) -> Keep:
        def finished(episode: Episode) -> None:
            with self._lock:
                self.files.write(episode)
                self._done.add(by_key[episode.environment, episode.task, episode.sample])
                self._keep(episode)
                self._tell()

        return finished

    def _tell(self) -> None:
        self.run.progress(len(self._done), self.total, "episode")

    def _play_oracle(self, works: Sequence[Work]) -> None:
        """By the plans of the environments themselves, one after another."""
        from evaluators.oracle import play_oracle

        worlds: dict[str, Worlds] = {}
        finished = self._finished({(work.environment, work.task, work.sample): work for work in works})
        try:
            for work in works:
                if self.run.stop_requested:
                    raise Stopped(self.run.stop_reason)
                if work.environment not in worlds:
                    worlds[work.environment] = self._worlds(work.environment, 1)
                finished(play_oracle(worlds[work.environment].all[0], work, self.settings))
        finally:
            for one in worlds.values():
                one.close()

    def _play_model(self, works: Sequence[Work], by_key: Mapping[tuple[str, int, int], Work]) -> None:
        for start in range(1, ENGINE_STARTS + 1):
            owed = [work for work in works if work not in self._done]
            if not owed:
                return
            try:
                self._play_with_engine(owed, by_key)
                return
            except EngineError as error:
                raise Failed(str(error), cause=error.cause) from error
            except (EngineDied, EngineFailed) as error:
                self.run.event("engine_died", str(error), start=start, owed=self.total - len(self._done))
                if start == ENGINE_STARTS:
                    raise Failed(f"the engine died twice: {error}", cause="engine_died", retryable=True) from error

    def _play_with_engine(self, owed: Sequence[Work], by_key: Mapping[tuple[str, int, int], Work]) -> None:
        """One engine and the environments that still owe episodes, from load to close."""
        config = self.run.config
        name, own = config["engine"]["name"], {k: v for k, v in config["engine"].items() if k != "name"}
        options = over_all_gpus(name, own, self.run.job.resources.gpus_per_node)
        path, revision = self.run.model_path()
        worlds: dict[str, Worlds] = {}
        engine: Engine | None = None
        try:
            for wanted in dict.fromkeys(work.environment for work in owed):
                count = sum(1 for work in owed if work.environment == wanted)
                worlds[wanted] = self._worlds(wanted, min(AT_ONCE, count))
            began = time.monotonic()
            engine = self._load(name, EngineSettings(path, revision, options, config["seed"]))
            self.run.event("engine_loaded", f"{name} in {time.monotonic() - began:.1f} s")
            samplers = {played.name: played.sampler for played in self.played.values()}
            Player(engine, owed, worlds, self.settings, samplers, self._finished(by_key)).play(
                lambda: self.run.stop_requested
            )
        finally:
            for one in worlds.values():
                one.close()
            if engine is not None:
                engine.close()
        if self.run.stop_requested:
            raise Stopped(self.run.stop_reason)

    def _worlds(self, name: str, count: int) -> Worlds:
        played = self.played[name]
        try:
            processes = self.run.job.resources.environment_processes
            worlds = Worlds(played.environment, played.options, count, processes=processes)
        except UserError as error:
            raise Failed(str(error), cause="environment") from error
        if told := worlds.told():
            self.run.event("environments_started", told, environment=name)
        return worlds


class EpisodeEvaluation:
    """The evaluation job of an agent: success in every environment, told like the scores of benchmarks."""

    def __init__(self, run: Run, step: int, load: Callable[[str, EngineSettings], Engine] = load) -> None:
        self._run, self._step = run, step
        self._job = EpisodeJob(run, self._record, load)
        self._files = OutcomeFiles(run.directory.outcomes)
        self._records = {name: self._files.load(name) for name in self._job.played}
        self._tallies: dict[str, dict[tuple[int, int], Tally]] = {name: {} for name in self._job.played}

    def run(self) -> dict[str, Any]:
        try:
            self._job.play()
        except BaseException:
            self._files.close()
            raise
        summaries = {name: self._summary(name) for name in self._job.played}
        for name in summaries:
            self._log(name)
        scores = {f"{domain}/pass@1": score for domain, score in domain_scores(summaries).items()}
        self._run.log({name: score for name, score in scores.items() if score is not None}, self._step)
        self._files.close(complete=True)
        return {"benchmarks": summaries, "model_step": self._step}

    def _record(self, episode: Episode) -> None:
        """The outcome of an episode, in the form that every analysis reads."""
        name = episode.environment
        if episode.score is not None:  # of an episode that its environment ended nothing is known
            self._tallies[name][episode.task, episode.sample] = {
                "steps": float(episode.steps), "invalid": float(episode.invalid), "score": episode.score,
                "thought": episode.thought,  # undefined where there was no answer
            }  # fmt: skip
        record = record_of(episode)
        if record.key not in self._records[name]:
            self._files.write(name, record)
            self._records[name][record.key] = record.slim()

    def _summary(self, name: str) -> dict[str, Any]:
        records = list(self._records[name].values())
        summary = benchmark_summary(records, name, None, self._job.played[name].sampler.samples)
        return {**summary, "environment": self._means(name)}

    def _means(self, name: str) -> dict[str, float | None]:
        tallies = list(self._tallies[name].values())
        return {key: mean(tally[key] for tally in tallies) for key in ("score", "steps", "invalid", "thought")}

    def _log(self, name: str) -> None:
        values = {"pass@1": self._summary(name)["pass_at_1"], **self._means(name)}
        self._run.log({f"{name}/{key}": value for key, value in values.items() if value is not None}, self._step)


def score_of(episode: Episode) -> Score:
    """Right is success."""
    if episode.failure:
        return Score(None, Outcome.GRADER_FAILED, None, episode.failure)
    if episode.too_long:
        return Score(0.0, Outcome.TOO_LONG, None, episode.too_long)
    why = f"{episode.steps} steps, {episode.invalid} invalid, score {episode.score:g}"
    return Score(float(episode.success), Outcome.RIGHT if episode.success else Outcome.WRONG, None, why)


def record_of(episode: Episode) -> Record:
    """An episode as one sample of an item."""
    score = score_of(episode)
    prompts = [turn.prompt_tokens for turn in episode.turns if turn.prompt_tokens is not None]
    last = episode.turns[-1] if episode.turns else None
    ended = Ended.EMPTY if last is None else Ended.LENGTH if last.cut else Ended.STOP
    key = (episode.environment, str(episode.task), episode.sample)
    text = last.completion if last is not None else ""
    completion = Completion(key, text, ended, sum(prompts) if prompts else None, episode.completion_tokens)
    return Record.of(completion, episode.seed, score, None)
