"""From jobs to arrays: which jobs share one call of sbatch, under which indexes, after what. Pure.

Children stand at their parents' indexes, so that `aftercorr` lets each start when its own parent is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from manager.job import Resources, SweepJob, canonical_json

# Above these numbers exact dependencies would need one sbatch for each job, or lines of many kilobytes.
MAX_GROUPS_OF_PARENTS = 8
MAX_NAMED_PARENTS = 50


@dataclass(frozen=True, order=True)
class Source:
    """An array that others depend on: planned here (by number) or already in the queue (by its id)."""

    chunk: int | None
    array_id: str = ""


@dataclass(frozen=True)
class ParentTask:
    """A job in the queue: `index` is None where it is no array."""

    source: Source
    index: int | None


@dataclass(frozen=True)
class Dependency:
    """`kind` is a word of --dependency; `indexes` None: the whole array."""

    kind: str
    source: Source
    indexes: tuple[int | None, ...] | None = None


@dataclass
class Chunk:
    """One call of sbatch: tasks by index, all with the same resources."""

    number: int
    stage: str
    resources: Resources
    dependencies: tuple[Dependency, ...] = ()
    tasks: dict[int, SweepJob] = field(default_factory=dict)
    throttle: int | None = None

    @property
    def array(self) -> str:
        """The text of --array."""
        text = index_text(sorted(self.tasks))
        return f"{text}%{self.throttle}" if self.throttle and self.throttle < len(self.tasks) else text

    @property
    def one_first(self) -> str:
        """The text of --array with one job at a time, until it is seen that the first one works."""
        return f"{index_text(sorted(self.tasks))}%1"


def index_text(indexes: Sequence[int]) -> str:
    """Sorted indexes as Slurm writes them: `0-3,7`."""
    parts: list[str] = []
    start = previous = None
    for index in [*indexes, None]:
        if start is not None and (index is None or index != previous + 1):  # type: ignore[operator]
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = index
        previous = index
    return ",".join(parts)


def compact_ids(scheduler_ids: Iterable[str]) -> list[str]:
    """`123_4`, `123_5`, `9` as `123_[4-5]`, `9`: one name for each array."""
    arrays: dict[str, list[int]] = {}
    single = []
    for each in scheduler_ids:
        array_id, _, index = each.partition("_")
        if index:
            arrays.setdefault(array_id, []).append(int(index))
        else:
            single.append(each)
    return single + [f"{array_id}_[{index_text(sorted(set(indexes)))}]" for array_id, indexes in arrays.items()]


def dependency_text(
    dependencies: Sequence[Dependency], array_ids: Mapping[int, str], *, arrays: bool = True
) -> str | None:
    """The text of --dependency, once the ids of earlier chunks are known. Without arrays jobs stand alone."""
    by_kind: dict[str, list[str]] = {}
    for dependency in dependencies:
        source = dependency.source
        name = source.array_id if source.chunk is None else array_ids[source.chunk]
        kind = dependency.kind if arrays else dependency.kind.replace("aftercorr", "afterok")
        names = [name]
        if dependency.indexes is not None and arrays:
            names = [name if index is None else f"{name}_{index}" for index in dependency.indexes]
        by_kind.setdefault(kind, []).extend(names)
    return ",".join(f"{kind}:{':'.join(names)}" for kind, names in by_kind.items()) or None


def fit_queue(entries: Sequence[SweepJob], room: int | None, in_queue: set[str]) -> list[SweepJob]:
    """The first jobs that fit into the queue; a child only if its parents are in it, go with it, or are over.

    Jobs whose parents are left out would wait for something that nobody has submitted.
    """
    if room is None or len(entries) <= room:
        return list(entries)
    offered = {entry.job.id for entry in entries}
    taken: set[str] = set()
    result: list[SweepJob] = []
    for entry in entries:
        if len(result) >= room:
            break
        if all(need in taken or need in in_queue or need not in offered for need in entry.job.needs):
            taken.add(entry.job.id)
            result.append(entry)
    return result


def plan_arrays(
    entries: Sequence[SweepJob],
    parents: Mapping[str, ParentTask],
    max_array: int,
    max_parallel: int | None = None,
    free: Collection[str] = (),
) -> list[Chunk]:
    """The arrays to submit, in an order in which every array comes after those it depends on.

    `max_parallel` bounds each stage, unless its resources.slurm has an `array_parallelism` of its own.
    `parents`: needed jobs that are already in the queue. A need that is neither there nor among the
    entries is over, and is not named: the job itself looks for its result when it starts.
    `free`: jobs that have what they read of their first need, which may run on.
    """
    plan = _Plan(parents, max(1, max_array), free)
    stages: dict[str, list[SweepJob]] = {}
    for entry in entries:
        stages.setdefault(entry.stage, []).append(entry)
    for stage, members in stages.items():
        shapes: dict[str, list[SweepJob]] = {}
        for entry in members:
            shapes.setdefault(_shape(entry.job.resources), []).append(entry)
        first = len(plan.chunks)
        for same in shapes.values():
            plan.add(stage, same)
        _throttle(plan.chunks[first:], members[0].job.resources.slurm.get("array_parallelism", max_parallel))
    return plan.chunks


def _shape(resources: Resources) -> str:
    """What must be equal for two jobs to be tasks of one array."""
    return canonical_json(
        [resources.nodes, resources.gpus_per_node, resources.tasks, resources.cpus_per_task,
         resources.memory_gb, resources.time_min, dict(resources.slurm), resources.starts_with is not None]
    )  # fmt: skip


def _throttle(chunks: Sequence[Chunk], max_parallel: int | None) -> None:
    """Share the stage's bound among its arrays; each gets at least one."""
    if max_parallel is None:
        return
    share, rest = divmod(max_parallel, max(1, len(chunks)))
    for number, chunk in enumerate(chunks):
        chunk.throttle = max(1, share + (1 if number < rest else 0))


