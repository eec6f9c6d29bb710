"""A policy to test with, and a run to test it in."""

import json
import random
import signal
import struct

import pytest
import torch
from ray_cluster import cluster, far_node, link, node  # noqa: F401  (fixtures)

FEATURES = 34


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    """The path of a pretrained policy with a random network, so that each of its inputs changes what it does."""
    path = tmp_path_factory.mktemp("policy") / "policy.safetensors"
    path.write_bytes(policy_file(seed=1))
    return str(path)


def policy_file(seed):
    """The content of a policy file: the format of `lrpilot_core::schedule::file`, version 3."""
    term = {"coefficient": 0.0, "mean": 0.0}
    spec = {
        "anchor": {"intercept": 0.0, "terms": [term] * 8, "limit": 1.5, "offset": 0.0},
        "base": {"warmup": 0.0625, "floor": 0.1},
        "residual": {"early": 0.5, "middle": 0.4, "late": 0.5, "low": -3.0, "high": 1.2},
        "start_distance": 0.5,
        "divergence": 2.0,
        "roll_back_decades": 1.0,
    }
    provenance = {"version": "test", "task": "none", "seed": 0, "epochs": 0, "config": "", "selection_loss": None}
    metadata = {"format_version": 3, "generalist": spec, "provenance": provenance}
    rng = random.Random(seed)
    header, data = {"__metadata__": {"lrpilot": json.dumps(metadata)}}, b""
    for i, (outputs, inputs) in enumerate([(8, FEATURES), (1, 8)]):
        for name, shape in [("weight", [outputs, inputs]), ("bias", [outputs])]:
            count = outputs * inputs if name == "weight" else outputs
            values = [rng.gauss(0.0, 0.5 / inputs**0.5) for _ in range(count)]
            begin, data = len(data), data + struct.pack(f"<{count}f", *values)
            header[f"policy.{i}.{name}"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def control_c():
    """Python's answer to Ctrl-C, which a process that a shell starts in the background does without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Problem:
    """A small regression with noise in its targets."""

    def __init__(self, seed=0, width=8):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, 4, generator=generator)
        self.y = self.x.sum(1, keepdim=True).sin() + 0.1 * torch.randn(64, 1, generator=generator)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))

    def loss(self, batch=slice(0, 48)):
        return torch.nn.functional.mse_loss(self.model(self.x[batch]), self.y[batch])

    def step(self, optimizer, i, schedule=None):
        """One optimizer step on the `i`-th batch of 16; tells the loss before it, if there is a schedule to tell."""
        begin = 16 * (i % 3)
        optimizer.zero_grad()
        loss = self.loss(slice(begin, begin + 16))
        loss.backward()
        if schedule is not None:
            schedule.observe(loss)
        optimizer.step()
        return loss

    def val_loss(self):
        with torch.no_grad():
            return self.loss(slice(48, 64)).item()


@pytest.fixture
def problem():
    return Problem()


class Watched:
    """What a schedule tells its policy, and the learning rates that the optimizer's steps are made with."""

    def __init__(self, schedule):
        self.told, self.lrs = [], []
        self._file, self._policy = schedule._file, schedule._policy
        schedule._policy = self
        schedule.optimizer.register_step_post_hook(lambda o, *_: self.lrs.append(o.param_groups[0]["lr"]))

    def start(self, *facts, **more):
        self._facts = facts, more
        return WatchedRun(self._policy.start(*facts, **more), self.told)

    def resume(self, state):
        return WatchedRun(self._policy.resume(state), self.told)

    def replayed(self):
        """The learning rates that a policy alone, without PyTorch, sets when it is told the same."""
        facts, more = self._facts
        run, lrs = self._file.load().start(*facts, **more), []
        for (steps,), observed in self.told:
            lrs += [run.lr_at(i) for i in range(steps)]
            run.observe(steps, **observed)
        return lrs


class WatchedRun:
    def __init__(self, run, told):
        self._run, self._told = run, told

    def observe(self, *args, **observed):
        self._told.append((args, observed))
        return self._run.observe(*args, **observed)

    def __getattr__(self, name):
        return getattr(self._run, name)
