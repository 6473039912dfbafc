"""The endpoint engine against a real server on loopback: what is sent, retried, told and recorded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from evaluators import run as evaluation
from evaluators.engine import sample_seed
from manager.run import Failed
from tests.evaluators.endpoint import completion, models, server
from tests.evaluators.test_evaluation import failure, outcomes
from tests.evaluators.tiny import config, entry, make_run


def settings(url: str, *entries: Any, prompting: Any = "chat", **options: Any) -> dict[str, Any]:
    engine = {"name": "openai", "base_url": url, "pause_s": 0.01, "concurrency": 4, **options}
    value = config("m", *(entries or (entry("mini_math"),)), engine=engine, prompting=prompting)
    return {**value, "model": {"name": "m", "hub": "m", "revision": None}}


def right(body: dict[str, Any]) -> str:
    """The gold answer to a mini_math question."""
    question = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    left, _, rest = question.rstrip("=").partition("+")
    return str(int(left) + int(rest))


def test_answers_are_scored_and_every_request_says_what_it_should(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return models("m", "other")
        assert path == "/v1/chat/completions"
        bodies.append(body)
        return completion(right(body))

    with server(answer) as url:
        run = make_run(tmp_path, settings(url, prompting={"mode": "chat", "thinking": False, "system": "Be brief."}))
        summary = evaluation.main(run)
    assert summary["benchmarks"]["mini_math"]["pass_at_1"] == 1.0
    items = list(benchmarks.get("mini_math").items("test", None))[:6]
    assert {body["seed"] for body in bodies} == {sample_seed(7, "mini_math", i.id, s) for i in items for s in range(4)}
    body = bodies[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 1.0, 8)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert {record["prompt_tokens"] for record in outcomes(run).values()} == {5}


def test_the_command_takes_a_served_model_by_its_own_name(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return models("served-model")
        bodies.append(body)
        return completion(right(body))

    with server(answer) as url:
        command = [
            sys.executable, "-m", "manager", "evaluate", "served-model", "--suite", "mini_math", "--limit", "2",
            "--cluster", "local", "--store", str(tmp_path / "runs"), "--engine", "openai",
            "--engine-option", f"base_url={url}", "--no-thinking",
        ]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "100.0  (2 items × 4: 8 right)" in ran.stdout
    assert {body["model"] for body in bodies} == {"served-model"}
    assert bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_base_models_are_asked_with_few_shots_as_text(tmp_path: Path) -> None:
    prompts: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 404, {}
        assert path == "/v1/completions"
        prompts.append(body["prompt"])
        assert body["stop"] == ["\nQuestion:"]
        return completion(" 7")

    with server(answer) as url:
        evaluation.main(make_run(tmp_path, settings(url, prompting="base_fewshot")))
    train = {item.fields["question"] for item in benchmarks.get("mini_math").items("train", None)}
    shown = [line.removeprefix("Question: ") for line in prompts[0].splitlines() if line.startswith("Question: ")]
    assert len(shown) == 5
    assert set(shown[:4]) <= train
    assert shown[4] not in train
    assert prompts[0].endswith("\nAnswer:")


def test_busy_servers_are_asked_again_and_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    seen: Counter[int] = Counter()
    now, most, lock = [0], [0], threading.Lock()

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return models("m")
        with lock:
            seen[body["seed"]] += 1
            tries = seen[body["seed"]]
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
        return ({1: (429, {"error": "busy"}), 2: (503, b"not json")}).get(tries) or completion(right(body))

    with server(answer) as url:
        summary = evaluation.main(make_run(tmp_path, settings(url)))
    assert summary["benchmarks"]["mini_math"]["pass_at_1"] == 1.0
    assert set(seen.values()) == {3}
    assert 1 < most[0] <= 4


def test_what_the_server_says_of_single_requests_is_recorded(tmp_path: Path) -> None:
    answers = [
        (400, {"error": {"message": "This model's maximum context length is 8 tokens"}}),
        (400, {"error": {"message": "bad request"}}),
        (200, {"surprise": 1}),
        completion("1", "length"),
        completion(""),
        (500, {"error": "always"}),
    ]
    items = [item.id for item in list(benchmarks.get("mini_math").items("test", None))[:6]]
    place = {benchmarks.get("mini_math").messages(item)[0]["content"]: n for n, item in enumerate(
        list(benchmarks.get("mini_math").items("test", None))[:6])}  # fmt: skip

    bodies: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return models("m")
        bodies.append(body)
        return answers[place[body["messages"][0]["content"]]]

    with server(answer) as url:
        run = make_run(tmp_path, settings(url, entry("mini_math", samples=1), retries=1))
        with pytest.raises(Failed, match="1 of 6 samples have no completion: HTTP 500") as error:
            evaluation.main(run)
        assert (error.value.cause, error.value.retryable) == ("engine_failed", True)
        found = [outcomes(run)["mini_math", item, 0] for item in items]
        answers[5], asked = completion("1"), len(bodies)
        again = make_run(tmp_path, settings(url, entry("mini_math", samples=1), retries=1))
        summary = evaluation.main(again)
    assert len(bodies) - asked == 3  # those without a completion, and no other
    assert [record["outcome"] for record in found] == [
        "too_long", "engine_failed", "engine_failed", "wrong", "no_answer", "engine_failed",
    ]  # fmt: skip
    assert [record["ended"] for record in found] == [None, None, None, "length", "empty", None]
    assert [record["value"] for record in found] == [0.0, None, None, 0.0, 0.0, None]
    assert "bad request" in found[1]["why"]
    assert summary["benchmarks"]["mini_math"]["outcomes"]["engine_failed"] == 2


def test_answers_of_ten_megabytes_pass_through(tmp_path: Path) -> None:
    huge = "x" * 10_000_000 + " 12"

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return models("m") if path == "/v1/models" else completion(huge)

    with server(answer) as url:
        run = make_run(tmp_path, settings(url, entry("mini_math", samples=1, limit=2)))
        evaluation.main(run)
    assert {record["text"] for record in outcomes(run).values()} == {huge}


def test_a_server_that_is_not_there_lacks_the_model_or_refuses_the_key(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return models("llama") if "Bearer good" in str(body.get("headers")) else (401, {})

    with server(answer) as url:
        assert failure(tmp_path, settings(url, api_key_env="NO_SUCH_KEY_FOR_TESTS")).cause == "endpoint_key"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEY_FOR_TESTS", "good")
            error = failure(tmp_path, settings(url, api_key_env="KEY_FOR_TESTS"))
        assert (error.cause, "llama" in str(error)) == ("endpoint_model", True)
    assert failure(tmp_path, settings(url)).cause == "endpoint"
    assert "base_url" in str(failure(tmp_path, {**settings(url), "engine": {"name": "openai"}}))


def test_a_server_that_goes_away_is_a_dead_engine(tmp_path: Path) -> None:
    count = [0]
    gone = threading.Event()

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return models("m")
        count[0] += 1
        if count[0] == 10:
            gone.set()
        return completion(right(body))

    manager = server(answer)
    url = manager.__enter__()
    closer = threading.Thread(target=lambda: (gone.wait(60), manager.__exit__(None, None, None)))
    closer.start()
    error = failure(tmp_path, settings(url, entry("mini_math", limit=None, samples=40), retries=2))
    closer.join()
    assert error.cause in ("engine_died", "endpoint")
