"""From a document to jobs: every stage for every combination, identical ones once. Pure.

A stage depends on the matrix only through the values that it uses. Its sections are read once for each
tuple of the values that they use, and its jobs made once for each tuple that the stage and what it needs use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from manager.catalog import Catalog
from manager.content import FindFiles
from manager.job import Job, Resources, Sweep, SweepJob
from manager.sweep.checkpoints import Steps, read_checkpoints, starting_with
from manager.sweep.document import Document
from manager.sweep.kinds import SCHEMAS, Schema, Section
from manager.sweep.matrix import combinations
from manager.sweep.mistakes import unknown
from manager.sweep.nodes import Node
from manager.sweep.part import Context, FindModel, Part
from manager.sweep.part import nowhere as no_files
from manager.sweep.sections import resources as read_resources
from manager.sweep.shards import AUTO, ChooseShards, one_shard
from manager.sweep.stages import Stage, read_stages
from manager.sweep.top import KEYS, read_top, with_defaults, with_values
from manager.sweep.values import MISSING, Row, Template, Values, has_missing, template

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
RESOURCES = Section(("resources",), lambda part: {})


@dataclass
class Entry:
    """A job on its way into the sweep; labels shrink when combinations turn out to be the same job."""

    stage: str
    labels: dict[str, Any]
    job: Job
    steps: Steps  # what can be said of the checkpoints it will make


@dataclass
class _Prepared:
    """A stage compiled: one template a section, and the jobs made so far by the values they depend on."""

    stage: Stage
    schema: Schema
    templates: list[tuple[Section, Template]]
    depends: Template  # on everything that the stage and its needs use; gives the key of `made`
    results: list[dict[Any, Any]] = field(default_factory=list)
    made: dict[Any, list[Entry]] = field(default_factory=dict)


def nowhere(text: str, folder: Any) -> None:
    """No model is a folder: for an expansion that must not touch the disk."""


def expand(
    document: Document,
    catalog: Catalog,
    *,
    environ: Mapping[str, str] | None = None,
    find_model: FindModel = nowhere,
    find_files: FindFiles = no_files,
    choose_shards: ChooseShards = one_shard,
) -> Sweep:
    """The jobs of the sweep. All mistakes are told at once, as `SweepErrors`."""
    return _Expansion(document, catalog, environ or {}, (find_model, find_files), choose_shards).sweep()


class _Expansion:
    def __init__(
        self,
        document: Document,
        catalog: Catalog,
        environ: Mapping[str, str],
        find: tuple[FindModel, FindFiles],
        choose_shards: ChooseShards,
    ) -> None:
        self.mistakes = document.mistakes
        self.choose_shards = choose_shards
        self.document = document
        written = with_defaults(document.root, self.mistakes)
        constant = Values(written, (), environ, self.mistakes)
        root = with_values(written, ("name", "study", "matrix", "exclude", "include"), constant)
        self.top = read_top(root, document.name, catalog, constant, self.mistakes)
        self.stages = read_stages(root, self.mistakes)
        self.matrix = combinations(root, KEYS, self.mistakes)
        self.values = Values(root, self.matrix.keys, environ, self.mistakes)
        self.context = Context(root, self.matrix, catalog, self.mistakes, find[0], self.top.study, find[1])
        self.entries: dict[str, Entry] = {}
        self.prepared: dict[str, _Prepared] = {}

    def sweep(self) -> Sweep:
        for stage in self.stages:
            self._prepare(stage)
        self._check_matrix()
        for prepared in self.prepared.values():
            if not prepared.schema.gathers:
                self._make_all(prepared)
        for prepared in self.prepared.values():
            if prepared.schema.gathers:
                self._gather(prepared)
        self.mistakes.raise_if_any()
        jobs = tuple(SweepJob(entry.stage, entry.labels, entry.job) for entry in self.entries.values())
        plain = self.document.root.plain()
        text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        return Sweep(self.top.name, self.top.study, jobs, self.top.settings, text)

    def _check_matrix(self) -> None:
        root = self.context.root
        if not self.matrix.rows and not self.mistakes:
            self.mistakes.add(root.at(["exclude"]).place, "exclude", "no combination is left")
        used = {place for prepared in self.prepared.values() for place in prepared.depends.uses}
        if self.mistakes:
            return  # a stage that cannot be read may be the one that uses it
        for place, key in enumerate(self.matrix.keys):
            group = next((name for name, keys in self.matrix.groups.items() if key in keys), key)
            if place not in used:
                where = root.at(["matrix", group]).place
                self.mistakes.add(where, f"matrix.{group}", f"no stage uses ${{{key}}}; use it or take it out")

    # Preparing a stage

    def _prepare(self, stage: Stage) -> None:
        schema = SCHEMAS[stage.kind]
        entries: dict[str, Node] = stage.node.value
        for key, node in entries.items():
            if key not in schema.keys:
                library = schema.library_key
                fields = self.context.catalog.trainer_fields.get(schema.library_class, {})
                inside = library and key in fields
                why = f"unknown key, did you mean {library}.{key}" if inside else unknown("key", key, schema.keys)
                self.mistakes.add(node.place, ("stages", stage.name, key), why)
        sections = [*schema.sections, RESOURCES]
        if schema.starts_from_model:
            self._check_model(stage, schema)
            sections.append(Section(schema.checkpoints, lambda part: {}))
        templates = [(section, self._compile(stage, section)) for section in sections]
        uses = [place for _, one in templates for place in one.uses]
        if schema.gathers and uses:
            keys = ", ".join(f"${{{self.matrix.keys[place]}}}" for place in sorted(set(uses)))
            place = stage.node.place
            self.mistakes.add(
                place, ("stages", stage.name), f"{stage.kind} is one job for the sweep and cannot use {keys}"
            )
        for need in (*stage.needs, *stage.reads):
            if need in self.prepared and not schema.gathers:
                uses += self.prepared[need].depends.uses
        depends = template(uses, lambda row: None)
        self.prepared[stage.name] = _Prepared(stage, schema, templates, depends, [{} for _ in templates])

    def _check_model(self, stage: Stage, schema: Schema) -> None:
        """Exactly one of `model` and a needed stage that makes one."""
        entries, at = stage.node.value, ("stages", stage.name)
        has_model = "model" in entries and entries["model"].value is not None
        if has_model and stage.needs:
            why = f"it needs {stage.needs[0]}, which makes its model; leave out model or needs"
            self.mistakes.add(entries["model"].place, (*at, "model"), why)
        elif not has_model and "needs" not in entries and not schema.model_optional:
            kinds = " or ".join(schema.needs)
            self.mistakes.add(stage.node.place, at, f"no model: write model: NAME, or needs: a stage of kind {kinds}")
        elif has_model:
            for key in schema.checkpoints:
                if key in entries and entries[key].value is not None:
                    why = "names steps of a needed stage, and this stage needs none"
                    self.mistakes.add(entries[key].place, (*at, key), why)

    def _compile(self, stage: Stage, section: Section) -> Template:
        keys = [key for key in section.keys if key in stage.node.value]
        node = Node({key: stage.node.value[key] for key in keys}, stage.node.place)
        return self.values.compile(node, ("stages", stage.name))

    # Making jobs

    def _make_all(self, prepared: _Prepared) -> None:
        key_of = prepared.depends.key
        for row in self.matrix.rows:
            key = key_of(row)
            if key not in prepared.made:
                prepared.made[key] = self._make(prepared, row)

    def _make(self, prepared: _Prepared, row: Row) -> list[Entry]:
        read = [
            self._read(prepared, number, section, one, row) for number, (section, one) in enumerate(prepared.templates)
        ]
        if any(result is None for result in read):
            return []
        *parts, resources, steps = read
        has_model = all("model" in part for part in parts[:1])
        if not has_model and not prepared.stage.needs and not prepared.schema.model_optional:
            return []
        config = {key: value for part in parts for key, value in part.items()}
        saved = config.pop("when", "done") == "saved"  # decides when, not what: no part of the identity
        # Where files are is no part of the identity; their digests are.
        resources = replace(resources, files=config.pop("files", {}))
        prepared.schema.check(config, resources, self._part(prepared, row).wrong)
        if saved and not prepared.stage.needs:
            why = "saved: this stage needs no stage that saves weights; leave it out"
            self._part(prepared, row).wrong(("when",), why)
        shards = config.pop("shards", (1, None))
        read_from = self._read_from(prepared, config, row)
        if len(read_from) < len(prepared.stage.reads):
            return []  # a stage that it reads from could not be read; it is told
        if not prepared.stage.needs:
            return self._add_shards(prepared, config, read_from, resources, row, {}, shards)
        needed = self.prepared.get(prepared.stage.needs[0])
        if needed is None:
            return []  # that stage could not be read; it is told
        asked = prepared.stage.node.value.get("checkpoints")
        written = asked is not None and asked.value is not None
        return [
            shard
            for entry in needed.made.get(needed.depends.key(row), [])
            for step in read_checkpoints(self._part(prepared, row), steps, entry.steps, needed.stage.name)
            for shard in self._add_shards(
                prepared,
                {**config, "model": {"need": 0, "checkpoint": step}},
                (entry.job.id, *read_from),
                starting_with(step, entry.steps, resources) if saved else resources,
                row,
                {"checkpoint": step} if written else {},
                shards,
            )
        ]

    def _read_from(self, prepared: _Prepared, config: dict[str, Any], row: Row) -> tuple[str, ...]:
        """The jobs whose trajectories are read; the config then names them by their place among the needs."""
        if not prepared.stage.reads:
            return ()
        first = 1 if prepared.stage.needs else 0
        found: dict[str, str] = {}
        for name in prepared.stage.reads:
            other = self.prepared.get(name)
            for entry in other.made.get(other.depends.key(row), []) if other is not None else []:
                found[name] = entry.job.id
        places = {name: first + number for number, name in enumerate(found)}
        ratios = [
            {"need": places[one["stage"]], "ratio": one["ratio"]}
            for one in config["data"]["trajectories"]
            if one["stage"] in places
        ]
        config["data"] = {**config["data"], "trajectories": ratios}
        return tuple(found.values())

    def _part(self, prepared: _Prepared, row: Row, values: Mapping[str, Any] | None = None) -> Part:
        return Part(self.context, prepared.stage.name, values or {}, row)

    def _read(self, prepared: _Prepared, number: int, section: Section, one: Template, row: Row) -> Any:
        """What the section gives for this row, or None after a mistake; read once for the values it uses."""
        memo, key = prepared.results[number], one.key(row)
        if key not in memo:
            values = one.fill(row)
            part = self._part(prepared, row, values)
            part.ok = not has_missing(values)  # what is there is checked all the same
            result: Any = None
            if MISSING not in values.values():
                if section is RESOURCES:
                    result = read_resources(part, one_process=prepared.schema.one_process)
                elif section.keys == prepared.schema.checkpoints:
                    result = values
                else:
                    result = section.read(part)
            memo[key] = result if part.ok else None
        return memo[key]

    def _labels(self, uses: Iterable[int], row: Row) -> dict[str, Any]:
        return {self.matrix.keys[place]: row[place] for place in uses}

    def _add_shards(
        self,
        prepared: _Prepared,
        config: dict[str, Any],
        needs: tuple[str, ...],
        resources: Resources,
        row: Row,
        more: Mapping[str, Any],
        shards: tuple[int | str, float | None],
    ) -> list[Entry]:
        """The entries of all shards of this job; of the job itself where it has one."""
        whole, (count, deadline_min) = Job(prepared.stage.kind, config, needs, resources), shards
        of = self.choose_shards(whole, self._ancestors(needs), deadline_min or 0.0) if count == AUTO else int(count)
        return [
            self._add(
                prepared,
                dict(whole.shard(index, of).config),
                needs,
                resources,
                row,
                {**more, "shard": f"{index + 1}/{of}"} if of > 1 else more,
            )
            for index in range(of)
        ]

    def _ancestors(self, needs: tuple[str, ...]) -> dict[str, Job]:
        found: dict[str, Job] = {}
        todo = list(needs)
        while todo:
            one = self.entries[todo.pop()].job
            found[one.id] = one
            todo += one.needs
        return found

    def _add(
        self,
        prepared: _Prepared,
        config: dict[str, Any],
        needs: tuple[str, ...],
        resources: Resources,
        row: Row,
        more: Mapping[str, Any],
    ) -> Entry:
        """The entry of this job: a new one, or the one that is already there for the same id."""
        job = Job(prepared.stage.kind, config, needs, resources)
        labels = self._labels(prepared.depends.uses, row) | dict(more)
        known = self.entries.get(job.id)
        if known is None:
            entry = Entry(prepared.stage.name, labels, job, Steps.of(job))
            self.entries[job.id] = entry
            return entry
        if known.stage == prepared.stage.name:
            known.labels = {key: value for key, value in known.labels.items() if labels.get(key, known) == value}
            if replace(known.job.resources, files=resources.files) != resources:
                self._part(prepared, row).wrong(
                    ("resources",),
                    "combinations that are one and the same job ask for different resources, "
                    "which are not part of a job's identity; give them the same",
                )
        return known

    def _gather(self, prepared: _Prepared) -> None:
        """The one job that needs all jobs of the stages it names."""
        row: Row = self.matrix.rows[0] if self.matrix.rows else ()
        read = [
            self._read(prepared, number, section, one, row) for number, (section, one) in enumerate(prepared.templates)
        ]
        if not prepared.stage.needs:
            self._part(prepared, row).wrong((), "needs: names the stages that it reports on; there is none")
        if any(result is None for result in read) or self.mistakes:
            return
        *parts, resources = read
        config = {key: value for part in parts for key, value in part.items()}
        ids: dict[str, int] = {}
        inputs: list[dict[str, Any]] = []
        for need in prepared.stage.needs:
            found = {e.job.id: e for made in self.prepared[need].made.values() for e in made}
            places = [ids.setdefault(one, len(ids)) for one in found]
            inputs.append({"stage": need, "needs": places, "labels": [dict(e.labels) for e in found.values()]})
        self._add(prepared, {**config, "inputs": inputs}, tuple(ids), resources, (), {})
