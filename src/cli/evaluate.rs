//! Arguments of `lrpilot evaluate TASK --schedule NAME|POLICY`.

use super::{GlobalArgs, SeedList, command::quote, context, error::print};
use crate::run::export::export_replay;
use crate::run::{Record, Trial, run_trial};
use crate::task::{TaskSource as _, TaskSpec};
use crate::{Error, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use lrpilot_core::schedule::named::NAMED;
use lrpilot_core::{Measurement, Schedule};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Arguments of `evaluate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot evaluate digits --schedule cosine --lr 0.1 --seeds 0..5")]
pub struct EvaluateArgs {
    /// Name of a task, or a configuration file (TOML).
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Name of a schedule, or a frozen policy.
    #[arg(long, value_name = "NAME|POLICY")]
    pub schedule: String,
    /// Initial learning rate [default: the task's].
    #[arg(long, value_name = "LR", allow_negative_numbers = true, value_parser = super::positive_lr)]
    pub lr: Option<f64>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7.
    #[arg(long, value_name = "LIST", default_value = "0", allow_hyphen_values = true)]
    pub seeds: SeedList,
    /// Change a value of the configuration; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Write the first seed's run, dropout off, to this folder, to be trained again in PyTorch.
    #[arg(long, value_name = "DIR")]
    pub export_replay: Option<PathBuf>,
}

/// Train one network per seed and print a row for each.
///
/// # Errors
/// [`Error::Usage`] for an unknown schedule; the task's errors.
pub fn run(args: &EvaluateArgs, global: &GlobalArgs) -> Result<()> {
    let config = context::load_config(&args.task, &args.set, None)?;
    let source = context::source(&config, global)?;
    let spec = source.spec();
    let schedule = schedule(args, spec)?;
    if let Some(dir) = &args.export_replay {
        export_replay(dir, &source, &schedule, args.seeds.0[0])?;
        let quoted = quote(dir.as_os_str());
        return print(&format!(
            "replay: {}; train it again with: python bench/replay_torch.py {quoted}",
            dir.display()
        ));
    }
    let progress = context::progress(global);
    progress.start((args.seeds.0.len() * spec.horizon) as u64, "training");
    let runs = context::on_threads(global, || {
        let one = |seed: &u64| {
            let mut task = source.task(*seed)?;
            let probe = task.reset(*seed)?;
            if let Some(text) = start_elsewhere(&schedule, &probe, task.spec(), *seed) {
                progress.message(&text);
            }
            let trial = run_trial(&mut *task, &schedule, *seed, Record::Everything)?;
            progress.advance(spec.horizon as u64);
            Ok((*seed, probe.loss(), trial))
        };
        args.seeds.0.par_iter().map(one).collect::<Result<Vec<_>>>()
    })?;
    progress.finish(&format!("{} runs", runs.len()));
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["seed", "first LR", "last LR", "final val loss", "test loss", "ended"]);
    for (seed, untrained, run) in &runs {
        let (first, last) = (&run.curve[0], &run.curve[run.curve.len() - 1]);
        table.add_row([
            seed.to_string(),
            format!("{:.2e}", first.lr),
            format!("{:.2e}", last.lr),
            loss(last.val_loss_b),
            run.test_loss.map_or("-".into(), loss),
            ending(run, *untrained).into(),
        ]);
    }
    print(&table.trim_fmt())
}

/// A loss to four decimals, from 10⁵ on in scientific notation.
fn loss(value: f64) -> String {
    const LONGEST: f64 = 1e5;
    if value.is_finite() && value.abs() >= LONGEST { format!("{value:.4e}") } else { format!("{value:.4}") }
}

/// How a run ended, given the loss of the untrained network on validation A.
fn ending(run: &Trial, untrained: f64) -> &'static str {
    match run.curve.last() {
        _ if run.diverged => "diverged",
        _ if run.at_chance => "at chance",
        Some(last) if last.val_loss_a > untrained => "worse than untrained",
        _ => "trained",
    }
}

/// What to tell about a run whose `--lr` is further from the anchor than the policy has learned to start.
fn start_elsewhere(schedule: &Schedule, probe: &Measurement, spec: &TaskSpec, seed: u64) -> Option<String> {
    let Schedule::Learned { policy, lr: Some(lr) } = schedule else { return None };
    let decades = policy.spec().max_anchor_distance;
    let anchor = policy.start_instead(&spec.run(), probe, *lr)?;
    Some(format!(
        "seed {seed}: --lr {lr} ignored: it is more than {decades} decades from the anchor ({anchor:.2e}), outside the \
         range that the policy was trained on. Starting from the anchor."
    ))
}

fn schedule(args: &EvaluateArgs, spec: &TaskSpec) -> Result<Schedule> {
    let lr = args.lr.unwrap_or(spec.default_lr);
    if let Some(named) = Schedule::named(&args.schedule, lr, spec.horizon) {
        return Ok(named);
    }
    let path = Path::new(&args.schedule);
    if path.is_file() {
        let policy = context::load_policy(path, spec.groups.len())?;
        return Ok(Schedule::Learned { policy: Box::new(policy), lr: args.lr });
    }
    let names: Vec<&str> = NAMED.iter().map(|n| n.name).collect();
    Err(Error::usage(
        format!("`{}` is neither a schedule nor a policy file", args.schedule),
        format!("schedules: {}", names.join(", ")),
    ))
}
