//! Open-loop schedules: pure functions of the step, equal to PyTorch's classes in closed form.

use crate::range::{self, Range};
use crate::schedule::defaults;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// An open-loop schedule with PyTorch's names. In TOML: `{ type = "cosine-annealing", t_max = 50, eta_min = 0.0 }`.
///
/// The step is whatever the user counts: epochs or optimizer steps. The base LR is the optimizer's initial LR, for
/// [`OpenLoop::OneCycle`] and [`OpenLoop::Cyclic`] it is `max_lr`. Parameters left out have PyTorch's defaults. A growing
/// schedule (γ > 1) grows without limit, as in PyTorch: after enough steps to infinity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OpenLoop {
    /// The base LR, always.
    Constant {},
    /// `ConstantLR`: base·factor for the first `total_iters` steps.
    ConstantLr {
        /// In (0, 1].
        #[serde(default = "defaults::third")]
        factor: f64,
        /// Steps.
        #[serde(default = "defaults::five")]
        total_iters: usize,
    },
    /// `LinearLR`: the factor goes linearly from `start_factor` to `end_factor`.
    Linear {
        /// In (0, 1].
        #[serde(default = "defaults::third")]
        start_factor: f64,
        /// In [0, 1].
        #[serde(default = "defaults::one")]
        end_factor: f64,
        /// Steps, ≥ 1.
        #[serde(default = "defaults::five")]
        total_iters: usize,
    },
    /// `StepLR`: times γ every `step_size` steps.
    Step {
        /// ≥ 1.
        step_size: usize,
        /// γ ≥ 0.
        #[serde(default = "defaults::tenth")]
        gamma: f64,
    },
    /// `MultiStepLR`: times γ at each milestone.
    MultiStep {
        /// Steps, in any order.
        milestones: Vec<usize>,
        /// γ ≥ 0.
        #[serde(default = "defaults::tenth")]
        gamma: f64,
    },
    /// `ExponentialLR`: times γ every step.
    Exponential {
        /// γ ≥ 0.
        gamma: f64,
    },
    /// `PolynomialLR`: base·(1 − t/total)^power.
    Polynomial {
        /// ≥ 1.
        #[serde(default = "defaults::five")]
        total_iters: usize,
        /// ≥ 0.
        #[serde(default = "defaults::one")]
        power: f64,
    },
    /// `CosineAnnealingLR`: half a cosine from base to `eta_min`; beyond `t_max` the cosine goes on, as in PyTorch.
    CosineAnnealing {
        /// ≥ 1.
        t_max: usize,
        /// ≥ 0.
        #[serde(default)]
        eta_min: f64,
    },
    /// `CosineAnnealingWarmRestarts`: the cosine starts anew after T₀, T₀·T_mult, … steps.
    CosineWarmRestarts {
        /// T₀ ≥ 1.
        t_0: usize,
        /// T_mult ≥ 1.
        #[serde(default = "defaults::once")]
        t_mult: usize,
        /// ≥ 0.
        #[serde(default)]
        eta_min: f64,
    },
    /// `OneCycleLR` (cosine, two phases unless `three_phase`): base is `max_lr`. After the end the last LR is held,
    /// where PyTorch raises an error.
    OneCycle {
        /// Steps, ≥ 2.
        total_steps: usize,
        /// Share of the steps on the way up, in (0, 1).
        #[serde(default = "defaults::pct_start")]
        pct_start: f64,
        /// Initial LR = max/div_factor, > 0.
        #[serde(default = "defaults::div_factor")]
        div_factor: f64,
        /// Last LR = initial/final_div_factor, > 0.
        #[serde(default = "defaults::final_div_factor")]
        final_div_factor: f64,
        /// Come down to the initial LR first, then to the last.
        #[serde(default)]
        three_phase: bool,
        /// Straight lines instead of cosines.
        #[serde(default)]
        linear: bool,
        /// Whether momentum runs against the LR; see [`OpenLoop::momentum`].
        #[serde(default = "defaults::yes")]
        cycle_momentum: bool,
        /// Momentum at the largest LR, in [0, 1).
        #[serde(default = "defaults::one_cycle_base")]
        base_momentum: f64,
        /// Momentum at the ends, in [0, 1).
        #[serde(default = "defaults::one_cycle_max")]
        max_momentum: f64,
    },
    /// `CyclicLR` (triangular): between `base_lr` and the given base, which is `max_lr`.
    Cyclic {
        /// Lower LR, ≥ 0.
        base_lr: f64,
        /// Steps up, ≥ 1.
        #[serde(default = "defaults::step_size_up")]
        step_size_up: usize,
        /// Steps down, ≥ 1; as many as up if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_size_down: Option<usize>,
        /// Shape of the cycles.
        #[serde(default)]
        mode: CyclicMode,
        /// γ of `exp_range`.
        #[serde(default = "defaults::one")]
        gamma: f64,
        /// Whether momentum runs against the LR; see [`OpenLoop::momentum`].
        #[serde(default = "defaults::yes")]
        cycle_momentum: bool,
        /// Momentum at the largest LR, in [0, 1).
        #[serde(default = "defaults::cyclic_base")]
        base_momentum: f64,
        /// Momentum at the smallest LR, in [0, 1).
        #[serde(default = "defaults::cyclic_max")]
        max_momentum: f64,
    },
    /// `SequentialLR`: schedules one after another, each counting from 0.
    Sequential {
        /// One more than milestones.
        schedules: Vec<OpenLoop>,
        /// First step of the second, third, … schedule.
        milestones: Vec<usize>,
    },
    /// Linear warm-up from base/`steps` over `steps` steps, then another schedule, which counts from 0.
    Warmup {
        /// ≥ 1.
        steps: usize,
        /// What follows.
        then: Box<OpenLoop>,
    },
    /// Warm-up, stable, then a linear decay to 0 (Hu et al. 2024, "MiniCPM").
    WarmupStableDecay {
        /// Steps of linear warm-up.
        warmup: usize,
        /// Steps at the base LR.
        stable: usize,
        /// Steps of decay, ≥ 1.
        decay: usize,
    },
}

