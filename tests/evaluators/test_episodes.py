"""Episodes of agents with a real model: what is recorded, resumed, collected, measured and learned from."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evaluators import collect, probe
from evaluators import run as evaluation
from evaluators.agent import AgentSettings, Augment, Episode, Play, Turn, has_thought, messages
from evaluators.environments import facts
from evaluators.prompts import chat_prompt
from evaluators.worlds import Here, Worlds
from manager import content
from manager.atomic import read_jsonl
from manager.errors import UserError
from manager.job import Job, Kind, Resources
from manager.run import Failed, Run
from manager.store import Store
from tests.evaluators.tiny import make_model

# Corridors; some of them belong to the test split.
LEVELS = "".join(f"{'#' * (5 + size)}\n#@{' ' * size}$.#\n{'#' * (5 + size)}\n\n" for size in range(30))
SMALL = {"height": 4, "width": 5, "min_moves": 1, "cap": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("agent") / "model", context=2048)


def entry(name: str = "sokoban", *, episodes: int = 6, split: str = "test", **options: Any) -> dict[str, Any]:
    known = facts(name)
    return {
        "name": name, "version": known.version, "domain": name, "subdomain": None,
        "data": {"environment": name, "options": {**known.options, **options}, "split": split, "first_task": 0},
        "sampler": {"samples": 2, "temperature": 0.4, "top_p": 1.0, "max_tokens": 16, "stop": []}, "limit": episodes,
    }  # fmt: skip


def config(model: Path, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": {"path": str(model), "digest": "tiny"}, "benchmarks": list(entries) or [entry(**SMALL)],
        "agent": {"history": 1, "thinking": False, "augment": None}, "engine": {"name": "transformers"}, "seed": 7,
        **more,
    }  # fmt: skip


def make_run(
    root: Path, settings: dict[str, Any], kind: Kind = Kind.EVALUATE, files: dict[str, str] | None = None
) -> Run:
    directory = Store.open(root, create=True).add_job(Job(kind, settings, (), Resources(files=files or {})))
    attempt = directory.path / "attempts" / f"{len(directory.attempts()) + 1:04d}"
    attempt.mkdir(parents=True)
    return Run(directory, directory.job(), attempt)


def episodes(run: Run, name: str = "sokoban") -> dict[tuple[int, int], Episode]:
    found = [Episode.from_json(value) for value in read_jsonl(run.path / "episodes" / f"{name}.jsonl")]
    assert len({(one.task, one.sample) for one in found}) == len(found)
    return {(one.task, one.sample): one for one in found}


def outcomes(run: Run, name: str = "sokoban") -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["item"], row["sample"]): row for row in read_jsonl(run.directory.outcomes / f"{name}.jsonl")}


# The prompt of a step


def test_a_prompt_repeats_the_last_steps_and_no_more() -> None:
    past = [Turn(f"state {number}", "", f"do {number}", number != 1) for number in range(3)]
    (asked,) = messages("RULES", past, "state 3", AgentSettings(history=2))
    text = asked["content"]
    assert text.startswith("RULES")
    assert "state 0" not in text
    assert "do 1 (it could not be done)" in text
    assert text.index("state 1") < text.index("state 2") < text.index("state 3")
    assert "<think>" in text
    (plain,) = messages("RULES", past, "state 3", AgentSettings(history=0, thinking=False))
    assert "state 2" not in plain["content"]
    assert "<think>" not in plain["content"]


def test_augmentation_is_by_episode_and_in_the_observation_only() -> None:
    always = AgentSettings(augment=Augment(40, 1.0))
    play = Play("sokoban", Here("sokoban", SMALL), always, 0, 0, "train", 5)
    plain = Play("sokoban", Here("sokoban", SMALL), AgentSettings(), 0, 0, "train", 5)
    shown, bare = play.messages()[0]["content"], plain.messages()[0]["content"]
    assert len(shown) > len(bare)
    assert set(bare.split("\n")) <= set(shown.split("\n"))
    seeds = range(200)
    half = AgentSettings(augment=Augment(40, 0.5))
    chosen = [Play("sokoban", Here("sokoban", SMALL), half, 0, 0, "train", seed).episode().augmented for seed in seeds]
    assert 70 < sum(chosen) < 130


def test_an_unknown_setting_is_told() -> None:
    with pytest.raises(UserError, match="histori"):
        AgentSettings.parse({"histori": 2})


# Evaluation


def test_every_episode_is_kept_with_every_step_and_its_outcome(model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, config(model, entry(**SMALL), entry("shop", products=20, cap=2)))
    summary = evaluation.main(run)
    assert set(summary["benchmarks"]) == {"sokoban", "shop"}
    for name, cap in (("sokoban", 3), ("shop", 2)):
        played, judged = episodes(run, name), outcomes(run, name)
        assert len(played) == len(judged) == 6 * 2
        for (task, sample), episode in played.items():
            record = judged[str(task), sample]
            assert record["value"] == float(episode.success)
            assert record["completion_tokens"] == sum(turn.completion_tokens for turn in episode.turns)
            assert episode.steps == len(episode.turns) <= cap
            assert episode.invalid == sum(not turn.valid for turn in episode.turns)
        part = summary["benchmarks"][name]
        assert part["pass_at_1"] == pytest.approx(sum(one.success for one in played.values()) / 12)
        assert part["environment"]["thought"] == 0.0, "a model of random weights opens and closes no thought"
        assert part["environment"]["invalid"] == pytest.approx(sum(one.invalid for one in played.values()) / 12)
    logged = {
        key: value
        for record in read_jsonl(run.attempt_dir / "journal.jsonl")
        if record["type"] == "metrics"
        for key, value in record["values"].items()
    }
    assert logged["sokoban/steps"] == summary["benchmarks"]["sokoban"]["environment"]["steps"]


KILLED = """
import os, signal, sys
from pathlib import Path
from evaluators import episodes, run
from tests.evaluators.test_episodes import config, entry, make_run, BATCHES, SMALL

