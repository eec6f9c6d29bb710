"""The trainings of `proof.py`: plain PyTorch, small, and none of them what the policy was learned on.

The policy's own trainings are networks of another engine on made-up data, on MNIST averaged to 8×8 and 12×12, and on
1,797 digits that the table optdigits contains; the other data here it has never seen. Each training takes about a second on one core.
"""

import csv
import gzip
import math
import os
import pathlib
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Part = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Data:
    train: Part
    val: Part
    test: Part


@dataclass(frozen=True)
class Task:
    """A training. Where `epochs` is absent it is a stream: `steps` fresh batches, and nobody looks at held-back data."""

    name: str
    what: str
    optimizer: type[torch.optim.Optimizer]
    settings: dict[str, Any]
    lrs: tuple[float, float]
    batch: int
    data: Callable[[], Data]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    epochs: int | None = None
    steps: int | None = None
    bf16: bool = False


class Batches:
    """What a data loader tells, without its cost: shuffled batches of tensors."""

    def __init__(self, part: Part, batch_size: int, seed: int) -> None:
        self.dataset = torch.utils.data.TensorDataset(*part)
        self.batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Part]:
        x, y = self.dataset.tensors
        for chosen in torch.randperm(len(x), generator=self._generator).split(self.batch_size):
            yield x[chosen], y[chosen]


# Data. Every split is drawn once, by the same seed.


def folder() -> pathlib.Path:
    if "LRPILOT_DATA" not in os.environ:
        raise SystemExit("LRPILOT_DATA: not set; give the folder that holds mnist, tabular and cifar-100-binary.tar.gz")
    return pathlib.Path(os.environ["LRPILOT_DATA"])


def split(x: Tensor, y: Tensor, train: int, val: int, test: int) -> Data:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = order[: train + val + test].split([train, val, test])
    return Data(*[(x[part], y[part]) for part in parts])


def mnist() -> Data:
    def read(name: str, header: int) -> Tensor:
        content = gzip.decompress((folder() / "mnist" / name).read_bytes())
        return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)

    images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:10000].float() / 255
    labels = read("train-labels-idx1-ubyte.gz", 8)[:10000].long()
    x = (functional.avg_pool2d(images, 2) - 0.1307) / 0.27
    return split(x, labels, 2500, 1000, 2000)


def cifar() -> Data:
    """The first 10,000 colour images of CIFAR-100, averaged to 16×16, in its twenty coarse classes."""
    count, record = 10000, 2 + 3072
    with tarfile.open(folder() / "cifar-100-binary.tar.gz") as archive:
        file = next(archive.extractfile(each) for each in archive if each.name.endswith("train.bin"))
        content = torch.frombuffer(bytearray(file.read(count * record)), dtype=torch.uint8).reshape(count, record)
    images = content[:, 2:].reshape(count, 3, 32, 32).float() / 255
    return split((functional.avg_pool2d(images, 2) - 0.47) / 0.25, content[:, 0].long(), 3000, 1000, 2000)


