"""The observational study: published post-trained models, each against the base it was trained from."""

from experiments.study import Study

STUDY = Study(
    name="observational",
    title="Observational study",
    question="Published models, post-trained by reinforcement learning, are each compared with the model they "
    "were trained from. Do their gains reach beyond the domain of their training data?",
    arm=("name",),
    models_are_replicates=True,
    parts=("transfer", "cells", "benchmarks"),
)
