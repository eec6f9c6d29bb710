"""Make line_search.json: `python tests/golden/line_search.py`.

A transcription of algorithms 1 and 2 of Vaswani et al. 2019 ("Painless Stochastic Gradient", arXiv 1905.09997), SGD with
Armijo line search, in float64 on a least-squares problem whose data the test repeats. The reset options are numbered as in
the authors' code (0: keep, 1: grow, 2: start anew); trials stop after 100 and then take a step of 1e-6, as there.
"""

import json
import pathlib

N, D, BATCH, STEPS = 24, 4, 6, 40
C, BETA, GAMMA, ETA_MAX, INITIAL = 0.1, 0.9, 2.0, 10.0, 1.0
OPTIONS = {0: "keep", 1: "grow", 2: "initial"}


def value(i):
    """In [-1, 1], exact in float64."""
    return (i * 7919 % 10007) / 5003.0 - 1.0


X = [[2.0 * value(i * D + j) for j in range(D)] for i in range(N)]
Y = [value(1000 + i) for i in range(N)]


def loss_and_gradient(w, batch):
    loss, gradient = 0.0, [0.0] * D
    for i in batch:
        residual = sum(x * v for x, v in zip(X[i], w)) - Y[i]
        loss += 0.5 * residual**2 / len(batch)
        for j in range(D):
            gradient[j] += residual * X[i][j] / len(batch)
    return loss, gradient


def line_search(option):
    w, eta, found, passes, losses = [0.0] * D, INITIAL, [], [], []
    for step in range(STEPS):
        batch = [(step * BATCH + i) % N for i in range(BATCH)]
        loss, g = loss_and_gradient(w, batch)
        norm_sq = sum(v * v for v in g)
        start = {0: eta, 1: eta * GAMMA ** (BATCH / N), 2: INITIAL}[option]
        eta = min(start, ETA_MAX)
        for trial in range(1, 101):
            trial_w = [v - eta * d for v, d in zip(w, g)]
            if loss_and_gradient(trial_w, batch)[0] <= loss - C * eta * norm_sq:
                break
            eta *= BETA
        else:
            trial_w = [v - 1e-6 * d for v, d in zip(w, g)]
        w = trial_w
        found.append(eta)
        passes.append(trial)
        losses.append(loss)
    return {"reset": OPTIONS[option], "step_sizes": found, "forward_passes": passes, "losses": losses}


golden = {"n": N, "d": D, "batch": BATCH, "runs": [line_search(option) for option in OPTIONS]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
