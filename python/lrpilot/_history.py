"""What a schedule did, in words, numbers and a chart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lrpilot._native import ConfigError

#: Inputs of the policy that an explanation shows.
SHOWN = 5


@dataclass(frozen=True)
class Told:
    """What is known of an interval; of the untrained network, where `grad_sq` holds one batch."""

    losses: list[float]
    grad_sq: list[list[float]]
    weight_norms: list[float]
    train_loss: float | None
    val_loss: float | None
    #: Of whole gradients, before they were clipped.
    grad_norms: list[float] = field(default_factory=list)


class Recorded:
    """The factors of a recorded run, for `LambdaLR`; the last one is held.

    >>> Recorded([1.0, 0.5])(7)
    0.5
    """

    def __init__(self, factors: list[float]) -> None:
        self.factors = factors

    def __call__(self, step: int) -> float:
        return self.factors[min(step, len(self.factors) - 1)]


def entry(step: int, told: Told, before: float, lr: float, back: bool, explained: str | None) -> dict[str, Any]:
    """One decision in plain values: what was told, what the policy made of it, and the learning rate before and after."""
    norms = told.grad_norms or [sum(sq) ** 0.5 for sq in told.grad_sq]
    made: dict[str, Any] = {} if explained is None else json.loads(explained)
    return {
        "step": step,
        "val_loss": told.val_loss,
        "train_loss": _mean(told.losses) if told.losses else told.train_loss,
        "gradient_norm": _mean(norms) if norms else None,
        "lr_before": before,
        "lr": lr,
        "rolled_back": back,
        "action": made.get("action"),
        "change": made.get("change"),
        "inputs": {each["name"]: [each["value"], each["influence"]] for each in made.get("influences", [])},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def described(history: Sequence[dict[str, Any]], decision: int) -> str:
    """One decision in words, one line a value.

    >>> told = Told([0.5], [], [], None, 0.25)
    >>> made = '{"action": -1.5, "change": -0.4, "influences": [{"name": "5 ln(watched/best)", "value": 2.0, "influence": -1.0}]}'
    >>> print(described([entry(8, told, 0.2, 0.08, False, made)], 0))
    decision 1 of 1, after step 8
      loss on held-back data  0.25
      training loss           0.5
      gradient norm           not measured
      learning rate           0.2 -> 0.08
      the policy's part       -0.4 decades
      inputs that moved it most: value, and influence on the action against an input of 0
         2.000  -1.000  5 ln(watched/best)
    """
    try:
        made = history[decision]
    except (IndexError, TypeError):
        have = len(history)
        message = f"decision: {decision!r} is none of the {have} so far; count from 0, or -1 for the last"
        raise ConfigError(message) from None

    def shown(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4g}"

    lines = [
        f"decision {decision % len(history) + 1} of {len(history)}, after step {made['step']}",
        f"  loss on held-back data  {shown(made['val_loss'])}",
        f"  training loss           {shown(made['train_loss'])}",
        f"  gradient norm           {shown(made['gradient_norm'])}",
        f"  learning rate           {shown(made['lr_before'])} -> {shown(made['lr'])}",
    ]
    if made["rolled_back"]:
        lines.append("  training diverged: rolled back")
    if made["inputs"]:
        lines.append(f"  the policy's part       {made['change']:+.2g} decades")
        lines.append("  inputs that moved it most: value, and influence on the action against an input of 0")
        most = list(made["inputs"].items())[:SHOWN]
        lines += [f"    {value:6.3f}  {influence:6.3f}  {name}" for name, (value, influence) in most]
    return "\n".join(lines)


def plotted(lrs: Sequence[float], history: Sequence[dict[str, Any]], axes: Any) -> Any:
    """Learning rate by optimizer step, and the losses beside it; returns the axes."""
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("plot() needs matplotlib: pip install 'lrpilot[plot]'") from error
        axes = pyplot.subplots()[1]
    axes.plot(range(len(lrs)), lrs, color="black", label="learning rate")
    axes.set(xlabel="optimizer step", ylabel="learning rate", yscale="log")
    losses = axes.twinx()
    for key, label in [("val_loss", "loss on held-back data"), ("train_loss", "training loss")]:
        points = [(each["step"], each[key]) for each in history if each[key] is not None]
        if points:
            losses.plot(*zip(*points, strict=True), marker=".", label=label)
    losses.set_ylabel("loss")
    losses.legend(handles=[*axes.get_lines(), *losses.get_lines()])
    return axes
