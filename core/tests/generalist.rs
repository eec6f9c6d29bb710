//! What a pretrained policy's controller does with actions and with intervals that fail.

use lrpilot_core::generalist::{GeneralistController, GeneralistSpec};
use lrpilot_core::{Decision, Group, Measurement, OptimizerFamily, RunSpec};

/// A run of 1,000 steps whose untrained network has the loss 1.
fn started() -> GeneralistController {
    let mut run = RunSpec::new(20, OptimizerFamily::Adam, vec![Group::new("w", 100)]);
    run.facts.steps = Some(1_000);
    let mut controller = GeneralistController::new(GeneralistSpec::plain(), run);
    let probe = Measurement { weight_norms: vec![1.0], ..told(1.0, 1.0) };
    controller.start(&probe, None, &mut Vec::new());
    controller
}

fn told(train: f64, val: f64) -> Measurement {
    Measurement { train_loss: Some(train), val_loss: Some(val), ..Measurement::default() }
}

/// The interval that the action precedes, and what follows from its losses.
fn after(controller: &mut GeneralistController, action: f32, train: f64, val: f64) -> Decision {
    controller.act(action);
    controller.observe(&told(train, val), &mut Vec::new())
}

#[test]
fn a_positive_action_raises_the_rate_and_a_negative_one_lowers_it() {
    let rate = |action: f32| {
        let mut controller = started();
        controller.act(action);
        (controller.lr_at(0), controller.residual())
    };
    let (still, raised, lowered) = (rate(0.0), rate(1.0), rate(-1.0));
    assert!(raised.0 > still.0 && still.0 > lowered.0, "{raised:?} {still:?} {lowered:?}");
    let early = GeneralistSpec::plain().residual.early;
    assert_eq!((raised.1, still.1, lowered.1), (early, 0.0, -early));
}

#[test]
fn an_interval_that_ends_far_above_the_start_is_rolled_back_though_it_began_well() {
    let mut controller = started();
    assert_eq!(after(&mut controller, 0.0, 0.9, 1.9), Decision::GoOn);
    assert_eq!(after(&mut controller, 0.0, 0.9, 2.1), Decision::RollBack);
    assert_eq!(controller.residual(), -GeneralistSpec::plain().roll_back_decades);
}

/// The snapshot itself may be bad: then going back to it for ever would end the training there.
#[test]
fn a_loss_that_lower_rates_do_not_help_is_trained_on() {
    let mut controller = started();
    let decisions: Vec<Decision> = (0..5).map(|_| after(&mut controller, 0.0, 3.0, 3.0)).collect();
    use Decision::{GoOn, RollBack};
    assert_eq!(decisions, [RollBack, RollBack, GoOn, RollBack, RollBack]);
    // Numbers that are not finite are never trained on.
    let mut controller = started();
    for _ in 0..5 {
        controller.act(0.0);
        let broken = Measurement { diverged: true, ..Measurement::default() };
        assert_eq!(controller.observe(&broken, &mut Vec::new()), RollBack);
    }
}
