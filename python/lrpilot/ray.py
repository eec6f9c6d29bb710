"""Learning, comparisons and the suite, with the training shared out to the machines of a Ray cluster.

For `learn`, a task of Ray takes in saved states of some copies, trains them, and returns what they went through with the
states after it; the agent stays in the driver. For `compare` and `suite`, a task does one share of the jobs with the console
program and returns the files that it wrote. The driver starts lost tasks again. Every result has the bits of a single
process.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lrpilot._native import ConfigError
from lrpilot._ray_rollouts import Rollouts
from lrpilot._ray_shares import do_shared
from lrpilot._ray_tasks import check
from lrpilot._task import ENVIRONMENTS, LearnedPolicy, Task, copies_of, learn_on, saves_of
from lrpilot._values import count

__all__ = ["compare", "learn", "suite"]


def compare(
    *policies: str,
    task: str,
    out: str,
    options: Sequence[str] = (),
    shares: int = 16,
    deadline: float = 3600.0,
    cpus: int = 1,
    program: str = "lrpilot",
) -> dict[str, Any]:
    """What `lrpilot compare *policies --task task *options --out out` does, on the cluster that `ray.init` joined.

    Finished shares are kept in the folder `out` + "-shares". The same call goes on where another one was stopped or
    killed, and does nothing that was done before.

    Parameters
    ----------
    *policies
        Files of frozen policies.
    task
        A task's name or file. Files below the working directory are sent along; absolute paths and data sets are read
        on the machine that does the work.
    out
        Folder of the run, as the program makes it.
    options
        Further options of the program, such as `["--seed", "3"]`.
    shares
        Into how many tasks the jobs are split. A task should last some seconds, since Ray needs a part of one for each.
    deadline
        Seconds after which a task is stopped and started again.
    cpus
        Processors of a task.
    program
        The console program, on each machine.

    Returns
    -------
    dict
        The content of the run's `comparison.json`.

    Raises
    ------
    ConfigError
        If `shares`, `deadline` or `cpus` is not above 0, or the folders hold another experiment.
    RuntimeError
        If a share failed three times, or the program refuses to put the shares together, for example because a policy
        has changed since; what was done is kept.

    Examples
    --------
    >>> compare("policy.safetensors", task="digits", out="runs/digits", shares=0)
    Traceback (most recent call last):
    lrpilot.ConfigError: shares: 0 is not above 0; give at least 1
    """
    words = ["compare", *policies, "--task", task, *options]
    return do_shared(words, out, "comparison.json", shares, deadline, cpus, program)


def suite(
    *policies: str,
    out: str,
    options: Sequence[str] = (),
    shares: int = 16,
    deadline: float = 3600.0,
    cpus: int = 1,
    program: str = "lrpilot",
) -> dict[str, Any]:
    """What `lrpilot suite run *policies *options --out out` does, on the cluster that `ray.init` joined.

    Parameters
    ----------
    *policies
        Files of frozen policies, or `pretrained`.
    options
        Further options of the program, such as `["--baselines"]`.
    out, shares, deadline, cpus, program
        As for `compare`.

    Returns
    -------
    dict
        The content of the run's `suite.json`.

    Raises
    ------
    ConfigError, RuntimeError
        As `compare`.

    Examples
    --------
    >>> suite(out="runs/reference", options=["--baselines"], cpus=0)
    Traceback (most recent call last):
    lrpilot.ConfigError: cpus: 0 is not above 0; give at least 1
    """
    return do_shared(["suite", "run", *policies, *options], out, "suite.json", shares, deadline, cpus, program)


def learn(
    task: Task | Callable[[], Task],
    budget: int = 10_000,
    *,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    environments: int | None = None,
    settings: Mapping[str, object] | None = None,
    progress: Callable[[int, int, float | None], object] | None = None,
    deadline: float = 3600.0,
    cpus: int = 1,
) -> LearnedPolicy:
    """What `lrpilot.learn` does, with the copies trained on the cluster that `ray.init` joined, to the same bits.

    In each update every processor of the cluster gets a task of Ray with an equal part of the copies; so do the trials of
    the latest policies. The folder, too, is that of `lrpilot.learn`: either goes on where the other was interrupted.

    Parameters
    ----------
    task
        As for `lrpilot.learn`, with `save` and `load`, and picklable. Modules that it imports, and data that it reads, are
        on each machine. A `VectorTask` trains its copies together, so it is not for this. Nor is a task that draws from a
        process-wide random generator: its copies would not draw in the order of a single process.
    budget, seed, folder, environments, settings, progress
        As for `lrpilot.learn`.
    deadline
        Seconds after which a task is stopped and started again.
    cpus
        Processors of a task. Ray has most libraries use that many threads; where their number changes the bits of the
        training, set it for `lrpilot.learn`, too.

    Returns
    -------
    LearnedPolicy

    Raises
    ------
    ConfigError
        For values out of their range, and a task without `save` and `load`.
    RuntimeError
        If a task failed three times, from its last error; `folder` has the update before it.

    Examples
    --------
    >>> import lrpilot
    >>> class Unsaved:
    ...     spec = lrpilot.TaskSpec(horizon=5)
    >>> learn(Unsaved, 1_000)
    Traceback (most recent call last):
    lrpilot.ConfigError: task: it has no save() and load(), by which it goes from machine to machine; write them
    """
    check(deadline=deadline, cpus=cpus)
    if hasattr(task, "copies"):
        raise ConfigError("task: a VectorTask trains its copies in one process; give a task, or what makes one")
    one = copies_of(task, 1)
    if not saves_of(one):
        raise ConfigError("task: it has no save() and load(), by which it goes from machine to machine; write them")
    number = ENVIRONMENTS if environments is None else count("environments", environments)
    rollouts = Rollouts(task, settings, deadline, cpus)
    return learn_on(one, number, rollouts, budget, seed, folder, settings, progress)
