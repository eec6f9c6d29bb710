"""`LearnedLR` in the Trainer of Hugging Face's transformers.

Trainer hands a metric to a `ReduceLROnPlateau` given as `optimizers=(optimizer, schedule)`, if its arguments say which.
`arguments` makes them say so, and `Callback` tells the schedule what Trainer logs.
"""

import warnings
from typing import Any

from transformers import TrainerCallback

from lrpilot._native import ConfigError
from lrpilot.torch import LearnedLR

__all__ = ["Callback", "arguments"]


def arguments(**settings: Any) -> dict[str, Any]:
    """Keyword arguments for `TrainingArguments` (or a class derived from it) with which Trainer calls `LearnedLR.step`.

    `metric_for_best_model` becomes `"loss"`; everything else is as given.

    Parameters
    ----------
    **settings
        What you would give to `TrainingArguments`.

    Raises
    ------
    ConfigError
        For a metric that is no loss.

    Warns
    -----
    UserWarning
        Where nothing is evaluated: the schedule then gets no loss on held-back data.

    Examples
    --------
    >>> arguments(output_dir="run", eval_strategy="epoch", num_train_epochs=3)
    {'metric_for_best_model': 'loss', 'output_dir': 'run', 'eval_strategy': 'epoch', 'num_train_epochs': 3}
    """
    metric, greater = settings.pop("metric_for_best_model", None), settings.get("greater_is_better")
    if metric is not None and (greater or (greater is None and not str(metric).endswith("loss"))):
        raise ConfigError(
            f"metric_for_best_model: {metric!r} is what Trainer hands to the schedule, which needs a loss;"
            " leave it out, or give a metric that falls, with greater_is_better=False"
        )
    if _name(settings.get("eval_strategy", "no")) == "no":
        message = 'eval_strategy: "no" gives the schedule no loss on held-back data; give "epoch" or "steps", or'
        warnings.warn(f"{message} LearnedLR(optimizer, total_steps=…) with lrpilot.hf.Callback()", stacklevel=2)
    return {"metric_for_best_model": metric or "loss", **settings}


class Callback(TrainerCallback):  # type: ignore[misc]
    """Tells a `LearnedLR` what Trainer logs: training losses, gradient norms before clipping, the loss before the first step.

    Trainer logs means over `logging_steps`, so the fewer they are the more the policy sees; with `eval_on_start=True` it
    sees the loss of the untrained network. What was told is saved with the schedule, so that resumed runs are the same.

    Raises
    ------
    ConfigError
        At the start of training, where Trainer would fail at its first evaluation.

    Examples
    --------
    >>> import transformers
    >>> model = torch.nn.Linear(2, 2)
    >>> schedule = LearnedLR(torch.optim.AdamW(model.parameters()), total=3)
    >>> args = transformers.TrainingArguments(**arguments(output_dir="run", eval_strategy="epoch", use_cpu=True))
    >>> data, both = [{"x": torch.ones(2)}], (schedule.optimizer, schedule)
    >>> trainer = transformers.Trainer(
    ...     model, args, train_dataset=data, eval_dataset=data, optimizers=both, callbacks=[Callback()]
    ... )
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check that Trainer will call the schedule."""
        schedule = kwargs.get("lr_scheduler")
        if not isinstance(schedule, LearnedLR):
            name = type(schedule).__name__
            raise ConfigError(f"lr_scheduler: Trainer has {name}, not LearnedLR; give optimizers=(optimizer, schedule)")
        evaluated = _name(args.eval_strategy) != "no"
        if evaluated and args.metric_for_best_model is None:
            raise ConfigError(
                "metric_for_best_model: Trainer does not know which metric the schedule gets;"
                " make the arguments with TrainingArguments(**lrpilot.hf.arguments(…))"
            )
        if not evaluated and schedule._facts.total is not None:
            message = 'eval_strategy: "no" means that the schedule is never called; give "epoch" or "steps"'
            warnings.warn(f"{message}, or total_steps= in place of total=", stacklevel=2)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the mean training loss since the last log, and the last gradient norm."""
        schedule, logs = kwargs.get("lr_scheduler"), kwargs.get("logs") or {}
        if isinstance(schedule, LearnedLR) and "loss" in logs:
            schedule.observe(logs["loss"], logs.get("grad_norm"))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the loss of the untrained network: Trainer itself keeps it from schedulers."""
        schedule, metrics = kwargs.get("lr_scheduler"), kwargs.get("metrics") or {}
        if isinstance(schedule, LearnedLR) and state.global_step == 0:
            name = args.metric_for_best_model or "loss"
            schedule.step(metrics.get(name if name.startswith("eval_") else f"eval_{name}"))


def _name(strategy: Any) -> str:
    """`"no"`, `"steps"` or `"epoch"`, of the word or of transformers' enumeration."""
    return str(getattr(strategy, "value", strategy))