write, written = episodes.EpisodeFiles.write, []

def write_and_die(files, episode):
    write(files, episode)
    written.append(episode)
    if len(written) == 30:
        os.kill(os.getpid(), signal.SIGKILL)

episodes.EpisodeFiles.write = write_and_die
run.main(make_run(Path(sys.argv[2]), config(Path(sys.argv[1]), entry(**SMALL, episodes=40), engine=BATCHES)))
"""
BATCHES = {"name": "transformers", "batch_size": 4}


def test_killed_and_run_again_it_is_as_if_nothing_had_been(model: Path, tmp_path: Path) -> None:
    settings = config(model, entry(**SMALL, episodes=40), engine=BATCHES)
    undisturbed = make_run(tmp_path / "one", settings)
    evaluation.main(undisturbed)
    killed = make_run(tmp_path / "two", settings)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(model), str(tmp_path / "two")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(episodes(killed)) == 30
    again = make_run(tmp_path / "two", settings)
    evaluation.main(again)
    assert episodes(again) == episodes(undisturbed)
    assert outcomes(again) == outcomes(undisturbed)


def test_a_prompt_without_room_ends_the_episode_and_is_told(tmp_path: Path) -> None:
    narrow = make_model(tmp_path / "narrow", context=128)
    run = make_run(tmp_path / "store", config(narrow))
    summary = evaluation.main(run)
    assert summary["benchmarks"]["sokoban"]["outcomes"]["too_long"] == 12
    assert all("of context" in one.too_long for one in episodes(run).values())


def context_for(model: Path, steps: int, history: int) -> int:
    """A context in which the longest prompt of so many steps fits, and no later one; a byte is a token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    settings = AgentSettings(history=history, thinking=False)
    lengths: dict[int, list[int]] = {}
    for task in range(6):
        play = Play("sokoban", Here("sokoban", {**facts("sokoban").options, **SMALL}), settings, task, 0, "test", 0)
        for step in range(1, steps + 2):
            prompt = chat_prompt(tokenizer, play.messages(), settings.thinking, str(model))
            lengths.setdefault(step, []).append(len(prompt.tokens if prompt.tokens is not None else ()))
            play.take("")
    longest = max(length for step in range(1, steps + 1) for length in lengths[step])
    assert longest < min(lengths[steps + 1])
    return longest + 1


