//! The description of an environment in a TOML table: a formulation, each part of which can be replaced.

use crate::env::control::{Action, Control, InitialLr, control_for};
use crate::env::knobs::KnobRange;
use crate::env::observation::Observation;
use crate::env::reward::{OnDivergence, Reward};
use crate::task::TaskSpec;
use crate::{Error, Result};
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
/// | `knobs` | none | none; see [`KnobRange`] |
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
    /// How an episode's first LR is chosen during learning; the policy later starts from no LR that is further from the
    /// anchor ([`Control::anchor_reach`]), and from a fixed one unless it is told another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_lr: Option<InitialLr>,
    /// Further settings of the optimizer that the agent chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub knobs: Vec<KnobRange>,
}

/// The parts of an environment, complete and checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvParts {
    /// Observation and action.
    pub control: Control,
    /// Reward.
    pub reward: Reward,
    /// What follows divergence.
    pub on_divergence: OnDivergence,
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
        let factor = match on_divergence {
            OnDivergence::RollBack { factor, .. } => factor,
            OnDivergence::Terminate {} => 0.1,
        };
        reward.check()?;
        on_divergence.check()?;
        initial_lr.check()?;
        self.knobs.iter().try_for_each(|k| k.check_task(spec))?;
        let control = control_for(spec, observation, action, initial_lr, factor, self.knobs.clone());
        control.check()?;
        Ok(EnvParts { control, reward, on_divergence, initial_lr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunConfig;

    /// A policy may be told to start where it learned to, and starts there by itself if that is one LR.
    #[test]
    fn policies_start_where_they_learned_to() {
        let start = |initial_lr| {
            let config = RunConfig::preset("noisy-quadratic", Formulation::Pilot).unwrap();
            let spec = crate::run::child::Runner::new(&config.task, None).unwrap().spec().unwrap();
            let control = EnvConfig { initial_lr, ..config.env }.parts(&spec).unwrap().control;
            (control.anchor_reach, control.initial_lr)
        };
        assert_eq!(start(None), (0.7, None));
        assert_eq!(start(Some(InitialLr::Anchor {})), (0.0, None));
        assert_eq!(start(Some(InitialLr::LogUniform { min: 1e-3, max: 0.1 })), (1.5, None));
        assert_eq!(start(Some(InitialLr::Fixed { lr: 0.02 })), (1.5, Some(0.02)));
    }
}
