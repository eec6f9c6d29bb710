"""Write layers.json: outputs and gradients of small networks in PyTorch, compared by tests/layers.rs.

Inputs and parameters are the formulas `fill` below, which the test repeats, so only results are stored.
Run: python tests/golden/layers.py
"""

import json
from pathlib import Path

import torch
from torch import nn

torch.set_num_threads(1)


def fill(n, k):
    """n numbers in about [-1, 1], exact in f32: a multiplicative sequence modulo a prime."""
    i = torch.arange(n, dtype=torch.int64)
    return (((i * 7919 + k * 104729) % 10007).double() / 5003.0 - 1.0).float()


class Block(nn.Module):
    """The basic block of torchvision.models.resnet, with its names."""

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Dense(nn.Linear):
    """A linear layer that flattens first, so that indices equal those of the list of layers."""

    def forward(self, x):
        return super().forward(x.flatten(1))


def cnn(channels, side, classes):
    flat = 64 * ((side - 4) // 2) ** 2
    return [nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Identity(),
            Dense(flat, 128), nn.ReLU(), nn.Identity(), Dense(128, classes)]


RESNET = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 16, 1), Block(16, 32, 2),
          Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), Dense(64, 10)]

# name: (input shape, batch, layers)
CASES = {
    "dense-tanh": ((5, 1, 1), 3, [Dense(5, 4), nn.Tanh(), Dense(4, 2)]),
    "conv": ((2, 6, 5), 3, [nn.Conv2d(2, 4, 3)]),
    "conv-padding": ((2, 6, 5), 3, [nn.Conv2d(2, 4, 3, padding=1), nn.Tanh()]),
    "conv-stride": ((3, 7, 6), 2, [nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU()]),
    "conv-wide-padding": ((1, 3, 2), 2, [nn.Conv2d(1, 2, 2, stride=3, padding=4)]),
    "conv-pointwise": ((3, 4, 4), 2, [nn.Conv2d(3, 4, 1)]),
    "max-pool": ((2, 7, 5), 2, [nn.Conv2d(2, 2, 1), nn.MaxPool2d(2)]),
    "max-pool-3": ((2, 7, 5), 2, [nn.Conv2d(2, 2, 1), nn.MaxPool2d(3)]),
    "average": ((2, 5, 5), 3, [nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1)]),
    "batch-norm-2d": ((3, 4, 3), 4, [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()]),
    "batch-norm-1d": ((6, 1, 1), 5, [Dense(6, 4), nn.BatchNorm1d(4), nn.Tanh()]),
    "residual": ((4, 5, 5), 3, [Block(4, 4, 1)]),
    "residual-stride": ((4, 5, 6), 3, [Block(4, 6, 2)]),
    "mlp": ((64, 1, 1), 4, [Dense(64, 32), nn.ReLU(), Dense(32, 10)]),
    "mnist-cnn": ((1, 28, 28), 2, cnn(1, 28, 10)),
    "cifar-cnn": ((3, 32, 32), 2, cnn(3, 32, 100)),
    "resnet": ((3, 32, 32), 2, RESNET),
}


def sample(t):
    """Norm and up to 300 entries at even distances, so all of a small tensor."""
    t = t.detach().flatten().double()
    entries = t[:: max(1, t.numel() // 300)][:300].tolist()
    return {"norm": t.norm().item(), "entries": [float(f"{v:.8g}") for v in entries]}


def case(shape, batch, layers):
    net = nn.Sequential(*layers).train()
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            scale = 1.0 if p.dim() == 1 else 1.7 / (p.numel() / p.shape[0]) ** 0.5
            p.copy_((fill(p.numel(), k + 1) * scale).reshape(p.shape))
    flat = fill(batch * shape[0] * shape[1] * shape[2], 0)
    x = flat.reshape(batch, *shape) if shape[1] * shape[2] > 1 else flat.reshape(batch, -1)
    net.double()  # the exact values, to f32 rounding
    y = net(x.double())
    weights = fill(y.numel(), 99).double().reshape(y.shape)
    loss = (y * weights).sum()
    loss.backward()
    out = {"loss": loss.item(), "output": sample(y)}
    out["gradients"] = {n: sample(p.grad) for n, p in net.named_parameters()}
    out["buffers"] = {n: sample(b) for n, b in net.named_buffers() if "num_batches" not in n}
    out["eval"] = sample(net.eval()(x.double()))
    return out


result = {name: case(*c) for name, c in CASES.items()}
Path(__file__).with_name("layers.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
