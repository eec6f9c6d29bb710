//! The description of an environment in a TOML table: a formulation, each part of which can be replaced.

use crate::env::keys;
use crate::env::reward::Reward;
use crate::keys::{Allowed, Choice, Key, Variant};
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

impl Formulation {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] =
        &[Choice::new("paper", "exactly the paper's"), Choice::new("pilot", "ours, which learns in fewer epochs")];
}

/// An environment as written in a configuration file. [`EnvConfig::KEYS`] has the ranges, and `lrpilot config` prints
/// them with the parts that the formulation chooses.
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
    /// The keys of `[env]`.
    pub const KEYS: &[Key] = &[
        Key::new(
            "formulation",
            Allowed::Name(Formulation::CHOICES),
            "chooses all other keys of this table, and the defaults of [learn] and [ppo]",
        ),
        Key::new("observation", Allowed::Name(keys::OBSERVATIONS), "what the agent sees"),
        Key::new("action", Allowed::OneOf("type", keys::ACTIONS), "How an action a becomes a learning rate."),
        Key::new("reward", Allowed::OneOf("type", Reward::VARIANTS), "What the agent is paid for an interval."),
        Key::new("on_divergence", Allowed::OneOf("type", keys::ON_DIVERGENCE), "What follows divergence."),
        Key::new(
            "initial_lr",
            Allowed::OneOf("type", InitialLr::VARIANTS),
            "Where training runs start while the policy learns.",
        ),
        Key::optional(
            "hyperparameters",
            Allowed::List(keys::HYPERPARAMETER),
            "further settings of the optimizer that the agent chooses",
            "none",
        ),
    ];

    /// The parts that are in use: the formulation's, where no other is named.
    fn chosen(&self) -> (Observation, Action, Reward, OnDivergence, InitialLr) {
        let (observation, action, reward, on_divergence, initial_lr) = match self.formulation {
            Formulation::Paper => (
                Observation::Paper,
                Action::Linear {},
                Reward::PAPER,
                OnDivergence::Terminate {},
                InitialLr::Fixed { lr: 1e-3 },
            ),
            Formulation::Pilot => (
                Observation::Rich,
                Action::Multiplicative { step: 0.5 },
                Reward::LogImprovement { epsilon: 1e-3, capped: false },
                OnDivergence::RollBack { factor: 0.1, reward: -0.2 },
                InitialLr::NearAnchor { decades: 0.7 },
            ),
        };
        (
            self.observation.unwrap_or(observation),
            self.action.clone().unwrap_or(action),
            self.reward.unwrap_or(reward),
            self.on_divergence.unwrap_or(on_divergence),
            self.initial_lr.unwrap_or(initial_lr),
        )
    }

    /// The same environment with the parts written out that the formulation chooses.
    pub fn complete(&self) -> Self {
        let (observation, action, reward, on_divergence, initial_lr) = self.chosen();
        EnvConfig {
            formulation: self.formulation,
            observation: Some(observation),
            action: Some(action),
            reward: Some(reward),
            on_divergence: Some(on_divergence),
            initial_lr: Some(initial_lr),
            hyperparameters: self.hyperparameters.clone(),
        }
    }

    /// Check what the types do not say and no task is needed for.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let (_, action, reward, on_divergence, initial_lr) = self.chosen();
        action.check()?;
        reward.check()?;
        on_divergence.check()?;
        initial_lr.check()?;
        Ok(self.hyperparameters.iter().try_for_each(HyperparameterRange::check)?)
    }

    /// The parts for a task.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn parts(&self, spec: &TaskSpec) -> Result<EnvParts> {
        if spec.finds_lr {
            let message = "the line search finds its own step sizes, which leaves an agent nothing to do";
            return Err(Error::config("task.optimizer.type", message, "choose another one, e.g. sgd"));
        }
        self.check()?;
        let (observation, action, reward, on_divergence, initial_lr) = self.chosen();
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
    /// The starts with their keys.
    pub const VARIANTS: &[Variant] = &[
        Variant::new(
            "fixed",
            "at one learning rate, where the frozen policy starts too unless it is told another",
            &[Key::new("lr", Allowed::Number(Range::Positive), "the learning rate")],
        ),
        Variant::new("anchor", "at the anchor, which the untrained network says", &[]),
        Variant::new(
            "near-anchor",
            "at random around the anchor",
            &[Key::new("decades", Allowed::Number(Range::NotNegative), "so far on either side")],
        ),
        Variant::new(
            "log-uniform",
            "at random between two learning rates",
            &[
                Key::new("min", Allowed::Number(Range::Positive), "the lower one"),
                Key::new("max", Allowed::Number(Range::Positive), "the higher one"),
            ],
        ),
    ];

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
            InitialLr::LogUniform { min, max } => {
                check("env.initial_lr.min", min, Range::Positive)?;
                check("env.initial_lr.max", max, Range::Positive)?;
                check_bounds("env.initial_lr", (min, max))?;
            }
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
