"""What is known of a run before its first step."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim import Optimizer

from lrpilot._native import ConfigError, Policy, Run
from lrpilot._values import LENGTH, checked_bounds, checked_family, count_if_any


@dataclass(frozen=True)
class Facts:
    """The run's length in calls of `step` (absent: the policy decides when it wants) and in steps, and the like."""

    total: int | None
    steps: int | None
    examples: int | None
    batch_size: int | None
    bounds: tuple[float, float] | None
    family: str
    momentum: float

    @classmethod
    def of(
        cls,
        optimizer: Optimizer,
        total: int | None,
        total_steps: int | None,
        loader: Sized | None,
        batch_size: int | None,
        examples: int | None,
        bounds: tuple[float, float] | None,
        family: str | None,
    ) -> "Facts":
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ConfigError("optimizer: LBFGS takes several steps in one; use a first-order optimizer")
        if not optimizer.param_groups or any("lr" not in group for group in optimizer.param_groups):
            name = type(optimizer).__name__
            raise ConfigError(f'optimizer: {name} has no groups with a learning rate "lr"; give one that has')
        total, total_steps = count_if_any("total", total, LENGTH), count_if_any("total_steps", total_steps, LENGTH)
        batch_size, examples = count_if_any("batch_size", batch_size), count_if_any("examples", examples)
        if loader is not None:
            batches, size, all_examples = _of_loader(loader)
            batch_size, examples = batch_size or size, examples or all_examples
            total_steps = total_steps or (None if total is None else total * batches)
        if total is None and total_steps is None:
            message = "total: neither the number of step() calls nor that of optimizer steps is known"
            raise ConfigError(f"{message}; give total= or total_steps=")
        if total is not None and total_steps is not None and total_steps < total:
            message = f"total_steps: {total_steps} is less than total={total} calls of step()"
            raise ConfigError(f"{message}; each of them needs an optimizer step before it")
        bounds, known = checked_bounds(bounds), checked_family(family)
        kind, momentum = _family(optimizer) if known is None else (known, _momentum(optimizer))
        return cls(total, total_steps, examples, batch_size, bounds, kind, momentum)

    def start(
        self,
        policy: Policy,
        groups: Sequence[tuple[int, float, float]],
        train_loss: float | None,
        val_loss: float | None,
        lr: float | None,
    ) -> Run:
        return policy.start(
            self.total or 1,
            self.family,
            groups,
            momentum=self.momentum,
            bounds=self.bounds,
            steps=self.steps,
            examples=self.examples,
            batch_size=self.batch_size,
            free=self.total is None,
            train_loss=train_loss,
            val_loss=val_loss,
            lr=lr,
        )

    @property
    def interval_steps(self) -> int:
        """Optimizer steps between two calls of `step`; 0 where they are not known."""
        return (self.steps or 0) // (self.total or 1)

    def extended(self, total: int) -> "Facts":
        """The same kind of run, with another number of calls of `step`."""
        steps = None if self.steps is None else round(self.steps * total / (self.total or total))
        return replace(self, total=total, steps=steps)


def _of_loader(loader: Sized) -> tuple[int, int | None, int | None]:
    """Batches of a process; examples in a batch and in all, over all processes: each has a loader of its own share."""
    try:
        batches = len(loader)
    except TypeError:
        name = type(loader).__name__
        raise ConfigError(f"loader: {name} has no length; leave it out, and give total_steps= and batch_size=") from None
    if batches == 0:
        raise ConfigError("loader: it has no batches; give the one of the training data")
    many = torch.distributed.is_available() and torch.distributed.is_initialized()
    processes = torch.distributed.get_world_size() if many else 1
    batch: Any = getattr(loader, "batch_size", None)
    dataset: Any = getattr(loader, "dataset", None)
    sized = isinstance(dataset, Sized)
    return batches, batch and batch * processes, len(dataset) if sized else None


def _momentum(optimizer: Optimizer) -> float:
    return float(optimizer.param_groups[0].get("momentum") or 0.0)


def _family(optimizer: Optimizer) -> tuple[str, float]:
    """Which optimizers' steps are alike, by class, otherwise by the settings that they have."""
    if isinstance(optimizer, torch.optim.Adagrad):
        return "adagrad", 0.0
    if isinstance(optimizer, torch.optim.Adadelta):
        return "adadelta", 0.0
    group = optimizer.param_groups[0]
    adaptive = isinstance(optimizer, torch.optim.RMSprop) or not {"momentum"} & group.keys() or "betas" in group
    return ("adam", 0.0) if adaptive else ("sgd", _momentum(optimizer))
