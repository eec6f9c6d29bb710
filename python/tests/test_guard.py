"""`Guard` in plain loops, with faults put in."""

import io
import json
import math

import pytest
import torch
from conftest import Problem

from lrpilot import ConfigError
from lrpilot.torch import Guard, LearnedLR


def begun(every=20, settings=None, log=None, lr=0.1, optimizer="SGD", **more):
    problem = Problem()
    more = {"momentum": 0.5} | more if optimizer == "SGD" else more
    optimizer = getattr(torch.optim, optimizer)(problem.model.parameters(), lr=lr, **more)
    return problem, optimizer, Guard(problem.model, optimizer, every=every, settings=settings, log=log)


def go_on(problem, optimizer, guard, begin, end, scheduler=None, fault=lambda i: None):
    """Steps `begin` + 1 to `end`; returns whether the guard went along to the end."""
    for i in range(begin, end):
        fault(i + 1)
        loss = problem.step(optimizer, i)
        if scheduler is not None:
            scheduler.step()
        if guard is not None and not guard.step(loss):
            return False
    return True


def weights(problem):
    return torch.nn.utils.parameters_to_vector(problem.model.parameters()).detach().clone()


def scaled(problem, factor):
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.mul_(factor)


def forgotten(problem, share):
    """Move the weights back towards where they began."""
    with torch.no_grad():
        for now, start in zip(problem.model.parameters(), Problem().model.parameters(), strict=True):
            now.lerp_(start, share)


