"""Learning on tasks that are written in Python."""

import random
import signal
import traceback

import pytest
import torch

import lrpilot
from lrpilot import Hyperparameters, TaskSpec
from lrpilot._native import Policy
from lrpilot.torch import LearnedLR, TorchTask, VectorTorchTask

#: A budget that is learned in a moment: 9 updates of 100 intervals, and a selection of 40.
SMALL = {"learn.candidates": 2, "learn.selection_seeds": 4}
BUDGET = 940


class Bowl:
    """x²/2 by gradient descent with noise: 0.3 is about the best first learning rate, 2 diverges."""

    spec = TaskSpec(horizon=5, name="bowl", lr_bounds=(1e-3, 4.0))

    def reset(self, seed):
        self.random = random.Random(seed)
        self.x = self.random.choice([-1.0, 1.0])
        return {"val_loss": self.x**2 / 2, "grad_sq": [[self.x**2]], "weight_norms": [abs(self.x)]}

    def advance(self, hyperparameters):
        loss = self.x**2 / 2
        self.x -= hyperparameters.lr * (self.x + 0.1 * self.random.gauss(0, 1))
        return {"val_loss": self.x**2 / 2, "losses": [loss], "weight_norms": [abs(self.x)]}


class SavedBowl(Bowl):
    def save(self):
        return repr((self.x, self.random.getstate())).encode()

    def load(self, state):
        self.x, numbers = eval(state)
        self.random = random.Random()
        self.random.setstate(numbers)


class Bowls:
    """The same as one object."""

    def __init__(self, copies):
        self.each = [SavedBowl() for _ in range(copies)]
        self.spec, self.copies, self.together = Bowl.spec, copies, []

    def reset(self, seeds):
        return [None if seed is None else bowl.reset(seed) for bowl, seed in zip(self.each, seeds, strict=True)]

    def advance(self, hyperparameters):
        self.together.append(sum(h is not None for h in hyperparameters))
        return [None if h is None else bowl.advance(h) for bowl, h in zip(self.each, hyperparameters, strict=True)]

    def save(self, copy):
        return self.each[copy].save()

    def load(self, copy, state):
        self.each[copy].load(state)


def learned(task, budget=BUDGET, **arguments):
    return lrpilot.learn(task, budget, **{"environments": 4, "settings": SMALL, **arguments})


def test_the_same_seed_gives_the_same_policy_and_learning_helps():
    """The expected loss of the best constant learning rate from here, 0.3 to 0.5, is about 0.003; of 0.01, 0.45."""
    told = []
    policy = learned(SavedBowl, progress=lambda *numbers: told.append(numbers))
    assert learned(SavedBowl()).data == policy.data, "copies of an object, or what makes one"
    assert learned(SavedBowl, seed=1).data != policy.data
    assert [done for done, total, _ in told if total == BUDGET] == [100 * i for i in range(1, 10)]
    assert told[-1][2] > told[0][2]
    assert learned(SavedBowl, 4_040).selection_loss < 0.02


def test_global_random_numbers_come_in_a_fixed_order():
    class Global(Bowl):
        def reset(self, seed):
            random.seed(seed)
            return {"val_loss": random.random()}

        def advance(self, hyperparameters):
            return {"val_loss": random.random()}

    with pytest.warns(UserWarning):
        assert learned(Global).data == learned(Global).data


def test_copies_that_are_trained_together_learn_the_same():
    bowls = Bowls(4)
    assert learned(bowls, environments=None).data == learned(SavedBowl).data
    assert set(bowls.together) == {4}, "all at once, in the rollouts and in the selection"
    with pytest.raises(lrpilot.ConfigError, match="environments: 3, but the task has 4 copies; leave it out"):
        learned(bowls, environments=3)


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    class Enough(Exception):
        pass

    def stop(done, total, mean_return):
        if done >= 300:
            raise Enough

    with pytest.raises(Enough):
        learned(SavedBowl, folder=tmp_path, progress=stop)
    assert not (tmp_path / "policy.safetensors").exists()
    policy = learned(SavedBowl, folder=tmp_path)
    assert policy.data == learned(SavedBowl).data == (tmp_path / "policy.safetensors").read_bytes()
    with pytest.raises(lrpilot.ConfigError, match="config.toml|policy.safetensors"):
        learned(SavedBowl, folder=tmp_path, seed=1)


def test_what_a_task_raises_comes_out_with_its_traceback():
    class Broken(SavedBowl):
        def advance(self, hyperparameters):
            return {"val_loss": 1 / 0}

    with pytest.raises(ZeroDivisionError) as raised:
        learned(Broken)
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert frames[-1].name == "advance" and frames[-1].line == 'return {"val_loss": 1 / 0}'


