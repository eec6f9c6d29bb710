"""Rolling back a training run that goes wrong."""

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrpilot import _native, _ranks
from lrpilot._hooks import Hooks, before_update, unwrapped
from lrpilot._native import ConfigError
from lrpilot._snapshot import Snapshot
from lrpilot._values import count

FORMAT = 1


class Guard:
    """Watches the losses of any training loop, and puts model and optimizer back when something goes wrong.

    Four faults are known: a loss that is NaN or infinite, one that is enormous, a spike that stays, a slow drift upwards.
    At a fault the last good snapshot is put back and the learning rate is halved; it recovers over the next thousand
    steps. A run without faults is not touched: it has the same bits as without a guard.

    The learning rate in `param_groups` stays that of your schedule; it is multiplied by `lr_factor` during the
    optimizer's step only, so that any scheduler works. Make the guard after the scheduler.

    Each call of `step` fetches the loss from the device. In a distributed run it averages the loss over the processes, so
    every process has to call it.

    Parameters
    ----------
    model
        What is trained; its `state_dict` is kept, buffers included.
    optimizer
        The optimizer that trains it.
    every
        Optimizer steps between snapshots. Each costs a copy of model and optimizer state, and two are kept, in main memory.
    log
        A file to append a line of JSON to at each event, by the first process only; `history` has the same lines.
    settings
        Thresholds and factors that differ from the usual ones, by name: fields of `GuardConfig` in the Rust crate
        `lrpilot-core`.

    Raises
    ------
    ConfigError
        For a setting that is not known or out of its range.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> guard = Guard(model, optimizer, every=20)
    >>> x, y = torch.ones(8, 3), torch.zeros(8, 1)
    >>> for step in range(60):
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(model(x), y) * (float("nan") if step == 50 else 1.0)
    ...     loss.backward()
    ...     optimizer.step()
    ...     if not guard.step(loss):
    ...         break
    >>> [(event["kind"], event["fault"], event["step"], event["snapshot_step"]) for event in guard.history]
    [('roll-back', 'not-finite', 51, 40)]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        *,
        every: int = 100,
        log: str | os.PathLike[str] | None = None,
        settings: Mapping[str, float] | None = None,
    ) -> None:
        optimizer = unwrapped(optimizer)
        self._native = _native.Guard(_as_json(settings))
        self._optimizer, self._log = optimizer, log
        self._every = count("every", every, "give the steps between snapshots")
        if log is not None and not os.path.isdir(os.path.dirname(os.path.abspath(log))):
            raise ConfigError(f"log: {os.fspath(log)!r} is in a folder that does not exist; make it, or give another one")
        self._steps = 0
        self._lrs: list[Any] = []
        self._good, self._candidate = Snapshot(model, optimizer), Snapshot(model, optimizer)
        self._good.take()
        #: What happened, as in the log: dictionaries of plain values.
        self.history: list[dict[str, Any]] = []
        self._hooks = Hooks(self, optimizer)

    def step(self, loss: Tensor | float, gradient_norm: Tensor | float | None = None) -> bool:
        """Tell the loss of an optimizer step that was just made; returns whether training goes on.

        Where it is `False` the fault came back in spite of roll-backs: model and optimizer are in their last good state.
        Where batches are accumulated, tell their mean once. A gradient norm that is not finite counts as a fault, so leave
        it out where a gradient scaler skips such steps.
        """
        mean, norm = _ranks.mean(loss), None if gradient_norm is None else _ranks.mean(gradient_norm)
        self._steps += 1
        verdict = self._native.step(self._steps, mean, norm)
        if verdict == "healthy":
            self._keep()
        else:
            self._candidate.kept = None
            self._good.put_back()
        self._write()
        return verdict != "give-up"

    @property
    def lr_factor(self) -> float:
        """What the learning rate is multiplied by, in (0, 1]."""
        return self._native.lr_factor

    def close(self) -> None:
        """Leave the optimizer alone from now on."""
        self._hooks.close()

    def __del__(self) -> None:
        if hasattr(self, "_hooks"):
            self.close()

    def _keep(self) -> None:
        """A snapshot is good once the loss after it is, too: the loss before it says nothing of the last update."""
        if self._candidate.kept is not None:
            if self._native.snapshot_taken(self._steps - 1):
                self._good.kept = self._candidate.kept
            self._candidate.kept = None
        if self._steps % self._every == 0 and self._native.is_calm:
            self._candidate.take()

    def _write(self) -> None:
        lines = self._native.drain_events()
        self.history += [json.loads(line) for line in lines]
        if lines and self._log is not None and _ranks.is_first():
            with open(self._log, "a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)

    def _before_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        return before_update(args, kwargs, self._lower)

    def _lower(self, _: Any) -> None:
        """Lower the learning rates for this step."""
        factor = self._native.lr_factor
        if factor == 1.0:
            return
        groups = self._optimizer.param_groups
        self._lrs = [group["lr"].clone() if isinstance(group["lr"], Tensor) else group["lr"] for group in groups]
        for group in groups:
            group["lr"] *= factor

    def _after_step(self) -> None:
        for group, lr in zip(self._optimizer.param_groups, self._lrs, strict=False):
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(lr)
            else:
                group["lr"] = lr
        self._lrs = []

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, the snapshots included; `torch.load(…, weights_only=True)` takes it."""
        snapshots = [self._good.kept, self._candidate.kept]
        history = [dict(each) for each in self.history]
        return {
            "format": FORMAT,
            "guard": self._native.state(),
            "steps": self._steps,
            "snapshots": snapshots,
            "history": history,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises
        ------
        ConfigError
            If it is not the state of a guard.
        """
        if not isinstance(state_dict, Mapping) or state_dict.get("format") != FORMAT or "guard" not in state_dict:
            raise ConfigError("state_dict: it is not the state of a Guard; load what Guard.state_dict() returned")
        self._native.set_state(state_dict["guard"])
        self._steps = state_dict["steps"]
        self._good.kept, self._candidate.kept = state_dict["snapshots"]
        self.history = [dict(each) for each in state_dict["history"]]


def _as_json(settings: Any) -> str:
    try:
        return json.dumps(dict(settings or {}))
    except (TypeError, ValueError):
        raise ConfigError(f"settings: {settings!r} are not numbers by name; give a dictionary of them") from None
