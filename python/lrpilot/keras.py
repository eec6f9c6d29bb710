"""A learned learning-rate schedule for Keras 3, on any of its back ends.

`LearnedLR` is a callback. It sets `model.optimizer.learning_rate` before every batch and decides after every epoch, from
the losses in its logs.
"""

import json
import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy

from lrpilot._history import Told, described, entry, plotted
from lrpilot._native import ConfigError, Run
from lrpilot._policy import PolicyFile
from lrpilot._values import checked_bounds, checked_family, checked_lr, count_if_any, number

__all__ = ["LearnedLR"]

#: The learning rate of a first step that tells the gradient: too small to do harm, too large to be rounded away.
FIRST_LR = 1e-4
FORMAT = 1
Arrays = list[tuple[str, Any]]


class LearnedLR(keras.callbacks.Callback):  # type: ignore[misc]
    """A frozen policy that sets the learning rate of every batch.

    The length of the run is what `fit` is told. The policy decides after each epoch from `val_loss`, and from `loss` alone
    where there is no validation data. Keras shows weights and no gradients. For Adam and its kin the weights are enough to
    start from. For SGD the first step is made with a learning rate of 1e-4, and how far it moves the weights tells the
    gradient; where one call of the training function makes several steps, the optimizer's learning rate is the start.

    Parameters
    ----------
    policy
        `"pretrained"`, the name of an older policy that comes with lrpilot, or the path of a policy file.
    batch_size
        Examples in a batch, over all replicas.
    initial_lr
        A learning rate to start from, used if it is near the policy's own; `"keep"` starts from the optimizer's.
    bounds
        Smallest and largest learning rate.
    family
        `"sgd"`, `"adam"`, `"adagrad"` or `"adadelta"`, where the class of the optimizer does not tell.
    backup
        A file that keeps the state of the last two epochs, as `keras.callbacks.BackupAndRestore` keeps the model: with
        both, a killed run goes on as if nothing had happened. It is deleted at the end of the training.

    Raises
    ------
    ConfigError
        For a value out of its range. `fit` raises it where the optimizer's learning rate is a schedule, and where it
        begins in the middle of a run whose state is not known.
    DataError
        For a file that is not a policy.

    Examples
    --------
    >>> x, y = numpy.random.rand(32, 3), numpy.zeros((32, 1))
    >>> model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> schedule = LearnedLR(batch_size=8)
    >>> fitted = model.fit(x, y, batch_size=8, epochs=3, validation_split=0.25, callbacks=[schedule], verbose=0)
    >>> len(schedule.history), len(schedule.extract())
    (3, 9)
    """

    def __init__(
        self,
        *,
        policy: str | os.PathLike[str] = "pretrained",
        batch_size: int | None = None,
        initial_lr: float | Literal["keep"] | None = None,
        bounds: tuple[float, float] | None = None,
        family: str | None = None,
        backup: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self._file = PolicyFile.read(policy)
        self._policy = self._file.load()
        self._batch_size, self._bounds = count_if_any("batch_size", batch_size), checked_bounds(bounds)
        self._family = checked_family(family)
        self._initial_lr: float | Literal["keep"] | None = initial_lr
        self._backup = None if backup is None else pathlib.Path(backup)
        first = checked_lr(initial_lr)  # what is wrong shows now
        kind = "sgd" if self._family is None else self._family
        self._policy.start(1, kind, [(1, 1.0, 1.0)], bounds=self._bounds, batch_size=self._batch_size, lr=first)
        self._reset()

    def _reset(self) -> None:
        self._run: Run | None = None
        self._total = self._epochs = self._step = 0
        self._lr = self._given = 0.0
        self._before: Arrays = []
        self._lrs: list[float] = []
        self._states: dict[int, dict[str, Any]] = {}
        #: One entry an epoch: what was told and what was done. Plain values.
        self.history: list[dict[str, Any]] = []

    # What `fit` calls.

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """At the first epoch of `fit`, begin a run or go on with one."""
        if epoch == 0 and self._epochs > 0:
            self._reset()
        if epoch != self._epochs:
            self._restore(epoch)
        self._step, total = 0, max(int(self._fit["epochs"]), epoch + 1)
        if self._run is None:
            self._total = total
            self._prepare()
        elif total > self._total:
            self._run.extend(total)
            self._total = total

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate of the batch."""
        if self._run is not None:
            self._set(self._run.lr_at(batch))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the steps, which may be several, and learn the gradient from the first one where it is wanted."""
        self._lrs += [self._lr] * (batch + 1 - self._step)
        self._step = batch + 1
        if self._run is None:
            self._begin(self._moved() if self._step == 1 else [])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the policy the losses of the epoch, and let it decide."""
        if self._run is None:
            return
        train, val = (number((logs or {}).get(name)) for name in ("loss", "val_loss"))
        if train is None and val is None:
            warnings.warn("LearnedLR: the logs have no loss; compile the model with one", stacklevel=2)
        norms = [_norm(layer) for layer in _layers(_arrays(self._net))]
        told = Told([], [], norms, train, val)
        back = self._run.observe(self._step, losses=[], grad_sq=[], weight_norms=norms, train_loss=train, val_loss=val)
        if back:
            message = "LearnedLR: training diverged, so the learning rate was lowered; weights stay as they are"
            warnings.warn(message, stacklevel=2)
        self._epochs = epoch + 1
        before, after = self._lr, self._lr if self._epochs == self._total else self._run.lr_at(0)
        self.history.append(entry(len(self._lrs), told, before, after, back, self._run.explain()))
        self._keep()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """The run is complete, so nothing has to be kept."""
        if self._backup is not None:
            self._backup.unlink(missing_ok=True)

    # How a run begins.

    @property
    def _net(self) -> Any:
        """What is trained; Keras has none before `fit`."""
        return self.model

    @property
    def _fit(self) -> dict[str, Any]:
        """What `fit` was told."""
        return self.params or {}

    def _prepare(self) -> None:
        """Begin by the weights if they are enough; otherwise the first step comes first, and does no harm."""
        self._given = self._lr = _number(self._net.optimizer.learning_rate)
        self._set(self._given)  # a learning rate that cannot be set is refused before any step
        self._before = _arrays(self._net)
        if self._initial_lr == "keep" or self._kind()[0] != "sgd":
            self._begin([])
        else:
            self._set(FIRST_LR)

    def _moved(self) -> list[float]:
        """‖g‖ of each layer, from the first step of SGD: Δw = −η·g, and (1 + μ) times that with Nesterov's momentum."""
        after = _arrays(self._net)
        moves = [(path, new - old) for (path, old), (_, new) in zip(self._before, after, strict=True)]
        optimizer = _inner(self._net.optimizer)
        factor = 1.0 + self._kind()[1] if getattr(optimizer, "nesterov", False) else 1.0
        return [_norm(layer) / (FIRST_LR * factor) for layer in _layers(moves)]

    def _begin(self, gradients: list[float]) -> None:
        """Begin a run by the weights before the first step, and by the norms of gradients if they are known."""
        layers, self._before = _layers(self._before), []
        keep, (family, momentum) = self._initial_lr == "keep", self._kind()
        known = not keep and (family != "sgd" or any(norm > 0.0 for norm in gradients))
        steps: int | None = self._fit.get("steps")
        groups = [
            (sum(array.size for array in layer), float("nan") if keep else _norm(layer), norm)
            for layer, norm in zip(layers, gradients or [0.0] * len(layers), strict=True)
        ]
        self._run = self._policy.start(
            self._total,
            family,
            groups,
            momentum=momentum,
            bounds=self._bounds,
            steps=steps and steps * self._total,
            examples=steps and self._batch_size and steps * self._batch_size,
            batch_size=self._batch_size,
            lr=checked_lr(self._initial_lr) or (None if known else self._given),
        )

    def _kind(self) -> tuple[str, float]:
        """Which optimizers' steps are alike, and the momentum."""
        optimizer = _inner(self._net.optimizer)
        momentum = float(getattr(optimizer, "momentum", 0.0) or 0.0)
        if self._family is not None:
            return self._family, momentum
        if isinstance(optimizer, keras.optimizers.SGD):
            return "sgd", momentum
        if isinstance(optimizer, keras.optimizers.Adagrad):
            return "adagrad", 0.0
        return ("adadelta" if isinstance(optimizer, keras.optimizers.Adadelta) else "adam"), 0.0

    def _set(self, lr: float) -> None:
        try:
            self._net.optimizer.learning_rate = self._lr = lr
        except (TypeError, AttributeError, ValueError, NotImplementedError) as error:
            message = "optimizer: its learning rate cannot be set; compile with a number, not with a schedule"
            raise ConfigError(message) from error

    # What was done.

    def extract(self) -> list[float]:
        """The learning rates so far, one each optimizer step."""
        return list(self._lrs)

    def explain(self, decision: int = -1) -> str:
        """What was seen and decided at a decision, the last one by default."""
        return described(self.history, decision)

    def plot(self, axes: Any = None) -> Any:
        """Draw learning rate and losses with matplotlib; returns the axes."""
        return plotted(self._lrs, self.history, axes)

    # To be saved.

    def state_dict(self) -> dict[str, Any]:
        """The state after the last whole epoch, in plain values."""
        return {
            "format": FORMAT,
            "policy": self._file.sha256,
            "run": None if self._run is None else self._run.state(),
            "epochs": self._epochs,
            "total": self._total,
            "lrs": list(self._lrs),
            "history": [dict(each) for each in self.history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state of the same policy, with `fit(initial_epoch=…)`.

        Raises
        ------
        ConfigError
            If it is the state of another policy, or none.
        """
        state = state_dict
        self._file.check(state, FORMAT)
        self._run = None if state["run"] is None else self._policy.resume(state["run"])
        self._epochs, self._total = state["epochs"], state["total"]
        self._lrs = list(state["lrs"])
        self.history = [dict(each) for each in state["history"]]

    def _keep(self) -> None:
        """Two epochs, since a run may be killed between the writing of this file and that of the weights."""
        if self._backup is None:
            return
        last = {epoch: state for epoch, state in self._states.items() if epoch == self._epochs - 1}
        self._states = {**last, self._epochs: self.state_dict()}
        self._backup.parent.mkdir(parents=True, exist_ok=True)
        partial = self._backup.with_name(self._backup.name + ".partial")
        partial.write_text(json.dumps(self._states))
        partial.replace(self._backup)

    def _restore(self, epoch: int) -> None:
        file = self._backup
        states = json.loads(file.read_text()) if file is not None and file.exists() else {}
        if str(epoch) not in states:
            message = f"initial_epoch: the state after {epoch} epochs is not known"
            raise ConfigError(f"{message}; give backup= its file, or load it with load_state_dict")
        self.load_state_dict(states[str(epoch)])
        self._states = {epoch: states[str(epoch)]}


def _number(value: Any) -> float:
    array: Any = keras.ops.convert_to_numpy(value)
    return float(array)


def _inner(optimizer: Any) -> Any:
    """The optimizer itself, where loss scaling is wrapped around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _arrays(model: Any) -> Arrays:
    """Copies of the trained variables in single precision, each with the path of its layer."""
    variables = model.trainable_variables
    copies = [numpy.array(keras.ops.convert_to_numpy(keras.ops.cast(v, "float32"))) for v in variables]
    return [(v.path.rpartition("/")[0], copy) for v, copy in zip(variables, copies, strict=True)]


def _layers(arrays: Arrays) -> list[list[Any]]:
    """The arrays of each layer together."""
    found: dict[str, list[Any]] = {}
    for path, array in arrays:
        found.setdefault(path, []).append(array)
    return list(found.values())


def _norm(arrays: Sequence[Any]) -> float:
    return float(sum(numpy.square(array, dtype=numpy.float64).sum() for array in arrays) ** 0.5)
