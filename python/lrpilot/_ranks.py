"""Agreement between the processes of a distributed run."""

from dataclasses import replace

import torch.distributed as dist

from lrpilot._history import Told


def are_many() -> bool:
    """Whether there are other processes to agree with."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def agreed(told: Told) -> Told:
    """Losses averaged over the processes; norms, which are the same for all, from the first. Every process must call."""
    every: list[Told] = [told] * dist.get_world_size()
    dist.all_gather_object(every, told)
    losses = [each.losses for each in every]
    same_length = len({len(each) for each in losses}) == 1
    return replace(
        every[0],
        losses=[sum(each) / len(each) for each in zip(*losses, strict=True)] if same_length else losses[0],
        train_loss=_mean([each.train_loss for each in every]),
        val_loss=_mean([each.val_loss for each in every]),
    )


def from_first(values: list[object]) -> list[object]:
    """The values of the first process, for every process."""
    dist.broadcast_object_list(values, src=0)
    return values


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
