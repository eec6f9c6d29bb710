//! How cost grows: with the number of threads, of environments, and of environment steps.

use crate::learning::SyntheticPreset;
use crate::pace::rss_mib;
use crate::{Line, WORKS, measure};
use lrpilot::agent::{Ppo, Slot};
use lrpilot::env::{Env, Formulation, LrEnv};
use lrpilot::run::RunConfig;
use lrpilot::task::{ConfiguredTask, TaskSource as _};
use lrpilot::{Error, Result};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Environments whose memory is measured together; the figure is the average.
const ENVIRONMENTS: usize = 64;
const PRESETS: [&str; 3] = ["digits", "mnist-mlp", "mnist-cnn"];

/// Times that all threads are measured, each between two measurements of one thread: a machine's speed changes between
/// any two of them.
const ROUNDS: usize = 25;

/// One work with one thread and with more.
#[derive(Serialize)]
pub struct Scaling {
    work: &'static str,
    threads: usize,
    /// Rate with all threads over the mean rate with one just before and after: median, smallest and largest of the
    /// rounds.
    speedup: f64,
    smallest: f64,
    largest: f64,
}

/// Every work with one thread and with `threads`, each for `seconds` a round.
pub fn scaling(threads: usize, seconds: f64) -> Result<Vec<Scaling>> {
    let rate = |work, threads| {
        let line = measure(work, threads, seconds)?;
        let Line { images_per_s, steps_per_s, gflops, .. } = line;
        steps_per_s.or(images_per_s).or(gflops).ok_or_else(|| Error::Bug(format!("{work} has no rate")))
    };
    let of_work = |work| {
        let mut before = rate(work, 1)?;
        let mut round = || {
            let (all, after) = (rate(work, threads)?, rate(work, 1)?);
            let speedup = 2.0 * all / (before + after);
            before = after;
            Ok(speedup)
        };
        let mut speedups = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<f64>>>()?;
        speedups.sort_by(f64::total_cmp);
        let [smallest, speedup, largest] = [0, ROUNDS / 2, ROUNDS - 1].map(|i| speedups[i]);
        Ok(Scaling { work, threads, speedup, smallest, largest })
    };
    WORKS.into_iter().map(of_work).collect()
}

/// What one more environment takes.
#[derive(Serialize)]
pub struct Memory {
    preset: &'static str,
    environments: usize,
    /// Resident memory per environment, the shared data set not counted.
    mib_per_environment: f64,
    /// Bytes of one environment's saved state (what a checkpoint holds of it).
    saved_bytes: usize,
}

/// Resident memory per environment of each preset, in the formulation that runs many of them.
///
/// # Errors
/// [`Error::Bug`] where the system does not tell the resident memory.
pub fn memory() -> Result<Vec<Memory>> {
    let resident = || rss_mib().ok_or_else(|| Error::Bug("this system does not tell the resident memory".into()));
    // Kept to the end, so that no preset finds the pages that another one has given back.
    let mut kept: Vec<(SyntheticPreset, Vec<LrEnv>)> = Vec::new();
    let mut rows = Vec::new();
    for preset in PRESETS {
        let synthetic = SyntheticPreset::new(preset, Formulation::Pilot)?;
        let before = resident()?;
        let mut envs = Vec::new();
        for seed in 0..ENVIRONMENTS {
            let mut env = synthetic.env()?;
            env.reset(seed as u64)?;
            // Roll-back state and workspaces come into being in the first interval.
            env.step(&[0.0])?;
            envs.push(env);
        }
        let mib_per_environment = (resident()? - before) / ENVIRONMENTS as f64;
        let saved_bytes = envs[0].save()?.len();
        rows.push(Memory { preset, environments: ENVIRONMENTS, mib_per_environment, saved_bytes });
        kept.push((synthetic, envs));
    }
    Ok(rows)
}

/// Where learning stands after a number of environment steps.
#[derive(Serialize)]
pub struct Mark {
    steps: u64,
    /// Cumulative.
    seconds: f64,
    steps_per_s: f64,
    rss_mib: Option<f64>,
}

/// Learn on the noisy quadratic model for `steps` environment steps (pilot formulation, whole loop, all cores) and note
/// the time at 1, 2, 5, 10, … per cent of them: equal rates mean that cost is linear.
pub fn linearity(steps: u64) -> Result<Vec<Mark>> {
    let config = RunConfig::preset("noisy-quadratic", Formulation::Pilot)?;
    let source = Arc::new(ConfiguredTask::new(&config.task, None)?);
    let mut slots = Vec::new();
    for index in 0..config.learn.environments {
        let parts = config.env.parts(source.spec())?;
        slots.push(Slot::new(index, Box::new(LrEnv::new(source.clone(), parts)?)));
    }
    let (observation, space) = (slots[0].env.observation_space().dim(), slots[0].env.action_space());
    let mut ppo = Ppo::new(config.ppo.clone(), observation, &space, config.seed)?;
    let shares = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
    let mut marks: Vec<Mark> = Vec::new();
    let (start, mut done) = (Instant::now(), 0);
    for share in shares {
        while (done as f64) < share * steps as f64 {
            let rollout = ppo.collect(&mut slots, |_| ())?;
            ppo.update(&rollout, 1.0);
            done += (rollout.slots * rollout.steps) as u64;
        }
        let seconds = start.elapsed().as_secs_f64();
        let (last_steps, last_seconds) = marks.last().map_or((0, 0.0), |m| (m.steps, m.seconds));
        // Two marks may fall into the same iteration when few steps are asked for.
        if done > last_steps {
            let steps_per_s = (done - last_steps) as f64 / (seconds - last_seconds);
            marks.push(Mark { steps: done, seconds, steps_per_s, rss_mib: rss_mib() });
        }
    }
    Ok(marks)
}
