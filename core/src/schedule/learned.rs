//! The frozen policy: what was learned, and a small runtime that turns measurements into learning rates.

use crate::control::{Controller, ControllerState};
use crate::explain::{Decided, Explanation};
use crate::{Decision, Error, Hyperparameters, Measurement, Policy, PolicySpec, Result, RunSpec};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a policy comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of lrpilot that made it.
    pub version: String,
    /// Task it was trained on.
    pub task: String,
    /// Seed of the training.
    pub seed: u64,
    /// Training epochs spent, selection included.
    pub epochs: u64,
    /// The whole configuration as TOML.
    pub config: String,
    /// Mean final validation-B loss in selection, where there was one.
    pub selection_loss: Option<f64>,
}

/// A learned policy, frozen: one file, see [`crate::schedule::file`].
///
/// ```
/// use lrpilot_core::control::{Action, Observation, OnDivergence};
/// use lrpilot_core::schedule::Provenance;
/// use lrpilot_core::{Group, Learned, Measurement, OptimizerFamily, Policy, PolicySpec, RunSpec};
/// // A network of one layer that sees the time alone and always takes a fifth of the largest step down.
/// let network = Policy::new(vec![3, 1], vec![0.0, 0.0, 0.0, -0.2], None);
/// let spec = PolicySpec {
///     observation: Observation::StateBlind,
///     action: Action::Multiplicative { step: 0.5 },
///     hyperparameters: Vec::new(),
///     on_divergence: OnDivergence::RollBack { factor: 0.1, reward: -0.2 },
///     initial_lr: None,
///     max_anchor_distance: 0.5,
///     observed_groups: 0,
/// };
/// let run = RunSpec::new(10, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 100)]);
/// let policy = Learned::new(network, spec, run.clone(), Provenance::default())?;
/// let probe = Measurement { weight_norms: vec![2.0], grad_norms: vec![1.0], ..Measurement::default() };
/// let running = policy.start(&run, &probe, None)?;
/// let anchor = 0.02; // 0.01 · ‖w‖/‖g‖
/// assert!((running.hyperparameters().lr - anchor * 10f64.powf(-0.1)).abs() < 1e-9);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Learned {
    policy: Policy,
    spec: PolicySpec,
    learned_on: RunSpec,
    provenance: Provenance,
}

/// A [`Learned`] that has not been checked.
#[derive(Clone, Serialize, Deserialize)]
struct Parts {
    policy: Policy,
    spec: PolicySpec,
    learned_on: RunSpec,
    provenance: Provenance,
}

impl TryFrom<Parts> for Learned {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Learned::new(parts.policy, parts.spec, parts.learned_on, parts.provenance)
    }
}

impl From<Learned> for Parts {
    fn from(learned: Learned) -> Self {
        let Learned { policy, spec, learned_on, provenance } = learned;
        Parts { policy, spec, learned_on, provenance }
    }
}

impl Learned {
    /// Freeze a policy: the network, how it sees and acts, and the run that it learned on (for a distribution of tasks,
    /// one of them).
    ///
    /// # Errors
    /// [`Error::Config`] if the network does not fit observation and action, holds a number that is not finite, or a
    /// value is out of range.
    pub fn new(policy: Policy, spec: PolicySpec, learned_on: RunSpec, provenance: Provenance) -> Result<Self> {
        spec.check()?;
        learned_on.check()?;
        policy.check()?;
        let fits = |have: usize, want: usize, what: &str, remedy: &str| match have == want {
            true => Ok(()),
            false => Err(Error::config("policy", format!("the network {what} {have} numbers, not {want}"), remedy)),
        };
        fits(policy.inputs(), spec.observation_dim(), "takes", "use a policy learned with this observation")?;
        fits(policy.outputs(), spec.action_dim(), "gives", "use a policy learned with these hyperparameters")?;
        Ok(Learned { policy, spec, learned_on, provenance })
    }

    /// Start a run: look at the untrained network (loss and gradient of one batch, no update) and decide on the first
    /// interval's hyperparameters.
    ///
    /// The run starts from `initial_lr`, else from the policy's own initial LR, else from the anchor. A start that is not
    /// finite and positive, or too far from the anchor ([`PolicySpec::max_anchor_distance`]), is replaced by the anchor.
    ///
    /// # Errors
    /// [`Error::Config`] for a run that is out of range, or of another number of parameter groups than a policy that
    /// observes each of them has learned on.
    pub fn start(&self, run: &RunSpec, probe: &Measurement, initial_lr: Option<f64>) -> Result<LearnedRun> {
        run.check()?;
        self.check_groups(run.groups.len())?;
        let mut controller = Controller::new(self.spec.clone(), run.clone());
        let anchor = run.anchor_lr(probe);
        let mut observation = Vec::with_capacity(self.spec.observation_dim());
        let initial = controller.initial_lr(anchor, initial_lr);
        controller.start(probe, initial, anchor, &mut observation);
        let action = vec![0.0; self.spec.action_dim()];
        let hyperparameters = Hyperparameters::lr(controller.lr());
        let (policy, lr_before) = (self.policy.clone(), controller.lr());
        let mut running = LearnedRun { policy, controller, observation, action, hyperparameters, lr_before };
        running.decide();
        Ok(running)
    }

