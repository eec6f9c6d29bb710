"""Make ppo_update.json: `python tests/golden/ppo_update.py` (stable-baselines3 2.9, torch 2.15).

One gradient step of PPO on a written-out rollout, for a Gaussian and for a categorical policy. Old log-probabilities are
shifted so that some ratios are clipped.
"""

import json
import pathlib

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

N, DIM = 32, 3


class Nothing(gymnasium.Env):
    """Spaces alone; the rollout is written by hand."""

    def __init__(self, action_space):
        self.observation_space = gymnasium.spaces.Box(-10, 10, (DIM,), np.float32)
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        return np.zeros(DIM, np.float32), {}

    def step(self, action):
        return np.zeros(DIM, np.float32), 0.0, False, False, {}


def flat(*modules):
    return [v for module in modules for p in module for v in p.detach().double().flatten().tolist()]


def case(action_space, clip_range_vf):
    model = PPO(
        "MlpPolicy",
        Nothing(action_space),
        n_steps=N,
        batch_size=N,
        n_epochs=1,
        learning_rate=1e-2,
        ent_coef=0.01,
        clip_range_vf=clip_range_vf,
        seed=3,
        policy_kwargs={"net_arch": [4, 4]},
        device="cpu",
    )
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for p in model.policy.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.5, p.shape).astype(np.float32)))
    discrete = isinstance(action_space, gymnasium.spaces.Discrete)
    observations = rng.normal(size=(N, DIM)).astype(np.float32)
    actions = rng.integers(0, 3, (N, 1)) if discrete else rng.normal(size=(N, 2))
    actions = actions.astype(np.float32)
    with torch.no_grad():
        given = torch.from_numpy(actions).long().flatten() if discrete else torch.from_numpy(actions)
        values, log_probs, _ = model.policy.evaluate_actions(torch.from_numpy(observations), given)
    old_log_probs = log_probs.numpy() + rng.normal(0, 0.25, N).astype(np.float32)
    old_values = values.numpy().flatten() + rng.normal(0, 0.2, N).astype(np.float32)
    advantages = rng.normal(0.3, 1.0, N).astype(np.float32)
    returns = (advantages + old_values).astype(np.float32)
    policy = model.policy
    actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
    critic = [*policy.mlp_extractor.value_net.parameters(), *policy.value_net.parameters()]
    log_std = [] if discrete else [policy.log_std]
    before = {"actor": flat(actor), "critic": flat(critic), "log_std": flat(log_std)}
    buffer = model.rollout_buffer
    buffer.observations[:] = observations[:, None]
    buffer.actions[:] = actions[:, None]
    buffer.log_probs[:] = old_log_probs[:, None]
    buffer.values[:] = old_values[:, None]
    buffer.advantages[:] = advantages[:, None]
    buffer.returns[:] = returns[:, None]
    buffer.full, buffer.pos = True, N
    model._logger = Logger(None, [])
    model._current_progress_remaining = 1.0
    model.train()
    logged = model.logger.name_to_value
    return {
        "discrete": discrete,
        "clip_range_vf": clip_range_vf,
        "observations": observations.flatten().tolist(),
        "actions": actions.flatten().tolist(),
        "log_probs": old_log_probs.tolist(),
        "values": old_values.tolist(),
        "advantages": advantages.tolist(),
        "returns": returns.tolist(),
        "before": before,
        "after": {"actor": flat(actor), "critic": flat(critic), "log_std": flat(log_std)},
        # Left by the step: after clipping by the global norm.
        "gradients": {
            "actor": flat([p.grad for p in actor]),
            "critic": flat([p.grad for p in critic]),
            "log_std": flat([p.grad for p in log_std]),
        },
        "policy_loss": logged["train/policy_gradient_loss"],
        "value_loss": logged["train/value_loss"],
        "entropy": -logged["train/entropy_loss"],
        "approx_kl": float(logged["train/approx_kl"]),
        "clip_fraction": logged["train/clip_fraction"],
    }


box = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
cases = [case(box, None), case(box, 0.1), case(gymnasium.spaces.Discrete(3), None)]
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(cases, default=float) + "\n")