FAULTS = {
    "not-finite": lambda problem, i: i == 250 and scaled(problem, math.nan),
    "enormous": lambda problem, i: i == 250 and scaled(problem, 50.0),
    "spike": lambda problem, i: 250 <= i < 270 and forgotten(problem, 1.0),
    "drift": lambda problem, i: i >= 250 and forgotten(problem, min((i - 249) / 10_000, 0.1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_undone(fault, tmp_path):
    problem, optimizer, guard = begun(log=tmp_path / "log.jsonl")

    def until_found(i):
        if not guard.history:
            FAULTS[fault](problem, i)

    assert go_on(problem, optimizer, guard, 0, 900, fault=until_found)
    assert [(event["kind"], event["fault"]) for event in guard.history] == [("roll-back", fault)]
    event = guard.history[0]
    assert event["step"] >= 250 > event["snapshot_step"] > 0 or fault == "drift"
    healthy = Problem()
    go_on(healthy, torch.optim.SGD(healthy.model.parameters(), lr=0.1, momentum=0.5), None, 0, 900)
    assert problem.val_loss() < 1.2 * healthy.val_loss()
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == guard.history


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_healthy_run_has_the_bits_of_one_without_a_guard(optimizer):
    ends = []
    for guarded in [True, False]:
        problem, made, guard = begun(optimizer=optimizer)
        if not guarded:
            guard.close()
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(made, 300)
        go_on(problem, made, guard if guarded else None, 0, 300, scheduler)
        ends.append((weights(problem), made.state_dict()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert all(map(torch.equal, *(tensors(state) for _, state in ends)))
    assert ends[0][1]["param_groups"] == ends[1][1]["param_groups"]


def tensors(state):
    return [value for each in state["state"].values() for value in each.values()]


def test_the_snapshot_is_put_back_exactly_and_never_one_of_a_step_that_broke_the_weights():
    problem, optimizer, guard = begun(every=50)
    go_on(problem, optimizer, guard, 0, 50)
    kept, buffers = weights(problem), [t.clone() for t in tensors(optimizer.state_dict())]
    go_on(problem, optimizer, guard, 50, 99)
    loss = problem.step(optimizer, 99)
    scaled(problem, math.nan)  # the loss of step 100 is fine, its update is not
    assert guard.step(loss) and weights(problem).isnan().all()
    go_on(problem, optimizer, guard, 100, 101)
    assert torch.equal(weights(problem), kept)
    assert all(map(torch.equal, tensors(optimizer.state_dict()), buffers))
    assert guard.history[0]["snapshot_step"] == 50


SCHEDULERS = {
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100),
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 1 / (i + 1)),
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_only_the_step_is_made_with_the_lowered_learning_rate(name, as_tensor):
    seen, rates = [], []
    for faults in [set(), {40}]:
        problem, optimizer, guard = begun(lr=torch.tensor(0.1) if as_tensor else 0.1, foreach=False)
        scheduler = SCHEDULERS[name](optimizer)
        optimizer.register_step_pre_hook(lambda o, *_: seen.append(float(o.param_groups[0]["lr"])))
        given = optimizer.param_groups[0]["lr"]
        for i in range(80):
            loss = problem.step(optimizer, i)
            scheduler.step()
            guard.step(math.nan if i + 1 in faults else loss)
            rates.append(float(optimizer.param_groups[0]["lr"]))
        assert not as_tensor or optimizer.param_groups[0]["lr"] is given
    assert rates[:80] == pytest.approx(rates[80:], rel=1e-6), "the schedule does not know of it"
    factors = [lowered / plain for plain, lowered in zip(seen[:80], seen[80:], strict=True)]
    # Halved after step 40; undone over 1,000 steps, the first of which is the 41st.
    expected = [1.0] * 40 + [0.5 + 0.5 * i / 1000 for i in range(40)]
    assert factors == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("closure", [False, True])
def test_it_lowers_what_a_learned_schedule_sets(policy, closure):
    moved = []
    for factor in [0.5, 0.25]:
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters())
        schedule = LearnedLR(optimizer, total=4, policy=policy)
        guard = Guard(problem.model, optimizer, settings={"lr_factor": factor})
        guard.step(math.nan)
        before = weights(problem)

        def gradient(problem=problem, optimizer=optimizer):
            optimizer.zero_grad()
            loss = problem.loss()
            loss.backward()
            return loss

        if closure:
            optimizer.step(gradient)
        else:
            gradient()
            optimizer.step()
        gradients = torch.cat([p.grad.flatten() for p in problem.model.parameters()])
        moved.append(float((weights(problem) - before).norm() / gradients.norm()))
        lr = schedule.get_last_lr()[0]
        assert moved[-1] == pytest.approx(factor * lr, rel=1e-3)
        assert optimizer.param_groups[0]["lr"] == lr == schedule.extract()[0], "what loggers see"
    assert moved[0] == pytest.approx(2 * moved[1], rel=1e-3)


def test_a_fault_that_stays_ends_the_run_in_its_last_good_state():
    problem, optimizer, guard = begun()
    go_on(problem, optimizer, guard, 0, 41)
    kept = weights(problem)
    go_on(problem, optimizer, guard, 41, 50)
    assert not go_on(problem, optimizer, guard, 50, 90, fault=lambda i: scaled(problem, math.nan))
    assert [event["kind"] for event in guard.history] == ["roll-back"] * 3 + ["give-up"]
    assert guard.history[-1]["snapshot_step"] == 40 and weights(problem).isfinite().all()
    assert not torch.equal(weights(problem), kept)
    assert not guard.step(0.1), "and it stays so"


def test_groups_that_were_added_later_do_not_stand_in_the_way():
    problem, optimizer, guard = begun()
    go_on(problem, optimizer, guard, 0, 50)
    added = torch.nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": [added], "lr": 0.3})
    guard.step(math.nan)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.3]
    assert go_on(problem, optimizer, guard, 50, 100)


@pytest.mark.parametrize("at", [30, 60, 61, 70, 90])
def test_a_resumed_run_is_the_uninterrupted_one(at):
    def run(problem, optimizer, guard, begin, end):
        go_on(problem, optimizer, guard, begin, end, fault=lambda i: i in (65, 85) and scaled(problem, math.nan))

    whole = begun()
    run(*whole, 0, at)
    torch.save([each.state_dict() for each in (whole[0].model, *whole[1:])], buffer := io.BytesIO())
    run(*whole, at, 120)
    buffer.seek(0)
    resumed = begun()
    for each, state in zip((resumed[0].model, *resumed[1:]), torch.load(buffer, weights_only=True), strict=True):
        each.load_state_dict(state)
    run(*resumed, at, 120)
    assert torch.equal(weights(resumed[0]), weights(whole[0])) and len(whole[2].history) == 2
    assert resumed[2].history == whole[2].history and resumed[2].lr_factor == whole[2].lr_factor


def test_a_gradient_norm_that_is_not_finite_is_a_fault():
    guard = begun()[2]
    assert guard.step(1.0, torch.tensor(math.inf))
    assert guard.history[0]["fault"] == "not-finite" and guard.history[0]["grad_norm"] == "inf"


def test_errors_name_value_and_remedy():
    problem, optimizer, guard = begun()
    with pytest.raises(ConfigError, match=r"guard\.lr_factor: 2 is not a number in \(0, 1\)"):
        begun(settings={"lr_factor": 2.0})
    with pytest.raises(ConfigError, match="guard.settings: unknown field `lr`.*give fields of `GuardConfig`"):
        begun(settings={"lr": 2.0})
    with pytest.raises(ConfigError, match="every: 0 is not an integer"):
        begun(every=0)
    with pytest.raises(ConfigError, match="optimizer: Sequential is not a torch.optim.Optimizer"):
        Guard(problem.model, problem.model)
    with pytest.raises(ConfigError, match="it is not the state of a Guard"):
        guard.load_state_dict(optimizer.state_dict())
    with pytest.raises(ConfigError, match=r"guard\.state: .*; restore"):
        guard.load_state_dict(guard.state_dict() | {"guard": "{}"})


def test_hooks_do_not_stay_behind():
    _, optimizer, guard = begun()
    assert optimizer._optimizer_step_pre_hooks
    del guard
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
