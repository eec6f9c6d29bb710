//! Schedules by name, with defaults that fit the length of the run.

use crate::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau, Schedule, defaults};

/// A schedule that can be asked for by name alone.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// What it is, in a line.
    pub purpose: &'static str,
    make: fn(horizon: usize) -> Shape,
}

#[derive(Clone)]
enum Shape {
    OpenLoop(OpenLoop),
    Metric(MetricDriven),
}

const fn named(name: &'static str, purpose: &'static str, make: fn(usize) -> Shape) -> Named {
    Named { name, purpose, make }
}

/// A tenth of the run, at least one interval.
fn tenth(horizon: usize) -> usize {
    (horizon / 10).max(1)
}

/// All of them.
pub const NAMED: [Named; 16] = [
    named("constant", "the LR, always", |_| Shape::OpenLoop(OpenLoop::Constant {})),
    named("constant-lr", "ConstantLR: a third of the LR for 5 intervals, then the LR", |_| {
        Shape::OpenLoop(OpenLoop::ConstantLr { factor: defaults::third(), total_iters: defaults::five() })
    }),
    named("linear", "LinearLR from the LR to 0 over the run", |h| {
        Shape::OpenLoop(OpenLoop::Linear { start_factor: 1.0, end_factor: 0.0, total_iters: h })
    }),
    named("step", "StepLR: a tenth of it after each third of the run", |h| {
        Shape::OpenLoop(OpenLoop::Step { step_size: (h / 3).max(1), gamma: 0.1 })
    }),
    named("multi-step", "MultiStepLR: a tenth of it at half and at three quarters of the run", |h| {
        Shape::OpenLoop(OpenLoop::MultiStep { milestones: vec![h / 2, h * 3 / 4], gamma: 0.1 })
    }),
    named("exponential", "ExponentialLR down to a hundredth over the run", |h| {
        Shape::OpenLoop(OpenLoop::Exponential { gamma: 0.01f64.powf(1.0 / h.max(1) as f64) })
    }),
    named("polynomial", "PolynomialLR of power 2 to 0 over the run", |h| {
        Shape::OpenLoop(OpenLoop::Polynomial { total_iters: h, power: 2.0 })
    }),
    named("cosine", "CosineAnnealingLR to 0 over the run", |h| Shape::OpenLoop(OpenLoop::cosine(h))),
    named("cosine-warm-restarts", "CosineAnnealingWarmRestarts, four cycles", |h| {
        Shape::OpenLoop(OpenLoop::CosineWarmRestarts { t_0: h.div_ceil(4).max(1), t_mult: 1, eta_min: 0.0 })
    }),
    named("one-cycle", "OneCycleLR up to the LR and down", |h| Shape::OpenLoop(OpenLoop::one_cycle(h.max(2)))),
    named("cyclic", "CyclicLR, triangles between a tenth of 1e-3 and the LR, two cycles", |h| {
        Shape::OpenLoop(OpenLoop::cyclic(1e-4, h.div_ceil(4).max(1)))
    }),
    named("sequential", "SequentialLR: linear to half the LR over half of the run, then cosine to 0", |h| {
        let half = (h / 2).max(1);
        let first = OpenLoop::Linear { start_factor: 1.0, end_factor: 0.5, total_iters: half };
        let schedules = vec![first, OpenLoop::cosine(h.saturating_sub(half).max(1))];
        Shape::OpenLoop(OpenLoop::Sequential { schedules, milestones: vec![half] })
    }),
    named("warmup-cosine", "linear warm-up over a tenth of the run, then cosine to 0", |h| {
        let then = Box::new(OpenLoop::cosine(h.saturating_sub(tenth(h)).max(1)));
        Shape::OpenLoop(OpenLoop::Warmup { steps: tenth(h), then })
    }),
    named("warmup-stable-decay", "warm-up over a tenth, hold, decay to 0 over the last fifth", |h| {
        let (warmup, decay) = (tenth(h), (h / 5).max(1));
        let stable = h.saturating_sub(warmup + decay);
        Shape::OpenLoop(OpenLoop::WarmupStableDecay { warmup, stable, decay })
    }),
    named("plateau", "ReduceLROnPlateau with its defaults", |_| {
        Shape::Metric(MetricDriven::Plateau(Plateau::default()))
    }),
    named("greedy", "GreedyLR of transformers with its defaults", |_| {
        Shape::Metric(MetricDriven::Greedy(GreedyLr::default()))
    }),
];

impl Schedule {
    /// The schedule called `name` on the LR `lr` for a run of `horizon` intervals; see [`NAMED`].
    ///
    /// ```
    /// use lrpilot_core::Schedule;
    /// assert_eq!(Schedule::named("cosine", 0.1, 50), Some(Schedule::cosine(0.1, 50)));
    /// assert_eq!(Schedule::named("cosin", 0.1, 50), None);
    /// ```
    pub fn named(name: &str, lr: f64, horizon: usize) -> Option<Schedule> {
        let found = NAMED.iter().find(|n| n.name == name)?;
        Some(match (found.make)(horizon.max(1)) {
            Shape::OpenLoop(schedule) => Schedule::OpenLoop { schedule, lr },
            Shape::Metric(schedule) => Schedule::Metric { schedule, lr },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the length of the run, each named schedule is in range.
    #[test]
    fn named_schedules_are_valid_for_every_horizon() {
        for horizon in [1, 2, 3, 7, 50, 1000] {
            for n in NAMED {
                let schedule = Schedule::named(n.name, 0.1, horizon).unwrap();
                schedule.check().unwrap_or_else(|e| panic!("{} over {horizon}: {e}", n.name));
            }
        }
    }
}