    /// The anchor, if a run told to start from `initial_lr` would start from there instead.
    pub fn start_instead(&self, run: &RunSpec, probe: &Measurement, initial_lr: f64) -> Option<f64> {
        let anchor = run.anchor_lr(probe);
        let start = Controller::new(self.spec.clone(), run.clone()).initial_lr(anchor, Some(initial_lr));
        (start != initial_lr).then_some(anchor)
    }

    /// Whether the policy can see a network with `groups` parameter groups as it saw those it learned on.
    ///
    /// # Errors
    /// [`Error::Config`] for a policy whose observation has one entry per group of another number of groups.
    pub fn check_groups(&self, groups: usize) -> Result<()> {
        let (have, want) = (self.spec.observation.dim(groups), self.spec.observation_dim());
        if have == want {
            return Ok(());
        }
        let message = format!(
            "it was learned on {} parameter groups and observes each of them; this run has {groups}",
            self.spec.observed_groups
        );
        Err(Error::config("policy", message, "learn a policy on this task, or use one with observation = \"rich\""))
    }

    /// Note in the provenance how well the policy did in selection.
    pub fn set_selection_loss(&mut self, loss: f64) {
        self.provenance.selection_loss = Some(loss);
    }

    /// How the policy sees and acts.
    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// The run that it learned on.
    pub fn learned_on(&self) -> &RunSpec {
        &self.learned_on
    }

    /// Where the policy comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The network.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Read a policy file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Data`] if it is not a policy, is newer than this program, or does not fit together.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Learned::from_bytes(&bytes, path)
    }

    /// Write the policy file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        crate::atomic::write_atomic(path, &self.to_bytes()?)
    }
}

/// A frozen policy in a run.
#[derive(Clone, Debug)]
pub struct LearnedRun {
    policy: Policy,
    controller: Controller,
    observation: Vec<f32>,
    action: Vec<f32>,
    hyperparameters: Hyperparameters,
    /// The learning rate that the last action began from.
    lr_before: f64,
}

impl LearnedRun {
    /// Take in the measurement of the finished interval, decide what follows and on the next hyperparameters, which are
    /// always finite and within their bounds, whatever is measured.
    pub fn observe(&mut self, m: &Measurement) -> Decision {
        let decision = self.controller.observe(m, &mut self.observation);
        self.decide();
        decision
    }

    fn decide(&mut self) {
        self.policy.act(&self.observation, &mut self.action);
        self.lr_before = self.controller.lr();
        self.hyperparameters = self.controller.act(&self.action);
    }

    /// What was decided on last.
    pub fn hyperparameters(&self) -> Hyperparameters {
        self.hyperparameters
    }

    /// How the policy sees and acts, in which run, and where it stands.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The last decision; `None` in a run whose state was restored, until the next measurement.
    pub fn decided(&self) -> Option<Decided> {
        let controller = &self.controller;
        (!self.observation.is_empty()).then(|| Decided {
            decision: controller.interval(),
            share: controller.interval() as f64 / controller.run().horizon as f64,
            lr: controller.lr(),
            action: self.action[0],
            change: (controller.lr() / self.lr_before).log10(),
            residual: None,
            observation: self.observation.clone(),
        })
    }

    /// What each input did to the last decision, against the `typical` observation.
    ///
    /// # Errors
    /// [`Error::Config`] if `typical` has another length than an observation, or there is no decision to explain; see
    /// [`LearnedRun::decided`].
    pub fn explain(&self, typical: &[f32]) -> Result<Explanation> {
        let spec = self.controller.policy();
        let decided = self.decided().ok_or_else(Decided::missing)?;
        Explanation::new(&self.policy, &spec.observation.names(spec.observed_groups), &decided, typical)
    }

    pub(super) fn set_state(&mut self, state: ControllerState, hyperparameters: Hyperparameters) {
        self.observation.clear();
        self.controller.set_state(state);
        self.hyperparameters = hyperparameters;
    }
}
