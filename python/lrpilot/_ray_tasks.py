"""Tasks of Ray that are started again when they are lost."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from lrpilot._native import ConfigError

ATTEMPTS = 3


def check(**values: float) -> None:
    """Refuse values that are not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name}: {value} is not above 0; give at least 1")


def at_once(cpus: int) -> int:
    """How many tasks of so many processors the cluster has room for now, at least one."""
    return max(1, int(ray.cluster_resources().get("CPU", cpus)) // cpus)


def do_all(
    name: str,
    todo: Sequence[int],
    submit: Callable[[int], Any],
    keep: Callable[[int, Any], None],
    at_once: int,
    deadline: float,
) -> None:
    """Do all tasks, each up to three times. Ray itself would start one for ever that kills its worker."""
    waiting = deque((index, 1) for index in todo)
    running: dict[Any, tuple[int, int, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                index, attempt = waiting.popleft()
                running[submit(index)] = (index, attempt, time.monotonic())
            done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for ref, (index, attempt, start) in list(running.items()):
                error: Exception | None = None
                if ref in done:
                    try:
                        keep(index, ray.get(ref))
                    except RayError as failed:
                        error = getattr(failed, "cause", None) or failed
                elif time.monotonic() - start > deadline:
                    ray.cancel(ref, force=True)
                    error = TimeoutError(f"it took more than {deadline} s; raise `deadline`, or have it do less")
                else:
                    continue
                del running[ref]
                if error is not None and attempt == ATTEMPTS:
                    raise RuntimeError(f"{name} {index} failed {ATTEMPTS} times, at last with: {error}") from error
                if error is not None:
                    waiting.append((index, attempt + 1))
    finally:
        for ref in running:
            ray.cancel(ref, force=True)
