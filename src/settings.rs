//! Configuration: TOML in, valid values out. A wrong key or value is named with its place and a remedy.
//!
//! Deliberately not here: which keys exist. Each configuration struct says so itself, with
//! `#[serde(deny_unknown_fields, default)]`.

mod fault;

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::fmt::Write;

/// Read `text` as `T`; `place` (a file name) goes in front of messages.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Learn { epochs: usize }
/// let learn: Learn = lrpilot::settings::parse("epochs = 3000", "learn.toml")?;
/// assert_eq!(learn.epochs, 3000);
/// let error = lrpilot::settings::parse::<Learn>("epochs = 1\nepoch = 3", "learn.toml").unwrap_err();
/// assert_eq!(error.to_string(), "learn.toml, line 2: unknown key `epoch`; did you mean `epochs`?");
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] with line number, for wrong syntax, an unknown or missing key or a value of the wrong type.
pub fn parse<T: DeserializeOwned>(text: &str, place: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let place = match error.span() {
            Some(span) => format!("{place}, line {}", text[..span.start].matches('\n').count() + 1),
            None => place.to_owned(),
        };
        explain(place, error.message())
    })
}

/// Read a table (merged from files, presets and `--set`) as `T`. Errors name the key instead of the line.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Learn { epochs: usize }
/// let mut table = toml::Table::new();
/// lrpilot::settings::apply_set(&mut table, "epochs=3000", "--set")?;
/// let learn: Learn = lrpilot::settings::from_table(table, "--set")?;
/// assert_eq!(learn.epochs, 3000);
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] for an unknown or missing key or a value of the wrong type.
pub fn from_table<T: DeserializeOwned>(table: toml::Table, place: &str) -> Result<T> {
    from_table_and_text(table, place, "")
}

/// As [`from_table`], for a table that comes from the file `place` with the content `text`: errors also name the line,
/// if the key is in the file.
///
/// # Errors
/// As [`from_table`].
pub fn from_table_and_text<T: DeserializeOwned>(table: toml::Table, place: &str, text: &str) -> Result<T> {
    let whole = toml::Value::Table(table);
    whole.clone().try_into().map_err(|error: toml::de::Error| {
        let path = fault::path::<T>(&whole, error.message().trim());
        let mut place = place.to_owned();
        if let Some(line) = fault::line(text, &path) {
            let _ = write!(place, ", line {line}");
        }
        if !path.is_empty() {
            let _ = write!(place, ", {}", fault::shown(&path));
        }
        explain(place, error.message())
    })
}

/// Overlay `base`: tables are merged key by key, everything else is replaced. A table that says it is of another `type`
/// or `kind` than the one below replaces it whole, since their keys have nothing in common.
///
/// ```
/// let base = toml::toml! { learn = { epochs = 1, seed = 2 } };
/// let overlay = toml::toml! { learn = { epochs = 3 } };
/// let merged = lrpilot::settings::merge(base, overlay);
/// assert_eq!(merged, toml::toml! { learn = { epochs = 3, seed = 2 } });
/// ```
pub fn merge(mut base: toml::Table, overlay: toml::Table) -> toml::Table {
    for (key, value) in overlay {
        let merged = match (base.remove(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) if same_kind(&below, &above) => {
                toml::Value::Table(merge(below, above))
            }
            (_, value) => value,
        };
        base.insert(key, merged);
    }
    base
}

fn same_kind(below: &toml::Table, above: &toml::Table) -> bool {
    ["type", "kind"].iter().all(|key| above.get(*key).is_none_or(|kind| below.get(*key) == Some(kind)))
}

