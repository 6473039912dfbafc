"""The scale study: the same training on base models of different sizes."""

from experiments.study import Study

STUDY = Study(
    name="scale",
    title="Scale study",
    question="The same training on bases of different sizes: do gains, and their transfer, grow with the model?",
    parts=("contrasts", "transfer", "cells", "benchmarks"),
    compare=("base",),
)
