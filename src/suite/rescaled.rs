//! A task in other units: weights times ρ and losses times c, which nothing that sets a learning rate should notice.
//!
//! A network whose weights are ρw instead of w, with a loss of cL instead of L, has gradients of c/ρ times the size. SGD
//! moves it as it moves the original if its learning rate is ρ²/c times as large. So the original is trained here, and
//! only what goes in and comes out is converted.

use crate::range::{self, Range};
use crate::task::{Split, Task, TaskSpec};
use crate::{Error, Result};
use lrpilot_core::{Hyperparameters, Measurement, OptimizerFamily};
use serde::{Deserialize, Serialize};

/// The factors of the units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescale {
    /// ρ > 0, by which weights are multiplied.
    pub weights: f64,
    /// c > 0, by which losses are multiplied.
    pub loss: f64,
}

impl Rescale {
    /// The learning rate that moves the rescaled network as 1 moves the original.
    pub fn lr(self) -> f64 {
        self.weights * self.weights / self.loss
    }

    /// Check the factors.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(self) -> Result<()> {
        range::check("rescale.weights", self.weights, Range::Positive)?;
        range::check("rescale.loss", self.loss, Range::Positive)
    }

    fn measured(self, m: Measurement) -> Measurement {
        let (rho, c) = (self.weights, self.loss);
        let all = |values: Vec<f64>, factor: f64| values.into_iter().map(|v| v * factor).collect();
        let times = |value: Option<f64>, factor: f64| value.map(|v| v * factor);
        Measurement {
            train_loss: times(m.train_loss, c),
            train_loss_first_half: times(m.train_loss_first_half, c),
            train_loss_second_half: times(m.train_loss_second_half, c),
            train_loss_sd: times(m.train_loss_sd, c),
            train_loss_max: times(m.train_loss_max, c),
            val_loss: times(m.val_loss, c),
            grad_norms: all(m.grad_norms, c / rho),
            grad_norm_mean: times(m.grad_norm_mean, c / rho),
            grad_norm_sd: times(m.grad_norm_sd, c / rho),
            weight_norms: all(m.weight_norms, rho),
            update_norms: all(m.update_norms, rho),
            displacement: times(m.displacement, rho),
            path_length: times(m.path_length, rho),
            step_size: times(m.step_size, self.lr()),
            ..m
        }
    }
}

/// A task trained by SGD, in other units.
pub struct Rescaled {
    task: Box<dyn Task>,
    spec: TaskSpec,
    rescale: Rescale,
}

impl Rescaled {
    /// The task in other units. Its range of learning rates moves along; its default learning rate is the optimizer's and
    /// stays.
    ///
    /// # Errors
    /// [`Error::Config`] for factors that are not positive, or a task that plain SGD or SGD with momentum does not train.
    pub fn new(task: Box<dyn Task>, rescale: Rescale) -> Result<Self> {
        rescale.check()?;
        let mut spec = task.spec().clone();
        if !matches!(spec.optimizer, Some(OptimizerFamily::Sgd { .. })) {
            let message = format!("the task `{}` is not trained by SGD", spec.name);
            return Err(Error::config("rescale", message, "leave the table out, or give the task optimizer = sgd"));
        }
        spec.lr_bounds = (spec.lr_bounds.0 * rescale.lr(), spec.lr_bounds.1 * rescale.lr());
        spec.chance_loss = spec.chance_loss.map(|loss| loss * rescale.loss);
        Ok(Rescaled { task, spec, rescale })
    }

    /// Weight decay of λ on ρw with the learning rate ρ²/c has the effect of λρ²/c on w.
    fn original(&self, h: &Hyperparameters) -> Hyperparameters {
        let factor = self.rescale.lr();
        Hyperparameters { lr: h.lr / factor, momentum: h.momentum, weight_decay: h.weight_decay.map(|d| d * factor) }
    }
}

