"""Make schedules.json: `python tests/golden/schedules.py` (torch 2.15, transformers 5.23).

Learning rates of each PyTorch class for 70 steps, and of the metric-driven ones on sequences of metrics.
"""

import json
import math
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler as schedulers
from transformers.optimization import GreedyLR

warnings.simplefilter("ignore")
STEPS, BASE = 70, 0.3


def optimizer(lr=BASE):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def run(make):
    """Learning rates, and momenta where the scheduler cycles them."""
    opt = optimizer()
    scheduler = make(opt)
    lrs, momenta = [], []
    for step in range(STEPS):
        lrs.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step()
        if step < STEPS - 1:
            scheduler.step()
    return {"lrs": lrs, "momenta": momenta if momenta[0] else None}


def sequential(opt):
    first = schedulers.ConstantLR(opt, factor=0.1, total_iters=100)
    second = schedulers.ExponentialLR(opt, gamma=0.9)
    return schedulers.SequentialLR(opt, [first, second], milestones=[20])


def one_cycle(total_steps, **options):
    return lambda opt: schedulers.OneCycleLR(opt, max_lr=BASE, total_steps=total_steps, **options)


def cyclic(**options):
    return lambda opt: schedulers.CyclicLR(opt, base_lr=0.01, max_lr=BASE, **options)


OPEN_LOOP = [
    ({"type": "constant-lr", "factor": 0.25, "total_iters": 7}, lambda o: schedulers.ConstantLR(o, 0.25, 7)),
    (
        {"type": "linear", "start_factor": 0.2, "end_factor": 0.9, "total_iters": 15},
        lambda o: schedulers.LinearLR(o, 0.2, 0.9, 15),
    ),
    ({"type": "step", "step_size": 9, "gamma": 0.5}, lambda o: schedulers.StepLR(o, 9, 0.5)),
    (
        {"type": "multi-step", "milestones": [30, 10, 11], "gamma": 0.3},
        lambda o: schedulers.MultiStepLR(o, [30, 10, 11], 0.3),
    ),
    ({"type": "exponential", "gamma": 0.93}, lambda o: schedulers.ExponentialLR(o, 0.93)),
    ({"type": "polynomial", "total_iters": 40, "power": 2.0}, lambda o: schedulers.PolynomialLR(o, 40, 2.0)),
    ({"type": "polynomial", "total_iters": 40, "power": 1.0}, lambda o: schedulers.PolynomialLR(o, 40, 1.0)),
    (
        {"type": "cosine-annealing", "t_max": 30, "eta_min": 0.01},
        lambda o: schedulers.CosineAnnealingLR(o, 30, 0.01),
    ),
    (
        {"type": "cosine-warm-restarts", "t_0": 6, "t_mult": 2, "eta_min": 0.02},
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 6, 2, 0.02),
    ),
    (
        {"type": "cosine-warm-restarts", "t_0": 9, "t_mult": 1, "eta_min": 0.0},
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 9),
    ),
    (
        {
            "type": "one-cycle",
            "total_steps": 71,
            "pct_start": 0.3,
            "div_factor": 25.0,
            "final_div_factor": 1e4,
            "three_phase": False,
            "linear": False,
        },
        one_cycle(71),
    ),
    (
        {
            "type": "one-cycle",
            "total_steps": 71,
            "pct_start": 0.2,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
            "three_phase": True,
            "linear": True,
        },
        one_cycle(71, pct_start=0.2, div_factor=10.0, final_div_factor=100.0, three_phase=True, anneal_strategy="linear"),
    ),
    *[
        (
            {"type": "cyclic", "base_lr": 0.01, "step_size_up": 8, "step_size_down": 5, "mode": mode, "gamma": 0.97},
            cyclic(step_size_up=8, step_size_down=5, mode=mode, gamma=0.97),
            )
        for mode in ["triangular", "triangular2", "exp_range"]
    ],
    # PyTorch's defaults: only what has none is given.
    ({"type": "constant-lr"}, schedulers.ConstantLR),
    ({"type": "linear"}, schedulers.LinearLR),
    ({"type": "step", "step_size": 20}, lambda o: schedulers.StepLR(o, 20)),
    ({"type": "multi-step", "milestones": [7, 7, 50]}, lambda o: schedulers.MultiStepLR(o, [7, 7, 50])),
    ({"type": "polynomial"}, schedulers.PolynomialLR),
    ({"type": "cosine-annealing", "t_max": 70}, lambda o: schedulers.CosineAnnealingLR(o, 70)),
    ({"type": "cosine-warm-restarts", "t_0": 11}, lambda o: schedulers.CosineAnnealingWarmRestarts(o, 11)),
    ({"type": "one-cycle", "total_steps": 70}, one_cycle(70)),
    ({"type": "cyclic", "base_lr": 0.01}, cyclic()),
    # Further settings.
    ({"type": "constant-lr", "factor": 1.0, "total_iters": 0}, lambda o: schedulers.ConstantLR(o, 1.0, 0)),
    (
        {"type": "linear", "start_factor": 1.0, "end_factor": 0.0, "total_iters": 60},
        lambda o: schedulers.LinearLR(o, 1.0, 0.0, 60),
    ),
    ({"type": "step", "step_size": 1, "gamma": 1.05}, lambda o: schedulers.StepLR(o, 1, 1.05)),
    ({"type": "exponential", "gamma": 1.0}, lambda o: schedulers.ExponentialLR(o, 1.0)),
    ({"type": "exponential", "gamma": 0.5}, lambda o: schedulers.ExponentialLR(o, 0.5)),
    ({"type": "polynomial", "total_iters": 65, "power": 0.5}, lambda o: schedulers.PolynomialLR(o, 65, 0.5)),
    (
        {"type": "cosine-warm-restarts", "t_0": 3, "t_mult": 3, "eta_min": 0.05},
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3, 3, 0.05),
    ),
    (
        {"type": "one-cycle", "total_steps": 75, "pct_start": 0.4, "three_phase": True, "cycle_momentum": False},
        one_cycle(75, pct_start=0.4, three_phase=True, cycle_momentum=False),
    ),
    (
        {"type": "one-cycle", "total_steps": 80, "base_momentum": 0.7, "max_momentum": 0.9, "linear": True},
        one_cycle(80, base_momentum=0.7, max_momentum=0.9, anneal_strategy="linear"),
    ),
    (
        {"type": "cyclic", "base_lr": 0.01, "step_size_up": 7, "mode": "triangular2", "cycle_momentum": False},
        cyclic(step_size_up=7, mode="triangular2", cycle_momentum=False),
    ),
    (
        {"type": "cyclic", "base_lr": 0.01, "step_size_up": 3, "step_size_down": 9, "base_momentum": 0.5},
        cyclic(step_size_up=3, step_size_down=9, base_momentum=0.5),
    ),
    (
        {
            "type": "sequential",
            "schedules": [
                {"type": "constant-lr", "factor": 0.1, "total_iters": 100},
                {"type": "exponential", "gamma": 0.9},
            ],
            "milestones": [20],
        },
        sequential,
    ),
]

