//! The frozen policy: one file, and a small runtime that turns measurements into learning rates.
//!
//! # File format, version 1
//! A safetensors file with the tensors `policy.{i}.weight` `[out][in]` and `policy.{i}.bias` `[out]` (f32), for
//! i = 0, 1, …; tanh between layers. The metadata entry `lrpilot` is JSON: `format_version`, `control` (observation,
//! action map, bounds, horizon, anchor rule), `moments` (statistics of the observation, or null) and `provenance`
//! (configuration, seeds, version, scores). Numbers are little-endian, as safetensors fixes it.
//!
//! No threads, no clock; files are read and written by [`Learned::load`] and [`Learned::save`] alone.

use crate::agent::{Policy, RunningMoments};
use crate::env::{Control, Controller, anchor_lr, start_lr};
use crate::task::{Knobs, Measurement};
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The version that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Where a policy comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of lrpilot that made it.
    pub version: String,
    /// Task it was trained on.
    pub task: String,
    /// Seed of the training.
    pub seed: u64,
    /// Training epochs spent, selection included.
    pub epochs: u64,
    /// The whole configuration as TOML.
    pub config: String,
    /// Mean final validation-B loss in selection, where there was one.
    pub selection_loss: Option<f64>,
}

/// A learned schedule, ready to run.
///
/// ```
/// use lrpilot::schedule::Learned;
/// # let bytes = lrpilot::schedule::learned::example_file();
/// let mut schedule = Learned::from_bytes(&bytes, "example".as_ref())?;
/// let probe = lrpilot::task::Measurement {
///     val_loss: 2.3, train_loss: 2.3, weight_norms: vec![1.0], grad_norms: vec![0.5], ..Default::default()
/// };
/// let mut lr = schedule.start(&probe, 100, None);
/// lr = schedule.observe(&lrpilot::task::Measurement { val_loss: 1.9, ..probe });
/// assert!(lr > 0.0 && lr.is_finite());
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Learned {
    policy: Policy,
    control: Control,
    provenance: Provenance,
    controller: Controller,
    observation: Vec<f32>,
    action: Vec<f32>,
    knobs: Knobs,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format_version: u32,
    control: Control,
    moments: Option<RunningMoments>,
    provenance: Provenance,
}

/// Read before anything else, so that a newer file is named as such.
#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

impl Learned {
    /// Freeze a policy.
    ///
    /// # Errors
    /// [`Error::Config`] if the policy's input does not fit the observation or the control is out of range.
    pub fn new(policy: Policy, control: Control, provenance: Provenance) -> Result<Self> {
        control.check()?;
        let (have, want) = (policy.sizes[0], control.observation_dim());
        if have != want {
            let message = format!("the policy takes {have} numbers, the observation has {want}");
            return Err(Error::config("policy", message, "use a policy learned with this observation"));
        }
        let (have, want) = (policy.sizes.last().copied().unwrap_or(0), control.action_dim());
        if have != want {
            let message = format!("the policy gives {have} numbers, the control takes {want}");
            return Err(Error::config("policy", message, "use a policy learned with these knobs"));
        }
        let controller = Controller::new(control.clone());
        let (action, knobs) = (vec![0.0; want], Knobs::lr(controller.lr()));
        Ok(Learned { policy, control, provenance, controller, observation: Vec::new(), action, knobs })
    }

    /// Begin a run of the control's horizon: look at the untrained network (loss and gradient of one batch, no update)
    /// and return the LR of the first interval.
    ///
    /// Without `initial_lr` the run starts from the control's, or if there is none from the anchor, and so it does if
    /// either is further from that than the control's `anchor_reach` or not a finite number > 0.
    pub fn start(&mut self, probe: &Measurement, parameters: usize, initial_lr: Option<f64>) -> f64 {
        let anchor = self.anchor(probe, parameters);
        let initial =
            initial_lr.or(self.control.initial_lr).map_or(anchor, |lr| start_lr(lr, anchor, self.control.anchor_reach));
        self.controller.start(probe, initial, anchor, &mut self.observation);
        self.decide()
    }

    fn anchor(&self, probe: &Measurement, parameters: usize) -> f64 {
        anchor_lr(self.control.anchor, probe, parameters, self.control.lr_bounds)
    }

    /// The anchor, if a run told to start from `initial_lr` would start from there instead.
    pub fn replacement(&self, probe: &Measurement, parameters: usize, initial_lr: f64) -> Option<f64> {
        let anchor = self.anchor(probe, parameters);
        (start_lr(initial_lr, anchor, self.control.anchor_reach) != initial_lr).then_some(anchor)
    }

    /// Take in the measurement of the finished interval and return the LR of the next one: always finite and within the
    /// bounds, whatever is measured.
    pub fn observe(&mut self, measurement: &Measurement) -> f64 {
        self.controller.observe(measurement, &mut self.observation);
        self.decide()
    }

    /// The interval diverged and was undone to the state measured by `measurement`: return a lower LR.
    pub fn roll_back(&mut self, measurement: &Measurement) -> f64 {
        self.controller.roll_back(measurement, &mut self.observation);
        self.decide()
    }

