//! The stochastic line search: against a transcription of the published algorithm (tests/golden/line_search.py), on
//! problems with known step sizes, and as the optimizer of a task.

use lrpilot::Error;
use lrpilot::nn::OptimizerSpec;
use lrpilot::nn::optimizer::line_search::{LineSearch, LineSearchConfig, Reset};
use lrpilot::run::{Record, run_trial};
use lrpilot::task::{ConfiguredTask, TaskSource};
use lrpilot::task::{Preset, TaskConfig};
use lrpilot::{Hyperparameters, Schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    n: usize,
    d: usize,
    batch: usize,
    runs: Vec<GoldenRun>,
}

#[derive(Deserialize)]
struct GoldenRun {
    reset: Reset,
    step_sizes: Vec<f64>,
    forward_passes: Vec<u64>,
    losses: Vec<f64>,
}

/// Least squares on the script's data.
struct LeastSquares {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
}

impl LeastSquares {
    fn new(n: usize, d: usize) -> Self {
        let value = |i: usize| (i * 7919 % 10007) as f64 / 5003.0 - 1.0;
        let x = (0..n).map(|i| (0..d).map(|j| 2.0 * value(i * d + j)).collect()).collect();
        LeastSquares { x, y: (0..n).map(|i| value(1000 + i)).collect() }
    }

    fn residual(&self, i: usize, w: &[f64]) -> f64 {
        self.x[i].iter().zip(w).map(|(x, w)| x * w).sum::<f64>() - self.y[i]
    }

    fn loss(&self, w: &[f64], batch: &[usize]) -> f64 {
        batch.iter().map(|&i| 0.5 * self.residual(i, w).powi(2)).sum::<f64>() / batch.len() as f64
    }

    fn gradient(&self, w: &[f64], batch: &[usize]) -> Vec<f64> {
        let share = |i: usize| self.residual(i, w) / batch.len() as f64;
        (0..w.len()).map(|j| batch.iter().map(|&i| share(i) * self.x[i][j]).sum()).collect()
    }
}

#[test]
fn equal_to_the_published_algorithm() {
    let golden: Golden = serde_json::from_str(include_str!("golden/line_search.json")).unwrap();
    let problem = LeastSquares::new(golden.n, golden.d);
    for run in &golden.runs {
        let config = LineSearchConfig { reset: run.reset, ..LineSearchConfig::default() };
        let mut search = LineSearch::new(config, (golden.n / golden.batch) as u64);
        let mut w = vec![0.0; golden.d];
        for (step, want) in run.step_sizes.iter().enumerate() {
            let batch: Vec<usize> = (0..golden.batch).map(|i| (step * golden.batch + i) % golden.n).collect();
            let (loss, g) = (problem.loss(&w, &batch), problem.gradient(&w, &batch));
            assert!((loss - run.losses[step]).abs() < 1e-9, "{:?}, step {step}", run.reset);
            let moved = |eta: f64| w.iter().zip(&g).map(|(w, g)| w - eta * g).collect::<Vec<_>>();
            let norm_sq = g.iter().map(|g| g * g).sum();
            let found = search.find(norm_sq, loss, |eta| problem.loss(&moved(eta), &batch));
            assert!((found.step_size / want - 1.0).abs() < 1e-9, "{:?}, step {step}: {found:?}", run.reset);
            assert_eq!(found.forward_passes, run.forward_passes[step], "{:?}, step {step}", run.reset);
            w = moved(found.step_size);
        }
    }
}

