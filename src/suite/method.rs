//! What is measured on the suite: families of schedules, optimizers that need no learning rate, policies, replays.

use crate::nn::OptimizerSpec;
use crate::store::identity::sha256_hex;
use crate::task::TaskSpec;
use crate::{Error, Result};
use lrpilot_core::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau};
use lrpilot_core::{Learned, Measurement, Policy, Schedule};
use serde::{Deserialize, Serialize};

/// A schedule with one number to be tuned, its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The learning rate, always.
    Constant,
    /// Half a cosine to 0 over the steps of the run.
    Cosine,
    /// PyTorch's `OneCycleLR` over the steps of the run. Momentum, where the optimizer has one, is set once an interval.
    OneCycle,
    /// PyTorch's `ReduceLROnPlateau` with its defaults, on validation A after each interval.
    Plateau,
    /// `GreedyLR` of transformers with its defaults, on validation A after each interval.
    Greedy,
    /// A straight line to 0 over the steps of the run.
    Linear,
    /// The learning rate, then a straight line to 0 over the last fifth of the steps.
    HoldDecay,
}

impl Family {
    /// All families; the first five are those of every comparison here.
    pub const ALL: [Family; 7] = [
        Family::Constant,
        Family::Cosine,
        Family::OneCycle,
        Family::Plateau,
        Family::Greedy,
        Family::Linear,
        Family::HoldDecay,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Family::Constant => "constant",
            Family::Cosine => "cosine",
            Family::OneCycle => "one-cycle",
            Family::Plateau => "plateau",
            Family::Greedy => "greedy",
            Family::Linear => "linear",
            Family::HoldDecay => "hold-decay",
        }
    }

    /// The family at work with the learning rate `lr` (of one-cycle the largest) in a run of `steps`.
    pub fn drive(self, lr: f64, steps: u64) -> Drive {
        let steps = steps as usize;
        let per_step = |schedule| Drive::PerStep { schedule, lr };
        let metric = |schedule| Drive::Schedule(Schedule::Metric { schedule, lr });
        match self {
            Family::Constant => per_step(OpenLoop::Constant {}),
            Family::Cosine => per_step(OpenLoop::cosine(steps)),
            Family::OneCycle => per_step(OpenLoop::one_cycle(steps.max(2))),
            Family::Linear => per_step(OpenLoop::Linear { start_factor: 1.0, end_factor: 0.0, total_iters: steps }),
            Family::HoldDecay => {
                let decay = (steps / 5).max(1);
                per_step(OpenLoop::WarmupStableDecay { warmup: 0, stable: steps - decay, decay })
            }
            Family::Plateau => metric(MetricDriven::Plateau(Plateau::default())),
            Family::Greedy => metric(MetricDriven::Greedy(GreedyLr::default())),
        }
    }
}

/// What sets the learning rate of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drive {
    /// A function of the optimizer step.
    PerStep {
        /// The schedule, with the optimizer step as its step.
        schedule: OpenLoop,
        /// Its base, > 0.
        lr: f64,
    },
    /// A schedule that measures: as often as it asks, otherwise [`INTERVALS`](super::train::INTERVALS) times a run.
    Schedule(Schedule),
    /// The same, told less than could be measured, or without snapshots.
    Blinkered {
        /// The schedule.
        schedule: Schedule,
        /// What it is left with.
        sight: Sight,
    },
    /// Rates of another run at equally spaced moments, each held until the next one.
    Replay {
        /// The rates, ≥ 0; at least one.
        lrs: Vec<f64>,
    },
}

impl Drive {
    /// The value that stands for it in the identity of a job: a policy is known by the sha256 of its file.
    ///
    /// # Errors
    /// [`Error::Bug`] if a policy cannot be written.
    pub(super) fn identity(&self) -> Result<serde_json::Value> {
        Ok(match self {
            Drive::Schedule(Schedule::Learned { policy, lr }) => {
                serde_json::json!({ "policy": sha256_hex(&policy.to_bytes()?), "lr": lr })
            }
            Drive::Schedule(Schedule::Generalist { policy, lr }) => {
                serde_json::json!({ "pretrained": sha256_hex(&policy.to_bytes()?), "lr": lr })
            }
            Drive::Blinkered { schedule, sight } => {
                serde_json::json!({ "sight": sight, "of": Drive::Schedule(schedule.clone()).identity()? })
            }
            other => serde_json::json!(other),
        })
    }
}

/// What a policy is left with where its caller offers less than it learned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Losses; of gradients only the norms before the first step, which the anchor needs.
    Losses,
    /// That without losses on held-back data.
    TrainingLosses,
    /// Everything, but at [`INTERVALS`](super::INTERVALS) equal intervals instead of moments of its own.
    Intervals,
    /// Everything, but what an interval that diverges did to the network stays.
    NoSnapshots,
}

