"""The learning rates of an optimizer's groups as one number."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class Rates:
    """Sets the learning rates of all groups by that of the first one that has any; the others keep their ratio to it.

    >>> from torch import nn, optim
    >>> body, head = nn.Linear(2, 2), nn.Linear(2, 1)
    >>> optimizer = optim.SGD([{"params": body.parameters(), "lr": 0.1}, {"params": head.parameters(), "lr": 0.4}])
    >>> rates = Rates(optimizer)
    >>> rates.set(optimizer, 0.5)
    [0.5, 2.0]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        #: What the user gave for the group that the others are measured by.
        self.given = next((lr for lr in rates if lr > 0.0), 1.0)
        self._ratios = [lr / self.given for lr in rates]
        #: Its learning rate now.
        self.lr = self.given

    def set(self, optimizer: Optimizer, lr: float) -> list[float]:
        """Groups that were added since keep the ratio of what they were added with to what the user gave at first."""
        self.lr = lr
        groups = optimizer.param_groups
        self._ratios += [float(group["lr"]) / self.given for group in groups[len(self._ratios) :]]
        rates = [lr * ratio for ratio in self._ratios]
        for group, rate in zip(groups, rates, strict=False):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        return rates

    def state(self) -> list[Any]:
        """Plain values."""
        return [self.given, list(self._ratios), self.lr]

    def set_state(self, state: list[Any]) -> None:
        """Touches no optimizer."""
        self.given, ratios, self.lr = state
        self._ratios = list(ratios)
