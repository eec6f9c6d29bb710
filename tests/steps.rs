//! Training by single steps: a run may be cut up in any way, and each step has a learning rate of its own.

use lrpilot::Hyperparameters;
use lrpilot::task::{ConfiguredTask, Preset, Split, Task, TaskSource};

fn task(preset: Preset) -> Box<dyn Task> {
    ConfiguredTask::new(&preset.config(), None).unwrap().task(0).unwrap()
}

/// Train steps with a rate that falls from step to step, cut up as told; the weights as saved.
fn train(preset: Preset, pieces: &[u64]) -> (f64, u64) {
    let mut task = task(preset);
    task.reset(3).unwrap();
    let (mut done, mut steps) = (0, 0);
    for piece in pieces {
        let m =
            task.advance_steps(*piece, &|i| 0.1 / (1.0 + (done + i) as f64), &Hyperparameters::lr(f64::NAN)).unwrap();
        done += piece;
        steps = m.steps;
    }
    (task.evaluate(Split::Test).unwrap().0, steps)
}

#[test]
fn a_run_may_be_cut_up_in_any_way() {
    for preset in [Preset::Digits, Preset::NoisyQuadratic] {
        let whole = train(preset, &[60]);
        assert_eq!(whole.1, 60);
        for pieces in [vec![1; 60], vec![7, 13, 40], vec![59, 1]] {
            assert_eq!(train(preset, &pieces), whole, "{preset:?} {pieces:?}");
        }
    }
}

#[test]
fn an_interval_is_its_steps_at_one_rate() {
    for preset in [Preset::Digits, Preset::NoisyQuadratic] {
        let (mut a, mut b) = (task(preset), task(preset));
        assert_eq!(a.reset(1).unwrap(), b.reset(1).unwrap());
        let h = Hyperparameters::lr(0.05);
        let steps = a.spec().steps_per_interval as u64;
        assert_eq!(a.advance(&h).unwrap(), b.advance_steps(steps, &|_| 0.05, &h).unwrap());
    }
}

/// √(Σ(x − mean)²/(n − 1)) and the maximum, from runs of one step each.
#[test]
fn spread_and_maximum_of_the_batches_are_measured() {
    let (mut whole, mut single) = (task(Preset::Digits), task(Preset::Digits));
    let probe = whole.reset(1).unwrap();
    assert_eq!((probe.train_loss_sd, probe.train_loss_max), (None, None), "one batch has no spread");
    single.reset(1).unwrap();
    let h = Hyperparameters::lr(0.05);
    let m = whole.advance_steps(20, &|_| 0.05, &h).unwrap();
    let losses: Vec<f64> =
        (0..20).map(|_| single.advance_steps(1, &|_| 0.05, &h).unwrap().train_loss.unwrap()).collect();
    let mean = losses.iter().sum::<f64>() / 20.0;
    let sd = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 19.0).sqrt();
    assert!((m.train_loss_sd.unwrap() - sd).abs() < 1e-12);
    assert_eq!(m.train_loss_max, losses.iter().copied().reduce(f64::max));
}
