//! The policy file.
//!
//! # Format, version 2
//! A safetensors file with the tensors `policy.{i}.weight` `[out][in]` and `policy.{i}.bias` `[out]` (f32), for
//! i = 0, 1, …; tanh between layers. The metadata entry `lrpilot` is JSON: `format_version`, `spec` ([`PolicySpec`]: how
//! the policy sees and acts, and what follows divergence), `learned_on` ([`RunSpec`]: the run that it learned on),
//! `moments` (statistics of the observation, or null) and `provenance` (configuration, seeds, version, scores). Numbers
//! are little-endian, as safetensors fixes it.
//!
//! Version 1 had one `control` in place of `spec` and `learned_on`, and did not say what follows divergence. It is read
//! with the rule that was in force then: roll-back, unless the action is `linear`.
//!
//! # Format, version 3
//! A pretrained policy: the same tensors, and `format_version`, `generalist` ([`GeneralistSpec`]: anchor, base schedule,
//! residual, roll-back) and `provenance` as metadata.

use crate::control::{Action, Observation, OnDivergence};
use crate::generalist::{Generalist, GeneralistSpec};
use crate::schedule::learned::{Learned, Provenance};
use crate::{
    AnchorRule, Error, Group, HyperparameterRange, Policy, PolicySpec, Result, RunFacts, RunSpec, RunningMoments,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The version of a policy that was learned on a task.
pub const FORMAT_VERSION: u32 = 2;
/// The version of a pretrained policy.
pub const GENERALIST_VERSION: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Metadata {
    format_version: u32,
    spec: PolicySpec,
    learned_on: RunSpec,
    moments: Option<RunningMoments>,
    provenance: Provenance,
}

/// Read before anything else, so that a newer file is named as such.
#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

/// Version 1.
#[derive(Deserialize)]
struct OldMetadata {
    control: OldControl,
    moments: Option<RunningMoments>,
    provenance: Provenance,
}

#[derive(Deserialize)]
struct OldControl {
    observation: Observation,
    action: Action,
    lr_bounds: (f64, f64),
    horizon: usize,
    layers: usize,
    anchor: AnchorRule,
    initial_lr: Option<f64>,
    #[serde(default = "old_anchor_reach")]
    anchor_reach: f64,
    divergence_factor: f64,
    #[serde(default)]
    knobs: Vec<HyperparameterRange>,
}

fn old_anchor_reach() -> f64 {
    1.5
}

impl OldMetadata {
    fn renewed(self) -> Metadata {
        let OldMetadata { control: c, moments, provenance } = self;
        let on_divergence = match c.action {
            Action::Linear {} => OnDivergence::Terminate {},
            _ => OnDivergence::RollBack { factor: c.divergence_factor, reward: -0.2 },
        };
        let observed_groups = if c.observation == Observation::Paper { c.layers } else { 0 };
        // Sizes were not written; they only matter for the run at hand, which has its own.
        let groups = (0..c.layers).map(|i| Group::new(format!("layer {i}"), 1)).collect();
        Metadata {
            format_version: FORMAT_VERSION,
            spec: PolicySpec {
                observation: c.observation,
                action: c.action,
                hyperparameters: c.knobs,
                on_divergence,
                initial_lr: c.initial_lr,
                max_anchor_distance: c.anchor_reach,
                observed_groups,
            },
            learned_on: RunSpec {
                horizon: c.horizon,
                lr_bounds: c.lr_bounds,
                groups,
                anchor: c.anchor,
                facts: RunFacts::default(),
            },
            moments,
            provenance,
        }
    }
}

impl Learned {
    /// The file's content.
    ///
    /// # Errors
    /// [`Error::Bug`] if it cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let policy = self.policy();
        let metadata = Metadata {
            format_version: FORMAT_VERSION,
            spec: self.spec().clone(),
            learned_on: self.learned_on().clone(),
            moments: policy.moments.clone(),
            provenance: self.provenance().clone(),
        };
        write(policy, &metadata)
    }

    /// Read a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Data`] if it is not a policy, is newer than this program, or does not fit together.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let (version, json) = header(bytes, path)?;
        let metadata: Metadata = match version {
            1 => parsed::<OldMetadata>(&json, path)?.renewed(),
            FORMAT_VERSION => parsed(&json, path)?,
            GENERALIST_VERSION => {
                let remedy = "run it, or compare it in the suite; it needs no learning on a task";
                return Err(Error::data(path, "a pretrained policy, not one that was learned on a task", remedy));
            }
            newer => return Err(unknown_version(path, newer)),
        };
        let policy = network(bytes, metadata.moments, path)?;
        Learned::new(policy, metadata.spec, metadata.learned_on, metadata.provenance)
            .map_err(|e| bad(path, e.to_string()))
    }
}

