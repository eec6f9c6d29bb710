//! Learn a policy: environments, agent, selection, frozen file.

use crate::agent::{Policy, Ppo, PpoState, Slot, SlotState, UpdateStats};
use crate::env::{Action, Env as _, EnvParts, InitialLr, LrEnv, anchor_lr, start_lr};
use crate::report::record::UpdateRecord;
use crate::rng::{Purpose, derive_seed};
use crate::run::child::{Method, Record, Runner, run_child};
use crate::run::config::RunConfig;
use crate::schedule::learned::check_policy;
use crate::schedule::{Learned, Provenance};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A policy in training.
pub struct Learner {
    config: RunConfig,
    runner: Runner,
    parts: EnvParts,
    ppo: Ppo,
    slots: Vec<Slot>,
    env_steps: u64,
    updates: usize,
    /// The latest snapshots, oldest first, whether or not their numbers are finite.
    candidates: Vec<Policy>,
}

/// Everything that a policy in training depends on, to be saved between updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnerState {
    ppo: PpoState,
    slots: Vec<SlotState>,
    env_steps: u64,
    updates: usize,
    candidates: Vec<Policy>,
}

impl Learner {
    /// Set everything up; nothing is trained yet.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range, or a budget too small for one rollout and the selection.
    pub fn new(config: RunConfig, runner: Runner) -> Result<Self> {
        config.check()?;
        let parts = config.env.parts(&runner.spec()?)?;
        let slots = (0..config.learn.environments)
            .map(|i| Ok(Slot::new(i, Box::new(LrEnv::new(runner.task()?, parts.clone())))))
            .collect::<Result<Vec<_>>>()?;
        let space = slots[0].env.action_space();
        let ppo = Ppo::new(config.ppo.clone(), parts.control.observation_dim(), &space, config.seed)?;
        let learner = Learner { config, runner, parts, ppo, slots, env_steps: 0, updates: 0, candidates: Vec::new() };
        if learner.updates_planned() == 0 {
            let needed = learner.config.rollout_epochs() + learner.config.selection_epochs();
            let message =
                format!("{} epochs are less than one rollout and the selection, {needed}", learner.config.learn.epochs);
            return Err(Error::config(
                "learn.epochs",
                message,
                "give more, or fewer environments, steps or candidates",
            ));
        }
        Ok(learner)
    }

    /// Updates that the budget allows.
    pub fn updates_planned(&self) -> usize {
        self.config.updates()
    }

    /// Updates done.
    pub fn updates_done(&self) -> usize {
        self.updates
    }

    /// One rollout and one update; `taken` is told the epochs of each episode, or part of one, from any thread.
    ///
    /// # Errors
    /// As the task's.
    pub fn update(&mut self, taken: impl Fn(u64) + Sync) -> Result<UpdateRecord> {
        let rollout = self.ppo.collect(&mut self.slots, taken)?;
        let remaining = 1.0 - self.updates as f64 / self.updates_planned() as f64;
        let stats = self.ppo.update(&rollout, remaining);
        self.updates += 1;
        self.env_steps += self.config.rollout_epochs();
        self.candidates.push(self.ppo.policy());
        if self.candidates.len() > self.config.learn.candidates {
            self.candidates.remove(0);
        }
        // What is not finite stays so: nothing can be chosen any more.
        self.finite_candidates()?;
        Ok(self.record(&rollout.episodes, &stats))
    }

