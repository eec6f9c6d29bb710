"""A copy of model and optimizer to go back to."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Snapshot:
    """Keeps one state of a model and its optimizer in main memory."""

    def __init__(self, model: torch.nn.Module, optimizer: Optimizer) -> None:
        self.model = model
        self._optimizer = optimizer
        self._kept: tuple[Any, Any] | None = None

    def take(self) -> None:
        self._kept = (_on_host(self.model.state_dict()), _on_host(self._optimizer.state_dict()))

    def put_back(self) -> None:
        if self._kept is not None:
            model, optimizer = self._kept
            self.model.load_state_dict(model)
            self._optimizer.load_state_dict(copy.deepcopy(optimizer))


def _on_host(state: Any) -> Any:
    """A copy in main memory, containers and all."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_host(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_on_host(value) for value in state)
    return copy.deepcopy(state)
