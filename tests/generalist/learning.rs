//! A pretrained policy is learned in a folder; interrupted, it goes on to the same bits.

use lrpilot::record::progress::{Progress, Status};
use lrpilot::run::StopFlag;
use lrpilot::run::generalist::{GeneralistConfig, GeneralistTasks, learn_generalist_in};
use lrpilot::task::{ConfiguredTask, QuadraticConfig, TaskConfig, TaskMixture};
use lrpilot::{Error, RunContext, TaskSource};
use std::sync::Arc;

fn quadratic(dimensions: usize, noise: f64) -> Box<dyn TaskSource> {
    let config = QuadraticConfig {
        name: format!("quadratic {dimensions}"),
        dimensions,
        noise,
        lr_bounds: (1e-6, 10.0),
        ..QuadraticConfig::default()
    };
    Box::new(ConfiguredTask::new(&TaskConfig::NoisyQuadratic(config), None).unwrap())
}

fn tasks() -> GeneralistTasks {
    let train = TaskMixture::new("quadratics", vec![quadratic(5, 0.1), quadratic(20, 0.3), quadratic(9, 0.0)]).unwrap();
    GeneralistTasks { train: Arc::new(train), selection: vec![quadratic(7, 0.2).into(), quadratic(30, 0.1).into()] }
}

fn small(updates: usize) -> GeneralistConfig {
    let mut config = GeneralistConfig::default();
    config.bank.tasks = 20;
    config.learn.groups = 3;
    (config.learn.updates, config.learn.score_every, config.learn.score_seeds) = (updates, 2, 2);
    (config.learn.average, config.ppo.siblings, config.ppo.batch_size) = (0.5, 4, 64);
    config
}

/// Asks to stop at the first score.
struct StopAtScore(StopFlag);

impl Progress for StopAtScore {
    fn status(&self, _: Status) {
        self.0.set();
    }
}

#[test]
fn an_interrupted_learning_goes_on_to_the_same_bits() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, context) = (small(5), RunContext::local());
    let expected = learn_generalist_in(whole.path(), &config, &tasks(), &context).unwrap();
    let stop = StopFlag::new();
    let stopping = RunContext { progress: &StopAtScore(stop.clone()), stop: &stop, ..context };
    let stopped = learn_generalist_in(cut.path(), &config, &tasks(), &stopping);
    assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
    let resumed = learn_generalist_in(cut.path(), &config, &tasks(), &context).unwrap();
    assert_eq!(resumed, expected);
    for file in ["updates.jsonl", "anchor.json", "policy.safetensors"] {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
        assert_eq!(read(&whole), read(&cut), "{file}");
    }
    // A finished policy is read back, and one of another configuration is refused.
    assert_eq!(learn_generalist_in(whole.path(), &config, &tasks(), &context).unwrap(), expected);
    let other = learn_generalist_in(whole.path(), &small(6), &tasks(), &context);
    assert!(matches!(other, Err(Error::Config { .. })), "{other:?}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let learn = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learn_generalist_in(folder.path(), &small(2), &tasks(), &RunContext::local())).unwrap()
    };
    assert_eq!(learn(1), learn(3));
}
