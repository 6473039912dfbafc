"""What tracking costs a training step: none, ours and plain MLflow, with a server that answers and one that is away.

    python -m tests.bench.bench_tracking [--steps 60] [--work 0.1] [--cap 60]

A step is `work` CPU seconds and one log call with 38 values. Ours and none run in turns, step by step, so that what
else the machine does falls on both; the CPU seconds of the training thread are free of it. Plain MLflow logs to the
same real server; where the server is frozen or gone it is given `cap` seconds and then ended, and the steps it managed
are told.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manager.drain_process import drain_command, draining
from manager.run import Run
from manager.tracking import sync
from tests.manager.tracked_sweep import Study, begin, end, make_study
from tests.manager.tracking_readback import ReadBack
from tests.manager.tracking_server import Server, running_server

METRICS = 38
VALUES = {f"train/metric_{n}": n / 7 for n in range(METRICS)}


def work(cpu_s: float) -> None:
    """Compute for so much CPU time of this thread."""
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        sum(range(500))


@dataclass
class Times:
    """For every step: wall seconds, CPU seconds of the training thread, and wall seconds of the log call alone."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    call: list[float] = field(default_factory=list)

    def step(self, cpu_s: float, log: Callable[[], None]) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        work(cpu_s)
        worked = time.perf_counter()
        log()
        ended = time.perf_counter()
        self.wall.append(ended - began)
        self.cpu.append(time.thread_time() - cpu)
        self.call.append(ended - worked)


def in_turns(run: Run, steps: range, cpu_s: float) -> tuple[Times, Times]:
    """Steps without and with our journal, one after the other."""
    none, ours = Times(), Times()

    def journal(step: int) -> None:
        run.log(VALUES, step)
        run.progress(step, None)

    for step in steps:
        none.step(cpu_s, lambda: None)
        ours.step(cpu_s, lambda step=step: journal(step))  # type: ignore[misc]
    return none, ours


PLAIN = """
import sys, time, mlflow
from tests.bench.bench_tracking import VALUES, work
uri, name, steps, cpu_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
mlflow.set_tracking_uri(uri)
mlflow.set_experiment(name)
with mlflow.start_run():
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(steps):
        began = time.perf_counter()
        work(cpu_s)
        mlflow.log_metrics(VALUES, step=step)
        print(time.perf_counter() - began, flush=True)
"""


def plain(uri: str, steps: int, cpu_s: float, cap_s: float, before: Callable[[], None]) -> tuple[list[float], float]:
    """Plain MLflow's step times, and how long it was given. `before` is done to the server when it is ready."""
    command = [sys.executable, "-c", PLAIN, uri, f"plain-{time.time()}", str(steps), str(cpu_s)]
    # Our client sets MLflow's patience for its own process; plain MLflow shall have MLflow's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_HTTP_REQUEST")}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    before()
    began = time.monotonic()
    process.stdin.write("go\n")
    process.stdin.flush()
    try:
        rest, _ = process.communicate(timeout=cap_s)
    except subprocess.TimeoutExpired:
        process.kill()
        rest, _ = process.communicate()
    return [float(line) for line in rest.splitlines()], time.monotonic() - began


def row(name: str, times: Sequence[float], base: Sequence[float]) -> None:
    median, ratio = statistics.median(times), statistics.median(times) / statistics.median(base)
    print(f"  {name:<34} {1000 * median:9.2f} ms   {100 * (ratio - 1):+7.2f} %")


def measure_ours(study: Study, server: Server, options: argparse.Namespace) -> None:
    """Each state of the server in turn, while the drain is beside the steps; then count what arrived."""
    run = begin(study.run_dir("train"))
    command = [*drain_command(study.store, "study"), "--tracking-uri", server.uri]
    states: dict[str, Callable[[], None]] = {
        "server answers": lambda: None,
        "server frozen": lambda: server.signal(signal.SIGSTOP),
        "server killed": server.kill,
    }
    first = 1
    with draining(command, study.store.root / "tracking.log"):
        time.sleep(10)  # the drain has loaded MLflow
        for name, change in states.items():
            change()
            none, ours = in_turns(run, range(first, first + options.steps), options.work)
            first += options.steps
            print(f"{name}; none and ours in turns, medians of {options.steps} steps:")
            row("none, wall", none.wall, none.wall)
            row("ours, wall", ours.wall, none.wall)
            row("none, CPU of the training thread", none.cpu, none.cpu)
            row("ours, CPU of the training thread", ours.cpu, none.cpu)
            call = statistics.median(ours.call)
            share = 100 * call / statistics.median(none.wall)
            print(f"  the log call alone: {1e6 * call:.0f} us, {share:.3f} % of a step")
    end(run, last_step=first - 1)
    server.start()
    result = sync(study.store, "study", tracking_uri=server.uri)
    assert result.error is None, result.error
    back = ReadBack.of(result, server.uri)
    points = back.points(back.run(kind="rl"), "train/")
    twice = sum(times > 1 for times in points.values())
    print(f"points logged {(first - 1) * METRICS}, stored {sum(points.values())}, stored more than once {twice}")


def measure_plain(server: Server, options: argparse.Namespace) -> None:
    none = Times()
    for _ in range(options.steps):
        none.step(options.work, lambda: None)
    print("plain mlflow.log_metrics:")
    times, _ = plain(server.uri, options.steps, options.work, 600, lambda: None)
    row("none, wall", none.wall, none.wall)
    row("server answers, wall", times, none.wall)
    for name, change, undo in (
        ("server frozen", lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
        ("server killed", server.kill, server.start),
    ):
        times, given = plain(server.uri, options.steps, options.work, options.cap, change)
        undo()
        print(f"  {name:<34} {len(times)} of {options.steps} steps in {given:.0f} s, then it ended or was ended")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--work", type=float, default=0.1, help="CPU seconds of a step")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds for plain MLflow without a server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "runs", domains=("math",))
        with running_server(Path(folder) / "server") as server:
            measure_ours(study, server, options)
            measure_plain(server, options)


if __name__ == "__main__":
    main()