def table(name: str, train: int, val: int, test: int) -> Data:
    """Numbers in all columns but the last, which is the class."""
    with open(folder() / "tabular" / f"{name}.csv", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    names = sorted({row[-1] for row in rows})
    x = torch.tensor([[float(cell) for cell in row[:-1]] for row in rows])
    y = torch.tensor([names.index(row[-1]) for row in rows])
    data = split(x, y, train, val, test)
    mean, deviation = data.train[0].mean(0), data.train[0].std(0).clamp_min(1e-6)
    return Data(*[((x - mean) / deviation, y) for x, y in (data.train, data.val, data.test)])


#: The 32 most frequent ones, and all others as one.
CHARACTERS = 33


def text() -> Data:
    """Pieces of the manual that comes with Python; each of their characters is to be told from those before it."""
    from pydoc_data.topics import topics

    content = " ".join(topics[key] for key in sorted(topics)).lower()
    frequent = Counter(content).most_common(CHARACTERS - 1)
    code = {character: i for i, (character, _) in enumerate(frequent, 1)}
    codes = torch.tensor([code.get(character, 0) for character in content])
    pieces = codes[: len(codes) // 25 * 25].reshape(-1, 25)
    return split(pieces[:, :-1], pieces[:, 1:], 1200, 400, 800)


def stream(count: int, seed: int) -> Part:
    """Sequences of 12 numbers, two of them marked: the marked ones are to be added up."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, 12, generator=generator) - 0.5
    marks = torch.zeros(count, 12)
    for half in range(2):
        marks.scatter_(1, torch.randint(6, (count, 1), generator=generator) + 6 * half, 1.0)
    return torch.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdim=True)


def sums() -> Data:
    """The training part is drawn as it is needed; this one only tells its form."""
    return Data(stream(1, 1), stream(1000, 2), stream(1000, 3))


# Networks.


class Embedded(nn.Module):
    """Adds learned positions to embedded characters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.characters, self.positions = nn.Embedding(CHARACTERS, width), nn.Embedding(24, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.characters(x) + self.positions.weight
        return out


class Block(nn.Module):
    """Causal attention and two dense layers, each after a LayerNorm and beside a skip connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        shape = (n, length, 3, self.heads, width // self.heads)
        q, k, v = self.mix(self.norm1(x)).reshape(shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, length, width))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Recurrent(nn.Module):
    """A gated recurrent layer and a dense one on its last state."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(inputs, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x)[0][:, -1])
        return out


class Residual(nn.Module):
    """A dense layer after a LayerNorm, beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


def convolutions() -> nn.Module:
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 12, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 10))


def group_norm() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in [(3, 16), (16, 32)]:
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.GroupNorm(4, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 20))


def transformer() -> nn.Module:
    return nn.Sequential(Embedded(24), Block(24, 2), Block(24, 2), nn.LayerNorm(24), nn.Linear(24, CHARACTERS))


def dense(*widths: int, between: Callable[[], nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), between()]
    return nn.Sequential(*layers[:-1])


def residual() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 48), Residual(48), Residual(48), nn.LayerNorm(48), nn.Linear(48, 10))


# Losses.


def classes(out: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(out.float(), y)


def next_characters(out: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(out.flatten(0, 1), y.flatten())


#: Five decades of learning rates, for optimizers that normalize their steps and for those that do not.
ADAM, SGD = (1e-5, 1e0), (1e-4, 1e1)

TASKS = [
    Task(
        name="mnist-convnet",
        what="convolutions on MNIST, 14×14",
        optimizer=torch.optim.SGD,
        settings={"momentum": 0.9},
        lrs=SGD,
        batch=50,
        epochs=5,
        data=mnist,
        model=convolutions,
        loss=classes,
    ),
    Task(
        name="manual-transformer",
        what="two attention blocks on the characters of Python's manual",
        optimizer=torch.optim.AdamW,
        settings={},
        lrs=ADAM,
        batch=24,
        epochs=5,
        data=text,
        model=transformer,
        loss=next_characters,
    ),
    Task(
        name="letter-nadam",
        what="dense layers on the table letter",
        optimizer=torch.optim.NAdam,
        settings={},
        lrs=ADAM,
        batch=64,
        epochs=10,
        data=lambda: table("letter", 3200, 1000, 4000),
        model=lambda: dense(16, 64, 64, 26, between=nn.ReLU),
        loss=classes,
    ),
    Task(
        name="satimage-radam",
        what="deep narrow dense layers on the table satimage",
        optimizer=torch.optim.RAdam,
        settings={},
        lrs=ADAM,
        batch=32,
        epochs=8,
        data=lambda: table("satimage", 2000, 1000, 2500),
        model=lambda: dense(36, 32, 32, 32, 6, between=nn.Tanh),
        loss=classes,
    ),
    Task(
        name="cifar-groupnorm",
        what="convolutions with GroupNorm on CIFAR-100's twenty coarse classes, 16×16",
        optimizer=torch.optim.SGD,
        settings={"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        lrs=SGD,
        batch=50,
        epochs=5,
        data=cifar,
        model=group_norm,
        loss=classes,
    ),
    Task(
        name="optdigits-bf16",
        what="residual layers with LayerNorm and dropout on the table optdigits, bfloat16 autocast",
        optimizer=torch.optim.AdamW,
        settings={"weight_decay": 0.1},
        lrs=ADAM,
        batch=50,
        epochs=8,
        data=lambda: table("optdigits", 2000, 1000, 2000),
        model=residual,
        loss=classes,
        bf16=True,
    ),
    Task(
        name="sum-stream",
        what="a gated recurrent layer that adds marked numbers: a stream, no held-back data",
        optimizer=torch.optim.Adam,
        settings={},
        lrs=ADAM,
        batch=32,
        steps=320,
        data=sums,
        model=lambda: Recurrent(2, 20),
        loss=functional.mse_loss,
    ),
]
