//! `lrpilot schedule extract`: what a schedule did on a task, as numbers, PyTorch code or a closed form.

use super::formats;
use super::realised::{Realised, task};
use crate::cli::schedule_arg::{ForRun, schedule};
use crate::cli::{GlobalArgs, SeedList, context, error::print};
use crate::report::format::significant;
use crate::store::atomic::write_atomic;
use crate::task::TaskSource as _;
use crate::{Error, Result};
use clap::Args;
use lrpilot_core::Schedule;
use lrpilot_core::schedule::fit::{Fit, fit};
use std::path::{Path, PathBuf};

/// Arguments of `schedule extract`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  lrpilot schedule extract policy.safetensors --task digits --seeds 0..5 --out lr.csv \
                        --out lr.py --closed-form"
)]
pub struct ExtractArgs {
    /// A policy, or whatever else `evaluate --schedule` takes.
    #[arg(value_name = "POLICY|SCHEDULE")]
    pub schedule: String,
    /// Name of a task, or a configuration file (TOML).
    #[arg(long, value_name = "TASK|FILE")]
    pub task: String,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7; the numbers are the geometric mean over them.
    #[arg(long, value_name = "LIST", default_value = "0", allow_hyphen_values = true)]
    pub seeds: SeedList,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Initial learning rate [default: the task's; a policy finds its own].
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = crate::cli::positive_lr)]
    pub lr: Option<f64>,
    /// File to write: numbers (.csv, .json), PyTorch (.py), or the closed form as a schedule (.toml); may be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    pub out: Vec<PathBuf>,
    /// Also fit warm-up, hold and decay to the numbers, and say how far off that is.
    #[arg(long)]
    pub closed_form: bool,
}

/// Forms of a file, by its ending.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Csv,
    Json,
    Python,
    Toml,
}

/// Find the learning rates and write them.
///
/// # Errors
/// [`Error::Usage`] for a file of another ending; those of the schedule, the task and the files.
pub fn run(args: &ExtractArgs, global: &GlobalArgs) -> Result<()> {
    let outputs: Vec<(&PathBuf, Format)> =
        args.out.iter().map(|path| Ok((path, format(path, args.closed_form)?))).collect::<Result<_>>()?;
    args.out.iter().try_for_each(|path| context::check_target(path))?;
    let source = task(&args.task, &args.set, global)?;
    let schedule = schedule(&args.schedule, "SCHEDULE", args.lr, ForRun::task(source.spec()))?;
    let realised = Realised::on_task(&source, &schedule, &args.seeds, global)?;
    let lrs = realised.geometric_mean();
    let fit = if args.closed_form { Some(fitted(&lrs, global)?) } else { None };
    let closed = fit.as_ref().and_then(|fit| fit.form.schedule());
    let name = &source.spec().name;
    for (path, format) in outputs {
        let text = match format {
            Format::Csv => formats::csv(&lrs, &[]),
            Format::Json => json(args, name, &lrs, fit.as_ref()),
            Format::Python => formats::python(&lrs, fit.as_ref(), name),
            Format::Toml => table(closed.as_ref().ok_or_else(|| not_representable(path))?)? + "\n",
        };
        write_atomic(path, text.as_bytes())?;
        print(&format!("{} learning rates: {}", lrs.len(), path.display()))?;
    }
    if let Some(note) = realised.diverged_note() {
        print(&note)?;
    }
    if realised.sets_more {
        print("The schedule also sets momentum or weight decay, which is not in these files.")?;
    }
    match &fit {
        Some(fit) => print(&told(fit, closed.as_ref())?),
        None => Ok(()),
    }
}

/// The closed form; a long run's takes seconds.
fn fitted(lrs: &[f64], global: &GlobalArgs) -> Result<Fit> {
    let progress = context::progress(global);
    progress.start(lrs.len() as u64, "fitting");
    let fit = fit(lrs)?;
    progress.advance(lrs.len() as u64);
    progress.finish("closed form");
    Ok(fit)
}

