//! `lrpilot tasks sample`: what the distribution of tasks draws, as a table, as JSON, as a page of histograms.

use super::command::CommandLine;
use super::{GlobalArgs, context, error::print};
use crate::report::distribution::{Histogram, render};
use crate::report::html::Origin;
use crate::run::generalist::Response;
use crate::store::atomic::write_atomic;
use crate::store::journal;
use crate::task::distribution::{DrawnTask, Family, NetworkProblem, Problem};
use crate::task::{DistributionConfig, TaskDistribution, TaskSource as _};
use crate::{Error, Result};
use clap::Args;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `tasks sample`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  lrpilot tasks sample --n 5\n  lrpilot tasks sample --n 500 --report tasks.html\n  lrpilot tasks sample --n 500 --report tasks.html --responses runs/generalist/bank.jsonl"
)]
pub struct SampleArgs {
    /// How many tasks to draw.
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true, value_parser = super::whole::<u64>(1..=100_000))]
    pub n: u64,
    /// Seed of the first task; the others have the seeds after it.
    #[arg(long, value_name = "SEED", default_value_t = 0, allow_negative_numbers = true, value_parser = super::seed)]
    pub seed: u64,
    /// Print one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
    /// Write a page with histograms, too.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Show on the page which learning rates were best, too: a run's bank.jsonl of `learn generalist`.
    #[arg(long, value_name = "FILE", requires = "report")]
    pub responses: Option<PathBuf>,
}

/// Draw, print, write.
///
/// # Errors
/// [`Error::Data`] for damaged data, [`Error::Io`].
pub fn run(args: &SampleArgs, global: &GlobalArgs) -> Result<()> {
    super::check_last_seed(args.seed, args.n)?;
    args.report.as_deref().map_or(Ok(()), context::check_target)?;
    let tasks = TaskDistribution::new(DistributionConfig::default(), Some(&context::data_dir(global)))?;
    let drawn: Vec<DrawnTask> = (args.seed..args.seed + args.n).map(|seed| tasks.draw(seed)).collect();
    if let Some(path) = &args.report {
        let responses = args.responses.as_deref().map(read_bank).transpose()?;
        write_report(path, &tasks, &drawn, &responses.unwrap_or_default())?;
    }
    if args.json {
        let all = serde_json::json!({ "distribution": tasks.identity(), "tasks": drawn });
        let json = serde_json::to_string_pretty(&all).map_err(|e| Error::Bug(format!("drawn tasks: {e}")))?;
        return print(&json);
    }
    print(&table(&drawn))
}

