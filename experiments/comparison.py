"""Each trained model beside its control, item by item: what every statistic starts from. Pure.

The control of a trained model is the evaluation of the model that its training started from (by
identity, not by name) on the same benchmark version under the same conditions. Only items that both
answered are compared; what that leaves out is told in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Unit:
    """One trained model at one checkpoint."""

    model: str
    name: str
    base: str
    run: str  # the training run: the replicate that is resampled; its checkpoints move together
    train_domain: str
    train_domains: tuple[str, ...]
    train_subdomains: tuple[str, ...]
    algorithm: str
    reward: str
    seed: int | None
    step: int | None
    stages: int
    prompting: str = ""
    augment: str = ""  # modelling choices of an agent's training, empty for the usual one
    thinking: str = ""
    warmup: str = ""
    length: str = ""
    root: str = ""  # the identity of the model at the start of its chain of trainings


@dataclass(frozen=True)
class Paired:
    """One benchmark: sums and counts of the samples' values, items × units."""

    name: str
    domain: str
    subdomain: str
    items: tuple[str, ...]
    trained_sum: Floats
    trained_count: Floats
    control_sum: Floats
    control_count: Floats
    control_model: tuple[str, ...]  # by unit; empty where there is no control

    @cached_property
    def mask(self) -> Bools:
        """Where a unit and its control both have a defined value."""
        both: Bools = (self.trained_count > 0) & (self.control_count > 0)
        return both

    @cached_property
    def difference(self) -> Floats:
        """Trained minus control, each the mean of the item's samples; 0 where masked."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.trained_sum / self.trained_count - self.control_sum / self.control_count
        return np.where(self.mask, value, 0.0)

    @cached_property
    def n_items(self) -> NDArray[np.int64]:
        """Common items by unit."""
        return np.asarray(self.mask.sum(axis=0), dtype=np.int64)

    @cached_property
    def delta(self) -> Floats:
        """Change of pass@1 by unit; NaN where a unit has no common item."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.difference.sum(axis=0) / self.n_items)

    def rate(self, arm: str) -> Floats:
        """pass@1 by unit on the common items: the mean over items of the mean over samples."""
        total, count = (
            (self.trained_sum, self.trained_count) if arm == "trained" else (self.control_sum, self.control_count)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.mask, total / count, 0.0).sum(axis=0) / self.n_items)


@dataclass(frozen=True)
class Comparison:
    """Every unit beside its control, with what had to be left out."""

    units: tuple[Unit, ...]
    benchmarks: tuple[Paired, ...]
    notes: tuple[str, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(b.domain for b in self.benchmarks))

    def only(self, keep: Iterable[int]) -> Comparison:
        """The same with some of the units."""
        index = list(keep)
        return Comparison(
            tuple(self.units[i] for i in index),
            tuple(
                Paired(
                    b.name, b.domain, b.subdomain, b.items,
                    b.trained_sum[:, index], b.trained_count[:, index],
                    b.control_sum[:, index], b.control_count[:, index],
                    tuple(b.control_model[i] for i in index),
                )
                for b in self.benchmarks
            ),
            self.notes,
        )  # fmt: skip


DOMAIN_ORDER = ("math", "code", "knowledge")
ASKED = " asked by "  # between a model and how it was asked, where it was asked in several ways


_KEYS = ["domain", "benchmark", "version", "condition"]


def compare(frame: pd.DataFrame, *, control: str = "parent", include_unfinished: bool = False) -> Comparison:
    """Pair the trained models of a table with their controls.

    `control` is `parent` (the model that the run started from) or `root` (the start of the chain).
    Unfinished evaluations are left out unless asked for: their items are not yet a fair selection.
    """
    notes: list[str] = []
    used = frame if include_unfinished else frame[frame["finished"]]
    if len(used) < len(frame):
        jobs = frame.loc[~frame["finished"], "job"].nunique()
        notes.append(f"{jobs} unfinished evaluation(s) left out")
    undefined = int(used["value"].isna().sum())
    if undefined:
        notes.append(f"{undefined} of {len(used)} samples have no defined score (grader or engine failed)")
        used = used[used["value"].notna()]
    used = _apart(used)
    units, control_of = _units(used, control, notes)
    paired: list[Paired | None] = []
    slim = used[[*_KEYS, "subdomain", "item", "model", "value"]]  # a group is a copy: keep it small
    ordered = sorted(
        slim.groupby(_KEYS, observed=True, dropna=False),
        key=lambda entry: (_domain_rank(entry[0][0]), str(entry[0][0]), str(entry[0][1:])),
    )
    names = [str(key[1]) for key, _ in ordered]
    for key, rows in ordered:
        name = str(key[1])
        if names.count(name) > 1:
            name += f" v{key[2]} [{1 + names[: len(paired)].count(name)}]"
        paired.append(_pair(name, rows, units, control_of, notes))
    made = Comparison(tuple(units), tuple(b for b in paired if b is not None), tuple(dict.fromkeys(notes)))
    return made.only(_judged(made, control_of))


def _judged(made: Comparison, control_of: list[str]) -> list[int]:
    """All units but those that are only what others started from: trained themselves, and compared with nothing."""
    compared = np.sum([b.n_items for b in made.benchmarks], axis=0) if made.benchmarks else np.ones(len(made.units))
    return [i for i, unit in enumerate(made.units) if compared[i] or unit.model not in control_of]


def _domain_rank(domain: object) -> int:
    return DOMAIN_ORDER.index(str(domain)) if domain in DOMAIN_ORDER else len(DOMAIN_ORDER)


