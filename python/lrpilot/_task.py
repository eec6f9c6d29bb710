"""Tasks that are written in Python, and learning on them."""

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, cast

from lrpilot._native import ConfigError, Hyperparameters
from lrpilot._native import learn as _learn
from lrpilot._settings import as_lines
from lrpilot._values import count

__all__ = ["LearnedPolicy", "Measurement", "Task", "TaskSpec", "VectorTask", "learn"]

#: Copies of a task that are trained side by side, where nobody says how many.
ENVIRONMENTS = 20


class Measurement(TypedDict, total=False):
    """What is known of an interval; at least one loss. What was not measured is left out.

    A policy sees in a training loop what it saw when it was learned, so measure what you will tell `LearnedLR` there.
    """

    val_loss: float
    """Mean loss on held-back data after the interval."""
    losses: Sequence[float]
    """Training losses of the batches, each before its optimizer step."""
    train_loss: float
    """Their mean, where they are not given one by one."""
    grad_sq: Sequence[Sequence[float]]
    """The sum of squared gradients of each group, in some of the interval's steps; of the untrained network, in one."""
    weight_norms: Sequence[float]
    """Euclidean norm of the weights of each group after the interval."""
    steps: int
    """Optimizer steps in the interval, where they are not `spec.interval_steps`."""
    diverged: bool
    """Whether training broke down. A loss or a norm that is not finite says so, too."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Facts of a task that do not change while it is trained.

    Attributes
    ----------
    horizon
        Intervals in a training run.
    name
        For people, and for the folder of a run: it is not gone on with on a task of another name or other facts.
    groups
        Number of weights in each group (layer) that norms are measured of.
    optimizer, momentum
        `"sgd"` with its momentum, `"adam"`, `"adagrad"` or `"adadelta"`: how the first learning rate follows from norms.
    lr_bounds
        Smallest and largest learning rate. Where norms are not measured, runs start near the geometric mean of both.
    interval_steps
        Optimizer steps in an interval.
    batch_size, examples
        Examples in a batch, and in all; `None` for a stream.
    """

    horizon: int
    name: str = "task"
    groups: Sequence[int] = (1,)
    optimizer: str = "sgd"
    momentum: float = 0.0
    lr_bounds: tuple[float, float] = (1e-6, 1.0)
    interval_steps: int = 1
    batch_size: int = 1
    examples: int | None = None


class Task(Protocol):
    """A training run that goes on interval by interval.

    It may also have `save() -> bytes` and `load(state: bytes)`, both or none of them: everything that the rest of the run
    depends on; `load` may be called before any `reset`. Without them an interval that diverged is not rolled back, and learning has no folder to go on from. And it
    may have `evaluate() -> float`, the loss on further held-back data, by which the policy is chosen; without it, that is
    the latest loss.
    """

    spec: TaskSpec

    def reset(self, seed: int) -> Measurement:
        """Begin anew: everything random comes from the seed. Measure the untrained network on one batch."""
        ...

    def advance(self, hyperparameters: Hyperparameters) -> Measurement:
        """Train one interval with `hyperparameters.lr`."""
        ...


class VectorTask(Protocol):
    """Several copies of a task that are trained together.

    Lists have one entry for each copy, `None` for those that are left alone. As in `Task`, `save(copy) -> bytes`,
    `load(copy, state)` and `evaluate(copy) -> float` may be left out.
    """

    spec: TaskSpec
    copies: int

    def reset(self, seeds: Sequence[int | None]) -> Sequence[Measurement | None]:
        """Begin anew in each copy that is given a seed."""
        ...

    def advance(self, hyperparameters: Sequence[Hyperparameters | None]) -> Sequence[Measurement | None]:
        """Train one interval of each copy that is given hyperparameters."""
        ...


