//! PPO on groups of siblings, with an average of the weights: one update at a time.

use super::config::GeneralistConfig;
use crate::agent::{Ppo, PpoState, RolloutExecutor, Slot, SlotState};
use crate::env::GeneralistEnv;
use crate::record::UpdateRecord;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::generalist::{Generalist, GeneralistSpec};
use lrpilot_core::schedule::Provenance;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A pretrained policy in learning.
pub struct GeneralistLearner {
    config: GeneralistConfig,
    spec: GeneralistSpec,
    name: String,
    ppo: Ppo,
    slots: Vec<Slot>,
    average: Vec<f32>,
    updates: usize,
}

/// Everything that the rest of the learning depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneralistLearnerState {
    ppo: PpoState,
    slots: Vec<SlotState>,
    average: Vec<f32>,
    updates: usize,
}

impl GeneralistLearnerState {
    /// The agent.
    pub fn agent(&self) -> &PpoState {
        &self.ppo
    }
}

impl GeneralistLearner {
    /// Set everything up on the tasks of `source`; `spec` holds the fitted anchor. Nothing is trained yet.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range; the source's own.
    pub fn new(config: GeneralistConfig, spec: GeneralistSpec, source: &Arc<dyn TaskSource>) -> Result<Self> {
        config.check()?;
        let env = || GeneralistEnv::new(Arc::clone(source), spec.clone(), config.masks);
        let slots =
            (0..config.environments()).map(|i| Ok(Slot::new(i, Box::new(env()?)))).collect::<Result<Vec<_>>>()?;
        let (observation, action) = (slots[0].env.observation_space(), slots[0].env.action_space());
        let ppo = Ppo::new(config.ppo.clone(), observation.dim(), &action, config.seed)?;
        let average = ppo.policy().params;
        Ok(GeneralistLearner { name: source.name().to_owned(), config, spec, ppo, slots, average, updates: 0 })
    }

    /// Updates done.
    pub fn updates_done(&self) -> usize {
        self.updates
    }

    /// One rollout and one update. `on_decisions(n)` is called from worker threads.
    ///
    /// # Errors
    /// As the tasks'; [`Error::Config`] if the policy's weights are not finite any more.
    pub fn update(
        &mut self,
        executor: &dyn RolloutExecutor,
        on_decisions: impl Fn(u64) + Sync,
    ) -> Result<UpdateRecord> {
        let rollout = self.ppo.collect_on(executor, &mut self.slots, on_decisions)?;
        let remaining = 1.0 - self.updates as f64 / self.config.learn.updates as f64;
        let stats = self.ppo.update(&rollout, remaining);
        self.updates += 1;
        let kept = self.config.learn.average as f32;
        let params = self.ppo.policy().params;
        if !params.iter().all(|p| p.is_finite()) {
            let message = format!("the policy diverged: its weights are not finite after update {}", self.updates);
            return Err(Error::config("ppo.learning_rate", message, "give a smaller one"));
        }
        self.average.iter_mut().zip(params).for_each(|(a, p)| *a = kept * *a + (1.0 - kept) * p);
        let episodes = &rollout.episodes;
        let n = episodes.len() as f64;
        let mean = |sum: f64| (n > 0.0).then(|| sum / n);
        Ok(UpdateRecord {
            policy_seed: self.config.seed,
            update: self.updates,
            env_steps: self.updates as u64 * self.config.decisions(),
            mean_return: mean(episodes.iter().map(|e| e.episode_return).sum()),
            mean_final_val_loss: mean(episodes.iter().map(|e| e.info.val_loss).sum()).filter(|v| v.is_finite()),
            diverged: episodes.iter().filter(|e| e.info.rolled_back > 0).count(),
            clip_fraction: stats.clip_fraction,
            approx_kl: stats.approx_kl,
            policy_loss: stats.policy_loss,
            value_loss: stats.value_loss,
            explained_variance: stats.explained_variance,
            action_sd: stats.action_sd,
        })
    }

    /// The policy with the averaged weights, frozen.
    ///
    /// # Errors
    /// [`Error::Bug`] if the configuration cannot be written.
    pub fn freeze(&self) -> Result<Generalist> {
        let mut network = self.ppo.policy();
        network.params.clone_from(&self.average);
        let provenance = Provenance {
            version: env!("CARGO_PKG_VERSION").into(),
            task: self.name.clone(),
            seed: self.config.seed,
            epochs: self.updates as u64 * self.config.decisions(),
            config: self.config.to_toml()?,
            selection_loss: None,
        };
        Ok(Generalist::new(network, self.spec.clone(), provenance)?)
    }

    /// Everything the rest of the learning depends on.
    ///
    /// # Errors
    /// If an environment cannot be saved.
    pub fn state(&self) -> Result<GeneralistLearnerState> {
        Ok(GeneralistLearnerState {
            ppo: self.ppo.state(),
            slots: self.slots.iter().map(Slot::save).collect::<Result<_>>()?,
            average: self.average.clone(),
            updates: self.updates,
        })
    }

    /// Go on from a saved state of the same configuration, to the same bits.
    ///
    /// # Errors
    /// [`Error::Bug`] if the state is of another configuration.
    pub fn set_state(&mut self, state: GeneralistLearnerState) -> Result<()> {
        let GeneralistLearnerState { ppo, slots, average, updates } = state;
        if slots.len() != self.slots.len() || average.len() != self.average.len() {
            return Err(Error::Bug("the checkpoint is of another configuration".into()));
        }
        self.ppo.set_state(ppo)?;
        self.slots.iter_mut().zip(&slots).try_for_each(|(slot, saved)| slot.load(saved))?;
        (self.average, self.updates) = (average, updates);
        Ok(())
    }
}
