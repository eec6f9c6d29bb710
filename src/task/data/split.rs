//! Splits: training, validation A (reward), validation B (selection), test (once).

use crate::keys::{Allowed, Key};
use crate::range::{self, Range};
use crate::rng::{Purpose, Rng, stream};
use crate::task::data::{Dataset, Examples, Images, Targets};
use crate::{Error, Result, limits};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

/// Sizes of the splits and the noise on the training labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Training images, ≥ 1.
    pub train_images: usize,
    /// Images of validation A, ≥ 1.
    pub val_a: usize,
    /// Images of validation B, ≥ 1.
    pub val_b: usize,
    /// Test images, ≥ 1.
    pub test: usize,
    /// Share of the training labels that are replaced by another class, in [0, 1].
    #[serde(default)]
    pub label_noise: f64,
    /// Seed of the split and the noise: a property of the task, not of a run.
    #[serde(default)]
    pub data_seed: u64,
}

impl SplitConfig {
    /// The keys of `[task.data]`.
    pub const KEYS: &[Key] = &[
        Key::new("train_images", Allowed::Count(1, limits::IMAGES), "images to train on"),
        Key::new(
            "val_a",
            Allowed::Count(1, limits::IMAGES),
            "validation A: policies and metric-driven schedules look at it while they train",
        ),
        Key::new(
            "val_b",
            Allowed::Count(1, limits::IMAGES),
            "validation B: chooses between policies and between settings",
        ),
        Key::new("test", Allowed::Count(1, limits::IMAGES), "test images, looked at once, at the end"),
        Key::new(
            "label_noise",
            Allowed::Number(Range::Share),
            "share of the training labels that become another class",
        ),
        Key::new("data_seed", Allowed::Count(0, limits::SEED), "seed of the split and of the noise; not of a run"),
    ];

    /// Check what the types do not say and no data set is needed for.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let SplitConfig { train_images, val_a, val_b, test, label_noise, data_seed } = *self;
        for (key, value) in [("train_images", train_images), ("val_a", val_a), ("val_b", val_b), ("test", test)] {
            range::count(format_args!("task.data.{key}"), value, 1, limits::IMAGES)?;
        }
        range::count("task.data.data_seed", data_seed, 0, limits::SEED)?;
        range::check("task.data.label_noise", label_noise, Range::Share)
    }
}

/// The four disjoint parts of a task's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// Training examples, some labels noised.
    pub train: Examples,
    /// Validation A: what a method may look at while it trains.
    pub val_a: Examples,
    /// Validation B: chooses between policies and settings.
    pub val_b: Examples,
    /// Test: looked at once.
    pub test: Examples,
}

impl Splits {
    /// Cut `dataset` up. Validation images come from its training part; so do the test images where it has no test
    /// part. Pixels are standardised by the mean and standard deviation of the training images.
    ///
    /// # Errors
    /// [`Error::Config`] if a size is 0, more images are asked for than there are, or the noise is not in [0, 1].
    ///
    /// ```
    /// use lrpilot::task::data::{load, DatasetName, SplitConfig, Splits};
    /// let digits = load(DatasetName::Digits, "".as_ref())?;
    /// let config = SplitConfig { train_images: 100, val_a: 20, val_b: 20, test: 20, label_noise: 0.2, data_seed: 0 };
    /// assert_eq!(Splits::new(&digits, &config)?.train.len(), 100);
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    pub fn new(dataset: &Dataset, config: &SplitConfig) -> Result<Self> {
        check(dataset, config)?;
        let mut rng = stream(config.data_seed, Purpose::Data, 0);
        let order = shuffled(dataset.train.len(), &mut rng);
        let (train, rest) = order.split_at(config.train_images);
        let (a, rest) = rest.split_at(config.val_a);
        let (b, rest) = rest.split_at(config.val_b);
        let scale = Scale::of(&dataset.train, train);
        let test = match &dataset.test {
            Some(images) => examples(images, &shuffled(images.len(), &mut rng)[..config.test], &scale),
            None => examples(&dataset.train, &rest[..config.test], &scale),
        };
        let mut train = examples(&dataset.train, train, &scale);
        add_label_noise(&mut train.targets, config);
        let part = |indices| examples(&dataset.train, indices, &scale);
        Ok(Splits { train, val_a: part(a), val_b: part(b), test })
    }

    /// The same inputs, each of which is its own target.
    pub fn autoencoding(self) -> Self {
        let own = |part: Examples| {
            let targets = Targets::Values { width: part.shape.len(), values: part.x.clone() };
            Examples { targets, ..part }
        };
        let Splits { train, val_a, val_b, test } = self;
        Splits { train: own(train), val_a: own(val_a), val_b: own(val_b), test: own(test) }
    }
}

