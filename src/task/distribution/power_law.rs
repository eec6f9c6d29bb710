//! One-pass linear regression with a power-law spectrum: a training problem with the scaling laws of large ones, whose step
//! costs microseconds and whose expected loss has a closed form.
//!
//! Examples x are normal with variances hᵢ = i^−capacity, targets are x·w* + √noise·ε, and each batch is fresh. With the error
//! e = w − w* and R = Σ hᵢeᵢ², the loss is (R + noise)/2, and the gradient of a batch of B has the mean hᵢeᵢ and, along axis i,
//! the variance hᵢ(hᵢeᵢ² + R + noise)/B. The task draws gradients as independent normal numbers with these moments, which
//! leaves the mean of every eᵢ² over runs as it is for the regression itself. In the beginning hᵢeᵢ² ∝ i^−(1 + source·capacity)
//! and R = 1: for a large source the first directions hold the error and are learned soon, for a small one the loss is in the
//! tail and still falls at the end.

use super::sampling::{fill_normal, normals};
use crate::range::{self, Range};
use crate::rng::{Purpose, stream};
use crate::task::{Split, Task, TaskSpec, load_state, save_state};
use crate::{Error, Result, limits};
use lrpilot_core::{AnchorRule, Group, Hyperparameters, Measurement, OptimizerFamily, Recorder};
use serde::{Deserialize, Serialize};

/// One-pass linear regression with a power-law spectrum, trained by SGD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerLawConfig {
    /// Directions, ≥ 1.
    pub dimensions: usize,
    /// Decay of the variances of the inputs, ≥ 0.
    pub capacity: f64,
    /// How early the error is learned, ≥ 0.
    pub source: f64,
    /// Variance of the targets' noise, ≥ 0.
    pub noise: f64,
    /// Examples in a batch, ≥ 1.
    pub batch_size: usize,
    /// Momentum μ in [0, 1), as in PyTorch's SGD.
    pub momentum: f64,
}

impl PowerLawConfig {
    /// Check the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::count("power_law.dimensions", self.dimensions, 1, limits::DIMENSIONS)?;
        range::count("power_law.batch_size", self.batch_size, 1, limits::IMAGES)?;
        range::check("power_law.capacity", self.capacity, Range::NotNegative)?;
        range::check("power_law.source", self.source, Range::NotNegative)?;
        range::check("power_law.noise", self.noise, Range::NotNegative)?;
        range::check("power_law.momentum", self.momentum, Range::BelowOne)
    }

    /// Variances of the inputs and errors in the beginning.
    fn spectrum(&self) -> (Vec<f64>, Vec<f64>) {
        let power = |exponent: f64| (1..=self.dimensions).map(move |i| (i as f64).powf(-exponent));
        let total: f64 = power(1.0 + self.source * self.capacity).sum();
        let variances: Vec<f64> = power(self.capacity).collect();
        let risks = power(1.0 + self.source * self.capacity);
        let errors = risks.zip(&variances).map(|(risk, h)| (risk / total / h).sqrt()).collect();
        (variances, errors)
    }

    /// Expected loss after a step with each of `lrs`, in closed form: the second moments of error and momentum of each
    /// direction follow a linear recursion, coupled by R.
    ///
    /// ```
    /// use lrpilot::task::PowerLawConfig;
    /// let one = PowerLawConfig { dimensions: 1, capacity: 2.0, source: 1.0, noise: 0.5, batch_size: 1, momentum: 0.0 };
    /// assert_eq!(one.expected_loss(&[]), 0.75);
    /// // E[(1 − ηx²)²] = 1 − 2η + 3η² for a normal x, and η²·noise of the noise.
    /// assert!((one.expected_loss(&[0.1]) - 0.5 * (1.0 - 0.2 + 0.03 + 0.01 * 0.5 + 0.5)).abs() < 1e-12);
    /// ```
    pub fn expected_loss(&self, lrs: &[f64]) -> f64 {
        let (variances, errors) = self.spectrum();
        // E[e²], E[e·v], E[v²] of each direction.
        let mut moments: Vec<[f64; 3]> = errors.iter().map(|e| [e * e, 0.0, 0.0]).collect();
        let risk = |m: &[[f64; 3]]| variances.iter().zip(m).map(|(h, m)| h * m[0]).sum::<f64>();
        let (mu, batch) = (self.momentum, self.batch_size as f64);
        for lr in lrs {
            let all = risk(&moments) + self.noise;
            for (h, [ee, ev, vv]) in variances.iter().zip(&mut moments) {
                let new_vv = mu * mu * *vv + 2.0 * mu * h * *ev + h * h * *ee + h * (h * *ee + all) / batch;
                let old_e_new_v = mu * *ev + h * *ee;
                *ee += lr * lr * new_vv - 2.0 * lr * old_e_new_v;
                (*ev, *vv) = (old_e_new_v - lr * new_vv, new_vv);
            }
        }
        0.5 * (risk(&moments) + self.noise)
    }
}