/// The form that the ending of `path` asks for.
fn format(path: &Path, closed_form: bool) -> Result<Format> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("json") => Ok(Format::Json),
        Some("py") => Ok(Format::Python),
        Some("toml") if closed_form => Ok(Format::Toml),
        Some("toml") => {
            Err(Error::usage(format!("--out {}: a .toml holds the closed form", path.display()), "add --closed-form"))
        }
        _ => Err(Error::usage(
            format!("--out {}: the ending says no form", path.display()),
            "end it with .csv, .json, .py, or with --closed-form .toml",
        )),
    }
}

fn json(args: &ExtractArgs, task: &str, lrs: &[f64], fit: Option<&Fit>) -> String {
    let mut json = serde_json::json!({
        "lrs": lrs,
        "task": task,
        "seeds": args.seeds.0,
        "command": formats::command(),
    });
    if let Some(fit) = fit {
        json["closed_form"] = serde_json::json!(fit);
    }
    formats::pretty(&json)
}

/// A schedule as the lines of a TOML file.
fn table(schedule: &Schedule) -> Result<String> {
    let entries = entries(schedule)?;
    Ok(entries.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join("\n"))
}

/// A schedule as an inline table.
fn inline(schedule: &Schedule) -> Result<String> {
    Ok(toml::Value::Table(entries(schedule)?).to_string())
}

/// The keys of an open-loop schedule, with its LR.
fn entries(schedule: &Schedule) -> Result<toml::Table> {
    let bug = |reason: String| Error::Bug(format!("a closed form cannot be written: {reason}"));
    let Schedule::OpenLoop { schedule, lr } = schedule else { return Err(bug("it is not open-loop".into())) };
    let mut table = toml::Table::try_from(schedule).map_err(|e| bug(e.to_string()))?;
    table.insert("lr".into(), toml::Value::Float(*lr));
    Ok(table)
}

fn not_representable(path: &Path) -> Error {
    let message = "the closed form has a floor above 0 and a decay that is not linear, which no schedule here has";
    Error::data(path, message, "write .py, or the numbers as .csv, which `lrpilot schedule replay` trains under")
}

/// The closed form and how far off it is, for people.
fn told(fit: &Fit, schedule: Option<&Schedule>) -> Result<String> {
    let form = &fit.form;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let mut lines = vec![
        format!(
            "closed form: warm-up {}, peak {}, hold {}, decay (1 − s)^{}, floor {}",
            percent(form.warmup_share()),
            significant(form.peak),
            percent(form.hold_share()),
            significant(form.power),
            significant(form.floor),
        ),
        format!("error: rms {} decades, largest {} %", significant(fit.rms_decades), significant(fit.max_percent)),
    ];
    if fit.zeros > 0 {
        lines.push(format!("left out of the fit: {} learning rates of 0", fit.zeros));
    }
    lines.push(formats::closed_form(form).trim_end().to_owned());
    lines.push(match schedule {
        Some(schedule) => format!("as a schedule: {}", inline(schedule)?),
        None => "as a schedule: none here has a floor above 0 and a decay that is not linear".to_owned(),
    });
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lrpilot_core::schedule::fit::ClosedForm;

    #[test]
    fn the_ending_says_the_form() {
        let of = |name: &str, closed| format(Path::new(name), closed).ok();
        assert_eq!(of("a.csv", false), Some(Format::Csv));
        assert_eq!(of("a.b.json", false), Some(Format::Json));
        assert_eq!(of("a.py", true), Some(Format::Python));
        assert_eq!((of("a.toml", true), of("a.toml", false)), (Some(Format::Toml), None));
        assert_eq!((of("a.yaml", true), of("csv", true)), (None, None));
    }

    /// What is printed and what is written are read as the schedule that they are made of.
    #[test]
    fn a_closed_form_reads_back() {
        let form = ClosedForm { intervals: 50, warmup: 5, hold: 10, peak: 0.03, power: 1.5, floor: 0.0 };
        let closed = form.schedule().unwrap();
        let run = ForRun { default_lr: 1.0, horizon: 7, groups: None };
        assert_eq!(schedule(&inline(&closed).unwrap(), "SCHEDULE", None, run).unwrap(), closed);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("closed.toml");
        std::fs::write(&path, table(&closed).unwrap()).unwrap();
        assert_eq!(schedule(path.to_str().unwrap(), "SCHEDULE", None, run).unwrap(), closed);
    }
}
