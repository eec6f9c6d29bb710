"""The training of `lrpilot.ray.learn`: parts of a rollout, or trials, as tasks of Ray."""

import pickle
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import ray
from ray.cloudpickle.cloudpickle_fast import dumps

from lrpilot._native import do_parts
from lrpilot._ray_tasks import at_once, do_all
from lrpilot._settings import as_lines
from lrpilot._task import Task, VectorTask, copies_of


class Rollouts:
    """Has the learner's work done on the cluster; called from the native module."""

    def __init__(
        self, task: Task | Callable[[], Task], settings: Mapping[str, object] | None, deadline: float, cpus: int
    ) -> None:
        pickled = dumps(task)
        # In a list, Ray leaves it where it is until a worker asks for it.
        self._task, self._key = [ray.put(pickled)], sha256(pickled).hexdigest()
        self._settings, self._deadline, self._cpus = as_lines(settings), deadline, cpus
        self._do = ray.remote(num_cpus=cpus, max_retries=0)(_do)

    def __call__(self, common: bytes, parts: list[bytes]) -> list[bytes]:
        """The results of all parts. How they are grouped does not change them, so the cluster may grow and shrink."""
        workers = at_once(self._cpus)
        groups = min(workers, len(parts))
        bounds = [len(parts) * i // groups for i in range(groups + 1)]
        results: list[list[bytes]] = [[] for _ in range(groups)]
        do_all(
            "rollout",
            range(groups),
            lambda i: self._do.remote(self._task, self._key, self._settings, common, parts[bounds[i] : bounds[i + 1]]),
            results.__setitem__,
            workers,
            self._deadline,
        )
        return [result for group in results for result in group]


#: The task that this worker trained last, by its key.
_ready: dict[str, VectorTask] = {}


def _do(task: list[Any], key: str, settings: list[str], common: bytes, parts: list[bytes]) -> list[bytes]:
    """The task of Ray. All that counts comes in and goes out, so it can be done again anywhere."""
    one = _ready.pop(key, None) or copies_of(pickle.loads(ray.get(task[0])), 1)
    _ready.clear()
    evaluates = hasattr(one, "evaluate")
    results = do_parts(one, one.spec, evaluates=evaluates, settings=settings, common=common, parts=parts)
    # After an error it is made anew.
    _ready[key] = one
    return results
