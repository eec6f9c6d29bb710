//! Data sets: embedded digits, readers for IDX, CIFAR and CSV files with typed errors, splits.

mod catalog;
mod cifar;
mod digits;
mod examples;
mod idx;
mod split;
mod table;

pub use catalog::{DataFile, is_gzip, load, verify, verify_file};
pub use examples::{Examples, Targets};
pub use split::{SplitConfig, Splits};
pub use table::{ColumnName, CsvConfig, Table};

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
    /// CIFAR-100 with its 20 coarse labels.
    #[serde(rename = "cifar-100-coarse")]
    Cifar100Coarse,
    /// A [`Table`] of the user's own.
    Csv,
}

impl DatasetName {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] = &[
        Choice::new("digits", "1,797 digits of 8×8 pixels (UCI), part of the program"),
        Choice::new("mnist", "70,000 digits of 28×28 pixels"),
        Choice::new("fashion-mnist", "70,000 pieces of clothing, 28×28 pixels"),
        Choice::new("cifar-10", "60,000 photographs of 32×32 pixels in colour, 10 classes"),
        Choice::new("cifar-100", "60,000 photographs of 32×32 pixels in colour, 100 classes"),
        Choice::new("cifar-100-coarse", "the same photographs in 20 classes"),
        Choice::new("csv", "a CSV file of your own, which [task.csv] describes"),
    ];

    /// The data sets that lrpilot knows the files of: all but the user's own.
    pub const ALL: [DatasetName; 6] = [
        DatasetName::Digits,
        DatasetName::Mnist,
        DatasetName::FashionMnist,
        DatasetName::Cifar10,
        DatasetName::Cifar100,
        DatasetName::Cifar100Coarse,
    ];

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            DatasetName::Digits => "digits",
            DatasetName::Mnist => "mnist",
            DatasetName::FashionMnist => "fashion-mnist",
            DatasetName::Cifar10 => "cifar-10",
            DatasetName::Cifar100 => "cifar-100",
            DatasetName::Cifar100Coarse => "cifar-100-coarse",
            DatasetName::Csv => "csv",
        }
    }

    /// Shape of its images, and the number of classes; `None` where the file has to be read to know them.
    pub fn shape_and_classes(self) -> Option<(Shape, usize)> {
        Some(match self {
            DatasetName::Digits => (Shape::image(1, 8, 8), 10),
            DatasetName::Mnist | DatasetName::FashionMnist => (Shape::image(1, 28, 28), 10),
            DatasetName::Cifar10 => (Shape::image(3, 32, 32), 10),
            DatasetName::Cifar100 => (Shape::image(3, 32, 32), 100),
            DatasetName::Cifar100Coarse => (Shape::image(3, 32, 32), 20),
            DatasetName::Csv => return None,
        })
    }

    /// The data set called `name`, unless it is the user's own.
    pub fn from_name(name: &str) -> Option<Self> {
        DatasetName::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// What a network is trained to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The class; the loss is the cross-entropy.
    #[default]
    Classification,
    /// The number in a table's target column, standardised; the loss is the mean squared error.
    Regression,
    /// Its own standardised input; the loss is the mean squared error.
    Autoencoder,
}

impl Objective {
    /// The names with what they stand for.
    pub const CHOICES: &[Choice] = &[
        Choice::new("classification", "the class, with the cross-entropy"),
        Choice::new("regression", "the number in a table's target column, standardised, with the mean squared error"),
        Choice::new("autoencoder", "its own standardised input, with the mean squared error"),
    ];

    /// Whether it is the default, which a configuration need not name.
    pub(in crate::task) fn is_classification(&self) -> bool {
        *self == Objective::Classification
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Classification => "classification",
            Objective::Regression => "regression",
            Objective::Autoencoder => "autoencoder",
        }
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
