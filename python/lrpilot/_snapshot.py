"""A copy of model and optimizer to go back to."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrpilot._native import ConfigError


class Snapshot:
    """Keeps one state of a model and its optimizer in main memory.

    Settings of the optimizer's groups, learning rates among them, are not kept: they belong to schedules, which do not
    go back.

    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> snapshot = Snapshot(model, optimizer)
    >>> snapshot.take()
    >>> before = model.weight.item()
    >>> model.weight.data.fill_(float("nan"))
    tensor([[nan]])
    >>> optimizer.param_groups[0]["lr"] = 0.05
    >>> snapshot.put_back()
    >>> model.weight.item() == before, optimizer.param_groups[0]["lr"]
    (True, 0.05)
    """

    def __init__(self, model: torch.nn.Module, optimizer: Optimizer) -> None:
        if not isinstance(model, torch.nn.Module):
            raise ConfigError(f"model: {type(model).__name__} is not a torch.nn.Module; give the one that is trained")
        self.model = model
        self._optimizer = optimizer
        #: State of the model and of the optimizer's parameters, once it was taken.
        self.kept: tuple[Any, Any] | None = None

    def take(self) -> None:
        self.kept = (_on_host(self.model.state_dict()), _on_host(self._optimizer.state_dict()["state"]))

    def put_back(self) -> None:
        if self.kept is None:
            return
        model, state = self.kept
        self.model.load_state_dict(model)
        lrs = [group["lr"] for group in self._optimizer.param_groups]
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": copy.deepcopy(state), "param_groups": groups})
        for group, lr in zip(self._optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr  # the same tensor, where it is one


def _on_host(state: Any) -> Any:
    """A copy in main memory, containers and all."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_host(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_on_host(value) for value in state)
    return copy.deepcopy(state)
