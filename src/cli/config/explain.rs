//! A key or a table of the configuration, with everything that it may be set to.

use super::defaults::{Default, at_mut, inline, line, phrase, written};
use crate::cli::text::wrap;
use crate::env::Formulation;
use crate::keys::{Allowed, Choice, Key, Variant};
use crate::run::RunConfig;
use crate::{Error, Result, settings};
use std::fmt::Write as _;
use toml::{Table, Value};

/// The explanation of the key at `path` (`env.action`, `task.model[0].units`), or of one of a key's variants
/// (`env.action.drift`). A key that several variants have is explained for each.
pub fn explain(path: &str, config: &RunConfig) -> Result<String> {
    let steps: Vec<&str> = path.split('.').map(|step| step.split('[').next().unwrap_or(step)).collect();
    let mut search = Search { found: Vec::new(), known: Vec::new(), left: usize::MAX };
    let place = Place { run: written(config)?, way: Vec::new(), titles: Vec::new() };
    search.keys(RunConfig::KEYS, &place, &steps);
    if search.found.is_empty() {
        let given = steps[steps.len().saturating_sub(search.left.max(1))];
        let remedy = match settings::nearest(given, &search.known) {
            Some(name) => format!("did you mean `{name}` for `{given}`?"),
            None => format!("known instead of `{given}` are {}", search.known.join(", ")),
        };
        return Err(Error::usage(format!("`{path}` is no key of a configuration"), remedy));
    }
    let mut out = String::new();
    for (place, target) in &search.found {
        if !out.is_empty() {
            out.push('\n');
        }
        describe(&mut out, place, target, config)?;
    }
    Ok(out)
}

/// Where a key stands: a configuration that has it, the way to it there, and the variants on the way.
#[derive(Clone)]
struct Place {
    run: Table,
    way: Vec<String>,
    titles: Vec<String>,
}

/// What a path leads to.
enum Target {
    Key(&'static Key),
    Variant(&'static str, &'static Variant),
}

struct Search {
    found: Vec<(Place, Target)>,
    /// The names known where the search came furthest.
    known: Vec<&'static str>,
    /// Steps of the path that were left there.
    left: usize,
}

impl Place {
    fn then(&self, step: &str) -> Place {
        let mut next = self.clone();
        next.way.push(step.into());
        next
    }

    /// The same place, where the table `key` is there with a value for each of its keys if it was left out.
    fn with_table(&self, key: &Key) -> Place {
        let mut run = Value::Table(self.run.clone());
        match at_mut(&mut run, &self.way) {
            Some(_) => self.clone(),
            None => Place { titles: self.titles.clone(), ..self.with(key.allowed.sample(), "", String::new()) },
        }
    }

    /// The same place, where the value is `value` if it is of another variant, or unset.
    fn with(&self, value: Value, tag: &str, title: String) -> Place {
        let mut next = self.clone();
        let mut whole = Value::Table(next.run);
        let parents = &self.way[..self.way.len() - 1];
        if let Some(parent) = at_mut(&mut whole, parents).and_then(Value::as_table_mut) {
            let key = &self.way[self.way.len() - 1];
            let kept = parent.get(key).is_some_and(|old| old.get(tag).is_some() && old.get(tag) == value.get(tag));
            if !kept {
                parent.insert(key.clone(), value);
            }
        }
        next.run = if let Value::Table(run) = whole { run } else { Table::new() };
        next.titles.push(title);
        next
    }
}

impl Search {
    /// Note the names that could stand where `left` steps are left.
    fn learn(&mut self, left: usize, names: impl Iterator<Item = &'static str>) {
        if left < self.left {
            (self.left, self.known) = (left, Vec::new());
        }
        if left == self.left {
            self.known.extend(names);
        }
    }

    fn keys(&mut self, keys: &'static [Key], place: &Place, steps: &[&str]) {
        self.learn(steps.len(), keys.iter().map(|key| key.name));
        let Some((first, rest)) = steps.split_first() else { return };
        for key in keys.iter().filter(|key| key.name == *first) {
            let place = place.then(key.name);
            match key.allowed {
                _ if rest.is_empty() => self.found.push((place, Target::Key(key))),
                Allowed::Table(keys) => self.keys(keys, &place.with_table(key), rest),
                Allowed::List(keys) => {
                    let sampled = place.with(key.allowed.sample(), "", String::new());
                    self.keys(keys, &Place { titles: place.titles, ..sampled.then("0") }, rest);
                }
                Allowed::OneOf(tag, _) if rest == [tag] => self.found.push((place, Target::Key(key))),
                Allowed::OneOf(tag, variants) => self.variants(tag, variants, &place, rest, false),
                Allowed::Model(_, layers) => self.variants("type", layers, &place, rest, true),
                _ => {}
            }
        }
    }

