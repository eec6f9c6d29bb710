//! Learning a pretrained policy: responses of random tasks to the learning rate, the regression of the anchor, PPO on
//! groups of siblings with averaged weights, and selection on tasks of other kinds.

mod bank;
mod config;
mod learner;
mod regression;
mod score;
mod session;

pub use bank::{LEVELS, Response, respond};
pub use config::{BankConfig, GeneralistConfig, GeneralistLearnConfig};
pub use learner::{GeneralistLearner, GeneralistLearnerState};
pub use regression::{Fit, fit_anchor};
pub use score::{Loop, Outcome, Score, Scorer, run_schedule};
pub use session::{GeneralistTasks, learn_generalist_in, scores_in};
