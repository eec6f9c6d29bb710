//! The noisy quadratic model, whose best schedule is known: how far from it do policies end, at several horizons?
//!
//! `cargo run --release --example known_optimum [-- POLICY…]`, where a policy is a file; without one it is the pretrained
//! policy. Each line is the mean loss at the end over 400 seeds, over the expected loss of the numerically best schedule
//! of 60 intervals.

use lrpilot::run::generalist::{Loop, run_schedule};
use lrpilot::task::{ConfiguredTask, QuadraticConfig, TaskConfig, expected_loss, optimal_schedule};
use lrpilot::{Result, Schedule, Split, TaskSource};
use lrpilot_core::generalist::NEWEST;
use rayon::prelude::*;

const SEEDS: u64 = 400;
const INTERVALS: usize = 60;
/// Optimizer steps in an interval.
const LENGTHS: [usize; 4] = [2, 5, 20, 60];

/// Mean and standard error of the loss at the end.
fn trained(source: &ConfiguredTask, schedule: &Schedule) -> Result<(f64, f64)> {
    let one = |seed: u64| {
        let outcome = run_schedule(&mut *source.task(seed)?, schedule, seed, Split::Test, Loop::Generous)?;
        Ok(outcome.loss)
    };
    let losses = (0..SEEDS).into_par_iter().map(one).collect::<Result<Vec<f64>>>()?;
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok((mean, (variance / n).sqrt()))
}

fn main() -> Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let mut policies = vec![("pretrained".to_owned(), Schedule::pretrained(NEWEST)?)];
    for file in files {
        policies.push((file.clone(), Schedule::load(file)?));
    }
    for interval_steps in LENGTHS {
        let config = QuadraticConfig { interval_steps, horizon: INTERVALS, ..QuadraticConfig::default() };
        let best = expected_loss(&config, &optimal_schedule(&config));
        let source = ConfiguredTask::new(&TaskConfig::NoisyQuadratic(config), None)?;
        println!("{} steps: best schedule {best:.5}", INTERVALS * interval_steps);
        for (name, policy) in &policies {
            let (mean, error) = trained(&source, policy)?;
            println!("  {name}: {mean:.5}, {:.3} ± {:.3} of the best", mean / best, error / best);
        }
    }
    Ok(())
}
