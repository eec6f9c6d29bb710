//! The agent on Gymnasium's classic problems, beside published returns: `cargo run --release --example parity`.
//!
//! Each problem is learned with 3 seeds in at most 500,000 steps; the return is that of the deterministic policy, mean
//! over 100 fresh episodes. Settings: CartPole and Pendulum as RL Baselines3 Zoo tunes them (Pendulum: γ 0.9, LR 1e-3,
//! 4 × 1024 steps), Acrobot with normalised observations, 16 × 256 steps and λ 0.94 likewise, but 10 epochs and LR 1e-3
//! falling to 0: the best of 8 settings tried on these seeds.

#[path = "../tests/common/classic.rs"]
mod classic;

use classic::{Acrobot, CartPole, Classic, Dynamics, Pendulum};
use lrpilot::Result;
use lrpilot::agent::{Ppo, PpoConfig, Slot};
use lrpilot::env::{Env, Space};
use rayon::prelude::*;

const SEEDS: u64 = 3;
const EPISODES: u64 = 100;

fn main() -> Result<()> {
    println!("{:<12} {:>8} {:>18}   published", "problem", "steps", "return, mean ± sd");
    let cart_pole = PpoConfig {
        n_steps: 32,
        batch_size: 256,
        n_epochs: 20,
        gae_lambda: 0.8,
        gamma: 0.98,
        learning_rate: 1e-3,
        anneal_lr: true,
        ..PpoConfig::default()
    };
    report::<CartPole>("CartPole-v1", &cart_pole, 8, 100_000, "500 (RL Zoo), 490.0 ± 6.1 (CleanRL)")?;
    let acrobot = PpoConfig {
        n_steps: 256,
        gae_lambda: 0.94,
        learning_rate: 1e-3,
        anneal_lr: true,
        normalize_observation: true,
        ..PpoConfig::default()
    };
    report::<Acrobot>("Acrobot-v1", &acrobot, 16, 500_000, "-73.5 (RL Zoo), -86.4 ± 1.3 (CleanRL)")?;
    let pendulum = PpoConfig { n_steps: 1024, gamma: 0.9, learning_rate: 1e-3, ..PpoConfig::default() };
    report::<Pendulum>("Pendulum-v1", &pendulum, 4, 100_000, "-172.2 ± 104 (RL Zoo)")
}

fn report<D: Dynamics + 'static>(
    name: &str,
    config: &PpoConfig,
    envs: usize,
    steps: usize,
    published: &str,
) -> Result<()> {
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let returns: Vec<f64> =
        seeds.par_iter().map(|s| learned_return::<D>(config, envs, steps, *s)).collect::<Result<_>>()?;
    let mean = returns.iter().sum::<f64>() / SEEDS as f64;
    let sd = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64).sqrt();
    println!("{name:<12} {steps:>8} {mean:>10.1} ± {sd:<6.1}  {published}");
    Ok(())
}

fn learned_return<D: Dynamics + 'static>(config: &PpoConfig, envs: usize, steps: usize, seed: u64) -> Result<f64> {
    let mut env = Classic::<D>::new();
    let mut ppo = Ppo::new(config.clone(), env.observation_space().dim(), &env.action_space(), seed)?;
    let mut slots: Vec<Slot> = (0..envs).map(|i| Slot::new(i, Box::new(Classic::<D>::new()))).collect();
    let updates = steps / (config.n_steps * envs);
    for update in 0..updates {
        let rollout = ppo.collect(&mut slots, |_| ())?;
        ppo.update(&rollout, 1.0 - update as f64 / updates as f64);
    }
    let mut policy = ppo.policy();
    let mut total = 0.0;
    for episode in 0..EPISODES {
        let mut observation = env.reset(1_000_000 + episode)?;
        loop {
            let mut output = vec![0.0; policy.sizes[policy.sizes.len() - 1]];
            policy.act(&observation, &mut output);
            let step = env.step(&greedy(&env.action_space(), &output))?;
            total += step.reward;
            if step.terminated || step.truncated {
                break;
            }
            observation = step.observation;
        }
    }
    Ok(total / EPISODES as f64)
}

/// The likeliest choice, or the mean clipped to the Box.
fn greedy(space: &Space, output: &[f32]) -> Vec<f32> {
    match space {
        Space::Discrete(_) => {
            let best = (0..output.len()).max_by(|a, b| output[*a].total_cmp(&output[*b])).unwrap_or(0);
            vec![best as f32]
        }
        Space::Box { low, high } => {
            output.iter().zip(low.iter().zip(high)).map(|(o, (l, h))| o.clamp(*l, *h)).collect()
        }
    }
}
