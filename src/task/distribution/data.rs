//! Where the examples of a drawn task come from.

use super::config::Family;
use super::drawn::{NetworkProblem, Sizes};
use super::real::{ImageDraw, RealData};
use super::sampling::{fill_normal, normals, rotate};
use super::teacher::{Function, classes_of};
use crate::nn::Shape;
use crate::rng::{Purpose, Rng, stream};
use crate::task::data::{Examples, Splits, Targets};
use crate::{Error, Result};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// Where the examples of a drawn task come from. Whatever else is random about them comes from the task's seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum DataDraw {
    /// Normal clouds around random centres, some for each class.
    Mixture {
        /// Inputs.
        features: usize,
        /// Classes.
        classes: usize,
        /// Clouds of a class.
        modes: usize,
        /// Typical distance between centres, in units of √8 standard deviations of a cloud.
        separation: f64,
        /// Largest over smallest standard deviation of the inputs within a cloud.
        condition: f64,
    },
    /// Normal inputs, which a random function puts into classes.
    Teacher {
        /// Inputs.
        features: usize,
        /// Classes.
        classes: usize,
        /// The function, which gives a logit for each class.
        function: Function,
        /// Factor of the logits, of which softmax then draws the class; the class of the largest if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sharpness: Option<f64>,
        /// Largest over smallest standard deviation of the inputs.
        condition: f64,
    },
    /// Nominal inputs, one-hot, with Zipf's frequencies; logits are sums over the inputs.
    Sparse {
        /// Nominal inputs.
        fields: usize,
        /// Values that each can have.
        values: usize,
        /// Value number k has a frequency proportional to k^−exponent.
        exponent: f64,
        /// Classes.
        classes: usize,
        /// As for teachers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sharpness: Option<f64>,
    },
    /// Real images made small.
    Images(ImageDraw),
    /// A real table.
    Table {
        /// Name of its file, without the ending.
        name: String,
    },
    /// Normal inputs with a power-law spectrum, of which a random function gives the target values.
    Regression {
        /// Inputs; the variance of number i is proportional to i^−exponent.
        features: usize,
        /// Decay of the spectrum.
        exponent: f64,
        /// Target values.
        outputs: usize,
        /// The function, whose values have variance 1.
        function: Function,
        /// Standard deviation of the noise on all target values.
        noise: f64,
    },
    /// Normal inputs with a power-law spectrum in random directions; they are their own targets.
    Autoencoder {
        /// Inputs; the variance in direction i is proportional to i^−exponent, 1 on average.
        features: usize,
        /// Decay of the spectrum.
        exponent: f64,
        /// Standard deviation of noise on the inputs that the targets do not have.
        noise: f64,
    },
}

/// Examples of all four parts, one after the other: training, validation A, validation B, test.
pub(super) struct Pool {
    /// Numbers in an example.
    pub features: usize,
    /// All inputs, `[n][features]`.
    pub x: Vec<f32>,
    /// All targets.
    pub targets: Targets,
}

impl DataDraw {
    /// The family that such tasks belong to.
    pub fn family(&self) -> Family {
        match self {
            DataDraw::Mixture { .. } | DataDraw::Teacher { .. } | DataDraw::Sparse { .. } => Family::Synthetic,
            DataDraw::Images(_) => Family::Images,
            DataDraw::Table { .. } => Family::Tables,
            DataDraw::Regression { .. } | DataDraw::Autoencoder { .. } => Family::Regression,
        }
    }

    /// A word for it.
    pub fn name(&self) -> &str {
        match self {
            DataDraw::Mixture { .. } => "mixture",
            DataDraw::Teacher { function: Function::Linear {}, .. } => "linear",
            DataDraw::Teacher { function: Function::Mlp { .. }, .. } => "teacher",
            DataDraw::Teacher { function: Function::Fourier { .. }, .. } => "fourier",
            DataDraw::Sparse { .. } => "sparse",
            DataDraw::Images(images) => images.set.name(),
            DataDraw::Table { name } => name,
            DataDraw::Regression { .. } => "regression",
            DataDraw::Autoencoder { .. } => "autoencoder",
        }
    }

