"""Make classic.json: `python tests/golden/classic.py` (gymnasium 1.4).

From a given state, 30 steps of fixed actions: the state, reward and end of each step.
"""

import json
import math
import pathlib

import gymnasium
import numpy as np

STARTS = {"CartPole-v1": [0.01, -0.02, 0.03, 0.04], "Acrobot-v1": [0.1, -0.05, 0.02, 0.07], "Pendulum-v1": [2.5, -0.5]}
golden = {}
for name, start in STARTS.items():
    env = gymnasium.make(name).unwrapped
    env.reset(seed=0)
    env.state = np.array(start, dtype=np.float64)
    steps = []
    for i in range(30):
        if isinstance(env.action_space, gymnasium.spaces.Discrete):
            action = (i * i + i // 3) % int(env.action_space.n)
            given = action
        else:
            action = 2.5 * math.sin(0.7 * i)
            given = np.array([action], dtype=np.float64)
        _, reward, terminated, _, _ = env.step(given)
        state = [float(v) for v in env.state]
        steps.append({"action": float(action), "state": state, "reward": float(reward), "terminated": bool(terminated)})
        if terminated:
            break
    golden[name] = {"start": start, "steps": steps}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
