"""Resuming, copying, sending to another process."""

import copy
import io
import json
import pickle

import pytest
import torch
from conftest import Problem, policy_file

from lrpilot import ConfigError
from lrpilot.torch import LearnedLR

MODES = {"epochs": {"total": 10}, "own moments": {"total_steps": 60}}


def begun(policy, mode):
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9)
    return problem, optimizer, LearnedLR(optimizer, policy=policy, **MODES[mode])


def go_on(problem, optimizer, schedule, begin, end):
    for i in range(begin, end):
        problem.step(optimizer, i, schedule)
        if i % 6 == 5:
            schedule.step(problem.val_loss())


def through_a_file(state):
    torch.save(state, buffer := io.BytesIO())
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [0, 1, 6, 17, 40])
def test_a_resumed_run_is_the_uninterrupted_one(policy, mode, at):
    problem, optimizer, schedule = begun(policy, mode)
    go_on(problem, optimizer, schedule, 0, at)
    states = [through_a_file(each.state_dict()) for each in (problem.model, optimizer, schedule)]
    assert json.loads(json.dumps(states[2])) == states[2]
    go_on(problem, optimizer, schedule, at, 60)

    resumed = begun(policy, mode)
    for each, state in zip((resumed[0].model, *resumed[1:]), states, strict=True):
        each.load_state_dict(state)
    go_on(*resumed, at, 60)
    assert resumed[2].extract() == schedule.extract() and resumed[2].history == schedule.history
    assert resumed[2].state_dict() == schedule.state_dict()
    assert all(map(torch.equal, resumed[0].model.parameters(), problem.model.parameters()))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("at", [0, 17])
def test_a_copy_goes_on_deciding(policy, copied, at):
    problem, optimizer, schedule = begun(policy, "epochs")
    go_on(problem, optimizer, schedule, 0, at)
    other_problem, other_optimizer, other = copied((problem, optimizer, schedule))
    assert other.optimizer is other_optimizer
    go_on(problem, optimizer, schedule, at, 60)
    assert len(other.extract()) == at, "the copy has hooks of its own"
    go_on(other_problem, other_optimizer, other, at, 60)
    assert other.extract() == schedule.extract() and len(other.history) == 10


def test_a_state_of_another_policy_is_refused(policy, tmp_path):
    (tmp_path / "other.safetensors").write_bytes(policy_file(seed=2))
    _, optimizer, schedule = begun(policy, "epochs")
    other = LearnedLR(optimizer, total=10, policy=tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"saved with the policy [0-9a-f]{12}…, not with .*other"):
        other.load_state_dict(schedule.state_dict())
    with pytest.raises(ConfigError, match="load what LearnedLR saved"):
        other.load_state_dict({"last_epoch": 3})


def test_hooks_do_not_keep_a_schedule_alive_nor_stay_behind(policy):
    _, optimizer, schedule = begun(policy, "epochs")
    assert optimizer._optimizer_step_pre_hooks and optimizer._optimizer_step_post_hooks
    del schedule
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
