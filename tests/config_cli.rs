//! `lrpilot config` and `lrpilot tasks`: what is printed is what the program reads, checks and knows.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use lrpilot::cli::context::load_config;
use lrpilot::env::{EnvConfig, Formulation};
use lrpilot::keys::{Allowed, Key, Variant};
use lrpilot::nn::OptimizerSpec;
use lrpilot::range::Range;
use lrpilot::run::RunConfig;
use lrpilot::task::{NoisyQuadratic, Preset, QuadraticConfig, Task as _, TaskConfig};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use toml::{Table, Value};

/// Names from before 0.1.0 that are still read and no longer told.
const OLD_NAMES: [&str; 3] = ["knobs", "knob", "anchored"];

fn lrpilot(args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("lrpilot")).args(args).output().unwrap()
}

#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = lrpilot(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(args: &[&str], code: i32) -> String {
    let output = lrpilot(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A list of `--set` for `task`, in each of which something is set that presets leave out.
fn cases() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut cases: Vec<(&str, Vec<&str>)> = Preset::ALL.iter().map(|p| (p.name(), vec![])).collect();
    cases.extend(Preset::ALL.iter().map(|p| (p.name(), vec!["env.formulation=paper"])));
    let odd = r#"task.name="it's \"quoted\",\n # no comment""#;
    let layers = r#"task.model=[{type="conv2d",channels=3,kernel=2},{type="relu"},{type="dropout",p=0.1},{type="dense",units=10}]"#;
    let settings = r#"env.hyperparameters=[{name="momentum",min=0.1,max=0.9},{name="weight-decay",min=1e-7,max=0.1}]"#;
    let more = [
        vec![odd, layers, "task.interval_steps=7", "ppo.hidden=[]", "ppo.target_kl=0.01", "ppo.clip_range_vf=0.3"],
        vec![settings, "env.observation=state-blind", "env.action={type=\"residual\",base=[0.1,1e-5],alpha=2.0}"],
        vec!["task.optimizer={type=\"adam\",betas=[0.5,0.9]}", "ppo.squash=tanh", "ppo.learning_rate=1e-20"],
        vec!["env.reward={type=\"log-improvement\",epsilon=0.1,capped=true}", "env.formulation=paper", "ppo.n_steps=3"],
        vec!["task.optimizer={type=\"sls\",reset=\"keep\"}", "env.initial_lr={type=\"anchor\"}", "seed=5"],
    ];
    cases.extend(more.map(|set| ("digits", set)));
    cases
}

/// The printed file means the same as the task and the settings that it was made from, and prints itself.
#[test]
fn a_printed_configuration_is_the_same_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my.toml");
    let file = path.to_str().unwrap();
    for (task, set) in cases() {
        let flags: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).collect();
        let text = printed(&[&["config", task, "--seed", "3"], &flags[..]].concat());
        std::fs::write(&path, &text).unwrap();
        let set: Vec<String> = set.into_iter().map(String::from).collect();
        let wanted = load_config(task, &set, Some(3)).unwrap();
        assert_eq!(load_config(file, &[], None).unwrap(), wanted, "{task} {set:?}\n{text}");
        assert_eq!(printed(&["config", file]), text);
    }
}

