"""Agreement between the processes of a distributed run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lrpilot._history import Told
from lrpilot._tensors import scalar


def are_many() -> bool:
    """Whether there are other processes to agree with."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return not are_many() or dist.get_rank() == 0


def agreed(told: Told) -> Told:
    """Losses averaged over the processes; norms, which are the same for all, from the first. Every process must call."""
    every = _gathered(told)
    return replace(
        every[0],
        losses=_averaged([each.losses for each in every]),
        train_loss=_mean([each.train_loss for each in every]),
        val_loss=_mean([each.val_loss for each in every]),
    )


def averaged(values: list[float]) -> list[float]:
    """Each value averaged over the processes. Every process must call."""
    return _averaged(_gathered(values))


def from_first(values: list[object]) -> list[object]:
    """The values of the first process, for every process."""
    with _waiting():
        dist.broadcast_object_list(values, src=0)
    return values


def mean(loss: Tensor | float) -> float:
    """A loss averaged over the processes; NaN or infinite where that of one is. Every process must call."""
    loss = scalar(loss)
    if not are_many():
        return float(loss)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.as_tensor(loss, dtype=torch.float64).to(device, copy=True)
    with _waiting():
        dist.all_reduce(total)
    return total.item() / dist.get_world_size()


@contextmanager
def _waiting() -> Iterator[None]:
    """How long the others are waited for is the process group's affair; what it raises then names no cause."""
    try:
        yield
    except RuntimeError as error:
        message = (
            "lrpilot: another process has ended, or did not take part within the timeout of init_process_group();"
            " every process has to make the same calls, not only the main one"
        )
        raise RuntimeError(message) from error


T = TypeVar("T")


def _gathered(value: T) -> list[T]:
    """The value of each process, the first one's first."""
    every = [value] * dist.get_world_size()
    with _waiting():
        dist.all_gather_object(every, value)
    return every


def _averaged(lists: list[list[float]]) -> list[float]:
    """Those of the first process where they are not equally many."""
    same_length = len({len(each) for each in lists}) == 1
    return [sum(each) / len(each) for each in zip(*lists, strict=True)] if same_length else lists[0]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
