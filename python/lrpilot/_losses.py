"""The losses (or norms of gradients) of an interval's steps, left on the device until they are needed."""

from typing import Any

import torch
from torch import Tensor

from lrpilot._tensors import scalar

#: Losses kept on the device before they are fetched.
BUFFERED = 1024


class Losses:
    """Losses by the number of optimizer steps done when they were told.

    A caller who tells a loss before its step names step `n` by `n`, one who tells it afterwards by `n + 1`. Which of the
    two it is shows at the first loss.

    >>> losses = Losses()
    >>> for done, loss in [(0, 4.0), (0, 2.0), (1, 1.0), (2, 7.0)]:
    ...     losses.add(torch.tensor(loss), done)
    >>> losses.until(2)  # of the first two steps, the first of them accumulated from two batches
    [3.0, 1.0]
    >>> losses.drop(2)
    >>> losses.until(3)
    [7.0]
    """

    def __init__(self) -> None:
        self._told: list[tuple[int, Tensor | float]] = []
        self._before_steps: bool | None = None

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, loss: Tensor | float, done: int) -> None:
        """Take a loss after `done` optimizer steps."""
        if self._before_steps is None:
            self._before_steps = done == 0
        value = scalar(loss)
        self._told.append((done, value.to(torch.float32, copy=True) if isinstance(value, Tensor) else value))
        if len(self._told) % BUFFERED == 0:
            self._fetch()

    def has(self, done: int) -> bool:
        """Whether a loss was told since there are `done` optimizer steps."""
        return bool(self._told) and self._told[-1][0] == done

    def until(self, end: int) -> list[float]:
        """The mean loss of each step before step number `end`, as far as they were told."""
        return [loss for done, loss in self.of_steps() if done < end or not self._before_steps]

    def of_steps(self) -> list[tuple[int, float]]:
        """The mean loss of each step."""
        self._fetch()
        of_step: dict[int, list[float]] = {}
        for done, loss in self._told:
            of_step.setdefault(done, []).append(float(loss))
        return [(done, sum(each) / len(each)) for done, each in of_step.items()]

    def replace(self, means: list[float]) -> None:
        """Put others in the place of the means of the steps, as far as there are both."""
        self._told = [(done, mean) for (done, _), mean in zip(self.of_steps(), means, strict=False)]

    def drop(self, end: int) -> None:
        """Forget the steps before step number `end`."""
        self._told = [(done, loss) for done, loss in self._told if done >= end and self._before_steps]

    def state(self) -> list[Any]:
        """Plain values."""
        self._fetch()
        return [self._before_steps, [list(each) for each in self._told]]

    def set_state(self, state: list[Any]) -> None:
        self._before_steps, told = state
        self._told = [(done, loss) for done, loss in told]

    def _fetch(self) -> None:
        """Make numbers of what is on the device, at once."""
        tensors = [loss for _, loss in self._told if isinstance(loss, Tensor)]
        if tensors:
            values = iter(torch.stack([loss.to(tensors[0].device) for loss in tensors]).tolist())
            self._told = [(done, next(values) if isinstance(loss, Tensor) else loss) for done, loss in self._told]