/// On ½·h·w² the Armijo condition is η ≤ 2(1 − c)/h, so the step is the first 0.9ᵏ at or below it.
#[test]
fn backtracks_to_the_known_step_of_a_quadratic() {
    for (h, k) in [(1.0, 0), (1.9, 1), (3.0, 5), (20.0, 23)] {
        assert!(0.9f64.powi(k) <= 1.8 / h && (k == 0 || 0.9f64.powi(k - 1) > 1.8 / h), "the table itself");
        let config = LineSearchConfig { reset: Reset::Initial, ..LineSearchConfig::default() };
        let mut search = LineSearch::new(config, 10);
        let found = search.find(h * h, 0.5 * h, |eta| 0.5 * h * (1.0 - eta * h).powi(2));
        assert!((found.step_size - 0.9f64.powi(k)).abs() < 1e-12, "h = {h}: {found:?}");
        assert_eq!(found.forward_passes, k as u64 + 1);
    }
}

#[test]
fn edges() {
    let mut search = LineSearch::new(LineSearchConfig::default(), 1);
    // Nothing ever satisfies the condition: a tiny step after 100 trials.
    let found = search.find(1.0, 0.0, |_| f64::NAN);
    assert_eq!((found.step_size, found.forward_passes), (1e-6, 100));
    search.reset();
    // No gradient, or none that is finite: no trial. Growth is γ = 2 an epoch of one batch, up to η_max = 10.
    for (norm_sq, want) in [(0.0, 2.0), (f64::NAN, 4.0), (f64::INFINITY, 8.0), (0.0, 10.0)] {
        let found = search.find(norm_sq, 1.0, |_| unreachable!("no trial"));
        assert_eq!((found.step_size, found.forward_passes), (want, 0));
    }
}

fn sls_digits() -> TaskConfig {
    let TaskConfig::Supervised(mut config) = Preset::DigitsClean.config() else { unreachable!() };
    config.optimizer = toml::from_str("type = \"sls\"").unwrap();
    assert_eq!(config.optimizer, OptimizerSpec::Sls(LineSearchConfig::default()));
    config.horizon = 10;
    TaskConfig::Supervised(config)
}

/// Whatever learning rate is set, the search finds its own, says how many forward passes that took, and learns.
#[test]
fn a_task_trains_under_it() {
    let source = ConfiguredTask::new(&sls_digits(), None).unwrap();
    let run = |lr| run_trial(&mut *source.task(0).unwrap(), &Schedule::constant(lr), 1, Record::Everything).unwrap();
    let (a, b) = (run(1e-6), run(0.1));
    assert_eq!(a, b);
    // 10 epochs of 20 batches, at least one trial for each.
    assert!(a.extra_forward_passes >= 200, "{}", a.extra_forward_passes);
    assert!(a.curve.iter().all(|c| c.lr > 1e-3 && c.lr <= 10.0));
    assert!(!a.diverged && a.curve[9].val_loss_b < 0.5 * a.curve[0].val_loss_b, "{:?}", a.curve);
}

#[test]
fn a_restored_state_goes_on_to_the_same_bits() {
    let source = ConfiguredTask::new(&sls_digits(), None).unwrap();
    let (mut a, mut b) = (source.task(0).unwrap(), source.task(0).unwrap());
    a.reset(3).unwrap();
    a.advance(&Hyperparameters::lr(1.0)).unwrap();
    b.reset(4).unwrap();
    b.advance(&Hyperparameters::lr(1.0)).unwrap();
    b.load(&a.save().unwrap()).unwrap();
    assert_eq!(a.advance(&Hyperparameters::lr(1.0)).unwrap(), b.advance(&Hyperparameters::lr(1.0)).unwrap());
    assert_eq!(a.save().unwrap(), b.save().unwrap());
}

#[test]
fn wrong_settings_and_an_agent_on_top_are_refused() {
    for text in ["c = 0.0", "beta = 1.0", "gamma = 0.5", "init_step_size = -1.0", "eta_max = inf"] {
        let config: LineSearchConfig = toml::from_str(text).unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(text.split(' ').next().unwrap()), "{text}: {error}");
    }
    let source = ConfiguredTask::new(&sls_digits(), None).unwrap();
    let error = lrpilot::env::EnvConfig::default().parts(source.spec()).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}
