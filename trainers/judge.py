"""A judge model behind an OpenAI-compatible endpoint: does an answer mean what the reference says?

Its word is 1 or 0, or its own probability of "yes". A word that is not understood is None. An endpoint that
does not answer is Unreachable, after retries: never a reward of 0.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from evaluators.scoring.answers import without_thinking

TRIES = 3
AT_ONCE = 32
MOST_CHARACTERS = 8000
PAUSE_S = 0.5
INSTRUCTION = (
    "You compare an answer with the reference answer of a question. The answer is right if it means the same as "
    "the reference, whatever its form. Reply with one word: yes or no.\n\n"
    "Question:\n{question}\n\nReference answer:\n{reference}\n\nAnswer:\n{answer}\n\nIs the answer right?"
)


class Unreachable(Exception):
    """The judge did not answer: one line with the address, the last problem, and what to do."""


@dataclass(frozen=True)
class Endpoint:
    model: str
    base_url: str
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Question:
    question: str
    reference: str
    answer: str


@dataclass(frozen=True)
class Replies:
    """The judge's words on a batch: a reward for each question, and what of its replies was neither yes nor no."""

    rewards: list[float | None]
    understood: int  # of the questions that it was asked
    unclear: tuple[str, ...]


Word = tuple[float | None, str | None]  # the reward, and the reply; no reply where the judge was not asked


class Judge:
    """Asks many questions at once."""

    def __init__(self, endpoint: Endpoint, *, soft: bool) -> None:
        self._endpoint = endpoint
        self._soft = soft
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"

    def ask(self, questions: Sequence[Question]) -> Replies:
        """The replies; Unreachable if one of the questions got no answer at all."""
        words = self._words(questions)
        return Replies(
            rewards=[reward for reward, _ in words],
            understood=sum(reward is not None and reply is not None for reward, reply in words),
            unclear=tuple(reply for reward, reply in words if reward is None and reply is not None),
        )

    def _words(self, questions: Sequence[Question]) -> list[Word]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = [pool.submit(self._ask, question) for question in questions]
            try:
                return [one.result() for one in asked]
            except Unreachable:
                pool.shutdown(wait=False, cancel_futures=True)  # the others would wait as long, one after another
                raise

    def _ask(self, question: Question) -> Word:
        answer = without_thinking(question.answer).strip()[-MOST_CHARACTERS:]
        if not answer:
            return 0.0, None  # nothing was answered: no judge is needed for that
        content = INSTRUCTION.format(question=question.question, reference=question.reference, answer=answer)
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0.0,
            "max_tokens": 4,
        }
        if self._soft:
            body |= {"logprobs": True, "top_logprobs": 20}
        answered = self._post(body)
        try:
            choice = answered["choices"][0]
            reply = str(choice["message"]["content"] or "")
            return (_probability(choice) if self._soft else _verdict(reply)), reply
        except (KeyError, IndexError, TypeError) as error:
            raise self._unreachable(f"no chat completion: {json.dumps(answered)[:200]}") from error

    def _unreachable(self, problem: object) -> Unreachable:
        return Unreachable(
            f"reward: the judge {self._endpoint.model} at {self._endpoint.base_url} does not answer ({problem}); "
            "see that it runs and is reachable from the compute nodes, then run `manager sweep` again"
        )

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("MANAGER_JUDGE_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        problem: Exception | None = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S * 2**attempt)
            request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
            try:
                deadline = time.monotonic() + self._endpoint.timeout_s
                with urllib.request.urlopen(request, timeout=self._endpoint.timeout_s) as response:
                    answer: dict[str, Any] = json.loads(_read(response, deadline))
                    return answer
            except urllib.error.HTTPError as error:
                problem = error
                if error.code < 500 and error.code != 429:
                    break  # asking again would get the same answer
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                problem = error
        raise self._unreachable(problem) from problem


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body. The timeout of a connection is that of each read: an answer could come for hours."""
    parts = []
    while part := response.read1(65536):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return b"".join(parts)


def _verdict(text: str) -> float | None:
    word = text.strip().lower().lstrip("*\"'")
    if word.startswith("yes"):
        return 1.0
    return 0.0 if word.startswith("no") else None


def _probability(choice: dict[str, Any]) -> float | None:
    """P(yes) among yes and no in the first token of the reply."""
    listed = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
    mass = {"yes": 0.0, "no": 0.0}
    for entry in listed:
        word = entry["token"].strip().lower()
        if word in mass:
            mass[word] += math.exp(entry["logprob"])
    total = sum(mass.values())
    return mass["yes"] / total if total > 0 else None
