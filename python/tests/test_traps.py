"""What other people's loops do to a scheduler, one trap at a time."""

import math
import random
import warnings

import pytest
import torch
from conftest import Problem
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrpilot import ConfigError
from lrpilot._tensors import SAMPLES
from lrpilot.torch import LearnedLR


def made(policy, optimizer="SGD", total=10, problem=None, groups=None, **arguments):
    problem = problem or Problem()
    settings = arguments.pop("settings", {})
    optimizer = getattr(torch.optim, optimizer)(groups or problem.model.parameters(), **settings)
    return problem, optimizer, LearnedLR(optimizer, total=total, policy=policy, **arguments)


def epochs(problem, optimizer, schedule, count, steps=6):
    for _ in range(count):
        for i in range(steps):
            problem.step(optimizer, i)
        schedule.step(problem.val_loss())


def test_frameworks_see_a_plateau_scheduler(policy):
    _, optimizer, schedule = made(policy)
    assert isinstance(schedule, ReduceLROnPlateau)
    assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]], "valid before the first step"


def test_any_metric_is_taken(policy):
    rng = random.Random(0)
    kinds = [
        lambda: None,
        lambda: math.nan,
        lambda: math.inf,
        lambda: -math.inf,
        lambda: rng.gauss(0.0, 10.0 ** rng.randint(-30, 30)),
        lambda: torch.tensor(rng.random()),
        lambda: torch.randn(1, generator=torch.Generator().manual_seed(rng.randint(0, 99))),
        lambda: torch.ones(3),
        lambda: rng.randint(-(10**400), 10**400),
        lambda: "accuracy",
        lambda: "0.5",
        list,
        lambda: True,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            problem, optimizer, schedule = made(policy, total=200, bounds=(1e-5, 0.3))
            for _ in range(200):
                problem.step(optimizer, 0)
                schedule.step(rng.choice(kinds)(), train_loss=rng.choice(kinds)())
                lr = optimizer.param_groups[0]["lr"]
                assert 0.0 < lr <= 0.3


def test_a_metric_told_twice_counts_once(policy):
    problem, optimizer, schedule = made(policy)
    for _ in range(2):
        problem.step(optimizer, 0)
        for _ in range(8):
            schedule.step(0.5)
    assert len(schedule.history) == 2


def test_no_metric_holds_and_says_so_once(policy):
    problem, optimizer, schedule = made(policy)
    with pytest.warns(UserWarning, match="told no loss") as caught:
        for _ in range(3):
            problem.step(optimizer, 0)
            schedule.step()
    assert len(caught) == 1 and schedule.history == []


def test_a_loss_before_the_first_step_is_that_of_the_untrained_network(policy):
    rates = []
    for first in [None, 3.0]:
        problem, optimizer, schedule = made(policy)
        schedule.step(first)
        epochs(problem, optimizer, schedule, 3)
        rates.append(schedule.extract())
        assert len(schedule.history) == 3
    assert rates[0][0] != rates[1][0], "the policy saw it in its first decision"


def test_an_optimizer_that_makes_no_steps_is_noticed(policy):
    _, _, schedule = made(policy)
    schedule.step(1.0)
    with pytest.warns(UserWarning, match="no optimizer step was seen"):
        schedule.step(0.9)


def test_the_anchor_is_set_before_any_weight_moves(policy):
    """For SGD: 0.01 · (1 − μ) · geometric mean over layers of ‖w‖/‖g‖, a tenth of it at first, and the first action."""
    problem, optimizer, schedule = made(policy, settings={"lr": 123.0, "momentum": 0.5})
    before = [p.detach().clone() for p in problem.model.parameters()]
    problem.step(optimizer, 0)
    layers = [problem.model[0], problem.model[2]]

    def norm(tensors):
        return math.sqrt(sum(t.square().sum().item() for t in tensors))

    ratios = [
        norm(before[2 * k : 2 * k + 2]) / norm([p.grad for p in layer.parameters()]) for k, layer in enumerate(layers)
    ]
    anchor = 0.01 * 0.5 * math.sqrt(ratios[0] * ratios[1])
    lr = schedule.extract()[0]
    middle = 0.1 ** (1 - 0.05 / 0.0625) * 0.95  # the base in the middle of the first of ten intervals
    assert abs(math.log10(lr / (anchor * middle))) <= 0.5 + 1e-6, "an action moves at most half a decade"
    moved = [(p.detach() - b).norm() / p.grad.norm() for p, b in zip(problem.model.parameters(), before, strict=True)]
    assert all(float(m) == pytest.approx(lr, rel=1e-3) for m in moved), "the first update was made with it"


def test_keep_starts_from_the_optimizers_own_learning_rate(policy):
    problem, optimizer, schedule = made(policy, "Adam", settings={"lr": 0.037}, initial_lr="keep")
    other = made(policy, "Adam", settings={"lr": 0.37}, initial_lr="keep")
    for each in [(problem, optimizer), other[:2]]:
        each[0].step(each[1], 0)
    assert other[2].extract()[0] == pytest.approx(10 * schedule.extract()[0])


def test_groups_keep_their_ratios_also_those_added_later(policy):
    problem = Problem()
    body, head = problem.model[0], problem.model[2]
    groups = [{"params": body.parameters(), "lr": 0.02}, {"params": [head.weight], "lr": 0.1}]
    problem, optimizer, schedule = made(policy, problem=problem, groups=groups)
    epochs(problem, optimizer, schedule, 2)
    optimizer.add_param_group({"params": [head.bias], "lr": 0.004})
    epochs(problem, optimizer, schedule, 2)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([rates[0], 5 * rates[0], rates[0] / 5])
    assert schedule.get_last_lr() == pytest.approx(rates) and len(schedule.history) == 4


def test_a_frozen_group_stays_frozen(policy):
    problem = Problem()
    body, head = problem.model[0], problem.model[2]
    groups = [{"params": body.parameters(), "lr": 0.0}, {"params": head.parameters(), "lr": 0.1}]
    problem, optimizer, schedule = made(policy, problem=problem, groups=groups)
    epochs(problem, optimizer, schedule, 2)
    assert optimizer.param_groups[0]["lr"] == 0.0 < optimizer.param_groups[1]["lr"]


def test_a_tensor_learning_rate_is_filled_not_replaced(policy):
    lr = torch.tensor(0.1)
    problem, optimizer, schedule = made(policy, "Adam", settings={"lr": lr, "foreach": False})
    epochs(problem, optimizer, schedule, 3)
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(schedule._rates.lr) and lr.item() != pytest.approx(0.1)


def test_gradients_are_looked_at_sixteen_times_an_interval(policy):
    problem, optimizer, schedule = made(policy)
    counts = []
    for _ in range(4):
        for i in range(100):
            problem.step(optimizer, i)
        counts.append(len(schedule._samples))
        schedule.step(problem.val_loss())
    assert counts == [SAMPLES] * 4
    at = [i for i in range(100) if i % (100 // SAMPLES) == 0][:SAMPLES]
    for i in range(100):
        seen = len(schedule._samples)
        problem.step(optimizer, i)
        assert (len(schedule._samples) > seen) == (i in at), "spread over the interval from the second one on"


def test_clipped_gradients_count_as_not_measured(policy):
    """Clipping to another norm gives the same decisions: the policy sees no norm. Scaling the loss would not."""
    rates = []
    for limit in [1e-3, 1e-4]:
        problem, optimizer, schedule = made(policy, "Adam")
        with torch.no_grad():
            schedule.step(1.0)
        for k in range(4):
            for i in range(6):
                optimizer.zero_grad()
                problem.loss(slice(16 * (i % 3), 16 * (i % 3) + 16)).backward()
                torch.nn.utils.clip_grad_norm_(problem.model.parameters(), limit)
                optimizer.step()
            schedule.step(1.0 / (k + 2))
        rates.append(schedule.extract())
    assert rates[0] == pytest.approx(rates[1], rel=1e-5)


def test_norms_told_before_clipping_are_those_that_count(policy):
    """A clipped run starts and decides by the norms that `clip_grad_norm_` returns, as one that is not clipped."""
    runs = []
    for limit in [1e9, 1e-3]:
        problem, optimizer, schedule = made(policy)
        norms = []
        for i in range(6):
            optimizer.zero_grad()
            loss = problem.loss(slice(16 * (i % 3), 16 * (i % 3) + 16))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(problem.model.parameters(), limit)
            norms.append(norm.item())
            schedule.observe(loss, norm)
            optimizer.step()
            scaled = sum(p.grad.square().sum() for p in problem.model.parameters()).sqrt().item()
            assert scaled == pytest.approx(min(norms[-1], limit), rel=1e-3)
        schedule.step(1.0)
        runs.append((schedule.extract()[0], schedule.history[0]["gradient_norm"]))
        assert runs[-1][1] == pytest.approx(sum(norms) / 6, rel=1e-6)
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-5)


def test_a_norm_of_a_skipped_step_is_left_out(policy):
    problem, optimizer, schedule = made(policy)
    for i in range(3):
        schedule.observe(gradient_norm=math.inf if i == 1 else 2.0)
        problem.step(optimizer, i)
    schedule.step(1.0)
    assert schedule.history[0]["gradient_norm"] == 2.0 and not schedule.history[0]["rolled_back"]


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients_are_seen_unscaled_and_skipped_steps_not_at_all(policy, fused):
    rates = []
    for scale in [None, 1024.0]:
        problem, optimizer, schedule = made(policy, "AdamW", settings={"fused": fused})
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None, growth_interval=1000)
        if scale is not None:  # a first step that is not finite: nothing moves, nothing starts
            optimizer.zero_grad()
            scaler.scale(problem.loss() * math.inf).backward()
            scaler.step(optimizer)
            scaler.update()
            assert schedule.extract() == []
        for _ in range(3):
            for i in range(6):
                optimizer.zero_grad()
                scaler.scale(problem.loss(slice(16 * (i % 3), 16 * (i % 3) + 16))).backward()
                scaler.step(optimizer)
                scaler.update()
            schedule.step(problem.val_loss())
        rates.append(([entry["gradient_norm"] for entry in schedule.history], schedule.extract()))
    assert rates[0][0] == pytest.approx(rates[1][0], rel=1e-4)
    assert rates[0][1] == pytest.approx(rates[1][1], rel=1e-4)


def test_half_precision_does_not_overflow(policy):
    w = torch.nn.Parameter(torch.full((64, 64), 300.0, dtype=torch.float16))
    optimizer = torch.optim.SGD([w])
    schedule = LearnedLR(optimizer, total=3, policy=policy)
    for _ in range(3):
        w.grad = torch.full_like(w, 300.0)
        optimizer.step()
        schedule.step(1.0)
    assert schedule.history[0]["gradient_norm"] == pytest.approx(300.0 * 64, rel=1e-3)


def test_sparse_and_missing_gradients(policy):
    embedding, unused = torch.nn.Embedding(10, 4, sparse=True), torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD([*embedding.parameters(), *unused.parameters()])
    schedule = LearnedLR(optimizer, total=3, policy=policy)
    for _ in range(3):
        optimizer.zero_grad()
        embedding(torch.tensor([1, 1, 2])).square().sum().backward()
        optimizer.step()
        schedule.step(1.0)
    assert schedule.history[0]["gradient_norm"] > 0.0


def test_the_watch_dog_speaks_once(policy):
    problem, optimizer, schedule = made(policy)
    epochs(problem, optimizer, schedule, 2)
    with pytest.warns(UserWarning, match="19 optimizer steps since a loss was told") as caught:
        for i in range(60):
            problem.step(optimizer, i)
    assert len(caught) == 1


def test_a_policy_that_is_told_nothing_says_so(policy):
    problem, optimizer, schedule = made(policy, total=None, total_steps=64)
    with pytest.warns(UserWarning, match="without any loss") as caught:
        for i in range(10):
            problem.step(optimizer, i)
    assert len(caught) == 1 and len(schedule.history) > 3


def test_past_the_end_the_learning_rate_is_held_and_a_longer_run_can_be_announced(policy):
    problem, optimizer, schedule = made(policy, total=3)
    epochs(problem, optimizer, schedule, 3)
    last = optimizer.param_groups[0]["lr"]
    assert schedule.finished
    with pytest.warns(UserWarning, match="longer than announced") as caught:
        epochs(problem, optimizer, schedule, 2)
    assert len(caught) == 1 and optimizer.param_groups[0]["lr"] == last and len(schedule.history) == 3
    with pytest.raises(ConfigError, match="total: 3 does not extend 3"):
        schedule.extend(3)
    schedule.extend(6)
    epochs(problem, optimizer, schedule, 3)
    assert schedule.finished and len(schedule.history) == 6


def test_divergence_lowers_the_learning_rate_and_says_how_to_go_back(policy):
    problem, optimizer, schedule = made(policy, total=100)
    epochs(problem, optimizer, schedule, 10)
    before = schedule._rates.lr
    problem.step(optimizer, 0)
    with pytest.warns(UserWarning, match="pass snapshot=model"):
        schedule.step(math.nan)
    assert schedule.history[-1]["rolled_back"] and schedule._rates.lr < before / 3


def test_a_snapshot_is_put_back_after_divergence(policy):
    problem = Problem()
    problem, optimizer, schedule = made(
        policy, total=100, problem=problem, snapshot=problem.model, settings={"momentum": 0.9}
    )
    epochs(problem, optimizer, schedule, 3)
    weights = [p.detach().clone() for p in problem.model.parameters()]
    buffers = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    for _ in range(3):
        problem.step(optimizer, 0)
    with torch.no_grad():
        problem.model[0].weight.mul_(math.nan)
    schedule.step(problem.val_loss())
    assert all(map(torch.equal, problem.model.parameters(), weights))
    assert all(map(torch.equal, (state["momentum_buffer"] for state in optimizer.state.values()), buffers))
    epochs(problem, optimizer, schedule, 3)
    assert math.isfinite(problem.val_loss())


def test_a_snapshot_can_be_put_back_after_a_group_was_added(policy):
    problem = Problem()
    body, head = problem.model[0], problem.model[2]
    problem, optimizer, schedule = made(
        policy, total=100, problem=problem, groups=list(body.parameters()), snapshot=problem.model
    )
    epochs(problem, optimizer, schedule, 3)
    before = head.bias.detach().clone()
    optimizer.add_param_group({"params": head.parameters(), "lr": optimizer.param_groups[0]["lr"]})
    problem.step(optimizer, 0)
    assert not torch.equal(head.bias, before)
    schedule.step(math.nan)
    assert torch.equal(head.bias, before) and len(optimizer.param_groups) == 2
    epochs(problem, optimizer, schedule, 2)


def test_errors_of_native_code_are_one_warning(policy):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("internal error: boom; please report it")

    problem, optimizer, schedule = made(policy)
    epochs(problem, optimizer, schedule, 1)
    problem.step(optimizer, 0)
    run, held = schedule._run, schedule._rates.lr
    schedule._run = Broken()
    with pytest.warns(UserWarning, match="boom") as caught:
        schedule.step(1.0)
        schedule.step(1.0)
    assert len(caught) == 1 and optimizer.param_groups[0]["lr"] == held and len(schedule.history) == 1
    schedule._run = run
    epochs(problem, optimizer, schedule, 1)
    assert len(schedule.history) == 2, "and it goes on afterwards"


def test_torch_compile_takes_the_hooks(policy):
    problem, optimizer, schedule = made(policy, "Adam", settings={"lr": torch.tensor(0.1)})
    plain = made(policy, "Adam", settings={"lr": torch.tensor(0.1)})
    compiled = torch.compile(optimizer.step, backend="eager")
    for i in range(4):
        optimizer.zero_grad()
        problem.loss().backward()
        compiled()
        plain[1].zero_grad()
        plain[0].loss().backward()
        plain[1].step()
    assert schedule.extract() == pytest.approx(plain[2].extract(), rel=1e-6) and len(schedule.extract()) == 4


def test_a_closure_whose_loss_was_observed_counts_once(policy):
    rates = []
    for observed in [False, True]:
        problem, optimizer, schedule = made(policy, total=3)
        for _ in range(3):
            for i in range(6):

                def closure(problem=problem, optimizer=optimizer, schedule=schedule, i=i, observed=observed):
                    optimizer.zero_grad()
                    loss = problem.loss(slice(8 * i, 8 * i + 8))
                    loss.backward()
                    if observed:
                        schedule.observe(2.0 * loss)
                    return loss

                optimizer.step(closure)
            schedule.step(problem.val_loss())
        rates.append([entry["train_loss"] for entry in schedule.history])
    assert rates[1][0] == pytest.approx(2.0 * rates[0][0], rel=1e-6)


def test_a_compiled_model_is_trained_alike(policy):
    rates = []
    for compiled in [False, True]:
        problem = Problem()
        if compiled:
            problem.model = torch.compile(problem.model, backend="eager")
        problem, optimizer, schedule = made(policy, "Adam", problem=problem)
        epochs(problem, optimizer, schedule, 3)
        rates.append(schedule.extract())
    assert rates[0] == pytest.approx(rates[1], rel=1e-6) and len(rates[0]) == 18


def test_compiled_steps_are_not_compiled_anew_for_each_learning_rate(policy):
    settings = {"lr": torch.tensor(0.1), "foreach": False}
    problem, optimizer, schedule = made(policy, total=None, total_steps=30, settings=settings)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled, counts = torch.compile(optimizer.step, backend=backend), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = problem.loss()
        loss.backward()
        schedule.observe(loss)
        compiled()
        counts.append(len(graphs))
    assert len(set(schedule.extract())) == 30 and counts[-1] == counts[5]


@pytest.mark.parametrize(
    "averaging", [torch.optim.swa_utils.get_swa_multi_avg_fn(), torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)]
)
def test_averaged_weights_are_judged_by_their_own_loss(policy, averaging):
    """The loss of averaged weights is what the policy gets; averages neither see the schedule nor change it."""
    rates = []
    for averaged in [True, False]:
        problem, optimizer, schedule = made(policy, total=4)
        average = torch.optim.swa_utils.AveragedModel(problem.model, multi_avg_fn=averaging)
        told = []
        for _ in range(4):
            for i in range(6):
                problem.step(optimizer, i)
                average.update_parameters(problem.model)
            with torch.no_grad():
                model = average if averaged else problem.model
                told.append(torch.nn.functional.mse_loss(model(problem.x[48:]), problem.y[48:]).item())
            schedule.step(told[-1])
        assert [entry["val_loss"] for entry in schedule.history] == told
        rates.append(schedule.extract())
    assert rates[0][0] == rates[1][0] and rates[0][-1] != rates[1][-1]
