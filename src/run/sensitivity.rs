//! What a policy looks at: how its output changes with each input, by finite differences over real runs.

use crate::Result;
use crate::agent::Policy;
use crate::env::{Env as _, InitialLr, LrEnv};
use crate::report::html::Sensitivity;
use crate::rng::{Purpose, derive_seed};
use crate::run::config::RunConfig;
use crate::task::TaskSource;
use lrpilot_core::Learned;
use std::sync::Arc;

/// Episodes whose observations are used.
const EPISODES: u64 = 3;

/// The mean change of the policy's output when an input rises by one of its standard deviations over a few episodes,
/// largest first.
///
/// # Errors
/// As the task's.
pub fn sensitivities(config: &RunConfig, source: &Arc<dyn TaskSource>, learned: &Learned) -> Result<Vec<Sensitivity>> {
    let mut parts = config.env.parts(source.spec())?;
    parts.policy = learned.spec().clone();
    parts.initial_lr = InitialLr::Anchor {};
    let mut policy = learned.policy().clone();
    let mut env = LrEnv::new(Arc::clone(source), parts)?;
    let mut observations: Vec<Vec<f32>> = Vec::new();
    for episode in 0..EPISODES {
        let mut observation = env.reset(derive_seed(config.seed, Purpose::Episode, 1 << 61 | episode))?;
        loop {
            let step = env.step(&[output(&mut policy, &observation)])?;
            observations.push(observation);
            if step.terminated || step.truncated {
                break;
            }
            observation = step.observation;
        }
    }
    let names = learned.spec().observation.names(learned.spec().observed_groups);
    let mut all: Vec<Sensitivity> = names
        .into_iter()
        .enumerate()
        .map(|(i, feature)| Sensitivity { feature, sensitivity: sensitivity(&mut policy, &observations, i) })
        .collect();
    all.sort_by(|a, b| b.sensitivity.abs().total_cmp(&a.sensitivity.abs()));
    Ok(all)
}

fn sensitivity(policy: &mut Policy, observations: &[Vec<f32>], i: usize) -> f64 {
    let n = observations.len() as f64;
    let mean = observations.iter().map(|o| f64::from(o[i])).sum::<f64>() / n;
    let sd = (observations.iter().map(|o| (f64::from(o[i]) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let change = |o: &Vec<f32>| {
        let (mut up, mut down) = (o.clone(), o.clone());
        up[i] += sd as f32 / 2.0;
        down[i] -= sd as f32 / 2.0;
        f64::from(output(policy, &up) - output(policy, &down))
    };
    observations.iter().map(change).sum::<f64>() / n
}

fn output(policy: &mut Policy, observation: &[f32]) -> f32 {
    let mut action = [0.0];
    policy.act(observation, &mut action);
    action[0]
}
