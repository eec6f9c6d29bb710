"""Writes trim_mean.json: scipy.stats.trim_mean and numpy.quantile on fixed samples. Run: python trim_mean.py"""

import json
import pathlib

import numpy as np
from scipy.stats import trim_mean

rng = np.random.default_rng(20261123)
cases = []
for n in (1, 2, 3, 4, 5, 7, 8, 15, 30, 100):
    values = rng.lognormal(size=n)
    q = np.quantile(values, [0.025, 0.25, 0.975])
    cases.append(
        {
            "values": values.tolist(),
            "trim_mean": float(trim_mean(values, 0.25)),
            "q025": float(q[0]),
            "q25": float(q[1]),
            "q975": float(q[2]),
        }
    )
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(cases, indent=1) + "\n")
