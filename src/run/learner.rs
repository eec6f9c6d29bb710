//! Learn a policy: environments, agent, selection, frozen file.

use crate::agent::{Policy, Ppo, PpoState, RolloutExecutor, Slot, SlotState, UpdateStats};
use crate::env::{Action, Env as _, EnvParts, InitialLr, LrEnv};
use crate::record::{Stage, UpdateRecord};
use crate::rng;
use crate::run::config::RunConfig;
use crate::run::executor::Executor;
use crate::run::job::JobSpec;
use crate::run::stop::StopFlag;
use crate::run::trial::Record;
use crate::task::TaskSource;
use crate::{Error, Result};
use lrpilot_core::control::anchor::start_lr;
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{Learned, Schedule};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// A policy in training, one update at a time; [`learn_in`](crate::learn_in) does the whole with checkpoints.
///
/// ```
/// use lrpilot::agent::LocalPool;
/// use lrpilot::env::Formulation;
/// use lrpilot::run::StopFlag;
/// use lrpilot::task::ConfiguredTask;
/// use lrpilot::{Learner, RunConfig};
/// use std::sync::Arc;
/// let mut config = RunConfig::preset("noisy-quadratic", Formulation::Pilot)?;
/// config.set_budget(1_500);
/// let source = Arc::new(ConfiguredTask::new(&config.task, None)?);
/// let mut learner = Learner::new(config, source)?;
/// while learner.updates_done() < learner.updates_planned() {
///     learner.update(&LocalPool, |_| {})?;
/// }
/// let policy = learner.select(&LocalPool, &StopFlag::new(), |_| {})?;
/// assert!(policy.provenance().selection_loss.is_some());
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub struct Learner {
    config: RunConfig,
    source: Arc<dyn TaskSource>,
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

impl LearnerState {
    /// The agent.
    pub fn agent(&self) -> &PpoState {
        &self.ppo
    }
}

impl Learner {
    /// Set everything up; nothing is trained yet.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range, or a budget too small for one rollout and the selection.
    pub fn new(config: RunConfig, source: Arc<dyn TaskSource>) -> Result<Self> {
        config.check()?;
        let parts = config.env.parts(source.spec())?;
        let slots = (0..config.learn.environments)
            .map(|i| Ok(Slot::new(i, Box::new(LrEnv::new(Arc::clone(&source), parts.clone())?))))
            .collect::<Result<Vec<_>>>()?;
        let space = slots[0].env.action_space();
        let ppo = Ppo::new(config.ppo.clone(), parts.policy.observation_dim(), &space, config.seed)?;
        let learner = Learner { config, source, parts, ppo, slots, env_steps: 0, updates: 0, candidates: Vec::new() };
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

    /// One rollout and one update. `on_epochs(n)` is called from worker threads as intervals are trained.
    ///
    /// # Errors
    /// As the task's.
    pub fn update(&mut self, executor: &dyn RolloutExecutor, on_epochs: impl Fn(u64) + Sync) -> Result<UpdateRecord> {
        let rollout = self.ppo.collect_on(executor, &mut self.slots, on_epochs)?;
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
        let finite: Vec<&Policy> = self.candidates.iter().filter(|p| p.check().is_ok()).collect();
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
        Ok(Learned::new(policy, self.parts.policy.clone(), self.source.spec().run(), provenance)?)
    }

    /// What to tell of episodes that begin elsewhere than at the fixed initial LR that was asked for: at the anchor, where
    /// that is further away than a policy may start. It is told of the first training of the seed.
    ///
    /// # Errors
    /// As the task's.
    pub fn start_elsewhere(&self) -> Result<Option<String>> {
        let (InitialLr::Fixed { lr }, policy) = (self.parts.initial_lr, &self.parts.policy) else { return Ok(None) };
        // The other actions do not go on from the initial LR.
        if !matches!(policy.action, Action::Multiplicative { .. } | Action::Drift { .. }) {
            return Ok(None);
        }
        let mut task = self.source.task(self.config.seed)?;
        let probe = task.reset(self.config.seed)?;
        let (anchor, decades) = (task.spec().run().anchor_lr(&probe), policy.max_anchor_distance);
        Ok((start_lr(lr, anchor, decades) != lr).then(|| {
            format!(
                "env.initial_lr: {lr} is more than {decades} decades from the anchor, {anchor:.2e}; episodes start from the \
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
    pub fn untrained(config: &RunConfig, source: &Arc<dyn TaskSource>) -> Result<Learned> {
        let parts = config.env.parts(source.spec())?;
        let space = LrEnv::new(Arc::clone(source), parts.clone())?.action_space();
        let ppo = Ppo::new(config.ppo.clone(), parts.policy.observation_dim(), &space, config.seed)?;
        Ok(Learned::new(ppo.policy(), parts.policy, source.spec().run(), Provenance::default())?)
    }

    /// Try the candidates on validation B and freeze the best (the latest one, where nothing is set aside for trying). A
    /// candidate that is not finite is never chosen. `on_epochs(n)` is called from worker threads after each trial.
    ///
    /// # Errors
    /// [`Error::Config`] naming the agent's learning rate if no candidate is finite; the task's; [`Error::Interrupted`] if
    /// stopped.
    pub fn select(
        &mut self,
        executor: &dyn Executor,
        stop: &StopFlag,
        on_epochs: impl Fn(u64) + Sync,
    ) -> Result<Learned> {
        let seeds = self.config.learn.selection_seeds;
        let candidates =
            self.finite_candidates()?.into_iter().map(|p| self.freeze(p.clone())).collect::<Result<Vec<_>>>()?;
        if seeds == 0 {
            return candidates.last().cloned().ok_or_else(|| Error::Bug("no policy to select".into()));
        }
        let spec = self.source.spec();
        let chance = spec.chance_loss.unwrap_or(f64::MAX);
        let jobs: Vec<JobSpec> =
            candidates.iter().flat_map(|c| (0..seeds).map(|seed| self.trial_of(c, seed))).collect();
        let losses = Mutex::new(vec![f64::NAN; jobs.len()]);
        executor.trials(&*self.source, &jobs.iter().collect::<Vec<_>>(), stop, &|i, trial| {
            on_epochs(spec.horizon as u64);
            let loss = trial.curve.last().map_or(f64::NAN, |l| l.val_loss_b);
            let counted = if loss.is_finite() { loss } else { 10.0 * chance };
            losses.lock().unwrap_or_else(PoisonError::into_inner)[i] = counted;
            Ok(())
        })?;
        let losses = losses.into_inner().unwrap_or_else(PoisonError::into_inner);
        let score = |c: usize| losses[c * seeds..(c + 1) * seeds].iter().sum::<f64>() / seeds as f64;
        let best = (0..candidates.len())
            .min_by(|a, b| score(*a).total_cmp(&score(*b)))
            .ok_or_else(|| Error::Bug("no policy to select".into()))?;
        let mut chosen = candidates[best].clone();
        chosen.set_selection_loss(score(best));
        Ok(chosen)
    }

    /// The training run number `seed` on which a candidate is tried.
    fn trial_of(&self, candidate: &Learned, seed: usize) -> JobSpec {
        JobSpec {
            task: self.source.identity(),
            stage: Stage::Select,
            name: "candidate".into(),
            schedule: Schedule::learned(candidate.clone()),
            initial_lr: None,
            seed: rng::selection_seed(self.config.seed, seed as u64),
            policy_seed: Some(self.config.seed),
            record: Record::Final,
        }
    }
}
