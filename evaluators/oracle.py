"""Episodes played by an environment's own plan, in the words of a policy: demonstrations."""

from __future__ import annotations

from evaluators.agent import AgentSettings, Episode, Play, answer
from evaluators.player import Work
from evaluators.worlds import Here, There


def thought(action: str) -> str:
    """What a demonstration thinks. True, and no more than the plan tells."""
    return f"The next step of the plan is to {action}."


def play_oracle(world: Here | There, work: Work, settings: AgentSettings) -> Episode:
    """To the end of the plan. Asked for a plan again wherever the world has left it; none there: the episode ends."""
    play = Play(work.environment, world, settings, work.task, work.sample, work.split, work.seed)
    plan: list[str] = []
    while not play.done:
        if not plan:
            plan = list(world.oracle() or [])
        if not plan:
            break
        action = plan.pop(0)
        play.take(answer(action, thought(action), thinking=settings.thinking))
    return play.episode()