def _apart(frame: pd.DataFrame) -> pd.DataFrame:
    """A model that was asked in several ways is several models here: their samples are not repeats."""
    ways = frame[["model", "prompting"]].drop_duplicates()
    several = set(ways.loc[ways["model"].duplicated(keep=False), "model"].astype(str))
    if not several:
        return frame
    names = frame["model"].astype(str)
    told = names + ASKED + frame["prompting"].astype(str)
    return frame.assign(model=pd.Categorical(told.where(names.isin(several), names)))


def _find_control(wanted: str, prompting: str, ways: pd.DataFrame) -> tuple[str, str]:
    """(model, how it was asked): the base asked in the same way if there is one, else as it was asked."""
    key = ways["name"] if wanted.startswith("name:") else ways["plain"]
    found = ways[key == wanted.removeprefix("name:")]
    same = found[found["prompting"] == prompting]
    chosen = same if len(same) else found
    return (str(chosen["model"].iloc[0]), str(chosen["prompting"].iloc[0])) if len(chosen) else ("", "")


def _units(frame: pd.DataFrame, control: str, notes: list[str]) -> tuple[list[Unit], list[str]]:
    first = frame[frame["arm"] == "trained"].drop_duplicates("model")
    ways = frame[["model", "name", "prompting"]].drop_duplicates().astype(str)
    ways["plain"] = ways["model"].str.partition(ASKED)[0]
    units, controls = [], []
    for row in first.to_dict("records"):
        whole = control == "root"  # the whole chain is what is judged
        units.append(
            Unit(
                model=str(row["model"]), name=str(row["name"]), base=str(row["base"]), run=str(row["run"]),
                train_domain=" → ".join(str(row["path"]).split(">")) if whole else str(row["train_domain"]),
                train_domains=_split(row["path_domains" if whole else "train_domains"]),
                train_subdomains=_split(row["train_subdomains"]),
                algorithm=str(row["algorithm"]), reward=str(row["reward"]),
                seed=None if pd.isna(row["seed"]) else int(row["seed"]),
                step=None if pd.isna(row["step"]) else int(row["step"]), stages=int(row["stages"]),
                prompting=str(row["prompting"]), augment=str(row["augment"]), thinking=str(row["thinking"]),
                warmup=str(row["warmup"]), length=str(row["length"]),
                root=str(row["root_model"]),
            )
        )  # fmt: skip
        found, asked = _find_control(str(row["root_model" if whole else "base_model"]), str(row["prompting"]), ways)
        controls.append(found)
        if found and asked != str(row["prompting"]):
            notes.append(f"{row['name']} was asked by {row['prompting']}, its base {row['base']} by {asked}")
    order = sorted(range(len(units)), key=lambda i: _unit_order(units[i]))
    return [units[i] for i in order], [controls[i] for i in order]


def _unit_order(unit: Unit) -> tuple[object, ...]:
    return (
        unit.base, unit.algorithm, unit.reward, unit.stages, _domain_rank(unit.train_domain), unit.train_domain,
        -1 if unit.seed is None else unit.seed, -1 if unit.step is None else unit.step, unit.name, unit.model,
    )  # fmt: skip


def _split(value: object) -> tuple[str, ...]:
    return tuple(part for part in str(value).split("+") if part)


def _pair(name: str, rows: pd.DataFrame, units: list[Unit], control_of: list[str], notes: list[str]) -> Paired | None:
    """Sums and counts, items × units; None where no unit has a control on this benchmark."""
    item_codes, items = _codes(rows["item"])
    model_codes, models = _codes(rows["model"])
    shape = (len(models), len(items))
    flat = model_codes * shape[1] + item_codes
    values = rows["value"].to_numpy(dtype=np.float64)
    sums = np.bincount(flat, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.asarray(np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape), dtype=np.float64)
    index = {model: i for i, model in enumerate(models)}
    trained = [index.get(unit.model) for unit in units]
    control = [index.get(c) for c in control_of]
    _tell_missing(name, units, trained, control, set(control_of), notes)
    paired = Paired(
        name, str(rows["domain"].iloc[0]), str(rows["subdomain"].iloc[0]), tuple(items),
        _columns(sums, trained), _columns(counts, trained),
        _columns(sums, control), _columns(counts, control),
        tuple(c if i is not None else "" for c, i in zip(control_of, control, strict=True)),
    )  # fmt: skip
    if not paired.mask.any():
        return None
    _tell_restricted(paired, notes)
    return paired


def _codes(values: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Codes 0 … n-1 and the values they stand for, sorted; only values that occur."""
    texts = values.astype("category").cat
    present, codes = np.unique(texts.codes.to_numpy(), return_inverse=True)
    names = [str(texts.categories[i]) for i in present]
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[codes], [names[i] for i in order]


def _columns(matrix: NDArray[Any], rows: list[int | None]) -> Floats:
    out = np.zeros((matrix.shape[1], len(rows)))
    for column, row in enumerate(rows):
        if row is not None:
            out[:, column] = matrix[row]
    return out


def _tell_missing(
    name: str, units: list[Unit], trained: list[int | None], control: list[int | None], starts: set[str],
    notes: list[str],
) -> None:  # fmt: skip
    for unit, mine, base in zip(units, trained, control, strict=True):
        if mine is not None and base is None and unit.model not in starts:
            notes.append(
                f"{name}: no evaluation of the base {unit.base} under the same version and conditions, "
                "so models trained from it are not compared there"
            )


def _tell_restricted(paired: Paired, notes: list[str]) -> None:
    either = (paired.trained_count > 0) | (paired.control_count > 0)
    compared = (paired.trained_count > 0).any(axis=0) & (paired.control_count > 0).any(axis=0)
    lost = (either & ~paired.mask)[:, compared].sum(axis=0)
    if lost.size and lost.max() > 0:
        notes.append(
            f"{paired.name}: restricted to the items that a model and its base both answered "
            f"(up to {int(lost.max())} of {len(paired.items)} left out)"
        )
