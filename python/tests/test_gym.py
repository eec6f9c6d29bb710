"""The environments, as Gymnasium and Stable-Baselines3 see them."""

import signal
import threading
import warnings

import pytest

gymnasium = pytest.importorskip("gymnasium", reason="the environments need Gymnasium")
np = pytest.importorskip("numpy", reason="the environments need NumPy")

import lrpilot
import lrpilot.gym

NAME = "lrpilot/NoisyQuadratic-v0"
SHORT = {"task.horizon": 3}


def returns(choose, episodes=10):
    """Mean return over fresh seeds of a function from observations to actions."""
    env, total = gymnasium.make(NAME), 0.0
    for seed in range(1_000_000, 1_000_000 + episodes):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, ended, _, _ = env.step(choose(observation))
            total += reward
    return total / episodes


def test_each_preset_has_an_id():
    ids = {name for name in gymnasium.registry if name.startswith("lrpilot/")}
    names = ["NoisyQuadratic", "Digits", "DigitsClean", "MnistMlp", "MnistCnn"]
    assert ids == {f"lrpilot/{name}-v0" for name in names}


@pytest.mark.parametrize("name", [NAME, "lrpilot/Digits-v0"])
def test_gymnasium_has_nothing_to_say(name):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name, settings=SHORT).unwrapped)


@pytest.mark.parametrize("name", [NAME, "lrpilot/Digits-v0"])
def test_stable_baselines_has_nothing_to_say(name):
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="Stable-Baselines3 is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gymnasium.make(name, settings=SHORT).unwrapped)


def test_ppo_of_stable_baselines_learns():
    """A constant learning rate, the anchor's, returns 2.29; three seeds of PPO reach 4.8 or more in 6,000 steps."""
    sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")
    constant = returns(lambda _: np.zeros(1, np.float32))
    settings = {"n_steps": 600, "batch_size": 100, "learning_rate": 1e-3, "gamma": 1.0}
    model = sb3.PPO("MlpPolicy", gymnasium.make(NAME), seed=0, device="cpu", **settings).learn(3_000)
    learned = returns(lambda observation: model.predict(observation, deterministic=True)[0])
    assert constant < 2.5 and learned > 3.5


def test_a_vector_environment_is_that_many_single_ones():
    """Bit for bit, over episodes that end and begin anew."""
    envs = gymnasium.make_vec(NAME, num_envs=3, settings=SHORT)
    singles = [gymnasium.make(NAME, settings=SHORT) for _ in range(3)]
    observations, _ = envs.reset(seed=7)
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(single.reset(seed=7 + i)[0], observations[i])
    ended = [False] * 3
    for actions in np.random.default_rng(0).uniform(-1, 1, (9, 3, 1)).astype(np.float32):
        seen, rewards, terminations, truncations, infos = envs.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                step = (*single.reset(), 0.0, False, False)
                observation, reward, ended[i] = step[0], 0.0, False
            else:
                observation, reward, ended[i], _, info = single.step(actions[i])
                assert infos["_lr"][i] and infos["lr"][i] == info["lr"]
            np.testing.assert_array_equal(seen[i], observation)
            assert (rewards[i], terminations[i], truncations[i]) == (reward, ended[i], False)
    envs.step(envs.action_space.sample())
    assert seen.shape == envs.observation_space.shape and seen in envs.observation_space


def test_seeds_that_are_not_given_are_drawn():
    env = gymnasium.make(NAME)
    first = env.reset(seed=1)[0]
    second = env.reset()[0]
    env.reset(seed=1)
    assert (first != second).any()
    np.testing.assert_array_equal(env.reset()[0], second)
    envs = gymnasium.make_vec(NAME, num_envs=2)
    known, _ = envs.reset(seed=[1, None])
    np.testing.assert_array_equal(known[0], first)
    assert (known[0] != known[1]).any()


def test_settings_and_formulations():
    env = gymnasium.make(NAME, settings={"env.observation": "state-blind", "task.horizon": 2})
    assert env.observation_space.shape == (3,)
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[2] for _ in range(2)] == [False, True]
    paper = gymnasium.make(NAME, formulation="paper").unwrapped
    assert np.isinf(paper.observation_space.high).all() and paper.action_space.low == np.float32(1e-6)


def test_errors_name_place_value_and_remedy(monkeypatch):
    monkeypatch.delenv("LRPILOT_DATA", raising=False)
    env = lrpilot.gym.LearningRateEnv(settings=SHORT)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\)"):
        env.step(np.zeros(1, np.float32))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\)"):
        lrpilot.gym.LearningRateVectorEnv(2).step(np.zeros((2, 1), np.float32))
    env.reset(seed=0)
    for action in [np.array([np.nan]), np.zeros(2)]:
        with pytest.raises(lrpilot.ConfigError, match="action: array.*give 1 finite numbers for each of 1 env"):
            env.step(action)
    for arguments, message in [
        ({"task": "digit"}, "`digit` is neither a task nor a file; tasks: digits"),
        ({"formulation": "ours"}, 'formulation: "ours"; give pilot or paper'),
        ({"settings": {"task.horizn": 3}}, "settings, task: unknown key `horizn`; did you mean"),
        ({"settings": {"task.horizon": 0}}, "task.horizon: 0"),
        ({"task": "mnist-mlp"}, "needs a data folder; name the folder"),
        ({"task": "mnist-mlp", "data": "/nowhere"}, "/nowhere"),
    ]:
        with pytest.raises((lrpilot.ConfigError, lrpilot.DataError, OSError), match=message):
            lrpilot.gym.LearningRateEnv(**arguments)
    for count in [0, -1, 2.5, "x"]:
        with pytest.raises(lrpilot.ConfigError, match=f"num_envs: {count!r} is not an integer of at least 1"):
            lrpilot.gym.LearningRateVectorEnv(count)
    with pytest.raises(lrpilot.ConfigError, match="action: 'x'; give 1 finite numbers"):
        env.step("x")
    with pytest.raises(lrpilot.ConfigError, match="seed: 3 seeds for 2 environments"):
        lrpilot.gym.LearningRateVectorEnv(2).reset(seed=[1, 2, 3])


@pytest.mark.usefixtures("control_c")
def test_a_long_step_is_interrupted_and_lets_other_threads_run():
    """All environments would take minutes; the timer runs in another thread of Python meanwhile."""
    settings = {"task.interval_steps": 300_000, "task.horizon": 2}
    slow = lrpilot.gym.LearningRateVectorEnv(2_000, settings=settings)
    slow.reset(seed=0)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        slow.step(np.zeros((2_000, 1), np.float32))
    timer.join()
    assert slow._ended.all()