@dataclass(frozen=True)
class LearnedPolicy:
    """A frozen policy: a file of some 25 kB for `LearnedLR(policy=path)`.

    Attributes
    ----------
    data
        The content of the file.
    selection_loss
        Mean last loss of the runs by which it was chosen; `None` if it was not chosen among several.
    """

    data: bytes
    selection_loss: float | None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file."""
        with open(path, "wb") as file:
            file.write(self.data)


class _Separate:
    """Separate objects as one `VectorTask`."""

    def __init__(self, make: Callable[[], Task], copies: int) -> None:
        self.tasks = [make() for _ in range(copies)]
        if not hasattr(self.tasks[0], "spec"):
            name = type(self.tasks[0]).__name__
            raise ConfigError(f"task: {name} has no attribute spec; give it a TaskSpec, and the methods reset and advance")
        self.spec, self.copies = self.tasks[0].spec, copies

    def reset(self, seeds: Sequence[int | None]) -> list[Measurement | None]:
        return [None if seed is None else task.reset(seed) for task, seed in zip(self.tasks, seeds, strict=True)]

    def advance(self, hyperparameters: Sequence[Hyperparameters | None]) -> list[Measurement | None]:
        pairs = zip(self.tasks, hyperparameters, strict=True)
        return [None if given is None else task.advance(given) for task, given in pairs]

    def __getattr__(self, name: str) -> Any:
        """What a task may leave out: `save`, `load` and `evaluate`."""
        if name not in OPTIONAL or not hasattr(self.tasks[0], name):
            raise AttributeError(name)
        return lambda copy, *state: getattr(self.tasks[copy], name)(*state)


OPTIONAL = ("save", "load", "evaluate")


def learn(
    task: Task | VectorTask | Callable[[], Task],
    budget: int = 10_000,
    *,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    environments: int | None = None,
    settings: Mapping[str, object] | None = None,
    progress: Callable[[int, int, float | None], object] | None = None,
) -> LearnedPolicy:
    """Learn a policy for the learning rate of a task.

    The task is trained again and again, some copies side by side; PPO improves the policy from what was measured, and the
    latest policies are tried on fresh runs. The same arguments give the same policy, bit for bit, if the task depends on
    nothing but its seeds and its hyperparameters.

    Parameters
    ----------
    task
        A task, of which deep copies are trained; a class or a function without arguments that makes one; or a
        `VectorTask`, which trains its copies together.
    budget
        Intervals to train in all.
    seed
        Seed of everything random.
    folder
        Where to keep a checkpoint after each update. The same call goes on from there after an interruption, to the same
        bits, or reads the policy that is finished.
    environments
        Copies side by side: 20 by default, those of a `VectorTask` where it is one.
    settings
        Changes of the learner, with the names of configuration files, e.g. `{"learn.candidates": 4, "ppo.n_steps": 50}`.
    progress
        Called after each update with the intervals done, the intervals in all, and the mean return of the episodes that
        ended in it, or `None`.

    Returns
    -------
    LearnedPolicy

    Raises
    ------
    ConfigError
        For values out of their range, and measurements that cannot be read.

    Whatever the task or `progress` raises comes out as it is.

    Examples
    --------
    >>> class Bowl:
    ...     spec = TaskSpec(horizon=5, lr_bounds=(0.01, 2.5))
    ...     def reset(self, seed):
    ...         self.x = 1.0 + seed % 7
    ...         return {"val_loss": self.x**2}
    ...     def advance(self, hyperparameters):
    ...         self.x -= hyperparameters.lr * self.x
    ...         return {"val_loss": self.x**2}
    ...     def save(self):
    ...         return repr(self.x).encode()
    ...     def load(self, state):
    ...         self.x = float(state)
    >>> policy = learn(Bowl, 1_000, environments=4, settings={"learn.candidates": 2})
    >>> policy.selection_loss < 0.1
    True
    """
    copies = copies_of(task, environments)
    return learn_on(copies, copies.copies, None, budget, seed, folder, settings, progress)


def learn_on(
    copies: VectorTask,
    environments: int,
    elsewhere: Callable[[bytes, list[bytes]], list[bytes]] | None,
    budget: int,
    seed: int,
    folder: str | os.PathLike[str] | None,
    settings: Mapping[str, object] | None,
    progress: Callable[[int, int, float | None], object] | None,
) -> LearnedPolicy:
    """Learn with so many copies: with those in `copies`, or with a function that has such copies trained elsewhere."""
    budget = count("budget", budget, "give the intervals to train in all")
    seed = count("seed", seed, least=0)
    saves = saves_of(copies)
    if not saves and folder is None:
        message = "the task has no save() and load(): where it diverges, its weights stay as they are"
        warnings.warn(f"learn: {message}", stacklevel=3)
    data, loss = _learn(
        copies,
        copies.spec,
        environments,
        saves=saves,
        evaluates=hasattr(copies, "evaluate"),
        budget=budget,
        seed=seed,
        folder=None if folder is None else os.fspath(folder),
        settings=as_lines(settings),
        progress=progress,
        elsewhere=elsewhere,
    )
    return LearnedPolicy(data, loss)


def copies_of(task: Any, environments: int | None) -> VectorTask:
    """A `VectorTask` as it is, or separate copies of what `learn` takes."""
    if hasattr(task, "copies"):
        if environments not in (None, task.copies):
            raise ConfigError(f"environments: {environments}, but the task has {task.copies} copies; leave it out")
        return cast(VectorTask, task)
    number = ENVIRONMENTS if environments is None else count("environments", environments)
    is_task = hasattr(task, "reset") and not isinstance(task, type)
    if not is_task and not callable(task):
        raise ConfigError(f"task: {task!r}; give an object with reset and advance, or what makes one")
    make = cast(Callable[[], Task], (lambda: copy.deepcopy(task)) if is_task else task)
    return _Separate(make, number)


def saves_of(copies: VectorTask) -> bool:
    """Whether it has `save` and `load`."""
    save, load = hasattr(copies, "save"), hasattr(copies, "load")
    if save != load:
        raise ConfigError(f"task: it has {'save' if save else 'load'}() alone; write both of save() and load(), or none")
    return save