@pytest.mark.usefixtures("control_c")
def test_control_c_ends_it():
    class Pressed(SavedBowl):
        calls = 0

        def advance(self, hyperparameters):
            Pressed.calls += 1
            if Pressed.calls == 50:
                signal.raise_signal(signal.SIGINT)
            return super().advance(hyperparameters)

    with pytest.raises(KeyboardInterrupt):
        learned(Pressed)
    assert Pressed.calls == 50


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (None, r"bowl.advance: it returned .*NoneType.*; return a dictionary"),
        ({}, "bowl.advance: there is no loss; give val_loss"),
        ({"loss": 1.0}, 'bowl.advance: unknown key "loss"; see lrpilot.Measurement'),
        ({"val_loss": "low"}, "bowl.advance: val_loss: .*; see lrpilot.Measurement"),
        ({"val_loss": 1.0, "weight_norms": [1.0, 2.0]}, "norms of 2 groups, but the task has 1; give one for each"),
    ],
)
def test_measurements_that_cannot_be_read(measurement, message):
    class Wrong(SavedBowl):
        def advance(self, hyperparameters):
            return measurement

    with pytest.raises(lrpilot.ConfigError, match=message):
        learned(Wrong)


def test_values_out_of_their_range(tmp_path):
    fixed = {"env.initial_lr.type": "fixed", "env.initial_lr.lr": 0.1, **SMALL}

    def with_spec(**facts):
        return type("Other", (SavedBowl,), {"spec": TaskSpec(**{"horizon": 5, **facts})})

    for task, arguments, message in [
        (with_spec(horizon=0), {}, "spec.horizon: 0"),
        (with_spec(optimizer="sdg"), {}, 'family: "sdg"; give sgd'),
        (with_spec(lr_bounds=(1.0, 0.1)), {}, r"spec.lr_bounds: \[1, 0.1\]"),
        (with_spec(groups=()), {}, "spec.groups: number of groups: 0"),
        (SavedBowl, {"budget": 10}, "learn.epochs: 10 epochs are less than one rollout"),
        (SavedBowl, {"environments": 0}, "environments: 0 is not an integer of at least 1"),
        (SavedBowl, {"settings": {"learn.environments": 3}}, "learn.environments: 3 in settings; give environments="),
        (SavedBowl, {"folder": tmp_path, "settings": fixed}, "env.initial_lr: copy 4 of 4 .*leave out a fixed one"),
        (3, {}, "task: 3; give an object with reset and advance"),
    ]:
        with pytest.raises(lrpilot.ConfigError, match=message):
            learned(task, **arguments)


def test_a_task_that_cannot_be_saved(tmp_path):
    with pytest.warns(UserWarning, match=r"no save\(\) and load\(\): where it diverges, its weights stay"):
        policy = learned(Bowl)
    assert policy.data == learned(SavedBowl).data, "nothing diverges here"
    with pytest.raises(lrpilot.ConfigError, match=r"folder: the task has no save\(\) and load\(\)"):
        learned(Bowl, folder=tmp_path)
    half = type("Half", (Bowl,), {"save": SavedBowl.save})
    with pytest.raises(lrpilot.ConfigError, match=r"task: it has save\(\) alone"):
        learned(half)


def test_an_interval_that_diverged_is_rolled_back():
    class Diverging(SavedBowl):
        put_back = 0

        def advance(self, hyperparameters):
            self.before = self.x
            told = super().advance(hyperparameters)
            return {**told, "diverged": True} if self.random.random() < 0.2 else told

        def load(self, state):
            super().load(state)
            Diverging.put_back += self.x == self.before

    learned(Diverging)
    assert Diverging.put_back > 50


def test_a_policy_at_work(tmp_path):
    """It is saved, and LearnedLR reads it."""
    policy = learned(SavedBowl)
    policy.save(tmp_path / "policy.safetensors")
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight])
    schedule = LearnedLR(optimizer, policy=tmp_path / "policy.safetensors", total=5, bounds=Bowl.spec.lr_bounds)
    for _ in range(5):
        optimizer.zero_grad()
        loss = weight.square().sum() / 2
        loss.backward()
        schedule.observe(loss)
        optimizer.step()
        schedule.step(weight.detach().square().sum() / 2)
    assert weight.abs() < 0.5


# PyTorch.


def made():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def data():
    x = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    return x, x.sum(1, keepdim=True).sin()


SIZES = {"batch_size": 16, "interval_steps": 8, "horizon": 4}


def sgd(parameters):
    return torch.optim.SGD(parameters, momentum=0.9)


def torch_task(optimizer=sgd, **arguments):
    return TorchTask(made, data(), torch.nn.functional.mse_loss, optimizer, **{**SIZES, **arguments})


def vector_task(optimizer=sgd, model=made, **arguments):
    return VectorTorchTask(
        model, data(), torch.nn.functional.mse_loss, optimizer, **{**SIZES, "copies": 3, **arguments}
    )


@pytest.fixture(scope="module")
def torch_policy():
    return learned(vector_task(), 300, environments=None, settings={"ppo.n_steps": 20, **SMALL}).data


