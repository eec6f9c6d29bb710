"""A learned learning rate for optax.

`learned_lr` is used as `optax.inject_hyperparams` is. All that changes is in the state of the optimizer, as arrays of fixed
shapes: steps stay under `jax.jit`, and who saves the state of the optimizer saves the schedule.
"""

import math
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy
import optax
from jax import numpy as jnp

from lrpilot._native import ConfigError, Policy, Run
from lrpilot._policy import PolicyFile
from lrpilot._values import LENGTH, checked_bounds, checked_family, checked_lr, count, count_if_any, finite, number

__all__ = ["LearnedState", "learned_lr"]

#: Steps of an interval in which gradients are looked at.
SAMPLES = 16
#: What a loss is before it is told.
UNTOLD = -math.inf
#: Room for a run's state as JSON, in bytes, and what each layer adds; blanks fill it up, and nothing else before the start.
ROOM, ROOM_OF_LAYER, BLANK = 8192, 256, 32
#: Optimizers whose steps are about as large as the learning rate.
ADAM = {"adabelief", "adafactor", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lamb", "lion", "nadam"}
ADAM |= {"nadamw", "novograd", "radam", "rmsprop", "yogi"}


class LearnedState(NamedTuple):
    """The state of an optimizer with a learned learning rate."""

    #: Of the last step, for your logger.
    learning_rate: Any
    #: The state of the optimizer within.
    inner: Any
    #: Optimizer steps since the last decision, and decisions.
    step: Any
    decisions: Any
    #: The learning rate of each step of this interval, and their losses as far as they were told.
    rates: Any
    losses: Any
    #: Σg² of each layer in some of the steps.
    grad_sq: Any
    #: The run of the policy, as bytes.
    run: Any


class Learned(optax.GradientTransformationExtraArgs):  # type: ignore[misc]
    """A `GradientTransformationExtraArgs` with one more function."""

    #: `observe(state, params, val_loss=None, train_loss=None)` returns the state in which the policy has decided.
    observe: Callable[..., LearnedState]


def learned_lr(
    factory: Callable[..., Any],
    total: int,
    total_steps: int,
    *,
    policy: str | os.PathLike[str] = "pretrained",
    batch_size: int | None = None,
    examples: int | None = None,
    initial_lr: float | None = None,
    bounds: tuple[float, float] | None = None,
    family: str | None = None,
) -> Callable[..., Learned]:
    """Let a frozen policy set the learning rate of an optimizer.

    The optimizer is made with a learning rate of 1, and its updates are multiplied by the policy's. At its first step
    `update` reads weights and gradients once, by a callback to the host, and begins. It needs `params`; with
    `value=loss`, as `optax.contrib.reduce_on_plateau` takes it, the policy sees the losses of the batches, too. Between
    decisions the learning rate falls from step to step. `observe` is called outside of `jax.jit`, after each interval,
    with the loss on held-back data, or with the training loss, or with neither where `update` was told losses. Before the
    first step, or twice after the same step, it changes nothing. Several devices are untested.

    Parameters
    ----------
    factory
        An optimizer of optax, or any function of `learning_rate` that makes one.
    total
        Number of calls of `observe`, e.g. the epochs.
    total_steps
        Number of optimizer steps in the run.
    policy
        `"pretrained"`, the name of an older policy that comes with lrpilot, or the path of a policy file.
    batch_size
        Examples in an optimizer step.
    examples
        Training examples; absent for a stream.
    initial_lr
        A learning rate to start from, used if it is near the policy's own.
    bounds
        Smallest and largest learning rate.
    family
        `"sgd"`, `"adam"`, `"adagrad"` or `"adadelta"`, where the name of the factory does not tell.

    Returns
    -------
    A function that takes the settings of the optimizer and makes it.

    Raises
    ------
    ConfigError
        For a value out of its range.
    DataError
        For a file that is not a policy.

    Examples
    --------
    >>> loss_of = lambda params: jnp.square(params["layer"]["w"]).sum()
    >>> params = {"layer": {"w": jnp.ones(3)}}
    >>> optimizer = learned_lr(optax.sgd, total=5, total_steps=20)(momentum=0.9)
    >>> state = optimizer.init(params)
    >>> for epoch in range(5):
    ...     for _ in range(4):
    ...         loss, grads = jax.value_and_grad(loss_of)(params)
    ...         updates, state = jax.jit(optimizer.update)(grads, state, params, value=loss)
    ...         params = optax.apply_updates(params, updates)
    ...     state = optimizer.observe(state, params, val_loss=loss_of(params))
    >>> bool(loss_of(params) < 3.0)
    True
    """
    total, total_steps = (count(name, each, LENGTH) for name, each in [("total", total), ("total_steps", total_steps)])
    batch_size, examples = count_if_any("batch_size", batch_size), count_if_any("examples", examples)
    bounds, known = checked_bounds(bounds), checked_family(family)
    loaded, kind, lr = PolicyFile.read(policy).load(), known or _family(factory), checked_lr(initial_lr)
    if initial_lr is not None and lr is None:
        raise ConfigError(f"initial_lr: {initial_lr!r} means nothing where the optimizer is made anew; give a number")

    def begin(momentum: float, groups: list[tuple[int, float, float]], loss: float | None) -> Run:
        return loaded.start(
            total,
            kind,
            groups,
            momentum=momentum,
            bounds=bounds,
            steps=total_steps,
            examples=examples,
            batch_size=batch_size,
            train_loss=loss,
            lr=lr,
        )

    def made(**settings: Any) -> Learned:
        if "learning_rate" in settings:
            raise ConfigError("learning_rate: the policy sets it; leave it out, or give initial_lr= to start from")
        momentum = number(settings.get("momentum")) or 0.0
        begin(momentum, [(1, 1.0, 1.0)], None)  # what is wrong shows now
        inner = optax.with_extra_args_support(factory(learning_rate=1.0, **settings))
        rule = _Rule(inner, loaded, total, -(-total_steps // total), lambda *told: begin(momentum, *told))
        learned = Learned(rule.init, rule.update)
        learned.observe = rule.observe
        return learned

    return made


class _Rule:
    """The three functions; what they remember is in the state alone."""

    def __init__(
        self, inner: Any, policy: Policy, total: int, length: int, begin: Callable[[list[Any], float | None], Run]
    ) -> None:
        self.inner, self.policy, self.total, self.length, self.begin = inner, policy, total, length, begin
        self.stride = max(1, length // SAMPLES)
        self.looked, self.begun = jax.jit(self._looked), jax.jit(self._begun)  # once, for steps that are not under jit

    def init(self, params: Any) -> LearnedState:
        layers = len(_layers(params))
        return LearnedState(
            learning_rate=jnp.zeros((), jnp.float32),
            inner=self.inner.init(params),
            step=jnp.zeros((), jnp.int32),
            decisions=jnp.zeros((), jnp.int32),
            rates=jnp.zeros(self.length, jnp.float32),
            losses=jnp.full(self.length, UNTOLD, jnp.float32),
            grad_sq=jnp.zeros((SAMPLES, layers), jnp.float32),
            run=jnp.full(ROOM + ROOM_OF_LAYER * layers, BLANK, jnp.uint8),
        )

    def update(self, updates: Any, state: Any, params: Any = None, *, value: Any = None, **more: Any) -> Any:
        if params is None:
            raise ConfigError("params: not given; call update(grads, state, params)")
        at = jnp.minimum(state.step, self.length - 1)
        losses = state.losses
        if value is not None:
            losses, more = losses.at[at].set(jnp.asarray(value, losses.dtype).mean()), {**more, "value": value}
        grad_sq = self.looked(state.grad_sq, state.step, updates)
        rates, run = self.begun(state.rates, state.run, params, grad_sq[0], losses[0])
        lr = rates[at]
        updates, inner = self.inner.update(updates, state.inner, params, **more)
        scaled = jax.tree.map(lambda update: (lr * update).astype(update.dtype), updates)
        return scaled, LearnedState(lr, inner, state.step + 1, state.decisions, rates, losses, grad_sq, run)

    def _looked(self, grad_sq: Any, step: Any, updates: Any) -> Any:
        """Look at the gradients of this step if it is one of sixteen."""
        row = step // self.stride
        sampled = (step % self.stride == 0) & (row < SAMPLES)
        return jax.lax.cond(sampled, lambda: grad_sq.at[row].set(_sum_sq(updates)), lambda: grad_sq)

    def _begun(self, rates: Any, run: Any, params: Any, grad_sq: Any, loss: Any) -> Any:
        """Begin if this is the first step."""

        def start() -> Any:
            shapes = jax.eval_shape(lambda: (rates, run))
            sizes = jnp.asarray([sum(leaf.size for leaf in layer) for layer in _layers(params)])
            return jax.pure_callback(self._started, shapes, sizes, _sum_sq(params), grad_sq, loss)

        return jax.lax.cond(run[0] == BLANK, start, lambda: (rates, run))

    def _started(self, sizes: Any, weight_sq: Any, grad_sq: Any, loss: Any) -> Any:
        """On the host: the learning rates of the first interval, and the run."""
        norms = (numpy.sqrt(numpy.asarray(sq, numpy.float64)).tolist() for sq in (weight_sq, grad_sq))
        groups = list(zip(numpy.asarray(sizes).tolist(), *norms, strict=True))
        run = self.begin(groups, finite(float(loss)))
        return self._rates(run), _packed(run, len(groups))

    def _rates(self, run: Run) -> Any:
        return numpy.asarray([run.lr_at(i) for i in range(self.length)], numpy.float32)

    def observe(
        self, state: LearnedState, params: Any, *, val_loss: Any = None, train_loss: Any = None
    ) -> LearnedState:
        told = jax.device_get(state._replace(inner=None))
        steps, decisions = int(told.step), int(told.decisions)
        if told.run[0] == BLANK or steps == 0 or decisions == self.total:
            return state
        losses = [loss for loss in told.losses[:steps].tolist() if loss != UNTOLD]
        val, train = number(val_loss), number(train_loss)
        if not losses and val is None and train is None:
            warnings.warn("learned_lr: the policy decides without any loss; give val_loss or train_loss", stacklevel=2)
        run = self.policy.resume(bytes(told.run).decode())
        back = run.observe(
            steps,
            losses=losses,
            grad_sq=told.grad_sq[: min(SAMPLES, -(-steps // self.stride))].tolist(),
            weight_norms=numpy.sqrt(numpy.asarray(_sum_sq(params), numpy.float64)).tolist(),
            train_loss=train,
            val_loss=val,
        )
        if back:
            warnings.warn("learned_lr: training diverged, so the learning rate was lowered", stacklevel=2)
        last = decisions + 1 == self.total
        return state._replace(
            step=jnp.zeros_like(state.step),
            decisions=state.decisions + 1,
            rates=jnp.full_like(state.rates, told.learning_rate) if last else jnp.asarray(self._rates(run)),
            losses=jnp.full_like(state.losses, UNTOLD),
            run=jnp.asarray(_packed(run, told.grad_sq.shape[1])),
        )


def _family(factory: Any) -> str:
    name = getattr(factory, "__name__", "")
    if name in ("sgd", "adagrad", "adadelta"):
        return str(name)
    if name in ADAM:
        return "adam"
    raise ConfigError(f"family: not known for {name or repr(factory)}; give sgd, adam, adagrad or adadelta")


def _layers(tree: Any) -> list[list[Any]]:
    """The leaves of each innermost container together; a leaf of the outermost one is alone."""
    found: dict[Any, list[Any]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        found.setdefault(path[:-1] or path, []).append(leaf)
    return list(found.values())


def _sum_sq(tree: Any) -> Any:
    """Σ x² of each layer, in single precision."""

    def of_leaf(leaf: Any) -> Any:
        return jnp.square(jnp.abs(leaf).astype(jnp.float32)).sum()

    return jnp.stack([sum(map(of_leaf, layer)) for layer in _layers(tree)])


def _packed(run: Run, layers: int) -> Any:
    content = run.state().encode().ljust(ROOM + ROOM_OF_LAYER * layers, b" ")
    return numpy.frombuffer(content, numpy.uint8)
