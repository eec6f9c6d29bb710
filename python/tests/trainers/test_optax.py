"""The learned learning rate for optax."""

import doctest
import math
import pathlib
import pickle
import re
import subprocess
import sys

import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
optax = pytest.importorskip("optax", reason="optax is not installed")

from jax import numpy as jnp

from lrpilot import ConfigError
from lrpilot import optax as module
from lrpilot._policy import PolicyFile
from lrpilot.optax import learned_lr

TOTAL, STEPS = 5, 20
PAGE = pathlib.Path(__file__).parents[3] / "docs" / "guide" / "optax.md"


def data():
    x = jax.random.normal(jax.random.key(0), (64, 4))
    return x, jnp.sin(x.sum(1, keepdims=True))


def network(seed=1):
    keys = jax.random.split(jax.random.key(seed), 2)
    shapes = [(4, 8), (8, 1)]
    return {
        f"layer{i}": {"w": jax.random.normal(key, shape) / shape[0] ** 0.5, "b": jnp.zeros(shape[1])}
        for i, (key, shape) in enumerate(zip(keys, shapes, strict=True))
    }


def loss_of(params, x, y):
    hidden = jnp.tanh(x @ params["layer0"]["w"] + params["layer0"]["b"])
    return jnp.square(hidden @ params["layer1"]["w"] + params["layer1"]["b"] - y).mean()


class Loop:
    """A training loop, under `jit`, that can stop anywhere and go on from its two trees."""

    def __init__(self, optimizer, told=True, total=TOTAL):
        self.optimizer, self.told, self.total = optimizer, told, total
        self.x, self.y = data()
        self.params = network()
        self.state = optimizer.init(self.params)
        self.done, self.rates, self.traces = 0, [], 0
        self.step = jax.jit(self._step)

    def _step(self, params, state, x, y):
        self.traces += 1
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        more = {"value": loss} if self.told else {}
        updates, state = self.optimizer.update(grads, state, params, **more)
        return optax.apply_updates(params, updates), state

    def val_loss(self):
        return loss_of(self.params, self.x[48:], self.y[48:])

    def until(self, end):
        for i in range(self.done, end):
            begin = 12 * (i % 4)
            batch = slice(begin, begin + 12)
            self.params, self.state = self.step(self.params, self.state, self.x[batch], self.y[batch])
            self.rates.append(float(self.state.learning_rate))
            if i % (STEPS // TOTAL) == STEPS // TOTAL - 1:
                self.state = self.optimizer.observe(self.state, self.params, val_loss=self.val_loss())
        self.done = end
        return self


def made(policy, factory=optax.sgd, settings=None, **arguments):
    return learned_lr(factory, TOTAL, STEPS, policy=policy, **arguments)(**(settings or {}))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "adagrad", "adadelta", "lion", "rmsprop"])
def test_a_plain_loop_learns_without_a_learning_rate(policy, name):
    loop = Loop(made(policy, getattr(optax, name)))
    before = loop.val_loss()
    loop.until(STEPS)
    assert loop.val_loss() < before and len(set(loop.rates)) == STEPS and int(loop.state.decisions) == TOTAL
    assert loop.traces == 1, "a decision changes no shape, so nothing is compiled anew"


def test_the_learning_rates_are_those_of_a_run_that_is_told_the_same(policy):
    """With norms and losses that are worked out here."""
    loop = Loop(made(policy, settings={"momentum": 0.5}, batch_size=12, examples=48))
    run, rates = None, []
    for epoch in range(TOTAL):
        losses, grad_sq = [], []
        for i in range(4):
            batch = slice(12 * i, 12 * i + 12)
            loss, grads = jax.value_and_grad(loss_of)(loop.params, loop.x[batch], loop.y[batch])
            losses.append(float(loss))
            grad_sq.append([sum(float(jnp.square(g).sum()) for g in layer.values()) for layer in grads.values()])
            if run is None:
                weights = [sum(float(jnp.square(w).sum()) for w in layer.values()) for layer in loop.params.values()]
                groups = [(n, w**0.5, g**0.5) for n, w, g in zip([40, 9], weights, grad_sq[0], strict=True)]
                told = {"momentum": 0.5, "steps": STEPS, "examples": 48, "batch_size": 12, "train_loss": losses[0]}
                run = PolicyFile.read(policy).load().start(TOTAL, "sgd", groups, **told)
            rates.append(run.lr_at(i))
            loop.until(4 * epoch + i + 1)
        norms = [sum(float(jnp.square(w).sum()) for w in layer.values()) ** 0.5 for layer in loop.params.values()]
        run.observe(4, losses=losses, grad_sq=grad_sq, weight_norms=norms, val_loss=float(loop.val_loss()))
    assert loop.rates == pytest.approx(rates, rel=1e-4)


