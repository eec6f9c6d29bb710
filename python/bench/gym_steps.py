"""Environment steps a second, one environment and many: python python/bench/gym_steps.py"""

import os
import time

import gymnasium
import numpy as np

import lrpilot.gym  # noqa: F401

SECONDS = 2.0


def rate(env: gymnasium.Env | gymnasium.vector.VectorEnv, steps_each: int) -> float:
    """Steps of all environments in a second, episodes that begin anew included."""
    action = np.zeros(env.action_space.shape, np.float32)
    env.reset(seed=0)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        ended = env.step(action)[2]
        steps += steps_each
        if steps_each == 1 and ended:
            env.reset()
    return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, RAYON_NUM_THREADS={os.environ.get('RAYON_NUM_THREADS', 'unset')}")
    for name in ("NoisyQuadratic", "Digits"):
        print(f"{name}: single {rate(gymnasium.make(f'lrpilot/{name}-v0'), 1):,.0f} steps/s", end="")
        for count in (4, 16, 64):
            envs = gymnasium.make_vec(f"lrpilot/{name}-v0", num_envs=count)
            print(f", {count} side by side {rate(envs, count):,.0f}", end="", flush=True)
        print()