/// A line of at most 80 columns for each task.
fn table(drawn: &[DrawnTask]) -> String {
    let mut out = String::new();
    let mut row = |[seed, data, n, noise, classes, net, optimizer, batch, steps]: [&str; 9]| {
        let line = format!(
            "{seed:>5} {data:<12} {n:>5} {noise:>5} {classes:>3} {net:<19} {optimizer:<13} {batch:>3} {steps:>5}"
        );
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row(["seed", "data", "N", "noise", "out", "network", "optimizer", "B", "T"]);
    for task in drawn {
        let (seed, steps) = (task.seed.to_string(), task.steps().to_string());
        match &task.problem {
            Problem::Network(n) => {
                let noise = if n.label_noise > 0.0 { format!("{:.2}", n.label_noise) } else { "-".into() };
                let (examples, outputs) = (n.sizes.train.to_string(), n.outputs.to_string());
                let (net, batch) = (network(n), n.batch_size.to_string());
                let data = n.data.name();
                row([&seed, data, &examples, &noise, &outputs, &net, &optimizer(n), &batch, &steps]);
            }
            Problem::PowerLaw(p) => {
                let (net, batch) = (format!("{} directions", p.dimensions), p.batch_size.to_string());
                let optimizer = with_momentum("sgd", p.momentum);
                row([&seed, "power-law", "-", "-", "1", &net, &optimizer, &batch, &steps]);
            }
        }
    }
    out
}

fn network(problem: &NetworkProblem) -> String {
    let net = &problem.net;
    let activation = if net.tanh { "tanh" } else { "relu" };
    // One letter each, so that a line keeps to 80 columns: c for the channels of convolutions, b for batch normalisation, d for
    // dropout.
    let channels: Vec<String> = net.channels.iter().map(usize::to_string).collect();
    let convolved = if channels.is_empty() { String::new() } else { format!("c{} ", channels.join("-")) };
    let normalised = if net.batch_norm { "b" } else { "" };
    let dropped = if net.dropout > 0.0 { "d" } else { "" };
    format!("{convolved}{}x{} {activation} {normalised}{dropped}", net.layers, net.width).trim_end().to_owned()
}

fn optimizer(problem: &NetworkProblem) -> String {
    let momentum = match problem.optimizer {
        crate::nn::OptimizerSpec::Sgd { momentum, .. } => f64::from(momentum),
        _ => 0.0,
    };
    let name = problem.optimizer_name();
    with_momentum(if name == "momentum" { "sgd" } else { name }, momentum)
}

fn with_momentum(name: &str, momentum: f64) -> String {
    if momentum > 0.0 { format!("{name} {momentum:.2}") } else { name.into() }
}

fn write_report(path: &Path, tasks: &TaskDistribution, drawn: &[DrawnTask], responses: &[Response]) -> Result<()> {
    let share = |(family, share): &(Family, f64)| format!("{} {:.0} %", family.name(), 100.0 * share);
    let families: Vec<String> = tasks.families().iter().map(share).collect();
    let sentences = [
        format!("{} tasks, drawn from: {}.", drawn.len(), families.join(", ")),
        "A task is a data set, a network, an optimizer and a number of steps.".to_owned(),
    ];
    let origin = Origin {
        command: CommandLine::typed().to_string(),
        version: format!("lrpilot {}", env!("CARGO_PKG_VERSION")),
        machine: String::new(),
    };
    let mut figures = histograms(drawn);
    if !responses.is_empty() {
        figures.push(best_levels(responses));
    }
    let page = render("What policies learn from", &sentences, &figures, &origin)?;
    write_atomic(path, page.as_bytes())
}

/// The responses of a bank; one without any is damaged, or of a run that has only begun.
fn read_bank(path: &Path) -> Result<Vec<Response>> {
    let responses: Vec<Response> = journal::read(path)?;
    if responses.is_empty() {
        return Err(Error::data(path, "it holds no whole record", "give the bank.jsonl of a run that is further on"));
    }
    Ok(responses)
}

/// Of the bank's tasks, each trained at many learning rates.
fn best_levels(responses: &[Response]) -> Histogram {
    let levels: Vec<f64> = responses.iter().filter(|r| !r.is_flat()).map(Response::best_level).collect();
    let note = format!(
        "Decades from the anchor that is measured on the untrained network; {} tasks of a learning run's bank.",
        levels.len()
    );
    Histogram::of_numbers("Best learning rate", &note, &levels, false)
        .with_first("flat: it hardly matters", responses.len() - levels.len())
}

fn histograms(drawn: &[DrawnTask]) -> Vec<Histogram> {
    let networks: Vec<&NetworkProblem> = drawn
        .iter()
        .filter_map(|task| match &task.problem {
            Problem::Network(network) => Some(&**network),
            Problem::PowerLaw(_) => None,
        })
        .collect();
    let numbers = |of: &dyn Fn(&NetworkProblem) -> f64| networks.iter().map(|n| of(n)).collect::<Vec<_>>();
    let tasks = |of: &dyn Fn(&DrawnTask) -> f64| drawn.iter().map(of).collect::<Vec<_>>();
    let classifiers = networks.iter().filter(|n| n.data.family() != Family::Regression);
    let noise: Vec<f64> = classifiers.map(|n| n.label_noise).collect();
    let noised: Vec<f64> = noise.iter().copied().filter(|share| *share > 0.0).collect();
    let epochs = numbers(&|n| n.batch_size as f64 / n.sizes.train as f64);
    let steps_of_networks = drawn.iter().filter(|t| matches!(t.problem, Problem::Network(_))).map(|t| t.steps() as f64);
    let epochs: Vec<f64> = epochs.iter().zip(steps_of_networks).map(|(share, steps)| share * steps).collect();
    let no_network = "Tasks with a network.";
    vec![
        Histogram::of_names("Family", "", drawn.iter().map(|task| task.family().name())),
        Histogram::of_names("Optimizer", no_network, networks.iter().map(|n| n.optimizer_name())),
        Histogram::of_names("Data", no_network, networks.iter().map(|n| n.data.name())),
        Histogram::of_numbers("Label noise", "Classification; share of wrong training labels.", &noised, false)
            .with_first("none", noise.len() - noised.len()),
        Histogram::of_numbers("Optimizer steps, T", "", &tasks(&|task| task.steps() as f64), true),
        Histogram::of_numbers("Epochs", "T · batch size / N; tasks with a network.", &epochs, true),
        Histogram::of_numbers("Training examples, N", no_network, &numbers(&|n| n.sizes.train as f64), true),
        Histogram::of_numbers("Batch size", no_network, &numbers(&|n| n.batch_size as f64), true),
        Histogram::of_numbers("Weights", "", &tasks(&|task| task.weights() as f64), true),
        Histogram::of_numbers(
            "Cost",
            "Estimated floating-point operations of a training.",
            &tasks(&DrawnTask::flops),
            true,
        ),
    ]
}