/// Each key of each table of a printed configuration stands on a line of its own, set or commented out.
#[test]
fn every_key_stands_in_the_configuration() {
    for task in ["digits", "noisy-quadratic"] {
        let text = printed(&["config", task]);
        let stands = |name: &str| text.lines().any(|l| l.trim_start_matches("# ").starts_with(&format!("{name} = ")));
        let heading = |name: &str| text.lines().any(|l| l.starts_with('[') && l.ends_with(&format!("{name}]")));
        let keys = RunConfig::KEYS.iter().chain(EnvConfig::KEYS).chain(lrpilot::agent::PpoConfig::KEYS);
        let own = TaskConfig::VARIANTS[usize::from(task == "noisy-quadratic")].keys;
        for key in keys.chain(own) {
            assert!(stands(key.name) || heading(key.name), "{} is not in\n{text}", key.name);
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

/// `…, expected one of `a`, `b`` or `there are no fields`: the names that serde would have taken at `way` of `run`.
#[track_caller]
fn known(run: &Value) -> BTreeSet<String> {
    let message = run.clone().try_into::<RunConfig>().unwrap_err().message().to_owned();
    assert!(message.contains("unknown field `zz`") || message.contains("unknown variant `zz`"), "{message}");
    let names = message.split('`').skip(3).step_by(2).map(String::from);
    names.filter(|name| !OLD_NAMES.contains(&name.as_str())).collect()
}

fn at<'a>(value: &'a mut Value, way: &[String]) -> &'a mut Value {
    way.iter().fold(value, |value, step| match step.parse::<usize>() {
        Ok(i) => &mut value[i],
        Err(_) => &mut value[step.as_str()],
    })
}

fn with(run: &Value, way: &[String], key: &str, value: Value) -> Value {
    let mut changed = run.clone();
    at(&mut changed, way).as_table_mut().unwrap().insert(key.into(), value);
    changed
}

fn then(way: &[String], step: &str) -> Vec<String> {
    way.iter().cloned().chain([step.to_owned()]).collect()
}

/// Takes the keys of a table, a configuration that has the table, and the way to it there.
type Visit<'a> = dyn FnMut(&[Key], &Value, &[String]) + 'a;

/// Call `f` for each table that a configuration may have, with a configuration that has it, and the way to it there.
/// Variants other than that of `run` are sampled.
fn tables(keys: &[Key], run: &Value, way: &[String], f: &mut Visit<'_>) {
    f(keys, run, way);
    let mut variant = |v: &Variant, tag: &str, key: &Key, listed: bool| {
        let here = then(way, key.name);
        let same = at(&mut run.clone(), way).get(key.name).is_some_and(|old| old.get(tag) == Some(&v.name.into()));
        let sample = v.sample(tag);
        let value = if listed { vec![sample, toml::toml! { type = "dense" units = 10 }.into()].into() } else { sample };
        let run = if same { run.clone() } else { with(run, way, key.name, value) };
        tables(v.keys, &run, &if listed { then(&here, "0") } else { here }, f);
    };
    for key in keys {
        match key.allowed {
            Allowed::OneOf(tag, variants) => variants.iter().for_each(|v| variant(v, tag, key, false)),
            Allowed::Model(_, layers) => layers.iter().for_each(|v| variant(v, "type", key, true)),
            _ => {}
        }
    }
    for key in keys {
        match key.allowed {
            // A table that may be absent, as that of a file of one's own, is visited where the configuration has it.
            Allowed::Table(inner) if at(&mut run.clone(), way).get(key.name).is_some() => {
                tables(inner, run, &then(way, key.name), f)
            }
            Allowed::List(inner) => {
                let run = with(run, way, key.name, key.allowed.sample());
                tables(inner, &run, &then(&then(way, key.name), "0"), f);
            }
            _ => {}
        }
    }
}

/// The listed keys, variants and names are those that serde knows: no key is without an entry, no entry without a key.
#[test]
fn the_listed_keys_are_those_that_are_read() {
    let full = Allowed::Table(RunConfig::KEYS).sample();
    let mut seen = 0;
    tables(RunConfig::KEYS, &full, &[], &mut |keys, run, way| {
        seen += 1;
        let read = run.clone().try_into::<RunConfig>();
        assert!(read.is_ok(), "{way:?}: {}", read.unwrap_err());
        let listed: BTreeSet<String> = keys.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(known(&with(run, way, "zz", true.into())), listed, "{way:?}");
        for key in keys {
            let place = then(way, key.name);
            match key.allowed {
                Allowed::Name(choices) => {
                    let names: BTreeSet<String> = choices.iter().map(|c| c.name.to_owned()).collect();
                    assert_eq!(known(&with(run, way, key.name, "zz".into())), names, "{place:?}");
                }
                Allowed::OneOf(tag, variants) => {
                    let names: BTreeSet<String> = variants.iter().map(|v| v.name.to_owned()).collect();
                    assert_eq!(known(&with(run, &place, tag, "zz".into())), names, "{place:?}");
                }
                _ => {}
            }
        }
    });
    // The file and 4 tables with keys of their own, data, csv, a hyperparameter, 3 tasks, 12 optimizers, 9 layers, 5 actions,
    // 3 rewards, 2 divergences, 4 starts; less [task] and [task.optimizer], which are their variants.
    assert_eq!(seen, 1 + 3 + 2 + 1 + 3 + 12 + 9 + 5 + 3 + 2 + 4);
}

fn numbers_outside(range: Range) -> Vec<f64> {
    let ends: &[f64] = match range {
        Range::Finite => &[],
        Range::Positive => &[0.0],
        Range::NotNegative => &[-1e-9],
        Range::NotPositive => &[1e-9],
        Range::AtLeastOne => &[0.999],
        Range::Inside => &[0.0, 1.0],
        Range::Share => &[-1e-9, 1.000_000_001],
        Range::BelowOne => &[-1e-9, 1.0],
        Range::Factor => &[0.0, 1.000_000_001],
        Range::Above(_) => panic!("no configuration key is above another"),
    };
    [ends, &[f64::NAN, f64::INFINITY]].concat()
}

/// Values just outside the stated range.
fn outside(allowed: Allowed) -> Vec<Value> {
    let counts = |least: u64, most: u64| {
        let below = least.checked_sub(1);
        let above = most.checked_add(1).filter(|n| *n <= i64::MAX as u64);
        below.into_iter().chain(above).map(|n| Value::Integer(n as i64)).collect::<Vec<_>>()
    };
    let floats = |range| numbers_outside(range).into_iter().map(Value::Float).collect::<Vec<_>>();
    let pair = |a: f64, b: f64| Value::Array(vec![Value::Float(a), Value::Float(b)]);
    match allowed {
        Allowed::Count(least, most) => counts(least, most),
        Allowed::Counts(least, most) => counts(least, most).into_iter().map(|v| vec![v].into()).collect(),
        Allowed::Number(range) => floats(range),
        Allowed::Numbers(range) => floats(range).into_iter().map(|v| vec![Value::Float(0.5), v].into()).collect(),
        Allowed::Pair(range) => numbers_outside(range).into_iter().flat_map(|v| [pair(0.5, v), pair(v, 0.5)]).collect(),
        Allowed::Bounds => vec![pair(0.0, 1.0), pair(1.0, 1.0), pair(0.1, f64::INFINITY), pair(f64::NAN, 1.0)],
        _ => Vec::new(),
    }
}

/// The reason for which a configuration is refused before anything is trained.
fn reason(run: &Value) -> Option<String> {
    let config: RunConfig = run.clone().try_into().unwrap();
    config.check().err().map(|e| e.to_string())
}

/// Every stated range of a number is one that is checked, and the refusal names the key.
#[test]
fn values_outside_the_stated_ranges_are_refused_by_name() {
    let digits = RunConfig::new(Preset::Digits.config(), Formulation::Pilot);
    let run = Value::try_from(&digits).unwrap();
    assert_eq!(reason(&run), None);
    let mut tried = 0;
    tables(RunConfig::KEYS, &run, &[], &mut |keys, run, way| {
        for key in keys {
            for value in outside(key.allowed) {
                tried += 1;
                let shown = format!("{}.{} = {value}", way.join("."), key.name);
                let reason = reason(&with(run, way, key.name, value)).unwrap_or_else(|| panic!("taken: {shown}"));
                let table = way.first().map_or("", String::as_str);
                assert!(reason.starts_with(table) && reason.contains(key.name), "{shown}: {reason}");
            }
        }
    });
    assert!(tried > 150, "only {tried}");
}

/// Leave out each line of a printed file that has a default, and see what is read instead.
#[test]
fn stated_defaults_are_those_that_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my.toml");
    let mut compared = 0;
    for (task, formulation) in
        [("digits", "pilot"), ("digits", "paper"), ("noisy-quadratic", "pilot"), ("mnist-cnn", "paper")]
    {
        let text = printed(&["config", task, "--set", &format!("env.formulation={formulation}")]);
        let lines: Vec<&str> = text.lines().collect();
        let mut table = String::new();
        for (i, line) in lines.iter().enumerate() {
            if let Some(name) = line.strip_prefix('[') {
                table = name.trim_end_matches(']').to_owned();
            }
            let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
            // The formulation changes the defaults of other keys; a type is left out with its table alone.
            if ["formulation", "type"].contains(&key) {
                continue;
            }
            let first = lines[..i].iter().rposition(|l| l.starts_with("# ") && !l.starts_with("#  ")).unwrap();
            let stated = lines[first].trim_start_matches("# ").split(';').next().unwrap();
            let without = [&lines[..i], &lines[i + 1..]].concat().join("\n");
            std::fs::write(&path, without).unwrap();
            let read = load_config(path.to_str().unwrap(), &[], None);
            let Some(stated) = stated.strip_prefix("default ") else {
                assert_eq!(stated, "required", "{table}.{key}");
                assert!(read.unwrap_err().to_string().contains("missing"), "{table}.{key}");
                continue;
            };
            let read: Table = read.unwrap().to_toml().unwrap().parse().unwrap();
            let section = table.split('.').filter(|s| !s.is_empty()).fold(&read, |t, s| t[s].as_table().unwrap());
            let stated: Table = format!("v = {stated}").parse().unwrap_or_else(|e| panic!("{stated}: {e}"));
            assert_eq!(stated["v"], section[key], "{task} {formulation}: {table}.{key}");
            compared += 1;
        }
    }
    assert!(compared > 80, "only {compared}");
}

