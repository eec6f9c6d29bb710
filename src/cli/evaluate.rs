//! Arguments of `lrpilot evaluate TASK --schedule NAME|TABLE|FILE`.

use super::schedule_arg::{ForRun, schedule};
use super::{GlobalArgs, SeedList, command::quote, context, error::print};
use crate::Result;
use crate::run::export::export_replay;
use crate::run::{Record, Trial, run_trial};
use crate::task::{ConfiguredTask, TaskSource as _, TaskSpec};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use lrpilot_core::{Measurement, Schedule};
use rayon::prelude::*;
use std::path::PathBuf;

/// Arguments of `evaluate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot evaluate digits --schedule cosine --lr 0.1 --seeds 0..5")]
pub struct EvaluateArgs {
    /// Name of a task, or a configuration file (TOML).
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Name of a schedule, a table such as "{ type = 'step', step_size = 10 }", or a file: a policy, a table (.toml) or
    /// numbers (.csv, .json, .txt).
    #[arg(long, value_name = "NAME|TABLE|FILE")]
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
/// [`crate::Error::Usage`] for an unknown schedule; the task's errors.
pub fn run(args: &EvaluateArgs, global: &GlobalArgs) -> Result<()> {
    let config = context::load_config(&args.task, &args.set, None)?;
    let source = context::source(&config, global)?;
    let schedule = schedule(&args.schedule, "--schedule", args.lr, ForRun::task(source.spec()))?;
    if let Some(dir) = &args.export_replay {
        export_replay(dir, &source, &schedule, args.seeds.0[0])?;
        let quoted = quote(dir.as_os_str());
        return print(&format!(
            "replay: {}; train it again with: python bench/replay_torch.py {quoted}",
            dir.display()
        ));
    }
    print(&table(&train(&source, &schedule, &args.seeds, global)?))
}

/// One network that was trained.
pub(super) struct Run {
    /// Its seed.
    pub seed: u64,
    /// Loss of the untrained network on validation A.
    untrained: f64,
    /// How the training went.
    pub trial: Trial,
}

/// Train one network per seed under `schedule`, on as many threads as asked for, in the order of the seeds.
///
/// # Errors
/// As [`run_trial`].
pub(super) fn train(
    source: &ConfiguredTask,
    schedule: &Schedule,
    seeds: &SeedList,
    global: &GlobalArgs,
) -> Result<Vec<Run>> {
    let horizon = source.spec().horizon;
    let progress = context::progress(global);
    progress.start((seeds.0.len() * horizon) as u64, "training");
    let runs = context::on_threads(global, || {
        let one = |seed: &u64| {
            let mut task = source.task(*seed)?;
            let probe = task.reset(*seed)?;
            if let Some(text) = start_elsewhere(schedule, &probe, task.spec(), *seed) {
                progress.message(&text);
            }
            let trial = run_trial(&mut *task, schedule, *seed, Record::Everything)?;
            progress.advance(horizon as u64);
            Ok(Run { seed: *seed, untrained: probe.loss(), trial })
        };
        seeds.0.par_iter().map(one).collect::<Result<Vec<_>>>()
    })?;
    progress.finish(&format!("{} runs", runs.len()));
    Ok(runs)
}

/// A row for each run.
pub(super) fn table(runs: &[Run]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["seed", "first LR", "last LR", "final val loss", "test loss", "ended"]);
    for Run { seed, untrained, trial } in runs {
        let (first, last) = (&trial.curve[0], &trial.curve[trial.curve.len() - 1]);
        table.add_row([
            seed.to_string(),
            format!("{:.2e}", first.lr),
            format!("{:.2e}", last.lr),
            loss(last.val_loss_b),
            trial.test_loss.map_or("-".into(), loss),
            ending(trial, *untrained).into(),
        ]);
    }
    table.trim_fmt()
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
