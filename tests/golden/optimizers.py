"""Make optimizers.json: `python tests/golden/optimizers.py` (torch 2.15).

Eight parameters on fixed gradients for 12 steps, the learning rate changing each step; the parameters after each step.
"""

import json
import math
import pathlib

import torch

STEPS, N = 12, 8
CASES = [
    ({"type": "sgd"}, torch.optim.SGD),
    ({"type": "sgd", "weight_decay": 0.1}, torch.optim.SGD),
    ({"type": "sgd", "momentum": 0.9}, torch.optim.SGD),
    ({"type": "sgd", "momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD),
    ({"type": "sgd", "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}, torch.optim.SGD),
    ({"type": "adam"}, torch.optim.Adam),
    ({"type": "adam", "betas": [0.8, 0.95], "eps": 1e-5, "weight_decay": 0.1}, torch.optim.Adam),
    ({"type": "adamw"}, torch.optim.AdamW),
    ({"type": "adamw", "betas": [0.7, 0.9], "weight_decay": 0.3}, torch.optim.AdamW),
    ({"type": "nadam"}, torch.optim.NAdam),
    ({"type": "nadam", "betas": [0.8, 0.95], "momentum_decay": 0.5, "weight_decay": 0.1}, torch.optim.NAdam),
    ({"type": "nadam", "weight_decay": 0.3, "decoupled_weight_decay": True}, torch.optim.NAdam),
    ({"type": "radam"}, torch.optim.RAdam),
    ({"type": "radam", "betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.1}, torch.optim.RAdam),
    ({"type": "radam", "weight_decay": 0.3, "decoupled_weight_decay": True}, torch.optim.RAdam),
    ({"type": "adadelta"}, torch.optim.Adadelta),
    ({"type": "adadelta", "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}, torch.optim.Adadelta),
    ({"type": "adagrad"}, torch.optim.Adagrad),
    (
        {"type": "adagrad", "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5},
        torch.optim.Adagrad,
    ),
    ({"type": "rmsprop"}, torch.optim.RMSprop),
    ({"type": "rmsprop", "alpha": 0.9, "eps": 1e-4, "momentum": 0.7, "weight_decay": 0.1}, torch.optim.RMSprop),
    ({"type": "rmsprop", "centered": True, "eps": 1e-3}, torch.optim.RMSprop),
    ({"type": "rmsprop", "centered": True, "momentum": 0.5, "eps": 1e-3}, torch.optim.RMSprop),
]

start = [math.sin(1.7 * i) for i in range(N)]
gradients = [[math.cos(0.9 * i + 0.37 * s * (i + 1)) * (0.01 if i == 0 else 1.0) for i in range(N)] for s in range(STEPS)]
lrs = [0.02 * (1.0 + 0.5 * math.sin(s)) for s in range(STEPS)]
cases = []
for spec, optimizer_class in CASES:
    w = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    optimizer = optimizer_class([w], lr=1.0, **{k: v for k, v in spec.items() if k != "type"})
    trajectory = []
    for lr, gradient in zip(lrs, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        trajectory.append(w.tolist())
    cases.append({"spec": spec, "trajectory": trajectory})
golden = {"torch": torch.__version__.split("+")[0], "start": start, "gradients": gradients, "lrs": lrs, "cases": cases}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
