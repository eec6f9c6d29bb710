"""`lrpilot.ray.learn`: the policy of `lrpilot.learn`, bit for bit, with 1, 2 and 4 workers, whoever is killed."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed")

import lrpilot
import lrpilot.ray
from lrpilot import TaskSpec

# Workers do not find the tests: they are sent what they need of them.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

#: A budget that is learned in a moment: 3 updates of 100 intervals, and a selection of 40.
SMALL = {"environments": 4, "settings": {"learn.candidates": 2, "learn.selection_seeds": 4}}
BUDGET = 340


class Bowl:
    """x²/2 by gradient descent with noise, which diverges above 2; `befall` is called in each interval."""

    spec = TaskSpec(horizon=5, name="bowl", lr_bounds=(1e-3, 4.0))

    def __init__(self, befall=None):
        self.befall = befall

    def reset(self, seed):
        self.seed, self.random = seed, random.Random(seed)
        self.x = self.random.choice([-1.0, 1.0])
        return {"val_loss": self.x**2 / 2, "grad_sq": [[self.x**2]], "weight_norms": [abs(self.x)]}

    def advance(self, hyperparameters):
        if self.befall is not None:
            self.befall(self)
        loss = self.x**2 / 2
        self.x -= hyperparameters.lr * (self.x + 0.1 * self.random.gauss(0, 1))
        return {"val_loss": self.x**2 / 2, "losses": [loss], "weight_norms": [abs(self.x)]}

    def save(self):
        return repr((self.seed, self.x, self.random.getstate())).encode()

    def load(self, state):
        self.seed, self.x, numbers = eval(state)
        self.random = random.Random()
        self.random.setstate(numbers)


class Once:
    """Does something in the first `times` intervals that come by; each leaves a mark in `folder`."""

    def __init__(self, folder, what, times=1):
        self.folder, self.what, self.times = folder, what, times

    def __call__(self, bowl):
        for i in range(self.times):
            try:
                (self.folder / str(i)).mkdir()
            except FileExistsError:
                continue
            self.what()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(600)


@pytest.fixture(scope="module")
def local():
    return learned_here()


def learned_here(**arguments):
    return lrpilot.learn(Bowl, BUDGET, **SMALL, **arguments)


def learned(task, **arguments):
    return lrpilot.ray.learn(task, BUDGET, **{**SMALL, **arguments})


class Trace:
    """Notes which processes train."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, bowl):
        (self.folder / str(os.getpid())).touch()


@pytest.mark.parametrize(("workers", "cpus"), [(1, 4), (2, 2), (4, 1)])
def test_the_bits_of_a_single_process(cluster, local, tmp_path, workers, cpus):
    told = []
    policy = learned(Bowl(Trace(tmp_path)), cpus=cpus, progress=lambda *numbers: told.append(numbers[:2]))
    assert policy == local
    assert told == [(100 * i, BUDGET) for i in (1, 2, 3)]
    trained = {path.name for path in tmp_path.iterdir()}
    assert trained and str(os.getpid()) not in trained
    assert workers > 1 or len(trained) == 1


def test_killed_workers_are_replaced(cluster, local, tmp_path):
    assert learned(Bowl(Once(tmp_path, die, times=2))) == local
    assert len(list(tmp_path.iterdir())) == 2


def test_a_part_past_its_deadline_is_done_again(cluster, local, tmp_path):
    assert learned(Bowl(Once(tmp_path, hang)), deadline=5.0) == local


class Poison:
    """Has every attempt fail that trains the episode with this seed."""

    def __init__(self, folder, seed, how):
        self.tries, self.seed, self.how = folder / "tries", seed, how

    def __call__(self, bowl):
        if bowl.seed == self.seed:
            with open(self.tries, "a") as file:
                file.write("x")
            self.how()


def no_luck():
    raise ValueError("no luck")


@pytest.mark.parametrize(("how", "message"), [(no_luck, "no luck"), (die, "died")])
def test_a_poisonous_part_ends_with_its_error(cluster, tmp_path, how, message):
    seeds = []
    lrpilot.learn(Bowl(lambda bowl: seeds.append(bowl.seed)), BUDGET, **SMALL)
    with pytest.raises(RuntimeError, match=rf"rollout 0 failed 3 times, at last with: .*{message}") as caught:
        learned(Bowl(Poison(tmp_path, seeds[0], how)))
    assert (tmp_path / "tries").read_text() == "xxx"
    assert caught.value.__cause__ is not None


def test_a_killed_driver_goes_on(cluster, local, tmp_path):
    call = f"""
import pathlib, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import lrpilot.ray, ray
import test_ray_learn as here
ray.init(address={ray.get_runtime_context().gcs_address!r}, log_to_driver=False)
def told(done, total, value):
    if done == 200:
        pathlib.Path("told").touch()
        here.hang()
here.learned(here.Bowl, folder="run", progress=told)
"""
    driver = subprocess.Popen([sys.executable, "-c", call], cwd=tmp_path)
    while not (tmp_path / "told").exists():
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # Either goes on, and does not begin anew.
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for learn, folder in ((learned, "run"), (lambda _, **arguments: learned_here(**arguments), "copy")):
        told = []
        policy = learn(Bowl, folder=tmp_path / folder, progress=lambda done, *_, told=told: told.append(done))
        assert policy == local
        assert told[0] > 100


def test_what_cannot_be_shared_out(cluster):
    class Unsaved:
        spec = Bowl.spec
        reset, advance = Bowl.reset, Bowl.advance

    class Vector(Bowl):
        copies = 4

    for task, arguments, message in [
        (Unsaved, {}, r"task: it has no save\(\) and load\(\)"),
        (Vector(), {}, "task: a VectorTask trains its copies in one process"),
        (Bowl, {"deadline": 0}, "deadline: 0 is not above 0"),
        (Bowl, {"cpus": 0}, "cpus: 0 is not above 0"),
        (Bowl, {"environments": 0}, "environments: 0"),
    ]:
        with pytest.raises(lrpilot.ConfigError, match=message):
            learned(task, **arguments)