@pytest.mark.parametrize("at", [0, 1, 4, 6, 13])
def test_a_resumed_run_is_the_uninterrupted_one(policy, at):
    """What is saved is what is saved anyway: the parameters and the state of the optimizer."""
    loop = Loop(made(policy, optax.adam)).until(at)
    saved = pickle.dumps(jax.device_get((loop.params, loop.state)))
    loop.until(STEPS)
    resumed = Loop(made(policy, optax.adam))
    (resumed.params, resumed.state), resumed.done = pickle.loads(saved), at
    resumed.until(STEPS)
    assert resumed.rates == loop.rates[at:]
    same = jax.tree.map(jnp.array_equal, (resumed.params, resumed.state), (loop.params, loop.state))
    assert all(jax.tree.leaves(same))


def test_losses_of_batches_are_seen_if_they_are_told(policy):
    rates = [Loop(made(policy), told=told).until(STEPS).rates for told in (False, True)]
    assert rates[0][0] == pytest.approx(rates[1][0], rel=0.99) and rates[0][4:] != rates[1][4:]


def test_a_second_call_and_one_before_the_first_step_change_nothing(policy):
    loop = Loop(made(policy))
    assert loop.optimizer.observe(loop.state, loop.params, val_loss=1.0) is loop.state
    loop.until(4)
    assert loop.optimizer.observe(loop.state, loop.params, val_loss=9.0) is loop.state


def test_past_the_end_the_learning_rate_is_held(policy):
    loop = Loop(made(policy)).until(STEPS + 9)
    assert set(loop.rates[STEPS:]) == {loop.rates[STEPS - 1]} and int(loop.state.decisions) == TOTAL


def test_it_takes_its_place_in_a_chain_and_around_one(policy):
    def clipped(learning_rate):
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))

    params, (x, y) = network(), data()
    optimizer = optax.chain(made(policy, clipped, family="adam"), optax.add_decayed_weights(0.0))
    state = optimizer.init(params)
    updates, state = optimizer.update(jax.grad(loss_of)(params, x, y), state, params, value=1.0)
    assert float(state[0].learning_rate) > 0.0 and jax.tree.structure(updates) == jax.tree.structure(params)


def test_a_loss_that_is_not_finite_lowers_the_learning_rate(policy):
    loop = Loop(made(policy), told=False).until(7)
    loop.params, loop.state = loop.step(loop.params, loop.state, loop.x, loop.y)
    with pytest.warns(UserWarning, match="diverged"):
        state = loop.optimizer.observe(loop.state, loop.params, val_loss=math.nan)
    assert float(state.rates[0]) < 0.5 * loop.rates[-1]


def test_many_layers_fit(policy):
    params = {f"layer{i}": {"w": jnp.full((2,), 1.0 / (i + 3))} for i in range(200)}
    optimizer = made(policy)
    state, step = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(TOTAL):
        _, state = step(params, state, params, value=1.0)
        shape = state.run.shape
        state = optimizer.observe(state, params, val_loss=0.5)
        assert state.run.shape == shape


def test_wrong_values_are_refused_at_once(policy):
    with pytest.raises(ConfigError, match="total: 0"):
        learned_lr(optax.sgd, 0, 10)
    with pytest.raises(ConfigError, match="learning_rate: the policy sets it; leave it out"):
        learned_lr(optax.sgd, 5, 10)(learning_rate=0.1)
    with pytest.raises(ConfigError, match="initial_lr: 'keep' means nothing"):
        learned_lr(optax.sgd, 5, 10, initial_lr="keep")
    with pytest.raises(ConfigError, match="family: not known for chain; give sgd"):
        learned_lr(optax.chain, 5, 10)
    with pytest.raises(ConfigError, match='family: "sdg"'):
        learned_lr(optax.sgd, 5, 10, family="sdg")()
    optimizer = made(policy)
    with pytest.raises(ConfigError, match="params: not given"):
        optimizer.update(network(), optimizer.init(network()))


def test_pytorch_is_not_needed():
    code = "import sys, lrpilot.optax; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_example_and_the_page():
    assert doctest.testmod(module).failed == 0
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)), {})