    fn pool(&self, rng: &mut Rng, sizes: Sizes, real: &RealData) -> Result<Pool> {
        let n = sizes.total();
        Ok(match *self {
            DataDraw::Mixture { features, classes, modes, separation, condition } => {
                let mut x = normals(rng, n * features);
                let distance = 2.0 * separation as f32 / (features as f32).sqrt();
                let centres = normals(rng, classes * modes * features);
                let centre_of: Vec<usize> = (0..n).map(|_| rng.random_range(0..classes * modes)).collect();
                for (row, &mode) in x.chunks_exact_mut(features).zip(&centre_of) {
                    let centre = &centres[mode * features..][..features];
                    row.iter_mut().zip(centre).for_each(|(v, c)| *v += distance * c);
                }
                scale_columns(&mut x, &conditioned(features, condition));
                let labels = centre_of.into_iter().map(|mode| (mode % classes) as u32).collect();
                Pool { features, x, targets: Targets::Classes { count: classes, labels } }
            }
            DataDraw::Teacher { features, classes, function, sharpness, condition } => {
                let mut x = normals(rng, n * features);
                let logits = function.values(rng, &x, features, classes);
                scale_columns(&mut x, &conditioned(features, condition));
                let labels = classes_of(rng, &logits, classes, sharpness);
                Pool { features, x, targets: Targets::Classes { count: classes, labels } }
            }
            DataDraw::Sparse { fields, values, exponent, classes, sharpness } => {
                let features = fields * values;
                let x = one_hot_zipf(rng, n, fields, values, exponent);
                let logits = Function::Linear {}.values(rng, &x, features, classes);
                let labels = classes_of(rng, &logits, classes, sharpness);
                Pool { features, x, targets: Targets::Classes { count: classes, labels } }
            }
            DataDraw::Images(draw) => real.images(rng, draw, sizes)?,
            DataDraw::Table { .. } => return Err(Error::Bug("a table is cut up as a whole".into())),
            DataDraw::Regression { features, exponent, outputs, function, noise } => {
                let mut x = normals(rng, n * features);
                scale_columns(&mut x, &power_law_scales(features, exponent));
                let mut values = function.values(rng, &x, features, outputs);
                let errors = normals(rng, values.len());
                values.iter_mut().zip(errors).for_each(|(v, e)| *v += noise as f32 * e);
                Pool { features, x, targets: Targets::Values { width: outputs, values } }
            }
            DataDraw::Autoencoder { features, exponent, noise } => {
                let mut clean = normals(rng, n * features);
                scale_columns(&mut clean, &power_law_scales(features, exponent));
                rotate(rng, &mut clean, features);
                let mut x = vec![0.0; clean.len()];
                if noise > 0.0 {
                    fill_normal(rng, &mut x);
                }
                x.iter_mut().zip(&clean).for_each(|(v, c)| *v = c + noise as f32 * *v);
                Pool { features, x, targets: Targets::Values { width: features, values: clean } }
            }
        })
    }
}

/// The examples of a drawn problem.
///
/// # Errors
/// [`crate::Error::Config`] for a real data set that is not there, or more examples than it has.
pub(super) fn examples(problem: &NetworkProblem, seed: u64, real: &RealData) -> Result<Splits> {
    let mut splits = match &problem.data {
        DataDraw::Table { name } => real.table(name, &problem.split_config(seed))?,
        data => {
            let mut pool = data.pool(&mut stream(seed, Purpose::Data, 0), problem.sizes, real)?;
            if let Targets::Classes { count, labels } = &mut pool.targets {
                let mut rng = stream(seed, Purpose::Data, 1);
                replace_labels(&mut rng, &mut labels[..problem.sizes.train], *count, problem.label_noise);
            }
            pool.split(problem.sizes)
        }
    };
    let scale = problem.input_scale as f32;
    for part in [&mut splits.train, &mut splits.val_a, &mut splits.val_b, &mut splits.test] {
        part.x.iter_mut().for_each(|v| *v *= scale);
        part.shape = problem.shape();
    }
    Ok(splits)
}

/// Replace ⌊share·n⌋ labels by another class.
fn replace_labels(rng: &mut Rng, labels: &mut [u32], classes: usize, share: f64) {
    let noised = (share * labels.len() as f64) as usize;
    for i in rand::seq::index::sample(rng, labels.len(), noised) {
        let other = rng.random_range(1..classes) as u32;
        labels[i] = (labels[i] + other) % classes as u32;
    }
}

impl Pool {
    fn split(mut self, sizes: Sizes) -> Splits {
        // From the end, so that the largest part, in front, keeps its memory.
        let test = self.take_last(sizes.test);
        let val_b = self.take_last(sizes.val_b);
        let val_a = self.take_last(sizes.val_a);
        let train = self.take_last(sizes.train);
        Splits { train, val_a, val_b, test }
    }

    fn take_last(&mut self, n: usize) -> Examples {
        let x = self.x.split_off(self.x.len() - n * self.features);
        let targets = match &mut self.targets {
            Targets::Classes { count, labels } => {
                Targets::Classes { count: *count, labels: labels.split_off(labels.len() - n) }
            }
            Targets::Values { width, values } => {
                Targets::Values { width: *width, values: values.split_off(values.len() - n * *width) }
            }
        };
        Examples { shape: Shape::flat(self.features), x, targets }
    }
}

/// Standard deviations that fall evenly in the logarithm from 1 to 1/condition.
fn conditioned(features: usize, condition: f64) -> Vec<f32> {
    let last = (features - 1).max(1) as f64;
    (0..features).map(|i| condition.powf(-(i as f64) / last) as f32).collect()
}

/// Standard deviations whose squares fall as i^−exponent and are 1 on average.
fn power_law_scales(features: usize, exponent: f64) -> Vec<f32> {
    let variances: Vec<f64> = (1..=features).map(|i| (i as f64).powf(-exponent)).collect();
    let mean = variances.iter().sum::<f64>() / features as f64;
    variances.into_iter().map(|v| (v / mean).sqrt() as f32).collect()
}

fn scale_columns(x: &mut [f32], scales: &[f32]) {
    for row in x.chunks_exact_mut(scales.len()) {
        row.iter_mut().zip(scales).for_each(|(v, s)| *v *= s);
    }
}

/// `[n][fields · values]` with a 1 for each field.
fn one_hot_zipf(rng: &mut Rng, n: usize, fields: usize, values: usize, exponent: f64) -> Vec<f32> {
    let mut cumulated = Vec::with_capacity(values);
    let mut total = 0.0;
    for k in 1..=values {
        total += (k as f64).powf(-exponent);
        cumulated.push(total);
    }
    let mut x = vec![0.0; n * fields * values];
    for field in x.chunks_exact_mut(values) {
        let at = total * rng.random::<f64>();
        field[cumulated.partition_point(|c| *c <= at).min(values - 1)] = 1.0;
    }
    x
}
