//! A schedule on the command line: a name, an inline table, or a file.

use super::context;
use crate::settings::{self, nearest};
use crate::task::TaskSpec;
use crate::{Error, Result};
use lrpilot_core::Schedule;
use lrpilot_core::generalist::{Generalist, NEWEST};
use lrpilot_core::schedule::named::NAMED;
use std::path::Path;

/// Types of metric-driven schedules; all others are open-loop.
const METRIC_DRIVEN: [&str; 2] = ["plateau", "greedy"];
/// Types of open-loop schedules, as [`lrpilot_core::schedule::OpenLoop`] spells them.
const OPEN_LOOP: [&str; 14] = [
    "constant",
    "constant-lr",
    "linear",
    "step",
    "multi-step",
    "exponential",
    "polynomial",
    "cosine-annealing",
    "cosine-warm-restarts",
    "one-cycle",
    "cyclic",
    "sequential",
    "warmup",
    "warmup-stable-decay",
];
/// Endings of the files that a schedule can be in: a policy, a table, numbers.
const ENDINGS: [&str; 5] = ["safetensors", "toml", "csv", "json", "txt"];
/// The name of the newest policy that comes with lrpilot, besides its own.
const PRETRAINED: &str = "pretrained";
/// An inline table, for messages.
const INLINE: &str = "{ type = \"step\", step_size = 10, gamma = 0.5 }";

/// The run that a schedule is for.
#[derive(Clone, Copy, Debug)]
pub struct ForRun {
    /// Learning rate where nobody chooses one.
    pub default_lr: f64,
    /// Number of intervals.
    pub horizon: usize,
    /// Number of parameter groups, where there is a network.
    pub groups: Option<usize>,
}

impl ForRun {
    /// A run of a task.
    pub fn task(spec: &TaskSpec) -> Self {
        ForRun { default_lr: spec.default_lr, horizon: spec.horizon, groups: Some(spec.groups.len()) }
    }
}

/// The schedule that `text`, given at `place` (a flag or an argument's name), stands for: a name of [`NAMED`], an inline
/// TOML table, or a file with a policy, a table or numbers. The LR is `lr` (`--lr`), else the table's, else the run's;
/// a policy without `lr` finds its own.
///
/// # Errors
/// [`Error::Usage`] for what is none of these and for an LR beside numbers, which have their own; [`Error::Config`] for
/// a wrong table; [`Error::Data`] and [`Error::Io`] for a wrong file.
pub fn schedule(text: &str, place: &str, lr: Option<f64>, run: ForRun) -> Result<Schedule> {
    if let Some(named) = Schedule::named(text, lr.unwrap_or(run.default_lr), run.horizon) {
        return Ok(named);
    }
    if let Some(name) = pretrained(text) {
        return Ok(Schedule::Generalist { policy: Box::new(Generalist::pretrained(name)?), lr });
    }
    if text.trim_start().starts_with('{') {
        let table = settings::parse::<Inline>(&format!("inline = {}", text.trim()), place)?.inline;
        return from_table(table, place, "", lr, run);
    }
    let path = Path::new(text);
    let ending = path.extension().and_then(|e| e.to_str()).filter(|e| ENDINGS.contains(e));
    match ending {
        Some("safetensors") => policy(path, lr, run),
        Some("toml") => {
            let content = context::read_utf8(path)?;
            from_table(settings::parse(&content, text)?, text, &content, lr, run)
        }
        Some(_) => numbers(path, text, lr),
        None => Err(unknown(text, path.is_file())),
    }
}

/// Name of the policy that comes with lrpilot for which `text` stands, if it stands for one.
pub(super) fn pretrained(text: &str) -> Option<&'static str> {
    if text == PRETRAINED { Some(NEWEST) } else { Generalist::names().find(|name| *name == text) }
}

/// The error with what else could have been given, if it says that there is no policy file of this name.
pub(super) fn policy_or_name(error: Error) -> Error {
    match error {
        Error::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("there is no such file; give a policy (FILE.safetensors) or `{PRETRAINED}`");
            Error::Io { path, source: std::io::Error::new(source.kind(), text) }
        }
        other => other,
    }
}

