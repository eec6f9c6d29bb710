//! The agent on the noisy quadratic model, whose best schedule is known: it must not be short-sighted (Wu et al. 2018).

use lrpilot::Schedule;
use lrpilot::agent::LocalPool;
use lrpilot::env::Formulation;
use lrpilot::run::{Learner, Record, RunConfig, StopFlag, run_trial};
use lrpilot::task::{ConfiguredTask, Preset, QuadraticConfig, TaskConfig, TaskSource, expected_loss, optimal_schedule};
use std::sync::Arc;

/// The schedule of a policy that looks one interval ahead only: in each interval the LR with the smallest expected loss
/// right after it.
fn short_sighted_schedule(config: &QuadraticConfig) -> Vec<f64> {
    let grid: Vec<f64> = (0..200).map(|i| 1e-4 * (config.lr_bounds.1 / 1e-4f64).powf(f64::from(i) / 199.0)).collect();
    let mut lrs: Vec<f64> = Vec::new();
    for _ in 0..config.horizon {
        let after = |lr: &f64| expected_loss(config, &[&lrs[..], &[*lr]].concat());
        let best = grid.iter().copied().min_by(|a, b| after(a).total_cmp(&after(b))).unwrap();
        lrs.push(best);
    }
    lrs
}

#[test]
fn the_agent_comes_close_to_the_best_schedule() {
    let TaskConfig::NoisyQuadratic(quadratic) = Preset::NoisyQuadratic.config() else { unreachable!() };
    let mut config = RunConfig::new(Preset::NoisyQuadratic.config(), Formulation::Pilot);
    config.learn.epochs = 60_000;
    config.ppo.n_steps = 30;
    let source: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(&config.task, None).unwrap());
    let mut learner = Learner::new(config, Arc::clone(&source)).unwrap();
    while learner.updates_done() < learner.updates_planned() {
        learner.update(&LocalPool, |_| ()).unwrap();
    }
    let policy = learner.select(&LocalPool, &StopFlag::new(), |_| ()).unwrap();
    let losses: Vec<f64> = (0..20)
        .map(|seed| {
            let schedule = Schedule::learned(policy.clone());
            let run = run_trial(&mut *source.task(0).unwrap(), &schedule, 1000 + seed, Record::Final).unwrap();
            expected_loss(&quadratic, &run.curve.iter().map(|c| c.lr).collect::<Vec<_>>())
        })
        .collect();
    let learned = losses.iter().sum::<f64>() / losses.len() as f64;
    let best = expected_loss(&quadratic, &optimal_schedule(&quadratic));
    let short_sighted = expected_loss(&quadratic, &short_sighted_schedule(&quadratic));
    println!("learned {learned:.5}, best {best:.5}, short-sighted {short_sighted:.5}");
    assert!(best < 0.9 * short_sighted, "the problem does not tell the two apart");
    assert!(learned < 1.25 * best, "learned {learned}, best {best}");
    assert!(learned < short_sighted, "learned {learned}, short-sighted {short_sighted}");
}