    /// The candidates that can be frozen.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    fn finite_candidates(&self) -> Result<Vec<&Policy>> {
        let finite: Vec<&Policy> = self.candidates.iter().filter(|p| check_policy(p).is_ok()).collect();
        if finite.is_empty() {
            let message = format!(
                "the policy diverged: with {}, its parameters are not finite after update {}",
                self.config.ppo.learning_rate, self.updates
            );
            return Err(Error::config("ppo.learning_rate", message, "give a smaller one, e.g. 1e-3"));
        }
        Ok(finite)
    }

    fn freeze(&self, policy: Policy) -> Result<Learned> {
        let config =
            toml::to_string(&self.config).map_err(|e| Error::Bug(format!("a configuration cannot be written: {e}")))?;
        let provenance = Provenance {
            version: env!("CARGO_PKG_VERSION").into(),
            task: self.config.task.name().into(),
            seed: self.config.seed,
            epochs: self.config.learn.epochs,
            config,
            selection_loss: None,
        };
        Learned::new(policy, self.parts.control.clone(), provenance)
    }

    /// What to tell of episodes that begin elsewhere than at the fixed initial LR that was asked for: at the anchor, where
    /// that is further away than a policy may start. It is told of the first training of the seed.
    ///
    /// # Errors
    /// As the task's.
    pub fn start_elsewhere(&self) -> Result<Option<String>> {
        let (InitialLr::Fixed { lr }, control) = (self.parts.initial_lr, &self.parts.control) else { return Ok(None) };
        // The other actions do not go on from the initial LR.
        if !matches!(control.action, Action::Multiplicative { .. } | Action::Drift { .. }) {
            return Ok(None);
        }
        let mut task = self.runner.task()?;
        let probe = task.reset(self.config.seed)?;
        let anchor = anchor_lr(control.anchor, &probe, task.spec().parameters, control.lr_bounds);
        let reach = control.anchor_reach;
        Ok((start_lr(lr, anchor, reach) != lr).then(|| {
            format!(
                "env.initial_lr: {lr} is more than {reach} decades from the anchor, {anchor:.2e}; episodes start from the \
                 anchor instead"
            )
        }))
    }

    /// Everything the rest of the training depends on.
    ///
    /// # Errors
    /// If an environment cannot be saved.
    pub fn state(&self) -> Result<LearnerState> {
        Ok(LearnerState {
            ppo: self.ppo.state(),
            slots: self.slots.iter().map(Slot::save).collect::<Result<_>>()?,
            env_steps: self.env_steps,
            updates: self.updates,
            candidates: self.candidates.clone(),
        })
    }

    /// Go on from a saved state of the same configuration, to the same bits.
    ///
    /// # Errors
    /// [`Error::Bug`] if the state is of another configuration.
    pub fn set_state(&mut self, state: LearnerState) -> Result<()> {
        let LearnerState { ppo, slots, env_steps, updates, candidates } = state;
        if slots.len() != self.slots.len() {
            return Err(Error::Bug("the checkpoint has another number of environments".into()));
        }
        self.ppo.set_state(ppo)?;
        self.slots.iter_mut().zip(&slots).try_for_each(|(slot, saved)| slot.load(saved))?;
        (self.env_steps, self.updates) = (env_steps, updates);
        self.candidates = candidates;
        Ok(())
    }

    fn record(&self, episodes: &[crate::agent::Episode], stats: &UpdateStats) -> UpdateRecord {
        let n = episodes.len() as f64;
        let mean =
            |f: &dyn Fn(&crate::agent::Episode) -> f64| (n > 0.0).then(|| episodes.iter().map(f).sum::<f64>() / n);
        UpdateRecord {
            policy_seed: self.config.seed,
            update: self.updates,
            env_steps: self.env_steps,
            mean_return: mean(&|e| e.episode_return),
            mean_final_val_loss: mean(&|e| e.info.val_loss).filter(|v| v.is_finite()),
            diverged: episodes.iter().filter(|e| e.info.diverged || e.info.rolled_back > 0).count(),
            clip_fraction: stats.clip_fraction,
            approx_kl: stats.approx_kl,
            policy_loss: stats.policy_loss,
            value_loss: stats.value_loss,
            explained_variance: stats.explained_variance,
            action_sd: stats.action_sd,
        }
    }

    /// The policy before any learning: a control of the comparison.
    ///
    /// # Errors
    /// None that a checked configuration can cause.
    pub fn untrained(config: &RunConfig, runner: &Runner) -> Result<Learned> {
        let parts = config.env.parts(&runner.spec()?)?;
        let space = LrEnv::new(runner.task()?, parts.clone()).action_space();
        let ppo = Ppo::new(config.ppo.clone(), parts.control.observation_dim(), &space, config.seed)?;
        Learned::new(ppo.policy(), parts.control, Provenance::default())
    }

    /// Try the candidates on validation B and freeze the best (the latest one, where nothing is set aside for trying);
    /// `tried` is told the epochs of each trial, from any thread. A candidate that is not finite is never chosen.
    ///
    /// # Errors
    /// [`Error::Config`] naming the agent's learning rate if no candidate is finite; the task's.
    pub fn select(&mut self, tried: impl Fn(u64) + Sync) -> Result<Learned> {
        let seeds = self.config.learn.selection_seeds;
        let candidates =
            self.finite_candidates()?.into_iter().map(|p| self.freeze(p.clone())).collect::<Result<Vec<_>>>()?;
        if seeds == 0 {
            return candidates.last().cloned().ok_or_else(|| Error::Bug("no policy to select".into()));
        }
        let chance = self.runner.spec()?.chance_loss.unwrap_or(f64::MAX);
        let jobs: Vec<(usize, usize)> = (0..candidates.len()).flat_map(|c| (0..seeds).map(move |s| (c, s))).collect();
        let losses: Vec<f64> = jobs
            .par_iter()
            .map(|&(candidate, seed)| {
                let method = Method::Learned { policy: Box::new(candidates[candidate].clone()), lr: None };
                let seed = derive_seed(self.config.seed, Purpose::Episode, 1 << 63 | seed as u64);
                let run = run_child(&mut *self.runner.task()?, &method, seed, Record::Final)?;
                tried(self.config.task.horizon() as u64);
                let loss = run.curve.last().map_or(f64::NAN, |l| l.val_loss_b);
                Ok(if loss.is_finite() { loss } else { 10.0 * chance })
            })
            .collect::<Result<_>>()?;
        let score = |c: usize| losses[c * seeds..(c + 1) * seeds].iter().sum::<f64>() / seeds as f64;
        let best = (0..candidates.len())
            .min_by(|a, b| score(*a).total_cmp(&score(*b)))
            .ok_or_else(|| Error::Bug("no policy to select".into()))?;
        let mut chosen = candidates[best].clone();
        chosen.set_selection_loss(score(best));
        Ok(chosen)
    }
}
