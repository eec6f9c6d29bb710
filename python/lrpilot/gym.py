"""Environments for Gymnasium: a training run whose learning rate is the action.

An episode trains a small network, or the noisy quadratic model, from new weights to its end. A step trains one
interval; the observation says how the training goes, and the reward by how much the loss fell. Importing this module
registers an environment for each preset of lrpilot:

| id | what is trained |
|---|---|
| `lrpilot/NoisyQuadratic-v0` | the noisy quadratic model, whose best schedule is known |
| `lrpilot/Digits-v0`, `lrpilot/DigitsClean-v0` | a perceptron on 8×8 digits, with and without wrong labels |
| `lrpilot/MnistMlp-v0`, `lrpilot/MnistCnn-v0` | a perceptron and a convolutional network on MNIST, which they read below `data` |

`gymnasium.make_vec` gives a `LearningRateVectorEnv`, which steps its environments in threads of its own.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lrpilot._native import ConfigError, Environments
from lrpilot._settings import as_lines
from lrpilot._values import count

__all__ = ["LearningRateEnv", "LearningRateVectorEnv"]

Floats = NDArray[np.float32]
Formulation = Literal["pilot", "paper"]

#: The presets by the names in their ids.
PRESETS = {
    "NoisyQuadratic": "noisy-quadratic",
    "Digits": "digits",
    "DigitsClean": "digits-clean",
    "MnistMlp": "mnist-mlp",
    "MnistCnn": "mnist-cnn",
}
#: What `info` holds after a step, in the order of the native module.
INFO = {
    "lr": float,
    "val_loss": float,
    "train_loss": float,
    "val_accuracy": float,
    "rolled_back": int,
    "diverged": bool,
}


def _native(
    task: str, count: int, formulation: str, settings: Mapping[str, object] | None, data: str | os.PathLike[str] | None
) -> Environments:
    folder = os.environ.get("LRPILOT_DATA") if data is None else os.fspath(data)
    return Environments(task, count, formulation, as_lines(settings), folder)


def _box(bounds: tuple[Sequence[float], Sequence[float]]) -> Any:
    low, high = (np.array(bound, np.float32) for bound in bounds)
    return Box(low, high, dtype=np.float32)


class LearningRateEnv(gymnasium.Env[Floats, Floats]):
    """A training run as an environment; `gymnasium.make("lrpilot/Digits-v0")` makes one.

    Parameters
    ----------
    task
        The name of a preset: `noisy-quadratic`, `digits`, `digits-clean`, `mnist-mlp` or `mnist-cnn`.
    formulation
        `"pilot"`: 25 features clipped to ±10, an action in [-1, 1] that moves the logarithm of the learning rate, the
        fall of the logarithm of the loss as the reward; intervals that diverge are rolled back. `"paper"`: loss, intervals
        left and gradient norms as they are, the learning rate itself as the action; divergence ends the episode.
    settings
        Changes, with the names of configuration files, e.g. `{"task.horizon": 10, "env.observation": "state-blind"}`.
    data
        Folder of the data sets; without it, the environment variable `LRPILOT_DATA`. Digits and the noisy quadratic
        need none.

    Raises
    ------
    ConfigError
        For a name or a value that is not known or out of its range.
    DataError
        For data files that are not what they should be.

    Examples
    --------
    >>> env = gymnasium.make("lrpilot/NoisyQuadratic-v0", settings={"task.horizon": 2})
    >>> observation, info = env.reset(seed=1)
    >>> observation, reward, terminated, truncated, info = env.step(np.array([0.5], np.float32))
    >>> observation.shape, reward > 0.0, terminated, sorted(info)
    ((25,), True, False, ['diverged', 'lr', 'rolled_back', 'train_loss', 'val_accuracy', 'val_loss'])
    """

    def __init__(
        self,
        task: str = "noisy-quadratic",
        *,
        formulation: Formulation = "pilot",
        settings: Mapping[str, object] | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        self._native = _native(task, 1, formulation, settings, data)
        self.observation_space = _box(self._native.observation_bounds)
        self.action_space = _box(self._native.action_bounds)
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode. With a seed, that of the training run; otherwise the generator of the last seed draws one."""
        super().reset(seed=seed)
        episode = _drawn(self.np_random) if seed is None else seed
        observation = _floats(self._native.reset([episode]))
        self._running = True
        return observation, {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Train an interval. At its end an episode is terminated, not truncated: the time left is part of the problem."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("step after the end of an episode, or before the first; call reset()")
        actions = _checked(action, (1, len(self._native.action_bounds[0])))
        observation, reward, terminated, truncated, infos = self._native.step(actions.tobytes(), [None])
        (row,) = _doubles(infos).reshape(1, len(INFO))
        ended = bool(terminated[0]), bool(truncated[0])
        self._running = not any(ended)
        info = {name: kind(value) for (name, kind), value in zip(INFO.items(), row, strict=True)}
        return _floats(observation), float(_doubles(reward)[0]), *ended, info


class LearningRateVectorEnv(VectorEnv[Floats, Floats, NDArray[Any]]):
    """Several training runs side by side, each step in threads of the native module, without the lock of the interpreter.

    An environment whose episode has ended begins the next one in the next step (`AutoresetMode.NEXT_STEP`). Environment
    `i` sees what a `LearningRateEnv` with the seed `seed + i` sees, whatever the number of threads (`RAYON_NUM_THREADS`).

    Parameters
    ----------
    num_envs
        How many.
    task, formulation, settings, data
        As for `LearningRateEnv`.

    Raises
    ------
    ConfigError
        For a name or a value that is not known or out of its range.
    DataError
        For data files that are not what they should be.

    Examples
    --------
    >>> envs = gymnasium.make_vec("lrpilot/NoisyQuadratic-v0", num_envs=3)
    >>> observations, infos = envs.reset(seed=1)
    >>> observations, rewards, terminations, truncations, infos = envs.step(np.zeros((3, 1), np.float32))
    >>> observations.shape, rewards.shape, infos["lr"].shape
    ((3, 25), (3,), (3,))
    """

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "noisy-quadratic",
        *,
        formulation: Formulation = "pilot",
        settings: Mapping[str, object] | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        self.num_envs = num_envs = count("num_envs", num_envs)
        self._native = _native(task, num_envs, formulation, settings, data)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = _box(self._native.observation_bounds)
        self.single_action_space = _box(self._native.action_bounds)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] = []
        self._ended = np.ones(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin an episode in every environment; a single seed counts up."""
        if seed is None or isinstance(seed, (int, np.integer)):
            seed = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ConfigError(f"seed: {len(seeds)} seeds for {self.num_envs} environments; give one for each")
        drawn = [None if each is None else seeding.np_random(each)[0] for each in seeds]
        known = self._generators or [np.random.default_rng() for _ in seeds]
        self._generators = [old if new is None else new for old, new in zip(known, drawn, strict=True)]
        episodes = [_drawn(self._generators[i]) if each is None else each for i, each in enumerate(seeds)]
        self._ended[:] = True
        observations = _floats(self._native.reset(episodes)).reshape(self.observation_space.shape)
        self._ended[:] = False
        return observations, {}

    def step(
        self, actions: Floats
    ) -> tuple[Floats, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Train an interval in every environment, or begin the next episode where the last one has ended."""
        if not self._generators:
            raise gymnasium.error.ResetNeeded("step before the first episode; call reset()")
        given = _checked(actions, (self.num_envs, len(self._native.action_bounds[0])))
        begins = self._ended.copy()
        seeds = [_drawn(self._generators[i]) if begin else None for i, begin in enumerate(begins)]
        self._ended[:] = True  # an interrupted step leaves some of them behind: then all begin anew
        observations, rewards, terminated, truncated, infos = self._native.step(given.tobytes(), seeds)
        terminations, truncations = (np.frombuffer(ends, np.bool_) for ends in (terminated, truncated))
        self._ended = terminations | truncations
        seen = _floats(observations).reshape(self.observation_space.shape)
        return seen, _doubles(rewards), terminations, truncations, self._infos(_doubles(infos), ~begins)

    def _infos(self, values: NDArray[np.float64], stepped: NDArray[np.bool_]) -> dict[str, Any]:
        """Each entry with the mask of environments that have it, as Gymnasium does it."""
        columns = values.reshape(self.num_envs, len(INFO)).T
        infos: dict[str, Any] = {name: column.astype(kind) for (name, kind), column in zip(INFO.items(), columns, strict=True)}
        return infos | {f"_{name}": stepped.copy() for name in INFO}


def _drawn(generator: np.random.Generator) -> int:
    """The seed of an episode."""
    return int(generator.integers(2**63))


def _checked(action: Any, shape: tuple[int, ...]) -> Floats:
    """The action as a matrix with one row for each environment."""
    try:
        actions = np.ascontiguousarray(action, np.float32)
    except (TypeError, ValueError):
        actions = np.empty(0, np.float32)
    if actions.size != np.prod(shape) or not np.isfinite(actions).all():
        raise ConfigError(f"action: {action!r}; give {shape[1]} finite numbers for each of {shape[0]} environments")
    return actions.reshape(shape)


def _floats(data: bytearray) -> Floats:
    return np.frombuffer(data, np.float32)


def _doubles(data: bytearray) -> NDArray[np.float64]:
    return np.frombuffer(data, np.float64)


def _register() -> None:
    for name, preset in PRESETS.items():
        gymnasium.register(
            f"lrpilot/{name}-v0",
            entry_point="lrpilot.gym:LearningRateEnv",
            vector_entry_point="lrpilot.gym:LearningRateVectorEnv",
            kwargs={"task": preset},
        )


_register()
