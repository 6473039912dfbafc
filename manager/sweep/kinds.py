"""What each kind of stage may say: one table. A new kind is one row here and its sections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from manager.job import Kind, Resources
from manager.sweep import agent_training, agents, evaluation, libraries, rejection, training, training_checks
from manager.sweep.part import Part
from manager.sweep.sections import model, prompting, seed
from manager.sweep.shards import read_shards
from manager.sweep.training import misfit

Read = Callable[[Part], dict[str, Any]]
Tell = Callable[[tuple[str, ...], str], None]

COMMON_KEYS = ("kind", "needs", "resources")


@dataclass(frozen=True)
class Section:
    """Keys of a stage that are read together, and the entries of the config that they decide."""

    keys: tuple[str, ...]
    read: Read


@dataclass(frozen=True)
class Schema:
    """A kind of stage. `starts_from_model`: has `model` or needs one stage that makes a model."""

    sections: tuple[Section, ...]
    needs: tuple[Kind, ...] = ()
    starts_from_model: bool = True
    model_optional: bool = False  # a stage of this kind may do without a model
    makes_model: bool = False
    makes_trajectories: bool = False
    one_process: bool = False
    gathers: bool = False  # one job for the sweep, which needs all jobs of the stages it names
    library_key: str = ""  # the key whose mapping goes to a library unchanged, and the class that takes it
    library_class: str = ""
    checkpoints: tuple[str, ...] = ("checkpoint",)  # the key that names steps of the needed stage
    check: Callable[[Mapping[str, Any], Resources, Tell], None] = lambda config, resources, tell: None

    @property
    def keys(self) -> tuple[str, ...]:
        own = tuple(key for section in self.sections for key in section.keys)
        return tuple(dict.fromkeys((*COMMON_KEYS, *own, *(self.checkpoints if self.starts_from_model else ()))))


def _report(part: Part) -> dict[str, Any]:
    """`study` is the sweep's unless the stage names another."""
    study = part.choice(("study",), part.catalog.studies, "study", part.context.study)
    if study is None:
        part.wrong(("study",), f"missing here and in the sweep; one of: {', '.join(part.catalog.studies)}")
    settings = part.passed(("settings",))
    part.keys(("settings",), part.catalog.report_settings)
    for key, value in settings.items():
        if key in part.catalog.report_settings and (problem := misfit(value, part.catalog.report_settings[key])):
            part.wrong(("settings", key), problem)
    return {"study": study, "settings": settings}


_SEED = Section(("seed",), seed)
_DATA = Section(("data",), training.data)
_DEEPSPEED = Section(("deepspeed",), libraries.deepspeed)
_PLAYED = ("environments", "episodes", "sampling", "agent")
_PEFT = Section(("peft",), libraries.peft)

SCHEMAS: Mapping[Kind, Schema] = {
    Kind.SFT: Schema(
        sections=(
            Section(("model",), partial(model, scratch=True)),
            Section(("data",), training.demonstrations),
            _SEED,
            Section(("batch", "sft"), training.sft),
            _DEEPSPEED,
            _PEFT,
        ),
        needs=(Kind.SFT, Kind.RL),
        makes_model=True,
        library_key="sft",
        library_class="SFTConfig",
        check=training_checks.check_sft,
    ),
    Kind.RL: Schema(
        sections=(
            Section(("model",), partial(model, scratch=False)),
            Section(("data", "environments", "agent", "seed"), agent_training.data),
            _SEED,
            Section(("algorithm", "trainer", "batch", "grpo", "export_steps", "environments"), agent_training.rl),
            Section(("reward", "environments"), agent_training.reward),
            _DEEPSPEED,
            _PEFT,
            Section(("generation", "algorithm", "resources"), training.generation),
        ),
        needs=(Kind.SFT, Kind.RL),
        makes_model=True,
        library_key="grpo",
        library_class="GRPOConfig",
        check=agent_training.check,
    ),
    Kind.EVALUATE: Schema(
        sections=(
            Section(("model",), partial(model, scratch=False)),
            Section(("suite", "sampling", "limit", "environments", "episodes", "agent", "prompting"), agents.asked),
            Section(("engine",), evaluation.engine),
            Section(("when",), evaluation.when),
            Section(("prompting",), prompting),
            _SEED,
            Section(("shards", "deadline_min"), read_shards),
        ),
        needs=(Kind.SFT, Kind.RL),
        one_process=True,
        checkpoints=("checkpoints",),
        check=agents.check_evaluation,
    ),
    Kind.SAMPLE: Schema(
        sections=(
            Section(("model",), partial(model, scratch=False)),
            _DATA,
            Section(("samples", "keep", "sampling"), rejection.sampling),
            Section(("engine",), evaluation.engine),
            Section(("prompting",), prompting),
            _SEED,
        ),
        needs=(Kind.SFT, Kind.RL),
        makes_trajectories=True,
        one_process=True,
        check=evaluation.check,
    ),
    Kind.COLLECT: Schema(
        sections=(
            Section(("model",), partial(model, scratch=False)),
            Section((*_PLAYED, "policy", "keep", "model", "needs"), agents.collect),
            Section(("engine",), evaluation.engine),
            _SEED,
        ),
        needs=(Kind.SFT, Kind.RL),
        model_optional=True,
        makes_trajectories=True,
        one_process=True,
        check=evaluation.check,
    ),
    Kind.PROBE: Schema(
        sections=(
            Section(("model",), partial(model, scratch=False)),
            Section((*_PLAYED, "cap"), agents.probe),
            Section(("engine",), evaluation.engine),
            _SEED,
        ),
        needs=(Kind.SFT, Kind.RL),
        one_process=True,
        check=evaluation.check,
    ),
    Kind.REPORT: Schema(
        sections=(Section(("study", "settings"), _report),),
        needs=(Kind.SFT, Kind.RL, Kind.EVALUATE, Kind.PROBE),
        starts_from_model=False,
        one_process=True,
        gathers=True,
    ),
}
