//! The frozen pretrained policy, and the same in a run.

use super::{AnchorModel, Base, FEATURES, GeneralistController, GeneralistState, Residual};
use crate::explain::{Decided, Explanation};
use crate::range::{Range, check};
use crate::schedule::Provenance;
use crate::{Decision, Error, Measurement, Policy, Result, RunSpec};
use serde::{Deserialize, Serialize};

/// How a pretrained policy starts, acts and rolls back; everything but its network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneralistSpec {
    /// The anchor.
    pub anchor: AnchorModel,
    /// The base schedule.
    pub base: Base,
    /// How actions move the residual.
    pub residual: Residual,
    /// A learning rate that the user gives is started from if it is at most this many decades from the anchor; ≥ 0.
    pub start_distance: f64,
    /// An interval whose mean training loss is above this many times the first one counts as diverged; > 1.
    pub divergence: f64,
    /// Decades by which the residual falls with a roll-back, > 0.
    pub roll_back_decades: f64,
}

impl GeneralistSpec {
    /// The defaults, with an anchor that no regression has moved.
    pub fn plain() -> Self {
        GeneralistSpec {
            anchor: AnchorModel::plain(),
            base: Base::default(),
            residual: Residual::default(),
            start_distance: 0.5,
            divergence: 2.0,
            roll_back_decades: 1.0,
        }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        self.anchor.check()?;
        self.base.check()?;
        self.residual.check()?;
        check("start_distance", self.start_distance, Range::NotNegative)?;
        check("divergence", self.divergence, Range::Above(1.0))?;
        check("roll_back_decades", self.roll_back_decades, Range::Positive)
    }
}

/// A pretrained policy, frozen: one file, see [`crate::schedule::file`].
///
/// ```
/// use lrpilot_core::generalist::{FEATURES, Generalist, GeneralistSpec};
/// use lrpilot_core::schedule::Provenance;
/// use lrpilot_core::{Group, Measurement, OptimizerFamily, Policy, RunFacts, RunSpec};
/// // A network of one layer that always says 0: the base run.
/// let network = Policy::new(vec![FEATURES.len(), 1], vec![0.0; FEATURES.len() + 1], None);
/// let policy = Generalist::new(network, GeneralistSpec::plain(), Provenance::default())?;
/// let mut run = RunSpec::new(1, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 100)]);
/// run.facts = RunFacts { steps: Some(640), free_intervals: true, ..run.facts };
/// let probe = Measurement { weight_norms: vec![2.0], grad_norms: vec![1.0], ..Measurement::default() };
/// let running = policy.start(&run, &probe, None)?;
/// assert_eq!(running.controller().steps_to_decision(), Some(5), "a 128th of the run");
/// assert!((running.controller().lr_at(0) - 0.1 * 0.02).abs() < 1e-12); // a tenth of 0.01 · ‖w‖/‖g‖
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Generalist {
    policy: Policy,
    spec: GeneralistSpec,
    provenance: Provenance,
}

/// A [`Generalist`] that has not been checked.
#[derive(Clone, Serialize, Deserialize)]
struct Parts {
    policy: Policy,
    spec: GeneralistSpec,
    provenance: Provenance,
}

impl TryFrom<Parts> for Generalist {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Generalist::new(parts.policy, parts.spec, parts.provenance)
    }
}

impl From<Generalist> for Parts {
    fn from(policy: Generalist) -> Self {
        let Generalist { policy, spec, provenance } = policy;
        Parts { policy, spec, provenance }
    }
}

impl Generalist {
    /// Freeze a policy.
    ///
    /// # Errors
    /// [`Error::Config`] if the network does not take [`FEATURES`] and give one action, holds a number that is not finite,
    /// or a value is out of range.
    pub fn new(policy: Policy, spec: GeneralistSpec, provenance: Provenance) -> Result<Self> {
        spec.check()?;
        policy.check()?;
        let (inputs, outputs) = (policy.inputs(), policy.outputs());
        if (inputs, outputs) != (FEATURES.len(), 1) {
            let message =
                format!("the network takes {inputs} numbers and gives {outputs}, not {} and 1", FEATURES.len());
            return Err(Error::config("policy", message, "use a policy that this version of lrpilot made"));
        }
        Ok(Generalist { policy, spec, provenance })
    }

    /// Start a run: look at the untrained network (loss and gradient of one batch, no update) and decide on the first
    /// interval.
    ///
    /// # Errors
    /// [`Error::Config`] for a run that is out of range.
    pub fn start(&self, run: &RunSpec, probe: &Measurement, given: Option<f64>) -> Result<GeneralistRun> {
        run.check()?;
        let mut controller = GeneralistController::new(self.spec.clone(), run.clone());
        let mut observation = Vec::with_capacity(FEATURES.len());
        controller.start(probe, given, &mut observation);
        let (policy, residual_before) = (self.policy.clone(), controller.residual());
        let mut running = GeneralistRun { policy, controller, observation, action: 0.0, residual_before };
        running.decide();
        Ok(running)
    }

    /// The same policy with every action 0: the base run, which needs no network.
    pub fn base_run(&self) -> Self {
        let network = Policy::new(vec![FEATURES.len(), 1], vec![0.0; FEATURES.len() + 1], None);
        Generalist { policy: network, ..self.clone() }
    }

    /// How the policy starts, acts and rolls back.
    pub fn spec(&self) -> &GeneralistSpec {
        &self.spec
    }

    /// The network.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where the policy comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

/// A pretrained policy in a run.
#[derive(Clone, Debug)]
pub struct GeneralistRun {
    policy: Policy,
    controller: GeneralistController,
    observation: Vec<f32>,
    action: f32,
    /// The residual that the last action began from.
    residual_before: f64,
}

impl GeneralistRun {
    /// Take in the measurement of the finished interval, and decide what follows and on the next interval.
    pub fn observe(&mut self, m: &Measurement) -> Decision {
        let decision = self.controller.observe(m, &mut self.observation);
        self.decide();
        decision
    }

    fn decide(&mut self) {
        let mut action = [0.0];
        self.policy.act(&self.observation, &mut action);
        (self.action, self.residual_before) = (action[0], self.controller.residual());
        self.controller.act(action[0]);
    }

    /// Where the run stands.
    pub fn controller(&self) -> &GeneralistController {
        &self.controller
    }

    /// What the policy saw last, in the order of [`FEATURES`].
    pub fn observation(&self) -> &[f32] {
        &self.observation
    }

    /// The last decision; `None` in a run whose state was restored, until the next measurement.
    pub fn decided(&self) -> Option<Decided> {
        let controller = &self.controller;
        (!self.observation.is_empty()).then(|| Decided {
            decision: controller.decision(),
            share: controller.share(),
            lr: controller.lr_at(0),
            action: self.action,
            change: controller.residual() - self.residual_before,
            residual: Some(controller.residual()),
            observation: self.observation.clone(),
        })
    }

    /// What each input did to the last decision, against the `typical` observation.
    ///
    /// # Errors
    /// [`Error::Config`] if `typical` has another length than [`FEATURES`], or there is no decision to explain; see
    /// [`GeneralistRun::decided`].
    pub fn explain(&self, typical: &[f32]) -> Result<Explanation> {
        let decided = self.decided().ok_or_else(Decided::missing)?;
        Explanation::new(&self.policy, &FEATURES, &decided, typical)
    }

    pub(crate) fn set_state(&mut self, state: GeneralistState) {
        self.observation.clear();
        self.controller.set_state(state);
    }
}