fn bad(path: &Path, message: String) -> Error {
    Error::data(path, message, "use a policy file that lrpilot wrote")
}

fn unknown_version(path: &Path, version: u32) -> Error {
    let message = format!("format version {version} is not known here; the newest is {GENERALIST_VERSION}");
    Error::data(path, message, "update lrpilot")
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str, path: &Path) -> Result<T> {
    serde_json::from_str(json).map_err(|e| bad(path, format!("not a policy file ({e})")))
}

/// The version of a policy file, and its metadata as JSON.
pub(crate) fn header(bytes: &[u8], path: &Path) -> Result<(u32, String)> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(path, format!("not a policy file ({e})")))?;
    let json = header.metadata().as_ref().and_then(|m| m.get("lrpilot"));
    let json = json.ok_or_else(|| bad(path, "a safetensors file without lrpilot's metadata".into()))?;
    let VersionOnly { format_version } = parsed(json, path)?;
    Ok((format_version, json.clone()))
}

/// The network in a policy file.
fn network(bytes: &[u8], moments: Option<RunningMoments>, path: &Path) -> Result<Policy> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(path, format!("not a policy file ({e})")))?;
    read_network(&tensors, moments).map_err(|message| bad(path, message))
}

/// A policy file's content.
fn write(policy: &Policy, metadata: &impl Serialize) -> Result<Vec<u8>> {
    let bug = |e: &dyn std::fmt::Display| Error::Bug(format!("a policy cannot be written: {e}"));
    let json = serde_json::to_string(metadata).map_err(|e| bug(&e))?;
    let bytes: Vec<u8> = policy.params.iter().flat_map(|p| p.to_le_bytes()).collect();
    let mut tensors = Vec::new();
    let mut first = 0;
    for (i, pair) in policy.sizes.windows(2).enumerate() {
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

/// Metadata of a pretrained policy.
#[derive(Serialize, Deserialize)]
struct GeneralistMetadata {
    format_version: u32,
    generalist: GeneralistSpec,
    provenance: Provenance,
}

impl Generalist {
    /// The file's content.
    ///
    /// # Errors
    /// [`Error::Bug`] if it cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (generalist, provenance) = (self.spec().clone(), self.provenance().clone());
        write(self.policy(), &GeneralistMetadata { format_version: GENERALIST_VERSION, generalist, provenance })
    }

    /// Read a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Data`] if it is not a pretrained policy, is newer than this program, or does not fit together.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let (version, json) = header(bytes, path)?;
        match version {
            GENERALIST_VERSION => {}
            1 | FORMAT_VERSION => {
                return Err(bad(path, "a policy that was learned on a task, not a pretrained one".into()));
            }
            newer => return Err(unknown_version(path, newer)),
        }
        let metadata: GeneralistMetadata = parsed(&json, path)?;
        let policy = network(bytes, None, path)?;
        Generalist::new(policy, metadata.generalist, metadata.provenance).map_err(|e| bad(path, e.to_string()))
    }

    /// Read a policy file.
    ///
    /// # Errors
    /// [`Error::Io`], or as [`Generalist::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Generalist::from_bytes(&bytes, path)
    }

    /// Write the policy file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        crate::atomic::write_atomic(path, &self.to_bytes()?)
    }
}

/// The network, or what is wrong with it.
fn read_network(tensors: &SafeTensors<'_>, moments: Option<RunningMoments>) -> Result<Policy, String> {
    let (mut sizes, mut params) = (Vec::new(), Vec::new());
    for i in 0.. {
        let Ok(weight) = tensors.tensor(&format!("policy.{i}.weight")) else { break };
        let bias = tensors.tensor(&format!("policy.{i}.bias")).map_err(|e| format!("not a policy file ({e})"))?;
        let &[out, inputs] = weight.shape() else { return Err(format!("policy.{i}.weight is not a matrix")) };
        let chained = sizes.last().is_none_or(|last| *last == inputs);
        let f32s = weight.dtype() == Dtype::F32 && bias.dtype() == Dtype::F32;
        if !chained || !f32s || bias.shape() != [out] {
            return Err(format!("layer {i} does not fit the one before it"));
        }
        if out == 0 || inputs == 0 {
            return Err(format!("layer {i} has no units"));
        }
        if sizes.is_empty() {
            sizes.push(inputs);
        }
        sizes.push(out);
        for data in [weight.data(), bias.data()] {
            params.extend(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
    }
    if sizes.is_empty() {
        return Err("the network is empty".into());
    }
    Ok(Policy::new(sizes, params, moments))
}
