//! A task of one's own, with its own weights, learned, resumed, compared and reported by lrpilot:
//! `cargo run --release --example own_task`.
//!
//! The task is a linear regression trained with minibatches. A task is a struct with weights that can start anew, train
//! one interval with given hyperparameters, be evaluated, and be saved.

use lrpilot::env::Formulation;
use lrpilot::record::Kind;
use lrpilot::report::html::{ReportInput, render};
use lrpilot::run::StopFlag;
use lrpilot::run::compare::{CompareOptions, PolicyGroup, compare};
use lrpilot::task::{load_state, save_state};
use lrpilot::{
    Error, Group, Hyperparameters, Measurement, OptimizerFamily, Recorder, Result, RunConfig, RunContext, RunSpec,
    Split, Task, TaskSource, TaskSpec,
};
use std::path::Path;
use std::sync::Arc;

const INPUTS: usize = 8;
const EXAMPLES: usize = 120;
const BATCH: usize = 10;
const HORIZON: usize = 8;

/// Where the tasks come from: data that are made once and shared by all of them.
struct Regressions {
    spec: TaskSpec,
    data: Arc<Vec<([f64; INPUTS], f64)>>,
}

/// One training run.
struct Regression {
    spec: TaskSpec,
    data: Arc<Vec<([f64; INPUTS], f64)>>,
    w: [f64; INPUTS],
    recorder: Recorder,
}

/// A number in [−1, 1] that depends on nothing but `n` (the mixing function of SplitMix64).
fn noise(n: u64) -> f64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64 - 1.0
}

impl Regressions {
    fn new() -> Self {
        let run = RunSpec::new(HORIZON, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", INPUTS)]);
        let spec = TaskSpec {
            name: "regression".into(),
            groups: run.groups,
            horizon: HORIZON,
            steps_per_interval: EXAMPLES / BATCH,
            batch_size: BATCH,
            examples: None,
            optimizer: None,
            chance_loss: None,
            lr_bounds: run.lr_bounds,
            default_lr: 1e-3,
            anchor: run.anchor,
            accepts_momentum: false,
            accepts_weight_decay: false,
            finds_lr: false,
        };
        let example = |i: u64| {
            let x: [f64; INPUTS] = std::array::from_fn(|j| noise(100 * i + j as u64));
            let y = x.iter().enumerate().map(|(j, x)| x * (j + 1) as f64).sum::<f64>() + noise(100 * i + 99);
            (x, y)
        };
        // The last two fifths are held back: validation A, validation B, test.
        Regressions { spec, data: Arc::new((0..EXAMPLES as u64 * 8 / 5).map(example).collect()) }
    }
}

impl TaskSource for Regressions {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        let (spec, data) = (self.spec.clone(), Arc::clone(&self.data));
        Ok(Box::new(Regression { spec, data, w: [0.0; INPUTS], recorder: Recorder::new(1) }))
    }

    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn identity(&self) -> serde_json::Value {
        serde_json::json!({ "task": "regression", "inputs": INPUTS, "examples": EXAMPLES, "batch": BATCH, "horizon": HORIZON })
    }
}

impl Regression {
    /// Mean of half the squared error, and its gradient.
    fn loss_and_gradient(&self, examples: &[([f64; INPUTS], f64)]) -> (f64, [f64; INPUTS]) {
        let (mut loss, mut gradient) = (0.0, [0.0; INPUTS]);
        for (x, y) in examples {
            let error = x.iter().zip(&self.w).map(|(x, w)| x * w).sum::<f64>() - y;
            loss += 0.5 * error * error / examples.len() as f64;
            gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * x / examples.len() as f64);
        }
        (loss, gradient)
    }

    fn held_back(&self, split: Split) -> &[([f64; INPUTS], f64)] {
        let part = (self.data.len() - EXAMPLES) / 3;
        let first = EXAMPLES
            + part
                * match split {
                    Split::ValidationA => 0,
                    Split::ValidationB => 1,
                    Split::Test => 2,
                };
        &self.data[first..first + part]
    }

    fn finish(&mut self) -> Measurement {
        let (loss, _) = self.loss_and_gradient(self.held_back(Split::ValidationA));
        self.recorder.finish(Some(loss), &[sum_sq(&self.w).sqrt()])
    }
}

