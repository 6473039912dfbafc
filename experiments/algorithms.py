"""The algorithms study: the same training with different RL algorithms."""

from experiments.study import Study

STUDY = Study(
    name="algorithms",
    title="Algorithms study",
    question="The same base, data and budget, trained with different RL algorithms: do they differ in what "
    "they gain inside the training domain, and in what transfers?",
    parts=("contrasts", "transfer", "cells", "benchmarks", "trajectory", "forgetting"),
    compare=("algorithm",),
)
