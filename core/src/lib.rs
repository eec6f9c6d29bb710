//! What a training loop links to run a learning-rate schedule of lrpilot.
//!
//! Four nouns are enough. A [`Recorder`] turns the losses and norms of optimizer steps into a [`Measurement`]. A
//! [`Schedule`] (open-loop, metric-driven, recorded or learned) is started on a run and takes one measurement after
//! each interval. It answers with a [`Decision`]: go on with the new [`Hyperparameters`], or first put the network back
//! to where the interval began.
//!
//! ```
//! use lrpilot_core::{Decision, Group, OptimizerFamily, Recorder, RunSpec, Schedule};
//!
//! // Gradient descent on ½w², ten intervals of five steps.
//! let mut w = 1.0_f64;
//! let run = RunSpec::new(10, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 1)]);
//! let mut recorder = Recorder::new(run.groups.len());
//! recorder.probe(0.5 * w * w, &[w * w]); // loss and squared gradient norm of each group, before any step
//! let mut schedule = Schedule::cosine(0.5, 10).start(&run, &recorder.finish(None, &[w.abs()]))?;
//! for _ in 0..10 {
//!     let (lr, before) = (schedule.hyperparameters().lr, w);
//!     for _ in 0..5 {
//!         let (loss, gradient) = (0.5 * w * w, w);
//!         w -= lr * gradient;
//!         recorder.step(loss, &[gradient * gradient], &[(lr * gradient).powi(2)]);
//!     }
//!     match schedule.observe(&recorder.finish(Some(0.5 * w * w), &[w.abs()])) {
//!         Decision::GoOn => {}
//!         Decision::RollBack => w = before,
//!     }
//! }
//! assert!(w.abs() < 1e-6);
//! # Ok::<(), lrpilot_core::Error>(())
//! ```
//!
//! Deliberately not here: threads, training of networks, a terminal, files other than a policy's or a schedule's.

#[doc(hidden)]
pub mod atomic;
pub mod control;
mod error;
mod exact;
pub mod explain;
pub mod generalist;
pub mod guard;
mod hyper;
mod measure;
mod moments;
mod policy;
pub mod range;
pub mod schedule;
mod tanh;

pub use control::anchor::{AnchorRule, OptimizerFamily};
pub use control::{Decision, PolicySpec, RunFacts, RunSpec};
pub use error::{Error, Result};
pub use guard::{Guard, GuardConfig, Verdict};
pub use hyper::{HyperparameterName, HyperparameterRange, Hyperparameters};
pub use measure::{Group, Measurement, Recorder};
pub use moments::RunningMoments;
pub use policy::Policy;
pub use schedule::{Learned, RunningSchedule, Schedule};
#[doc(hidden)]
pub use tanh::tanh;