@pytest.mark.parametrize("steps", [0, 1])
def test_episodes_that_outgrow_the_context_are_counted_everywhere(model: Path, tmp_path: Path, steps: int) -> None:
    """At the first step, or at a later one whose prompt holds earlier steps too."""
    context = context_for(model, steps, history=1) if steps else 128
    narrow = make_model(tmp_path / "narrow", context=context)
    for kind, job in ((Kind.EVALUATE, evaluation), (Kind.PROBE, probe)):
        run = make_run(tmp_path / "store", config(narrow), kind)
        found = job.main(run)
        played = list(episodes(run).values())
        assert [len(one.turns) for one in played] == [steps] * 12
        assert all(one.too_long and one.unanswered and not one.success for one in played)
        journal = read_jsonl(run.attempt_dir / "journal.jsonl")
        (told,) = [one for one in journal if one.get("name") == "prompts_too_long"]
        assert told["episodes"] == 12
        assert f"{context} of context" in told["message"]
        if kind is Kind.EVALUATE:
            summary = found["benchmarks"]["sokoban"]
            assert (summary["pass_at_1"], summary["outcomes"]["too_long"]) == (0.0, 12)
            assert summary["environment"]["thought"] == (0.0 if steps else None), "without an answer: undefined"
            continue
        axes = found["environments"]["sokoban"]
        assert (axes["episodes"], axes["too_long"], axes["failed"]) == (12, 12, 0)
        assert (axes["length_mean"], axes["reach_mean"]) == (3.0, 0.0), "a failure counts as the cap"
        states = [state for one in played for state in one.states]
        assert axes["states"] == len(states) == 12 * (steps + 1), "the state that did not fit is a state"
        assert axes["chars_mean"] == pytest.approx(sum(map(len, states)) / len(states))


def test_another_version_and_too_many_tasks_are_refused(model: Path, tmp_path: Path) -> None:
    wrong = entry(**SMALL) | {"version": 99}
    with pytest.raises(Failed, match="version 99"):
        evaluation.main(make_run(tmp_path, config(model, wrong)))


class Breaking(Worlds):
    """Worlds whose environments fail in every episode of task 1."""

    def _new(self) -> Here:
        return _BreakingWorld("sokoban", SMALL)


class _BreakingWorld(Here):
    begun: ClassVar[list[int]] = []

    def reset(self, task: int, split: str) -> Any:
        self.begun.append(task)
        if task == 1:
            return self._shown(lambda environment: environment.nothing_like_this)
        return super().reset(task, split)


