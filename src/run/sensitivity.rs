//! What a policy looks at: how its output changes with each input, by finite differences over real runs.

use crate::Result;
use crate::agent::Policy;
use crate::env::{Env as _, InitialLr, LrEnv};
use crate::record::Sensitivity;
use crate::rng;
use crate::run::config::RunConfig;
use crate::task::TaskSource;
use lrpilot_core::{HyperparameterName, Learned, PolicySpec};
use std::sync::Arc;

/// Episodes whose observations are used.
const EPISODES: u64 = 3;

/// What the policy sees in a few episodes on the task, one observation a decision.
///
/// # Errors
/// As the task's.
pub fn observations(config: &RunConfig, source: &Arc<dyn TaskSource>, learned: &Learned) -> Result<Vec<Vec<f32>>> {
    let mut parts = config.env.parts(source.spec())?;
    parts.policy = learned.spec().clone();
    parts.initial_lr = InitialLr::Anchor {};
    let mut policy = learned.policy().clone();
    let mut env = LrEnv::new(Arc::clone(source), parts)?;
    let mut observations: Vec<Vec<f32>> = Vec::new();
    for episode in 0..EPISODES {
        let mut observation = env.reset(rng::sensitivity_seed(config.seed, episode))?;
        loop {
            let step = env.step(&output(&mut policy, &observation))?;
            observations.push(observation);
            if step.terminated || step.truncated {
                break;
            }
            observation = step.observation;
        }
    }
    Ok(observations)
}

/// The mean change of each of the policy's outputs when an input rises by one of its standard deviations over the
/// observations, largest first. Where the policy sets more than the learning rate, the feature names the output too:
/// `input → output`.
pub fn sensitivities(learned: &Learned, observations: &[Vec<f32>]) -> Vec<Sensitivity> {
    let mut policy = learned.policy().clone();
    let spec = learned.spec();
    let (inputs, outputs) = (spec.observation.names(spec.observed_groups), output_names(spec));
    let mut all = Vec::with_capacity(inputs.len() * outputs.len());
    for (i, input) in inputs.iter().enumerate() {
        let changes = sensitivity(&mut policy, observations, i);
        all.extend(outputs.iter().zip(changes).map(|(output, sensitivity)| {
            let feature = if outputs.len() == 1 { input.clone() } else { format!("{input} → {output}") };
            Sensitivity { feature, sensitivity }
        }));
    }
    all.sort_by(|a, b| b.sensitivity.abs().total_cmp(&a.sensitivity.abs()));
    all
}

/// What the policy sets, in the order of its outputs.
fn output_names(spec: &PolicySpec) -> Vec<&'static str> {
    let others = spec.hyperparameters.iter().map(|range| match range.name {
        HyperparameterName::Momentum => "momentum",
        HyperparameterName::WeightDecay => "weight decay",
    });
    std::iter::once("LR").chain(others).collect()
}

/// The mean change of each output when input `i` rises by its standard deviation.
fn sensitivity(policy: &mut Policy, observations: &[Vec<f32>], i: usize) -> Vec<f64> {
    let n = observations.len() as f64;
    let mean = observations.iter().map(|o| f64::from(o[i])).sum::<f64>() / n;
    let sd = (observations.iter().map(|o| (f64::from(o[i]) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut changes = |o: &Vec<f32>| {
        let (mut up, mut down) = (o.clone(), o.clone());
        up[i] += sd as f32 / 2.0;
        down[i] -= sd as f32 / 2.0;
        let (up, down) = (output(policy, &up), output(policy, &down));
        up.iter().zip(&down).map(|(up, down)| f64::from(up - down)).collect::<Vec<f64>>()
    };
    let all: Vec<Vec<f64>> = observations.iter().map(&mut changes).collect();
    let outputs = all.first().map_or(0, Vec::len);
    (0..outputs).map(|k| all.iter().map(|changes| changes[k]).sum::<f64>() / n).collect()
}

/// All outputs for one observation: the LR's and one for each further setting.
fn output(policy: &mut Policy, observation: &[f32]) -> Vec<f32> {
    let mut action = vec![0.0; policy.sizes.last().copied().unwrap_or(0)];
    policy.act(observation, &mut action);
    action
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two linear outputs, W = [[2, −1], [0, 3]]: the output k changes by W[k][i] times the standard deviation of the
    /// input i, which is 1 for {0, 2} and 2 for {1, 5}.
    #[test]
    fn each_output_of_a_linear_policy_has_its_weight() {
        let mut policy = Policy::new(vec![2, 2], vec![2.0, -1.0, 0.0, 3.0, 0.5, -0.5], None);
        let observations = [vec![0.0, 1.0], vec![2.0, 5.0]];
        assert_eq!(sensitivity(&mut policy, &observations, 0), [2.0, 0.0]);
        assert_eq!(sensitivity(&mut policy, &observations, 1), [-2.0, 6.0]);
    }
}
