"""The rewards study: the same training with better, worse and meaningless reward signals."""

from experiments.study import Study

STUDY = Study(
    name="rewards",
    title="Rewards study",
    question="The same base, data and algorithm, trained on reward signals of different quality: how much of "
    "the gain, inside and outside the training domain, depends on the signal? A random reward is the placebo.",
    parts=("contrasts", "transfer", "cells", "benchmarks", "forgetting"),
    compare=("reward",),
)
