"""A learned learning-rate schedule for PyTorch.

`LearnedLR` takes the place of any other scheduler. Its learning rate *is* `optimizer.param_groups[i]["lr"]`, so every
logger shows it; it needs no learning rate from you, no second copy of the weights, and no switch between training and
evaluation. `Guard` watches any training loop and rolls back when it goes wrong. `TorchTask` and
`VectorTorchTask` make a PyTorch model a task to learn a policy of one's own on.
"""

import os
import warnings
import weakref
from array import array
from collections.abc import Sized
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from lrpilot import _ranks, _tensors
from lrpilot._facts import Facts
from lrpilot._guard import Guard
from lrpilot._history import Recorded, Told, described, entry, plotted
from lrpilot._hooks import Hooks, before_update, unwrapped
from lrpilot._losses import Losses
from lrpilot._native import ConfigError, PanicException, Run
from lrpilot._policy import PolicyFile
from lrpilot._rates import Rates
from lrpilot._snapshot import Snapshot
from lrpilot._torch_task import TorchTask
from lrpilot._values import LENGTH, checked_lr, count, finite, number
from lrpilot._vector_task import VectorTorchTask

__all__ = ["Guard", "LearnedLR", "TorchTask", "VectorTorchTask"]

#: Steps without a metric, and multiples of the longest interval so far, after which the watch-dog speaks.
PATIENCE = (10_000, 3)
FORMAT = 2
#: The schedule of each optimizer: two would both set its learning rate.
_ALIVE: "weakref.WeakValueDictionary[Optimizer, LearnedLR]" = weakref.WeakValueDictionary()
#: What native code may raise: its own errors, those of converting arguments, and what should never happen.
NATIVE_ERRORS = (ValueError, TypeError, OverflowError, RuntimeError, PanicException)


