"""The cascade study: one training domain after another, each stage judged against the start and the last."""

from experiments.study import Study

STUDY = Study(
    name="cascade",
    title="Cascade study",
    question="A model is trained on one domain after another. What does each stage add, and what does it "
    "take from the domains before it?",
    parts=("stages", "cells", "transfer", "benchmarks"),
    control="root",
)
