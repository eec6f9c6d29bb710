//! Where in a table a wrong value is, and what is wrong in words that do not come from Rust.
//!
//! serde does not say where below an enum (a task, a layer, an optimizer) it stopped, since it reads these twice. The
//! place is found by trying: serde reads in order, so the first beginning of a table or list that gives the same error
//! ends with the wrong entry.

use serde::de::DeserializeOwned;
use toml::Value;

/// A step on the way to a value: a key, or a position in a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Keys by which an enum's variant is chosen: without them every error is another one.
const TAGS: [&str; 3] = ["type", "kind", "knob"];

/// The way to what makes reading `whole` as `T` fail with `message`.
pub(super) fn path<T: DeserializeOwned>(whole: &Value, message: &str) -> Vec<Step> {
    let same = |value: &Value| {
        let outcome: Result<T, toml::de::Error> = value.clone().try_into();
        outcome.is_err_and(|e| e.message().trim() == message)
    };
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return missing::<T>(whole, &mut Vec::new(), key, message).unwrap_or_default();
    }
    let mut way = Vec::new();
    while let Some(step) = first_wrong(whole, &way, same) {
        way.push(step);
    }
    // An unknown key is itself the last step, and its name is in the message already; a length is that of the whole list.
    if message.starts_with("unknown field") || message.starts_with("invalid length") {
        way.pop();
    }
    way
}

/// The entry of the value at `way` with which the error begins, if it is in one of them.
fn first_wrong(whole: &Value, way: &[Step], same: impl Fn(&Value) -> bool) -> Option<Step> {
    let here = at(whole, way)?;
    let without = |left: Value| {
        let mut changed = whole.clone();
        *at_mut(&mut changed, way)? = left;
        Some(changed)
    };
    let steps = steps(here);
    // With nothing left the error is about the whole, e.g. a table where a number should be.
    if same(&without(beginning(here, 0))?) {
        return None;
    }
    let wrong = (0..steps.len()).find(|i| without(beginning(here, i + 1)).is_some_and(|changed| same(&changed)))?;
    Some(steps[wrong].clone())
}

/// One step to each entry of a value, in serde's order.
fn steps(value: &Value) -> Vec<Step> {
    match value {
        Value::Table(table) => table.keys().cloned().map(Step::Key).collect(),
        Value::Array(list) => (0..list.len()).map(Step::Index).collect(),
        _ => Vec::new(),
    }
}

/// The first `n` entries of a table, and its tags, or of a list.
fn beginning(value: &Value, n: usize) -> Value {
    match value {
        Value::Table(table) => {
            let kept = table.iter().enumerate().filter(|(i, (key, _))| *i < n || TAGS.contains(&key.as_str()));
            Value::Table(kept.map(|(_, (key, value))| (key.clone(), value.clone())).collect())
        }
        Value::Array(list) => Value::Array(list.iter().take(n).cloned().collect()),
        other => other.clone(),
    }
}

/// The way to the first table in which `key` would be taken, so that it is missing there.
fn missing<T: DeserializeOwned>(whole: &Value, way: &mut Vec<Step>, key: &str, message: &str) -> Option<Vec<Step>> {
    let here = at(whole, way)?;
    if here.as_table().is_some_and(|table| !table.contains_key(key)) {
        let mut with = whole.clone();
        at_mut(&mut with, way)?.as_table_mut()?.insert(key.to_owned(), Value::Boolean(true));
        let outcome: Result<T, toml::de::Error> = with.try_into();
        let told = outcome.err().map(|e| e.message().trim().to_owned());
        let refused = format!("unknown field `{key}`");
        if told.is_none_or(|told| told != message && !told.starts_with(&refused)) {
            return Some(way.clone());
        }
    }
    steps(here).into_iter().find_map(|step| {
        way.push(step);
        let found = missing::<T>(whole, way, key, message);
        way.pop();
        found
    })
}

fn at<'a>(whole: &'a Value, way: &[Step]) -> Option<&'a Value> {
    way.iter().try_fold(whole, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(i) => value.get(*i),
    })
}

fn at_mut<'a>(whole: &'a mut Value, way: &[Step]) -> Option<&'a mut Value> {
    way.iter().try_fold(whole, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(i) => value.get_mut(*i),
    })
}

/// The way as it is written in a configuration: `task.model[3].units`.
pub(super) fn shown(way: &[Step]) -> String {
    let mut text = String::new();
    for step in way {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(i) => text.push_str(&format!("[{i}]")),
        }
    }
    text
}

/// The line of a file on which the value at `way` begins, if it is in the file.
pub(super) fn line(text: &str, way: &[Step]) -> Option<usize> {
    use toml::de::{DeTable, DeValue};
    let table = DeTable::parse(text).ok()?;
    let (mut value, mut span) = (&DeValue::Table(table.get_ref().clone()), None);
    for step in way {
        let inner = match step {
            Step::Key(key) => value.as_table()?.get(key.as_str())?,
            Step::Index(i) => value.as_array()?.get(*i)?,
        };
        (value, span) = (inner.get_ref(), Some(inner.span()));
    }
    Some(text[..span?.start].matches('\n').count() + 1)
}

/// serde's "invalid type: string "a", expected u64" as `"a" is not a whole number ≥ 0`.
pub(super) fn in_our_words(message: &str) -> Option<String> {
    let rest = ["invalid type: ", "invalid value: ", "invalid length "].iter().find_map(|p| message.strip_prefix(p))?;
    let (given, expected) = rest.split_once(", expected ")?;
    let is_length = message.starts_with("invalid length");
    let given = match given.split_once(' ') {
        Some(("string" | "integer" | "boolean" | "character", value)) => value.trim_matches('`').to_owned(),
        Some(("floating", value)) => value.trim_start_matches("point ").trim_matches('`').to_owned(),
        _ if is_length => format!("a list of {given}"),
        _ => kind(given),
    };
    Some(format!("{given} is not {}", kind(expected)))
}

/// A type of Rust or a word of serde in a user's words.
fn kind(word: &str) -> String {
    let plain = match word {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number ≥ 0",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a string" | "a borrowed string" | "str" | "string or map" | "string" => "a text in quotes",
        "map" | "a map" => "a table",
        "sequence" | "a sequence" => "a list",
        "string only" => "a name in quotes",
        "unit variant" => "this",
        "unit" => "empty",
        _ => "",
    };
    let length = word.strip_prefix("a tuple of size ").or_else(|| word.strip_prefix("tuple of "));
    match (plain, length) {
        ("", Some(length)) => format!("a list of {length}"),
        ("", _) if word.contains("enum ") || word.contains("identifier") => {
            "a table, or a name where one is known".into()
        }
        ("", _) if word.starts_with("struct ") => "a table".into(),
        ("", _) => word.to_owned(),
        (plain, _) => plain.to_owned(),
    }
}
