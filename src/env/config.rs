//! The description of an environment in a TOML table: a formulation, each part of which can be replaced.

use crate::env::reward::Reward;
use crate::task::TaskSpec;
use crate::{Error, Result};
use lrpilot_core::control::{Action, Observation, OnDivergence, check_bounds};
use lrpilot_core::range::{Range, check};
use lrpilot_core::{HyperparameterName, HyperparameterRange, PolicySpec};
use serde::{Deserialize, Serialize};

/// The two named sets of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Formulation {
    /// Exactly the paper's (eq. 1–3, A.1, A.2).
    Paper,
    /// What works.
    #[default]
    Pilot,
}

/// An environment as written in a configuration file.
///
/// | key | `paper` | `pilot` |
/// |---|---|---|
/// | `observation` | `paper` | `rich` |
/// | `action` | `linear` | `multiplicative`, step 0.5 |
/// | `reward` | `paper`, γ = 10, λ = 1 | `log-improvement`, ε = 1e-3 |
/// | `on_divergence` | `terminate` | `roll-back`, factor 0.1, reward −0.2 |
/// | `initial_lr` | `fixed`, 1e-3 | `near-anchor`, 0.7 decades |
/// | `hyperparameters` | none | none; see [`HyperparameterRange`] |
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvConfig {
    /// The set of parts that the other keys change.
    pub formulation: Formulation,
    /// What the agent sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<Reward>,
    /// What follows divergence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_divergence: Option<OnDivergence>,
    /// How episodes draw their first LR. A frozen policy refuses starts outside this range
    /// ([`PolicySpec::max_anchor_distance`]); one trained from a fixed LR starts there by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<InitialLr>,
    /// Further settings of the optimizer that the agent chooses.
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "knobs")]
    pub hyperparameters: Vec<HyperparameterRange>,
}

/// The parts of an environment, complete and checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvParts {
    /// Observation, action, what follows divergence: the part that a frozen policy carries with it.
    pub policy: PolicySpec,
    /// Reward.
    pub reward: Reward,
    /// First LR of an episode.
    pub initial_lr: InitialLr,
}

impl EnvConfig {
    /// The parts for a task.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn parts(&self, spec: &TaskSpec) -> Result<EnvParts> {
        if spec.finds_lr {
            let message = "the line search finds its own step sizes, which leaves an agent nothing to do";
            return Err(Error::config("task.optimizer.type", message, "choose another one, e.g. sgd"));
        }
        let paper = self.formulation == Formulation::Paper;
        let pick = |a, b| if paper { a } else { b };
        let observation = self.observation.unwrap_or(pick(Observation::Paper, Observation::Rich));
        let action =
            self.action.clone().unwrap_or(if paper { Action::Linear {} } else { Action::Multiplicative { step: 0.5 } });
        let reward = self.reward.unwrap_or(if paper {
            Reward::PAPER
        } else {
            Reward::LogImprovement { epsilon: 1e-3, capped: false }
        });
        let roll_back = OnDivergence::RollBack { factor: 0.1, reward: -0.2 };
        let on_divergence = self.on_divergence.unwrap_or(if paper { OnDivergence::Terminate {} } else { roll_back });
        let initial_lr = self.initial_lr.unwrap_or(if paper {
            InitialLr::Fixed { lr: 1e-3 }
        } else {
            InitialLr::NearAnchor { decades: 0.7 }
        });
        reward.check()?;
        initial_lr.check()?;
        self.hyperparameters.iter().try_for_each(|h| accepted(h, spec))?;
        let policy = PolicySpec {
            observation,
            action,
            hyperparameters: self.hyperparameters.clone(),
            on_divergence,
            initial_lr: initial_lr.fixed(),
            max_anchor_distance: initial_lr.distance(),
            observed_groups: if observation == Observation::Paper { spec.groups.len() } else { 0 },
        };
        policy.check()?;
        Ok(EnvParts { policy, reward, initial_lr })
    }
}

/// Whether the task's optimizer has the setting.
fn accepted(range: &HyperparameterRange, spec: &TaskSpec) -> Result<()> {
    let (accepted, name, remedy) = match range.name {
        HyperparameterName::Momentum => (spec.accepts_momentum, "momentum", "give it a momentum, e.g. 0.9"),
        HyperparameterName::WeightDecay => (spec.accepts_weight_decay, "weight decay", "leave this one out"),
    };
    if accepted {
        return Ok(());
    }
    let message = format!("the task's optimizer takes no {name} from outside");
    Err(Error::config("env.hyperparameters", message, remedy))
}

/// How an episode's first learning rate is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InitialLr {
    /// One number.
    Fixed {
        /// > 0, finite.
        lr: f64,
    },
    /// The anchor: see [`lrpilot_core::AnchorRule::lr`].
    Anchor {},
    /// Log-uniform within `decades` on either side of the anchor.
    NearAnchor {
        /// ≥ 0.
        decades: f64,
    },
    /// Log-uniform over a range.
    LogUniform {
        /// > 0.
        min: f64,
        /// > `min`.
        max: f64,
    },
}

/// [`PolicySpec::max_anchor_distance`] of a policy that learned from starts that are not near the anchor.
const ANCHOR_DISTANCE: f64 = 1.5;

impl InitialLr {
    /// How far from the anchor, in decades, a policy may start that learned from these: as far as it has seen, and
    /// [`ANCHOR_DISTANCE`] where that is not said in terms of the anchor.
    fn distance(self) -> f64 {
        match self {
            InitialLr::Anchor {} => 0.0,
            InitialLr::NearAnchor { decades } => decades,
            InitialLr::Fixed { .. } | InitialLr::LogUniform { .. } => ANCHOR_DISTANCE,
        }
    }

    /// The LR that every episode starts from, if it is one.
    fn fixed(self) -> Option<f64> {
        if let InitialLr::Fixed { lr } = self { Some(lr) } else { None }
    }

    fn check(self) -> Result<()> {
        match self {
            InitialLr::Fixed { lr } => check("env.initial_lr.lr", lr, Range::Positive)?,
            InitialLr::Anchor {} => {}
            InitialLr::NearAnchor { decades } => check("env.initial_lr.decades", decades, Range::NotNegative)?,
            InitialLr::LogUniform { min, max } => check_bounds("env.initial_lr", (min, max))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NoisyQuadratic, QuadraticConfig, Task as _};

    /// A policy may be told to start where it learned to, and starts there by itself if that is one LR.
    #[test]
    fn policies_start_where_they_learned_to() {
        let task = NoisyQuadratic::new(QuadraticConfig::default()).unwrap();
        let start = |initial_lr| {
            let policy = EnvConfig { initial_lr, ..EnvConfig::default() }.parts(task.spec()).unwrap().policy;
            (policy.max_anchor_distance, policy.initial_lr)
        };
        assert_eq!(start(None), (0.7, None));
        assert_eq!(start(Some(InitialLr::Anchor {})), (0.0, None));
        assert_eq!(start(Some(InitialLr::LogUniform { min: 1e-3, max: 0.1 })), (1.5, None));
        assert_eq!(start(Some(InitialLr::Fixed { lr: 0.02 })), (1.5, Some(0.02)));
    }
}