falling = [math.exp(-0.05 * i) for i in range(40)] + [0.14] * 60
noisy = [1.0 / (1 + 0.1 * i) + 0.2 * math.sin(2.3 * i) ** 2 for i in range(100)]
spiky = [float("nan") if i % 17 == 5 else (5.0 if i % 11 == 3 else 1.0 / (1 + i)) for i in range(100)]
METRIC = [
    ({"type": "plateau"}, schedulers.ReduceLROnPlateau),
    ({"type": "plateau", "patience": 2, "factor": 0.5, "cooldown": 3, "min_lr": 0.01}, schedulers.ReduceLROnPlateau),
    (
        {"type": "plateau", "mode": "max", "patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
        schedulers.ReduceLROnPlateau,
    ),
    ({"type": "plateau", "mode": "max", "patience": 0, "factor": 0.9}, schedulers.ReduceLROnPlateau),
    # Reductions below eps are not made: from 0.3 by halves, the one from 0.0375 on.
    ({"type": "plateau", "patience": 0, "factor": 0.5, "eps": 0.02}, schedulers.ReduceLROnPlateau),
    ({"type": "greedy"}, GreedyLR),
    ({"type": "greedy", "patience": 1, "factor": 0.8, "cooldown": 2, "warmup": 3, "max_lr": 0.7}, GreedyLR),
    ({"type": "greedy", "patience": 2, "factor": 0.5, "min_lr": 0.05, "reset_start": 3}, GreedyLR),
    ({"type": "greedy", "mode": "max", "patience": 1, "threshold_mode": "rel", "threshold": 0.01}, GreedyLR),
    ({"type": "greedy", "patience": 3, "smooth": True, "window_size": 5}, GreedyLR),
]


def run_metric(spec, scheduler_class, metrics):
    opt = optimizer()
    scheduler = scheduler_class(opt, **{k: v for k, v in spec.items() if k != "type"})
    lrs = []
    for metric in metrics:
        scheduler.step(metric)
        lrs.append(opt.param_groups[0]["lr"])
    return lrs


metrics = {"falling": falling, "noisy": noisy, "spiky": spiky}
golden = {
    "base": BASE,
    "open_loop": [{"spec": spec, **run(make)} for spec, make in OPEN_LOOP],
    "metrics": {name: [None if math.isnan(v) else v for v in values] for name, values in metrics.items()},
    "metric": [
        {"spec": spec, "metrics": name, "lrs": run_metric(spec, scheduler_class, values)}
        for spec, scheduler_class in METRIC
        for name, values in metrics.items()
        # A running sum that has met a NaN stays NaN, which no mean over a window does.
        if not (spec.get("smooth") and name == "spiky")
    ],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