    fn decide(&mut self) -> f64 {
        // A network with another number of layers than the policy knows must not stop a training run.
        self.observation.resize(self.policy.sizes[0], 0.0);
        self.policy.act(&self.observation, &mut self.action);
        self.knobs = self.controller.act(&self.action);
        self.knobs.lr
    }

    /// The learning rate decided on last, and momentum and weight decay where the policy sets them.
    pub fn knobs(&self) -> Knobs {
        self.knobs
    }

    /// Plan for another number of intervals than the policy was trained on.
    pub fn with_horizon(mut self, horizon: usize) -> Self {
        self.control.horizon = horizon.max(1);
        self.controller = Controller::new(self.control.clone());
        self
    }

    /// Whether the policy can see a network with `layers` layers as it saw those it learned on; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Data`] for a policy whose observation has one entry per layer of another number of layers.
    pub fn check_layers(&self, layers: usize, path: &Path) -> Result<()> {
        let (have, want) = (self.control.observation.dim(layers), self.control.observation_dim());
        if have == want {
            return Ok(());
        }
        let message = format!(
            "the policy was learned on {} layers and observes each of them; this task has {layers}",
            self.control.layers
        );
        Err(Error::data(path, message, "learn a policy on this task, or use one with observation = \"rich\""))
    }

    /// Note in the provenance how well the policy did in selection.
    pub fn set_selection_loss(&mut self, loss: f64) {
        self.provenance.selection_loss = Some(loss);
    }

    /// How the policy sees and acts.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where the policy comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The network.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The file's content.
    ///
    /// # Errors
    /// [`Error::Bug`] if it cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let metadata = Metadata {
            format_version: FORMAT_VERSION,
            control: self.control.clone(),
            moments: self.policy.moments.clone(),
            provenance: self.provenance.clone(),
        };
        let bug = |e: &dyn std::fmt::Display| Error::Bug(format!("a policy cannot be written: {e}"));
        let json = serde_json::to_string(&metadata).map_err(|e| bug(&e))?;
        let bytes: Vec<u8> = self.policy.params.iter().flat_map(|p| p.to_le_bytes()).collect();
        let mut tensors = Vec::new();
        let mut first = 0;
        for (i, pair) in self.policy.sizes.windows(2).enumerate() {
            for (name, shape) in [("weight", vec![pair[1], pair[0]]), ("bias", vec![pair[1]])] {
                let end = first + 4 * shape.iter().product::<usize>();
                let view = TensorView::new(Dtype::F32, shape, &bytes[first..end]).map_err(|e| bug(&e))?;
                tensors.push((format!("policy.{i}.{name}"), view));
                first = end;
            }
        }
        let metadata = HashMap::from([("lrpilot".to_string(), json)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|e| bug(&e))
    }

    /// Read a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Data`] if it is not a policy, is newer than this program, or does not fit together.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let bad = |message: String| Error::data(path, message, "use a policy file that lrpilot wrote");
        let broken = |e: &dyn std::fmt::Display| bad(format!("not a policy file ({e})"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
        let json = header.metadata().as_ref().and_then(|m| m.get("lrpilot"));
        let json = json.ok_or_else(|| bad("a safetensors file without lrpilot's metadata".into()))?;
        let VersionOnly { format_version } = serde_json::from_str(json).map_err(|e| broken(&e))?;
        if format_version > FORMAT_VERSION {
            let message =
                format!("format version {format_version} is newer than {FORMAT_VERSION}, the newest known here");
            return Err(Error::data(path, message, "update lrpilot"));
        }
        let metadata: Metadata = serde_json::from_str(json).map_err(|e| broken(&e))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(&e))?;
        let (mut sizes, mut params) = (Vec::new(), Vec::new());
        for i in 0.. {
            let Ok(weight) = tensors.tensor(&format!("policy.{i}.weight")) else { break };
            let bias = tensors.tensor(&format!("policy.{i}.bias")).map_err(|e| broken(&e))?;
            let &[out, inputs] = weight.shape() else { return Err(bad(format!("policy.{i}.weight is not a matrix"))) };
            let chained = sizes.last().is_none_or(|last| *last == inputs);
            let f32s = weight.dtype() == Dtype::F32 && bias.dtype() == Dtype::F32;
            if !chained || !f32s || bias.shape() != [out] {
                return Err(bad(format!("layer {i} does not fit the one before it")));
            }
            if sizes.is_empty() {
                sizes.push(inputs);
            }
            sizes.push(out);
            for data in [weight.data(), bias.data()] {
                params.extend(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
        }
        if sizes.is_empty() || params.iter().any(|p| !p.is_finite()) {
            return Err(bad("the network is empty or not finite".into()));
        }
        Learned::new(Policy::new(sizes, params, metadata.moments), metadata.control, metadata.provenance)
            .map_err(|e| bad(e.to_string()))
    }

    /// Read a policy file.
    ///
    /// # Errors
    /// [`Error::Io`], or as [`Learned::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Learned::from_bytes(&bytes, path)
    }

    /// Write the policy file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        crate::store::atomic::write_atomic(path, &self.to_bytes()?)
    }
}

