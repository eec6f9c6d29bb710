"""The callback for Keras, on the back end that KERAS_BACKEND names: PyTorch where it names none, and JAX as well."""

import doctest
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
numpy = pytest.importorskip("numpy", reason="NumPy is not installed")

from lrpilot import ConfigError
from lrpilot import keras as module
from lrpilot.keras import LearnedLR

EPOCHS = 6
PAGE = pathlib.Path(__file__).parents[3] / "docs" / "guide" / "keras.md"


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


def network(optimizer="sgd", seed=0, width=8):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.layers.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, epochs=EPOCHS, **arguments):
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = numpy.sin(x.sum(1, keepdims=True))
    settings = {"batch_size": 8, "validation_split": 0.25, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), **settings), x, y


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "Lion"])
def test_a_plain_fit_learns_without_a_learning_rate(policy, name):
    model, schedule = network(getattr(keras.optimizers, name)(weight_decay=0.0)), LearnedLR(policy=policy, batch_size=8)
    fitted, _, _ = fit(model, schedule, epochs=12)
    assert fitted.history["val_loss"][-1] < fitted.history["val_loss"][0]
    assert len(schedule.history) == 12 and len(schedule.extract()) == 12 * 6 and len(set(schedule.extract())) > 12
    assert [each["val_loss"] for each in schedule.history] == fitted.history["val_loss"]
    assert "decision 12 of 12, after step 72" in schedule.explain()


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_first_step_of_sgd_tells_the_gradient(policy, nesterov):
    """The start is that of a run that is told the norms: here of a gradient that was worked out from a step by hand."""
    model = network(keras.optimizers.SGD(123.0, momentum=0.5, nesterov=nesterov))
    before = [numpy.array(w, dtype="float64") for w in model.get_weights()]
    schedule = LearnedLR(policy=policy, batch_size=8)
    _, x, y = fit(model, schedule)
    (w1, b1, w2, b2), x, y = before, x[:8].astype("float64"), y[:8]
    hidden = numpy.tanh(x @ w1 + b1)
    out = 2.0 / 8.0 * (hidden @ w2 + b2 - y)
    inner = out @ w2.T * (1.0 - hidden**2)
    gradients = [(x.T @ inner, inner.sum(0)), (hidden.T @ out, out.sum(0))]
    groups = [
        (w.size + b.size, (numpy.sum(w * w) + numpy.sum(b * b)) ** 0.5, sum((g * g).sum() for g in layer) ** 0.5)
        for w, b, layer in zip(before[::2], before[1::2], gradients, strict=True)
    ]
    told = {"momentum": 0.5, "steps": 36, "examples": 48, "batch_size": 8}
    expected = schedule._policy.start(EPOCHS, "sgd", groups, **told)
    rates = schedule.extract()
    assert rates[0] == module.FIRST_LR
    assert rates[1:6] == pytest.approx([expected.lr_at(i) for i in range(1, 6)], rel=2e-3)


def test_the_start_with_adam_needs_weights_alone(policy):
    rates = []
    for given in [1e-9, 1e9]:
        schedule = LearnedLR(policy=policy)
        fit(network(keras.optimizers.Adam(given)), schedule)
        rates.append(schedule.extract())
    assert rates[0] == rates[1]


def test_keep_starts_from_the_optimizers_own(policy):
    rates = []
    for given in [0.01, 0.1]:
        schedule = LearnedLR(policy=policy, initial_lr="keep")
        fit(network(keras.optimizers.SGD(given)), schedule)
        rates.append(schedule.extract()[0])
    assert rates[1] == pytest.approx(10 * rates[0], rel=1e-5)


def test_without_validation_data_it_goes_by_the_training_loss(policy):
    schedule = LearnedLR(policy=policy)
    fitted, _, _ = fit(network(), schedule, validation_split=0.0)
    assert [each["train_loss"] for each in schedule.history] == fitted.history["loss"]
    assert {each["val_loss"] for each in schedule.history} == {None}


def test_a_schedule_as_learning_rate_is_refused(policy):
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100))
    with pytest.raises(ConfigError, match="compile with a number, not with a schedule"):
        fit(network(optimizer), LearnedLR(policy=policy))


def test_wrong_values_are_refused_at_once(policy):
    with pytest.raises(ConfigError, match='family: "sdg"'):
        LearnedLR(policy=policy, family="sdg")
    with pytest.raises(ConfigError, match="initial_lr: -1"):
        LearnedLR(policy=policy, initial_lr=-1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(policy, tmp_path, optimizer):
    def callbacks(name):
        kept = keras.callbacks.BackupAndRestore(str(tmp_path / name))
        return LearnedLR(policy=policy, backup=tmp_path / name / "rate.json"), kept

    whole, killed, resumed = (network(optimizer) for _ in range(3))
    schedule, kept = callbacks("whole")
    fit(whole, schedule, kept)
    with pytest.raises(Killed):
        fit(killed, *callbacks("killed"), Kill(4))
    assert sorted(json.loads((tmp_path / "killed" / "rate.json").read_text())) == ["3", "4"]
    again, kept = callbacks("killed")
    fit(resumed, again, kept)
    assert again.extract() == schedule.extract() and len(again.extract()) == 36
    assert again.history == schedule.history
    assert all(map(numpy.array_equal, resumed.get_weights(), whole.get_weights()))
    assert not (tmp_path / "killed").exists(), "both files are gone"


def test_a_saved_state_goes_on_and_one_that_is_not_known_is_missed(policy):
    whole, half = network("adam"), network("adam")
    schedule, first = LearnedLR(policy=policy), LearnedLR(policy=policy)
    fit(whole, schedule)
    with pytest.raises(Killed):
        fit(half, first, Kill(3))
    state = json.loads(json.dumps(first.state_dict()))
    second = LearnedLR(policy=policy)
    with pytest.raises(ConfigError, match="the state after 3 epochs is not known"):
        fit(half, second, initial_epoch=3)
    second.load_state_dict(state)
    fit(half, second, initial_epoch=3)
    assert second.extract() == schedule.extract() and second.state_dict() == schedule.state_dict()
    with pytest.raises(ConfigError, match="load what LearnedLR saved"):
        second.load_state_dict({})


def test_a_longer_run_and_a_new_one(policy):
    model, schedule = network("adam"), LearnedLR(policy=policy)
    fit(model, schedule, epochs=3)
    fit(model, schedule, epochs=5, initial_epoch=3)
    assert len(schedule.history) == 5 and len(schedule.extract()) == 30
    fit(model, schedule, epochs=2)
    assert len(schedule.history) == 2 and len(schedule.extract()) == 12


def test_the_example_and_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(module).failed == 0
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)), {})


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is that run")
def test_all_of_it_on_jax():
    pytest.importorskip("jax", reason="JAX is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
