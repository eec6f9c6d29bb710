//! Data sets: embedded digits, readers for IDX and CIFAR files with typed errors, splits.

mod catalog;
mod cifar;
mod digits;
mod examples;
mod idx;
mod split;

pub use catalog::{DataFile, is_gzip, load, verify, verify_file};
pub use examples::{Examples, Targets};
pub use split::{SplitConfig, Splits};

use crate::keys::Choice;
use crate::nn::Shape;
use serde::{Deserialize, Serialize};

/// The data sets that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// 1,797 embedded 8×8 digits (UCI, CC BY 4.0).
    Digits,
    /// MNIST, 28×28.
    Mnist,
    /// Fashion-MNIST, 28×28.
    FashionMnist,
    /// CIFAR-10, 3×32×32.
    #[serde(rename = "cifar-10")]
    Cifar10,
    /// CIFAR-100 (fine labels), 3×32×32.
    #[serde(rename = "cifar-100")]
    Cifar100,
}

impl DatasetName {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] = &[
        Choice::new("digits", "1,797 digits of 8×8 pixels (UCI), part of the program"),
        Choice::new("mnist", "70,000 digits of 28×28 pixels"),
        Choice::new("fashion-mnist", "70,000 pieces of clothing, 28×28 pixels"),
        Choice::new("cifar-10", "60,000 photographs of 32×32 pixels in colour, 10 classes"),
        Choice::new("cifar-100", "60,000 photographs of 32×32 pixels in colour, 100 classes"),
    ];

    /// All data sets.
    pub const ALL: [DatasetName; 5] = [
        DatasetName::Digits,
        DatasetName::Mnist,
        DatasetName::FashionMnist,
        DatasetName::Cifar10,
        DatasetName::Cifar100,
    ];

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            DatasetName::Digits => "digits",
            DatasetName::Mnist => "mnist",
            DatasetName::FashionMnist => "fashion-mnist",
            DatasetName::Cifar10 => "cifar-10",
            DatasetName::Cifar100 => "cifar-100",
        }
    }

    /// Shape of its images, and the number of classes.
    pub fn shape_and_classes(self) -> (Shape, usize) {
        match self {
            DatasetName::Digits => (Shape::image(1, 8, 8), 10),
            DatasetName::Mnist | DatasetName::FashionMnist => (Shape::image(1, 28, 28), 10),
            DatasetName::Cifar10 => (Shape::image(3, 32, 32), 10),
            DatasetName::Cifar100 => (Shape::image(3, 32, 32), 100),
        }
    }

    /// The data set called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        DatasetName::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// Images and labels as they are in the files.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Shape of an image.
    pub shape: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Pixels, `[n][shape.len()]`.
    pub pixels: Vec<u8>,
    /// Labels, each below `classes`.
    pub labels: Vec<u8>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// A data set: the part to train on and, where the makers set one apart, the part to test on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Which one.
    pub name: DatasetName,
    /// Training part.
    pub train: Images,
    /// Test part; `None` for digits, whose splits all come from one set.
    pub test: Option<Images>,
}
