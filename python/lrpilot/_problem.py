"""What is trained by the tasks of `lrpilot.torch`: a model, data and an optimizer, with everything random keyed by seed."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from lrpilot import _tensors
from lrpilot._facts import Facts
from lrpilot._hooks import unwrapped
from lrpilot._native import ConfigError
from lrpilot._task import TaskSpec
from lrpilot._values import count, count_if_any, finite, number

Examples = tuple[Tensor, Tensor]
ModelFn = Callable[[], Module]
LossFn = Callable[[Tensor, Tensor], Tensor]
OptimizerFn = Callable[[Any], Optimizer]


def sgd(parameters: Any) -> Optimizer:
    """SGD with momentum, the optimizer where nobody chooses one."""
    return torch.optim.SGD(parameters, momentum=0.9)


@dataclass(frozen=True)
class Problem:
    """All copies of a task share one."""

    model_fn: ModelFn
    loss: LossFn
    optimizer_fn: OptimizerFn
    device: torch.device
    train: Examples
    #: Held back: for the observation, and for the choice between policies.
    val: Examples
    choice: Examples
    spec: TaskSpec

    @classmethod
    def of(
        cls,
        model_fn: ModelFn,
        data: Examples,
        loss: LossFn,
        optimizer: OptimizerFn,
        *,
        batch_size: int,
        interval_steps: int | None,
        horizon: int,
        held_back: float,
        lr_bounds: tuple[float, float],
        name: str,
        device: str | torch.device,
    ) -> "Problem":
        train, val, choice = _split(data, held_back, torch.device(device))
        examples = len(train[0])
        horizon, batch_size = count("horizon", horizon), count("batch_size", batch_size)
        if batch_size > examples:
            raise ConfigError(f"batch_size: {batch_size} of {examples} training examples; give 1 to {examples}")
        with seeded(0, "weights", 0, torch.device(device)):
            made = unwrapped(optimizer(model_fn().parameters()))
        facts = Facts.of(made, horizon, None, None, batch_size, examples, lr_bounds, None)
        spec = TaskSpec(
            horizon=horizon,
            name=name,
            groups=tuple(sum(tensor.numel() for tensor in layer) for layer in _tensors.layers(made)),
            optimizer=facts.family,
            momentum=facts.momentum,
            lr_bounds=lr_bounds,
            interval_steps=count_if_any("interval_steps", interval_steps) or examples // batch_size,
            batch_size=batch_size,
            examples=examples,
        )
        return cls(model_fn, loss, optimizer, torch.device(device), train, val, choice, spec)

    def __deepcopy__(self, memo: Any) -> "Problem":
        """Nothing in it changes, so copies of a task share the data."""
        return self

    def made(self, seed: int) -> Module:
        """The untrained model of a seed."""
        with seeded(seed, "weights", 0, self.device):
            return self.model_fn().to(self.device)

    def batches(self, seed: int, first: int, steps: int) -> Tensor:
        """Indices `[steps, batch_size]` of the batches of steps `first` and up. Each epoch has an order of its own; what is
        no full batch at its end is left out."""
        size = self.spec.batch_size
        each = len(self.train[0]) // size
        orders = [self._order(seed, epoch) for epoch in range(first // each, (first + steps - 1) // each + 1)]
        rows = torch.cat([order[: each * size].view(each, size) for order in orders])
        return rows[first % each :][:steps].to(self.device)

    def _order(self, seed: int, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(key(seed, "order", epoch))
        return torch.randperm(len(self.train[0]), generator=generator)


def _split(data: Examples, held_back: float, device: torch.device) -> tuple[Examples, Examples, Examples]:
    """Training data and two halves of what is held back, drawn once and for all."""
    if not isinstance(data, (tuple, list)) or [isinstance(each, Tensor) for each in data] != [True, True]:
        raise ConfigError("data: it is not a pair of tensors; give all inputs and all targets")
    x, y = data
    if len(x) != len(y):
        raise ConfigError(f"data: {len(x)} inputs and {len(y)} targets; give one target for each input")
    share = finite(number(held_back))
    half = 0 if share is None else int(len(x) * share / 2)
    if half < 1 or 2 * half >= len(x):
        raise ConfigError(f"held_back: {held_back!r} of {len(x)} examples; leave some to train on, and at least two held back")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = order[2 * half :], order[:half], order[half : 2 * half]
    train, val, choice = ((x[part.to(x.device)].to(device), y[part.to(y.device)].to(device)) for part in parts)
    return train, val, choice


def key(seed: int, purpose: str, index: int) -> int:
    """A seed of its own for each purpose and index.

    >>> key(1, "order", 0) == key(1, "order", 0), key(1, "order", 0) == key(1, "order", 1)
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed} {purpose} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(seed: int, purpose: str, index: int, device: torch.device) -> Iterator[None]:
    """Global random numbers of PyTorch, keyed; afterwards they go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(key(seed, purpose, index))
        yield
