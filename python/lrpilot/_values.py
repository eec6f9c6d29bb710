"""What callers give, as numbers."""

import operator
from collections.abc import Callable
from typing import Any, Literal

from lrpilot._native import ConfigError

#: What to do where a number is none, and where it is the length of a run.
WHOLE, LENGTH = "give a whole number", "give the length of the run"


def count(name: str, value: Any, remedy: str = WHOLE, least: int = 1) -> int:
    """A whole number, also one of NumPy, that fits into 63 bits.

    >>> count("total", 0, LENGTH)
    Traceback (most recent call last):
    lrpilot.ConfigError: total: 0 is not an integer of at least 1; give the length of the run
    """
    try:
        whole = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = -1
    if not least <= whole < 2**63:
        raise ConfigError(f"{name}: {value!r} is not an integer of at least {least}; {remedy}")
    return whole


def count_if_any(name: str, value: Any, remedy: str = WHOLE) -> int | None:
    return None if value is None else count(name, value, remedy)


def checked_lr(initial_lr: float | Literal["keep"] | None) -> float | None:
    """The learning rate to start from, where it is a number."""
    if initial_lr is None or (isinstance(initial_lr, str) and initial_lr == "keep"):
        return None
    lr = None if isinstance(initial_lr, (bool, str)) else number(initial_lr)
    if lr is not None and 0.0 < lr < float("inf"):
        return lr
    raise ConfigError(f'initial_lr: {initial_lr!r} is not a finite number > 0; give one, "keep" or None')


def checked_bounds(bounds: Any) -> tuple[float, float] | None:
    """Smallest and largest learning rate, where they are given; native code looks at their order."""
    if bounds is None:
        return None
    pair = [number(value) for value in bounds] if isinstance(bounds, (tuple, list)) else []
    if len(pair) != 2 or pair[0] is None or pair[1] is None:
        raise ConfigError(f"bounds: {bounds!r} is not a pair of numbers; give the smallest and the largest learning rate")
    return pair[0], pair[1]


def checked_family(family: Any) -> str | None:
    if family is None or isinstance(family, str):
        return family
    raise ConfigError(f"family: {family!r} is not a name; give sgd, adam, adagrad or adadelta")


def finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def number(value: Any) -> float | None:
    """The value as a number; `None` where it is none."""
    convert: Callable[[Any], float] = float
    try:
        return None if value is None else convert(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
