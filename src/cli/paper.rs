//! `lrpilot paper`: every experiment of the paper, ours beside theirs.

use super::{GlobalArgs, context, error::print, run_folder};
use crate::Result;
use crate::paper::document::{figure_files, markdown};
use crate::paper::page::html;
use crate::paper::tables::results;
use crate::paper::{self, Experiment, Part, Scale, Sources, choose, plan};
use crate::run::stop::StopFlag;
use crate::store::atomic::write_atomic;
use crate::store::files::RunFiles;
use crate::store::run_info::RunKind;
use crate::task::{SupervisedConfig, TaskSource as _};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use lrpilot_core::Hyperparameters;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `paper`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  lrpilot paper --scale smoke --out runs/paper-smoke\n\n\
    laptop and full need MNIST and CIFAR-100: lrpilot data fetch mnist cifar-100")]
pub struct PaperArgs {
    /// How much is run.
    #[arg(long, value_enum, default_value = "laptop")]
    pub scale: ScaleName,
    /// Folder of the run, made if need be [default: runs/paper-SCALE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of everything random; agents use this one and the following.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: u64,
    /// Only this experiment; may be repeated.
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<ExperimentName>,
    /// Print jobs, epochs and an estimate of the time from a short measurement, and run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
}

/// A [`Scale`] on the command line.
#[derive(Clone, Copy, Debug)]
pub struct ScaleName(Scale);

impl ValueEnum for ScaleName {
    fn value_variants<'a>() -> &'a [Self] {
        &[ScaleName(Scale::Smoke), ScaleName(Scale::Laptop), ScaleName(Scale::Full)]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()).help(self.0.description()))
    }
}

/// An [`Experiment`] on the command line.
#[derive(Clone, Copy, Debug)]
pub struct ExperimentName(Experiment);

impl ValueEnum for ExperimentName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ExperimentName; Experiment::ALL.len()] = {
            let mut all = [ExperimentName(Experiment::Mnist); Experiment::ALL.len()];
            let mut i = 0;
            while i < all.len() {
                all[i] = ExperimentName(Experiment::ALL[i]);
                i += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// Run the experiments and write `paper.html`, `paper.md` and the figures.
///
/// # Errors
/// As [`paper::run`].
pub fn run(args: &PaperArgs, global: &GlobalArgs, stop: &StopFlag) -> Result<()> {
    /// More than an experiment has agents.
    const MOST_AGENTS: u64 = 1000;
    super::check_last_seed(args.seed, MOST_AGENTS)?;
    let scale = args.scale.0;
    let all = plan(scale, args.seed)?;
    let experiments: Vec<Experiment> = args.only.iter().map(|e| e.0).collect();
    let chosen = choose(&all, &experiments);
    let sources = Sources::new(&all, Some(&context::data_dir(global)))?;
    print(&overview(&chosen, &all))?;
    if args.dry_run {
        return print(&estimate(&chosen, &all, &sources, global)?);
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/paper-{}", scale.name())));
    let config = format!("command = \"paper\"\nscale = \"{}\"\nseed = {}\n", scale.name(), args.seed);
    let info = run_folder::describe(RunKind::Paper, format!("The paper's experiments at scale {}", scale.name()));
    let text = run_folder::work_in(&out, info, &config, args.resume, |files, _| {
        let progress = context::stoppable(global, stop)?;
        let host = context::host();
        let around = context::run_context(&*progress, stop, &host);
        let runs = context::on_threads(global, || paper::run(files.folder(), &all, &chosen, &sources, &around))?;
        let results = results(scale, args.seed, &runs, &all, &context::machine())?;
        for (name, svg) in figure_files(&results) {
            write_atomic(&files.folder().join(name), svg.as_bytes())?;
        }
        let text = markdown(&results);
        write_atomic(&files.paper_markdown(), text.as_bytes())?;
        write_atomic(&files.paper_page(), html(&results)?.as_bytes())?;
        Ok(text)
    })?;
    print(&text)?;
    print(&format!("report: {}", RunFiles::new(out).paper_page().display()))
}

/// Jobs and epochs of each experiment.
fn overview(chosen: &[&Part], all: &[Part]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["experiment", "parts", "jobs", "epochs"]);
    let mut row = |name: &str, parts: &[&&Part]| {
        let jobs: usize = parts.iter().map(|p| p.jobs()).sum();
        let epochs: u64 = parts.iter().map(|p| p.epochs(all)).sum();
        table.add_row([name.to_owned(), parts.len().to_string(), jobs.to_string(), epochs.to_string()]);
    };
    for experiment in Experiment::ALL {
        let parts: Vec<&&Part> = chosen.iter().filter(|p| p.experiment == experiment).collect();
        if !parts.is_empty() {
            row(experiment.name(), &parts);
        }
    }
    row("total", &chosen.iter().collect::<Vec<_>>());
    table.column_iter_mut().skip(1).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table.trim_fmt()
}

/// The time that the work should take, from a few optimizer steps of each task.
fn estimate(chosen: &[&Part], all: &[Part], sources: &Sources, global: &GlobalArgs) -> Result<String> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = global.threads.map_or_else(cores, usize::from);
    let mut measured = BTreeMap::<String, f64>::new();
    let mut seconds = 0.0;
    for part in chosen {
        let task = paper::task_of(part, all)?;
        let key = format!("{}, line search: {}", task.name, task.optimizer.finds_lr());
        let epoch = match measured.get(&key) {
            Some(epoch) => *epoch,
            None => {
                let epoch = seconds_per_epoch(task, sources)?;
                measured.insert(key, epoch);
                epoch
            }
        };
        seconds += epoch * part.epochs(all) as f64;
    }
    let minutes = seconds / 60.0 / threads as f64;
    Ok(format!("about {minutes:.0} minutes on {threads} threads, from a few optimizer steps of each task"))
}

/// Intervals of 1 and of 6 optimizer steps tell what a step costs and what the evaluation after the epoch does.
fn seconds_per_epoch(task: &SupervisedConfig, sources: &Sources) -> Result<f64> {
    let time = |steps: usize| -> Result<f64> {
        let config = SupervisedConfig { interval_steps: Some(steps), ..task.clone() };
        let mut task = sources.of(&config)?.task(0)?;
        task.reset(0)?;
        task.advance(&Hyperparameters::lr(1e-3))?;
        let start = Instant::now();
        task.advance(&Hyperparameters::lr(1e-3))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let (one, six) = (time(1)?, time(6)?);
    let step = (six - one).max(0.0) / 5.0;
    let steps = task.data.train_images.div_ceil(task.batch_size) as f64;
    Ok(one + step * (steps - 1.0))
}