/// Shapes of [`OpenLoop::Cyclic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CyclicMode {
    /// Always the same height.
    #[default]
    Triangular,
    /// Half the height with each cycle.
    Triangular2,
    /// Height times γ^step.
    ExpRange,
}

impl OpenLoop {
    /// `OneCycleLR` with PyTorch's defaults over `total_steps`.
    pub fn one_cycle(total_steps: usize) -> Self {
        OpenLoop::OneCycle {
            total_steps,
            pct_start: defaults::pct_start(),
            div_factor: defaults::div_factor(),
            final_div_factor: defaults::final_div_factor(),
            three_phase: false,
            linear: false,
            cycle_momentum: true,
            base_momentum: defaults::one_cycle_base(),
            max_momentum: defaults::one_cycle_max(),
        }
    }

    /// `CyclicLR` with PyTorch's defaults between `base_lr` and the given base, `step_size_up` steps up and as many down.
    pub fn cyclic(base_lr: f64, step_size_up: usize) -> Self {
        OpenLoop::Cyclic {
            base_lr,
            step_size_up,
            step_size_down: None,
            mode: CyclicMode::Triangular,
            gamma: 1.0,
            cycle_momentum: true,
            base_momentum: defaults::cyclic_base(),
            max_momentum: defaults::cyclic_max(),
        }
    }

    /// The same schedule without cycling momentum (`cycle_momentum=False`).
    pub fn without_momentum(mut self) -> Self {
        if let OpenLoop::OneCycle { cycle_momentum, .. } | OpenLoop::Cyclic { cycle_momentum, .. } = &mut self {
            *cycle_momentum = false;
        }
        self
    }

    /// `ConstantLR` with PyTorch's defaults.
    pub fn constant_lr() -> Self {
        OpenLoop::ConstantLr { factor: defaults::third(), total_iters: defaults::five() }
    }

    /// `CosineAnnealingLR` to 0 over `t_max`.
    pub fn cosine(t_max: usize) -> Self {
        OpenLoop::CosineAnnealing { t_max, eta_min: 0.0 }
    }

