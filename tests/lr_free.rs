//! Prodigy and Schedule-Free SGD and AdamW against their authors' packages (`tests/golden/lr_free.py`), and as optimizers of
//! a task: they train, are evaluated at their own point and resume to the same bits.

use lrpilot::Hyperparameters;
use lrpilot::nn::{Mode, Network, Optimizer, OptimizerSpec, StepNorms};
use lrpilot::task::{ConfiguredTask, Preset, Split, Supervised, SupervisedConfig, Task, TaskConfig, TaskSource};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Deserialize)]
struct Golden {
    curvature: Vec<f32>,
    target: Vec<f32>,
    start: Vec<f32>,
    noise: Vec<Vec<f32>>,
    shapes: HashMap<String, Vec<f64>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    spec: OptimizerSpec,
    lr: f64,
    shape: String,
    notes: Vec<Note>,
}

#[derive(Deserialize)]
struct Note {
    step: usize,
    parameters: Vec<f32>,
    average: Option<Vec<f32>>,
    d: Option<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/lr_free.json")).unwrap()
}

impl Golden {
    /// The gradient at `w` in `step`.
    fn gradient(&self, w: &[f32], step: usize) -> Vec<f32> {
        let noise = self.noise[step].iter().map(|e| e * 0.01);
        let slope = w.iter().zip(&self.target).zip(&self.curvature).map(|((w, target), h)| h * (w - target));
        slope.zip(noise).map(|(slope, noise)| slope + noise).collect()
    }
}

/// The largest |a − b|.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Rounding alone: parameters reach 5, where a unit in the last place is 5e-7, and are rounded 400 times or more; they agree
/// to 40 such units. Prodigy's d comes from two sums of f32, whose order the package leaves to the machine; it agrees to 1e-6 of itself.
#[test]
fn trajectories_equal_the_packages() {
    let golden = golden();
    for case in &golden.cases {
        case.spec.check().unwrap();
        let mut optimizer = Optimizer::new(case.spec.clone(), golden.start.len());
        let mut w = golden.start.clone();
        let mut notes = case.notes.iter().peekable();
        for (step, factor) in golden.shapes[&case.shape].iter().enumerate() {
            let g = golden.gradient(&w, step);
            optimizer.step_with_norms(&mut w, &g, case.lr * factor, &[0..17, 17..20], &mut [StepNorms::default(); 2]);
            let Some(note) = notes.next_if(|note| note.step == step) else { continue };
            let off = distance(&w, &note.parameters);
            assert!(off <= 2e-5, "{:?}, step {step}: parameters off by {off}", case.spec);
            if let Some(d) = note.d {
                let got = optimizer.state().scalars[0];
                assert!((got / d - 1.0).abs() <= 1e-6, "{:?}, step {step}: d = {got} against {d}", case.spec);
            }
            let before = w.clone();
            optimizer.enter_evaluation(&mut w);
            let off = distance(&w, note.average.as_ref().unwrap_or(&before));
            assert!(off <= 2e-5, "{:?}, step {step}: average off by {off}", case.spec);
            optimizer.leave_evaluation(&mut w);
            assert_eq!(w, before);
        }
        assert!(notes.next().is_none());
    }
}

/// Prodigy's sums go over all parameters in one order, so how they are divided into layers changes no bit.
#[test]
fn layers_make_no_difference() {
    let n = 3000;
    let values = |factor: f32| (0..n).map(|i| (i as f32 * factor).sin()).collect::<Vec<f32>>();
    for name in ["prodigy", "schedule-free-sgd", "schedule-free-adamw"] {
        let new = || Optimizer::new(OptimizerSpec::named(name).unwrap(), n);
        let (mut whole, mut divided) = (new(), new());
        let (mut a, mut b) = (values(0.7), values(0.7));
        for step in 1..=20 {
            let g = values(0.1 * step as f32);
            whole.step(&mut a, &g, 0.5);
            divided.step_with_norms(&mut b, &g, 0.5, &[0..1000, 1000..1001, 1001..n], &mut [StepNorms::default(); 3]);
        }
        assert_eq!(whole.state().scalars, divided.state().scalars, "{name}");
        assert_eq!(a, b, "{name}");
    }
}

/// Nothing moves, and no step is counted, before there is a gradient and a learning rate.
#[test]
fn prodigy_waits_for_a_gradient() {
    let mut prodigy = Optimizer::new(OptimizerSpec::named("prodigy").unwrap(), 3);
    let (mut w, before) = ([1.0, -2.0, 0.0], prodigy.state().scalars.clone());
    prodigy.step(&mut w, &[0.0; 3], 1.0);
    prodigy.step(&mut w, &[1.0; 3], 0.0);
    assert_eq!((w, prodigy.state().steps), ([1.0, -2.0, 0.0], 0));
    assert_eq!(prodigy.state().scalars, before);
    prodigy.step(&mut w, &[1.0; 3], 1.0);
    assert!(w.iter().zip([1.0, -2.0, 0.0]).all(|(w, start)| *w < start), "{w:?}");
}

