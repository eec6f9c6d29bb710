//! What a distribution of tasks is: how often each family comes, and how large tasks may be.

use crate::range::{self, Range};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Classification of made-up data: Gaussian mixtures and random teachers.
    Synthetic,
    /// Classification of real images made small: digits, and MNIST where it is there.
    Images,
    /// Regression on a random teacher, and autoencoders.
    Regression,
    /// Linear regression with a power-law spectrum, one pass, without a network.
    PowerLaw,
    /// Classification of real tables.
    Tables,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 5] =
        [Family::Synthetic, Family::Images, Family::Regression, Family::PowerLaw, Family::Tables];

    /// The name in descriptions.
    pub fn name(self) -> &'static str {
        match self {
            Family::Synthetic => "synthetic",
            Family::Images => "images",
            Family::Regression => "regression",
            Family::PowerLaw => "power-law",
            Family::Tables => "tables",
        }
    }
}

/// How often each family is drawn, relative to the others; each ≥ 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FamilyWeights {
    /// Of [`Family::Synthetic`].
    pub synthetic: f64,
    /// Of [`Family::Images`].
    pub images: f64,
    /// Of [`Family::Regression`].
    pub regression: f64,
    /// Of [`Family::PowerLaw`].
    pub power_law: f64,
    /// Of [`Family::Tables`]; it counts as 0 where the data folder has not all of the tables.
    pub tables: f64,
}

impl Default for FamilyWeights {
    fn default() -> Self {
        FamilyWeights { synthetic: 0.35, images: 0.25, regression: 0.15, power_law: 0.15, tables: 0.10 }
    }
}

impl FamilyWeights {
    /// The weight of one family.
    pub fn of(&self, family: Family) -> f64 {
        match family {
            Family::Synthetic => self.synthetic,
            Family::Images => self.images,
            Family::Regression => self.regression,
            Family::PowerLaw => self.power_law,
            Family::Tables => self.tables,
        }
    }
}

/// A distribution of tasks. Ranges hold both ends, and numbers in them are uniform in their logarithm.
///
/// ```
/// use lrpilot::task::{DistributionConfig, FamilyWeights};
/// let config = DistributionConfig { max_flops: 1e8, ..DistributionConfig::default() };
/// assert!(config.check().is_ok());
/// let nothing = FamilyWeights { synthetic: 0.0, images: 0.0, regression: 0.0, power_law: 0.0, tables: 0.0 };
/// assert!(DistributionConfig { families: nothing, ..config }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistributionConfig {
    /// How often each family is drawn.
    pub families: FamilyWeights,
    /// Most floating-point operations of a training, 6 × steps × batch size × weights, as far as the lower ends of the ranges
    /// allow; ≥ 1e8.
    pub max_flops: f64,
    /// Optimizer steps in a training.
    pub steps: (usize, usize),
    /// Steps of the tasks of [`Family::PowerLaw`], which cost next to nothing.
    pub power_law_steps: (usize, usize),
    /// Training examples, as far as a data set has them.
    pub examples: (usize, usize),
    /// Hidden layers.
    pub layers: (usize, usize),
    /// Units of a hidden layer.
    pub width: (usize, usize),
    /// Share of the classification tasks with noise on their training labels, in [0, 1].
    pub noisy: f64,
    /// Share of the tasks on images, pixels in their places, whose networks begin with convolutions, in [0, 1].
    pub convolutional: f64,
}

impl Default for DistributionConfig {
    fn default() -> Self {
        DistributionConfig {
            families: FamilyWeights::default(),
            max_flops: 5e8,
            steps: (32, 4000),
            power_law_steps: (96, 10_000),
            examples: (100, 4000),
            layers: (1, 4),
            width: (8, 96),
            noisy: 0.5,
            convolutional: 0.6,
        }
    }
}

impl DistributionConfig {
    /// Above the cheapest task of the default ranges, so that a cap from here on can be kept.
    const LEAST_FLOPS: f64 = 1e8;

    /// Networks and trainings larger than any of the default distribution: for choosing between policies.
    pub fn larger() -> Self {
        DistributionConfig {
            max_flops: 1e10,
            steps: (4001, 8000),
            power_law_steps: (10_001, 20_000),
            width: (97, 192),
            ..DistributionConfig::default()
        }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        for family in Family::ALL {
            let place = format!("distribution.families.{}", family.name());
            range::check(place, self.families.of(family), Range::NotNegative)?;
        }
        if Family::ALL.iter().all(|f| self.families.of(*f) == 0.0) {
            return Err(Error::config("distribution.families", "all weights are 0", "give one family a weight"));
        }
        range::check("distribution.noisy", self.noisy, Range::Share)?;
        range::check("distribution.convolutional", self.convolutional, Range::Share)?;
        for (key, (lo, hi), least, most) in [
            ("steps", self.steps, 8, 1_000_000),
            ("power_law_steps", self.power_law_steps, 8, 1_000_000),
            ("examples", self.examples, 10, 100_000),
            ("layers", self.layers, 1, 16),
            ("width", self.width, 1, 1024),
        ] {
            range::count(format_args!("distribution.{key}[0]"), lo, least, most)?;
            range::count(format_args!("distribution.{key}[1]"), hi, lo as u64, most)?;
        }
        if !(self.max_flops >= Self::LEAST_FLOPS && self.max_flops.is_finite()) {
            let message = format!("{} is less than {:e}", self.max_flops, Self::LEAST_FLOPS);
            return Err(Error::config("distribution.max_flops", message, "allow more operations"));
        }
        Ok(())
    }
}
