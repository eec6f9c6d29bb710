//! How often the guard cries wolf, and what it misses:
//! `cargo run --release --example guard_false_alarms [RUNS] [SETTINGS]`, with the guard's settings as JSON.
//!
//! Trains RUNS (1,000) networks and noisy quadratics that are well, feeds each to a guard step by step and interval by
//! interval, and counts the runs with an alarm. Then puts faults into a fifth of them and counts what is caught. Each alarm and each miss has a line on
//! the error stream.

mod runs;

use lrpilot::Result;
use lrpilot_core::guard::GuardConfig;
use rayon::prelude::*;
use runs::{Injected, Trace, mean, train};
use std::collections::BTreeMap;

fn main() -> Result<()> {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000u64);
    let settings =
        std::env::args().nth(2).map(|json| serde_json::from_str(&json).expect("settings of the guard as JSON"));
    let config: GuardConfig = settings.unwrap_or_default();
    let traces = (0..2 * count).into_par_iter().map(|index| Ok((index, train(index, None)?)));
    let traces: Vec<(u64, Trace)> = traces.collect::<Result<_>>()?;
    let tried = traces.len();
    let mut healthy: Vec<(u64, Trace)> = traces.into_iter().filter(|(_, trace)| trace.is_healthy()).collect();
    println!("{} of {tried} runs are healthy; the first {count} of them are watched\n", healthy.len());
    healthy.truncate(count as usize);
    false_alarms(&healthy, &config)?;
    let watched = &healthy[..healthy.len() / 5];
    faults(watched, &config)?;
    learning_rates(watched, &config)
}

/// Alarms on healthy runs, by kind.
fn false_alarms(healthy: &[(u64, Trace)], config: &GuardConfig) -> Result<()> {
    let mut kinds: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (index, trace) in healthy {
        let (steps, intervals) = (trace.first_alarm(config)?, trace.first_alarm_of_intervals(config)?);
        for (of, alarm) in [("steps", steps), ("intervals", intervals)] {
            if let Some((at, fault)) = alarm {
                eprintln!("run {index} ({}, {} of the edge): {of}, step {at}: {fault}", trace.kind, trace.lr);
            }
        }
        for kind in [&trace.kind, "together"] {
            let row = kinds.entry(kind).or_default();
            row[0] += 1;
            row[1] += trace.losses.len();
            row[2] += usize::from(steps.is_some());
            row[3] += usize::from(intervals.is_some());
        }
    }
    println!("| healthy runs | runs | steps | with an alarm, fed steps | fed intervals |\n|---|--:|--:|--:|--:|");
    for (kind, [runs, steps, alarms, of_intervals]) in kinds {
        println!("| {kind} | {runs} | {steps} | {alarms} | {of_intervals} |");
    }
    println!();
    Ok(())
}

/// Faults in the numbers, at 60 % of the run. Left out are runs to which the fault does no harm and runs with an alarm
/// before it.
fn faults(healthy: &[(u64, Trace)], config: &GuardConfig) -> Result<()> {
    println!("| fault | runs | caught | steps until then, median | most |\n|---|--:|--:|--:|--:|");
    for injected in Injected::ALL {
        let mut delays = Vec::new();
        let mut runs = 0;
        for (_, trace) in healthy {
            let at = trace.losses.len() * 3 / 5;
            let Some(faulty) = injected.put_into(trace, at) else { continue };
            let alarm = faulty.first_alarm(config)?;
            if alarm.is_none() {
                eprintln!("missed: {injected:?} in a run of {}, {} of the edge", trace.kind, trace.lr);
            }
            if alarm.is_none_or(|(step, _)| step >= at) {
                runs += 1;
                delays.extend(alarm.map(|(step, _)| step - at));
            }
        }
        print_row(&format!("{injected:?}"), runs, delays);
    }
    Ok(())
}

/// Thirty times the edge as learning rate from 60 % of the run on, where that does harm.
fn learning_rates(healthy: &[(u64, Trace)], config: &GuardConfig) -> Result<()> {
    let trained: Vec<(usize, Trace)> = healthy
        .par_iter()
        .map(|(index, trace)| {
            let at = trace.losses.len() * 3 / 5;
            Ok((at, train(*index, Some(at))?))
        })
        .collect::<Result<_>>()?;
    let (mut delays, mut runs) = (Vec::new(), 0);
    for (at, trace) in trained {
        let (before, after) = (mean(&trace.losses[at - 50..at]), mean(&trace.losses[trace.losses.len() - 50..]));
        let harmed = !after.is_finite() || after - before > 0.5 * (mean(&trace.losses[..3]) - before);
        let alarm = trace.first_alarm(config)?;
        if harmed && alarm.is_none_or(|(step, _)| step >= at) {
            runs += 1;
            delays.extend(alarm.map(|(step, _)| step - at));
        }
    }
    print_row("learning rate 30 times the edge", runs, delays);
    Ok(())
}

fn print_row(name: &str, runs: usize, mut delays: Vec<usize>) {
    delays.sort_unstable();
    let (median, most) = (delays.get(delays.len() / 2), delays.last());
    let text = |value: Option<&usize>| value.map_or("–".into(), usize::to_string);
    println!("| {name} | {runs} | {} | {} | {} |", delays.len(), text(median), text(most));
}
