//! The policy file: what is stored is read, and what is out of range is refused.

use crate::controller::{run, spec};
use lrpilot_core::control::{Action, Observation, OnDivergence};
use lrpilot_core::schedule::Provenance;
use lrpilot_core::{
    AnchorRule, HyperparameterName, HyperparameterRange, Learned, Policy, PolicySpec, RunSpec, RunningMoments,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Name, shape and bytes.
type Tensor = (String, Vec<usize>, Vec<u8>);

fn learned() -> Learned {
    let sizes = vec![25, 2, 2];
    let params = (0..Policy::param_count(&sizes)).map(|i| i as f32 * 0.01).collect();
    let network = Policy::new(sizes, params, Some(RunningMoments::new(25)));
    let momentum = HyperparameterRange { name: HyperparameterName::Momentum, min: 0.5, max: 0.99 };
    let spec = PolicySpec {
        hyperparameters: vec![momentum],
        initial_lr: Some(0.03),
        ..spec(Action::Multiplicative { step: 0.5 })
    };
    Learned::new(network, spec, run(9), Provenance { seed: 3, ..Provenance::default() }).unwrap()
}

fn read(bytes: &[u8]) -> Result<Learned, String> {
    Learned::from_bytes(bytes, Path::new("p.safetensors")).map_err(|e| e.to_string())
}

/// The file with other metadata and other tensors.
fn changed(metadata: impl Fn(&mut Value), tensors: impl Fn(&mut Vec<Tensor>)) -> Vec<u8> {
    let bytes = learned().to_bytes().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut json: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["lrpilot"]).unwrap();
    metadata(&mut json);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> =
        file.iter().map(|(name, t)| (name.to_owned(), t.shape().to_vec(), t.data().to_vec())).collect();
    tensors(&mut all);
    let views = all.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    serialize(views, Some(HashMap::from([("lrpilot".to_owned(), json.to_string())]))).unwrap()
}

fn with(pointer: &str, value: Value) -> Vec<u8> {
    changed(|json| *json.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone(), |_| ())
}

