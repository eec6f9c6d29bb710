//! A configuration as a file in which every key is explained.

use super::defaults::{Default, inline, line, phrase, written};
use crate::Result;
use crate::cli::text::wrap;
use crate::keys::{Allowed, Key, Variant};
use crate::run::RunConfig;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Stands for a value that has no default.
const NO_VALUE: &str = "…";

/// The configuration as TOML, with default, range and purpose above each key. Read again, it is the same configuration.
pub fn document(config: &RunConfig) -> Result<String> {
    let run = written(config)?;
    let mut document = Document { out: String::new(), run: run.clone() };
    document.out.push_str("# Above each key: what it is if it is left out, what it may be, what it is for.\n");
    document.keys(RunConfig::KEYS, &run, &mut Vec::new())?;
    Ok(document.out)
}

struct Document {
    out: String,
    run: Table,
}

/// Whether a key has a table of its own in the file.
fn is_section(key: &Key) -> bool {
    matches!(key.allowed, Allowed::Table(_) | Allowed::OneOf(..))
}

impl Document {
    fn comment(&mut self, indent: &str, text: &str) {
        wrap(&mut self.out, &format!("{indent}# "), &format!("{indent}#   "), text);
    }

    /// The keys of the table `values` at `way`: first those with values, since what follows a table's heading belongs to it.
    fn keys(&mut self, keys: &[Key], values: &Table, way: &mut Vec<String>) -> Result<()> {
        let (sections, plain): (Vec<&Key>, Vec<&Key>) =
            keys.iter().partition(|key| is_section(key) && values.contains_key(key.name));
        for key in plain {
            way.push(key.name.into());
            let text = line(key, &self.run, way)?;
            self.comment("", &text);
            self.value(key, values.get(key.name), way)?;
            way.pop();
        }
        for key in sections {
            way.push(key.name.into());
            if let Some(values) = values.get(key.name).and_then(Value::as_table) {
                self.section(key, values, way)?;
            }
            way.pop();
        }
        Ok(())
    }

    fn value(&mut self, key: &Key, value: Option<&Value>, way: &mut Vec<String>) -> Result<()> {
        let Some(value) = value else {
            let default = match Default::at(&self.run, way)? {
                Default::Value(value) => inline(&value),
                Default::Required | Default::Absent => NO_VALUE.into(),
            };
            self.out.push_str(&format!("# {} = {default}\n", key.name));
            return Ok(());
        };
        match (key.allowed, value) {
            (Allowed::List(keys), Value::Array(list)) => self.list(key, list, way, |_| Some(("", keys))),
            (Allowed::Model(_, layers), Value::Array(list)) => self.list(key, list, way, |entry| {
                let layer = variant("type", layers, entry)?;
                Some((layer.purpose, layer.keys))
            }),
            _ => {
                self.out.push_str(&format!("{} = {}\n", key.name, inline(value)));
                Ok(())
            }
        }
    }

    /// A list of tables, one on each line; each kind of table is explained where it comes first.
    fn list(
        &mut self,
        key: &Key,
        list: &[Value],
        way: &mut Vec<String>,
        keys_of: impl Fn(&Table) -> Option<(&'static str, &'static [Key])>,
    ) -> Result<()> {
        self.out.push_str(&format!("{} = [\n", key.name));
        let mut explained = BTreeSet::new();
        for (i, entry) in list.iter().enumerate() {
            if let Some((purpose, keys)) = entry.as_table().and_then(&keys_of)
                && explained.insert(entry.get("type").map(ToString::to_string))
            {
                if !purpose.is_empty() {
                    self.comment("    ", purpose);
                }
                way.push(i.to_string());
                for key in keys {
                    way.push(key.name.into());
                    let text = format!("{}: {}", key.name, line(key, &self.run, way)?);
                    self.comment("    ", &text);
                    way.pop();
                }
                way.pop();
            }
            self.out.push_str(&format!("    {},\n", inline(entry)));
        }
        self.out.push_str("]\n");
        Ok(())
    }

    fn section(&mut self, key: &Key, values: &Table, way: &mut Vec<String>) -> Result<()> {
        self.out.push('\n');
        self.comment("", key.purpose);
        self.out.push_str(&format!("[{}]\n", way.join(".")));
        match key.allowed {
            Allowed::OneOf(tag, variants) => {
                let Some(variant) = variant(tag, variants, values) else { return Ok(()) };
                let default = match Default::at(&self.run, way)? {
                    Default::Value(Value::Table(table)) => format!("default {}", inline(&table[tag])),
                    _ => "required".into(),
                };
                let names = variants.iter().map(|v| v.name).collect::<Vec<_>>().join(", ");
                self.comment("", &format!("{default}; one of {names}; {}", phrase(variant.purpose)));
                self.out.push_str(&format!("{tag} = {}\n", inline(&variant.name.into())));
                self.keys(variant.keys, values, way)
            }
            Allowed::Table(keys) => self.keys(keys, values, way),
            _ => Ok(()),
        }
    }
}

fn variant(tag: &str, variants: &'static [Variant], values: &Table) -> Option<&'static Variant> {
    let name = values.get(tag)?.as_str()?;
    variants.iter().find(|variant| variant.name == name)
}
