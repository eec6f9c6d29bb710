//! How fast lrpilot does one kind of work: `cargo run --release --example throughput -- WORK --seconds S --threads T`.
//!
//! Prints one line of JSON. T independent copies of the work start together, each on a thread of its own, and their
//! rates are added; that is how lrpilot trains several networks or policies. The data are random, of the right shape, and
//! in memory before the clock starts. `bench/versus_pytorch` runs this beside the same work in PyTorch.

// The other two problems of the file go unused here.
#[allow(dead_code)]
#[path = "../../tests/common/classic.rs"]
mod classic;
mod growth;
mod learning;
mod pace;
mod product;
mod training;

use lrpilot::{Error, Result};
use serde::Serialize;
use training::Model;

const USAGE: &str = "usage: throughput WORK [--seconds S] [--threads T] [--steps N]

WORK is one of
  digits-mlp mnist-mlp mnist-cnn cifar-cnn resnet   training a network: images/s
  learn-digits learn-mnist-mlp                      learning a policy as the paper does: epochs (environment steps)/s
  ppo-cartpole ppo-cartpole-8                       PPO alone, with 1 or 8 environments: environment steps/s
  gemm                                              the matrix product alone: GFLOP/s
or a table of them
  scaling                                           each of the above with 1 thread and with T in turn
  memory                                            resident memory of an environment
  linearity                                         cumulative time of N environment steps of the whole learning loop

S is 3, T is 2, N is 1000000 unless given; one line of JSON is printed.";

/// Share of the measured time that is spent on the same work before it.
const WARM_UP: f64 = 0.25;

/// All that can be measured by its name.
const WORKS: [&str; 10] = [
    Model::NAMES[0],
    Model::NAMES[1],
    Model::NAMES[2],
    Model::NAMES[3],
    Model::NAMES[4],
    "learn-digits",
    "learn-mnist-mlp",
    "ppo-cartpole",
    "ppo-cartpole-8",
    "gemm",
];

/// What is printed about one work.
#[derive(Default, Serialize)]
struct Line {
    work: String,
    threads: usize,
    seconds: f64,
    images_per_s: Option<f64>,
    epochs_per_s: Option<f64>,
    steps_per_s: Option<f64>,
    gflops: Option<f64>,
    flops_per_image: Option<f64>,
    parameters: Option<usize>,
    peak_rss_mib: Option<f64>,
}

struct Args {
    work: String,
    seconds: f64,
    threads: usize,
    steps: u64,
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return 0.into();
    }
    match parse(&arguments).and_then(|args| answer(&args)) {
        Ok(json) => {
            println!("{json}");
            0.into()
        }
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code().into()
        }
    }
}

fn parse(arguments: &[String]) -> Result<Args> {
    let bad = |message: String| Error::usage(message, USAGE);
    let mut args = Args { work: String::new(), seconds: 3.0, threads: 2, steps: 1_000_000 };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || -> Result<f64> {
            let value = rest.next().ok_or_else(|| bad(format!("{argument} needs a number")))?;
            let parsed = value.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0);
            parsed.ok_or_else(|| bad(format!("{argument} {value}: not a number > 0")))
        };
        match argument.as_str() {
            "--seconds" => args.seconds = number()?,
            "--threads" => args.threads = number()?.max(1.0) as usize,
            "--steps" => args.steps = number()?.max(1.0) as u64,
            work if args.work.is_empty() && !work.starts_with('-') => args.work = work.to_owned(),
            other => return Err(bad(format!("unknown argument {other:?}"))),
        }
    }
    if args.work.is_empty() {
        return Err(bad("no WORK given".into()));
    }
    Ok(args)
}

fn answer(args: &Args) -> Result<String> {
    match args.work.as_str() {
        "scaling" => json(&growth::scaling(args.threads, args.seconds)?),
        "memory" => json(&growth::memory()?),
        "linearity" => json(&growth::linearity(args.steps)?),
        work => json(&measure(work, args.threads, args.seconds)?),
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Bug(e.to_string()))
}

fn measure(work: &str, threads: usize, seconds: f64) -> Result<Line> {
    let mut line = Line { work: work.to_owned(), threads, seconds, ..Line::default() };
    match work {
        "gemm" => line.gflops = Some(product::rate(threads, seconds)?),
        "learn-digits" => learning::measure("digits", threads, seconds, &mut line)?,
        "learn-mnist-mlp" => learning::measure("mnist-mlp", threads, seconds, &mut line)?,
        "ppo-cartpole" => line.steps_per_s = Some(learning::cart_pole(1, threads, seconds)?),
        "ppo-cartpole-8" => line.steps_per_s = Some(learning::cart_pole(8, threads, seconds)?),
        name => {
            let model = Model::named(name).ok_or_else(|| Error::usage(format!("unknown work {name:?}"), USAGE))?;
            training::measure(&model, threads, seconds, &mut line)?;
        }
    }
    line.peak_rss_mib = pace::peak_rss_mib();
    Ok(line)
}