#[test]
fn everything_is_stored() {
    let learned = learned();
    assert_eq!(read(&learned.to_bytes().unwrap()).unwrap(), learned);
    assert_eq!(read(&changed(|_| (), |_| ())).unwrap(), learned, "the file put together by hand is the same");
    for on_divergence in [OnDivergence::Terminate {}, OnDivergence::RollBack { factor: 0.25, reward: -3.0 }] {
        // Also where version 1 would have inferred the opposite from the action.
        for action in [Action::Linear {}, Action::Log {}] {
            let spec = PolicySpec { on_divergence, ..spec(action) };
            let policy = Policy::new(vec![25, 1], vec![0.0; 26], None);
            let learned = Learned::new(policy, spec, run(9), Provenance::default()).unwrap();
            let copy = read(&learned.to_bytes().unwrap()).unwrap();
            assert_eq!((copy.spec().on_divergence, &copy), (on_divergence, &learned));
        }
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let huge = json!(1e300);
    let cases = [
        ("/moments/mean", json!([0.0]), "another length"),
        ("/moments/variance", json!(vec![1.0; 26]), "another length"),
        ("/moments/variance/3", json!(-1.0), "a variance is negative"),
        ("/learned_on/horizon", json!(0), "horizon: 0"),
        ("/learned_on/lr_bounds", json!([1.0, 1e-6]), "[1, 0.000001] is not a range of learning rates"),
        ("/learned_on/lr_bounds", json!([0.0, 1.0]), "[0, 1] is not a range"),
        ("/learned_on/anchor", json!({ "weight-rms": 0.0 }), "anchor: 0"),
        ("/spec/on_divergence/factor", json!(1.0), "env.on_divergence.factor: 1 "),
        ("/spec/on_divergence/factor", json!(0.0), "env.on_divergence.factor: 0 "),
        ("/spec/on_divergence/reward", json!(0.1), "env.on_divergence.reward: 0.1"),
        ("/spec/max_anchor_distance", json!(-0.5), "max_anchor_distance: -0.5"),
        ("/spec/initial_lr", json!(0.0), "initial_lr: 0"),
        ("/spec/action/step", json!(-1.0), "env.action.step: -1"),
        ("/spec/hyperparameters/0/max", json!(0.4), "[0.5, 0.4] is not a range"),
        ("/spec/hyperparameters/0/max", huge, "env.hyperparameters.momentum.max"),
        ("/spec/hyperparameters", json!([]), "the network gives 2 numbers, not 1"),
        ("/spec/observation", json!("state-blind"), "the network takes 25 numbers, not 3"),
        ("/format_version", json!(3), "a pretrained policy, not one that was learned on a task"),
        ("/format_version", json!(4), "format version 4 is not known here; the newest is 3"),
        ("/format_version", json!(1), "not a policy file"),
        ("/spec", json!(null), "not a policy file"),
    ];
    for (pointer, value, words) in cases {
        let error = read(&with(pointer, value.clone())).unwrap_err();
        assert!(error.contains("p.safetensors") && error.contains(words), "{pointer} = {value}: {error}");
    }
}

#[test]
fn networks_that_cannot_be_evaluated_are_refused() {
    let named = |all: &mut Vec<Tensor>, name: &str, f: &dyn Fn(&mut Tensor)| {
        f(all.iter_mut().find(|t| t.0 == name).unwrap());
    };
    let error = |tensors: &dyn Fn(&mut Vec<Tensor>)| read(&changed(|_| (), tensors)).unwrap_err();
    for bad in [f32::NAN, f32::INFINITY] {
        let set = |t: &mut Tensor| t.2[..4].copy_from_slice(&bad.to_le_bytes());
        let error = error(&|all| named(all, "policy.1.bias", &set));
        assert!(error.contains("a weight is not finite"), "{error}");
    }
    // A layer of width 0: its tensors are empty.
    let narrow = error(&|all| {
        named(all, "policy.0.weight", &|t| (t.1, t.2) = (vec![0, 25], Vec::new()));
        named(all, "policy.0.bias", &|t| (t.1, t.2) = (vec![0], Vec::new()));
        named(all, "policy.1.weight", &|t| (t.1, t.2) = (vec![2, 0], Vec::new()));
    });
    assert!(narrow.contains("layer 0 has no units"), "{narrow}");
    let unchained = error(&|all| named(all, "policy.1.weight", &|t| (t.1, t.2) = (vec![2, 3], vec![0; 24])));
    assert!(unchained.contains("layer 1 does not fit"), "{unchained}");
    let flat = error(&|all| named(all, "policy.0.weight", &|t| t.1 = vec![50]));
    assert!(flat.contains("policy.0.weight is not a matrix"), "{flat}");
    let empty = error(&|all| all.clear());
    assert!(empty.contains("the network is empty"), "{empty}");
    let headless = error(&|all| all.retain(|t| t.0 != "policy.0.bias"));
    assert!(headless.contains("not a policy file"), "{headless}");
}

/// The smallest version-1 file: what follows divergence was inferred from the action, and two keys had defaults.
#[test]
fn version_1_infers_what_follows_divergence() {
    let old = |action: Value, observation: &str| {
        let control = json!({
            "observation": observation, "action": action, "lr_bounds": [1e-5, 0.5], "horizon": 7, "layers": 23,
            "anchor": { "weight-rms": 0.01 }, "initial_lr": 0.02, "divergence_factor": 0.3,
            "knobs": [{ "knob": "momentum", "min": 0.5, "max": 0.9 }],
        });
        let metadata = json!({
            "format_version": 1, "control": control, "moments": null,
            "provenance": learned().provenance(),
        });
        read(&changed(|json| *json = metadata.clone(), |_| ())).unwrap()
    };
    let rolls = old(json!({ "type": "multiplicative", "step": 0.5 }), "rich");
    assert_eq!(rolls.spec().on_divergence, OnDivergence::RollBack { factor: 0.3, reward: -0.2 });
    assert_eq!((rolls.spec().max_anchor_distance, rolls.spec().initial_lr), (1.5, Some(0.02)));
    let momentum = HyperparameterRange { name: HyperparameterName::Momentum, min: 0.5, max: 0.9 };
    assert_eq!((&rolls.spec().hyperparameters[..], rolls.spec().observed_groups), (&[momentum][..], 0));
    let RunSpec { horizon, lr_bounds, groups, anchor, .. } = rolls.learned_on();
    assert_eq!((*horizon, *lr_bounds, groups.len(), *anchor), (7, (1e-5, 0.5), 23, AnchorRule::WeightRms(0.01)));

    let paper = old(json!({ "type": "linear" }), "paper");
    assert_eq!(paper.spec().on_divergence, OnDivergence::Terminate {});
    assert_eq!((paper.spec().observation, paper.spec().observed_groups), (Observation::Paper, 23));
}
