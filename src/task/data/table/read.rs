//! From a CSV file to columns of numbers and categories, with the row and column of whatever is wrong.

use crate::nn::Shape;
use crate::task::data::Objective;
use crate::task::data::table::{Column, ColumnName, CsvConfig, Table, Target};
use crate::{Error, Result, limits};
use csv::{ErrorKind, StringRecord};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// At most this many names of columns are listed in a message.
const LISTED: usize = 20;

impl Table {
    /// Read the file at `path` for a network with `objective`. Spaces around cells are not part of them.
    ///
    /// A column is numeric if its first value is a number, unless it is listed as nominal; numbers are finite in 32 bits.
    /// Classes are the different texts of the target column.
    ///
    /// ```
    /// use lrpilot::task::data::{CsvConfig, Objective, SplitConfig, Table};
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("flowers.csv");
    /// std::fs::write(&path, "5.1,red,rose\n4.9,blue,lily\n6.3,red,rose\n5.8,white,lily\n")?;
    /// let config: CsvConfig = lrpilot::settings::parse("path = 'flowers.csv'", "")?;
    /// let table = Table::read(&path, &config, Objective::Classification)?;
    /// let one_each = SplitConfig { train_images: 1, val_a: 1, val_b: 1, test: 1, label_noise: 0.0, data_seed: 0 };
    /// let train = table.splits(&one_each)?.train;
    /// assert_eq!((train.shape.len(), train.outputs()), (1 + 3, 2)); // a number, three colours; two classes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] with row and column for a file that is missing, empty or no such table; [`Error::Config`] for a column
    /// that it does not have.
    pub fn read(path: &Path, config: &CsvConfig, objective: Objective) -> Result<Table> {
        config.check()?;
        let content = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::data(path, "not there", "put the file there, or correct task.csv.path")
            }
            _ => Error::io(path, e),
        })?;
        let sheet = Sheet::new(path, &content, config)?;
        let target = sheet.target(objective)?;
        let nominal = config.nominal.iter().map(|c| sheet.index(c, "task.csv.nominal")).collect::<Result<Vec<_>>>()?;
        let ignored = config.ignored.iter().map(|c| sheet.index(c, "task.csv.ignored")).collect::<Result<Vec<_>>>()?;
        let inputs = (0..sheet.columns).filter(|c| Some(*c) != target && !ignored.contains(c));
        let inputs = inputs.map(|c| sheet.input(c, nominal.contains(&c))).collect::<Result<Vec<_>>>()?;
        if inputs.is_empty() {
            let message = "there is no column beside the target";
            return Err(Error::data(path, message, "add inputs, or correct task.csv.separator"));
        }
        let target = match (objective, target) {
            (Objective::Classification, Some(column)) => sheet.classes(column)?,
            (Objective::Regression, Some(column)) => Target::Numbers(sheet.numbers(column, true)?),
            _ => Target::Inputs,
        };
        let sha256 = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        let image = match config.image.as_deref() {
            Some(&[channels, height, width]) => Some(Shape { channels, height, width }),
            _ => None,
        };
        Ok(Table { path: path.to_owned(), sha256, rows: sheet.rows.len(), inputs, target, image })
    }
}

/// The cells of a file, all rows equally long.
struct Sheet<'a> {
    path: &'a Path,
    content: &'a [u8],
    config: &'a CsvConfig,
    columns: usize,
    names: Option<StringRecord>,
    /// At least one, without the header.
    rows: Vec<StringRecord>,
}

impl<'a> Sheet<'a> {
    fn new(path: &'a Path, content: &'a [u8], config: &'a CsvConfig) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(config.separator.as_bytes()[0])
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(content);
        let mut sheet = Sheet { path, content, config, columns: 0, names: None, rows: Vec::new() };
        for record in reader.records() {
            let record = record.map_err(|e| sheet.unreadable(&e))?;
            if sheet.columns == 0 {
                sheet.columns = record.len();
            }
            if record.len() != sheet.columns {
                let message = format!("{} cells, but the first row has {}", record.len(), sheet.columns);
                return Err(sheet.fault(&record, None, &message, "complete the row, or correct task.csv.separator"));
            }
            if config.header && sheet.names.is_none() {
                sheet.names = Some(record);
            } else {
                sheet.rows.push(record);
            }
        }
        if sheet.rows.is_empty() {
            let message = if config.header { "no row follows the header" } else { "the file is empty" };
            return Err(Error::data(path, format!("row 1: {message}"), "give a file with rows"));
        }
        Ok(sheet)
    }

    fn unreadable(&self, error: &csv::Error) -> Error {
        match error.kind() {
            ErrorKind::Utf8 { pos, err } => {
                let row = pos.as_ref().map_or(1, |pos| self.line(pos.byte()));
                let message = format!("row {row}, column {}: it is not UTF-8", err.field() + 1);
                Error::data(self.path, message, "save the file as UTF-8")
            }
            _ => Error::data(self.path, error.to_string(), "correct the file"),
        }
    }

