//! Learn a schedule, freeze it, and run it in a training loop of one's own: `cargo run --release --example quickstart`.

use lrpilot::env::Formulation;
use lrpilot::task::ConfiguredTask;
use lrpilot::{
    Decision, Group, Hyperparameters, Measurement, OptimizerFamily, Recorder, RunConfig, RunContext, RunSpec, Schedule,
    TaskSource,
};
use std::sync::Arc;

fn main() -> lrpilot::Result<()> {
    // 1. Learn: a PPO agent trains the task's network again and again, and picks the learning rate of each interval.
    let mut config = RunConfig::preset("noisy-quadratic", Formulation::Pilot)?;
    config.set_budget(2_000); // intervals trained in all
    let source: Arc<dyn TaskSource> = Arc::new(ConfiguredTask::new(&config.task, None)?);
    let folder = std::env::temp_dir().join(format!("lrpilot-quickstart-{}", std::process::id()));
    let policy = lrpilot::learn_in(&folder, &config, &source, &RunContext::local())?;

    // 2. Freeze: the policy is one small file.
    let file = folder.join("frozen.safetensors");
    policy.save(&file)?;

    // 3. Run it in a loop of one's own: here gradient descent on ½ Σ h w², twelve intervals of ten steps.
    let run = RunSpec::new(12, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 3)]);
    let (mut w, h) = ([1.0, 1.0, 1.0], [1.0, 0.3, 0.1]);
    let mut recorder = Recorder::new(run.groups.len());
    let (loss, gradient) = loss_and_gradient(&w, &h);
    recorder.probe(loss, &[sum_sq(&gradient)]);
    let probe = recorder.finish(Some(loss), &[sum_sq(&w).sqrt()]);
    let mut schedule = Schedule::load(&file)?.start(&run, &probe)?; // no learning rate: the policy finds one
    for _ in 0..run.horizon {
        let before = w;
        let measured = train(&mut w, &h, &schedule.hyperparameters(), &mut recorder);
        match schedule.observe(&measured) {
            Decision::GoOn => println!("loss {:.2e}", measured.loss()),
            Decision::RollBack => w = before,
        }
    }
    assert!(loss_and_gradient(&w, &h).0 < 0.5 * loss);
    std::fs::remove_dir_all(&folder).map_err(|e| lrpilot::Error::io(&folder, e))
}

/// One interval: ten steps, each with its loss, Σg² and Σ(Δw)².
fn train(w: &mut [f64; 3], h: &[f64; 3], set: &Hyperparameters, recorder: &mut Recorder) -> Measurement {
    for _ in 0..10 {
        let (loss, gradient) = loss_and_gradient(w, h);
        w.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= set.lr * g);
        recorder.step(loss, &[sum_sq(&gradient)], &[set.lr * set.lr * sum_sq(&gradient)]);
    }
    recorder.finish(Some(loss_and_gradient(w, h).0), &[sum_sq(w).sqrt()])
}

fn loss_and_gradient(w: &[f64; 3], h: &[f64; 3]) -> (f64, [f64; 3]) {
    let loss = w.iter().zip(h).map(|(w, h)| 0.5 * h * w * w).sum();
    (loss, std::array::from_fn(|i| h[i] * w[i]))
}

fn sum_sq(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum()
}
