"""`LearnedLR` in loops as people write them."""

import io
import math
import warnings

import pytest
import torch
from conftest import Problem

from lrpilot import ConfigError
from lrpilot.torch import LearnedLR


def train(problem, optimizer, schedule, epochs, steps=6, observed=False):
    for _ in range(epochs):
        for i in range(steps):
            problem.step(optimizer, i, schedule if observed else None)
        schedule.step(problem.val_loss())
    return schedule


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"])
def test_a_plain_loop_learns_without_a_learning_rate(policy, optimizer):
    problem = Problem()
    before = problem.val_loss()
    optimizer = getattr(torch.optim, optimizer)(problem.model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = LearnedLR(optimizer, total=20, policy=policy)
        train(problem, optimizer, schedule, 20)
    assert problem.val_loss() < before
    rates = schedule.extract()
    assert len(rates) == 120 and len(schedule.history) == 20
    assert all(math.isfinite(rate) and rate > 0.0 for rate in rates) and len(set(rates)) > 5
    assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]


def test_the_pretrained_policy_is_the_default(problem):
    optimizer = torch.optim.AdamW(problem.model.parameters())
    before = problem.val_loss()
    schedule = train(problem, optimizer, LearnedLR(optimizer, total=20), 20)
    assert "policy='lrpilot-" in repr(schedule) and problem.val_loss() < before / 2


def test_training_losses_alone_are_enough(policy, problem):
    """The policy decides at its own moments: 24 of them where there are enough steps."""
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = LearnedLR(optimizer, total_steps=640, policy=policy)
    for i in range(640):
        problem.step(optimizer, i, schedule)
    moments = [entry["step"] for entry in schedule.history]
    assert moments[:5] == [5, 10, 20, 40, 64] and len(moments) == 23
    assert all(entry["val_loss"] is None and entry["train_loss"] > 0.0 for entry in schedule.history)


@pytest.mark.parametrize("told_first", [True, False])
def test_losses_belong_to_their_interval_whether_told_before_the_step_or_after(policy, told_first):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule, told = LearnedLR(optimizer, total_steps=64, policy=policy), []
    for i in range(64):
        if told_first:
            told.append(problem.step(optimizer, i, schedule).item())
        else:
            loss = problem.step(optimizer, i)
            schedule.observe(loss)
            told.append(loss.item())
    ends = [0] + [entry["step"] for entry in schedule.history]
    for begin, entry in zip(ends, schedule.history, strict=False):
        mean = sum(told[begin : entry["step"]]) / (entry["step"] - begin)
        assert entry["train_loss"] == pytest.approx(mean, rel=1e-6)


def test_accumulated_batches_are_one_step(policy):
    """Two halves of a batch, told one after the other, are the same run as the whole batch."""
    rates = []
    for halves in [1, 2]:
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters())
        schedule = LearnedLR(optimizer, total_steps=64, policy=policy)
        for _ in range(64):
            optimizer.zero_grad()
            for half in range(halves):
                loss = problem.loss(slice(half * 48 // halves, (half + 1) * 48 // halves))
                (loss / halves).backward()
                schedule.observe(loss)
            optimizer.step()
        rates.append(schedule.extract())
    assert rates[0] == pytest.approx(rates[1], rel=1e-3)


def test_a_closure_is_run_before_the_anchor_is_measured(policy):
    """As Lightning makes its steps: gradients come into being within the step."""
    rates = []
    for with_closure in [False, True]:
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters(), momentum=0.9)
        schedule = LearnedLR(optimizer, total_steps=32, policy=policy)

        def closure(problem=problem, optimizer=optimizer):
            optimizer.zero_grad()
            loss = problem.loss()
            loss.backward()
            return loss

        for _ in range(32):
            if with_closure:
                optimizer.step(closure)
            else:
                schedule.observe(closure())
                optimizer.step()
        rates.append(schedule.extract())
    assert rates[0] == rates[1]


def test_lbfgs_is_refused(policy, problem):
    with pytest.raises(ConfigError, match="LBFGS"):
        LearnedLR(torch.optim.LBFGS(problem.model.parameters()), total=5, policy=policy)


def test_what_is_wrong_shows_when_it_is_made(policy, problem):
    optimizer = torch.optim.SGD(problem.model.parameters())
    for arguments, message in [
        ({}, "give total= or total_steps="),
        ({"total": 0}, "total: 0"),
        ({"total": 2.5}, "total: 2.5"),
        ({"total": 5, "initial_lr": -1.0}, "initial_lr: -1.0"),
        ({"total": 5, "bounds": (1.0, 0.1)}, "lr_bounds"),
        ({"total": 5, "family": "sdg"}, 'family: "sdg"'),
    ]:
        with pytest.raises(ConfigError, match=message):
            LearnedLR(optimizer, policy=policy, **arguments)


def test_facts_come_from_the_loader(policy, problem):
    data = torch.utils.data.TensorDataset(problem.x, problem.y)
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    schedule = LearnedLR(torch.optim.Adam(problem.model.parameters()), total=10, loader=loader, policy=policy)
    facts = schedule._facts
    assert (facts.steps, facts.batch_size, facts.examples, facts.family) == (40, 16, 64, "adam")


def test_history_is_told_in_words_and_repeated_by_pytorch(policy, problem):
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = train(problem, optimizer, LearnedLR(optimizer, total=5, policy=policy), 5)
    text = schedule.explain(0)
    assert text.startswith("decision 1 of 5, after step 6") and "training loss           not measured" in text
    inputs = [line.split(maxsplit=2) for line in text.splitlines()[-5:]]
    sizes = [abs(float(influence)) for _, influence, _ in inputs]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0.0, text
    with pytest.raises(ConfigError, match="decision: 5 is none of the 5"):
        schedule.explain(5)
    other = torch.optim.SGD(Problem().model.parameters(), lr=0.5)
    repeated, rates = schedule.extract(other), []
    for _ in range(30):
        rates.append(other.param_groups[0]["lr"])
        other.step()
        repeated.step()
    assert rates == pytest.approx(schedule.extract(), rel=1e-12)
    torch.save(repeated.state_dict(), buffer := io.BytesIO())
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True)["last_epoch"] == 30
