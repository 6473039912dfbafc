"""What the machine does while a job runs: processors, memory, disk, network, GPUs. Sampled by the drain.

Written beside the job's own journal under the names that MLflow's UI shows as system metrics. The job
itself takes no part in it.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from manager.atomic import JsonlWriter
from manager.liveness import is_alive

INTERVAL_S = 10.0
MB = 1e6
GPU_FIELDS = ("utilization.gpu", "memory.used", "memory.total", "power.draw", "power.limit")
QUERY_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Watched:
    """An attempt whose machine is to be sampled."""

    job_id: str
    journal: Path
    record: Mapping[str, Any]  # attempt.json
    began: float  # when the job's first attempt started: steps are seconds since then


class SystemSampler:
    """A thread that samples this machine for every watched attempt that is alive on it."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._watched: tuple[Watched, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="system metrics", daemon=True)
        self._network = psutil.net_io_counters()
        psutil.cpu_percent()  # the first call measures nothing

    def start(self) -> None:
        self._thread.start()

    def watch(self, attempts: Sequence[Watched]) -> None:
        self._watched = tuple(attempts)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=QUERY_TIMEOUT_S)

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.sample()

    def sample(self) -> None:
        """One sample into the journal of every watched attempt that runs here."""
        here = [watched for watched in self._watched if is_alive(watched.record)]
        if not here:
            return
        shared = self._machine() | gpu_values(_query_gpus())
        for watched in here:
            values = shared | disk_values(watched.journal.parent) | job_values(int(watched.record["pid"]))
            now = time.time()
            record = {"time": now, "type": "metrics", "step": int(now - watched.began), "values": values}
            try:
                writer = JsonlWriter(watched.journal)
                writer.write(record)
                writer.close()
            except OSError:
                continue  # a full disk: a sample less; the job's own journal tells its own story

    def _machine(self) -> dict[str, float]:
        memory, network = psutil.virtual_memory(), psutil.net_io_counters()
        return {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / MB,
            "system/system_memory_usage_percentage": memory.percent,
            "system/network_receive_megabytes": (network.bytes_recv - self._network.bytes_recv) / MB,
            "system/network_transmit_megabytes": (network.bytes_sent - self._network.bytes_sent) / MB,
        }


def disk_values(folder: Path) -> dict[str, float]:
    """The file system that holds the run directory."""
    disk = psutil.disk_usage(str(folder))
    return {
        "system/disk_usage_percentage": disk.percent,
        "system/disk_usage_megabytes": disk.used / MB,
        "system/disk_available_megabytes": disk.free / MB,
    }


def job_values(pid: int) -> dict[str, float]:
    """The memory of the job's process and its children."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return {}
    resident = 0
    for member in family:
        try:
            resident += member.memory_info().rss
        except psutil.Error:
            continue  # it ended just now
    return {"system/job_memory_usage_megabytes": resident / MB}


def _query_gpus() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={','.join(('index', *GPU_FIELDS))}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def gpu_values(text: str) -> dict[str, float]:
    """nvidia-smi's answer as metrics; what a GPU does not tell is left out."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        index, *cells = [cell.strip() for cell in line.split(",")]
        told = {
            name: number for name, cell in zip(GPU_FIELDS, cells, strict=False) if (number := _number(cell)) is not None
        }
        prefix = f"system/gpu_{index}"
        if "utilization.gpu" in told:
            values[f"{prefix}_utilization_percentage"] = told["utilization.gpu"]
        if "memory.used" in told:
            values[f"{prefix}_memory_usage_megabytes"] = told["memory.used"] * 2**20 / MB
            if told.get("memory.total"):
                share = 100 * told["memory.used"] / told["memory.total"]
                values[f"{prefix}_memory_usage_percentage"] = share
        if "power.draw" in told:
            values[f"{prefix}_power_usage_watts"] = told["power.draw"]
            if told.get("power.limit"):
                values[f"{prefix}_power_usage_percentage"] = 100 * told["power.draw"] / told["power.limit"]
    return values


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # "[N/A]"
