"""`LearnedLR` in Lightning.

Lightning hands a metric to a `ReduceLROnPlateau` that `configure_optimizers` returns with `"monitor"`. `Callback` adds the
training losses, and the norms of gradients before they are clipped.
"""

from typing import Any

import torch
from lightning import pytorch as pl

from lrpilot import _tensors
from lrpilot.torch import LearnedLR

__all__ = ["Callback"]


class Callback(pl.Callback):  # type: ignore[misc]
    """Tells each `LearnedLR` of a trainer the gradient norms of its optimizer, and the only one the training losses.

    Where several optimizers are trained it is not known whose loss is whose, so none is told.

    It hands over the monitored metric, too, before Lightning does. Lightning saves checkpoints first, and skips the metric
    of an epoch that it has resumed, so that a resumed run would be another one. A second telling is ignored.

    Examples
    --------
    >>> trainer = pl.Trainer(max_epochs=3, gradient_clip_val=1.0, callbacks=[Callback()], accelerator="cpu", logger=False)
    """

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        """Tell the loss of a batch, which Lightning has divided by the number of batches that it accumulates."""
        schedules = _schedules(trainer)
        if len(schedules) == 1:
            schedules[0].observe(loss.detach() * trainer.accumulate_grad_batches)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Tell the gradient's norm, in the steps in which the schedule looks at gradients."""
        for schedule in _schedules(trainer):
            if schedule.optimizer is optimizer and schedule.samples_now:
                grad_sq = _tensors.gradient_sq(_tensors.layers(optimizer), optimizer)[:-1]
                schedule.observe(gradient_norm=grad_sq.sum().sqrt())

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Tell the metric, if Lightning would do so at this batch."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        batches = trainer.fit_loop.batch_idx + 1
        if trainer.is_last_batch:
            _tell(trainer, "epoch", trainer.current_epoch + 1)
        if trainer.is_last_batch or batches % trainer.accumulate_grad_batches == 0:
            _tell(trainer, "step", batches)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Tell the metric, if it is one of training or Lightning would skip it."""
        _tell(trainer, "epoch", trainer.current_epoch + 1)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Save the mean of what the processes were told since the last decision: one of them writes for all."""
        for index, config in enumerate(trainer.lr_scheduler_configs):
            if isinstance(config.scheduler, LearnedLR):
                config.scheduler._agree()
                checkpoint["lr_schedulers"][index] = config.scheduler.state_dict()


def _tell(trainer: Any, interval: str, count: int) -> None:
    """Decide where a schedule is to be asked after `count` epochs or batches and its metric is there."""
    for config in trainer.lr_scheduler_configs:
        asked = config.interval == interval and count % config.frequency == 0
        metric = trainer.callback_metrics.get(config.monitor)
        if asked and metric is not None and isinstance(config.scheduler, LearnedLR):
            config.scheduler.step(metric)


def _schedules(trainer: Any) -> list[LearnedLR]:
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [scheduler for scheduler in schedulers if isinstance(scheduler, LearnedLR)]