def test_an_environment_that_fails_ends_its_own_episode_only(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluators.episodes.Worlds", Breaking)
    run = make_run(tmp_path, config(model))
    summary = evaluation.main(run)
    counts = summary["benchmarks"]["sokoban"]["outcomes"]
    assert counts["grader_failed"] == 2
    assert sum(counts.values()) == 12
    played = [one for one in episodes(run).values() if one.failure is None]
    means = summary["benchmarks"]["sokoban"]["environment"]
    assert means["steps"] == pytest.approx(sum(one.steps for one in played) / 10)  # of those that were played
    assert means["score"] == pytest.approx(sum(one.score or 0.0 for one in played) / 10)
    failed = episodes(run)[1, 0]
    assert failed.failure is not None
    assert "nothing_like_this" in failed.failure
    assert (_BreakingWorld.begun.count(1), _BreakingWorld.begun.count(2)) == (4, 2)  # a failed one is played once more


@pytest.mark.vllm
@pytest.mark.slow
def test_episodes_through_vllm(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    engine = {"name": "vllm", "max_model_len": 2048, "max_num_batched_tokens": 2048, "max_num_seqs": 8}
    settings = config(model, entry(**SMALL), entry("shop", products=20, cap=2), engine=engine)
    run = make_run(tmp_path, settings)
    summary = evaluation.main(run)
    assert {name: part["items"] for name, part in summary["benchmarks"].items()} == {"sokoban": 6, "shop": 6}
    assert all(turn.completion_tokens for one in episodes(run, "shop").values() for turn in one.turns)


# Collecting and probing


def test_the_plans_are_collected_as_pairs_that_replay(tmp_path: Path) -> None:
    settings = config(Path("unused"), entry(**{**SMALL, "cap": 8}, split="train"), policy="oracle", keep="success")
    settings["benchmarks"][0]["sampler"]["samples"] = 1
    del settings["model"]
    run = make_run(tmp_path, settings, Kind.COLLECT)
    summary = collect.main(run)["environments"]["sokoban"]
    rows = list(read_jsonl(run.path / "trajectories" / "sokoban.jsonl"))
    assert summary["success"] == 1.0
    assert summary["pairs"] == len(rows) > 6
    world = Here("sokoban", {**SMALL, "cap": 8})
    for task in range(6):
        play = Play("sokoban", world, AgentSettings(1, thinking=False), task, 0, "train", 0)
        for row in (row for row in rows if row["task"] == task):
            assert row["messages"] == play.messages()
            play.take(row["completion"])
        assert play.episode().success


def test_nothing_to_keep_is_a_failure_that_says_what_to_do(model: Path, tmp_path: Path) -> None:
    settings = config(model, entry(**SMALL, split="train"), policy="model", keep="success")
    with pytest.raises(Failed, match="policy: oracle"):
        collect.main(make_run(tmp_path, settings, Kind.COLLECT))


def test_the_axes_of_an_environment(model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, config(model, entry(**SMALL)), Kind.PROBE)
    found = probe.main(run)["environments"]["sokoban"]
    played = list(episodes(run).values())
    states = [turn.state for one in played for turn in one.turns]
    assert found["chars_mean"] == pytest.approx(sum(map(len, states)) / len(states))
    assert found["tokens_mean"] == pytest.approx(found["chars_mean"])  # this tokenizer has a token a byte
    assert found["length_mean"] == pytest.approx(sum(one.steps if one.success else 3 for one in played) / 12)
    assert found["reach_mean"] == pytest.approx(sum(one.success for one in played) / 12)
    assert found["chars_low"] <= found["chars_mean"] <= found["chars_high"]


@pytest.fixture
def slow_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sokoban as if its steps were slow: in processes of its own."""
    real = facts("sokoban")
    monkeypatch.setattr("evaluators.worlds.facts", lambda name: type(real)(**{**vars(real), "quick": False}))


@pytest.mark.usefixtures("slow_worlds")
def test_environments_in_other_processes_give_the_same_episodes(model: Path, tmp_path: Path) -> None:
    there = make_run(tmp_path / "there", config(model))
    evaluation.main(there)
    worlds = Worlds("sokoban", SMALL, 2)
    assert not isinstance(worlds.all[0], Here)
    worlds.close()
    here = make_run(tmp_path / "here", config(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluators.worlds.facts", facts)
        evaluation.main(here)
    assert episodes(there) == episodes(here)


def test_answers_that_think_are_counted() -> None:
    answers = (
        "<think>left of it</think><action>right</action>", "left of it</think><action>right</action>",
        "<think> </think><action>right</action>", "<action>right</action>", "<think>and then",
    )  # fmt: skip
    assert [has_thought(one) for one in answers] == [True, True, False, False, False]
    turns = tuple(Turn("", one, "right", True) for one in answers)
    assert Episode("sokoban", 0, 0, 0, False, 0.0, 5, 0, False, turns).thought == pytest.approx(0.4)
    assert Episode("sokoban", 0, 0, 0, False, 0.0, 0, 0, False, ()).thought is None


def levels_at(path: Path) -> dict[str, Any]:
    """An entry as a sweep makes it: the content of the file, not its place."""
    return entry(**{**SMALL, "cap": 3}, levels={"digest": content.digest(path)}, episodes=1)


def test_levels_are_found_by_their_content_and_other_content_stops_the_job(model: Path, tmp_path: Path) -> None:
    levels = tmp_path / "levels.txt"
    levels.write_text(LEVELS)
    row = levels_at(levels)
    files = {row["data"]["options"]["levels"]["digest"]: str(levels)}
    run = make_run(tmp_path / "store", config(model, row), files=files)
    evaluation.main(run)
    assert all("The room has 3 rows" in one.turns[0].state for one in episodes(run).values())
    levels.write_text(LEVELS.replace("$.", ".$"))
    for kind, job in ((Kind.EVALUATE, evaluation), (Kind.PROBE, probe)):
        with pytest.raises(Failed, match=r"sokoban\.levels: .*levels\.txt holds .* when the sweep was planned") as told:
            job.main(make_run(tmp_path / "again", config(model, row), kind, files=files))
        assert told.value.cause == "data_changed"
    levels.unlink()
    with pytest.raises(Failed, match=r"No such file.*bring it back, or name its new place"):
        evaluation.main(make_run(tmp_path / "again", config(model, row), files=files))
