"""A small convolutional network on MNIST.

    LRPILOT_DATA=DIR python mnist_convnet.py           train it with the policy that comes with lrpilot
    LRPILOT_DATA=DIR python mnist_convnet.py --task    learn a policy on fewer images first, then train with it

DIR/mnist holds the four idx files of MNIST, as they are or with .gz; `lrpilot data fetch mnist` puts them there.
"""

import argparse
import gzip
import os
import pathlib
import sys
import tempfile

import torch
from torch import nn

import lrpilot
from lrpilot.torch import LearnedLR, TorchTask

EPOCHS, BATCH = 4, 64
TRAIN, VAL = 4_000, 1_000


def made() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )


def read(folder: pathlib.Path, name: str, header: int, count: int, size: int) -> torch.Tensor:
    """The first `count` entries of `size` bytes of an idx file."""
    plain = folder / name
    with plain.open("rb") if plain.exists() else gzip.open(f"{plain}.gz") as file:
        content = file.read(header + count * size)
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)


def images(folder: pathlib.Path, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = read(folder, "train-images-idx3-ubyte", 16, count, 28 * 28).view(count, 1, 28, 28)
    return x.float() / 255.0, read(folder, "train-labels-idx1-ubyte", 8, count, 1).long()


def train(x: torch.Tensor, y: torch.Tensor, policy: str) -> None:
    torch.manual_seed(0)
    model = made()
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:TRAIN], y[:TRAIN]), batch_size=BATCH, shuffle=True
    )
    schedule = LearnedLR(optimizer, total=EPOCHS, loader=loader, policy=policy)
    for epoch in range(EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            schedule.observe(loss)
            optimizer.step()
        with torch.no_grad():
            outputs = model(x[TRAIN:])
            val_loss = nn.functional.cross_entropy(outputs, y[TRAIN:])
        schedule.step(val_loss)
        share = (outputs.argmax(1) == y[TRAIN:]).float().mean()
        print(f"epoch {epoch + 1}: loss {val_loss:.3f}, {share:.1%} right, learning rate {schedule.get_last_lr()[0]:.2e}")


def learn(x: torch.Tensor, y: torch.Tensor, path: str) -> None:
    """A policy from 300 intervals of 8 steps: too few to be good, enough to see it done."""
    task = TorchTask(
        made, (x[:1_000], y[:1_000]), nn.functional.cross_entropy, batch_size=BATCH, interval_steps=8, horizon=10
    )
    settings = {"learn.candidates": 2, "learn.selection_seeds": 2}
    policy = lrpilot.learn(task, 300, environments=4, settings=settings, progress=print)
    policy.save(path)
    print(f"loss of the runs that it was chosen by: {policy.selection_loss:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="store_true", help="learn a policy first")
    arguments = parser.parse_args()
    folder = pathlib.Path(os.environ.get("LRPILOT_DATA", ".")) / "mnist"
    if not list(folder.glob("train-images-idx3-ubyte*")):
        sys.exit(f"skipped: {folder} does not hold MNIST; set LRPILOT_DATA to the folder above mnist")
    x, y = images(folder, TRAIN + VAL)
    if not arguments.task:
        return train(x, y, "pretrained")
    with tempfile.TemporaryDirectory() as temporary:
        path = str(pathlib.Path(temporary) / "policy.safetensors")
        learn(x, y, path)
        return train(x, y, path)


if __name__ == "__main__":
    main()
