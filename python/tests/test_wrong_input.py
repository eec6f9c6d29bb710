"""What is wrong is refused before training, in words; what happens within it is survived."""

import math
import warnings

import numpy
import pytest
import torch
from conftest import Problem

from lrpilot import ConfigError, TaskSpec, learn
from lrpilot.torch import Guard, LearnedLR, TorchTask, VectorTorchTask


def sgd(model=None, **settings):
    return torch.optim.SGD((model or torch.nn.Linear(3, 1)).parameters(), **{"lr": 0.1, **settings})


REFUSED = {
    "total=0": ({"total": 0}, "total: 0 is not an integer of at least 1; give the length"),
    "total=True": ({"total": True}, "total: True is not an integer"),
    "total='5'": ({"total": "5"}, "total: '5' is not an integer"),
    "total=10**30": ({"total": 10**30}, "total: 10+ is not an integer"),
    "nothing": ({"total": None}, "neither the number of step.. calls nor .* give total= or total_steps="),
    "more calls than steps": ({"total": 9, "total_steps": 5}, "total_steps: 5 is less than total=9"),
    "batch_size=2.5": ({"batch_size": 2.5}, "batch_size: 2.5 is not an integer"),
    "examples=-1": ({"examples": -1}, "examples: -1 is not an integer"),
    "bounds=(1,)": ({"bounds": (1.0,)}, r"bounds: \(1.0,\) is not a pair"),
    "bounds='ab'": ({"bounds": "ab"}, "bounds: 'ab' is not a pair"),
    "bounds=(1, 0)": ({"bounds": (1, 0)}, "give two finite numbers"),
    "family=5": ({"family": 5}, "family: 5 is not a name; give sgd"),
    "family=''": ({"family": ""}, "give sgd, adam"),
    "initial_lr=True": ({"initial_lr": True}, "initial_lr: True is not"),
    "policy=5": ({"policy": 5}, "policy: 5 is neither a name nor a path"),
    "a generator": ({"loader": iter([1])}, "loader: list_iterator has no length; leave it out"),
    "no batches": ({"loader": []}, "loader: it has no batches"),
    "snapshot=5": ({"snapshot": 5}, "model: int is not a torch.nn.Module"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_named_with_a_remedy(case):
    arguments, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        LearnedLR(sgd(), **{"total": 5, **arguments})


def test_an_optimizer_that_has_no_learning_rate_is_refused():
    class Own(torch.optim.Optimizer):
        def __init__(self):
            super().__init__(torch.nn.Linear(1, 1).parameters(), {})

    with pytest.raises(ConfigError, match='Own has no groups with a learning rate "lr"'):
        LearnedLR(Own(), total=3)
    with pytest.raises(ConfigError, match=r"optimizer: Linear is not a torch\.optim\.Optimizer"):
        LearnedLR(torch.nn.Linear(1, 1), total=3)


def test_a_policy_that_is_nowhere_is_told_those_that_there_are():
    for place in ["nowhere.safetensors", "/"]:
        with pytest.raises(FileNotFoundError, match=r"is not a file, and none of \['lrpilot-"):
            LearnedLR(sgd(), total=3, policy=place)


def test_numbers_of_numpy_and_lists_are_as_good_as_others(policy):
    optimizer = sgd()
    bounds = [numpy.float64(1e-5), numpy.float32(1.0)]
    sizes = {"total": numpy.int64(5), "batch_size": numpy.int32(4)}
    schedule = LearnedLR(optimizer, **sizes, policy=policy, bounds=bounds, initial_lr=numpy.float64(0.1))
    schedule.extend(numpy.int64(7))
    assert "total=7" in repr(schedule)
    with pytest.raises(ConfigError, match="total: 'x' is not an integer"):
        schedule.extend("x")


@pytest.mark.parametrize("state", [None, [], {}, {"format": 2}, {"format": 2, "policy": 5}], ids=str)
def test_what_is_no_state_is_refused(policy, state):
    with pytest.raises(ConfigError, match="state_dict: .*(load what LearnedLR saved|saved with the policy)"):
        LearnedLR(sgd(), total=3, policy=policy).load_state_dict(state)
    with pytest.raises(ConfigError, match="state_dict: it is not the state of a Guard"):
        Guard(torch.nn.Linear(3, 1), sgd()).load_state_dict(state)


def test_an_optimizer_that_trains_nothing_does_no_harm(policy):
    weight = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    schedule = LearnedLR(optimizer, total=3, policy=policy)
    with pytest.warns(UserWarning, match="no parameter of the optimizer is trained") as caught:
        for _ in range(3):
            optimizer.step()
            schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.1 and schedule.history == []
    assert sum("no parameter" in str(each.message) for each in caught) == 1


def test_a_second_schedule_on_an_optimizer_takes_the_place_of_the_first(policy):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    first = LearnedLR(optimizer, total=3, policy=policy)
    with pytest.warns(UserWarning, match="had another LearnedLR, which is closed now") as caught:
        second = LearnedLR(optimizer, total=3, policy=policy)
    assert caught[0].filename == __file__, "the place of the mistake"
    problem.step(optimizer, 0)
    assert (len(first.extract()), len(second.extract())) == (0, 1)
    second.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LearnedLR(optimizer, total=3, policy=policy)


def test_another_scheduler_on_the_optimizer_is_noticed(policy):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = LearnedLR(optimizer, total=5, policy=policy)
    other = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    with pytest.warns(UserWarning, match="something else set the learning rate to .* leave it to LearnedLR") as caught:
        for i in range(5):
            problem.step(optimizer, i)
            schedule.step(1.0)
            other.step()
    assert len(caught) == 1 and min(schedule.extract()) > optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("loss", ["x", [1.0], object(), 1j, 10**400], ids=lambda loss: type(loss).__name__)
def test_a_loss_that_is_no_number_is_refused_where_it_is_told(policy, loss):
    schedule = LearnedLR(sgd(), total=3, policy=policy)
    guard = Guard(torch.nn.Linear(3, 1), sgd())
    for tell in [schedule.observe, guard.step, lambda each: schedule.observe(1.0, each)]:
        with pytest.raises(ConfigError, match="is neither a tensor nor a number; give the loss"):
            tell(loss)
    assert guard.state_dict()["steps"] == 0, "what was refused does not count as a step"


def test_a_loss_of_whole_numbers_is_a_loss(policy):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = LearnedLR(optimizer, total=3, policy=policy)
    schedule.observe(torch.tensor([3, 4]), torch.tensor(2))
    optimizer.zero_grad()
    problem.loss().backward()
    optimizer.step()
    schedule.step(1.0)
    assert (schedule.history[0]["train_loss"], schedule.history[0]["gradient_norm"]) == (3.5, 2.0)
    assert math.isfinite(schedule.get_last_lr()[0])


@pytest.mark.parametrize("decision", [0, 7, "x", None])
def test_a_decision_that_was_not_made_cannot_be_explained(policy, decision):
    with pytest.raises(ConfigError, match=f"decision: {decision!r} is none of the 0 so far"):
        LearnedLR(sgd(), total=3, policy=policy).explain(decision)


def test_only_an_optimizer_can_repeat_a_schedule(policy):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters())
    schedule = LearnedLR(optimizer, total=3, policy=policy)
    problem.step(optimizer, 0)
    with pytest.raises(ConfigError, match="optimizer: int is not"):
        schedule.extract(5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": True}, "every: True is not an integer"),
        ({"settings": 5}, "settings: 5 are not numbers by name"),
        ({"settings": {"enormous": object()}}, "settings: .* are not numbers by name"),
        ({"log": "/nowhere/at/all/log"}, "log: '/nowhere/at/all/log' is in a folder that does not exist"),
    ],
)
def test_a_guard_refuses_before_training_what_would_fail_at_the_first_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Guard(torch.nn.Linear(3, 1), sgd(), **arguments)


