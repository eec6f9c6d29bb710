//! From the columns of a table to examples: one-hot encoded, standardised by the training rows, split.

use crate::nn::Shape;
use crate::rng::{Purpose, stream};
use crate::task::data::split::{add_label_noise, shuffled};
use crate::task::data::table::{Column, Table, Target};
use crate::task::data::{Examples, SplitConfig, Splits, Targets};
use crate::{Error, Result, limits, range};

impl Table {
    /// Shuffle all rows and cut them up. Every input, those of a one-hot encoding included, is standardised by its mean and
    /// standard deviation over the training rows, and so is a target that is a number; an input that is the same in all of
    /// them becomes 0. A missing number becomes the mean of the training rows.
    ///
    /// # Errors
    /// [`Error::Config`] if a size is 0, more rows are asked for than there are, or the inputs are too many;
    /// [`Error::Data`] if the number to predict is the same in all training rows.
    pub fn splits(&self, config: &SplitConfig) -> Result<Splits> {
        config.check()?;
        let SplitConfig { train_images, val_a, val_b, test, .. } = *config;
        let wanted = train_images + val_a + val_b + test;
        if wanted > self.rows {
            let message = format!("{wanted} rows are asked for; {} has {}", self.path.display(), self.rows);
            return Err(Error::config("task.data", message, "make the splits smaller"));
        }
        let width: usize = self.inputs.iter().map(Column::width).sum();
        let shape = self.image.unwrap_or(Shape::flat(width));
        if shape.len() != width {
            let Shape { channels, height, width: columns } = shape;
            let message = format!("{channels}×{height}×{columns} pixels, but a row has {width} inputs");
            return Err(Error::config("task.csv.image", message, "correct the sides, or leave the key out"));
        }
        let values = wanted as u128 * width as u128;
        range::count(format_args!("task.csv: numbers in {wanted} rows of {width} inputs"), values, 1, limits::TABLE)?;
        let order = shuffled(self.rows, &mut stream(config.data_seed, Purpose::Data, 0));
        let (train, rest) = order.split_at(train_images);
        let (a, rest) = rest.split_at(val_a);
        let (b, rest) = rest.split_at(val_b);
        let encoder = Encoder::new(self, train)?;
        let part = |rows| encoder.examples(rows, shape);
        let mut train = part(train);
        add_label_noise(&mut train.targets, config);
        Ok(Splits { train, val_a: part(a), val_b: part(b), test: part(&rest[..test]) })
    }
}

/// A table with the means and deviations of its training rows.
struct Encoder<'a> {
    table: &'a Table,
    inputs: Vec<Vec<Standard>>,
    target: Standard,
}

impl<'a> Encoder<'a> {
    fn new(table: &'a Table, train: &[usize]) -> Result<Self> {
        let target = match &table.target {
            Target::Numbers(numbers) => Standard::of_numbers(numbers, train),
            Target::Classes { .. } | Target::Inputs => Standard::CONSTANT,
        };
        if matches!(table.target, Target::Numbers(_)) && target.sd == 0.0 {
            let message = "the target is the same number in all training rows";
            return Err(Error::data(&table.path, message, "name another column in task.csv.target"));
        }
        Ok(Encoder { table, inputs: table.inputs.iter().map(|column| column.standards(train)).collect(), target })
    }

    fn examples(&self, rows: &[usize], shape: Shape) -> Examples {
        let width = shape.len();
        let mut x = Vec::with_capacity(rows.len() * width);
        for row in rows {
            self.table.inputs.iter().zip(&self.inputs).for_each(|(column, s)| column.encode(*row, s, &mut x));
        }
        let targets = match &self.table.target {
            Target::Classes { count, labels } => {
                Targets::Classes { count: *count, labels: rows.iter().map(|row| labels[*row]).collect() }
            }
            Target::Numbers(numbers) => {
                Targets::Values { width: 1, values: rows.iter().map(|row| self.target.apply(numbers[*row])).collect() }
            }
            Target::Inputs => Targets::Values { width, values: x.clone() },
        };
        Examples { shape, x, targets }
    }
}

impl Column {
    /// Inputs that it becomes.
    fn width(&self) -> usize {
        match self {
            Column::Numbers(_) => 1,
            Column::Categories { count, .. } => *count,
        }
    }

    /// The standards of its inputs.
    fn standards(&self, train: &[usize]) -> Vec<Standard> {
        match self {
            Column::Numbers(numbers) => vec![Standard::of_numbers(numbers, train)],
            Column::Categories { count, codes } => {
                let mut counts = vec![0usize; *count];
                train.iter().for_each(|row| counts[codes[*row] as usize] += 1);
                let share = |count: usize| count as f64 / train.len() as f64;
                counts.into_iter().map(share).map(Standard::of_share).collect()
            }
        }
    }

    /// Append the inputs of `row`.
    fn encode(&self, row: usize, standards: &[Standard], x: &mut Vec<f32>) {
        match self {
            Column::Numbers(numbers) => x.push(standards[0].apply(numbers[row])),
            Column::Categories { codes, .. } => {
                let one_hot = |i: usize| if i == codes[row] as usize { 1.0 } else { 0.0 };
                x.extend(standards.iter().enumerate().map(|(i, standard)| standard.apply(one_hot(i))));
            }
        }
    }
}

/// Mean and standard deviation over the training rows.
#[derive(Clone, Copy)]
struct Standard {
    mean: f64,
    /// 0 of what is constant.
    sd: f64,
}