def test_a_module_is_learned_and_resumed(tmp_path, torch_policy):
    """As one task after another, a policy comes out that is as good as that of stacked copies, to rounding."""
    short = {"environments": 3, "settings": {"ppo.n_steps": 20, **SMALL}}
    policy = learned(torch_task(), 300, folder=tmp_path, **short)
    assert policy.data == learned(torch_task(), 300, folder=tmp_path, **short).data
    stacked = learned(vector_task(), 300, environments=None, settings=short["settings"])
    assert stacked.data == torch_policy
    assert policy.selection_loss == pytest.approx(stacked.selection_loss, rel=0.05)


def test_a_saved_module_goes_on_to_the_same_bits():
    task, other = torch_task(torch.optim.Adam), torch_task(torch.optim.Adam)
    task.reset(5)
    task.advance(Hyperparameters(0.01))
    state = task.save()
    want = task.advance(Hyperparameters(0.02))
    task.advance(Hyperparameters(0.5))
    for each in (task, other):
        each.load(state)
        assert each.advance(Hyperparameters(0.02)) == want
    assert task.evaluate() == other.evaluate()


def test_what_a_policy_saw_when_it_was_learned_it_sees_at_work(torch_policy, tmp_path):
    """The rates of a loop with LearnedLR are those that follow from the task's own measurements."""
    task, rates = torch_task(), []
    probe = task.reset(3)
    groups = [(size, w, sq**0.5) for size, w, sq in zip(task.spec.groups, probe["weight_norms"], probe["grad_sq"][0])]
    facts = {"steps": 32, "examples": task.spec.examples, "batch_size": 16}
    told = {"train_loss": probe["losses"][0], "val_loss": probe["val_loss"]}
    run = Policy(torch_policy, "here").start(4, "sgd", groups, momentum=0.9, **facts, **told)
    for _ in range(4):
        rates.append(run.lr_at(0))
        run.observe(8, **task.advance(Hyperparameters(rates[-1])))

    (tmp_path / "policy").write_bytes(torch_policy)
    loop = torch_task()
    loop.reset(3)
    optimizer, problem = loop._optimizer, loop._problem
    schedule = LearnedLR(optimizer, 4, total_steps=32, policy=tmp_path / "policy", examples=96, batch_size=16)
    schedule.step(loop._loss_on(problem.val))
    for interval in range(4):
        for batch in problem.batches(3, 8 * interval, 8):
            schedule.observe(loop._gradient(batch))
            optimizer.step()
        schedule.step(loop._loss_on(problem.val))
    assert schedule.extract()[::8] == pytest.approx(rates, rel=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        sgd,
        lambda p: torch.optim.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch.optim.Adam,
        lambda p: torch.optim.Adam(p, weight_decay=0.01),
        lambda p: torch.optim.AdamW(p, weight_decay=0.1),
    ],
)
def test_stacked_copies_are_single_runs(optimizer):
    """To rounding, for copies with rates of their own, of which one begins late and one is put back."""
    stacked, single = vector_task(optimizer), torch_task(optimizer)
    rates = [Hyperparameters(lr) for lr in (0.003, 0.01, 0.03)]
    seen = [[probe] for probe in stacked.reset([5, 6, 7])]
    for interval in range(4):
        if interval == 2:
            state = stacked.save(0)
            stacked.advance([Hyperparameters(0.5), None, None])
            stacked.load(0, state)
            seen[1] = [stacked.reset([None, 9, None])[1]]
        for runs, measured in zip(seen, stacked.advance(rates)):
            runs.append(measured)
    for copy, (seed, runs) in enumerate(zip([5, 9, 7], seen)):
        want = [single.reset(seed), *(single.advance(rates[copy]) for _ in runs[1:])]
        for got, expected in zip(runs, want, strict=True):
            assert got.keys() == expected.keys()
            for name in got:
                torch.testing.assert_close(
                    torch.tensor(got[name]), torch.tensor(expected[name]), rtol=1e-4, atol=1e-6, msg=name
                )
        assert stacked.evaluate(copy) == pytest.approx(single.evaluate(), rel=1e-4)


def test_modules_that_are_no_tasks():
    norm = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.BatchNorm1d(1))
    for make, message in [
        (lambda: vector_task(model=lambda: norm), "model_fn: the model has the buffers 1.running_mean.*; use TorchTask"),
        (lambda: vector_task(torch.optim.RMSprop), "optimizer: RMSprop; give SGD, Adam or AdamW with one group"),
        (lambda: vector_task(lambda p: torch.optim.Adam(p, amsgrad=True)), "optimizer: Adam, amsgrad; give"),
        (lambda: vector_task(copies=0), "copies: 0 is not an integer of at least 1"),
        (lambda: torch_task(batch_size=97), "batch_size: 97 of 96 training examples; give 1 to 96"),
        (lambda: torch_task(held_back=0.0), "held_back: 0.0 of 120 examples; leave some"),
        (lambda: torch_task(torch.optim.LBFGS), "optimizer: LBFGS"),
    ]:
        with pytest.raises(lrpilot.ConfigError, match=message):
            make()