def test_a_guard_needs_a_model():
    with pytest.raises(ConfigError, match=r"model: int is not a torch\.nn\.Module"):
        Guard(5, sgd())


class Still:
    """A task in which nothing happens."""

    spec = TaskSpec(horizon=2)

    def reset(self, seed):
        return {"val_loss": 1.0}

    def advance(self, hyperparameters):
        return {"val_loss": 1.0}


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (Still, {"budget": -1}, "budget: -1 is not an integer of at least 1; give the intervals"),
        (Still, {"budget": 2.5}, "budget: 2.5 is not an integer"),
        (Still, {"seed": -1}, "seed: -1 is not an integer of at least 0"),
        (Still, {"seed": None}, "seed: None is not an integer"),
        (Still, {"environments": "x"}, "environments: 'x' is not an integer"),
        (Still, {"settings": 5}, "settings: 5 are not values by name; give a dictionary"),
        (Still, {"settings": {"ppo.n_steps": object()}}, "settings: .* are not values by name"),
        (object, {}, "task: object has no attribute spec; give it a TaskSpec"),
    ],
)
def test_learning_refuses_what_it_cannot_read(task, arguments, message):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="learn: the task has no save")
        with pytest.raises(ConfigError, match=message):
            learn(task, **{"budget": 100, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": 5}, "data: it is not a pair of tensors"),
        ({"data": (torch.ones(9, 3), None)}, "data: it is not a pair of tensors"),
        ({"optimizer": lambda _: 5}, r"optimizer: int is not a torch\.optim\.Optimizer"),
        ({"batch_size": "x"}, "batch_size: 'x' is not an integer"),
        ({"batch_size": 10**6}, "batch_size: 1000000 of 32 training examples"),
        ({"interval_steps": 0}, "interval_steps: 0 is not an integer"),
        ({"horizon": "x"}, "horizon: 'x' is not an integer"),
        ({"held_back": math.nan}, "held_back: nan of 40 examples"),
        ({"held_back": "x"}, "held_back: 'x' of 40 examples"),
        ({"lr_bounds": 5}, "bounds: 5 is not a pair"),
    ],
)
def test_a_task_of_pytorch_refuses_what_cannot_be_trained(arguments, message):
    data, loss = (torch.ones(40, 3), torch.ones(40, 1)), torch.nn.functional.mse_loss
    for task in [TorchTask, VectorTorchTask]:
        with pytest.raises(ConfigError, match=message):
            task(**{"model_fn": lambda: torch.nn.Linear(3, 1), "data": data, "loss": loss, **arguments})
    with pytest.raises(ConfigError, match="copies: 2.5 is not an integer"):
        VectorTorchTask(lambda: torch.nn.Linear(3, 1), data, loss, copies=2.5)
