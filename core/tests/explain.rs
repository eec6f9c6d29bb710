//! Influences and responses against what they are by definition, for networks in which that can be written down.

use lrpilot_core::control::{Action, Observation, OnDivergence};
use lrpilot_core::explain::{Decided, Explanation, influences, response, typical};
use lrpilot_core::generalist::{FEATURES, Generalist, GeneralistSpec};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{
    Decision, Error, Group, Learned, Measurement, OptimizerFamily, Policy, PolicySpec, RunSpec, RunningMoments,
    Schedule,
};
use proptest::prelude::*;

/// Quarters, whose sums and products are exact in f32.
fn quarters(n: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40i32..40).prop_map(|q| q as f32 / 4.0), n)
}

/// A network with a hidden layer, whose input number 1 has no weight.
fn ignoring() -> Policy {
    let sizes = vec![3, 4, 1];
    let mut params: Vec<f32> = (0..Policy::param_count(&sizes)).map(|i| (i as f32 * 0.7).sin()).collect();
    (0..4).for_each(|unit| params[3 * unit + 1] = 0.0);
    Policy::new(sizes, params, None)
}

proptest! {
    /// w·x + b: the influence of an input is its weight times its distance from typical, and nothing else.
    #[test]
    fn of_a_linear_network_it_is_weight_times_distance(params in quarters(6), x in quarters(5), usual in quarters(5)) {
        let policy = Policy::new(vec![5, 1], params.clone(), None);
        let expected: Vec<f32> = (0..5).map(|i| params[i] * (x[i] - usual[i])).collect();
        prop_assert_eq!(influences(&policy, &x, &usual).unwrap(), expected);
    }

    /// Inputs are normalised before they meet the weights: the distance counts in standard deviations.
    #[test]
    fn statistics_of_the_observation_count(weight in -4.0f32..4.0, x in -3.0f32..3.0, sd in 0.5f64..4.0) {
        let moments = RunningMoments { mean: vec![1.0], variance: vec![sd * sd], count: 10.0 };
        let policy = Policy::new(vec![1, 1], vec![weight, 0.5], Some(moments));
        let influence = influences(&policy, &[x], &[1.0]).unwrap()[0];
        prop_assert!((f64::from(influence) - f64::from(weight) * (f64::from(x) - 1.0) / sd).abs() < 1e-4);
    }

    #[test]
    fn an_input_that_is_ignored_or_typical_has_none(x in quarters(3), usual in quarters(3)) {
        let mut usual = usual;
        usual[2] = x[2];
        let all = influences(&ignoring(), &x, &usual).unwrap();
        prop_assert_eq!((all[1], all[2]), (0.0, 0.0));
    }

    /// Around the observation itself, the response at what was seen is the action itself, to the bit.
    #[test]
    fn the_response_at_the_observation_is_the_action(x in quarters(3), input in 0usize..3) {
        let mut action = [0.0];
        ignoring().act(&x, &mut action);
        prop_assert_eq!(response(&ignoring(), &x, input, &[x[input]]).unwrap(), [(x[input], action[0])]);
    }
}

#[test]
fn typical_is_the_mean_and_exact_where_nothing_changes() {
    let constant = 0.1f32;
    let observations: Vec<[f32; 2]> = (0..999).map(|i| [constant, i as f32]).collect();
    assert_eq!(typical(&observations), [constant, 499.0]);
    assert!(typical(&[[0.0; 2]; 0]).is_empty());
}

