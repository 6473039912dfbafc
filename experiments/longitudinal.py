"""The longitudinal study: checkpoints along training, inside and outside the training domain."""

from experiments.study import Study

STUDY = Study(
    name="longitudinal",
    title="Longitudinal study",
    question="As training goes on, does the improvement inside the training domain pull away from what "
    "happens outside it?",
    parts=("trajectory", "transfer", "cells", "benchmarks", "forgetting"),
)
