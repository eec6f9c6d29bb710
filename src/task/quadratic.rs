//! The noisy quadratic model (Wu et al. 2018, "Understanding Short-Horizon Bias in Stochastic Meta-Optimization", §2):
//! a training problem whose expected loss under any LR schedule has a closed form, so that the best schedule is known.

use crate::nn::init::normal;
use crate::rng::{Purpose, stream};
use crate::task::config::QuadraticConfig;
use crate::task::{Split, Task, TaskSpec, load_state, save_state};
use crate::{Error, Result};
use lrpilot_core::{AnchorRule, Group, Hyperparameters, Measurement, OptimizerFamily, Recorder};

/// SGD on L(θ) = ½ Σ hᵢ θᵢ² with gradients hᵢ(θᵢ − cᵢ), cᵢ ~ N(0, σᵢ²), from θ = 1.
pub struct NoisyQuadratic {
    config: QuadraticConfig,
    spec: TaskSpec,
    curvature: Vec<f64>,
    noise_sd: Vec<f64>,
    theta: Vec<f64>,
    seed: u64,
    steps: u64,
    recorder: Recorder,
}

impl NoisyQuadratic {
    /// Build the model.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range.
    pub fn new(config: QuadraticConfig) -> Result<Self> {
        config.check()?;
        let (curvature, noise_sd) = spectrum(&config);
        let spec = TaskSpec {
            name: config.name.clone(),
            groups: vec![Group::new("theta", config.dimensions)],
            horizon: config.horizon,
            steps_per_interval: config.interval_steps,
            batch_size: 1,
            examples: None,
            optimizer: Some(OptimizerFamily::Sgd { momentum: 0.0 }),
            chance_loss: None,
            lr_bounds: config.lr_bounds,
            default_lr: 1e-3,
            anchor: AnchorRule::WeightOverGradient(1e-2),
            accepts_momentum: false,
            accepts_weight_decay: false,
            finds_lr: false,
        };
        let theta = vec![1.0; config.dimensions];
        let recorder = Recorder::new(1);
        Ok(NoisyQuadratic { config, spec, curvature, noise_sd, theta, seed: 0, steps: 0, recorder })
    }

    fn loss(&self) -> f64 {
        0.5 * self.curvature.iter().zip(&self.theta).map(|(h, t)| h * t * t).sum::<f64>()
    }

    fn gradient(&self, step: u64) -> Vec<f64> {
        let mut rng = stream(self.seed, Purpose::BatchOrder, step);
        let noisy = |((h, t), sd): ((&f64, &f64), &f64)| h * (t - sd * normal(&mut rng));
        self.curvature.iter().zip(&self.theta).zip(&self.noise_sd).map(noisy).collect()
    }

    /// ‖θ‖.
    fn norm(&self) -> f64 {
        self.theta.iter().map(|t| t * t).sum::<f64>().sqrt()
    }
}

/// Curvatures hᵢ = 1/i and noise σᵢ = √(noise/hᵢ).
fn spectrum(config: &QuadraticConfig) -> (Vec<f64>, Vec<f64>) {
    let curvature: Vec<f64> = (1..=config.dimensions).map(|i| 1.0 / i as f64).collect();
    let noise_sd = curvature.iter().map(|h| (config.noise / h).sqrt()).collect();
    (curvature, noise_sd)
}

/// Expected loss after one interval per entry of `lrs`, in closed form: with a = 1 − ηhᵢ, `E[θᵢ²] ← a²·E[θᵢ²] + η²hᵢ²σᵢ²`
/// (Wu et al. 2018, eq. 4–5).
///
/// ```
/// use lrpilot::task::{expected_loss, QuadraticConfig};
/// let one = QuadraticConfig { dimensions: 1, noise: 0.0, interval_steps: 1, ..QuadraticConfig::default() };
/// assert_eq!(expected_loss(&one, &[0.5]), 0.5 * 0.25);
/// ```
pub fn expected_loss(config: &QuadraticConfig, lrs: &[f64]) -> f64 {
    let (curvature, noise_sd) = spectrum(config);
    let one = |(h, sd): (&f64, &f64)| {
        let mut second_moment = 1.0;
        for lr in lrs {
            for _ in 0..config.interval_steps {
                second_moment = (1.0 - lr * h).powi(2) * second_moment + (lr * h * sd).powi(2);
            }
        }
        0.5 * h * second_moment
    };
    curvature.iter().zip(&noise_sd).map(one).sum()
}

/// The schedule with the smallest [`expected_loss`], by coordinate descent on log η with shrinking steps.
pub fn optimal_schedule(config: &QuadraticConfig) -> Vec<f64> {
    let (min, max) = config.lr_bounds;
    let mut lrs = vec![(max * 0.1).clamp(min, max); config.horizon];
    let mut best = expected_loss(config, &lrs);
    let mut step = 2.0;
    while step > 1e-3 {
        let before = best;
        for i in 0..lrs.len() {
            for factor in [f64::exp(step), f64::exp(-step)] {
                let old = lrs[i];
                lrs[i] = (old * factor).clamp(min, max);
                let loss = expected_loss(config, &lrs);
                if loss < best {
                    best = loss;
                } else {
                    lrs[i] = old;
                }
            }
        }
        if before - best < 1e-6 * before {
            step *= 0.5;
        }
    }
    lrs
}

