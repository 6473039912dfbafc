"""The agents study: an agent is trained by RL in one text environment, and judged in all of them."""

from experiments.study import Study

STUDY = Study(
    name="agentic",
    title="Agents study",
    question="An agent is trained by reinforcement learning in one text environment. What does that do to its success "
    "in the others, and which properties of the environment and which choices of training matter?",
    arm=("base", "warmup", "thinking", "augment", "length", "algorithm", "reward"),
    parts=("matrix", "ood_scores", "axes", "contrasts", "transfer", "trajectory"),
    compare=("augment", "warmup", "thinking", "length"),
    checkpoints=4,
)
