//! What a configuration file may hold: each configuration struct lists its keys, with a range and a purpose, once.
//!
//! `lrpilot config` prints these lists beside the values. Defaults are not in them: they are what serde reads when a key
//! is left out.

use crate::range::Range;
use toml::Value;

/// A key of a configuration table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What it may be set to.
    pub allowed: Allowed,
    /// What it is for, in a line.
    pub purpose: &'static str,
    /// What holds while it is left out, for a key whose absence is not the same as a value.
    pub absent: Option<&'static str>,
}

/// A name that a key may be set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The name.
    pub name: &'static str,
    /// What it stands for, in a line.
    pub purpose: &'static str,
}

/// One of the tables that a key may be set to, with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// Its `type` (or `kind`).
    pub name: &'static str,
    /// What it stands for, in a line.
    pub purpose: &'static str,
    /// Its keys, beside the `type`.
    pub keys: &'static [Key],
}

/// What a key may be set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A column of a table, by name or number.
    Column,
    /// A list of columns.
    Columns,
    /// `true` or `false`.
    Flag,
    /// A whole number between two others, both included.
    Count(u64, u64),
    /// A list of such whole numbers.
    Counts(u64, u64),
    /// A number.
    Number(Range),
    /// A list of numbers.
    Numbers(Range),
    /// A list of two numbers.
    Pair(Range),
    /// The smallest and the largest learning rate, `[min, max]`.
    Bounds,
    /// A name.
    Name(&'static [Choice]),
    /// A table.
    Table(&'static [Key]),
    /// One of several tables, told apart by the value of the key that stands first here.
    OneOf(&'static str, &'static [Variant]),
    /// A list of tables of one kind.
    List(&'static [Key]),
    /// The name of a model, or a list of layers, each of which has a `type`.
    Model(&'static [Choice], &'static [Variant]),
}

impl Key {
    /// A key that has a default or has to be given.
    pub const fn new(name: &'static str, allowed: Allowed, purpose: &'static str) -> Self {
        Key { name, allowed, purpose, absent: None }
    }

    /// A key that may be left out, which then means `absent`.
    pub const fn optional(name: &'static str, allowed: Allowed, purpose: &'static str, absent: &'static str) -> Self {
        Key { name, allowed, purpose, absent: Some(absent) }
    }
}

impl Choice {
    /// A name with its meaning.
    pub const fn new(name: &'static str, purpose: &'static str) -> Self {
        Choice { name, purpose }
    }
}

impl Variant {
    /// A table with its meaning.
    pub const fn new(name: &'static str, purpose: &'static str, keys: &'static [Key]) -> Self {
        Variant { name, purpose, keys }
    }

    /// A table of this variant in which every key is set to [`Allowed::sample`].
    pub fn sample(&self, tag: &str) -> Value {
        let mut table = sample_table(self.keys);
        table.insert(tag.into(), self.name.into());
        Value::Table(table)
    }
}

impl Allowed {
    /// The range in words, those of the message that refuses other values.
    ///
    /// ```
    /// use lrpilot::{keys::Allowed, range::Range};
    /// assert_eq!(Allowed::Count(1, 10_000).words(), "1 to 10,000");
    /// assert_eq!(Allowed::Number(Range::Share).words(), "a number in [0, 1]");
    /// ```
    pub fn words(&self) -> String {
        match *self {
            Allowed::Text => "any text".into(),
            Allowed::Texts => "a list of texts".into(),
            Allowed::Column => "a column's name, or its number counted from 1".into(),
            Allowed::Columns => "a list of columns, by name or by number counted from 1".into(),
            Allowed::Flag => "true or false".into(),
            Allowed::Count(least, most) => format!("{} to {}", grouped(least), grouped(most)),
            Allowed::Counts(least, most) => format!("a list, each {} to {}", grouped(least), grouped(most)),
            Allowed::Number(range) => range.words(),
            Allowed::Numbers(range) => format!("a list, each {}", range.words()),
            Allowed::Pair(range) => format!("two, each {}", range.words()),
            Allowed::Bounds => "[min, max] with 0 < min < max".into(),
            Allowed::Name(choices) => either(choices.iter().map(|c| c.name)),
            Allowed::Table(_) => "a table".into(),
            Allowed::OneOf(tag, variants) => {
                format!("a table with {tag} {}", either(variants.iter().map(|v| v.name)))
            }
            Allowed::List(_) => "a list of tables".into(),
            Allowed::Model(names, _) => format!("{}, or a list of layers", either(names.iter().map(|c| c.name))),
        }
    }

    /// A value in the range: the first of several choices, and tables with all of their keys.
    pub fn sample(&self) -> Value {
        match *self {
            Allowed::Text => "text".into(),
            Allowed::Texts => Value::Array(vec!["text".into()]),
            Allowed::Column => count(1),
            Allowed::Columns => Value::Array(vec![count(1)]),
            Allowed::Flag => true.into(),
            Allowed::Count(least, _) => count(least),
            Allowed::Counts(least, _) => Value::Array(vec![count(least)]),
            Allowed::Number(range) => number(range),
            Allowed::Numbers(range) => Value::Array(vec![number(range)]),
            Allowed::Pair(range) => Value::Array(vec![number(range), number(range)]),
            Allowed::Bounds => Value::Array(vec![Value::Float(0.001), Value::Float(1.0)]),
            Allowed::Name(choices) => choices[0].name.into(),
            Allowed::Table(keys) => Value::Table(sample_table(keys)),
            Allowed::OneOf(tag, variants) => variants[0].sample(tag),
            Allowed::List(keys) => Value::Array(vec![Value::Table(sample_table(keys))]),
            Allowed::Model(_, layers) => Value::Array(vec![layers[0].sample("type")]),
        }
    }
}

fn sample_table(keys: &[Key]) -> toml::Table {
    keys.iter().map(|key| (key.name.to_owned(), key.allowed.sample())).collect()
}

/// The least number that is allowed, but 1 rather than 0, which often switches something off.
fn count(least: u64) -> Value {
    Value::Integer(least.max(1).try_into().unwrap_or(i64::MAX))
}

fn number(range: Range) -> Value {
    let candidates = [0.5, 1.0, -0.5];
    let above = if let Range::Above(least) = range { least + 1.0 } else { 2.0 };
    Value::Float(candidates.into_iter().find(|v| range.contains(*v)).unwrap_or(above))
}

/// `a, b or c`.
fn either(names: impl ExactSizeIterator<Item = &'static str>) -> String {
    let (mut text, count) = (String::new(), names.len());
    for (i, name) in names.enumerate() {
        text.push_str(if i == 0 {
            ""
        } else if i + 1 == count {
            " or "
        } else {
            ", "
        });
        text.push_str(name);
    }
    text
}

/// `1,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
