"""What callers give, as numbers."""

from collections.abc import Callable
from typing import Any, Literal

from lrpilot._native import ConfigError

__all__ = ["checked_lr", "finite", "number"]


def checked_lr(initial_lr: float | Literal["keep"] | None) -> float | None:
    """The learning rate to start from, where it is a number."""
    if initial_lr is None or initial_lr == "keep":
        return None
    if isinstance(initial_lr, (int, float)) and 0.0 < initial_lr < float("inf"):
        return float(initial_lr)
    raise ConfigError(f'initial_lr: {initial_lr!r} is not a finite number > 0; give one, "keep" or None')


def finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def number(value: Any) -> float | None:
    """The value as a number; `None` where it is none."""
    convert: Callable[[Any], float] = float
    try:
        return None if value is None else convert(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
