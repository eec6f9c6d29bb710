//! What tasks of the distribution cost: `cargo run --release --example task_distribution -- [TASKS] [THREADS]`.
//!
//! Each task is drawn, its data are made, its network is built and trained in 24 decisions, each of T/24 optimizer steps and a
//! look at validation A, with the anchor learning rate falling to zero. Real data are read from `LRPILOT_DATA`.

use lrpilot::task::{DistributionConfig, DrawnTask, TaskDistribution, TaskSource as _};
use lrpilot::{Hyperparameters, Result};
use rayon::prelude::*;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DECISIONS: u64 = 24;

/// Where the time of a task goes.
struct Cost {
    drawn: DrawnTask,
    data: Duration,
    network: Duration,
    training: Duration,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().ok());
    let tasks = arguments.next().flatten().unwrap_or(500) as u64;
    let threads = arguments.next().flatten().unwrap_or(2);
    let root = std::env::var_os("LRPILOT_DATA").map(PathBuf::from);
    let start = Instant::now();
    let distribution = TaskDistribution::new(DistributionConfig::default(), root.as_deref())?;
    println!("read the real data sets in {:.2} s", start.elapsed().as_secs_f64());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| lrpilot::Error::usage(format!("threads cannot be started: {e}"), "give fewer"))?;
    let start = Instant::now();
    let costs: Vec<Cost> =
        pool.install(|| (0..tasks).into_par_iter().map(|seed| cost(&distribution, seed)).collect::<Result<_>>())?;
    let wall = start.elapsed().as_secs_f64();

    let decisions = (tasks * DECISIONS) as f64;
    println!("{tasks} tasks, {threads} threads: {:.0} decisions/s", decisions / wall);
    let part = |name: &str, of: fn(&Cost) -> Duration, costs: &[&Cost]| {
        let mut ms: Vec<f64> = costs.iter().map(|c| 1e3 * of(c).as_secs_f64()).collect();
        ms.sort_by(f64::total_cmp);
        let (mean, at) = (ms.iter().sum::<f64>() / ms.len() as f64, |q: f64| ms[(q * (ms.len() - 1) as f64) as usize]);
        let per_decision = mean / DECISIONS as f64;
        println!(
            "{name:<22} mean {mean:7.3} ms  median {:7.3}  q90 {:7.3}  ({per_decision:.3} ms a decision)",
            at(0.5),
            at(0.9)
        );
    };
    let all: Vec<&Cost> = costs.iter().collect();
    part("drawing, making data", |c| c.data, &all);
    part("building the network", |c| c.network, &all);
    part("training", |c| c.training, &all);
    for (family, _) in distribution.families() {
        let of_family: Vec<&Cost> = all.iter().copied().filter(|c| c.drawn.family() == family).collect();
        if !of_family.is_empty() {
            part(&format!("  data: {}", family.name()), |c| c.data, &of_family);
            part(&format!("  training: {}", family.name()), |c| c.training, &of_family);
        }
    }
    Ok(())
}

fn cost(distribution: &TaskDistribution, seed: u64) -> Result<Cost> {
    let start = Instant::now();
    let source = distribution.source(seed)?;
    let data = start.elapsed();
    let start = Instant::now();
    let mut task = source.task(seed)?;
    let network = start.elapsed();
    let start = Instant::now();
    let probe = task.reset(seed)?;
    let (anchor, steps) = (source.spec().run().anchor_lr(&probe), source.spec().steps());
    let mut done = 0;
    for decision in 1..=DECISIONS {
        let until = steps * decision / DECISIONS;
        let lr = |step: u64| anchor * (1.0 - (done + step) as f64 / steps as f64);
        task.advance_steps(until - done, &lr, &Hyperparameters::lr(anchor))?;
        done = until;
    }
    Ok(Cost { drawn: source.drawn().clone(), data, network, training: start.elapsed() })
}
