//! A distribution of small training problems, from which a policy for all of them is learned.
//!
//! A seed draws a [`DrawnTask`], which is a readable description; the description decides the task. About a third
//! of the tasks are real data made small, because policies learned on made-up data alone do worse on real ones.

mod config;
mod data;
mod draw;
mod drawn;
mod power_law;
mod real;
mod sampling;
mod selection;
mod source;
mod task_distribution;
mod teacher;

pub use config::{DistributionConfig, Family, FamilyWeights};
pub use data::DataDraw;
pub use drawn::{DrawnTask, Net, NetworkProblem, Problem, Sizes};
pub use power_law::PowerLawConfig;
pub use real::{ImageDraw, ImageSet};
pub use selection::selection_tasks;
pub use source::DrawnSource;
pub use task_distribution::TaskDistribution;
pub use teacher::Function;
