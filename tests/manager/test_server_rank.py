"""A server that generates in the job of a training: which tasks, which command, what the grammar refuses."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from manager import ports
from manager.atomic import write_json
from manager.cluster.local import LocalBackend
from manager.foreground import ForegroundSweep
from manager.job import Job, Kind, Resources, State, Sweep, SweepJob
from manager.place import Place
from manager.run import Run
from manager.server_rank import _is_healthy, training_place
from manager.store import Attempt, Store
from tests.manager.sweep_catalog import expanded, mistakes
from trainers import server

SERVED = {"generation": {"mode": "server"}, "model": {"path": "/model", "digest": "x"}}


def job(resources: Resources, kind: Kind = Kind.RL, **generation: object) -> Job:
    return Job(kind, {**SERVED, "generation": {"mode": "server", **generation}}, resources=resources)


@pytest.mark.parametrize(
    ("resources", "trains"),
    [
        (Resources(nodes=3, tasks_per_node=2, server_gpus=2), [2, 2, 2, 2, None, None]),
        (Resources(nodes=1, tasks_per_node=4, server_gpus=1), [3, 3, 3, None]),
        (Resources(nodes=2, tasks_per_node=2, server_gpus=1), [2, 2, 1, None]),
        (Resources(nodes=1, tasks_per_node=2), [2, 2]),
    ],
)
def test_the_last_tasks_serve_and_the_group_is_of_those_that_train(
    resources: Resources, trains: list[int | None]
) -> None:
    count = resources.world_size
    places = [
        training_place(job(resources), Place("x", rank=rank, world_size=count, local_world_size=resources.tasks))
        for rank in range(count)
    ]
    assert [place.local_world_size if place else None for place in places] == trains
    assert {place.world_size for place in places if place} == {resources.training_processes}


def test_the_command_of_the_server(tmp_path: Path) -> None:
    asked = job(Resources(nodes=2, gpus_per_node=8, server_gpus=8), vllm_tensor_parallel_size=2,
                vllm_max_model_length=9216)  # fmt: skip
    directory = Store.open(tmp_path, create=True).add_job(asked)
    run = Run(directory, asked, tmp_path)
    assert server.command(run, 8123) == [
        "vllm", "serve", "/model", "--host", "0.0.0.0", "--port", "8123",
        "--tensor-parallel-size", "2", "--data-parallel-size", "4", "--max-model-len", "9216",
        "--weight-transfer-config", '{"backend": "nccl"}', "--logprobs-mode", "processed_logprobs",
        "--max-logprobs", "-1",
    ]  # fmt: skip
    config = {**SERVED, "data": {"max_prompt_tokens": 512}, "grpo": {"max_completion_length": 8192}}
    unsaid = replace(run, job=replace(asked, config=config))
    argv = server.command(unsaid, 8123)
    # Not the model's own context: memory for one sequence of that length would have to be there.
    assert argv[argv.index("--max-model-len") + 1] == str(512 + 8192)
    without = replace(run, job=job(Resources(gpus_per_node=8)))
    assert server.address(without) == {}  # a server that somebody else runs is the user's to name


def test_weights_meet_at_a_port_of_the_host_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's rank 0 opens the group. What is free on the server's node says nothing about the trainer's."""
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("NO_PROXY", "")
    asked = job(Resources(nodes=2, gpus_per_node=8, server_gpus=8))
    run = Run(Store.open(tmp_path, create=True).add_job(asked), asked, tmp_path)
    write_json(tmp_path / "server.json", {"url": "http://node7:8123", "pid": 1})
    found = server.address(run)
    assert found["vllm_server_base_url"] == "http://node7:8123"
    pytest.importorskip("vllm", reason="vLLM is not installed, whose group listens at that port")
    from vllm.distributed.utils import StatelessProcessGroup

    group = StatelessProcessGroup.create("127.0.0.1", found["vllm_group_port"], rank=0, world_size=1)
    assert group.world_size == 1  # kept from all others, and open to who is to listen there
    assert os.environ["no_proxy"] == "localhost,node7"
    assert os.environ["NO_PROXY"] == "node7"


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def test_health_is_asked_past_the_proxy_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    with HTTPServer(("127.0.0.1", 0), Healthy) as healthy:
        threading.Thread(target=healthy.serve_forever, daemon=True).start()
        assert _is_healthy(healthy.server_address[1])
        healthy.shutdown()


STAGE = """
stages:
  train:
    kind: rl
    model: qwen2.5-1.5b-instruct
    data: math
    batch: {prompts: 48, samples: 4}
    generation: %s
    resources: {nodes: %d, gpus_per_node: 8, server_gpus: %d}
"""


