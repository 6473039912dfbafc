"""How far the policy has moved from the model it started from, on held-out prompts of every domain.

Forward KL, E over the base's own answers of log p_base - log p_policy, per token: what "RL's Razor" found to
predict forgetting. The answers are drawn once, before the first step, when policy and base are the same; after
that each measurement is a forward pass, with no second model in memory. The prompts are test items, which no
training sees; nothing is learned from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from trl.trainer.utils import pad

from evaluators import benchmarks
from manager.atomic import write_json
from manager.errors import UserError
from manager.run import Run
from trainers import distributed

FILE = "drift.json"
PROMPTS = 16  # a domain
MOST_TOKENS = 256
SEED = 20250904
MINI = ("mini_math", "mini_code", "mini_knowledge")
REAL = ("gsm8k", "mbpp", "medqa")


@dataclass(frozen=True)
class Probe:
    """One prompt with the base's answer and its log-probability, token by token summed."""

    domain: str
    prompt_ids: list[int]
    answer_ids: list[int]
    base_logp: float


def held_out(data: Mapping[str, Any], folder: Path | None, run: Run) -> list[tuple[str, list[dict[str, str]]]]:
    """(domain, conversation) of the first test items: the mini suite's for mini data, else one a domain."""
    mini = all(str(source.get("benchmark", "")).startswith("mini_") for source in data["sources"])
    found: list[tuple[str, list[dict[str, str]]]] = []
    for name in MINI if mini else REAL:
        if name not in benchmarks.names():
            continue
        benchmark = benchmarks.get(name)
        try:
            items = [item for item, _ in zip(benchmark.items("test", folder), range(PROMPTS), strict=False)]
        except UserError as error:
            run.event("drift_without", f"the KL to the base is not measured on {name}: {error}", benchmark=name)
            continue
        found += [(benchmark.domain, benchmark.messages(item)) for item in items]
    return found


class Drift:
    """Measures with a trainer of TRL. Every rank has a share of the prompts, all of the same size."""

    def __init__(self, run: Run, prompts: Sequence[tuple[str, list[dict[str, str]]]], longest: int) -> None:
        """`longest`: tokens of a prompt after which a whole answer fits the context; longer ones are left out."""
        self._run = run
        self._prompts = prompts
        self._longest = longest
        self._mine: list[tuple[Probe, bool]] = []  # whether it counts: shares are filled up with repetitions

    def _share(self, values: Sequence[Any]) -> list[tuple[Any, bool]]:
        """This rank's share: as many as every other rank has, so that all take part in every forward pass."""
        world, rank = self._run.world_size, self._run.rank
        places = range(rank, -(-len(values) // world) * world, world)
        return [(values[place % len(values)], place < len(values)) for place in places]

    def begin(self, trainer: Any) -> None:
        """Draw the base's answers, or read them if an earlier attempt did."""
        path = self._run.path / "artifacts" / FILE
        known = distributed.from_first(json.loads(path.read_text()) if path.is_file() else None)
        if known is None and trainer.state.global_step == 0 and self._prompts:
            known = self._draw(trainer)
            if self._run.rank == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, known)
        self._mine = self._share([Probe(**entry) for entry in known or []])

    def _fitting(self, trainer: Any) -> list[tuple[str, list[int]]]:
        """(domain, ids) of the prompts that the engine takes; the same on every rank."""
        template = partial(trainer.processing_class.apply_chat_template, **(trainer.chat_template_kwargs))
        encoded = [
            (domain, list(template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]))
            for domain, asked in self._prompts
        ]
        fitting = [(domain, ids) for domain, ids in encoded if len(ids) <= self._longest]
        if left_out := len(encoded) - len(fitting):
            told = f"{left_out} of {len(encoded)} held-out prompts have more than {self._longest} tokens"
            self._run.event("drift_without", f"the KL to the base is not measured on all: {told}", prompts=left_out)
        return fitting

    def _draw(self, trainer: Any) -> list[dict[str, Any]]:
        fitting = self._fitting(trainer)
        if not fitting:
            return []
        mine = self._share(fitting)
        ids = [asked for (_, asked), _ in mine]
        trainer.model.eval()
        with torch.random.fork_rng():  # the training's own random numbers stay as they are
            torch.manual_seed(SEED + self._run.rank)
            answers = [answer[:MOST_TOKENS] for answer in trainer.answer_once(ids)]
        logps = self._logps(trainer, list(zip(ids, answers, strict=True)))
        drawn = [
            {"domain": domain, "prompt_ids": prompt, "answer_ids": answer, "base_logp": logp}
            for ((domain, _), counts), prompt, answer, logp in zip(mine, ids, answers, logps, strict=True)
            if counts
        ]
        return [entry for part in distributed.gather(drawn) for entry in part]

    def _logps(self, trainer: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        """The log-probability of each answer under the trainer's model as it is now."""
        device, size = trainer.args.device, trainer.args.per_device_train_batch_size
        fill = trainer.processing_class.pad_token_id
        found: list[float] = []
        was_training = trainer.model.training
        trainer.model.eval()
        for start in range(0, len(pairs), size):
            some = pairs[start : start + size]
            prompts = [torch.tensor(prompt) for prompt, _ in some]
            answers = [torch.tensor(answer) for _, answer in some]
            left = pad(prompts, padding_value=fill, padding_side="left")
            right = pad(answers, padding_value=fill, padding_side="right")
            masks = (
                pad([torch.ones_like(one) for one in prompts], padding_value=0, padding_side="left"),
                pad([torch.ones_like(one) for one in answers], padding_value=0, padding_side="right"),
            )
            with torch.no_grad():
                logps, *_ = trainer._get_per_token_logps_and_entropies(
                    trainer.model_wrapped,
                    torch.cat([left, right], dim=1).to(device),
                    torch.cat(masks, dim=1).to(device),
                    right.size(1),
                )
            found += (logps.float() * masks[1].to(device)).sum(dim=1).tolist()
        trainer.model.train(was_training)
        return found

    def measure(self, trainer: Any) -> dict[str, float]:
        """Forward KL per token of the answers, by domain; empty where there are no probes."""
        logps = self._logps(trainer, [(probe.prompt_ids, probe.answer_ids) for probe, _ in self._mine])
        mine = [
            (probe.domain, probe.base_logp - logp, len(probe.answer_ids))
            for (probe, counts), logp in zip(self._mine, logps, strict=True)
            if counts
        ]
        sums: dict[str, tuple[float, int]] = {}
        for domain, difference, tokens in (one for part in distributed.gather(mine) for one in part):
            before = sums.get(domain, (0.0, 0))
            sums[domain] = (before[0] + difference, before[1] + tokens)
        return {f"kl_to_base/{domain}": total / tokens for domain, (total, tokens) in sums.items() if tokens}