impl Task for Rescaled {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        Ok(self.rescale.measured(self.task.reset(seed)?))
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        Ok(self.rescale.measured(self.task.advance(&self.original(hyperparameters))?))
    }

    fn trains_single_steps(&self) -> bool {
        self.task.trains_single_steps()
    }

    fn advance_steps(
        &mut self,
        steps: u64,
        lr: &dyn Fn(u64) -> f64,
        hyperparameters: &Hyperparameters,
    ) -> Result<Measurement> {
        let (factor, original) = (self.rescale.lr(), self.original(hyperparameters));
        let measured = self.task.advance_steps(steps, &|i| lr(i) / factor, &original)?;
        Ok(self.rescale.measured(measured))
    }

    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)> {
        let (loss, accuracy) = self.task.evaluate(split)?;
        Ok((loss * self.rescale.loss, accuracy))
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.task.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.task.load(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{ConfiguredTask, QuadraticConfig, TaskConfig, TaskSource};

    fn quadratic() -> Box<dyn Task> {
        let config = TaskConfig::NoisyQuadratic(QuadraticConfig { dimensions: 3, ..QuadraticConfig::default() });
        ConfiguredTask::new(&config, None).unwrap().task(0).unwrap()
    }

    /// ρ = 4 and c = 2: losses double, weights quadruple, gradients halve; the learning rate is 8 times as large. Powers of
    /// two make it exact.
    #[test]
    fn the_twin_does_the_same_in_other_units() {
        let rescale = Rescale { weights: 4.0, loss: 2.0 };
        let (mut one, mut twin) = (quadratic(), Rescaled::new(quadratic(), rescale).unwrap());
        let (a, b) = (one.reset(5).unwrap(), twin.reset(5).unwrap());
        assert_eq!((a.loss() * 2.0, a.weight_norms[0] * 4.0), (b.loss(), b.weight_norms[0]));
        assert_eq!(twin.spec().lr_bounds, (8e-6, 8.0 * 1.9));
        let h = Hyperparameters::lr(f64::NAN);
        let a = one.advance_steps(20, &|i| 0.5 / (1 + i) as f64, &h).unwrap();
        let b = twin.advance_steps(20, &|i| 4.0 / (1 + i) as f64, &h).unwrap();
        assert_eq!((a.loss() * 2.0, a.update_norms[0] * 4.0), (b.loss(), b.update_norms[0]));
        assert_eq!(
            (a.grad_norms[0] / 2.0, a.train_loss_max.unwrap() * 2.0),
            (b.grad_norms[0], b.train_loss_max.unwrap())
        );
        assert_eq!(one.evaluate(Split::Test).unwrap().0 * 2.0, twin.evaluate(Split::Test).unwrap().0);
        let saved = twin.save().unwrap();
        let (again, direct) =
            (twin.advance(&Hyperparameters::lr(0.8)).unwrap(), one.advance(&Hyperparameters::lr(0.1)));
        assert_eq!(again.loss(), direct.unwrap().loss() * 2.0);
        twin.load(&saved).unwrap();
        assert_eq!(twin.advance(&Hyperparameters::lr(0.8)).unwrap(), again);
    }

    /// The factors of the sealed suite on a network: 50 is 1000 times 0.05, so even the bits are the same.
    #[test]
    fn a_network_trained_by_sgd_has_the_same_losses_times_ten() {
        let digits = || {
            let TaskConfig::Supervised(mut config) = crate::task::Preset::Digits.config() else { unreachable!() };
            config.model = crate::nn::model::ModelSpec::Name("mlp-4".into());
            ConfiguredTask::new(&TaskConfig::Supervised(config), None).unwrap().task(0).unwrap()
        };
        let rescale = Rescale { weights: 100.0, loss: 10.0 };
        let (mut one, mut twin) = (digits(), Rescaled::new(digits(), rescale).unwrap());
        let (a, b) = (one.reset(5).unwrap(), twin.reset(5).unwrap());
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
        assert!(close(a.loss() * 10.0, b.loss()) && close(a.grad_norms[0] / 10.0, b.grad_norms[0]));
        // ‖w‖/‖g‖ is what the anchor is made of: ρ²/c times as large, like the learning rate.
        assert!(close(a.weight_norms[1] / a.grad_norms[1] * 1000.0, b.weight_norms[1] / b.grad_norms[1]));
        let (a, b) = (Hyperparameters::lr(0.05), Hyperparameters::lr(50.0));
        let (a, b) = (one.advance(&a).unwrap(), twin.advance(&b).unwrap());
        assert!(close(a.loss() * 10.0, b.loss()) && close(a.update_norms[0] * 100.0, b.update_norms[0]));
    }

    #[test]
    fn factors_are_positive_and_the_optimizer_is_sgd() {
        let wrong = Rescaled::new(quadratic(), Rescale { weights: 0.0, loss: 1.0 }).err().unwrap();
        assert!(wrong.to_string().contains("rescale.weights"), "{wrong}");
        let mut adam = crate::task::Preset::DigitsClean.config();
        let TaskConfig::Supervised(config) = &mut adam else { unreachable!() };
        config.optimizer = toml::from_str("type = \"adam\"").unwrap();
        let task = ConfiguredTask::new(&adam, None).unwrap().task(0).unwrap();
        let wrong = Rescaled::new(task, Rescale { weights: 2.0, loss: 1.0 }).err().unwrap();
        assert!(wrong.to_string().contains("not trained by SGD"), "{wrong}");
    }
}