def test_the_grammar(tmp_path: Path) -> None:
    (entry,) = expanded(tmp_path, STAGE % ("server", 3, 8)).jobs
    assert entry.job.resources.training_processes == 16
    (other,) = expanded(tmp_path, STAGE % ("server", 2, 4)).jobs
    assert other.job.id == entry.job.id  # where completions come from is no part of the identity
    told = [
        ("server", 1, 9, "9 GPUs for one server, and a node has 8"),
        ("server", 1, 8, "all 8 would generate and none would train"),
        ("colocate", 2, 8, "generation is colocate; write generation: server"),
        ("server", 2, 5, "do not divide over 11 processes (2 nodes x 8, less 5 of the server)"),
    ]
    for mode, nodes, gpus, message in told:
        assert message in "".join(mistakes(tmp_path, STAGE % (mode, nodes, gpus))), message
    supervised = "stages: {t: {kind: sft, model: tiny, data: math, resources: {gpus_per_node: 4, server_gpus: 1}}}"
    assert "a supervised training generates nothing" in "".join(mistakes(tmp_path, supervised))


def test_on_this_machine_a_server_that_cannot_start_fails_the_attempt_with_its_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.manager.served_kind")
    monkeypatch.setenv("MANAGER_VLLM_SERVER", f"{sys.executable} -m tests.manager.fake_server --fail-at-start")
    store = Store.open(tmp_path, create=True)
    one = Job(Kind.RL, {**SERVED, "toy": {}}, resources=Resources(tasks_per_node=2, server_gpus=1))
    sweep = Sweep("served", None, (SweepJob("train", {}, one),))
    store.add_job(one)
    began = time.time()
    ended = ForegroundSweep(store, sweep, LocalBackend(store, 2, 0), lambda known: None).run()
    assert ended.states[one.id] is State.FAILED  # after tries that got no further
    last = store.run(one.id).last_attempt()
    assert last is not None
    assert last.end is not None
    assert last.record["started"] >= began
    assert last.end["cause"] == "generation_server"
    assert "no such model" in last.end["message"]


def served(model: str, **resources: int) -> Job:
    config = {**SERVED, "model": {"path": model, "digest": "x"}, "toy": {}}
    return Job(Kind.RL, config, resources=Resources(tasks_per_node=2, server_gpus=1, **resources))


def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, *jobs: Job) -> list[Attempt]:
    """The last attempt of each job, run to the end side by side."""
    monkeypatch.setenv("MANAGER_KINDS", "rl=tests.manager.served_kind")
    monkeypatch.setenv("MANAGER_VLLM_SERVER", f"{sys.executable} -m tests.manager.fake_server {server}".strip())
    store = Store.open(tmp_path / "runs", create=True)
    sweep = Sweep("served", None, tuple(SweepJob("train", {}, one) for one in jobs))
    for one in jobs:
        store.add_job(one)
    ended = ForegroundSweep(store, sweep, LocalBackend(store, len(jobs), 0), lambda known: None).run()
    assert set(ended.states.values()) == {State.DONE}
    found = [store.run(one.id).last_attempt() for one in jobs]
    return [attempt for attempt in found if attempt is not None]


def test_two_jobs_of_a_node_at_the_same_time_have_their_own_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt, model in zip(
        run_here(tmp_path, monkeypatch, "", served("/one"), served("/other")), ("/one", "/other"), strict=True
    ):
        assert (attempt.path / "model-0").read_text() == model


@pytest.mark.parametrize("more", ["", "--wait"])
def test_a_server_whose_port_somebody_takes_gets_another_and_nobody_elses_answers_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    told = tmp_path / "thief"
    try:
        [attempt] = run_here(tmp_path, monkeypatch, f"/own --thief {told} {more}".strip(), served("/model"))
        assert attempt.path.name == "0001"  # no new attempt: nothing was trained again
        assert (attempt.path / "model-0").read_text() == "/own"
        [before] = attempt.path.glob("server.port-*.log")
        assert more or "Address already in use" in before.read_text()
        thief = psutil.Process(int(told.read_text()))
        assert thief.is_running()
    finally:
        psutil.Process(int(told.read_text())).kill()


def test_a_lease_keeps_a_port_from_all_but_the_server_that_it_is_for() -> None:
    with ports.Lease() as lease:
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("", lease.port))
        with pytest.raises(OSError, match="Address already in use"):
            ports.Lease(port=lease.port)
        assert ports.listeners(lease.port) == set()
        with HTTPServer(("127.0.0.1", lease.port), Healthy) as healthy:  # sets SO_REUSEADDR, as vLLM does
            threading.Thread(target=healthy.serve_forever, daemon=True).start()
            assert ports.listeners(lease.port) == {os.getpid()}
            assert _is_healthy(lease.port)
            healthy.shutdown()


def test_a_program_that_cannot_share_a_port_has_it_at_the_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [attempt] = run_here(tmp_path, monkeypatch, "/own --alone", served("/model"))
    assert (attempt.path / "model-0").read_text() == "/own"