#[test]
fn what_does_not_fit_is_named() {
    let says = |error: Error, words: &[&str]| {
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    says(influences(&ignoring(), &[0.0; 2], &[0.0; 3]).unwrap_err(), &["observation", "2 numbers", "takes 3"]);
    says(influences(&ignoring(), &[0.0; 3], &[]).unwrap_err(), &["typical", "0 numbers", "takes 3"]);
    says(response(&ignoring(), &[0.0; 3], 3, &[]).unwrap_err(), &["no input 3", "smaller"]);
    let (observation, residual) = (vec![0.0; 3], None);
    let decided = Decided { decision: 0, share: 0.0, lr: 0.1, action: 0.0, change: 0.0, residual, observation };
    says(Explanation::new(&ignoring(), &["a"], &decided, &[0.0; 3]).unwrap_err(), &["1 names", "3 inputs"]);
}

fn generalist() -> Schedule {
    let sizes = vec![FEATURES.len(), 8, 1];
    let params = (0..Policy::param_count(&sizes)).map(|i| ((i as f32 * 0.37).sin()) * 0.6).collect();
    let policy = Generalist::new(Policy::new(sizes, params, None), GeneralistSpec::plain(), Provenance::default());
    Schedule::generalist(policy.unwrap())
}

fn specialist(run: &RunSpec) -> Schedule {
    let params: Vec<f32> = (0..26).map(|i| ((i as f32 * 0.37).sin()) * 0.1).collect();
    let spec = PolicySpec {
        observation: Observation::Rich,
        action: Action::Multiplicative { step: 0.5 },
        hyperparameters: Vec::new(),
        on_divergence: OnDivergence::RollBack { factor: 0.1, reward: -0.2 },
        initial_lr: None,
        max_anchor_distance: 0.5,
        observed_groups: 0,
    };
    let policy = Learned::new(Policy::new(vec![25, 1], params, None), spec, run.clone(), Provenance::default());
    Schedule::learned(policy.unwrap())
}

fn measurement(i: usize) -> Measurement {
    let loss = 2.0 / (1.0 + i as f64);
    Measurement {
        train_loss: Some(loss),
        val_loss: Some(1.1 * loss),
        grad_norms: vec![loss],
        weight_norms: vec![1.0 + loss],
        update_norms: vec![0.01],
        diverged: i == 3,
        ..Measurement::default()
    }
}

/// What a running policy says of its decisions agrees with what it did: rates, changes, and the sum over one input.
#[test]
fn a_running_policy_explains_what_it_did() {
    let run = RunSpec::new(6, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 10)]);
    for schedule in [generalist(), specialist(&run)] {
        // A guard's own factor on the rate is no decision of the policy.
        let mut running = schedule.start(&run, &measurement(0)).unwrap().without_guard();
        let inputs = running.decided().unwrap().observation.len();
        let usual = vec![0.25; inputs];
        // What each action began from: residual or log10 LR.
        let level = |d: &Decided| d.residual.unwrap_or(d.lr.log10());
        let (mut last, mut words) = (None, Vec::new());
        for i in 1..=6 {
            let decided = running.decided().unwrap();
            let explanation = running.explain(&usual).unwrap();
            assert_eq!((explanation.decision, explanation.lr), (i - 1, running.lr_at(0)));
            assert!((explanation.share - (i - 1) as f64 / 6.0).abs() < 1e-12);
            assert_eq!(explanation.influences.len(), inputs);
            let sizes: Vec<f32> = explanation.influences.iter().map(|i| i.influence.abs()).collect();
            assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] > 0.0, "{sizes:?}");
            if let Some((before, Decision::GoOn)) = last {
                let moved: f64 = level(&decided) - before;
                assert!((moved - decided.change).abs() < 1e-9, "{moved} {}", decided.change);
            }
            words.push(explanation.word());
            last = Some((level(&decided), running.observe(&measurement(i))));
        }
        assert!(words.iter().any(|w| *w != "hold"), "{words:?}");
    }
}

/// A restored state does not hold what was seen, and other schedules see nothing: both say so until there is something.
#[test]
fn nothing_is_explained_that_was_not_seen() {
    let run = RunSpec::new(6, OptimizerFamily::Sgd { momentum: 0.0 }, vec![Group::new("w", 10)]);
    for schedule in [generalist(), specialist(&run)] {
        let mut running = schedule.start(&run, &measurement(0)).unwrap();
        let _ = running.observe(&measurement(1));
        let mut restored = schedule.start(&run, &measurement(0)).unwrap();
        restored.set_state(running.state()).unwrap();
        assert_eq!(restored.decided(), None);
        assert!(restored.explain(&[]).unwrap_err().to_string().contains("explain a policy, after a measurement"));
        let _ = (running.observe(&measurement(2)), restored.observe(&measurement(2)));
        assert_eq!(restored.decided(), running.decided());
    }
    let cosine = Schedule::cosine(0.1, 6).start(&run, &measurement(0)).unwrap();
    assert!(cosine.decided().is_none() && cosine.explain(&[]).is_err());
}