impl Standard {
    const CONSTANT: Standard = Standard { mean: 0.0, sd: 0.0 };

    /// Of `numbers` in the rows `train`, where those that are missing are at the mean of the others.
    fn of_numbers(numbers: &[f64], train: &[usize]) -> Self {
        let present = || train.iter().map(|row| numbers[*row]).filter(|v| !v.is_nan());
        let Some(first) = present().next() else { return Standard::CONSTANT };
        if present().all(|v| v == first) {
            return Standard { mean: first, sd: 0.0 };
        }
        let mean = present().sum::<f64>() / present().count() as f64;
        let variance = present().map(|v| (v - mean).powi(2)).sum::<f64>() / train.len() as f64;
        Standard { mean, sd: variance.sqrt() }
    }

    /// Of an input that is 1 in `share` of the rows and 0 in the others.
    fn of_share(share: f64) -> Self {
        Standard { mean: share, sd: (share * (1.0 - share)).sqrt() }
    }

    fn apply(self, value: f64) -> f32 {
        let is_mean = self.sd == 0.0 || value.is_nan();
        if is_mean { 0.0 } else { ((value - self.mean) / self.sd) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::data::{CsvConfig, Objective};

    /// Two rows of training: numbers 1 and 3 have mean 2 and deviation 1; of two colours each is half 1 and half 0; a missing
    /// number is the mean of the other ones; a constant column is 0 wherever it changes later.
    #[test]
    fn inputs_are_standardised_by_the_training_rows() {
        let numbers = Column::Numbers(vec![1.0, 3.0, 5.0, f64::NAN]);
        let holes = Column::Numbers(vec![f64::NAN, 7.0, 9.0, 7.0]);
        let colours = Column::Categories { count: 3, codes: vec![0, 2, 1, 2] };
        let encode = |column: &Column| {
            let standards = column.standards(&[0, 1]);
            let row = |row| {
                let mut x = Vec::new();
                column.encode(row, &standards, &mut x);
                x
            };
            [0, 1, 2, 3].map(row)
        };
        assert_eq!(encode(&numbers), [[-1.0], [1.0], [3.0], [0.0]]);
        assert_eq!(encode(&holes), [[0.0], [0.0], [0.0], [0.0]]);
        let (first, third) = ([1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]);
        assert_eq!(encode(&colours), [first, third, [-1.0, 0.0, -1.0], third]);
    }

    /// Missing numbers count as the mean in the deviation: −1, 1 and the mean 0 have the variance 2/3.
    #[test]
    fn the_deviation_is_that_of_what_the_network_sees() {
        let standard = Standard::of_numbers(&[-1.0, f64::NAN, 1.0], &[0, 1, 2]);
        assert_eq!((standard.mean, standard.sd), (0.0, (2.0f64 / 3.0).sqrt()));
    }

    #[test]
    fn a_regressions_target_is_standardised_and_noise_hits_classes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, (0..100).map(|i| format!("{i},{}\n", 5 * (i % 2))).collect::<String>()).unwrap();
        let config: CsvConfig = crate::settings::parse("path = 't.csv'", "").unwrap();
        let sizes =
            |label_noise| SplitConfig { train_images: 40, val_a: 20, val_b: 20, test: 20, label_noise, data_seed: 1 };
        let values = Table::read(&path, &config, Objective::Regression).unwrap().splits(&sizes(0.0)).unwrap();
        let Targets::Values { width: 1, values } = values.train.targets else { panic!("these are no numbers") };
        let (sum, squares) = (values.iter().sum::<f32>(), values.iter().map(|v| v * v).sum::<f32>());
        assert!(sum.abs() < 1e-4 && (squares - 40.0).abs() < 1e-4, "{sum} {squares}");

        let table = Table::read(&path, &config, Objective::Classification).unwrap();
        let labels = |noise| match table.splits(&sizes(noise)).unwrap().train.targets {
            Targets::Classes { count: 2, labels } => labels,
            other => panic!("{other:?}"),
        };
        assert_eq!(labels(0.0).iter().zip(labels(0.25)).filter(|(a, b)| *a != b).count(), 10);
    }

    /// Columns 2 and 3 are the pixels; column 1 is ignored, column 4 the class.
    #[test]
    fn rows_are_images_and_columns_may_be_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, (0..8).map(|i| format!("9,{i},{},{}\n", 7 - i, i % 2)).collect::<String>()).unwrap();
        let sizes = SplitConfig { train_images: 2, val_a: 2, val_b: 2, test: 2, label_noise: 0.0, data_seed: 1 };
        let read = |text: &str| {
            let config: CsvConfig = crate::settings::parse(text, "").unwrap();
            Table::read(&path, &config, Objective::Classification).unwrap().splits(&sizes)
        };
        let train = read("path = 't.csv'\nignored = [1]\nimage = [1, 2, 1]").unwrap().train;
        assert_eq!((train.shape, train.x.len()), (Shape::image(1, 2, 1), 4));
        assert!((train.x[0] + train.x[1]).abs() < 1e-6, "one column falls as the other rises: {:?}", train.x);
        let wrong = read("path = 't.csv'\nimage = [1, 2, 1]").unwrap_err().to_string();
        assert!(wrong.contains("task.csv.image: 1×2×1 pixels, but a row has 3 inputs"), "{wrong}");
    }
}
