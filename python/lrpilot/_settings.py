"""Settings as configuration files name them."""

import json
from collections.abc import Mapping

from lrpilot._native import ConfigError


def as_lines(settings: Mapping[str, object] | None) -> list[str]:
    """Each setting as `section.key=value`, the value in the notation of TOML.

    >>> as_lines({"task.horizon": 10, "env.observation": "state-blind", "ppo.hidden": [32, 32]})
    ['task.horizon=10', 'env.observation="state-blind"', 'ppo.hidden=[32, 32]']
    """
    try:
        return [f"{key}={json.dumps(value)}" for key, value in dict(settings or {}).items()]
    except (TypeError, ValueError):
        message = f"settings: {settings!r} are not values by name"
        raise ConfigError(f'{message}; give a dictionary such as {{"task.horizon": 10}}') from None