fn example_control() -> Control {
    Control {
        observation: crate::env::Observation::StateBlind,
        action: crate::env::Action::Multiplicative { step: 0.5 },
        lr_bounds: (1e-6, 1.0),
        horizon: 10,
        layers: 1,
        anchor: crate::task::AnchorRule::WeightOverGradient(1e-2),
        initial_lr: None,
        anchor_reach: 0.5,
        divergence_factor: 0.1,
        knobs: Vec::new(),
    }
}

/// A tiny policy file for examples and tests: always a small step down.
pub fn example_file() -> Vec<u8> {
    let control = example_control();
    let policy = Policy::new(vec![3, 1], vec![0.0, 0.0, 0.0, -0.2], None);
    Learned::new(policy, control, Provenance::default()).and_then(|l| l.to_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(loss: f64) -> Measurement {
        Measurement {
            val_loss: loss,
            train_loss: loss,
            weight_norms: vec![1.0],
            grad_norms: vec![0.5],
            ..Measurement::default()
        }
    }

    #[test]
    fn a_loaded_policy_gives_the_same_bits() {
        let bytes = example_file();
        let mut a = Learned::from_bytes(&bytes, Path::new("a")).unwrap();
        let mut b = Learned::from_bytes(&a.to_bytes().unwrap(), Path::new("b")).unwrap();
        assert_eq!(a.start(&probe(2.3), 10, None).to_bits(), b.start(&probe(2.3), 10, None).to_bits());
        for t in 1..10 {
            let m = probe(2.3 / f64::from(t));
            assert_eq!(a.observe(&m).to_bits(), b.observe(&m).to_bits());
        }
    }

    #[test]
    fn a_start_out_of_reach_is_replaced_by_the_anchor() {
        let mut schedule = Learned::from_bytes(&example_file(), Path::new("a")).unwrap();
        // The anchor is 1e-2 · ‖w‖/‖g‖ = 0.02, the reach half a decade.
        let mut start = |lr| schedule.start(&probe(2.3), 10, lr);
        let from_anchor = start(None);
        assert_eq!([0.2, 0.0063, 0.0064].map(|lr| start(Some(lr)) == from_anchor), [true, true, false]);
        let told = start(Some(0.01));
        let control = Control { initial_lr: Some(0.01), ..example_control() };
        let mut fixed = Learned::new(schedule.policy().clone(), control, Provenance::default()).unwrap();
        assert_eq!(fixed.start(&probe(2.3), 10, None), told, "its own first LR");
        let replaced = [0.0063, 0.0064].map(|lr| schedule.replacement(&probe(2.3), 10, lr).is_some());
        assert_eq!(replaced, [true, false]);
        let mut written = serde_json::to_value(example_control()).unwrap();
        written.as_object_mut().unwrap().remove("anchor_reach").unwrap();
        assert_eq!(serde_json::from_value::<Control>(written).unwrap().anchor_reach, 1.5, "as it was before");
    }

    #[test]
    fn the_lr_stays_in_bounds_whatever_is_measured() {
        let mut schedule = Learned::from_bytes(&example_file(), Path::new("a")).unwrap();
        for loss in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
            let mut lrs = vec![schedule.start(&probe(loss), 0, Some(loss))];
            lrs.extend((0..30).map(|_| schedule.observe(&probe(loss))));
            lrs.push(schedule.roll_back(&probe(loss)));
            assert!(lrs.iter().all(|lr| (1e-6..=1.0).contains(lr)), "{loss}: {lrs:?}");
        }
    }

    #[test]
    fn a_policy_for_other_layers_is_refused_and_harms_no_run() {
        let control = Control { observation: crate::env::Observation::Paper, layers: 2, ..example_control() };
        let policy = Policy::new(vec![4, 1], vec![0.1; 5], None);
        let mut schedule = Learned::new(policy, control, Provenance::default()).unwrap();
        assert!(schedule.check_layers(2, Path::new("p")).is_ok());
        let error = schedule.check_layers(3, Path::new("p")).unwrap_err();
        assert!(error.exit_code() == 65 && error.to_string().contains("2 layers"), "{error}");
        let many = Measurement { grad_norms: vec![1.0; 7], ..probe(2.3) };
        assert!((1e-6..=1.0).contains(&schedule.start(&many, 10, None)));
        assert!((1e-6..=1.0).contains(&schedule.observe(&many)));
    }

    #[test]
    fn a_newer_or_damaged_file_is_refused_in_words() {
        let good = Learned::from_bytes(&example_file(), Path::new("a")).unwrap().to_bytes().unwrap();
        let text = String::from_utf8_lossy(&good).into_owned();
        assert!(text.contains("\\\"format_version\\\":1"));
        let position = text.find("\\\"format_version\\\":1").unwrap() + "\\\"format_version\\\":".len();
        let mut newer = good.clone();
        newer[position] = b'7';
        let error = Learned::from_bytes(&newer, Path::new("p")).unwrap_err();
        assert!(error.to_string().contains("format version 7 is newer"), "{error}");
        for end in 0..good.len() {
            assert!(Learned::from_bytes(&good[..end], Path::new("p")).is_err(), "cut at {end}");
        }
    }
}
