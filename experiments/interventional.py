"""The interventional study: one base model, trained by RL on one domain alone, evaluated on every domain."""

from experiments.study import Study

STUDY = Study(
    name="interventional",
    title="Interventional study",
    question="A base model is trained by reinforcement learning on one domain alone. Does it improve there, "
    "and do the gains transfer to the other domains?",
    parts=("transfer", "cells", "benchmarks", "trajectory"),
)
