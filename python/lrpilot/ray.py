"""Learning, and comparisons of policies, with the training shared out to the machines of a Ray cluster.

For `learn`, a task of Ray takes in saved states of some copies, trains them, and returns what they went through with the
states after it; the agent stays in the driver. For `compare`, a task does one share of the jobs with the console program
and returns the files that it wrote. The driver starts lost tasks again. Either result has the bits of a single process.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from lrpilot._native import ConfigError
from lrpilot._ray_rollouts import Rollouts
from lrpilot._ray_tasks import at_once, do_all
from lrpilot._task import ENVIRONMENTS, LearnedPolicy, Task, copies_of, learn_on, saves_of
from lrpilot._values import count

__all__ = ["compare", "learn"]

SHARE = "share"
Files = dict[str, bytes]

# Loaded before any fork: between fork and exec, a process with other threads must not load anything.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


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
    _check(shares=shares, deadline=deadline, cpus=cpus)
    words = ["compare", *policies, "--task", task, *options]
    whole = [*words, "--out", out]
    if _begun(Path(out), whole):
        _run(program, [*whole, "--resume"])
    else:
        folders = [Path(f"{out}-shares", str(index)) for index in range(shares)]
        _do_shares(words, folders, _files([*policies, task, *options]), deadline, cpus, program)
        _run(program, ["runs", "merge", *map(str, folders), "--out", out])
    comparison: dict[str, Any] = json.loads((Path(out) / "comparison.json").read_text())
    return comparison


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
        on each machine. A `VectorTask` trains its copies together, so it is not for this.
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
    >>> class Bowl:
    ...     def reset(self, seed):
    ...         return {"val_loss": 1.0}
    >>> learn(Bowl, 1_000)
    Traceback (most recent call last):
    lrpilot.ConfigError: task: it has no save() and load(), by which it goes from machine to machine; write them
    """
    _check(deadline=deadline, cpus=cpus)
    if hasattr(task, "copies"):
        raise ConfigError("task: a VectorTask trains its copies together, in one process; give a task, or what makes one")
    one, environments = copies_of(task, 1), ENVIRONMENTS if environments is None else count("environments", environments)
    if not saves_of(one):
        raise ConfigError("task: it has no save() and load(), by which it goes from machine to machine; write them")
    return learn_on(one, environments, Rollouts(task, settings, deadline, cpus), budget, seed, folder, settings, progress)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name}: {value} is not above 0; give at least 1")


def _do_shares(words: list[str], folders: list[Path], files: Files, deadline: float, cpus: int, program: str) -> None:
    """Do what is not yet in the shares' folders, one task for each processor of the cluster at a time."""
    of = str(len(folders))
    work = [[*words, "--out", SHARE, "--index", str(index), "--of", of] for index in range(len(folders))]
    todo = [index for index, folder in enumerate(folders) if not _begun(folder, work[index])]
    sent = ray.put(files)
    task = ray.remote(num_cpus=cpus, max_retries=0)(_do_share)
    do_all(
        "share",
        todo,
        lambda index: task.remote(program, work[index], sent, cpus),
        lambda index, made: _keep(folders[index], made),
        at_once(cpus),
        deadline,
    )


def _begun(folder: Path, words: list[str]) -> bool:
    """Whether `folder` holds a run of the command; an error if it holds another one."""
    if not (folder / "config.toml").exists():
        return False
    found = json.loads((folder / "run.json").read_text()).get("invocation", {}).get("arguments")
    if found != words:
        raise ConfigError(f"{folder} holds a run of {found}, not of {words}; give another `out`, or remove {folder}")
    return True


def _files(words: Sequence[str]) -> Files:
    """The content of the words that name files below the working directory."""
    inside = [path for path in map(Path, words) if not path.is_absolute() and ".." not in path.parts]
    return {str(path): path.read_bytes() for path in inside if path.is_file()}


def _do_share(program: str, words: list[str], files: Files, cpus: int) -> Files:
    """The task: the files of a share's folder. It reads and leaves nothing, so it can be done again anywhere."""
    with tempfile.TemporaryDirectory(prefix="lrpilot-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _run(program, words, cwd=folder, env={**os.environ, "RAYON_NUM_THREADS": str(cpus)})
        made = [path for path in Path(folder, SHARE).iterdir() if path.name != "lock"]
        return {path.name: path.read_bytes() for path in made}


def _run(program: str, words: list[str], **settings: Any) -> None:
    """Wait for the program; what it says of an error becomes the exception's message."""
    settings |= {"stdin": subprocess.DEVNULL, "capture_output": True, "preexec_fn": _end_with_parent}
    try:
        done = subprocess.run([program, *words], check=False, **settings)
    except FileNotFoundError as error:
        raise RuntimeError(f"{program} is not there: {error}; install it with `cargo install lrpilot`") from error
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip() or f"ended with {done.returncode}"
        raise RuntimeError(f"{program} {words[0]}: {told}")


def _end_with_parent() -> None:
    """Have Linux kill the program together with the process that waits for it; else it would go on unseen."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep(folder: Path, files: Files) -> None:
    """Write the folder of a share, whole or not at all."""
    begun = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for name, content in files.items():
        (begun / name).write_bytes(content)
    begun.rename(folder)