impl Sight {
    /// All of them.
    pub const ALL: [Sight; 4] = [Sight::Losses, Sight::TrainingLosses, Sight::Intervals, Sight::NoSnapshots];

    /// A few words for it.
    pub fn name(self) -> &'static str {
        match self {
            Sight::Losses => "losses only",
            Sight::TrainingLosses => "training losses only",
            Sight::Intervals => "equal intervals",
            Sight::NoSnapshots => "without snapshots",
        }
    }

    /// What it leaves of a measurement.
    pub(super) fn seen(self, m: &Measurement) -> Measurement {
        let mut seen = m.clone();
        if matches!(self, Sight::Losses | Sight::TrainingLosses) && m.interval > 0 {
            (seen.grad_norm_mean, seen.grad_norm_sd) = (None, None);
            seen.grad_norms.clear();
        }
        if self == Sight::TrainingLosses {
            (seen.val_loss, seen.val_accuracy) = (None, None);
        }
        seen
    }
}

/// An optimizer that needs no learning rate, in the place of the task's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// Prodigy.
    Prodigy,
    /// The schedule-free optimizer: with AdamW's steps where the task is trained by an optimizer of Adam's kind, else with
    /// those of SGD.
    ScheduleFree,
}

impl Free {
    /// All of them.
    pub const ALL: [Free; 2] = [Free::Prodigy, Free::ScheduleFree];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Free::Prodigy => "prodigy",
            Free::ScheduleFree => "schedule-free",
        }
    }

    /// The optimizer with its defaults, for a task of `spec`.
    pub(super) fn optimizer(self, spec: &TaskSpec) -> Result<OptimizerSpec> {
        use lrpilot_core::OptimizerFamily::Sgd;
        let name = match (self, spec.optimizer) {
            (Free::Prodigy, _) => "prodigy",
            (Free::ScheduleFree, Some(Sgd { .. })) => "schedule-free-sgd",
            (Free::ScheduleFree, _) => "schedule-free-adamw",
        };
        toml::from_str(&format!("type = {name:?}"))
            .map_err(|e| Error::Bug(format!("the optimizer {name} has no defaults: {e}")))
    }
}

/// Name of a family with the learning rate that tuning on the task found.
pub(super) fn tuned_name(family: Family) -> String {
    format!("{} (tuned)", family.name())
}

/// Name of a family with the optimizer's default learning rate.
pub(super) fn default_name(family: Family) -> String {
    format!("{} (default)", family.name())
}

/// A schedule that is put to the test on every task, such as a policy.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Name for people, unique among contestants.
    pub name: String,
    /// sha256 of its file.
    pub sha256: String,
    /// The schedule.
    pub schedule: Schedule,
}

impl Contestant {
    /// The name where the schedule is told to start from `lr0`.
    pub(super) fn name_from(&self, lr0: Option<f64>) -> String {
        lr0.map_or_else(|| self.name.clone(), |lr| format!("{} from {lr:.1e}", self.name))
    }

    /// The schedule, told to start from `lr0`, or nothing.
    pub(super) fn from(&self, lr0: Option<f64>) -> Schedule {
        match &self.schedule {
            Schedule::Learned { policy, .. } => Schedule::Learned { policy: policy.clone(), lr: lr0 },
            Schedule::Generalist { policy, .. } => Schedule::Generalist { policy: policy.clone(), lr: lr0 },
            other => other.clone(),
        }
    }

    /// Whether there is a learning rate that it can be told to start from.
    pub(super) fn takes_start(&self) -> bool {
        matches!(self.schedule, Schedule::Learned { .. } | Schedule::Generalist { .. })
    }

    /// The same policy with a last layer of zeros, which always takes the action 0; `None` for what has no actions.
    pub(super) fn without_action(&self) -> Result<Option<Schedule>> {
        let policy = match &self.schedule {
            Schedule::Learned { policy, .. } => policy,
            Schedule::Generalist { policy, .. } => return Ok(Some(Schedule::generalist(policy.base_run()))),
            _ => return Ok(None),
        };
        let network = policy.policy();
        let (inputs, outputs) = (network.sizes[network.sizes.len() - 2], network.outputs());
        let mut params = network.params.clone();
        let first = params.len() - (inputs + 1) * outputs;
        params[first..].fill(0.0);
        let network = Policy::new(network.sizes.clone(), params, network.moments.clone());
        let (spec, run, provenance) = (policy.spec().clone(), policy.learned_on().clone(), policy.provenance().clone());
        Ok(Some(Schedule::learned(Learned::new(network, spec, run, provenance)?)))
    }
}

/// The starting learning rates that policies are told beside none: five, log-spaced from 1e-5 to 1.
pub const STARTS: [f64; 5] =
    [1e-5, 1.778_279_410_038_923e-4, 3.162_277_660_168_379_5e-3, 5.623_413_251_903_491e-2, 1.0];
