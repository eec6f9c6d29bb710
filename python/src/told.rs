//! What a training loop, or a task in Python, tells of an interval.

use lrpilot_core::{Measurement, Recorder};

/// Gradient norms whose standard deviation is below this share of their mean were clipped, and say nothing.
const CLIPPED: f64 = 1e-3;

/// Losses and norms of one interval, as far as they are known.
#[derive(Default)]
pub struct Told {
    /// Losses of batches, each before its optimizer step.
    pub losses: Vec<f64>,
    /// Σg² of each group, in some of the steps.
    pub grad_sq: Vec<Vec<f64>>,
    /// ‖w‖ of each group at the end.
    pub weight_norms: Vec<f64>,
    /// Mean training loss, for callers who do not know it batch by batch.
    pub train_loss: Option<f64>,
    /// Loss on held-back data at the end.
    pub val_loss: Option<f64>,
    /// Norms of whole gradients, in place of `grad_sq`.
    pub grad_norms: Vec<f64>,
}

impl Told {
    /// The measurement of a trained interval of a network with `groups` groups, after which `interval` intervals and
    /// `steps` optimizer steps are done.
    pub fn of_interval(&self, groups: usize, interval: usize, steps: u64) -> Measurement {
        let mut recorder = Recorder::new(groups);
        self.losses.iter().for_each(|loss| {
            recorder.step(*loss, &[], &[]);
        });
        self.grad_sq.iter().for_each(|sq| recorder.gradient(sq));
        let mut m = recorder.finish(self.val_loss, &self.weight_norms);
        (m.interval, m.steps) = (interval, steps);
        m.diverged |= self.train_loss.is_some_and(|loss| !loss.is_finite());
        m.train_loss = m.train_loss.or(self.train_loss);
        if !self.grad_norms.is_empty() {
            set_norms(&mut m, &self.grad_norms);
        } else if was_clipped(&m, self.grad_sq.len()) {
            set_norms(&mut m, &[]);
        }
        m
    }

    /// The measurement of an untrained network: what [`Run`](crate::run::Run) starts from.
    pub fn of_probe(&self) -> Measurement {
        let gradient = self.grad_sq.first().map_or(&[][..], |sq| sq);
        Measurement {
            train_loss: self.losses.first().copied().or(self.train_loss),
            val_loss: self.val_loss,
            weight_norms: self.weight_norms.clone(),
            grad_norms: gradient.iter().map(|sq| sq.sqrt()).collect(),
            ..Measurement::default()
        }
    }
}

/// Replace what was measured of gradients by the norms of whole gradients; those of groups are not known then.
fn set_norms(m: &mut Measurement, norms: &[f64]) {
    let mut recorder = Recorder::new(1);
    norms.iter().for_each(|norm| recorder.gradient(&[norm * norm]));
    let told = recorder.finish(None, &[]);
    (m.grad_norm_mean, m.grad_norm_sd) = (told.grad_norm_mean, told.grad_norm_sd);
    m.grad_norms.clear();
}

fn was_clipped(m: &Measurement, samples: usize) -> bool {
    let relative = m.grad_norm_mean.zip(m.grad_norm_sd).map(|(mean, sd)| sd / mean);
    samples > 1 && relative.is_some_and(|relative| relative < CLIPPED)
}
