//! The keys of `[env]` that belong to types of `lrpilot_core`.

use crate::keys::{Allowed, Choice, Key, Variant};
use crate::range::Range;

/// The observations.
pub const OBSERVATIONS: &[Choice] = &[
    Choice::new("paper", "validation loss, epochs left and the gradient norm of each layer, raw"),
    Choice::new("rich", "25 scaled numbers from losses, norms and time"),
    Choice::new("state-blind", "time alone; such a policy is a fixed schedule"),
];

const STEP: Key = Key::new("step", Allowed::Number(Range::Positive), "decades at u = 1");

/// The actions; u is the action a limited to [-1, 1].
pub const ACTIONS: &[Variant] = &[
    Variant::new("linear", "the learning rate is a", &[]),
    Variant::new("log", "the logarithm of the learning rate is between its bounds: the lower at u = -1", &[]),
    Variant::new("multiplicative", "moves log10 of the learning rate by step·u", &[STEP]),
    Variant::new("drift", "the same on top of a linear decay to zero, which u = 0 follows", &[STEP]),
    Variant::new(
        "residual",
        "multiplies a given schedule by exp(alpha·tanh a)",
        &[
            Key::new("base", Allowed::Numbers(Range::Positive), "learning rate of each interval; the last one is held"),
            Key::new("alpha", Allowed::Number(Range::Positive), "strength"),
        ],
    ),
];

/// What may follow divergence.
pub const ON_DIVERGENCE: &[Variant] = &[
    Variant::new("terminate", "the run ends with a penalty of 1,000 to 2,000", &[]),
    Variant::new(
        "roll-back",
        "the interval is undone and the learning rate reduced",
        &[
            Key::new("factor", Allowed::Number(Range::Inside), "the learning rate is multiplied by it"),
            Key::new("reward", Allowed::Number(Range::NotPositive), "reward of the undone interval"),
        ],
    ),
];

/// A setting beside the learning rate.
pub const HYPERPARAMETER: &[Key] = &[
    Key::new(
        "name",
        Allowed::Name(&[
            Choice::new("momentum", "momentum of SGD and RMSprop, β₁ of Adam and AdamW"),
            Choice::new("weight-decay", "weight decay"),
        ]),
        "which setting",
    ),
    Key::new("min", Allowed::Number(Range::NotNegative), "smallest value; above 0 for weight decay"),
    Key::new("max", Allowed::Number(Range::NotNegative), "largest value, above min; below 1 for momentum"),
];
