"""Make lr_free.json: `python tests/golden/lr_free.py` (torch 2.15, prodigyopt 1.1.2, schedulefree 1.4.1: `pip install
torch==2.15.0 prodigyopt==1.1.2 schedulefree==1.4.1`).

Twenty parameters in two tensors on a noisy quadratic, whose gradient is curvature * (w - target) + noise, for 400 steps with
a changing learning rate. After some of the steps: the parameters; Prodigy's estimate d; the average x of Schedule-Free, in
which its `eval` leaves the parameters.
"""

import importlib.metadata
import json
import math
import pathlib
import random

import torch
from prodigyopt import Prodigy
from schedulefree import AdamWScheduleFree, SGDScheduleFree

STEPS, SIZES = 400, (17, 3)
N = sum(SIZES)
NOTED = [*range(4), *range(9, STEPS, 39)]
PACKAGES = ("torch", "prodigyopt", "schedulefree")
CLASSES = {"prodigy": Prodigy, "schedule-free-sgd": SGDScheduleFree, "schedule-free-adamw": AdamWScheduleFree}
cosine = [round(0.5 * (1.0 + math.cos(math.pi * step / STEPS)), 6) for step in range(STEPS)]
SHAPES = {
    "constant": [1.0] * STEPS,
    "cosine": cosine,
    # The first learning rates are zero.
    "warm-up": [round(min(1.0, max(0.0, (step - 2) / 60)) * factor, 6) for step, factor in enumerate(cosine)],
}
CASES = [
    ({"type": "prodigy"}, 1.0, "constant"),
    ({"type": "prodigy"}, 1.0, "cosine"),
    ({"type": "prodigy", "weight_decay": 0.1}, 1.0, "cosine"),
    ({"type": "prodigy", "weight_decay": 0.1, "decouple": False}, 0.7, "cosine"),
    ({"type": "prodigy", "betas": [0.8, 0.99], "eps": 1e-6}, 1.0, "cosine"),
    ({"type": "prodigy", "betas": [0.5, 0.99], "use_bias_correction": True}, 1.0, "cosine"),
    ({"type": "prodigy", "use_bias_correction": True, "safeguard_warmup": True}, 1.0, "warm-up"),
    ({"type": "prodigy", "d_coef": 2.0, "d0": 1e-4}, 1.0, "cosine"),
    ({"type": "schedule-free-sgd"}, 0.2, "constant"),
    ({"type": "schedule-free-sgd", "momentum": 0.98, "weight_decay": 0.02, "warmup_steps": 50}, 0.5, "constant"),
    ({"type": "schedule-free-sgd", "r": 1.0, "weight_lr_power": 1.0, "momentum": 0.7}, 0.3, "warm-up"),
    ({"type": "schedule-free-sgd", "weight_lr_power": 0.0}, 0.3, "cosine"),
    ({"type": "schedule-free-adamw"}, 0.02, "constant"),
    ({"type": "schedule-free-adamw", "betas": [0.95, 0.99], "weight_decay": 0.1, "warmup_steps": 70}, 0.05, "constant"),
    ({"type": "schedule-free-adamw", "eps": 1e-4, "r": 0.5}, 0.05, "warm-up"),
    ({"type": "schedule-free-adamw", "weight_lr_power": 1.0, "weight_decay": 0.02}, 0.05, "cosine"),
]

random.seed(0)
curvature = [10.0 ** (-i / (N - 1)) for i in range(N)]
target = [3.0 * math.sin(2.3 * i) for i in range(N)]
# The last tensor starts at zero.
start = [math.sin(1.7 * i) if i < SIZES[0] else 0.0 for i in range(N)]
noise = [[random.randint(-50, 50) for _ in range(N)] for _ in range(STEPS)]


def split(values: list[float]) -> list[torch.Tensor]:
    return list(torch.tensor(values, dtype=torch.float32).split(SIZES))


def joined(tensors: list[torch.Tensor]) -> list[float]:
    return torch.cat([tensor.detach() for tensor in tensors]).tolist()


def run(spec: dict, base_lr: float, shape: list[float]) -> list[dict]:
    weights = [torch.nn.Parameter(tensor.clone()) for tensor in split(start)]
    optimizer = CLASSES[spec["type"]](weights, lr=base_lr, **{key: v for key, v in spec.items() if key != "type"})
    averages = spec["type"] != "prodigy"
    if averages:
        optimizer.train()
    notes = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = base_lr * shape[step]
        for w, h, goal, e in zip(weights, split(curvature), split(target), split(noise[step]), strict=True):
            w.grad = h * (w.detach() - goal) + e * 0.01
        optimizer.step()
        if step not in NOTED:
            continue
        note = {"step": step, "parameters": joined(weights)}
        if averages:
            copies = [w.detach().clone() for w in weights]
            optimizer.eval()
            note["average"] = joined(weights)
            optimizer.train()
            # `train` brings back the parameters but for rounding.
            for w, copy in zip(weights, copies, strict=True):
                w.data.copy_(copy)
        else:
            note["d"] = optimizer.param_groups[0]["d"]
        notes.append(note)
    return notes


golden = {
    "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    "curvature": curvature,
    "target": target,
    "start": start,
    "noise": noise,
    "shapes": SHAPES,
    "cases": [{"spec": s, "lr": lr, "shape": shape, "notes": run(s, lr, SHAPES[shape])} for s, lr, shape in CASES],
}


def rounded(value):
    """Floats in the nine digits that tell any two of 32 bits apart."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(rounded(golden)) + "\n")