/// The task.
pub(super) struct PowerLaw {
    config: PowerLawConfig,
    spec: TaskSpec,
    variances: Vec<f64>,
    /// Errors and weights in the beginning.
    start: Vec<f64>,
    start_weights: Vec<f64>,
    error: Vec<f64>,
    velocity: Vec<f64>,
    seed: u64,
    recorder: Recorder,
    /// A normal number for each direction and one for the loss of the batch.
    random: Vec<f32>,
}

/// Everything an episode's future depends on.
#[derive(Serialize, Deserialize)]
struct State {
    seed: u64,
    interval: usize,
    steps: u64,
    error: Vec<f64>,
    velocity: Vec<f64>,
}

impl PowerLaw {
    /// Build the task; `horizon` intervals of `interval_steps` steps, both ≥ 1.
    ///
    /// # Errors
    /// [`Error::Config`] for values out of range.
    pub fn new(
        config: PowerLawConfig,
        name: &str,
        horizon: usize,
        interval_steps: usize,
        lr_bounds: (f64, f64),
    ) -> Result<Self> {
        config.check()?;
        let (variances, start) = config.spectrum();
        let family = OptimizerFamily::Sgd { momentum: config.momentum };
        let n = config.dimensions;
        let spec = TaskSpec {
            name: name.to_owned(),
            groups: vec![Group::new("w", n)],
            horizon,
            steps_per_interval: interval_steps,
            batch_size: config.batch_size,
            examples: None,
            optimizer: Some(family),
            chance_loss: None,
            lr_bounds,
            default_lr: 1e-3,
            anchor: AnchorRule::of(family),
            accepts_momentum: false,
            accepts_weight_decay: false,
            finds_lr: false,
        };
        Ok(PowerLaw {
            spec,
            variances,
            error: start.clone(),
            start_weights: vec![0.0; n],
            velocity: vec![0.0; n],
            start,
            seed: 0,
            recorder: Recorder::new(1),
            random: vec![0.0; n + 1],
            config,
        })
    }

    /// R.
    fn risk(&self) -> f64 {
        self.variances.iter().zip(&self.error).map(|(h, e)| h * e * e).sum()
    }

    fn loss(&self) -> f64 {
        0.5 * (self.risk() + self.config.noise)
    }

    /// The loss of a batch and its gradient direction by direction, to `gradient`.
    fn batch(&mut self, index: u64, mut gradient: impl FnMut(usize, f64)) -> f64 {
        fill_normal(&mut stream(self.seed, Purpose::BatchOrder, index), &mut self.random);
        let (all, batch) = (self.risk() + self.config.noise, self.config.batch_size as f64);
        for (i, ((h, e), z)) in self.variances.iter().zip(&self.error).zip(&self.random).enumerate() {
            let mean = h * e;
            gradient(i, mean + (h * (mean * e + all) / batch).sqrt() * f64::from(*z));
        }
        // The mean of squares of B normal numbers (Wilson and Hilferty's approximation).
        let spread = 2.0 / (9.0 * batch);
        let z = f64::from(self.random[self.config.dimensions]);
        0.5 * all * (1.0 - spread + spread.sqrt() * z).powi(3).max(0.0)
    }