    /// The line, counted from 1, on which the record begins that is read from byte `from`: empty lines come before it.
    fn line(&self, from: u64) -> usize {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.content.len());
        let empty = self.content[from..].iter().take_while(|b| b"\r\n".contains(b)).count();
        1 + self.content[..from + empty].iter().filter(|b| **b == b'\n').count()
    }

    /// An error in a row, and in a column unless it is that of the whole row.
    fn fault(&self, record: &StringRecord, column: Option<usize>, message: &str, remedy: &str) -> Error {
        let row = record.position().map_or(1, |position| self.line(position.byte()));
        let column = column.map_or(String::new(), |column| format!(", {}", self.named(column)));
        Error::data(self.path, format!("row {row}{column}: {message}"), remedy)
    }

    /// `column 3`, with its name where there is one.
    fn named(&self, column: usize) -> String {
        let name = self.names.as_ref().map_or(String::new(), |names| format!(" (`{}`)", &names[column]));
        format!("column {}{name}", column + 1)
    }

    fn is_missing(&self, cell: &str) -> bool {
        self.config.missing.iter().any(|missing| missing == cell)
    }

    /// Position of the target column; none for an autoencoder unless it is asked for.
    fn target(&self, objective: Objective) -> Result<Option<usize>> {
        match (&self.config.target, objective) {
            (Some(column), _) => self.index(column, "task.csv.target").map(Some),
            (None, Objective::Autoencoder) => Ok(None),
            (None, _) => Ok(Some(self.columns - 1)),
        }
    }

    /// Position of the column that `key` names.
    fn index(&self, column: &ColumnName, key: &str) -> Result<usize> {
        let found = match column {
            ColumnName::Number(number) => usize::try_from(*number).ok().and_then(|n| n.checked_sub(1)),
            ColumnName::Name(name) => {
                let mut same = self.names.iter().flatten().enumerate().filter(|(_, known)| known == name);
                match (same.next(), same.next()) {
                    (Some((first, _)), Some((second, _))) => {
                        let message = format!("columns {} and {} are both called {column}", first + 1, second + 1);
                        return Err(Error::config(key, message, "give the number of the one that is meant"));
                    }
                    (Some((only, _)), None) => Some(only),
                    (None, _) => (name == "last").then(|| self.columns - 1),
                }
            }
        };
        found.filter(|index| *index < self.columns).ok_or_else(|| {
            let message = format!("{column} is no column of {}", self.path.display());
            Error::config(key, message, format!("known are {}", self.known()))
        })
    }

    /// The columns, for a message.
    fn known(&self) -> String {
        let Some(names) = &self.names else {
            return format!("the numbers 1 to {}; names are read where task.csv.header = true", self.columns);
        };
        let listed = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("{listed}{}, and the numbers 1 to {}", if names.len() > LISTED { ", …" } else { "" }, self.columns)
    }

    fn input(&self, column: usize, nominal: bool) -> Result<Column> {
        if nominal {
            return Ok(self.categories(column));
        }
        let first = self.rows.iter().map(|row| &row[column]).find(|cell| !self.is_missing(cell));
        if first.is_none_or(|cell| number(cell).is_some()) {
            return Ok(Column::Numbers(self.numbers(column, false)?));
        }
        let mut later = self.rows[1..].iter().map(|row| &row[column]).filter(|cell| !self.is_missing(cell)).peekable();
        if !self.config.header && later.peek().is_some() && later.all(|cell| number(cell).is_some()) {
            let message = format!("`{}` is followed by numbers alone", &self.rows[0][column]);
            let remedy = "set task.csv.header = true if it is a name, or list the column in task.csv.nominal";
            return Err(self.fault(&self.rows[0], Some(column), &message, remedy));
        }
        Ok(self.categories(column))
    }

    fn numbers(&self, column: usize, is_target: bool) -> Result<Vec<f64>> {
        let read = |row: &StringRecord| match (&row[column], number(&row[column])) {
            (cell, _) if self.is_missing(cell) && !is_target => Ok(f64::NAN),
            (cell, _) if self.is_missing(cell) => Err(self.no_target(row, column)),
            (_, Some(number)) => Ok(number),
            (cell, None) if is_target => {
                let message = format!("`{cell}` is no finite number");
                Err(self.fault(row, Some(column), &message, "a regression predicts numbers: correct the cell"))
            }
            (cell, None) => {
                let message = format!("`{cell}` is no finite number, and the column begins with one");
                let remedy = "correct the cell, or list it in task.csv.missing or the column in task.csv.nominal";
                Err(self.fault(row, Some(column), &message, remedy))
            }
        };
        self.rows.iter().map(read).collect()
    }

    fn categories(&self, column: usize) -> Column {
        let (count, codes) = codes(self.rows.iter().map(|row| Some(&row[column]).filter(|c| !self.is_missing(c))));
        Column::Categories { count, codes }
    }

    fn classes(&self, column: usize) -> Result<Target> {
        if let Some(row) = self.rows.iter().find(|row| self.is_missing(&row[column])) {
            return Err(self.no_target(row, column));
        }
        let (count, labels) = codes(self.rows.iter().map(|row| Some(&row[column])));
        let fault = |message: String, remedy: &str| {
            Err(Error::data(self.path, format!("{}: {message}", self.named(column)), remedy))
        };
        if count < 2 {
            let message = format!("every row is of the class `{}`", &self.rows[0][column]);
            return fault(message, "name another column in task.csv.target");
        }
        if count as u64 > limits::CLASSES {
            let message = format!("{count} classes; at most {} are possible", limits::CLASSES);
            return fault(message, "set task.objective = \"regression\" if they are numbers, or merge some");
        }
        Ok(Target::Classes { count, labels })
    }

    fn no_target(&self, row: &StringRecord, column: usize) -> Error {
        self.fault(row, Some(column), "the target is missing", "complete the row or leave it out")
    }
}

/// A finite number that stays one in 32 bits.
fn number(cell: &str) -> Option<f64> {
    cell.parse::<f64>().ok().filter(|v| (*v as f32).is_finite())
}

/// How many different texts there are, and the position of each text among them in alphabetical order.
fn codes<'a>(texts: impl Iterator<Item = Option<&'a str>> + Clone) -> (usize, Vec<u32>) {
    let mut places: BTreeMap<Option<&str>, u32> = texts.clone().map(|text| (text, 0)).collect();
    places.values_mut().zip(0..).for_each(|(place, i)| *place = i);
    (places.len(), texts.map(|text| places[&text]).collect())
}