class LearnedLR(ReduceLROnPlateau):
    """A frozen policy that sets the learning rate of every optimizer step.

    The policy decides once an interval from what it is told: losses on held-back data (`step`), training losses
    (`observe`), and norms of gradients, which it samples by itself. In between, its base schedule falls from step to
    step. Before the first step it reads weights and gradients once, and replaces the optimizer's learning rate by one
    of its own. Groups of parameters keep the ratios of their learning rates, those that are added later, too.

    It is a `ReduceLROnPlateau`, because frameworks hand a metric to those alone.

    Parameters
    ----------
    optimizer
        The optimizer whose learning rate is set; LBFGS, which searches for its own, is refused.
    total
        Number of calls of `step`, e.g. the epochs; the policy decides at each. Where it is absent the policy chooses
        its own moments within `total_steps`, and no validation loss is needed.
    total_steps
        Number of optimizer steps in the run.
    policy
        `"pretrained"`, the name of an older policy that comes with lrpilot, or the path of a policy file.
    loader
        The data loader of the training data. If each of its batches is one optimizer step and `total` counts epochs, it
        tells `total_steps`, `batch_size` and `examples`.
    batch_size
        Examples in an optimizer step, over all processes and accumulated batches.
    examples
        Training examples; absent for a stream.
    initial_lr
        A learning rate to start from, used if it is near the policy's own; `"keep"` starts from the optimizer's.
    bounds
        Smallest and largest learning rate.
    family
        `"sgd"`, `"adam"`, `"adagrad"` or `"adadelta"`, where the class of the optimizer does not tell.
    snapshot
        A model to put back to the start of the interval where the policy asks for it, after divergence. It costs a copy
        of model and optimizer state in main memory. Without it the learning rate is lowered, and a warning says so.
    sync
        Whether the processes of a distributed run agree: losses are averaged, and the first process decides. Then every
        process has to call `step`; a call on the main process alone would wait for the others.

    Raises
    ------
    ConfigError
        For a value out of its range, or an optimizer that cannot be scheduled.
    DataError
        For a file that is not a policy.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    >>> schedule = LearnedLR(optimizer, total=5, snapshot=model)
    >>> x, y = torch.randn(8, 3), torch.zeros(8, 1)
    >>> for epoch in range(5):
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         torch.nn.functional.mse_loss(model(x), y).backward()
    ...         optimizer.step()
    ...     val_loss = torch.nn.functional.mse_loss(model(x), y)
    ...     schedule.step(val_loss)
    >>> len(schedule.history), len(schedule.extract())
    (5, 20)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int | None = None,
        *,
        total_steps: int | None = None,
        policy: str | os.PathLike[str] = "pretrained",
        loader: Sized | None = None,
        batch_size: int | None = None,
        examples: int | None = None,
        initial_lr: float | Literal["keep"] | None = None,
        bounds: tuple[float, float] | None = None,
        family: str | None = None,
        snapshot: torch.nn.Module | None = None,
        sync: bool = True,
    ) -> None:
        optimizer = unwrapped(optimizer)
        facts = Facts.of(optimizer, total, total_steps, loader, batch_size, examples, bounds, family)
        self._begin(optimizer, PolicyFile.read(policy), facts, initial_lr, snapshot, sync)

    def _begin(
        self,
        optimizer: Optimizer,
        policy: PolicyFile,
        facts: Facts,
        initial_lr: float | Literal["keep"] | None,
        snapshot: torch.nn.Module | None,
        sync: bool,
    ) -> None:
        super().__init__(optimizer)
        self._file, self._facts, self._sync = policy, facts, sync
        self._initial_lr: float | Literal["keep"] | None = initial_lr
        self._policy = policy.load()
        facts.start(self._policy, [(1, 1.0, 1.0)], None, None, checked_lr(initial_lr))  # what is wrong shows now
        self._snapshot = None if snapshot is None else Snapshot(snapshot, optimizer)
        self._run: Run | None = None
        self._layers: _tensors.Layers = []
        self._rates, self._losses, self._norms = Rates(optimizer), Losses(), Losses()
        self._steps = self._at = self._longest = self._decisions = 0
        self._samples: list[Tensor | list[float]] = []
        self._val: float | None = None
        self._train: float | None = None
        self._lrs = array("d")
        self._warned: set[str] = set()
        #: One entry a decision: what was told and what was done. Plain values.
        self.history: list[dict[str, Any]] = []
        self._hooks = Hooks(self, optimizer)
        if (other := _ALIVE.get(optimizer)) is not None:
            message = "the optimizer had another LearnedLR, which is closed now; make one for each optimizer"
            self._warn("other", message, 4)
            other.close()
        _ALIVE[optimizer] = self

    # What the training loop calls.

    def step(  # type: ignore[override]
        self, metrics: Any = None, epoch: int | None = None, *, train_loss: Any = None
    ) -> None:
        """Tell the loss on held-back data, and the mean training loss if it is at hand, and decide.

        Before the first optimizer step it is the loss of the untrained network. It never raises: what is not a number
        counts as not measured, a loss that is not finite as divergence, and a second call after the same optimizer
        step is ignored.
        """
        val, train = number(metrics), number(train_loss)
        if self._run is None:
            if val is not None and self._val not in (None, val):
                message = "losses were told, but no optimizer step was seen; give it the optimizer that makes the steps"
                self._warn("no step", message)
            self._val = self._val if val is None else val
            return
        if self._steps == self._at:
            return
        self._val = self._val if val is None else val
        self._train = self._train if train is None else train
        if self._facts.total is None:
            if self.due:
                self._decide()
        elif val is None and train is None and not self._losses:
            self._warn("no metric", "step() was told no loss, so the learning rate goes on as it was; pass a loss")
        else:
            self._decide()

    def observe(self, loss: Tensor | float | None = None, gradient_norm: Tensor | float | None = None) -> None:
        """Tell the loss of a batch, before its optimizer step or after it, but always the same way.

        Nothing is fetched from the device until the next decision. Where several batches are accumulated to one step,
        tell each before the step. Where gradients are clipped, the norm that `clip_grad_norm_` returns can be told, too;
        without it the policy knows no norm if all are clipped.
        """
        if self.finished:
            return
        for values, value in [(self._losses, loss), (self._norms, gradient_norm)]:
            if value is not None:
                values.add(value, self._steps)

    @property
    def due(self) -> bool:
        """Whether a policy that chooses its own moments decides before the next step: the moment to validate."""
        wanted = None if self._run is None else self._run.steps_to_decision()
        return wanted is not None and self._steps - self._at >= wanted

    @property
    def finished(self) -> bool:
        """Whether the run is as long as was announced; from then on the learning rate is held."""
        if self._facts.total is not None:
            return self._decisions >= self._facts.total
        return self._run is not None and self._run.steps_to_decision() is None

    @property
    def samples_now(self) -> bool:
        """Whether the gradient of the coming step is looked at: by counters alone, so that all processes do the same."""
        steps = self._run.steps_to_decision() if self._run is not None else None
        interval = steps or self._longest or self._facts.interval_steps
        return _tensors.is_sampled(self._steps - self._at, len(self._samples), interval)

    def extend(self, total: int) -> None:
        """Announce a longer run, of `total` calls of `step` in all."""
        have, total = self._facts.total, count("total", total, LENGTH)
        if have is None or total <= have:
            raise ConfigError(f"total: {total} does not extend {have} calls of step(); give a larger number")
        if self._run is not None:
            self._run.extend(total)
        self._facts = self._facts.extended(total)

    def close(self) -> None:
        """Leave the optimizer alone from now on."""
        self._hooks.close()
        if _ALIVE.get(self.optimizer) is self:
            del _ALIVE[self.optimizer]

    def __del__(self) -> None:
        if hasattr(self, "_hooks"):
            self._hooks.close()

    # What happens at each optimizer step.

    def _before_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        return before_update(args, kwargs, self._prepare)

    def _prepare(self, loss: Any) -> None:
        """Decide if it is time, set the learning rate of this step, and look at its gradients if it is one of sixteen.

        `loss` is what a closure returned.
        """
        if loss is not None and not self._losses.has(self._steps):
            self.observe(loss)
        if self._run is None:
            self._start()
        elif self.due:
            self._decide()
        if self._run is None:
            return
        if self.finished:
            self._warn("finished", f"the run is longer than announced; the learning rate stays at {self._rates.lr:.3g}")
        else:
            self._watch()
            self._set(self._run.lr_at(self._steps - self._at))
        if self.samples_now:
            self._samples.append(_tensors.gradient_sq(self._layers, self.optimizer))

    def _after_step(self) -> None:
        if self._run is not None:
            self._lrs.append(self._rates.lr)
            self._steps += 1

    def _watch(self) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        if not isinstance(lr, Tensor) and lr != self._last_lr[0]:
            message = f"something else set the learning rate to {lr:.3g}, which has no effect; leave it to LearnedLR alone"
            self._warn("set", message)
        steps, (most, times) = self._steps - self._at, PATIENCE
        late = steps >= most if self._longest == 0 else steps > times * self._longest
        if self._facts.total is not None and late:
            message = f"{steps} optimizer steps since a loss was told; call step(val_loss) after each interval"
            self._warn("no metric", message)

    # Decisions.

    def _start(self) -> None:
        """Read weights and gradients once, and begin; not at a step that a gradient scaler skips."""
        self._layers = _tensors.layers(self.optimizer)
        if not self._layers:
            self._warn("no parameters", "no parameter of the optimizer is trained, so the learning rate stays as it is")
            return
        *grad_sq, skipped = _tensors.gradient_sq(self._layers, self.optimizer).tolist()
        if skipped:
            return
        weights = _tensors.weight_norms(self._layers)
        first = self._losses.until(1)[:1]
        told = Told([], [self._unclipped(grad_sq)], weights, first[0] if first else None, self._val)
        if self._sync and _ranks.are_many():
            told = _ranks.agreed(told)
        keep = self._initial_lr == "keep"
        known = any(sq > 0.0 for sq in grad_sq) and not keep
        groups = [
            (sum(tensor.numel() for tensor in layer), float("nan") if keep else w, sq**0.5)
            for layer, w, sq in zip(self._layers, told.weight_norms, told.grad_sq[0], strict=True)
        ]
        lr = checked_lr(self._initial_lr) or (None if known else self._rates.given)
        try:
            self._run = self._facts.start(self._policy, groups, finite(told.train_loss), finite(told.val_loss), lr)
        except NATIVE_ERRORS as error:
            self._warn("start", f"the policy cannot start, so the learning rate stays as it is: {error}")
            return
        self._val = None
        self._share_state(False)
        if self._snapshot is not None:
            self._snapshot.take()

    def _unclipped(self, grad_sq: list[float]) -> list[float]:
        """Σg² of each layer before the first clipping, if the norm before it was told."""
        told, seen = self._norms.until(1)[:1], sum(grad_sq)
        known = bool(told) and finite(told[0]) is not None and seen > 0.0
        return [sq * (told[0] ** 2 / seen) for sq in grad_sq] if known else grad_sq

    def _decide(self) -> None:
        """Tell the policy of the interval that ends here, and set the first learning rate of the next one."""
        if self._run is None or self.finished:
            return
        told = self._told()
        if self._sync and _ranks.are_many():
            told = _ranks.agreed(told)
        if not told.losses and told.train_loss is None and told.val_loss is None:
            self._warn("no loss", "the policy decides without any loss; call observe(loss) at each step")
        steps = self._steps - self._at
        try:
            back = self._run.observe(
                steps,
                losses=told.losses,
                grad_sq=told.grad_sq,
                weight_norms=told.weight_norms,
                train_loss=told.train_loss,
                val_loss=told.val_loss,
                grad_norms=told.grad_norms,
            )
            explained = self._run.explain()
        except NATIVE_ERRORS as error:
            self._warn("decide", f"the policy cannot decide, so the learning rate goes on as it was: {error}")
            return
        back = self._share_state(back)
        self._decisions += 1
        self._longest = max(self._longest, steps)
        self._at, self._samples, self._val, self._train = self._steps, [], None, None
        self._losses.drop(self._steps)
        self._norms.drop(self._steps)
        if back or self._snapshot is not None:
            self._roll_back(back)
        before = self._rates.lr
        if not self.finished:
            self._set(self._run.lr_at(0))
        self.history.append(entry(self._steps, told, before, self._rates.lr, back, explained))

    def _told(self) -> Told:
        """What is known of the interval, on this process."""
        samples = [sq[:-1] for sq in self._sampled() if sq[-1] == 0.0]
        losses, weights = self._losses.until(self._steps), _tensors.weight_norms(self._layers)
        norms = [norm for norm in self._norms.until(self._steps) if finite(norm) is not None]
        return Told(losses, samples, weights, self._train, self._val, norms)

    def _share_state(self, back: bool) -> bool:
        """The first process decides for all."""
        if not (self._sync and _ranks.are_many()) or self._run is None:
            return back
        state, back = _ranks.from_first([self._run.state(), back])  # type: ignore[assignment]
        self._run = self._policy.resume(str(state))
        return back

    def _agree(self) -> None:
        """Before one process saves for all: losses since the last decision become their means. Every process must call."""
        if self._sync and _ranks.are_many():
            for told in (self._losses, self._norms):
                told.replace(_ranks.averaged([loss for _, loss in told.of_steps()]))

    def _roll_back(self, back: bool) -> None:
        if self._snapshot is None:
            message = (
                "training diverged, so the learning rate was lowered; weights stay as they are:"
                " pass snapshot=model to put them back to the start of the interval"
            )
            self._warn("diverged", message)
        elif back:
            self._snapshot.put_back()
        else:
            self._snapshot.take()

    def _sampled(self) -> list[list[float]]:
        return [sq.tolist() if isinstance(sq, Tensor) else sq for sq in self._samples]

    def _set(self, lr: float) -> None:
        self._last_lr = [*self._rates.set(self.optimizer, lr)]

    def _warn(self, key: str, message: str, stacklevel: int = 3) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"LearnedLR: {message}", stacklevel=stacklevel)

    # What was done.

    @overload
    def extract(self) -> list[float]: ...
    @overload
    def extract(self, optimizer: Optimizer) -> LambdaLR: ...
    def extract(self, optimizer: Optimizer | None = None) -> list[float] | LambdaLR:
        """The learning rates so far, one each optimizer step; with an optimizer, a scheduler that repeats them.

        Examples
        --------
        >>> model = torch.nn.Linear(3, 1)
        >>> schedule = LearnedLR(torch.optim.SGD(model.parameters()), total=5)
        >>> schedule.extract()
        []
        """
        if optimizer is None:
            return self._lrs.tolist()
        if not self._lrs:
            raise ConfigError("extract: no optimizer step was made; extract after the run")
        optimizer = unwrapped(optimizer)
        given = Rates(optimizer).given
        return LambdaLR(optimizer, Recorded([lr / given for lr in self._lrs]))

    def explain(self, decision: int = -1) -> str:
        """What was seen and decided at a decision, the last one by default."""
        return described(self.history, decision)

    def plot(self, axes: Any = None) -> Any:
        """Draw learning rate and losses with matplotlib; returns the axes."""
        return plotted(self._lrs, self.history, axes)

    def __repr__(self) -> str:
        total = self._facts.total or self._facts.steps
        return f"LearnedLR(lr={self._rates.lr:.3g}, decisions={self._decisions}, total={total}, policy={self._file.place!r})"

    # To be saved.

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, in plain values: `torch.load(…, weights_only=True)` and JSON take it."""
        return {
            "format": FORMAT,
            "policy": self._file.sha256,
            "run": None if self._run is None else self._run.state(),
            "total": self._facts.total,
            "layers": len(self._layers),
            "counters": [self._steps, self._at, self._longest, self._decisions],
            "losses": self._losses.state(),
            "norms": self._norms.state(),
            "samples": self._sampled(),
            "metrics": [self._val, self._train],
            "rates": self._rates.state(),
            "lrs": self._lrs.tolist(),
            "warned": sorted(self._warned),
            "history": [dict(each) for each in self.history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state of the same policy.

        Raises
        ------
        ConfigError
            If it is the state of another policy, or of another scheduler.
        """
        state = state_dict
        self._file.check(state, FORMAT)
        self._run = None if state["run"] is None else self._policy.resume(state["run"])
        if state["total"] != self._facts.total and state["total"] is not None:
            self._facts = self._facts.extended(state["total"])
        self._steps, self._at, self._longest, self._decisions = state["counters"]
        self._losses.set_state(state["losses"])
        self._norms.set_state(state["norms"])
        self._rates.set_state(state["rates"])
        self._samples = [list(sq) for sq in state["samples"]]
        self._val, self._train = state["metrics"]
        self._lrs = array("d", state["lrs"])
        self._warned = set(state["warned"])
        self.history = [dict(each) for each in state["history"]]
        self._layers = _tensors.layers(self.optimizer)[: state["layers"]]  # groups that came later are not measured
        if self._run is not None:
            self._set(self._rates.lr)
            if self._snapshot is not None:
                self._snapshot.take()

    def __getstate__(self) -> dict[str, Any]:
        """Hooks and native values stay behind; they are made anew."""
        snapshot = None if self._snapshot is None else self._snapshot.model
        began = (self.optimizer, self._file, self._facts, self._initial_lr, snapshot, self._sync)
        return {"began": began, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(*state["began"])
        self.load_state_dict(state["state"])