fn sum_sq(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum()
}

impl Task for Regression {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn reset(&mut self, seed: u64) -> Result<Measurement> {
        self.w = std::array::from_fn(|i| noise(seed.wrapping_add(i as u64)));
        self.recorder.reset(0, 0);
        let (loss, gradient) = self.loss_and_gradient(&self.data[..BATCH]);
        self.recorder.probe(loss, &[sum_sq(&gradient)]);
        Ok(self.finish())
    }

    fn advance(&mut self, hyperparameters: &Hyperparameters) -> Result<Measurement> {
        for batch in 0..EXAMPLES / BATCH {
            let (loss, gradient) = self.loss_and_gradient(&self.data[batch * BATCH..(batch + 1) * BATCH]);
            self.w.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= hyperparameters.lr * g);
            let moved = hyperparameters.lr.powi(2) * sum_sq(&gradient);
            if !self.recorder.step(loss, &[sum_sq(&gradient)], &[moved]) {
                break; // diverged: the measurement says so
            }
        }
        Ok(self.finish())
    }

    fn evaluate(&mut self, split: Split) -> Result<(f64, f64)> {
        Ok((self.loss_and_gradient(self.held_back(split)).0, 0.0))
    }

    fn save(&self) -> Result<Vec<u8>> {
        save_state(&self.spec.name, &(self.w, self.recorder.interval(), self.recorder.steps()))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (w, interval, steps) = load_state(&self.spec.name, state)?;
        self.w = w;
        self.recorder.reset(interval, steps);
        Ok(())
    }
}

/// Learn a policy for the regression in `folder`, compare it there, and write a report. With `interrupt`, learning is
/// stopped after its first update and resumed.
pub fn learn_compare_report(folder: &Path, interrupt: bool) -> Result<String> {
    let source: Arc<dyn TaskSource> = Arc::new(Regressions::new());
    let mut config = RunConfig::of_source(&*source, Formulation::Pilot);
    (config.learn.environments, config.learn.candidates, config.learn.selection_seeds) = (4, 2, 2);
    (config.ppo.n_steps, config.ppo.batch_size) = (16, 32);
    config.set_budget(800);
    let context = RunContext::local();
    if interrupt {
        let stop = StopFlag::new();
        let stopping = RunContext { progress: &StopAfterOne(stop.clone()), stop: &stop, ..context };
        match lrpilot::learn_in(folder, &config, &source, &stopping) {
            Err(Error::Interrupted { .. }) => {} // everything is saved; the same call goes on from there
            other => return other.map(|_| "it was not interrupted".into()),
        }
    }
    let policy = lrpilot::learn_in(folder, &config, &source, &context)?;
    let options = CompareOptions {
        policies: vec![PolicyGroup { name: "lrpilot".into(), kind: Kind::Learned, policies: vec![policy] }],
        budget_epochs: config.learn.epochs,
        evaluation_seeds: 5,
        seed: 0,
        command: "cargo run --example own_task",
    };
    let (comparison, runs) = compare(&*source, &options, None, &context)?;
    let report =
        ReportInput { title: "regression".into(), comparison: Some(comparison.clone()), runs, ..Default::default() };
    let file = folder.join("report.html");
    std::fs::write(&file, render(&report)?).map_err(|e| Error::io(&file, e))?;
    Ok(lrpilot::report::table::markdown(&comparison))
}

/// Asks to stop as soon as the first numbers of an update are told.
struct StopAfterOne(StopFlag);

impl lrpilot::record::progress::Progress for StopAfterOne {
    fn status(&self, _: lrpilot::record::progress::Status) {
        self.0.set();
    }
}

#[allow(dead_code, reason = "the test that includes this file has a main function of its own")]
fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("lrpilot-own-task-{}", std::process::id()));
    println!("{}", learn_compare_report(&folder, true)?);
    println!("report: {}", folder.join("report.html").display());
    Ok(())
}
