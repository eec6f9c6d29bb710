"""Settings as configuration files name them."""

import json
from collections.abc import Mapping


def as_lines(settings: Mapping[str, object] | None) -> list[str]:
    """Each setting as `section.key=value`, the value in the notation of TOML.

    >>> as_lines({"task.horizon": 10, "env.observation": "state-blind", "ppo.hidden": [32, 32]})
    ['task.horizon=10', 'env.observation="state-blind"', 'ppo.hidden=[32, 32]']
    """
    return [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
