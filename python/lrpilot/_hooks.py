"""Hooks on an optimizer's step."""

import weakref
from collections.abc import Callable
from typing import Any, Protocol

from torch.optim import Optimizer

from lrpilot._native import ConfigError


class Watcher(Protocol):
    """What wants to be called at each optimizer step."""

    def _before_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None: ...
    def _after_step(self) -> None: ...


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimizer that makes the steps: a wrapper, e.g. Accelerate's, takes no hooks."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"optimizer: {type(optimizer).__name__} is not a torch.optim.Optimizer; give one")
    return optimizer


class Hooks:
    """Calls a watcher at each step of an optimizer until it is closed, without keeping the watcher alive."""

    def __init__(self, watcher: Watcher, optimizer: Optimizer) -> None:
        reference = weakref.ref(watcher)

        def before(_: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            alive = reference()
            return None if alive is None else alive._before_step(args, kwargs)

        def after(_: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if (alive := reference()) is not None:
                alive._after_step()

        self._handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def before_update(
    args: tuple[Any, ...], kwargs: dict[str, Any], prepare: Callable[[Any], None]
) -> tuple[Any, Any] | None:
    """For a hook before a step: call `prepare` when the gradients are there, before the update.

    A closure makes them within the step; then `prepare` follows it, and gets the loss that it returned, otherwise `None`.
    Returns the arguments to make the step with, if they are others.
    """
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    if closure is None:
        prepare(None)
        return None

    def prepared() -> Any:
        loss = closure()
        prepare(loss)
        return loss

    if "closure" in kwargs:
        return args, {**kwargs, "closure": prepared}
    return (*args[:1], prepared, *args[2:]), kwargs
