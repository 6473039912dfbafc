"""Steps as rows: whatever the forward passes, the processes and the fill, it is the gradient of one big batch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.trainers import playing, running

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from trainers import agent_policy, scratch  # noqa: E402
from trainers.batch import EPISODE_LOSSES  # noqa: E402
from trainers.step_rows import Row, Whole, passes, tensors  # noqa: E402


def rows(count: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)

    def ids(most: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(20, 120), k=rng.randint(1, most)))

    return [Row(ids(30), ids(12), rng.gauss(0, 1), masked=place % 5 == 4) for place in range(count)]


def test_passes_are_bounded_and_even_and_the_same_for_a_process_that_has_fewer_rows() -> None:
    mine, theirs = passes(rows(11), 11, 4), passes(rows(2, seed=1), 11, 4)
    assert [len(part) for part in mine] == [len(part) for part in theirs] == [4, 4, 3]
    flat = [row for part in mine for row in part]
    assert sorted(map(repr, flat)) == sorted(map(repr, rows(11)))
    lengths = [len(row.prompt) + len(row.answer) for row in flat if row]
    assert lengths == sorted(lengths, reverse=True)
    assert [row is None for part in theirs for row in part] == [False] * 2 + [True] * 9
    assert passes([], 0, 4) == [[None]], "with nothing to learn from, all processes still take part"


def test_a_fill_is_masked_altogether() -> None:
    made = tensors([Row((5, 6, 7), (8, 9), 1.5), None, Row((5,), (8,), 1.0, masked=True)], 0, sampled=False)
    assert made["completion_mask"].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert made["prompt_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]], "attention has something to look at"
    assert made["advantages"].tolist() == [1.5, 0.0, 1.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    made, tokenizer = scratch.make(playing.MODEL, 0)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trainer(model: Path, folder: Path, **settings: Any) -> agent_policy.AgentGrpo:
    from datasets import Dataset

    args = trl.GRPOConfig(
        str(folder), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", num_generations=2,
        per_device_train_batch_size=4, max_completion_length=12, beta=0.1, **settings,
    )  # fmt: skip
    data = Dataset.from_dict({"prompt": [""] * 4})
    return agent_policy.AgentGrpo(model=str(model), reward_funcs=[lambda **_: []], args=args, train_dataset=data)


def gradient(
    one: agent_policy.AgentGrpo, split: list[list[Row | None]], whole: Whole
) -> tuple[float, dict[str, Any], dict[str, float]]:
    """(loss, gradient by parameter, values logged) of one optimiser step in these passes."""
    with torch.no_grad():
        made = [{**tensors(part, 0, sampled=False), "whole": whole} for part in split]
        made = [{**part, **one._scores(part)} for part in made]
    weights = [float(sum(row.tokens for row in part if row)) for part in split]
    one._mini_batches, one._step = [agent_policy.MiniBatch(tuple(made), tuple(weights))], 1
    one.args.steps_per_generation = 2  # so that nothing is generated at this step
    one._mini_batches *= 2
    one.model.zero_grad()
    one._metrics["train"].clear()
    loss = float(one.training_step(one.model, None))
    values = {name: value for name, (value,) in one._metrics["train"].items()}
    return loss, {name: value.grad.clone() for name, value in one.model.named_parameters()}, values


@pytest.mark.parametrize("loss", EPISODE_LOSSES)
def test_how_rows_are_split_changes_no_gradient_no_loss_and_no_value(model: Path, tmp_path: Path, loss: str) -> None:
    one = trainer(model, tmp_path, loss_type=loss)
    some = rows(13)
    whole = Whole(len(some), sum(row.tokens for row in some), 1)
    together = gradient(one, [list(some)], whole)
    for split in (passes(some, 13, 4), passes(some, 13, 1), passes(some, 20, 3)):
        found = gradient(one, split, whole)
        assert found[0] == pytest.approx(together[0], rel=1e-4, abs=1e-6)
        for name, value in found[1].items():
            torch.testing.assert_close(value, together[1][name], rtol=1e-4, atol=1e-6, msg=name)
        for name in ("entropy", "kl"):
            assert found[2][name] == pytest.approx(together[2][name], rel=1e-4), name
    assert any(value.abs().max() > 1e-3 for value in together[1].values())


def test_in_one_pass_it_is_the_loss_of_trl_itself(model: Path, tmp_path: Path) -> None:
    """What TRL computes of the same rows as a batch of its own, for a loss by token and one by row."""
    some = rows(6)
    for loss in ("dapo", "grpo"):
        one = trainer(model, tmp_path / loss, loss_type=loss)
        ours = gradient(one, [list(some)], Whole(6, sum(row.tokens for row in some), 1))
        one.model.zero_grad()
        batch = tensors(some, 0, sampled=False)
        with torch.no_grad():
            batch |= one._scores(batch)
        one.args.steps_per_generation, one.current_gradient_accumulation_steps = 1, 1
        batch["num_items_in_batch"] = batch["completion_mask"].sum()
        value = trl.GRPOTrainer.compute_loss(one, one.model, batch)
        value.backward()
        assert float(value) == pytest.approx(ours[0], rel=1e-5)
        for name, parameter in one.model.named_parameters():
            torch.testing.assert_close(parameter.grad, ours[1][name], rtol=1e-4, atol=1e-7)


def curves(root: Path, model: Path, world_size: int, **changes: Any) -> dict[int, dict[str, float]]:
    """What a training on given episodes logs."""
    grpo = {"max_steps": 4, "learning_rate": 1e-3, "max_completion_length": 24, "save_steps": 4, "beta": 0.05}
    batch = {"prompts": 4, "samples": 4, "mini_batch": 2}
    named = {"path": str(model), "digest": "x"}
    config = playing.rl_config(named, grpo=grpo, batch=batch, export_steps=4, **changes)
    directory = running.add(root, "rl", config, tasks_per_node=world_size, micro_batch=3)
    attempt = running.start(directory, world_size=world_size, module="tests.trainers.given_rollouts")
    assert attempt.wait()["outcome"] == "done"
    return attempt.metrics()


@pytest.mark.slow
@pytest.mark.parametrize("zero", [None, "zero1", "zero2", "zero3"])
def test_two_processes_have_the_gradients_of_one(tmp_path: Path, model: Path, zero: str | None) -> None:
    alone = curves(tmp_path / "alone", model, 1)
    both = curves(tmp_path / "both", model, 2, deepspeed=zero)
    assert sorted(both) == sorted(alone) == [1, 2, 3, 4]
    for step, values in alone.items():
        for name in ("loss", "grad_norm", "entropy", "kl", "samples", "reward", "groups_without_signal", "num_tokens"):
            if name in values:
                assert both[step][name] == pytest.approx(values[name], rel=2e-3, abs=2e-5), (step, name)