fn check(dataset: &Dataset, config: &SplitConfig) -> Result<()> {
    config.check()?;
    let SplitConfig { train_images, val_a, val_b, test, .. } = *config;
    let (from_test, available) = match &dataset.test {
        Some(images) => (0, images.len()),
        None => (test, test),
    };
    let wanted = train_images + val_a + val_b + from_test;
    let have = dataset.train.len();
    if wanted > have || test > available {
        let name = dataset.name.name();
        let message =
            format!("{wanted} + {test} images are asked for; {name} has {have} to train and {available} to test");
        return Err(Error::config("task.data", message, "make the splits smaller"));
    }
    Ok(())
}

pub(super) fn shuffled(n: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

/// Mean and standard deviation of pixels.
struct Scale {
    mean: f64,
    sd: f64,
}

impl Scale {
    fn of(images: &Images, indices: &[usize]) -> Self {
        let width = images.shape.len();
        let pixels = || indices.iter().flat_map(|i| &images.pixels[i * width..(i + 1) * width]).map(|p| f64::from(*p));
        let n = (indices.len() * width) as f64;
        let mean = pixels().sum::<f64>() / n;
        let sd = (pixels().map(|p| (p - mean).powi(2)).sum::<f64>() / n).sqrt();
        Scale { mean, sd: if sd > 0.0 { sd } else { 1.0 } }
    }
}

fn examples(images: &Images, indices: &[usize], scale: &Scale) -> Examples {
    let width = images.shape.len();
    let pixels = indices.iter().flat_map(|i| &images.pixels[i * width..(i + 1) * width]);
    Examples {
        shape: images.shape,
        x: pixels.map(|p| ((f64::from(*p) - scale.mean) / scale.sd) as f32).collect(),
        targets: Targets::Classes {
            count: images.classes,
            labels: indices.iter().map(|i| u32::from(images.labels[*i])).collect(),
        },
    }
}

/// Replace exactly ⌊share·n⌋ labels by a uniformly drawn other class. Numbers are left as they are.
pub(super) fn add_label_noise(targets: &mut Targets, config: &SplitConfig) {
    let Targets::Classes { count, labels } = targets else { return };
    let mut rng = stream(config.data_seed, Purpose::Data, 1);
    let noised = (config.label_noise * labels.len() as f64) as usize;
    for i in &shuffled(labels.len(), &mut rng)[..noised] {
        let other = rng.random_range(1..*count) as u32;
        labels[*i] = (labels[*i] + other) % *count as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Shape;
    use crate::task::data::{DatasetName, load};
    use std::collections::HashSet;

    fn numbered(n: usize) -> Dataset {
        let train = Images {
            shape: Shape::flat(2),
            classes: 10,
            pixels: (0..n).flat_map(|i| [(i / 256) as u8, (i % 256) as u8]).collect(),
            labels: (0..n).map(|i| (i % 10) as u8).collect(),
        };
        Dataset { name: DatasetName::Digits, train, test: None }
    }

    fn config(label_noise: f64) -> SplitConfig {
        SplitConfig { train_images: 500, val_a: 100, val_b: 100, test: 100, label_noise, data_seed: 3 }
    }

    #[test]
    fn splits_are_disjoint_and_noise_hits_the_stated_share() {
        let clean = Splits::new(&numbered(1000), &config(0.0)).unwrap();
        let noisy = Splits::new(&numbered(1000), &config(0.2)).unwrap();
        assert_eq!(clean.train.x, noisy.train.x);
        let labels = |splits: &Splits| match &splits.train.targets {
            Targets::Classes { labels, .. } => labels.clone(),
            Targets::Values { .. } => unreachable!(),
        };
        assert_eq!(labels(&clean).iter().zip(&labels(&noisy)).filter(|(a, b)| a != b).count(), 100);
        assert_eq!(clean.val_a, noisy.val_a);
        let mut seen = HashSet::new();
        for part in [&clean.train, &clean.val_a, &clean.val_b, &clean.test] {
            for x in part.x.chunks_exact(2) {
                assert!(seen.insert([x[0].to_bits(), x[1].to_bits()]), "an image is in two splits");
            }
        }
    }

    #[test]
    fn too_many_images_are_refused_with_the_numbers() {
        let digits = load(DatasetName::Digits, "".as_ref()).unwrap();
        let error = Splits::new(&digits, &SplitConfig { train_images: 1700, ..config(0.0) }).unwrap_err();
        assert!(error.to_string().contains("digits has 1797"), "{error}");
    }
}
