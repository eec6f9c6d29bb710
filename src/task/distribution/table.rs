//! Tables in CSV files without a header, the class last.

use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// A table as inputs and classes.
#[derive(Debug)]
pub(super) struct Table {
    /// Name of its file, without the ending.
    pub name: String,
    /// Inputs of an example.
    pub features: usize,
    /// How many of them are numbers; they come first. The others are nominal, one-hot.
    pub numeric: usize,
    /// Number of classes.
    pub classes: usize,
    /// All inputs, `[n][features]`.
    pub x: Vec<f32>,
    /// Class of each row, below `classes`.
    pub labels: Vec<u32>,
}

impl Table {
    /// Read a file. A column in which something is no number is nominal.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] for a row of another length, or a table without classes to tell apart.
    pub fn read(name: &str, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let rows: Vec<Vec<&str>> =
            text.lines().filter(|l| !l.trim().is_empty()).map(|l| l.split(',').map(str::trim).collect()).collect();
        let width = rows.first().map_or(0, Vec::len);
        if let Some(line) = rows.iter().position(|row| row.len() != width) {
            let message = format!("row {} has {} values instead of {width}", line + 1, rows[line].len());
            return Err(Error::data(path, message, "download it again"));
        }
        let choices = |column: usize| rows.iter().map(|row| row[column]).collect::<BTreeSet<_>>();
        let label_names: Vec<&str> = choices(width.saturating_sub(1)).into_iter().collect();
        if width < 2 || label_names.len() < 2 {
            return Err(Error::data(path, "it has no inputs or fewer than two classes", "download it again"));
        }
        let number = |text: &str| text.parse::<f32>().ok().filter(|v| v.is_finite());
        let is_numeric = |column: &usize| rows.iter().all(|row| number(row[*column]).is_some());
        let (numeric, nominal): (Vec<usize>, Vec<usize>) = (0..width - 1).partition(is_numeric);
        let nominal: Vec<(usize, Vec<&str>)> =
            nominal.into_iter().map(|column| (column, choices(column).into_iter().collect())).collect();
        let mut x = Vec::new();
        for row in &rows {
            x.extend(numeric.iter().map(|column| number(row[*column]).unwrap_or(0.0)));
            for (column, values) in &nominal {
                x.extend(values.iter().map(|value| f32::from(u8::from(row[*column] == *value))));
            }
        }
        let class = |row: &Vec<&str>| label_names.partition_point(|name| *name < row[width - 1]) as u32;
        Ok(Table {
            name: name.to_owned(),
            features: x.len() / rows.len(),
            numeric: numeric.len(),
            classes: label_names.len(),
            labels: rows.iter().map(class).collect(),
            x,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_names_become_one_hot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "b, 1.5, yes\na, -2, no\nb, 0, no\n").unwrap();
        let table = Table::read("t", &path).unwrap();
        assert_eq!((table.features, table.numeric, table.classes, table.len()), (3, 1, 2, 3));
        assert_eq!(table.x, [1.5, 0.0, 1.0, -2.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(table.labels, [1, 0, 0]);
        std::fs::write(&path, "1,2,x\n1,y\n").unwrap();
        assert!(Table::read("t", &path).unwrap_err().to_string().contains("row 2 has 2 values instead of 3"));
        std::fs::write(&path, "1,x\n2,x\n").unwrap();
        assert!(Table::read("t", &path).unwrap_err().to_string().contains("fewer than two classes"));
        std::fs::write(&path, "").unwrap();
        assert!(Table::read("t", &path).is_err());
    }
}
