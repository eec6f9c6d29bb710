"""Images per second of training a network in PyTorch; spoken to as `worker.py` says.

python training.py WORK [--threads N] [--channels-last] [--compile]
"""

import argparse
import itertools
import time

import torch
from torch import nn
from torch.nn import functional
from worker import repeat, serve

CLASSES = 10
BATCH = 64
# As on the other side: small enough for training on random labels to stay finite.
LR = 0.01
WARM_UP_S = 1.0


class Residual(nn.Module):
    """The ResNet basic block."""

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.skip = nn.Identity()
        if stride != 1 or inputs != channels:
            self.skip = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + self.skip(x), inplace=True)


def mlp(*widths):
    """Dense layers with ReLU between them."""
    layers = [nn.Linear(widths[0], widths[1])]
    for before, after in itertools.pairwise(widths[1:]):
        layers += [nn.ReLU(inplace=True), nn.Linear(before, after)]
    return nn.Sequential(*layers)


def cnn(channels, side):
    """The convnet of PyTorch's MNIST example."""
    pooled = (side - 4) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64 * pooled * pooled, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(128, CLASSES),
    )


def resnet():
    """Three basic blocks of 16, 32 and 64 channels."""
    return nn.Sequential(
        # With a bias, which the batch normalisation makes useless, because the other side has one.
        nn.Conv2d(3, 16, 3, 1, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


# Network, shape of an image, images in an epoch.
WORKS = {
    "digits-mlp": (lambda: mlp(64, 32, CLASSES), (64,), 1024),
    "mnist-mlp": (lambda: mlp(784, 128, CLASSES), (784,), 5120),
    "mnist-cnn": (lambda: cnn(1, 28), (1, 28, 28), 5120),
    "cifar-cnn": (lambda: cnn(3, 32), (3, 32, 32), 2048),
    "resnet": (resnet, (3, 32, 32), 2048),
}


class Training:
    """A network in training, batch by batch."""

    def __init__(self, args):
        network, shape, images = WORKS[args.work]
        self.network = network()
        self.x = torch.rand(images, *shape) * 2 - 1
        self.y = torch.randint(CLASSES, (images,))
        if args.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.loss = self.loss_of
        if args.compile:
            self.loss = torch.compile(self.loss_of)
        self.batches = iter(())
        self.optimizer_name = self.choose_optimizer()

    def loss_of(self, x, y):
        return functional.cross_entropy(self.network(x), y)

    def choose_optimizer(self):
        """Take the fastest implementation of SGD, by a short trial."""
        rates = {}
        for name in ("fused", "foreach"):
            self.optimizer = self.sgd(name)
            self.step()
            rates[name] = repeat(WARM_UP_S / 4, self.step)
        best = max(rates, key=rates.get)
        self.optimizer = self.sgd(best)
        return best

    def sgd(self, implementation):
        return torch.optim.SGD(self.network.parameters(), lr=LR, momentum=0.9, **{implementation: True})

    def step(self):
        batch = next(self.batches, None)
        if batch is None:
            # One gather for the epoch is faster than one for each batch.
            order = torch.randperm(len(self.x))
            self.batches = zip(self.x[order].split(BATCH), self.y[order].split(BATCH))
            batch = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(*batch).backward()
        self.optimizer.step()
        return BATCH


def prepare(args):
    start = time.perf_counter()
    training = Training(args)
    parameters = sum(p.numel() for p in training.network.parameters())
    repeat(WARM_UP_S, training.step)
    info = {
        "parameters": parameters,
        "optimizer": training.optimizer_name,
        "prepare_s": time.perf_counter() - start,
    }
    return info, lambda seconds: repeat(seconds, training.step)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    serve(arguments.threads, lambda: prepare(arguments))
