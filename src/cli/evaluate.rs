//! Arguments of `lrpilot evaluate TASK --schedule NAME|POLICY`.

use super::{GlobalArgs, SeedList, context, error::print};
use crate::run::export::export_replay;
use crate::run::trial::{Method, Record, run_child};
use crate::schedule::{GreedyLr, MetricDriven, OpenLoop, Plateau};
use crate::task::{Task, TaskSpec};
use crate::{Error, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
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
    #[arg(long, value_name = "LR", value_parser = super::positive_lr)]
    pub lr: Option<f64>,
    /// Seeds of the training runs, e.g. 0..5 or 1,2,7.
    #[arg(long, value_name = "LIST", default_value = "0")]
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
    let runner = context::runner(&config, global)?;
    let spec = runner.spec()?;
    let method = method(args, &spec)?;
    if let Some(dir) = &args.export_replay {
        export_replay(dir, &runner, &method, args.seeds.0[0])?;
        return print(&format!("replay: {}; train it again with: python bench/replay_torch.py {0}", dir.display()));
    }
    let progress = context::progress(global);
    progress.start((args.seeds.0.len() * spec.horizon) as u64, "training");
    let runs = context::on_threads(global, || {
        let one = |seed: &u64| {
            let mut task = runner.task()?;
            if let Some(text) = start_elsewhere(&method, &mut *task, *seed)? {
                progress.message(&text);
            }
            let run = run_child(&mut *task, &method, *seed, Record::Everything)?;
            progress.advance(spec.horizon as u64);
            Ok(run)
        };
        args.seeds.0.par_iter().map(one).collect::<Result<Vec<_>>>()
    })?;
    progress.finish(&format!("{} runs", runs.len()));
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["seed", "first LR", "last LR", "final val loss", "test loss", "diverged"]);
    for (seed, run) in args.seeds.0.iter().zip(&runs) {
        let (first, last) = (&run.curve[0], &run.curve[run.curve.len() - 1]);
        table.add_row([
            seed.to_string(),
            format!("{:.2e}", first.lr),
            format!("{:.2e}", last.lr),
            format!("{:.4}", last.val_loss_b),
            run.test_loss.map_or("-".into(), |l| format!("{l:.4}")),
            if run.diverged { "yes" } else { "no" }.into(),
        ]);
    }
    print(&table.trim_fmt())
}

/// What to tell where a policy starts from its anchor instead of the given LR.
fn start_elsewhere(method: &Method, task: &mut dyn Task, seed: u64) -> Result<Option<String>> {
    let Method::Learned { policy, lr: Some(lr) } = method else { return Ok(None) };
    let probe = task.reset(seed)?;
    let reach = policy.control().anchor_reach;
    let tell = |anchor: f64| {
        format!(
            "seed {seed}: --lr {lr} is more than {reach} decades from the anchor, {anchor:.2e}, further than the policy has \
             learned to start; it starts from the anchor"
        )
    };
    Ok(policy.replacement(&probe, task.spec().parameters, *lr).map(tell))
}

fn method(args: &EvaluateArgs, spec: &TaskSpec) -> Result<Method> {
    let lr = args.lr.unwrap_or(spec.default_lr);
    let open_loop = |schedule| Ok(Method::OpenLoop { schedule, lr });
    match args.schedule.as_str() {
        "constant" => open_loop(OpenLoop::Fixed {}),
        "cosine" => open_loop(OpenLoop::cosine(spec.horizon)),
        "one-cycle" => open_loop(OpenLoop::one_cycle(spec.horizon.max(2))),
        "plateau" => Ok(Method::Metric { schedule: MetricDriven::Plateau(Plateau::default()), lr }),
        "greedy" => Ok(Method::Metric { schedule: MetricDriven::Greedy(GreedyLr::default()), lr }),
        path if Path::new(path).is_file() => {
            let policy = context::load_policy(Path::new(path), spec)?;
            Ok(Method::Learned { policy: Box::new(policy), lr: args.lr })
        }
        other => Err(Error::usage(
            format!("`{other}` is neither a schedule nor a policy file"),
            "schedules: constant, cosine, one-cycle, plateau, greedy",
        )),
    }
}
