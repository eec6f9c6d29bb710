"""Environment steps per second of Stable-Baselines3's PPO; spoken to as `worker.py` says.

python learning.py WORK [--threads N] [--compile]

learn-* is the paper's learning loop: each step of the environment trains a network in PyTorch for one epoch with the LR
that the agent chose. ppo-cartpole and ppo-cartpole-8 are PPO alone, with 1 and 8 environments.
"""

import argparse

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO, __version__
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from torch.nn import functional
from training import CLASSES, mlp
from worker import repeat, serve

# As on the other side: with the paper's bound of 1 most epochs would be cut short by divergence.
LR_BOUNDS = (1e-6, 0.02)
GAMMA, LAMBDA = 10.0, 1.0
# Environment steps that are collected at a time while the rate of collecting is measured.
CHUNK = 32
WARM_UP_S = 1.0

# Widths of the network, images for training and validation, batch, epochs in an episode: the presets of lrpilot.
TASKS = {
    "learn-digits": ((64, 32, 32, CLASSES), 1000, 250, 50, 50),
    "learn-mnist-mlp": ((784, 128, CLASSES), 5000, 1000, 64, 20),
}
CART_POLES = {"ppo-cartpole": 1, "ppo-cartpole-8": 8}


class TrainingRun(gymnasium.Env):
    """A training run as the paper's decision process (observation A.1, action A.2, reward eq. 1 and 3)."""

    def __init__(self, task, compiled):
        widths, images, validation, self.batch, self.horizon = task
        self.network = mlp(*widths)
        self.linear = [layer for layer in self.network if isinstance(layer, torch.nn.Linear)]
        self.x, self.y = self.random_images(images, widths[0])
        self.val_x, self.val_y = self.random_images(validation, widths[0])
        self.loss = torch.compile(self.loss_of) if compiled else self.loss_of
        self.parameters = list(self.network.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=LR_BOUNDS[0], momentum=0.9, fused=True)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2 + len(self.linear),), np.float32)
        self.action_space = gymnasium.spaces.Box(*LR_BOUNDS, (1,), np.float32)

    @staticmethod
    def random_images(count, width):
        return torch.rand(count, width) * 2 - 1, torch.randint(CLASSES, (count,))

    def loss_of(self, x, y):
        return functional.cross_entropy(self.network(x), y)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        for layer in self.linear:
            layer.reset_parameters()
        self.optimizer.state.clear()
        self.epoch = 0
        _, norms = self.gradient(self.x[: self.batch], self.y[: self.batch])
        self.best = self.validate()
        return self.observe(self.best, norms[None]), {}

    def step(self, action):
        for group in self.optimizer.param_groups:
            group["lr"] = float(action[0])
        order = torch.randperm(len(self.x))
        losses, norms = [], []
        for x, y in zip(self.x[order].split(self.batch), self.y[order].split(self.batch)):
            loss, norm = self.gradient(x, y)
            self.optimizer.step()
            losses.append(loss)
            norms.append(norm)
        self.epoch += 1
        # Looked at once an epoch: a look at each batch would cost more time.
        finite = bool(torch.stack(losses).isfinite().all())
        val = self.validate()
        if not (finite and np.isfinite(val)):
            reward = -(1000 + 1000 * self.np_random.random())
            return np.zeros(self.observation_space.shape, np.float32), reward, True, False, {}
        reward = GAMMA * (self.best - val) + LAMBDA * (self.horizon - self.epoch)
        self.best = min(self.best, val)
        return self.observe(val, torch.stack(norms)), reward, self.epoch >= self.horizon, False, {}

    def gradient(self, x, y):
        """The loss of a batch and the norm of the gradient of each parameter."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, y)
        loss.backward()
        norms = torch._foreach_norm([p.grad for p in self.parameters])
        return loss.detach(), torch.stack(norms)

    def validate(self):
        with torch.inference_mode():
            return self.loss_of(self.val_x, self.val_y).item()

    def observe(self, val, norms):
        """`norms`: [batches][weight and bias of each layer]."""
        layers = norms.unflatten(1, (-1, 2)).norm(dim=2).mean(dim=0)
        return np.array([val, self.horizon - self.epoch, *layers.tolist()], np.float32)


def with_callback(model):
    _, callback = model._setup_learn(total_timesteps=10**12, callback=None)
    return callback


def cart_pole(work):
    """Whole iterations of a rollout and an update, with the default settings."""
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", CART_POLES[work]), device="cpu")
    callback = with_callback(model)

    def iteration():
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        model.train()
        return model.n_steps * model.n_envs

    repeat(WARM_UP_S, iteration)
    return {}, lambda seconds: repeat(seconds, iteration)


def learning(work, compiled):
    """Collecting and updating are timed apart, so that a part of a rollout is enough."""
    env = TrainingRun(TASKS[work], compiled)
    model = PPO("MlpPolicy", env, learning_rate=1e-3, device="cpu")
    callback = with_callback(model)
    part = RolloutBuffer(
        CHUNK,
        model.observation_space,
        model.action_space,
        device="cpu",
        gamma=model.gamma,
        gae_lambda=model.gae_lambda,
    )

    def collect():
        model.collect_rollouts(model.env, callback, part, CHUNK)
        return CHUNK

    def update():
        model.train()
        return model.n_steps

    def rate(seconds):
        collected = repeat(seconds, collect)
        whole = model.rollout_buffer
        whole.reset()
        for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
            old = getattr(part, name)
            setattr(whole, name, np.tile(old, (model.n_steps // CHUNK,) + (1,) * (old.ndim - 1)))
        whole.pos, whole.full = model.n_steps, True
        updated = repeat(seconds / 4, update)
        return 1 / (1 / collected + 1 / updated)

    repeat(WARM_UP_S, collect)
    return {"parameters": sum(p.numel() for p in env.parameters)}, rate


def prepare(args):
    info, rate = cart_pole(args.work) if args.work in CART_POLES else learning(args.work, args.compile)
    versions = {"stable_baselines3": __version__, "gymnasium": gymnasium.__version__}
    return {**info, **versions}, rate


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=[*TASKS, *CART_POLES])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    serve(arguments.threads, lambda: prepare(arguments))
