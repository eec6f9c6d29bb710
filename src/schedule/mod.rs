//! Schedules: the frozen policy. Open-loop and metric-driven ones stand beside it.

mod defaults;
pub mod distance;
pub mod learned;
pub mod metric;
pub mod open_loop;

pub use learned::{Learned, Provenance};
pub use metric::{GreedyLr, MetricDriven, Plateau};
pub use open_loop::OpenLoop;