/// The policy in a file, be it learned on a task or pretrained.
fn policy(path: &Path, lr: Option<f64>, run: ForRun) -> Result<Schedule> {
    let loaded = Schedule::load(path).map_err(|error| policy_or_name(error.into()))?;
    Ok(match (loaded, run.groups) {
        (Schedule::Generalist { policy, .. }, _) => Schedule::Generalist { policy, lr },
        (Schedule::Learned { .. }, Some(groups)) => {
            Schedule::Learned { policy: Box::new(context::load_policy(path, groups)?), lr }
        }
        (Schedule::Learned { policy, .. }, None) => Schedule::Learned { policy, lr },
        (other, _) => other,
    })
}

/// What stands behind the key of an inline table, which is no document by itself.
#[derive(serde::Deserialize)]
struct Inline {
    inline: toml::Table,
}

/// A schedule of the table's `type`; `content` is that of the file `place`, if the table is from one.
fn from_table(mut table: toml::Table, place: &str, content: &str, lr: Option<f64>, run: ForRun) -> Result<Schedule> {
    let within = table.remove("lr").map(|value| number(&value, place)).transpose()?;
    let lr = lr.or(within).unwrap_or(run.default_lr);
    let known: Vec<&str> = OPEN_LOOP.into_iter().chain(METRIC_DRIVEN).collect();
    let given = table.get("type").ok_or_else(|| {
        Error::config(place, "the key `type` is missing", format!("write e.g. {INLINE}; types: {}", known.join(", ")))
    })?;
    let named = given.as_str().filter(|name| known.contains(name));
    let Some(kind) = named else {
        let near = given.as_str().and_then(|name| nearest(name, &known));
        let hint = near.map_or(String::new(), |name| format!("did you mean `{name}`? "));
        let message = format!("{given} is no type of schedule");
        return Err(Error::config(format!("{place}, type"), message, format!("{hint}Types: {}", known.join(", "))));
    };
    let schedule = if METRIC_DRIVEN.contains(&kind) {
        Schedule::Metric { schedule: settings::from_table_and_text(table, place, content)?, lr }
    } else {
        Schedule::OpenLoop { schedule: settings::from_table_and_text(table, place, content)?, lr }
    };
    schedule.check().map_err(|error| placed(error.into(), place))?;
    Ok(schedule)
}

/// The table's LR.
fn number(value: &toml::Value, place: &str) -> Result<f64> {
    let lr = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    let lr = lr.ok_or_else(|| Error::config(format!("{place}, lr"), format!("{value} is not a number"), "give one"))?;
    lrpilot_core::range::check("schedule.lr", lr, lrpilot_core::range::Range::Positive)
        .map_err(|error| placed(error.into(), place))?;
    Ok(lr)
}

/// The error with where the schedule comes from in front of its key.
fn placed(error: Error, place: &str) -> Error {
    match error {
        Error::Config { place: key, message, remedy } => {
            let key = key.strip_prefix("schedule.").unwrap_or(&key);
            Error::config(format!("{place}, {key}"), message, remedy)
        }
        other => other,
    }
}