/// Apply one setting `KEY=VALUE`, given at `place` (e.g. a flag's name): dotted key, value in TOML's notation; what is no TOML value is taken as a string.
///
/// ```
/// let mut table = toml::Table::new();
/// lrpilot::settings::apply_set(&mut table, "learn.epochs=3000", "--set")?;
/// lrpilot::settings::apply_set(&mut table, "env.formulation=paper", "--set")?;
/// assert_eq!(table["learn"]["epochs"].as_integer(), Some(3000));
/// assert_eq!(table["env"]["formulation"].as_str(), Some("paper"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] without `=`, with an empty key part, or if a part of the key is a value rather than a table.
/// Unknown keys show when the table is read by [`from_table`].
pub fn apply_set(table: &mut toml::Table, setting: &str, place: &str) -> Result<()> {
    let wrong = |message: String| {
        Error::config(format!("{place} {setting}"), message, "write section.key=value, e.g. learn.epochs=3000")
    };
    let (path, text) = setting.split_once('=').ok_or_else(|| wrong("no `=`".to_owned()))?;
    let text = text.trim();
    if text.parse::<i128>().is_ok_and(|number| i64::try_from(number).is_err()) {
        let message = format!("{text} is beyond the whole numbers of TOML");
        return Err(Error::config(format!("{place} {path}"), message, format!("give at most {}", i64::MAX)));
    }
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .filter(|one| one.len() == 1)
        .and_then(|mut one| one.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let parts: Vec<&str> = path.split('.').map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(wrong(format!("`{path}` has an empty part")));
    }
    let (last, sections) = parts.split_last().expect("split gives at least one part");
    let mut inner = table;
    for part in sections {
        let next = inner.entry(*part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        inner = next.as_table_mut().ok_or_else(|| wrong(format!("`{part}` is a value, not a section")))?;
    }
    inner.insert((*last).to_owned(), value);
    Ok(())
}

/// JSON with sorted keys and no spaces: the same text for equal values on every machine, so fit for hashing.
/// Non-finite numbers become `null`.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Spec { task: &'static str, lr: f64 }
/// assert_eq!(lrpilot::settings::canonical_json(&Spec { task: "noisy", lr: 0.1 }), r#"{"lr":0.1,"task":"noisy"}"#);
/// ```
///
/// # Panics
/// If `T` cannot be JSON at all (a map whose keys are not strings or numbers): a mistake in the type, not in its value.
pub fn canonical_json(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).expect("a specification consists of structs, lists, strings and numbers");
    let mut out = String::new();
    write_canonical(&json, &mut out);
    out
}

/// Sorts explicitly: whether `serde_json::Map` is sorted depends on features that other crates may switch on.
fn write_canonical(json: &Json, out: &mut String) {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                let _ = write!(out, "{}:", Json::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                write_canonical(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// Turn serde's message into ours: unknown names with the nearest valid one, everything else as it is.
fn explain(place: String, message: &str) -> Error {
    let message = message.trim();
    // serde: "unknown field `x`, expected one of `a`, `b`", "… expected `a` or `b`", "… there are no fields"; the same
    // with "variant". Names alternate with the text between backticks.
    for (kind, ours) in [("unknown field ", "key"), ("unknown variant ", "name")] {
        let Some(rest) = message.strip_prefix(kind) else { continue };
        let mut names = rest.split('`').skip(1).step_by(2);
        let Some(given) = names.next() else { continue };
        let valid: Vec<&str> = names.collect();
        let remedy = match nearest(given, &valid) {
            Some(name) => format!("did you mean `{name}`?"),
            None if valid.is_empty() => "remove it, no keys are known here".to_owned(),
            None => format!("known are {}", valid.join(", ")),
        };
        return Error::config(place, format!("unknown {ours} `{given}`"), remedy);
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return Error::config(place, format!("the key {name} is missing"), "add it");
    }
    let message = fault::in_our_words(message).unwrap_or_else(|| message.replace('\n', " "));
    Error::config(place, message, "correct the value")
}

/// The name with the smallest edit distance to `given`, if that is at most a third of its length (and at least two).
pub fn nearest<'a>(given: &str, valid: &[&'a str]) -> Option<&'a str> {
    let limit = (given.chars().count() / 3).max(2);
    let best = valid.iter().map(|name| (edit_distance(given, name), *name)).min()?;
    (best.0 <= limit).then_some(best.1)
}

