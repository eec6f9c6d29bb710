"""Commands of the console program that can be split into shares by number, each share as a task of Ray."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from lrpilot._native import ConfigError
from lrpilot._ray_tasks import at_once, check, do_all

SHARE = "share"
Files = dict[str, bytes]

# Loaded before any fork: between fork and exec, a process with other threads must not load anything.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def do_shared(
    words: list[str], out: str, result: str, shares: int, deadline: float, cpus: int, program: str
) -> dict[str, Any]:
    """Do what the program does with `words`, and return the content of the file `result` in the run's folder."""
    check(shares=shares, deadline=deadline, cpus=cpus)
    whole = [*words, "--out", out]
    if _begun(Path(out), whole):
        _run(program, [*whole, "--resume"])
    else:
        folders = [Path(f"{out}-shares", str(index)) for index in range(shares)]
        _do_shares(words, folders, _files(words), deadline, cpus, program)
        _run(program, ["runs", "merge", *map(str, folders), "--out", out])
    content: dict[str, Any] = json.loads((Path(out) / result).read_text())
    return content


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