    /// The learning rate of `step` = 0, 1, ….
    ///
    /// ```
    /// use lrpilot_core::schedule::OpenLoop;
    /// let cosine = OpenLoop::cosine(10);
    /// assert_eq!(cosine.lr(0.1, 0), 0.1);
    /// assert!((cosine.lr(0.1, 5) - 0.05).abs() < 1e-15);
    /// ```
    pub fn lr(&self, base: f64, step: usize) -> f64 {
        let t = step as f64;
        match self {
            OpenLoop::Constant {} => base,
            OpenLoop::ConstantLr { factor, total_iters } => base * if step < *total_iters { *factor } else { 1.0 },
            OpenLoop::Linear { start_factor, end_factor, total_iters } => {
                let share = step.min(*total_iters) as f64 / *total_iters as f64;
                base * (start_factor + (end_factor - start_factor) * share)
            }
            OpenLoop::Step { step_size, gamma } => base * gamma.powf((step / step_size) as f64),
            OpenLoop::MultiStep { milestones, gamma } => {
                base * gamma.powi(milestones.iter().filter(|m| **m <= step).count() as i32)
            }
            OpenLoop::Exponential { gamma } => base * gamma.powf(t),
            OpenLoop::Polynomial { total_iters, power } => {
                base * (1.0 - step.min(*total_iters) as f64 / *total_iters as f64).powf(*power)
            }
            OpenLoop::CosineAnnealing { t_max, eta_min } => half_cosine(base, *eta_min, t / *t_max as f64),
            OpenLoop::CosineWarmRestarts { t_0, t_mult, eta_min } => {
                if *t_mult == 1 {
                    return half_cosine(base, *eta_min, (step % t_0) as f64 / *t_0 as f64);
                }
                let (mut start, mut length) = (0, *t_0);
                while step >= start + length {
                    start += length;
                    length *= t_mult;
                }
                half_cosine(base, *eta_min, (step - start) as f64 / length as f64)
            }
            OpenLoop::OneCycle { div_factor, final_div_factor, .. } => {
                let initial = base / div_factor;
                self.one_cycle_value(t, initial, base, initial / final_div_factor, initial)
            }
            OpenLoop::Cyclic { base_lr, .. } => base_lr + (base - base_lr) * self.cyclic_height(step),
            OpenLoop::Sequential { .. } => self.part(step).map_or(base, |(schedule, step)| schedule.lr(base, step)),
            OpenLoop::Warmup { steps, then } => {
                if step < *steps {
                    base * (t + 1.0) / *steps as f64
                } else {
                    then.lr(base, step - steps)
                }
            }
            OpenLoop::WarmupStableDecay { warmup, stable, decay } => {
                if step < *warmup {
                    return base * (t + 1.0) / *warmup as f64;
                }
                let into = (step - warmup).saturating_sub(*stable).min(*decay);
                base * (1.0 - into as f64 / *decay as f64)
            }
        }
    }

    /// The momentum of `step` (β₁ for Adam), for schedules that cycle it against the LR as PyTorch's OneCycleLR and
    /// CyclicLR do by default; `None` for the others. The caller sets it,
    /// where the optimizer has one; runs here do so for optimizers built with momentum, while PyTorch also gives one to an
    /// SGD built without.
    ///
    /// ```
    /// use lrpilot_core::schedule::OpenLoop;
    /// assert_eq!(OpenLoop::one_cycle(10).momentum(0), Some(0.95));
    /// assert_eq!(OpenLoop::cosine(10).momentum(0), None);
    /// ```
    pub fn momentum(&self, step: usize) -> Option<f64> {
        match self {
            OpenLoop::OneCycle { cycle_momentum: true, base_momentum, max_momentum, .. } => {
                Some(self.one_cycle_value(step as f64, *max_momentum, *base_momentum, *max_momentum, *max_momentum))
            }
            OpenLoop::Cyclic { cycle_momentum: true, base_momentum, max_momentum, .. } => {
                Some(max_momentum - (max_momentum - base_momentum) * self.cyclic_height(step))
            }
            OpenLoop::Sequential { .. } => {
                let (schedule, step) = self.part(step)?;
                schedule.momentum(step)
            }
            OpenLoop::Warmup { steps, then } => then.momentum(step.saturating_sub(*steps)),
            _ => None,
        }
    }

    /// The schedule of a sequence that is in force at `step`, and the step in its own count.
    fn part(&self, step: usize) -> Option<(&OpenLoop, usize)> {
        let OpenLoop::Sequential { schedules, milestones } = self else { return None };
        let i = milestones.iter().filter(|m| **m <= step).count().min(schedules.len() - 1);
        let start = if i == 0 { 0 } else { milestones[i - 1] };
        Some((&schedules[i], step - start))
    }

    /// What runs from `first` to `peak` and then to `last`, by way of `between` with three phases.
    fn one_cycle_value(&self, t: f64, first: f64, peak: f64, last: f64, between: f64) -> f64 {
        let OpenLoop::OneCycle { total_steps, pct_start, three_phase, linear, .. } = self else { return peak };
        let n = *total_steps as f64;
        let up_end = pct_start * n - 1.0;
        let phases: &[(f64, f64, f64)] = if *three_phase {
            &[(up_end, first, peak), (2.0 * pct_start * n - 2.0, peak, between), (n - 1.0, between, last)]
        } else {
            &[(up_end, first, peak), (n - 1.0, peak, last)]
        };
        let t = t.min(n - 1.0);
        let mut start = 0.0;
        for &(end, from, to) in phases {
            if t <= end {
                // A phase may have no length, e.g. 10 steps with pct_start = 0.1, where PyTorch divides by zero.
                let share = if end > start { (t - start) / (end - start) } else { 1.0 };
                return if *linear { from + (to - from) * share } else { half_cosine(from, to, share) };
            }
            start = end;
        }
        last
    }

