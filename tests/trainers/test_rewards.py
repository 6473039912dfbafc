"""What a completion is worth under each named reward, from real scorers and a real judge endpoint."""

from __future__ import annotations

import contextlib
import json
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from evaluators import benchmarks
from evaluators.benchmark import Item, Outcome, Score
from manager.run import Failed
from trainers import judge, rewards, scoring

END = 7
MATH = benchmarks.get("mini_math")
ITEM = next(iter(MATH.items("train", None)))
CONTEXT = rewards.Context(seed=0, step=5, rank=0, limit_tokens=100)


def judged(outcome: Outcome, *, tokens: int = 3, text: str = "5", item: Item = ITEM) -> rewards.Judged:
    value = {Outcome.RIGHT: 1.0, Outcome.GRADER_FAILED: None}.get(outcome, 0.0)
    return rewards.Judged("mini_math", "math", item, text, tokens, False, Score(value, outcome, text))


EVERY = [judged(outcome) for outcome in Outcome]


def given(name: str, batch: list[rewards.Judged] = EVERY, **settings: object) -> list[float | None]:
    [(_, part)] = rewards.resolve({"name": name, **settings})
    return part(batch, CONTEXT)


def test_correct_rewards_the_right_answer_alone_and_leaves_out_what_was_not_judged():
    expected = {Outcome.RIGHT: 1.0, Outcome.GRADER_FAILED: None}
    assert given("correct") == [expected.get(outcome, 0.0) for outcome in Outcome]


def test_format_only_rewards_any_answer_that_can_be_read():
    expected = {Outcome.RIGHT: 1.0, Outcome.WRONG: 1.0, Outcome.GRADER_FAILED: None}
    assert given("format_only") == [expected.get(outcome, 0.0) for outcome in Outcome]


def test_noise_flips_the_wanted_share_and_the_same_ones_after_a_restart():
    batch = [judged(Outcome.RIGHT), judged(Outcome.WRONG)] * 2000
    noisy = given("noisy", batch, p=0.2)
    flipped = sum(reward != expected for reward, expected in zip(noisy, [1.0, 0.0] * 2000, strict=True))
    assert 0.17 < flipped / 4000 < 0.23
    assert noisy == given("noisy", batch, p=0.2)
    [(_, part)] = rewards.resolve({"name": "noisy", "p": 0.2})
    assert noisy != part(batch, rewards.Context(seed=0, step=6, rank=0, limit_tokens=100))
    assert given("noisy", EVERY, p=1.0) == [
        {Outcome.RIGHT: 0.0, Outcome.GRADER_FAILED: None}.get(outcome, 1.0) for outcome in Outcome
    ]


def test_the_placebo_does_not_look_at_the_answer():
    right, wrong = [judged(Outcome.RIGHT)] * 1000, [judged(Outcome.WRONG)] * 1000
    assert given("random", right, p=0.3) == given("random", wrong, p=0.3)
    assert 0.25 < sum(given("random", right, p=0.3)) / 1000 < 0.35


def test_length_shaping_costs_only_near_the_limit():
    batch = [judged(Outcome.RIGHT, tokens=tokens) for tokens in (10, 75, 90, 100)]
    assert given("length_shaped", batch, penalty=0.5) == pytest.approx([1.0, 1.0, 0.7, 0.5])
    assert given("length_shaped", batch, penalty=1.0, buffer_tokens=10) == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_partial_credit_is_the_benchmarks_score_where_there_are_no_tests():
    assert given("partial", [judged(Outcome.RIGHT), judged(Outcome.WRONG), judged(Outcome.GRADER_FAILED)]) == [
        1.0, 0.0, None,
    ]  # fmt: skip


def test_a_reward_that_is_not_understood_is_told():
    with pytest.raises(rewards.RewardError, match="unknown name 'corect'; there are: correct, "):
        rewards.resolve("corect")
    with pytest.raises(rewards.RewardError, match="noisy"):
        rewards.resolve({"name": "noisy", "q": 1})
    with pytest.raises(rewards.RewardError, match="between 0 and 1"):
        rewards.resolve({"name": "noisy", "p": 2})


