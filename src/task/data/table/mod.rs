//! Tables: CSV files of the user's own, with numbers and names in their columns.

mod encode;
mod read;

use crate::keys::{Allowed, Key};
use crate::nn::Shape;
use crate::{Error, Result, limits, range};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The table `[task.csv]`: where the file is and how it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// The file; a relative path is below the data folder.
    pub path: PathBuf,
    /// What stands between two cells: one ASCII character.
    #[serde(default = "comma")]
    pub separator: String,
    /// Whether the first row holds the names of the columns.
    #[serde(default)]
    pub header: bool,
    /// The column that is to be predicted; `last`, unless a column is called so, is the last one. Without it that is the last
    /// one, too, but an autoencoder, which predicts nothing else than its inputs, has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ColumnName>,
    /// Columns of numbers that are names all the same and are one-hot encoded, as columns of text are by themselves.
    #[serde(default)]
    pub nominal: Vec<ColumnName>,
    /// Columns that are no inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<ColumnName>,
    /// Cells that stand for a missing value.
    #[serde(default = "missing_texts")]
    pub missing: Vec<String>,
    /// Channels, height and width, where the inputs of a row are the pixels of an image in this order; a flat vector without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Vec<usize>>,
}

impl CsvConfig {
    /// The keys of `[task.csv]`.
    pub const KEYS: &[Key] = &[
        Key::new(
            "path",
            Allowed::Text,
            "the file; a relative path is below the data folder, another is taken as it is",
        ),
        Key::new("separator", Allowed::Text, "the character between two cells"),
        Key::new("header", Allowed::Flag, "whether the first row holds the names of the columns"),
        Key::optional(
            "target",
            Allowed::Column,
            "the column to predict, which is no input; \"last\" is the last one",
            "\"last\", but none for an autoencoder",
        ),
        Key::new(
            "nominal",
            Allowed::Columns,
            "columns of numbers that are one-hot encoded, as columns of text are by themselves",
        ),
        Key::new("ignored", Allowed::Columns, "columns that are no inputs"),
        Key::new(
            "missing",
            Allowed::Texts,
            "cells without a value: the mean of the training rows, or among names a category of its own",
        ),
        Key::optional(
            "image",
            Allowed::Counts(1, limits::WIDTH),
            "channels, height and width of an image whose pixels are a row's inputs, in this order",
            "a flat vector",
        ),
    ];

    /// Check what the types do not say and the file is not needed for.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("task.csv.path", "it is empty", "name the file"));
        }
        if !matches!(self.separator.as_bytes(), [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte)) {
            let message = format!("{:?} is not one ASCII character that can stand between cells", self.separator);
            return Err(Error::config("task.csv.separator", message, "give one, e.g. \",\", \";\" or \"\\t\""));
        }
        if let Some(sides) = self.image.as_ref().filter(|sides| sides.len() != 3) {
            let message = format!("{} numbers, not 3", sides.len());
            return Err(Error::config("task.csv.image", message, "give channels, height and width"));
        }
        for side in self.image.iter().flatten() {
            range::count("task.csv.image", *side, 1, limits::WIDTH)?;
        }
        Ok(())
    }
}

fn comma() -> String {
    ",".into()
}

fn missing_texts() -> Vec<String> {
    vec![String::new(), "?".into()]
}

/// A column of a table, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ColumnName {
    /// Counted from 1.
    Number(u64),
    /// Its name in the first row.
    Name(String),
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ColumnName::Number(number) => write!(f, "{number}"),
            ColumnName::Name(name) => write!(f, "`{name}`"),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Column;
        impl Visitor<'_> for Column {
            type Value = ColumnName;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a column's name, or its number counted from 1")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ColumnName, E> {
                Ok(ColumnName::Name(name.to_owned()))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ColumnName, E> {
                Ok(ColumnName::Number(number))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<ColumnName, E> {
                let negative = serde::de::Unexpected::Signed(number);
                u64::try_from(number).map(ColumnName::Number).map_err(|_| E::invalid_value(negative, &self))
            }
        }
        deserializer.deserialize_any(Column)
    }
}

/// A CSV file in memory: inputs and targets of every row, not yet standardised.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    sha256: String,
    rows: usize,
    inputs: Vec<Column>,
    target: Target,
    image: Option<Shape>,
}

impl Table {
    /// Number of rows, the header not counted.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none; no table that was read is empty.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// sha256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// A column of inputs.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    /// Numbers, NaN where one is missing.
    Numbers(Vec<f64>),
    /// For each row one of `count` categories, which are all that occur in the file; a missing name is one of them.
    Categories { count: usize, codes: Vec<u32> },
}

/// What the inputs are to predict.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    /// A class below `count` for each row.
    Classes { count: usize, labels: Vec<u32> },
    /// A number for each row.
    Numbers(Vec<f64>),
    /// The inputs themselves.
    Inputs,
}