/// The parts that are commented out are those that an environment takes: their `#` may be taken away.
#[test]
fn commented_parts_are_the_formulations() {
    let spec = NoisyQuadratic::new(QuadraticConfig::default()).unwrap().spec().clone();
    for formulation in ["pilot", "paper"] {
        let text = printed(&["config", "noisy-quadratic", "--set", &format!("env.formulation={formulation}")]);
        let parts = ["observation", "action", "reward", "on_divergence", "initial_lr"];
        let taken = parts.iter().fold(text.clone(), |text, part| {
            assert_eq!(text.matches(&format!("\n# {part} = ")).count(), 1, "{part}");
            text.replace(&format!("\n# {part} = "), &format!("\n{part} = "))
        });
        let [before, after] = [text, taken].map(|text| toml::from_str::<RunConfig>(&text).unwrap().env);
        assert_eq!((before.action.clone(), after.action.is_some()), (None, true));
        assert_eq!(before.parts(&spec).unwrap(), after.parts(&spec).unwrap());
        assert_eq!(before.complete(), after);
    }
}

#[test]
fn explanations_have_the_alternatives_and_their_keys() {
    let action = printed(&["config", "--explain", "env.action"]);
    for words in
        ["\"drift\": ", "step: required; a finite number > 0; ", "base: required; a list", "formulation paper:"]
    {
        assert!(action.contains(words), "{words}: {action}");
    }
    assert_eq!(printed(&["config", "--explain", "env.action.type"]), action);
    let drift = printed(&["config", "--explain", "env.action.drift"]);
    assert!(drift.contains("drift") && drift.contains("step: ") && !drift.contains("residual"), "{drift}");
    // SGD, Schedule-Free SGD and RMSprop have one, and nothing else.
    let momentum = printed(&["config", "--explain", "task.optimizer.momentum"]);
    assert_eq!(momentum.matches("task.optimizer.momentum (").count(), 3, "{momentum}");
    assert!(momentum.contains("\"sgd\"") && momentum.contains("\"rmsprop\"") && momentum.contains("default 0.0"));
    let units = printed(&["config", "--explain", "task.model[3].units"]);
    assert!(units.contains("required") && units.contains("1 to 1,000,000"), "{units}");
    let horizon = printed(&["config", "--explain", "task.horizon"]);
    assert!(horizon.contains("required") && horizon.contains("default 30"), "{horizon}");
    let steps = printed(&["config", "--explain", "ppo.n_steps"]);
    assert!(steps.contains("default 25 (formulation paper: 2048)"), "{steps}");
    let steps = printed(&["config", "digits", "--set", "env.formulation=paper", "--explain", "ppo.n_steps"]);
    assert!(steps.contains("default 2048 (formulation pilot: 25)"), "{steps}");
    // A table that the configuration at hand does not have.
    let csv = printed(&["config", "--explain", "task.csv"]);
    for words in
        ["path: required", "separator: default \",\"", "header: default false", "missing: default [\"\", \"?\"]"]
    {
        assert!(csv.contains(words), "{words}: {csv}");
    }
    let target = printed(&["config", "--explain", "task.csv.target"]);
    assert!(target.contains("a column's name, or its number counted from 1"), "{target}");
    for key in RunConfig::KEYS.iter().map(|key| key.name).chain(["env.hyperparameters.min", "task.optimizer.sls.c"]) {
        let text = printed(&["config", "--explain", key]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let error = refused(&["config"], 64);
    assert!(
        ["`lrpilot config digits`", "`lrpilot config mnist-cnn`", "lrpilot tasks"].iter().all(|w| error.contains(w))
    );
    let error = refused(&["config", "--explain", "env.actoin"], 64);
    assert!(error.contains("`env.actoin`") && error.contains("did you mean `action`"), "{error}");
    let error = refused(&["config", "--explain", "learn.zzzzzzzz"], 64);
    assert!(error.contains("known instead of `zzzzzzzz` are epochs, environments"), "{error}");
    let error = refused(&["config", "--explain", "zzzzzzzz.action"], 64);
    assert!(error.contains("known instead of `zzzzzzzz` are seed, task, env"), "{error}");
    // An environment that no learning would take is refused here, too.
    let error = refused(&["config", "digits", "--set", "env.action={type=\"drift\",step=-1}"], 78);
    assert!(error.contains("env.action.step: -1"), "{error}");
    assert!(refused(&["config", "digitz"], 64).contains("digits-clean"));
}

#[test]
fn lists_fit_a_terminal_and_name_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = ["--data-dir", dir.path().to_str().unwrap()];
    let text = printed(&[&["tasks"], &data[..]].concat());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = printed(&[&["tasks", "--json"], &data[..]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names = |list: &str| {
        let entries = json[list].as_array().unwrap().iter();
        entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("tasks"), Preset::ALL.map(Preset::name));
    let purposes = ["tasks", "models", "layers", "optimizers", "schedules", "data_sets"];
    for list in purposes {
        assert!(names(list).iter().all(|name| text.contains(name.as_str())), "{list}");
        assert!(json[list].as_array().unwrap().iter().all(|entry| !entry["purpose"].as_str().unwrap().is_empty()));
    }
    let there = |name: &str| json["tasks"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    assert_eq!(there("mnist-mlp")["data_present"], false);
    assert_eq!(there("digits")["data_present"], true);
    assert_eq!((&there("digits")["horizon"], &there("digits")["optimizer"]), (&50.into(), &"sgd".into()));
    assert_eq!(there("noisy-quadratic")["model"], serde_json::Value::Null);
    // PyTorch's defaults: Adadelta 1, Adagrad and RMSprop 0.01, NAdam 0.002, else 0.001 (torch.optim); those of `prodigyopt`
    // and `schedulefree`; the line search takes none.
    let lrs: Vec<_> = json["optimizers"].as_array().unwrap().iter().map(|o| o["default_lr"].as_f64()).collect();
    let lr = |name: &str| lrs[OptimizerSpec::VARIANTS.iter().position(|v| v.name == name).unwrap()];
    assert_eq!((lr("sgd"), lr("adadelta"), lr("adagrad"), lr("sls")), (Some(1e-3), Some(1.0), Some(1e-2), None));
    assert_eq!((lr("nadam"), lr("radam"), lr("prodigy")), (Some(2e-3), Some(1e-3), Some(1.0)));
    assert_eq!((lr("schedule-free-sgd"), lr("schedule-free-adamw")), (Some(1.0), Some(2.5e-3)));
}

/// A listed name can be used: models are built, and files that are there are seen.
#[test]
fn listed_names_are_accepted() {
    for model in lrpilot::nn::model::MODELS {
        let name = model.name.replace("WIDTH[-WIDTH…]", "8-4");
        assert!(lrpilot::nn::model::named(&name, 10).is_ok(), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mnist")).unwrap();
    for file in lrpilot::task::data::DatasetName::Mnist.files() {
        std::fs::write(dir.path().join("mnist").join(file.name), b"").unwrap();
    }
    let json = printed(&["tasks", "--json", "--data-dir", Path::to_str(dir.path()).unwrap()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let present = |list: &str, at: usize, key: &str| json[list][at][key].as_bool().unwrap();
    assert!(present("tasks", 2, "data_present") && present("data_sets", 1, "present"));
    assert!(!present("data_sets", 2, "present"));
}