fn numbers(path: &Path, text: &str, lr: Option<f64>) -> Result<Schedule> {
    if let Some(lr) = lr {
        let message = format!("--lr {lr} has no meaning for {text}, whose numbers are the learning rates");
        return Err(Error::usage(message, "remove it"));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let content = String::from_utf8(bytes)
        .map_err(|e| Error::data(path, format!("{}", e.utf8_error()), "save the file as UTF-8"))?;
    Ok(Schedule::from_numbers(&content, path)?)
}

/// The error for what is no schedule; `is_file` if there is such a file, of another ending.
fn unknown(text: &str, is_file: bool) -> Error {
    let names: Vec<&str> = NAMED.iter().map(|n| n.name).chain([PRETRAINED]).chain(Generalist::names()).collect();
    let near = nearest(text, &names).map_or(String::new(), |name| format!("did you mean `{name}`? Or "));
    let what = if is_file { "is a file of unknown ending, no schedule" } else { "is no schedule" };
    Error::usage(
        format!("`{text}` {what}"),
        format!(
            "{near}give a name ({}), a table ({INLINE}), a policy (FILE.safetensors), or a file with such a table \
             (FILE.toml) or with one number for each interval (FILE.csv, FILE.json, FILE.txt)",
            names.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrpilot_core::schedule::{MetricDriven, OpenLoop};

    const RUN: ForRun = ForRun { default_lr: 0.25, horizon: 60, groups: None };

    /// Every type with the keys that it must have, and the first two learning rates from base 0.25, by its formula.
    const TABLES: [(&str, [f64; 2]); 16] = [
        ("type = 'constant'", [0.25, 0.25]),
        ("type = 'constant-lr'\nfactor = 0.5\ntotal_iters = 1", [0.125, 0.25]),
        ("type = 'linear'\nstart_factor = 1.0\nend_factor = 0.0\ntotal_iters = 2", [0.25, 0.125]),
        ("type = 'step'\nstep_size = 1\ngamma = 0.5", [0.25, 0.125]),
        ("type = 'multi-step'\nmilestones = [1]\ngamma = 0.5", [0.25, 0.125]),
        ("type = 'exponential'\ngamma = 0.5", [0.25, 0.125]),
        ("type = 'polynomial'\ntotal_iters = 2\npower = 2", [0.25, 0.0625]),
        ("type = 'cosine-annealing'\nt_max = 2", [0.25, 0.125]),
        ("type = 'cosine-warm-restarts'\nt_0 = 2", [0.25, 0.125]),
        ("type = 'one-cycle'\ntotal_steps = 4\npct_start = 0.5\ndiv_factor = 2", [0.125, 0.25]),
        ("type = 'cyclic'\nbase_lr = 0.05\nstep_size_up = 2", [0.05, 0.15]),
        (
            "type = 'sequential'\nschedules = [{ type = 'constant' }, { type = 'exponential', gamma = 0.5 }]\nmilestones = [1]",
            [0.25, 0.25],
        ),
        ("type = 'warmup'\nsteps = 2\nthen = { type = 'constant' }", [0.125, 0.25]),
        ("type = 'warmup-stable-decay'\nwarmup = 2\nstable = 1\ndecay = 2", [0.125, 0.25]),
        ("type = 'plateau'\npatience = 0\nfactor = 0.5", [0.25, 0.25]),
        ("type = 'greedy'\nmax_lr = 2.0", [0.25, 0.25]),
    ];

    fn first_two(schedule: &Schedule) -> [f64; 2] {
        use lrpilot_core::{Measurement, OptimizerFamily, RunSpec};
        let run = RunSpec::new(60, OptimizerFamily::Adam, Vec::new());
        let mut running = schedule.start(&run, &Measurement::default()).unwrap();
        let first = running.hyperparameters().lr;
        let _ = running.observe(&Measurement { val_loss: Some(1.0), ..Measurement::default() });
        [first, running.hyperparameters().lr]
    }

    #[test]
    fn every_type_is_reached_inline_and_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("schedule.toml");
        let types: Vec<&str> = TABLES.iter().map(|(t, _)| t.split('\'').nth(1).unwrap()).collect();
        assert_eq!(types, OPEN_LOOP.into_iter().chain(METRIC_DRIVEN).collect::<Vec<_>>());
        for (table, expected) in TABLES {
            std::fs::write(&file, table).unwrap();
            let from_file = schedule(file.to_str().unwrap(), "--schedule", None, RUN).unwrap();
            let inline = format!("{{ {} }}", table.replace('\n', ", "));
            assert_eq!(schedule(&inline, "--schedule", None, RUN).unwrap(), from_file, "{table}");
            let lrs = first_two(&from_file);
            assert!(lrs.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{table}: {lrs:?}");
        }
    }

    #[test]
    fn every_type_is_reached_by_a_name() {
        let mut types = Vec::new();
        for n in NAMED {
            let json = serde_json::to_value(schedule(n.name, "--schedule", None, RUN).unwrap()).unwrap();
            types.push(json["schedule"]["type"].as_str().unwrap().to_owned());
        }
        let all: Vec<&str> = OPEN_LOOP.into_iter().chain(METRIC_DRIVEN).collect();
        assert!(all.iter().all(|name| types.contains(&(*name).to_owned())), "{types:?}");
    }

    #[test]
    fn the_command_lines_lr_comes_before_the_tables_before_the_runs() {
        let lr = |text: &str, lr| match schedule(text, "--schedule", lr, RUN).unwrap() {
            Schedule::OpenLoop { schedule: OpenLoop::Constant {}, lr } => lr,
            Schedule::Metric { schedule: MetricDriven::Plateau(_), lr } => lr,
            other => panic!("{other:?}"),
        };
        assert_eq!(lr("{type='constant', lr=1}", Some(0.5)), 0.5);
        assert_eq!(lr("{type='constant', lr=1}", None), 1.0);
        assert_eq!(lr("{type='constant'}", None), 0.25);
        assert_eq!(lr("plateau", Some(0.5)), 0.5);
    }

    #[track_caller]
    fn refused(text: &str, lr: Option<f64>, code: u8, words: &[&str]) {
        let error = schedule(text, "--schedule", lr, RUN).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.exit_code(), code, "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused("cosin", None, 64, &["`cosin`", "did you mean `cosine`?", "greedy", ".safetensors", ".toml", ".csv"]);
        refused("{ type = 'stp' }", None, 78, &["--schedule, type", "\"stp\"", "did you mean `step`?", "plateau"]);
        refused("{ step_size = 3 }", None, 78, &["--schedule", "`type` is missing", "write e.g."]);
        refused("{ type = 'step', step = 3 }", None, 78, &["--schedule", "`step`", "step_size, gamma"]);
        refused("{ type = 'step', step_size = 0 }", None, 78, &["--schedule, step_size", "0", "at least 1"]);
        refused("{ type = 'step', step_size = 1, lr = -1 }", None, 78, &["--schedule, lr", "-1", "> 0"]);
        refused("{ type = 'step', step_size = 1, lr = 'x' }", None, 78, &["--schedule, lr", "\"x\"", "number"]);
        refused("{ type = 'plateau', patence = 1 }", None, 78, &["`patence`", "`patience`"]);
        refused("{ type = 'step'", None, 78, &["--schedule"]);
        refused("nowhere.csv", None, 74, &["nowhere.csv"]);
        refused("nowhere.toml", None, 74, &["nowhere.toml"]);
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        refused(&file("a.toml", "type = 'step'\nstep_size = 'x'"), None, 78, &["a.toml, line 2, step_size", "\"x\""]);
        refused(&file("b.toml", "type = 'step'\nstep_size = 0"), None, 78, &["b.toml, step_size", "0"]);
        refused(&file("c.csv", "0.1\nten"), None, 65, &["c.csv", "line 2", "ten"]);
        refused(&file("d.csv", "0.1"), Some(0.5), 64, &["--lr 0.5", "d.csv", "remove it"]);
        refused(&file("e.dat", "0.1"), None, 64, &["e.dat", "ending", ".csv"]);
        refused(&file("f.safetensors", "0.1"), None, 65, &["f.safetensors", "not a policy"]);
    }

    #[test]
    fn numbers_are_read_whatever_the_ending() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in
            [("a.csv", "interval,lr\n1,0.5\n2,0.25"), ("b.json", "[0.5,0.25]"), ("c.txt", "0.5\n0.25")]
        {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            let read = schedule(path.to_str().unwrap(), "--schedule", None, RUN).unwrap();
            assert_eq!(read, Schedule::Replay { lrs: vec![0.5, 0.25] }, "{name}");
        }
    }
}
