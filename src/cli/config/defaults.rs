//! What a key is if it is left out, found by leaving it out.

use crate::cli::context;
use crate::keys::{Allowed, Key};
use crate::run::RunConfig;
use crate::{Error, Result};
use toml::Value;

/// What leaving out a key means.
#[derive(Clone, Debug, PartialEq)]
pub enum Default {
    /// An error: the key has to be given.
    Required,
    /// This value.
    Value(Value),
    /// What the key's own description says.
    Absent,
}

impl Default {
    /// Of the key at `way` in the configuration `run`.
    pub fn at(run: &toml::Table, way: &[String]) -> Result<Self> {
        let mut without = Value::Table(run.clone());
        let Some((last, parents)) = way.split_last() else { return Ok(Default::Required) };
        if let Some(table) = at_mut(&mut without, parents).and_then(Value::as_table_mut) {
            table.remove(last);
        }
        let Value::Table(without) = without else { return Ok(Default::Required) };
        let Ok(mut config) = context::complete(without, None, "", "") else { return Ok(Default::Required) };
        config.env = config.env.complete();
        let whole = Value::Table(written(&config)?);
        Ok(at(&whole, way).map_or(Default::Absent, |value| Default::Value(value.clone())))
    }

    /// In words, without the value of a table's keys.
    pub fn words(&self, key: &Key) -> String {
        match (self, key.allowed) {
            (Default::Required, _) => "required".into(),
            (Default::Absent, _) => format!("default {}", key.absent.unwrap_or("none")),
            (Default::Value(value), _) => format!("default {}", inline(value)),
        }
    }
}

/// Default, range and purpose of the key at `way`, on one line.
pub fn line(key: &Key, run: &toml::Table, way: &[String]) -> Result<String> {
    let default = match key.allowed {
        Allowed::Table(_) => return Ok(phrase(key.purpose)),
        _ => Default::at(run, way)?.words(key),
    };
    Ok(format!("{default}; {}; {}", key.allowed.words(), phrase(key.purpose)))
}

/// A sentence as a part of a line.
pub fn phrase(sentence: &str) -> String {
    match sentence.strip_suffix('.') {
        Some(body) => body.chars().take(1).flat_map(char::to_lowercase).chain(body.chars().skip(1)).collect(),
        None => sentence.to_owned(),
    }
}

/// A configuration as a table, its numbers as they are written.
pub fn written(config: &RunConfig) -> Result<toml::Table> {
    config.to_toml()?.parse().map_err(|e| Error::Bug(format!("a written configuration cannot be read: {e}")))
}

/// The value at a way of keys and positions.
pub fn at<'a>(value: &'a Value, way: &[String]) -> Option<&'a Value> {
    way.iter().try_fold(value, |value, step| match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// The same, to be changed.
pub fn at_mut<'a>(value: &'a mut Value, way: &[String]) -> Option<&'a mut Value> {
    way.iter().try_fold(value, |value, step| match value {
        Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        other => other.get_mut(step),
    })
}

/// Keys that come first in a table on one line; the others follow by name.
const FIRST: [&str; 3] = ["type", "name", "min"];

/// The value on one line, as TOML.
pub fn inline(value: &Value) -> String {
    match value {
        Value::Float(number) => format!("{number:?}"),
        // JSON's escapes are TOML's, which has one more.
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
            let entries = entries.into_iter().map(|(key, value)| format!("{key} = {}", inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed is read back as the same value, whatever characters are in a text.
    #[test]
    fn inline_values_are_toml() {
        for text in
            ["1e-7", "0.1", "1e300", "[1, 2.0]", r#""a\"\\\nb\tü\u0001\u007f""#, "{ b = 1, type = 'x', a = [] }"]
        {
            let read = |text: &str| format!("v = {text}").parse::<toml::Table>().unwrap();
            let table = read(text);
            let printed = inline(&table["v"]);
            assert_eq!(read(&printed), table, "{printed}");
            assert!(!printed.contains('\n'), "{printed}");
        }
        assert_eq!(inline(&Value::Float(1e-7)), "1e-7");
    }
}
