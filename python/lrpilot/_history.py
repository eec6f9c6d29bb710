"""What a schedule did, in words, numbers and a chart."""

from collections.abc import Sequence
from typing import Any

from lrpilot._native import ConfigError


class Recorded:
    """The factors of a recorded run, for `LambdaLR`; the last one is held.

    >>> Recorded([1.0, 0.5])(7)
    0.5
    """

    def __init__(self, factors: list[float]) -> None:
        self.factors = factors

    def __call__(self, step: int) -> float:
        return self.factors[min(step, len(self.factors) - 1)]


def described(history: Sequence[dict[str, Any]], decision: int) -> str:
    """One decision in words, one line a value.

    >>> entry = {"step": 8, "val_loss": 0.5, "train_loss": None, "gradient_norm": 2.0, "lr_before": 0.1, "lr": 0.2}
    >>> print(described([{**entry, "rolled_back": False}], 0))
    decision 1 of 1, after step 8
      loss on held-back data  0.5
      training loss           not measured
      gradient norm           2
      learning rate           0.1 -> 0.2
    """
    try:
        entry = history[decision]
    except IndexError:
        have = len(history)
        raise ConfigError(
            f"decision: {decision} is none of the {have} so far; count from 0, or -1 for the last"
        ) from None

    def shown(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.4g}"

    lines = [
        f"decision {decision % len(history) + 1} of {len(history)}, after step {entry['step']}",
        f"  loss on held-back data  {shown(entry['val_loss'])}",
        f"  training loss           {shown(entry['train_loss'])}",
        f"  gradient norm           {shown(entry['gradient_norm'])}",
        f"  learning rate           {shown(entry['lr_before'])} -> {shown(entry['lr'])}",
    ]
    if entry["rolled_back"]:
        lines.append("  training diverged: rolled back")
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
        points = [(entry["step"], entry[key]) for entry in history if entry[key] is not None]
        if points:
            losses.plot(*zip(*points, strict=True), marker=".", label=label)
    losses.set_ylabel("loss")
    losses.legend()
    return axes