/// Clean digits under `optimizer`; an interval is `steps` steps or an epoch of 20.
fn digits(optimizer: &str, steps: Option<usize>) -> ConfiguredTask {
    let TaskConfig::Supervised(mut config) = Preset::DigitsClean.config() else { unreachable!() };
    config.optimizer = toml::from_str(optimizer).unwrap();
    (config.interval_steps, config.horizon) = (steps, 50);
    ConfiguredTask::new(&TaskConfig::Supervised(config), None).unwrap()
}

/// Each optimizer with its packages' learning rate; warm-up where the authors advise it.
const OPTIMIZERS: [&str; 5] = [
    "type = 'prodigy'",
    "type = 'schedule-free-sgd'\nwarmup_steps = 20",
    "type = 'schedule-free-adamw'\nwarmup_steps = 20",
    "type = 'nadam'",
    "type = 'radam'",
];

#[test]
fn tasks_train_under_them_and_the_default_learning_rate() {
    for optimizer in OPTIMIZERS {
        let mut task = digits(optimizer, None).task(0).unwrap();
        let lr = Hyperparameters::lr(task.spec().default_lr);
        let untrained = task.reset(1).unwrap().val_loss.unwrap();
        let trained = (0..15).map(|_| task.advance(&lr).unwrap().val_loss.unwrap()).last().unwrap();
        assert!(trained < 0.4 * untrained, "{optimizer}: {trained} after {untrained}");
    }
}

/// In the middle of an epoch, and of a warm-up; also before the first step.
#[test]
fn a_restored_state_goes_on_to_the_same_bits() {
    for optimizer in OPTIMIZERS {
        for intervals in [0, 1, 4] {
            let source = digits(optimizer, Some(7));
            let (mut a, mut b) = (source.task(0).unwrap(), source.task(0).unwrap());
            let lr = Hyperparameters::lr(a.spec().default_lr);
            a.reset(3).unwrap();
            b.reset(4).unwrap();
            (0..intervals).for_each(|_| drop(a.advance(&lr).unwrap()));
            (0..2).for_each(|_| drop(b.advance(&lr).unwrap()));
            b.load(&a.save().unwrap()).unwrap();
            assert_eq!(a.evaluate(Split::Test).unwrap(), b.evaluate(Split::Test).unwrap());
            for _ in 0..3 {
                assert_eq!(a.advance(&lr).unwrap(), b.advance(&lr).unwrap(), "{optimizer}, {intervals} intervals");
            }
            assert_eq!(a.save().unwrap(), b.save().unwrap());
        }
    }
}

/// Two steps of Schedule-Free SGD take their gradients where SGD does, so x₂ is the mean of SGD's two iterates. The losses of a
/// task are those at x₂, and the network stays at y₂.
#[test]
fn validation_losses_are_those_of_the_average() {
    let task = |optimizer: &str| {
        let source = digits(optimizer, Some(1));
        let (config, splits) = source.supervised().unwrap();
        (Supervised::new(Arc::new(config.clone()), Arc::clone(splits)).unwrap(), config.clone())
    };
    let (mut free, config) = task("type = 'schedule-free-sgd'");
    let (mut sgd, _) = task("type = 'sgd'");
    let lr = Hyperparameters::lr(0.2);
    free.reset(0).unwrap();
    sgd.reset(0).unwrap();
    let mut iterates = Vec::new();
    free.advance(&lr).unwrap();
    for _ in 0..2 {
        sgd.advance(&lr).unwrap();
        iterates.push(sgd.network().params.to_vec());
    }
    let measured = free.advance(&lr).unwrap();
    let [x1, x2] = &iterates[..] else { unreachable!() };
    let average: Vec<f32> = x1.iter().zip(x2).map(|(a, b)| 0.5 * (a + b)).collect();
    let y: Vec<f32> = average.iter().zip(x2).map(|(x, z)| 0.9 * x + 0.1 * z).collect();
    assert!(distance(&free.network().params, &y) < 1e-6);
    let at_average = validation_loss(&config, &free, &average);
    let at_y = validation_loss(&config, &free, &y);
    assert!((at_average - at_y).abs() > 1e-4, "{at_average} and {at_y} cannot be told apart");
    for loss in [measured.val_loss.unwrap(), free.evaluate(Split::ValidationA).unwrap().0] {
        assert!((loss - at_average).abs() < 1e-6, "{loss} against {at_average}");
    }
}

/// The loss on validation A of a network with the parameters `params`.
fn validation_loss(config: &SupervisedConfig, task: &Supervised, params: &[f32]) -> f64 {
    let examples = &task.splits().val_a;
    let layers = config.model.layers(examples.targets.outputs()).unwrap();
    let mut network = Network::new(examples.shape, &layers, examples.len()).unwrap();
    network.params.copy_from_slice(params);
    let outputs = network.forward(&examples.x, examples.len(), &mut Mode::Eval);
    examples.targets.loss(0..examples.len(), outputs, None)
}
