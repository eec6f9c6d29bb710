//! Learning a policy: the whole loop on a training task, and PPO alone on CartPole.

use crate::classic::{CartPole, Classic};
use crate::pace::{repeat, side_by_side};
use crate::training::random_examples;
use crate::{Line, WARM_UP};
use lrpilot::agent::{Ppo, PpoConfig, Rollout, Slot};
use lrpilot::env::{Env, Formulation, LrEnv};
use lrpilot::nn::Shape;
use lrpilot::run::RunConfig;
use lrpilot::task::data::Splits;
use lrpilot::task::{ConfiguredTask, TaskConfig, TaskSource as _};
use lrpilot::{Error, Result};
use std::sync::Arc;

/// Largest LR that a policy may choose: with the paper's bound of 1 most epochs would be cut short by divergence.
const LARGEST_LEARNED_LR: f64 = 0.02;
/// Environment steps that are collected at a time while the rate of collecting is measured.
const CHUNK: usize = 32;

/// A preset with random data of its size instead of its data set.
pub struct SyntheticPreset {
    config: RunConfig,
    source: Arc<ConfiguredTask>,
    examples: usize,
}

impl SyntheticPreset {
    pub fn new(preset: &str, formulation: Formulation) -> Result<Self> {
        let shape = if preset == "digits" { Shape::image(1, 8, 8) } else { Shape::image(1, 28, 28) };
        let mut config = RunConfig::preset(preset, formulation)?;
        let TaskConfig::Supervised(task) = &mut config.task else {
            return Err(Error::Bug(format!("{preset} is no supervised task")));
        };
        task.lr_bounds.1 = LARGEST_LEARNED_LR;
        let data = &task.data;
        let splits = Splits {
            train: random_examples(shape, data.train_images, 0),
            val_a: random_examples(shape, data.val_a, 1),
            val_b: random_examples(shape, data.val_b, 2),
            test: random_examples(shape, data.test, 3),
        };
        let examples = splits.train.len();
        let source = Arc::new(ConfiguredTask::with_splits(task.clone(), Arc::new(splits))?);
        Ok(SyntheticPreset { config, source, examples })
    }

    pub fn env(&self) -> Result<LrEnv> {
        LrEnv::new(self.source.clone(), self.config.env.parts(self.source.spec())?)
    }
}

/// Environment steps (epochs) per second of the paper's learning loop.
pub fn measure(preset: &str, threads: usize, seconds: f64, line: &mut Line) -> Result<()> {
    let synthetic = SyntheticPreset::new(preset, Formulation::Paper)?;
    let rate = side_by_side(
        threads,
        |seed| {
            let mut learning = Learning::new(&synthetic, seed)?;
            repeat(WARM_UP * seconds, || learning.collect())?;
            Ok(learning)
        },
        |mut learning| learning.rate(seconds),
    )?;
    line.steps_per_s = Some(rate);
    line.epochs_per_s = Some(rate);
    line.images_per_s = Some(rate * synthetic.examples as f64);
    line.parameters = Some(synthetic.source.spec().parameters());
    Ok(())
}

/// A policy being learned. Collecting and updating are timed apart, so that a part of a rollout is enough.
struct Learning {
    /// Collects `CHUNK` steps at a time.
    collector: Ppo,
    /// Updates on a whole rollout.
    learner: Ppo,
    slots: Vec<Slot>,
    rollout: Rollout,
    n_steps: usize,
}

impl Learning {
    fn new(synthetic: &SyntheticPreset, seed: u64) -> Result<Self> {
        let env = synthetic.env()?;
        let config = &synthetic.config.ppo;
        let (observation, space) = (env.observation_space().dim(), env.action_space());
        let chunks = PpoConfig { n_steps: CHUNK, ..config.clone() };
        Ok(Learning {
            collector: Ppo::new(chunks, observation, &space, seed)?,
            learner: Ppo::new(config.clone(), observation, &space, seed)?,
            slots: vec![Slot::new(0, Box::new(env))],
            rollout: Rollout::default(),
            n_steps: config.n_steps,
        })
    }

    fn collect(&mut self) -> Result<f64> {
        self.rollout = self.collector.collect(&mut self.slots, |_| ())?;
        Ok(CHUNK as f64)
    }

    /// Environment steps per second of whole iterations: `n_steps` steps and one update.
    fn rate(&mut self, seconds: f64) -> Result<f64> {
        let collected = repeat(seconds, || self.collect())?;
        let rollout = repeated(&self.rollout, self.n_steps / CHUNK);
        let updated = repeat(seconds / 4.0, || {
            self.learner.update(&rollout, 1.0);
            Ok(self.n_steps as f64)
        })?;
        Ok(1.0 / (1.0 / collected + 1.0 / updated))
    }
}

/// A rollout `times` as long: what an update costs depends on the number of samples alone.
fn repeated(rollout: &Rollout, times: usize) -> Rollout {
    Rollout {
        slots: rollout.slots,
        steps: rollout.steps * times,
        observations: rollout.observations.repeat(times),
        actions: rollout.actions.repeat(times),
        log_probs: rollout.log_probs.repeat(times),
        rewards: rollout.rewards.repeat(times),
        done: rollout.done.repeat(times),
        values: rollout.values.repeat(times),
        last_values: rollout.last_values.clone(),
        advantages: rollout.advantages.repeat(times),
        returns: rollout.returns.repeat(times),
        episodes: Vec::new(),
    }
}

/// Environment steps per second of PPO with Stable-Baselines3's defaults on `envs` copies of CartPole-v1: whole
/// iterations of a rollout and an update.
pub fn cart_pole(envs: usize, threads: usize, seconds: f64) -> Result<f64> {
    let iteration = |ppo: &mut Ppo, slots: &mut [Slot]| {
        let rollout = ppo.collect(slots, |_| ())?;
        ppo.update(&rollout, 1.0);
        Ok((rollout.slots * rollout.steps) as f64)
    };
    side_by_side(
        threads,
        |seed| {
            let env = Classic::<CartPole>::new();
            let space = env.action_space();
            let mut ppo = Ppo::new(PpoConfig::default(), env.observation_space().dim(), &space, seed)?;
            let mut slots: Vec<Slot> = (0..envs).map(|i| Slot::new(i, Box::new(Classic::<CartPole>::new()))).collect();
            repeat(WARM_UP * seconds, || iteration(&mut ppo, &mut slots))?;
            Ok((ppo, slots))
        },
        |(mut ppo, mut slots)| repeat(seconds, || iteration(&mut ppo, &mut slots)),
    )
}