    /// How far up a cycle is, scaled as its mode says: 0 at the base.
    fn cyclic_height(&self, step: usize) -> f64 {
        let OpenLoop::Cyclic { step_size_up, step_size_down, mode, gamma, .. } = self else { return 0.0 };
        let up = *step_size_up as f64;
        let total = up + step_size_down.unwrap_or(*step_size_up) as f64;
        let t = step as f64;
        let cycle = (1.0 + t / total).floor();
        let x = 1.0 + t / total - cycle;
        let ratio = up / total;
        let scale = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        let height = match mode {
            CyclicMode::Triangular => 1.0,
            CyclicMode::Triangular2 => 0.5f64.powf(cycle - 1.0),
            CyclicMode::ExpRange => gamma.powf(t),
        };
        scale * height
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let count = |key: &str, v: usize, least| range::count(format_args!("schedule.{key}"), v, least, u64::MAX);
        let check = |key: &str, v: f64, range: Range| range::check(format_args!("schedule.{key}"), v, range);
        let at_least_one = |key: &str, v: usize| count(key, v, 1);
        let number = |key: &str, v: f64| check(key, v, Range::NotNegative);
        let positive = |key: &str, v: f64| check(key, v, Range::Positive);
        let momentum = |key: &str, v: f64| check(key, v, Range::BelowOne);
        match self {
            OpenLoop::Constant {} => Ok(()),
            OpenLoop::ConstantLr { factor, .. } => check("factor", *factor, Range::Factor),
            OpenLoop::Linear { start_factor, end_factor, total_iters } => {
                check("start_factor", *start_factor, Range::Factor)?;
                check("end_factor", *end_factor, Range::Share)?;
                at_least_one("total_iters", *total_iters)
            }
            OpenLoop::Step { step_size, gamma } => {
                at_least_one("step_size", *step_size)?;
                number("gamma", *gamma)
            }
            OpenLoop::MultiStep { gamma, .. } | OpenLoop::Exponential { gamma } => number("gamma", *gamma),
            OpenLoop::Polynomial { total_iters, power } => {
                at_least_one("total_iters", *total_iters)?;
                number("power", *power)
            }
            OpenLoop::CosineAnnealing { t_max, eta_min } => {
                at_least_one("t_max", *t_max)?;
                number("eta_min", *eta_min)
            }
            OpenLoop::CosineWarmRestarts { t_0, t_mult, eta_min } => {
                at_least_one("t_0", *t_0)?;
                at_least_one("t_mult", *t_mult)?;
                number("eta_min", *eta_min)
            }
            OpenLoop::OneCycle {
                total_steps,
                pct_start,
                div_factor,
                final_div_factor,
                base_momentum,
                max_momentum,
                ..
            } => {
                momentum("base_momentum", *base_momentum)?;
                momentum("max_momentum", *max_momentum)?;
                count("total_steps", *total_steps, 2)?;
                check("pct_start", *pct_start, Range::Inside)?;
                positive("div_factor", *div_factor)?;
                positive("final_div_factor", *final_div_factor)
            }
            OpenLoop::Cyclic { base_lr, step_size_up, step_size_down, gamma, base_momentum, max_momentum, .. } => {
                momentum("base_momentum", *base_momentum)?;
                momentum("max_momentum", *max_momentum)?;
                number("base_lr", *base_lr)?;
                at_least_one("step_size_up", *step_size_up)?;
                at_least_one("step_size_down", step_size_down.unwrap_or(1))?;
                number("gamma", *gamma)
            }
            OpenLoop::Sequential { schedules, milestones } => {
                if schedules.len() != milestones.len() + 1 || !milestones.is_sorted() {
                    let message = format!("{milestones:?} are not milestones of {} schedules", schedules.len());
                    return Err(Error::config(
                        "schedule.milestones",
                        message,
                        "give one fewer than schedules, in order",
                    ));
                }
                schedules.iter().try_for_each(OpenLoop::check)
            }
            OpenLoop::Warmup { steps, then } => {
                at_least_one("steps", *steps)?;
                then.check()
            }
            OpenLoop::WarmupStableDecay { decay, .. } => at_least_one("decay", *decay),
        }
    }
}

/// Half a cosine from `from` to `to` as `share` runs from 0 to 1.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}