class _Plan:
    def __init__(self, parents: Mapping[str, ParentTask], max_array: int, free: Collection[str]) -> None:
        self.chunks: list[Chunk] = []
        self._place = dict(parents)
        self._max_array = max_array
        self._free = frozenset(free)

    def add(self, stage: str, entries: Sequence[SweepJob]) -> None:
        """Place the jobs of one stage and shape."""
        free: list[SweepJob] = []
        aligned: dict[tuple[Source, ...], list[tuple[int, SweepJob]]] = {}
        gathered: dict[frozenset[ParentTask], list[SweepJob]] = {}
        for entry in entries:
            waits_for = frozenset(self._place[need] for need in self._awaited(entry) if need in self._place)
            indexes = {parent.index for parent in waits_for}
            index = next(iter(indexes)) if len(indexes) == 1 else None
            if not waits_for:
                free.append(entry)
            elif index is not None:
                sources = tuple(sorted({parent.source for parent in waits_for}, key=_source_order))
                aligned.setdefault(sources, []).append((index, entry))
            else:
                gathered.setdefault(waits_for, []).append(entry)
        self._fill(stage, free, ())
        for sources, placed in aligned.items():
            per_parent = Counter(index for index, _ in placed)
            if len(per_parent) >= max(per_parent.values()):
                self._align(stage, sources, placed)
                continue
            # Few parents with many children each: one array for the children of each needs fewer calls.
            for index, entry in placed:
                group = frozenset(ParentTask(source, index) for source in sources)
                gathered.setdefault(group, []).append(entry)
        if len(gathered) > MAX_GROUPS_OF_PARENTS:
            everything = frozenset(parent for group in gathered for parent in group)
            gathered = {everything: [entry for group in gathered.values() for entry in group]}
            kind = "afterany"  # one failed parent must not hold back the children of the others
        else:
            kind = "afterok"
        for group, members in gathered.items():
            self._fill(stage, members, self._gather(group, kind))

    def _awaited(self, entry: SweepJob) -> tuple[str, ...]:
        return entry.job.needs[1:] if entry.job.id in self._free else entry.job.needs

    def _open(self, stage: str, resources: Resources, dependencies: tuple[Dependency, ...]) -> Chunk:
        chunk = Chunk(len(self.chunks), stage, resources, dependencies)
        self.chunks.append(chunk)
        return chunk

    def _put(self, chunk: Chunk, index: int, entry: SweepJob) -> None:
        chunk.tasks[index] = entry
        self._place[entry.job.id] = ParentTask(Source(chunk.number), index)

    def _fill(self, stage: str, entries: Sequence[SweepJob], dependencies: tuple[Dependency, ...]) -> None:
        for start in range(0, len(entries), self._max_array):
            part = entries[start : start + self._max_array]
            chunk = self._open(stage, part[0].job.resources, dependencies)
            for index, entry in enumerate(part):
                self._put(chunk, index, entry)

    def _align(
        self, stage: str, sources: tuple[Source, ...], members: Sequence[tuple[int, SweepJob]]
    ) -> None:
        """Each job at its parents' index; the second child of one parent goes into a second array."""
        dependencies = tuple(Dependency("aftercorr", source) for source in sources)
        layers: list[Chunk] = []
        children: dict[int, int] = {}
        for index, entry in members:
            layer = children.get(index, 0)
            children[index] = layer + 1
            if layer == len(layers):
                layers.append(self._open(stage, entry.job.resources, dependencies))
            self._put(layers[layer], index, entry)

    def _gather(self, group: frozenset[ParentTask], kind: str) -> tuple[Dependency, ...]:
        """After jobs in several places: whole arrays where all of their tasks are meant."""
        by_source: dict[Source, list[int | None]] = {}
        for parent in group:
            by_source.setdefault(parent.source, []).append(parent.index)
        result = []
        for source in sorted(by_source, key=_source_order):
            indexes = by_source[source]
            planned = source.chunk is not None and len(self.chunks[source.chunk].tasks) == len(indexes)
            if planned or None in indexes:
                result.append(Dependency(kind, source))
            elif len(indexes) <= MAX_NAMED_PARENTS:
                result.append(Dependency(kind, source, tuple(sorted(i for i in indexes if i is not None))))
            else:
                # Waits for more than it needs, so it must not demand that all of it succeeds.
                result.append(Dependency("afterany", source))
        return tuple(result)


def _source_order(source: Source) -> tuple[int, str]:
    return (-1 if source.chunk is None else source.chunk, source.array_id)