def test_several_parts_judge_a_batch_once_and_tell_what_each_completion_was():
    calls = []

    def scorer(tasks):
        calls.append(len(tasks))
        return [MATH.score(item, text, truncated=cut) for _, item, text, cut in tasks]

    metrics: dict[str, list[float]] = {}
    extra: dict[str, list[object]] = {}
    batches = rewards.Batches(scorer, frozenset({END}))
    made = rewards.functions(["correct", "format_only"], batches, seed=0, rank=0, limit_tokens=8)
    completions = [[{"role": "assistant", "content": text}] for text in (MATH.gold(ITEM), MATH.wrong(ITEM, 0), "", "")]
    columns = {
        "completion_ids": [[1, END], [2, END], [END], [3, 3]],
        "item": [pickle.dumps(ITEM)] * 4,
        "benchmark": ["mini_math"] * 4,
        "domain": ["math"] * 4,
        "trainer_state": SimpleNamespace(global_step=0),
        "log_metric": lambda name, value: metrics.setdefault(name, []).append(value),
        "log_extra": lambda name, values: extra.setdefault(name, []).extend(values),
    }
    assert [function.__name__ for function in made] == ["correct", "format_only"]
    assert [function(completions=completions, prompts=[], **columns) for function in made] == [
        [1.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
    ]
    assert calls == [4]
    assert extra["outcome"] == ["right", "wrong", "no_answer", "truncated"]
    assert sum(metrics["outcome/right"]) / len(metrics["outcome/right"]) == 0.25
    assert metrics["score/math"] == [1.0, 0.0, 0.0, 0.0]


def test_what_one_part_could_not_judge_has_no_reward_of_any_part(monkeypatch: pytest.MonkeyPatch):
    """TRL adds up what is there: beside completions with both parts, one with a part missing would count as wrong."""
    monkeypatch.setitem(rewards.PARTS, "unsure", lambda: lambda judged, context: [None, 0.5, 0.5])
    batches = rewards.Batches(lambda tasks: [MATH.score(item, text) for _, item, text, _ in tasks], frozenset({END}))
    made = rewards.functions(["correct", "unsure"], batches, seed=0, rank=0, limit_tokens=8)
    extra: dict[str, list[object]] = {}
    columns = {
        "completions": [[{"role": "assistant", "content": text}] for text in (MATH.gold(ITEM), MATH.gold(ITEM), "")],
        "completion_ids": [[END]] * 3,
        "item": [pickle.dumps(ITEM)] * 3,
        "benchmark": ["mini_math"] * 3,
        "domain": ["math"] * 3,
        "trainer_state": SimpleNamespace(global_step=0),
        "log_metric": lambda name, value: None,
        "log_extra": lambda name, values: extra.setdefault(name, []).extend(values),
    }
    assert [function(**columns) for function in made] == [[None, 1.0, 0.0], [None, 0.5, 0.5]]
    assert extra["unjudged_by"] == ["unsure", None, None]


def test_a_reward_that_is_named_twice_has_two_names():
    assert [name for name, _ in rewards.resolve(["random", {"name": "random", "p": 0.1}, "correct"])] == [
        "random", "random-2", "correct",
    ]  # fmt: skip


def test_every_round_of_dynamic_sampling_draws_its_own_chance():
    batches = rewards.Batches(lambda tasks: [MATH.score(item, text) for _, item, text, _ in tasks], frozenset({END}))

    def twice() -> list[list[float | None]]:
        [reward] = rewards.functions("random", batches, seed=0, rank=0, limit_tokens=8)
        columns = {
            "completion_ids": [[END]] * 64,
            "item": [pickle.dumps(ITEM)] * 64,
            "benchmark": ["mini_math"] * 64,
            "domain": ["math"] * 64,
            "trainer_state": SimpleNamespace(global_step=3),
            "log_metric": lambda name, value: None,
            "log_extra": lambda name, values: None,
        }
        return [reward(completions=["" for _ in range(64)], **columns) for _ in range(2)]

    first, second = twice()
    assert first != second
    assert twice() == [first, second], "and the same after a restart"


def test_an_answer_within_cut_off_thinking_is_none_where_the_prompt_opened_the_thinking():
    def scorer(tasks):
        return [benchmarks.get(name).score(item, text, truncated=cut) for name, item, text, cut in tasks]

    item = Item("one", {"problem": "27+7", "solution": ""}, "34")
    texts = ["maybe \\boxed{34} or", "maybe \\boxed{3} </think> \\boxed{34}"]
    columns = {
        "completion_ids": [[1, 1], [1, END]],
        "item": [pickle.dumps(item)] * 2,
        "benchmark": ["math500"] * 2,
        "domain": ["math"] * 2,
        "log_metric": lambda name, value: None,
        "log_extra": lambda name, values: None,
    }
    seen = {
        opened: [one.score.outcome for one in
                 rewards.Batches(scorer, frozenset({END}), in_thinking=opened).judge(list(texts), columns)]
        for opened in (False, True)
    }  # fmt: skip
    assert seen[False] == [Outcome.RIGHT, Outcome.RIGHT]
    assert seen[True] == [Outcome.TRUNCATED, Outcome.RIGHT]


@pytest.mark.parametrize(
    ("template", "options", "opened"),
    [
        ("{{ messages[0]['content'] }}<think>\n", {}, True),
        ("{{ messages[0]['content'] }}<think>\n\n</think>\n\n", {}, False),
        ("{{ messages[0]['content'] }}{% if enable_thinking %}<think>{% endif %}", {"enable_thinking": True}, True),
        ("{{ messages[0]['content'] }}{% if enable_thinking %}<think>{% endif %}", {"enable_thinking": False}, False),
    ],
)
def test_whether_completions_begin_in_thinking_is_what_the_template_ends_with(template, options, opened):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from trainers.training import completions_begin_in_thinking

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    tokenizer.chat_template = template
    assert completions_begin_in_thinking(tokenizer, options) is opened


def test_scores_come_in_order_whether_judged_here_or_in_processes_with_limits():
    math = benchmarks.get("math500")
    scorer = scoring.PooledScorer(2)
    computed = [item for item, _ in zip(MATH.items("train", None), range(10), strict=False)]
    tasks, expected = [], []
    for place, item in enumerate(computed):
        asked = Item(str(place), {"problem": "?", "solution": ""}, str(place))
        right = place % 3 > 0
        tasks.append(("mini_math", item, MATH.gold(item) if right else MATH.wrong(item, 0), False))
        tasks.append(("math500", asked, math.wrong(asked, 0) if right else math.gold(asked), False))
        expected += [float(right), float(not right)]
    assert [score.value for score in scorer(tasks)] == expected
    scorer.close()


def test_a_scorer_that_crashes_here_is_a_grader_that_failed():
    [score] = scoring.PooledScorer(1)([("mini_math", Item("x", {}, None), 7, False)])  # no text
    assert score.outcome is Outcome.GRADER_FAILED
    assert score.value is None


class Endpoint(BaseHTTPRequestHandler):
    """Says yes where the answer is the reference; "maybe" and failures on demand."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][0]["content"]
        self.server.seen.append(body)
        if self.server.failures > 0:
            self.server.failures -= 1
            self.send_error(503)
            return
        answer = content.split("Answer:\n")[1].split("\n")[0]
        reference = content.split("Reference answer:\n")[1].split("\n")[0]
        if answer == "drip":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # until nobody listens any more
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.1)
            return
        if answer == "broken":
            self._send({"error": {"message": "no such model"}})
            return
        word = "maybe" if answer == "unclear" else "Yes." if answer == reference else "no"
        choice = {"message": {"content": word}}
        if body.get("logprobs") and answer != "unclear":
            listed = [{"token": " Yes", "logprob": -0.223}, {"token": "no", "logprob": -1.609}]  # 0.8 and 0.2
            choice["logprobs"] = {"content": [{"top_logprobs": listed}]}
        self._send({"choices": [choice]})

    def _send(self, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    made.seen, made.failures = [], 0
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def at(server: ThreadingHTTPServer) -> dict[str, object]:
    return {"model": "judge", "base_url": f"http://127.0.0.1:{server.server_port}/v1", "timeout_s": 20.0}


def test_a_judge_verifies_answers_and_is_left_out_where_it_is_unclear(server: ThreadingHTTPServer):
    texts = [f"<think>hm</think>{MATH.gold(ITEM)}", "another", "unclear", " "]
    batch = [judged(Outcome.WRONG, text=text) for text in texts]
    assert given("judge_verifier", batch, **at(server)) == [1.0, 0.0, None, 0.0]
    assert len(server.seen) == 3, "an empty answer needs no judge"


def test_a_soft_judge_gives_its_probability(server: ThreadingHTTPServer):
    assert given("judge_soft", [judged(Outcome.WRONG, text="x")], **at(server)) == pytest.approx([0.8], abs=0.001)


def test_thinking_that_did_not_end_is_no_answer_to_a_judge(server: ThreadingHTTPServer):
    cut_off = judged(Outcome.TRUNCATED, text=f"<think>perhaps {MATH.gold(ITEM)}\nor")
    assert given("judge_verifier", [cut_off], **at(server)) == [0.0]
    assert not server.seen


@pytest.mark.parametrize("name", ["judge_verifier", "judge_soft"])
def test_a_judge_that_is_never_understood_stops_the_training(server: ThreadingHTTPServer, name: str):
    """A model that thinks aloud, or an endpoint without log-probabilities: no reward would ever come."""
    unclear = [judged(Outcome.WRONG, text="unclear")] * rewards.UNCLEAR
    with pytest.raises(Failed, match="said neither yes nor no to any of 4 answers, but for example 'maybe'") as failed:
        given(name, unclear, **at(server))
    assert (failed.value.cause, failed.value.retryable) == ("judge_unclear", False)
    assert given(name, [*unclear, judged(Outcome.WRONG, text="x")], **at(server))[-1] is not None


def test_what_is_no_chat_completion_is_no_answer(server: ThreadingHTTPServer):
    with pytest.raises(Failed, match=r"no chat completion: .*no such model") as failed:
        given("judge_verifier", [judged(Outcome.WRONG, text="broken")], **at(server))
    assert failed.value.cause == "judge_unreachable"


def test_a_judge_that_stumbles_is_asked_again(server: ThreadingHTTPServer):
    server.failures = 1
    assert given("judge_verifier", [judged(Outcome.WRONG, text="x")], **at(server)) == [0.0]
    assert len(server.seen) == 2


def test_a_dead_judge_stops_the_training_and_rewards_nothing(server: ThreadingHTTPServer, monkeypatch):
    monkeypatch.setattr("trainers.judge.PAUSE_S", 0.0)
    server.failures = 100
    with pytest.raises(Failed, match=r"does not answer .*503") as failed:
        given("judge_verifier", [judged(Outcome.WRONG, text="x")], **at(server))
    assert failed.value.cause == "judge_unreachable"
    assert failed.value.retryable


def test_the_answers_that_a_dead_judge_still_owes_are_not_waited_for(server: ThreadingHTTPServer, monkeypatch):
    monkeypatch.setattr("trainers.judge.PAUSE_S", 0.0)
    server.failures = 10**6
    with pytest.raises(Failed, match="does not answer"):
        given("judge_verifier", [judged(Outcome.WRONG, text=str(n)) for n in range(50 * judge.AT_ONCE)], **at(server))
    assert len(server.seen) < 25 * judge.AT_ONCE * judge.TRIES, "not even half of them were asked"


def test_a_judge_whose_answer_never_ends_does_not_hold_the_step(server: ThreadingHTTPServer, monkeypatch):
    monkeypatch.setattr("trainers.judge.PAUSE_S", 0.0)
    with pytest.raises(Failed, match="the answer did not end in time"):
        given("judge_verifier", [judged(Outcome.WRONG, text="drip")], **{**at(server), "timeout_s": 0.5})