impl Task for NoisyQuadratic {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        (self.seed, self.steps) = (seed, 0);
        self.recorder.reset(0, 0);
        self.theta.fill(1.0);
        let grad_sq = self.gradient(u64::MAX).iter().map(|g| g * g).sum::<f64>();
        self.recorder.probe(self.loss(), &[grad_sq]);
        let probe = self.recorder.finish(Some(self.loss()), &[self.norm()]);
        // Loss and gradient of the whole problem, not of one batch of many: both halves are as the whole.
        let half = probe.train_loss;
        Ok(Measurement { train_loss_first_half: half, train_loss_second_half: half, ..probe })
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        self.advance_steps(self.config.interval_steps as u64, &|_| hyperparameters.lr, hyperparameters)
    }

    fn trains_single_steps(&self) -> bool {
        true
    }

    fn advance_steps(&mut self, steps: u64, lr: &dyn Fn(u64) -> f64, _: &Hyperparameters) -> Result<Measurement> {
        let start = self.theta.clone();
        let mut norms = Vec::with_capacity(steps as usize);
        for lr in (0..steps).map(lr) {
            let (loss, gradient) = (self.loss(), self.gradient(self.steps));
            let grad_sq: f64 = gradient.iter().map(|g| g * g).sum();
            self.theta.iter_mut().zip(&gradient).for_each(|(t, g)| *t -= lr * g);
            self.recorder.step(loss, &[grad_sq], &[lr * lr * grad_sq]);
            norms.push(grad_sq.sqrt());
            self.steps += 1;
        }
        let moved = self.theta.iter().zip(&start).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let measured = self.recorder.finish(Some(self.loss()), &[self.norm()]);
        // Few large steps with one number each: two passes are cheap, and round less than the recorder's one.
        let sd = measured
            .grad_norm_mean
            .map(|mean| (norms.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / norms.len() as f64).sqrt());
        Ok(Measurement { displacement: Some(moved), grad_norm_sd: sd, ..measured })
    }

    fn evaluate(&mut self, _: Split) -> Result<(f64, f64)> {
        Ok((self.loss(), 0.0))
    }

    fn save(&self) -> Result<Vec<u8>> {
        save_state(&self.spec.name, &(self.seed, self.recorder.interval(), self.steps, &self.theta))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (seed, interval, steps, theta): (u64, usize, u64, Vec<f64>) = load_state(&self.spec.name, state)?;
        if theta.len() != self.theta.len() {
            return Err(Error::Bug(format!("the saved state is not of the task `{}`", self.spec.name)));
        }
        (self.seed, self.steps, self.theta) = (seed, steps, theta);
        self.recorder.reset(interval, steps);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> QuadraticConfig {
        QuadraticConfig { dimensions: 5, horizon: 4, interval_steps: 3, ..QuadraticConfig::default() }
    }

    /// The mean over many noisy runs is the closed form (within five standard errors).
    #[test]
    fn expected_loss_is_the_mean_of_runs() {
        let lrs = [0.5, 0.3, 0.1, 0.05];
        let mut task = NoisyQuadratic::new(small()).unwrap();
        let losses: Vec<f64> = (0..4000)
            .map(|seed| {
                task.reset(seed).unwrap();
                lrs.iter().map(|lr| task.advance(&Hyperparameters::lr(*lr)).unwrap().loss()).last().unwrap()
            })
            .collect();
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let sd = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n).sqrt();
        let want = expected_loss(&small(), &lrs);
        assert!((mean - want).abs() < 5.0 * sd / n.sqrt(), "{mean} against {want}");
    }

    /// At an optimum of a smooth function the derivative by each log η vanishes (unless at a bound), and the optimum of
    /// this problem decays.
    #[test]
    fn optimal_schedule_is_stationary_and_decays() {
        let config = small();
        let lrs = optimal_schedule(&config);
        let best = expected_loss(&config, &lrs);
        for i in 0..lrs.len() {
            for factor in [1.02, 1.0 / 1.02] {
                let mut other = lrs.clone();
                other[i] = (other[i] * factor).min(config.lr_bounds.1);
                assert!(expected_loss(&config, &other) >= best * (1.0 - 1e-6), "LR {i} can be better");
            }
        }
        assert!(lrs[config.horizon - 1] < lrs[0]);
    }

    #[test]
    fn a_restored_state_goes_on_to_the_same_bits() {
        let mut task = NoisyQuadratic::new(small()).unwrap();
        task.reset(3).unwrap();
        task.advance(&Hyperparameters::lr(0.3)).unwrap();
        let state = task.save().unwrap();
        let first = task.advance(&Hyperparameters::lr(0.2)).unwrap();
        task.load(&state).unwrap();
        assert_eq!(task.advance(&Hyperparameters::lr(0.2)).unwrap(), first);
    }
}
