"""The same global batch on any number of processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.batch import BatchError, in_words, split_rl, split_sft


@given(
    prompts=st.integers(1, 64),
    parts=st.integers(1, 8),
    samples=st.integers(2, 16),
    world_size=st.integers(1, 16),
    micro_batch=st.one_of(st.none(), st.integers(1, 64)),
)
def test_the_global_batch_never_depends_on_how_it_is_split(prompts, parts, samples, world_size, micro_batch):
    batch = {"prompts": prompts * parts, "samples": samples, "mini_batch": prompts}
    try:
        split = split_rl(batch, world_size, micro_batch)
    except BatchError:
        assert prompts * samples % world_size
        return
    assert split.per_step == prompts * samples
    assert split.per_device * split.steps_per_generation * world_size == prompts * parts * samples
    assert split.boundary == parts
    assert split.steps_per_generation == split.accumulation * split.boundary
    assert micro_batch is None or split.per_device <= micro_batch


def test_the_papers_batch_on_eight_gpus():
    split = split_rl({"prompts": 64, "samples": 8, "mini_batch": 16}, 8, 4)
    assert (split.per_device, split.accumulation, split.steps_per_generation, split.boundary) == (4, 4, 16, 4)


def test_supervised_examples_divide_too():
    assert split_sft({"examples": 256}, 2, 48).per_device == 32
    assert split_sft({"examples": 256}, 2, 48).per_step == 256


@pytest.mark.parametrize(
    ("batch", "world_size", "words"),
    [
        ({"prompts": 64, "samples": 1}, 1, "batch.samples"),
        ({"prompts": 64, "samples": 8, "mini_batch": 10}, 1, "batch.mini_batch 10 does not divide batch.prompts 64"),
        ({"prompts": 4, "samples": 2}, 3, "does not divide over 3 processes; use 1, 2, 4"),
        ({"samples": 2}, 1, "batch.prompts"),
        ({"prompts": "64", "samples": 2}, 1, "batch.prompts"),
        ({"prompts": True, "samples": 2}, 1, "batch.prompts"),
    ],
)
def test_what_cannot_be_split_is_told_with_what_can(batch, world_size, words):
    with pytest.raises(BatchError, match=words):
        split_rl(batch, world_size)


def test_the_arithmetic_in_words():
    batch = {"prompts": 64, "samples": 8, "mini_batch": 16}
    assert in_words(batch, split_rl(batch, 8, 4)) == (
        "64 prompts x 8 samples = 512 completions per generation, 4 optimiser step(s) each; "
        "4 x 4 passes x 8 processes = 128 completions per optimiser step"
    )