/// Levenshtein distance: insertions, deletions and replacements of one character.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        learn: Learn,
        action: Option<Action>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Learn {
        epochs: usize,
        seed: u64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Action {
        Multiplicative { decades: f64 },
        Absolute { min: f64, max: f64 },
    }

    #[track_caller]
    fn message_of(text: &str) -> String {
        let error = parse::<Config>(text, "a.toml").unwrap_err();
        assert_eq!(error.exit_code(), 78);
        error.to_string()
    }

    #[test]
    fn unknown_keys_name_line_and_nearest() {
        assert_eq!(message_of("\n[learn]\nepocs = 1"), "a.toml, line 3: unknown key `epocs`; did you mean `epochs`?");
        assert_eq!(message_of("[zzzzzzzz]"), "a.toml, line 1: unknown key `zzzzzzzz`; known are learn, action");
    }

    #[test]
    fn tagged_enums_are_checked() {
        let message = message_of("[action]\nkind = \"multiplicative\"\ndecade = 0.5");
        assert!(message.ends_with("unknown key `decade`; did you mean `decades`?"), "{message}");
        let message = message_of("[action]\nkind = \"multiplicatve\"");
        assert!(message.ends_with("unknown name `multiplicatve`; did you mean `multiplicative`?"), "{message}");
    }

    #[test]
    fn type_errors_name_the_line() {
        let message = message_of("[learn]\nseed = 1\nepochs = \"many\"");
        assert!(message.starts_with("a.toml, line 3: \"many\" is not a whole number ≥ 0;"), "{message}");
        assert!(message_of("[learn\n").starts_with("a.toml, line 1: "));
    }

    #[test]
    fn tables_name_the_key() {
        let mut table = toml::Table::new();
        apply_set(&mut table, "learn.epochs=many", "--set").unwrap();
        let message = from_table::<Config>(table, "--set").unwrap_err().to_string();
        assert!(message.starts_with("--set, learn.epochs: \"many\" is not a whole number ≥ 0;"), "{message}");
    }

    /// Below an enum and in lists, where serde names no place; the line is that of the value.
    #[test]
    fn places_below_an_enum_are_named() {
        #[derive(Debug, Deserialize)]
        struct Plan {
            #[serde(rename = "actions")]
            _actions: Vec<Action>,
            #[serde(rename = "range")]
            _range: (f64, f64),
        }
        let message = |actions: &str, range: &str| {
            let text = format!("range = {range}\nactions = [\n {{kind=\"absolute\",min=0.0,max=1.0}},\n {actions}\n]");
            let table = parse::<toml::Table>(&text, "p.toml").unwrap();
            from_table_and_text::<Plan>(table, "p.toml", &text).unwrap_err().to_string()
        };
        let cases = [
            ("{kind=\"absolute\",min=\"a\",max=1.0}", "[0.0, 1.0]", "line 4, actions[1].min: \"a\" is not a number;"),
            (
                "{kind=\"absolute\",mim=0.0,max=1.0}",
                "[0.0, 1.0]",
                "line 4, actions[1]: unknown key `mim`; did you mean",
            ),
            ("{kind=\"absolute\",min=0.0}", "[0.0, 1.0]", "line 4, actions[1]: the key `max` is missing; add it"),
            ("{kind=\"absolut\",min=0.0}", "[0.0, 1.0]", "line 4, actions[1]: unknown name `absolut`;"),
            ("7", "[0.0, 1.0]", "line 4, actions[1]: 7 is not a table"),
            ("", "[0.0]", "line 1, range: a list of 1 is not a list of 2;"),
            ("", "true", "line 1, range: true is not a list of 2;"),
        ];
        for (actions, range, words) in cases {
            let message = message(actions, range);
            assert!(message.starts_with(&format!("p.toml, {words}")), "{message}");
        }
    }

    #[test]
    fn settings_are_typed() {
        let mut table = toml::Table::new();
        for setting in ["learn.seed=7", "a=1e-3", "b=[1, 2]", "c=x y", "d=\"7\"", "e=true", "f=a=b", "g="] {
            apply_set(&mut table, setting, "--set").unwrap();
        }
        let expected = "a=1e-3\nb=[1,2]\nc='x y'\nd='7'\ne=true\nf='a=b'\ng=''\nlearn={seed=7}".parse().unwrap();
        assert_eq!(table, expected);
        for wrong in ["learn", "=1", "learn.=1", "a.b=1", "x=9223372036854775808"] {
            assert!(apply_set(&mut table, wrong, "--set").is_err(), "{wrong}");
        }
    }

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let value = serde_json::json!({"b": [{"z": 1, "a": "é\""}], "a": {}, "c": []});
        assert_eq!(canonical_json(&value), r#"{"a":{},"b":[{"a":"é\"","z":1}],"c":[]}"#);
        assert_eq!(canonical_json(&(f64::NAN, 1e300)), "[null,1e+300]");
    }

    /// Distances known from the definition: `kitten` → `sitting` takes two replacements and one insertion.
    #[test]
    fn distances() {
        for (a, b, distance) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("seed", "seeds", 1)] {
            assert_eq!(edit_distance(a, b), distance);
            assert_eq!(edit_distance(b, a), distance);
        }
    }
}
