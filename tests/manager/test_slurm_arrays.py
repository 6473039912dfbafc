"""Which jobs share an array, at which index, after what."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from manager.cluster.slurm_arrays import (
    Chunk,
    ParentTask,
    Source,
    dependency_text,
    fit_queue,
    index_text,
    plan_arrays,
)
from manager.job import Job, Kind, Resources, SweepJob


def entry(stage: str, number: int, needs: tuple[SweepJob, ...] = (), **resources: object) -> SweepJob:
    job = Job(
        Kind.RL,
        {"stage": stage, "number": number},
        tuple(need.job.id for need in needs),
        Resources(**resources),  # type: ignore[arg-type]
    )
    return SweepJob(stage, {}, job)


def test_many_children_of_one_parent_share_one_array() -> None:
    base = entry("base", 0)
    children = [entry("train", number, (base,)) for number in range(6)]
    chunks = plan_arrays([base, *children], {}, 1001)
    assert [(chunk.stage, chunk.array, dependency_text(chunk.dependencies, {0: "7"})) for chunk in chunks] == [
        ("base", "0", None),
        ("train", "0-5", "afterok:7"),
    ]


def texts(chunks: list[Chunk]) -> list[tuple[str, str, str | None]]:
    ids = {chunk.number: f"ID{chunk.number}" for chunk in chunks}
    return [(chunk.stage, chunk.array, dependency_text(chunk.dependencies, ids)) for chunk in chunks]


def test_index_text() -> None:
    assert index_text([0]) == "0"
    assert index_text([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


def test_children_stand_at_their_parents_indexes() -> None:
    trains = [entry("train", n) for n in range(4)]
    first = [entry("evaluate", n, (train,)) for n, train in enumerate(trains)]
    second = [entry("evaluate", 10 + n, (train,)) for n, train in enumerate(trains)]
    report = entry("report", 0, (*first, *second))
    mixed = [each for pair in zip(first, second, strict=True) for each in pair]
    chunks = plan_arrays([*trains, *mixed, report], {}, 1001)
    assert texts(chunks) == [
        ("train", "0-3", None),
        ("evaluate", "0-3", "aftercorr:ID0"),
        ("evaluate", "0-3", "aftercorr:ID0"),
        ("report", "0", "afterok:ID1:ID2"),
    ]
    assert [each.labels for each in chunks[1].tasks.values()] == [each.labels for each in first]


def test_children_of_jobs_in_the_queue_take_over_their_indexes() -> None:
    trains = [entry("train", n) for n in range(6)]
    children = [entry("evaluate", n, (train,)) for n, train in enumerate(trains)]
    # 0 and 4 wait in array 77, 5 runs as a job that is no array, the others are over.
    live = {
        trains[0].job.id: ParentTask(Source(None, "77"), 0),
        trains[4].job.id: ParentTask(Source(None, "77"), 4),
        trains[5].job.id: ParentTask(Source(None, "90"), None),
    }
    assert texts(plan_arrays(children, live, 1001)) == [
        ("evaluate", "0-2", None),
        ("evaluate", "0,4", "aftercorr:77"),
        ("evaluate", "0", "afterok:90"),
    ]


def test_different_resources_are_different_arrays() -> None:
    jobs = [entry("train", 0), entry("train", 1, gpus_per_node=8), entry("train", 2), entry("train", 3, micro_batch=4)]
    assert texts(plan_arrays(jobs, {}, 1001)) == [("train", "0-2", None), ("train", "0", None)]


def test_arrays_stay_below_the_limit_and_share_the_bound_on_parallel_jobs() -> None:
    jobs = [entry("train", n) for n in range(25)]
    chunks = plan_arrays(jobs, {}, 10, 7)
    assert [chunk.array for chunk in chunks] == ["0-9%3", "0-9%2", "0-4%2"]
    assert [chunk.array for chunk in plan_arrays(jobs, {}, 10, 1)] == ["0-9%1", "0-9%1", "0-4%1"]
    own = [entry("train", n, slurm={"array_parallelism": 2}) for n in range(5)]
    assert [chunk.array for chunk in plan_arrays(own, {}, 10, 4)] == ["0-4%2"]


def test_a_job_after_tasks_of_several_arrays_names_those_tasks() -> None:
    trains = [entry("train", n) for n in range(25)]
    pair = entry("compare", 0, (trains[3], trains[17]))
    chunks = plan_arrays([*trains, pair], {}, 10)
    assert texts(chunks)[-1] == ("compare", "0", "afterok:ID0_3:ID1_7")


def test_many_different_groups_of_parents_share_one_array_that_demands_no_success() -> None:
    trains = [entry("train", n) for n in range(25)]
    aligned = [entry("compare", n, (trains[n], trains[n + 10])) for n in range(10)]
    assert texts(plan_arrays([*trains, *aligned], {}, 10))[3:] == [("compare", "0-9", "aftercorr:ID0:ID1")]
    shifted = [entry("compare", n, (trains[n], trains[n + 11])) for n in range(9)]
    assert texts(plan_arrays([*trains, *shifted], {}, 10))[3:] == [
        ("compare", "0-8", "afterany:ID0_0:ID0_1:ID0_2:ID0_3:ID0_4:ID0_5:ID0_6:ID0_7:ID0_8"
         ":ID1_1:ID1_2:ID1_3:ID1_4:ID1_5:ID1_6:ID1_7:ID1_8:ID1_9"),
    ]  # fmt: skip


def test_without_arrays_every_job_stands_alone() -> None:
    train = entry("train", 0)
    child = entry("evaluate", 0, (train,))
    chunks = plan_arrays([train, child, entry("train", 1)], {}, 0)
    ids = {chunk.number: str(10 + chunk.number) for chunk in chunks}
    assert [len(chunk.tasks) for chunk in chunks] == [1, 1, 1]
    assert dependency_text(chunks[2].dependencies, ids, arrays=False) == "afterok:10"


def test_only_jobs_whose_parents_fit_too_are_submitted_to_a_full_queue() -> None:
    trains = [entry("train", n) for n in range(3)]
    children = [entry("evaluate", n, (train,)) for n, train in enumerate(trains)]
    assert fit_queue([*trains, *children], None, set()) == [*trains, *children]
    assert fit_queue([*trains, *children], 4, set()) == [*trains, children[0]]
    assert fit_queue([*trains, *children], 2, set()) == trains[:2]
    assert fit_queue(children, 1, {trains[0].job.id}) == children[:1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.lists(st.lists(st.integers(0, 39), max_size=3), max_size=40),
    st.integers(1, 17),
)
def test_every_job_is_placed_once_after_all_of_its_parents(
    shapes: list[int], children: list[list[int]], max_array: int
) -> None:
    trains = [entry("train", n, gpus_per_node=shape) for n, shape in enumerate(shapes)]
    later = [
        entry("evaluate", n, tuple(trains[i] for i in sorted(set(needs)) if i < len(trains)))
        for n, needs in enumerate(children)
    ]
    last = [entry("report", 0, tuple(later))]
    chunks = plan_arrays([*trains, *later, *last], {}, max_array)
    placed = {each.job.id: (chunk.number, index) for chunk in chunks for index, each in chunk.tasks.items()}
    assert sum(len(chunk.tasks) for chunk in chunks) == len(placed) == len(trains) + len(later) + 1
    for chunk in chunks:
        assert all(0 <= index < max_array for index in chunk.tasks)
        for index, each in chunk.tasks.items():
            for need in each.job.needs:
                parent_chunk, parent_index = placed[need]
                assert parent_chunk < chunk.number
                assert any(
                    dependency.source.chunk == parent_chunk
                    and (
                        (dependency.kind == "aftercorr" and parent_index == index)
                        or (dependency.kind in ("afterok", "afterany")
                        and (dependency.indexes is None or parent_index in dependency.indexes))
                    )
                    for dependency in chunk.dependencies
                )  # fmt: skip


def test_ten_thousand_jobs_need_at_most_fifteen_calls() -> None:
    trains = [entry("train", n) for n in range(2499)]
    later = [entry("evaluate", 3 * n + k, (train,)) for n, train in enumerate(trains) for k in range(3)]
    report = entry("report", 0, tuple(later))
    chunks = plan_arrays([*trains, *later, report], {}, 1001)
    assert sum(len(chunk.tasks) for chunk in chunks) == 9997
    assert len(chunks) <= 15
