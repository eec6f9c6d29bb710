"""`LearnedLR` with Accelerate, in one process and in two, given to `prepare` and not."""

import pytest
import torch
from conftest import Problem, Watched
from processes import in_two

accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")

from lrpilot.torch import LearnedLR

EPOCHS, BATCHES = 5, 6
#: What is given to `prepare` besides model, optimizer and data: the schedule or nothing. "late": it is made afterwards.
WAYS = ["prepared", "not prepared", "late", "accumulated"]


def trained(policy, way, rank=0):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2 if way == "accumulated" else 1)
    processes = accelerator.num_processes
    problem = Problem()
    data = torch.utils.data.TensorDataset(problem.x[:48], problem.y[:48])
    loader = torch.utils.data.DataLoader(data, batch_size=8 // processes)
    optimizer = torch.optim.SGD(problem.model.parameters(), momentum=0.9)
    made = None if way == "late" else LearnedLR(optimizer, total=EPOCHS, policy=policy)
    model, optimizer, loader = accelerator.prepare(problem.model, optimizer, loader)
    made = made or LearnedLR(optimizer, total=EPOCHS, policy=policy)
    watched, calls = Watched(made), []
    step = made.step
    made.step = lambda *args: calls.append(args) or step(*args)
    schedule = accelerator.prepare(made) if way == "prepared" else made
    for _ in range(EPOCHS):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = torch.nn.functional.mse_loss(model(x), y)
                accelerator.backward(loss)
                made.observe(loss)
                optimizer.step()
                optimizer.zero_grad()
        schedule.step(problem.val_loss() + rank)
    weights = torch.nn.utils.parameters_to_vector(problem.model.parameters()).tolist()
    assert watched.lrs == made.extract()
    return {
        "calls": len(calls),
        "decisions": len(made.history),
        "val_loss": made.history[0]["val_loss"],
        "rates": made.extract(),
        "replayed": watched.replayed(),
        "weights": weights,
    }


def work(rank, policy):
    return {way: trained(policy, way, rank) for way in WAYS}


@pytest.fixture(scope="module")
def two(policy, tmp_path_factory):
    return in_two(work, tmp_path_factory.mktemp("two"), policy)


@pytest.fixture(scope="module")
def one(policy):
    return work(0, policy)


@pytest.mark.parametrize("way", WAYS)
def test_one_decision_an_epoch_however_often_it_is_called(one, two, way):
    steps = EPOCHS * BATCHES // (2 if way == "accumulated" else 1)
    for ran in [one, *two]:
        assert ran[way]["decisions"] == EPOCHS and len(ran[way]["rates"]) == steps
        assert ran[way]["rates"] == ran[way]["replayed"], "of the same observations, without any framework"
    assert one[way]["calls"] == EPOCHS
    assert [ran[way]["calls"] for ran in two] == [EPOCHS * (2 if way == "prepared" else 1)] * 2


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_end_with_the_same_weights(one, two, way):
    assert two[0][way]["weights"] == two[1][way]["weights"]
    assert two[0][way]["val_loss"] == pytest.approx(one[way]["val_loss"] + 0.5, rel=1e-4), "the mean of their losses"


def test_it_makes_no_difference_how_it_is_given(one, two):
    for ran in [one, *two]:
        assert ran["prepared"]["rates"] == ran["not prepared"]["rates"] == ran["late"]["rates"]
