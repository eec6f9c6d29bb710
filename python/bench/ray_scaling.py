"""What Ray adds to a task of `lrpilot.ray.learn`, and what a second worker brings: `python python/bench/ray_scaling.py`.

An interval of the task sleeps, so that a machine with other work to do measures the same as an idle one.
"""

import statistics
import time
from collections.abc import Callable

import ray

import lrpilot
import lrpilot.ray

#: 10 updates of 20 environments, each of which goes through 5 intervals, and no selection.
SETTINGS = {"learn.selection_seeds": 0, "ppo.n_steps": 5}
BUDGET = 1_000
UPDATES = 10


class Sleeper:
    """A task whose interval takes some seconds, and whose state has a size like that of a small network."""

    spec = lrpilot.TaskSpec(horizon=5)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def reset(self, seed: int) -> lrpilot.Measurement:
        self.loss = 1.0 + seed % 7
        return {"val_loss": self.loss}

    def advance(self, hyperparameters: lrpilot.Hyperparameters) -> lrpilot.Measurement:
        time.sleep(self.seconds)
        self.loss *= 1.0 - 0.1 * hyperparameters.lr
        return {"val_loss": self.loss}

    def save(self) -> bytes:
        return repr(self.loss).encode().ljust(20_000)

    def load(self, state: bytes) -> None:
        self.loss = float(state)


def median_time(learn: Callable[[], object], runs: int = 5) -> float:
    """Seconds of the median run, after one that is not counted."""
    taken = []
    for _ in range(runs + 1):
        start = time.monotonic()
        learn()
        taken.append(time.monotonic() - start)
    return statistics.median(taken[1:])


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

    def seconds(workers: int, interval: float) -> float:
        task = Sleeper(interval)
        if workers == 0:
            return median_time(lambda: lrpilot.learn(task, BUDGET, settings=SETTINGS))
        return median_time(lambda: lrpilot.ray.learn(task, BUDGET, settings=SETTINGS, cpus=2 // workers))

    print(f"per task, nothing to train: {(seconds(1, 0.0) - seconds(0, 0.0)) / UPDATES * 1e3:.1f} ms")
    alone, one, two = (seconds(workers, 0.01) for workers in (0, 1, 2))
    print(f"a second to train in each update: {alone:.2f} s without Ray, {one:.2f} s with one worker, {two:.2f} s with two")


if __name__ == "__main__":
    main()