    fn variants(
        &mut self,
        tag: &'static str,
        variants: &'static [Variant],
        place: &Place,
        steps: &[&str],
        listed: bool,
    ) {
        self.learn(steps.len(), variants.iter().map(|variant| variant.name));
        for variant in variants {
            let sample = variant.sample(tag);
            let value = if listed { Value::Array(vec![sample]) } else { sample };
            let sampled = place.with(value, tag, format!("{tag} = {:?}", variant.name));
            let inner = if listed { sampled.then("0") } else { sampled };
            match steps.split_first() {
                Some((first, [])) if *first == variant.name => {
                    self.found.push((inner, Target::Variant(tag, variant)));
                }
                Some((first, rest)) if *first == variant.name => self.keys(variant.keys, &inner, rest),
                _ => self.keys(variant.keys, &inner, steps),
            }
        }
    }
}

fn describe(out: &mut String, place: &Place, target: &Target, config: &RunConfig) -> Result<()> {
    let path = place.way.iter().filter(|step| step.parse::<usize>().is_err()).cloned().collect::<Vec<_>>().join(".");
    let within = if place.titles.is_empty() { String::new() } else { format!(" ({})", place.titles.join(", ")) };
    match target {
        Target::Variant(tag, variant) => {
            let _ = writeln!(out, "{path}");
            one_variant(out, tag, variant, place)
        }
        Target::Key(key) => {
            wrap(out, &format!("{path}{within}: "), "    ", &phrase(key.purpose));
            if !matches!(key.allowed, Allowed::Table(_)) {
                wrap(out, "  ", "    ", &defaults(key, place, config)?);
                wrap(out, "  ", "    ", &key.allowed.words());
            }
            contents(out, key, place)
        }
    }
}

/// The default in the formulation at hand, and in the other one where it is another.
fn defaults(key: &Key, place: &Place, config: &RunConfig) -> Result<String> {
    let here = Default::at(&place.run, &place.way)?;
    let name = if config.env.formulation == Formulation::Paper { "pilot" } else { "paper" };
    let mut other = place.run.clone();
    if let Some(env) = other.get_mut("env").and_then(Value::as_table_mut) {
        env.insert("formulation".into(), name.into());
    }
    let there = Default::at(&other, &place.way)?;
    let is_formulation = key.name == "formulation";
    Ok(match there {
        Default::Value(value) if !is_formulation && Default::Value(value.clone()) != here => {
            format!("{} (formulation {name}: {})", here.words(key), inline(&value))
        }
        _ => here.words(key),
    })
}

/// What the key may be set to.
fn contents(out: &mut String, key: &Key, place: &Place) -> Result<()> {
    match key.allowed {
        Allowed::Name(choices) => names(out, choices),
        Allowed::Table(keys) => return several(out, "  ", keys, &place.with_table(key)),
        Allowed::List(keys) => {
            let sampled = place.with(key.allowed.sample(), "", String::new());
            return several(out, "  ", keys, &sampled.then("0"));
        }
        Allowed::OneOf(tag, variants) => {
            for variant in variants {
                one_variant(out, tag, variant, &place.with(variant.sample(tag), tag, String::new()))?;
            }
        }
        Allowed::Model(models, layers) => {
            names(out, models);
            for layer in layers {
                let sampled = place.with(Value::Array(vec![layer.sample("type")]), "type", String::new());
                one_variant(out, "type", layer, &sampled.then("0"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn names(out: &mut String, choices: &[Choice]) {
    for choice in choices {
        wrap(out, &format!("  {}: ", choice.name), "      ", choice.purpose);
    }
}

fn one_variant(out: &mut String, tag: &str, variant: &Variant, place: &Place) -> Result<()> {
    wrap(out, &format!("  {tag} = {:?}: ", variant.name), "      ", variant.purpose);
    several(out, "      ", variant.keys, place)
}

fn several(out: &mut String, indent: &str, keys: &[Key], place: &Place) -> Result<()> {
    for key in keys {
        let text = line(key, &place.run, &place.then(key.name).way)?;
        wrap(out, &format!("{indent}{}: ", key.name), &format!("{indent}    "), &text);
    }
    Ok(())
}