    /// Weights for the run's seed: normal numbers about as large as the error.
    fn draw_weights(&mut self) {
        let size = (self.start.iter().map(|e| e * e).sum::<f64>() / self.start.len() as f64).sqrt();
        let drawn = normals(&mut stream(self.seed, Purpose::Weights, 0), self.start.len());
        self.start_weights.iter_mut().zip(drawn).for_each(|(w, z)| *w = size * f64::from(z));
    }

    /// ‖w‖, where w has moved as the error has.
    fn weight_norm(&self) -> f64 {
        let weights = self.start_weights.iter().zip(&self.error).zip(&self.start).map(|((w, e), start)| w + e - start);
        weights.map(|w| w * w).sum::<f64>().sqrt()
    }
}

impl Task for PowerLaw {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        self.seed = seed;
        self.recorder.reset(0, 0);
        self.error.copy_from_slice(&self.start);
        self.velocity.fill(0.0);
        self.draw_weights();
        let mut grad_sq = 0.0;
        let loss = self.batch(u64::MAX, |_, g| grad_sq += g * g);
        self.recorder.probe(loss, &[grad_sq]);
        Ok(self.recorder.finish(Some(self.loss()), &[self.weight_norm()]))
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        self.advance_steps(self.spec.steps_per_interval as u64, &|_| hyperparameters.lr, hyperparameters)
    }

    fn trains_single_steps(&self) -> bool {
        true
    }

    fn advance_steps(&mut self, steps: u64, lr: &dyn Fn(u64) -> f64, _: &Hyperparameters) -> Result<Measurement> {
        let before = self.error.clone();
        let mut velocity = std::mem::take(&mut self.velocity);
        for lr in (0..steps).map(lr) {
            let (mut grad_sq, mut update_sq) = (0.0, 0.0);
            let momentum = self.config.momentum;
            let loss = self.batch(self.recorder.steps(), |i, g| {
                grad_sq += g * g;
                velocity[i] = momentum * velocity[i] + g;
                update_sq += (lr * velocity[i]).powi(2);
            });
            self.error.iter_mut().zip(&velocity).for_each(|(e, v)| *e -= lr * v);
            if !self.recorder.step(loss, &[grad_sq], &[update_sq]) {
                break;
            }
        }
        self.velocity = velocity;
        let moved = self.error.iter().zip(&before).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let measured = self.recorder.finish(Some(self.loss()), &[self.weight_norm()]);
        Ok(Measurement { displacement: Some(moved), ..measured })
    }

    fn evaluate(&mut self, _: Split) -> Result<(f64, f64)> {
        Ok((self.loss(), 0.0))
    }

    fn save(&self) -> Result<Vec<u8>> {
        let state = State {
            seed: self.seed,
            interval: self.recorder.interval(),
            steps: self.recorder.steps(),
            error: self.error.clone(),
            velocity: self.velocity.clone(),
        };
        save_state(&self.spec.name, &state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let State { seed, interval, steps, error, velocity } = load_state(&self.spec.name, state)?;
        if error.len() != self.error.len() || velocity.len() != self.velocity.len() {
            return Err(Error::Bug(format!("the saved state is not of the task `{}`", self.spec.name)));
        }
        (self.seed, self.error, self.velocity) = (seed, error, velocity);
        self.recorder.reset(interval, steps);
        self.draw_weights();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(momentum: f64) -> PowerLawConfig {
        PowerLawConfig { dimensions: 6, capacity: 1.3, source: 0.7, noise: 0.4, batch_size: 2, momentum }
    }

    fn task(momentum: f64) -> PowerLaw {
        PowerLaw::new(config(momentum), "power-law", 4, 5, (1e-9, 1e3)).unwrap()
    }

    /// The mean over many noisy runs is the closed form, within four standard errors.
    #[test]
    fn expected_loss_is_the_mean_of_runs() {
        for momentum in [0.0, 0.8] {
            let mut task = task(momentum);
            let lr = |step: u64| 0.05 / (1.0 + 0.1 * step as f64);
            let losses: Vec<f64> = (0..4000)
                .map(|seed| {
                    task.reset(seed).unwrap();
                    task.advance_steps(20, &lr, &Hyperparameters::lr(0.05)).unwrap().loss()
                })
                .collect();
            let n = losses.len() as f64;
            let mean = losses.iter().sum::<f64>() / n;
            let sd = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
            let want = config(momentum).expected_loss(&(0..20).map(lr).collect::<Vec<_>>());
            assert!((mean - want).abs() < 4.0 * sd / n.sqrt(), "{mean} ± {} for {want}", sd / n.sqrt());
            assert!(sd / n.sqrt() < 0.01 * want, "it could not tell");
        }
    }

    /// The variance of the gradient is that of the regression itself, computed from its definition: x(x·e − √noise·ε).
    #[test]
    fn gradients_have_the_moments_of_the_regression() {
        let mut task = task(0.0);
        let (n, runs) = (6, 20_000);
        let (variances, errors) = config(0.0).spectrum();
        let (mut ours, mut theirs) = (vec![[0.0; 2]; n], vec![[0.0; 2]; n]);
        let mut losses = 0.0;
        for run in 0..runs {
            task.seed = run;
            losses += task.batch(0, |i, g| {
                ours[i][0] += g / runs as f64;
                ours[i][1] += g * g / runs as f64;
            }) / runs as f64;
            let z = normals(&mut stream(run, Purpose::Data, 0), 2 * (n + 1));
            let mut gradient = vec![0.0; n];
            for z in z.chunks_exact(n + 1) {
                let x: Vec<f64> = (0..n).map(|i| variances[i].sqrt() * f64::from(z[i])).collect();
                let residual = x.iter().zip(&errors).map(|(x, e)| x * e).sum::<f64>() - 0.4f64.sqrt() * f64::from(z[n]);
                gradient.iter_mut().zip(&x).for_each(|(g, x)| *g += 0.5 * x * residual);
            }
            for (sums, g) in theirs.iter_mut().zip(gradient) {
                sums[0] += g / runs as f64;
                sums[1] += g * g / runs as f64;
            }
        }
        // Products of normal numbers have a kurtosis of 9 at most here, so the standard error of a mean square is 2 %.
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours[0] - theirs[0]).abs() < 5.0 * (2.0 * theirs[1] / runs as f64).sqrt(), "{ours:?} {theirs:?}");
            assert!((ours[1] / theirs[1] - 1.0).abs() < 0.1, "{ours:?} {theirs:?}");
        }
        assert!((losses / 0.7 - 1.0).abs() < 0.02, "{losses} for (1 + 0.4)/2");
    }

    #[test]
    fn a_restored_state_goes_on_to_the_same_bits_in_another_task() {
        let (mut task, mut other) = (task(0.9), task(0.9));
        task.reset(3).unwrap();
        task.advance(&Hyperparameters::lr(0.1)).unwrap();
        let state = task.save().unwrap();
        let first = task.advance(&Hyperparameters::lr(0.2)).unwrap();
        other.load(&state).unwrap();
        assert_eq!(other.advance(&Hyperparameters::lr(0.2)).unwrap(), first);
        let smaller = PowerLawConfig { dimensions: 5, ..config(0.9) };
        assert!(PowerLaw::new(smaller, "s", 4, 5, (1e-9, 1e3)).unwrap().load(&state).is_err());
    }

    #[test]
    fn a_huge_rate_diverges_as_a_value() {
        let mut task = task(0.0);
        task.reset(0).unwrap();
        let m = task.advance_steps(4000, &|_| 50.0, &Hyperparameters::lr(50.0)).unwrap();
        assert!(m.diverged && m.steps < 4000);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let wrong = PowerLawConfig { momentum: 1.0, ..config(0.0) };
        assert!(wrong.check().unwrap_err().to_string().contains("power_law.momentum"));
    }
}
