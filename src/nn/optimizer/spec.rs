//! The description of an optimizer.

use crate::keys::{Allowed, Key, Variant};
use crate::nn::optimizer::line_search::LineSearchConfig;
use crate::nn::optimizer::prodigy::ProdigyConfig;
use crate::nn::optimizer::schedule_free::{Average, ScheduleFreeAdamw, ScheduleFreeSgd};
use crate::range::{self, Range};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which optimizer, with the names and defaults of PyTorch or of the method's authors. In TOML: `{ type = "sgd", momentum = 0.9 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// `torch.optim.SGD`.
    Sgd {
        /// Momentum factor μ in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// Nesterov momentum; needs `momentum > 0`.
        #[serde(default)]
        nesterov: bool,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// `torch.optim.Adam`.
    Adam {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f64,
    },
    /// `torch.optim.AdamW` (decoupled weight decay).
    Adamw {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// Decoupled weight decay, ≥ 0.
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
    },
    /// `torch.optim.NAdam`.
    Nadam {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// Weight decay, ≥ 0.
        #[serde(default)]
        weight_decay: f64,
        /// How fast the momentum grows to β₁, ≥ 0.
        #[serde(default = "nadam_momentum_decay")]
        momentum_decay: f64,
        /// Whether weight decay is decoupled, as in AdamW, or an L2 penalty.
        #[serde(default)]
        decoupled_weight_decay: bool,
    },
    /// `torch.optim.RAdam`.
    Radam {
        /// Decay rates (β₁, β₂) of the moments, each in [0, 1).
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// ε > 0 in the denominator.
        #[serde(default = "adam_eps")]
        eps: f64,
        /// Weight decay, ≥ 0.
        #[serde(default)]
        weight_decay: f64,
        /// Whether weight decay is decoupled, as in AdamW, or an L2 penalty.
        #[serde(default)]
        decoupled_weight_decay: bool,
    },
    /// `torch.optim.Adadelta`.
    Adadelta {
        /// Decay rate ρ of the averages, in [0, 1).
        #[serde(default = "adadelta_rho")]
        rho: f64,
        /// ε > 0 under the square roots.
        #[serde(default = "adadelta_eps")]
        eps: f32,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// `torch.optim.Adagrad`.
    Adagrad {
        /// The LR of step t is divided by 1 + (t − 1)·`lr_decay`; ≥ 0.
        #[serde(default)]
        lr_decay: f64,
        /// ε > 0 in the denominator.
        #[serde(default = "adagrad_eps")]
        eps: f32,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
        /// Where the sums of squares start, ≥ 0.
        #[serde(default)]
        initial_accumulator_value: f32,
    },
    /// `torch.optim.RMSprop`.
    Rmsprop {
        /// Decay rate α of the average of squares, in [0, 1).
        #[serde(default = "rmsprop_alpha")]
        alpha: f64,
        /// ε > 0 in the denominator.
        #[serde(default = "rmsprop_eps")]
        eps: f32,
        /// Momentum factor in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// Normalise by the variance rather than the second moment.
        #[serde(default)]
        centered: bool,
        /// L2 penalty, ≥ 0.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Prodigy (Mishchenko and Defazio 2023), whose learning rate is a factor of a step size that it estimates.
    Prodigy(ProdigyConfig),
    /// Schedule-Free SGD (Defazio et al. 2024).
    ScheduleFreeSgd(ScheduleFreeSgd),
    /// Schedule-Free AdamW (Defazio et al. 2024).
    ScheduleFreeAdamw(ScheduleFreeAdamw),
    /// SGD whose step sizes a line search finds (Vaswani et al. 2019). It takes no learning rate.
    Sls(LineSearchConfig),
}

const L2: Key = Key::new("weight_decay", Allowed::Number(Range::NotNegative), "L2 penalty");
const MOMENTUM: Key = Key::new("momentum", Allowed::Number(Range::BelowOne), "momentum factor");
const BETAS: Key = Key::new("betas", Allowed::Pair(Range::BelowOne), "decay rates of the two moments");
const EPS: Key = Key::new("eps", Allowed::Number(Range::Positive), "added to the denominator");
const DECAY: Key = Key::new("weight_decay", Allowed::Number(Range::NotNegative), "L2 penalty, or decoupled");
const DECOUPLED: Key = Key::new("decoupled_weight_decay", Allowed::Flag, "decoupled weight decay, not an L2 penalty");

impl OptimizerSpec {
    /// The optimizers with their keys.
    pub const VARIANTS: &[Variant] = &[
        Variant::new(
            "sgd",
            "SGD",
            &[MOMENTUM, Key::new("nesterov", Allowed::Flag, "Nesterov momentum; needs momentum > 0"), L2],
        ),
        Variant::new("adam", "Adam", &[BETAS, EPS, L2]),
        Variant::new(
            "adamw",
            "AdamW",
            &[BETAS, EPS, Key::new("weight_decay", Allowed::Number(Range::NotNegative), "decoupled weight decay")],
        ),
        Variant::new(
            "nadam",
            "NAdam",
            &[
                BETAS,
                EPS,
                DECAY,
                Key::new("momentum_decay", Allowed::Number(Range::NotNegative), "how fast the momentum grows"),
                DECOUPLED,
            ],
        ),
        Variant::new("radam", "RAdam", &[BETAS, EPS, DECAY, DECOUPLED]),
        Variant::new(
            "adadelta",
            "Adadelta",
            &[
                Key::new("rho", Allowed::Number(Range::BelowOne), "decay rate of the averages"),
                Key::new("eps", Allowed::Number(Range::Positive), "added under the square roots"),
                L2,
            ],
        ),
        Variant::new(
            "adagrad",
            "Adagrad",
            &[
                Key::new(
                    "lr_decay",
                    Allowed::Number(Range::NotNegative),
                    "the learning rate of step t is divided by 1 + (t - 1)·lr_decay",
                ),
                EPS,
                L2,
                Key::new(
                    "initial_accumulator_value",
                    Allowed::Number(Range::NotNegative),
                    "where the sums of squares start",
                ),
            ],
        ),
        Variant::new(
            "rmsprop",
            "RMSprop",
            &[
                Key::new("alpha", Allowed::Number(Range::BelowOne), "decay rate of the average of squares"),
                EPS,
                MOMENTUM,
                Key::new("centered", Allowed::Flag, "divide by the standard deviation, not the root mean square"),
                L2,
            ],
        ),
        Variant::new(
            "prodigy",
            "Prodigy, which estimates its step size; the learning rate is a factor of it, 1 as a rule",
            ProdigyConfig::KEYS,
        ),
        Variant::new(
            "schedule-free-sgd",
            "Schedule-Free SGD, which is evaluated at an average of its steps",
            ScheduleFreeSgd::KEYS,
        ),
        Variant::new(
            "schedule-free-adamw",
            "Schedule-Free AdamW, which is evaluated at an average of its steps",
            ScheduleFreeAdamw::KEYS,
        ),
        Variant::new(
            "sls",
            "SGD with a stochastic line search, which finds its own step sizes; no policy can be learned for it",
            LineSearchConfig::KEYS,
        ),
    ];
}

fn adam_betas() -> (f64, f64) {
    (0.9, 0.999)
}
fn adam_eps() -> f64 {
    1e-8
}
fn adamw_decay() -> f64 {
    1e-2
}
fn nadam_momentum_decay() -> f64 {
    4e-3
}
fn adadelta_rho() -> f64 {
    0.9
}
fn adadelta_eps() -> f32 {
    1e-6
}
fn adagrad_eps() -> f32 {
    1e-10
}
fn rmsprop_alpha() -> f64 {
    0.99
}
fn rmsprop_eps() -> f32 {
    1e-8
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

impl OptimizerSpec {
    /// The optimizer called `name` in a configuration, with PyTorch's defaults.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name, listing the known ones.
    ///
    /// ```
    /// use lrpilot::nn::OptimizerSpec;
    /// assert_eq!(OptimizerSpec::named("sgd")?, OptimizerSpec::default());
    /// assert!(OptimizerSpec::named("lion").is_err());
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        serde_json::from_value(serde_json::json!({ "type": name }))
            .map_err(|e| Error::config("optimizer", e.to_string(), "give the name of an optimizer, e.g. sgd"))
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key (`optimizer.momentum`), the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("optimizer.{key}"), v, range);
        let share = |key: &str, v: f64| check(key, v, Range::BelowOne);
        let decay = |v: f64| check("weight_decay", v, Range::NotNegative);
        let positive = |key: &str, v: f64| check(key, v, Range::Positive);
        let adam = |betas: (f64, f64), eps: f64, weight_decay: f64| {
            share("betas", betas.0)?;
            share("betas", betas.1)?;
            positive("eps", eps)?;
            decay(weight_decay)
        };
        match *self {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay } => {
                if nesterov && momentum == 0.0 {
                    let remedy = "give momentum, e.g. 0.9, or leave nesterov out";
                    return Err(Error::config("optimizer.nesterov", "needs momentum > 0", remedy));
                }
                share("momentum", momentum.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Adam { betas, eps, weight_decay }
            | OptimizerSpec::Adamw { betas, eps, weight_decay }
            | OptimizerSpec::Radam { betas, eps, weight_decay, .. } => adam(betas, eps, weight_decay),
            OptimizerSpec::Nadam { betas, eps, weight_decay, momentum_decay, .. } => {
                check("momentum_decay", momentum_decay, Range::NotNegative)?;
                adam(betas, eps, weight_decay)
            }
            OptimizerSpec::Adadelta { rho, eps, weight_decay } => {
                share("rho", rho)?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Adagrad { lr_decay, eps, weight_decay, initial_accumulator_value } => {
                check("lr_decay", lr_decay, Range::NotNegative)?;
                check("initial_accumulator_value", initial_accumulator_value.into(), Range::NotNegative)?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Rmsprop { alpha, eps, momentum, weight_decay, .. } => {
                share("alpha", alpha)?;
                share("momentum", momentum.into())?;
                positive("eps", eps.into())?;
                decay(weight_decay.into())
            }
            OptimizerSpec::Prodigy(config) => config.check(),
            OptimizerSpec::ScheduleFreeSgd(config) => config.check(),
            OptimizerSpec::ScheduleFreeAdamw(config) => config.check(),
            OptimizerSpec::Sls(search) => search.check(),
        }
    }

    /// The LR that PyTorch, or the package of the method's authors, uses if none is given.
    pub fn default_lr(&self) -> f64 {
        match self {
            OptimizerSpec::Adadelta { .. } | OptimizerSpec::Prodigy(_) | OptimizerSpec::ScheduleFreeSgd(_) => 1.0,
            OptimizerSpec::ScheduleFreeAdamw(_) => 2.5e-3,
            OptimizerSpec::Nadam { .. } => 2e-3,
            OptimizerSpec::Sls(search) => search.init_step_size,
            OptimizerSpec::Adagrad { .. } | OptimizerSpec::Rmsprop { .. } => 1e-2,
            _ => 1e-3,
        }
    }

    /// Whether momentum (SGD, RMSprop) or β₁ (Adam, AdamW, NAdam, RAdam, Prodigy) can be changed between steps. Where Schedule-Free
    /// methods take gradients hangs on β, so theirs stays.
    pub fn accepts_momentum(&self) -> bool {
        match self {
            OptimizerSpec::Sgd { momentum, .. } | OptimizerSpec::Rmsprop { momentum, .. } => *momentum > 0.0,
            OptimizerSpec::Adam { .. }
            | OptimizerSpec::Adamw { .. }
            | OptimizerSpec::Nadam { .. }
            | OptimizerSpec::Radam { .. }
            | OptimizerSpec::Prodigy(_) => true,
            _ => false,
        }
    }

    /// Whether weight decay can be changed between steps, which holds for all but the line search.
    pub fn accepts_weight_decay(&self) -> bool {
        !self.finds_lr()
    }

    /// Whether the optimizer finds its own step sizes, so that nobody sets a learning rate.
    pub fn finds_lr(&self) -> bool {
        matches!(self, OptimizerSpec::Sls(_))
    }

    /// Whether the optimizer is one of `torch.optim`.
    pub(crate) fn is_in_pytorch(&self) -> bool {
        !self.finds_lr() && self.averaging().is_none() && !matches!(self, OptimizerSpec::Prodigy(_))
    }

    /// β and the average of a Schedule-Free method.
    pub(super) fn averaging(&self) -> Option<(f64, Average)> {
        match self {
            OptimizerSpec::ScheduleFreeSgd(config) => Some((config.momentum, config.average())),
            OptimizerSpec::ScheduleFreeAdamw(config) => Some((config.betas.0, config.average())),
            _ => None,
        }
    }

    /// The numbers of the state before the first step.
    pub(super) fn scalars(&self) -> Vec<f64> {
        match self {
            OptimizerSpec::Nadam { .. } => vec![1.0],
            OptimizerSpec::Prodigy(config) => config.scalars(),
            OptimizerSpec::ScheduleFreeSgd(_) | OptimizerSpec::ScheduleFreeAdamw(_) => vec![0.0; 4],
            _ => Vec::new(),
        }
    }

    /// Number of state tensors.
    pub(super) fn state_tensors(&self) -> usize {
        match self {
            OptimizerSpec::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            OptimizerSpec::Adam { .. }
            | OptimizerSpec::Adamw { .. }
            | OptimizerSpec::Nadam { .. }
            | OptimizerSpec::Radam { .. }
            | OptimizerSpec::Adadelta { .. }
            | OptimizerSpec::ScheduleFreeAdamw(_) => 2,
            OptimizerSpec::Adagrad { .. } | OptimizerSpec::ScheduleFreeSgd(_) => 1,
            OptimizerSpec::Prodigy(_) => 4,
            OptimizerSpec::Sls(_) => 0,
            OptimizerSpec::Rmsprop { momentum, centered, .. } => {
                1 + usize::from(*momentum > 0.0) + usize::from(*centered)
            }
        }
    }
}
