//! Why a policy decided as it did: what each input did to the action, and the action as a function of one input.
//!
//! An input is measured against its *typical* value: the mean of the observations at hand, or whatever the caller gives.

use crate::{Error, Policy, Result};
use serde::{Deserialize, Serialize};

/// The mean of observations of equal length; empty without observations.
///
/// ```
/// use lrpilot_core::explain::typical;
/// assert_eq!(typical(&[[1.0, 0.0], [3.0, 0.5]]), [2.0, 0.25]);
/// ```
pub fn typical(observations: &[impl AsRef<[f32]>]) -> Vec<f32> {
    let n = observations.len() as f64;
    let inputs = observations.first().map_or(0, |o| o.as_ref().len());
    let mean = |i: usize| {
        let values = observations.iter().filter_map(|o| o.as_ref().get(i));
        (values.map(|v| f64::from(*v)).sum::<f64>() / n) as f32
    };
    (0..inputs).map(mean).collect()
}

/// What each input does to the action: the first output at `observation`, less the same with that input at its typical
/// value. An input that the network ignores, or that has its typical value, has influence 0.
///
/// ```
/// use lrpilot_core::Policy;
/// use lrpilot_core::explain::influences;
/// let policy = Policy::new(vec![2, 1], vec![2.0, -1.0, 0.5], None); // 2x − y + 1/2
/// assert_eq!(influences(&policy, &[3.0, 4.0], &[1.0, 4.0])?, [4.0, 0.0]);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if the network takes another number of inputs.
pub fn influences(policy: &Policy, observation: &[f32], typical: &[f32]) -> Result<Vec<f32>> {
    check_length(policy, "observation", observation)?;
    check_length(policy, "typical", typical)?;
    let mut act = Act::new(policy);
    let action = act.at(observation);
    let mut replaced = observation.to_vec();
    let influence = |i: usize| {
        replaced[i] = typical[i];
        let without = act.at(&replaced);
        replaced[i] = observation[i];
        action - without
    };
    Ok((0..observation.len()).map(influence).collect())
}

/// The action where input number `input` takes each of `values` and the others are typical: pairs (value, action).
///
/// ```
/// use lrpilot_core::Policy;
/// use lrpilot_core::explain::response;
/// let policy = Policy::new(vec![2, 1], vec![2.0, -1.0, 0.5], None); // 2x − y + 1/2
/// assert_eq!(response(&policy, &[1.0, 4.0], 0, &[0.0, 1.0])?, [(0.0, -3.5), (1.0, -1.5)]);
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if the network takes another number of inputs, or has no such input.
pub fn response(policy: &Policy, typical: &[f32], input: usize, values: &[f32]) -> Result<Vec<(f32, f32)>> {
    check_length(policy, "typical", typical)?;
    if input >= typical.len() {
        let message = format!("there is no input {input}: the network takes {}, counted from 0", typical.len());
        return Err(Error::config("input", message, "give a smaller number"));
    }
    let (mut act, mut at) = (Act::new(policy), typical.to_vec());
    let point = |value: &f32| {
        at[input] = *value;
        (*value, act.at(&at))
    };
    Ok(values.iter().map(point).collect())
}

fn check_length(policy: &Policy, name: &str, values: &[f32]) -> Result<()> {
    let (have, want) = (values.len(), policy.inputs());
    if have == want {
        return Ok(());
    }
    let message = format!("{have} numbers, but the network takes {want}");
    Err(Error::config(name, message, "give one number for each input of the policy"))
}

/// The first output of a network, which sets the learning rate.
struct Act {
    policy: Policy,
    outputs: Vec<f32>,
}

impl Act {
    fn new(policy: &Policy) -> Self {
        Act { policy: policy.clone(), outputs: vec![0.0; policy.outputs()] }
    }

    fn at(&mut self, observation: &[f32]) -> f32 {
        self.policy.act(observation, &mut self.outputs);
        self.outputs[0]
    }
}

/// One decision of a policy in a run: what it saw, and what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Decisions before this one.
    pub decision: usize,
    /// Share of the run that was done, in [0, 1].
    pub share: f64,
    /// Learning rate of the first step after it, > 0.
    pub lr: f64,
    /// The network's first output, not clipped.
    pub action: f32,
    /// What the action did, in decades: to the residual of a pretrained policy, otherwise to the learning rate.
    pub change: f64,
    /// The residual m after it, in decades; only pretrained policies have one.
    pub residual: Option<f64>,
    /// What the policy saw.
    pub observation: Vec<f32>,
}

impl Decided {
    /// The error where there is no decision to explain.
    pub(crate) fn missing() -> Error {
        let message = "there is no decision to explain: the schedule looks at nothing, or its state was just restored";
        Error::config("schedule", message, "explain a policy, after a measurement")
    }
}

/// What one input did to an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Influence {
    /// Name of the input.
    pub name: String,
    /// Its value.
    pub value: f32,
    /// Change of the action against the typical value, see [`influences`].
    pub influence: f32,
}

/// One decision with the influence of every input.
///
/// ```
/// use lrpilot_core::generalist::{FEATURES, Generalist, GeneralistSpec};
/// use lrpilot_core::schedule::Provenance;
/// use lrpilot_core::{Group, Measurement, OptimizerFamily, Policy, RunSpec};
/// // A network of one layer that answers to the share of the run that is done, the first input.
/// let mut params = vec![0.0; FEATURES.len() + 1];
/// params[0] = -0.5;
/// let network = Policy::new(vec![FEATURES.len(), 1], params, None);
/// let policy = Generalist::new(network, GeneralistSpec::plain(), Provenance::default())?;
/// let run = RunSpec::new(4, OptimizerFamily::Adam, vec![Group::new("w", 100)]);
/// let probe = Measurement { weight_norms: vec![1.0], ..Measurement::default() };
/// let mut running = policy.start(&run, &probe, None)?;
/// let _ = running.observe(&probe);
/// let explanation = running.explain(&[0.0; FEATURES.len()])?;
/// assert_eq!((explanation.decision, explanation.share, explanation.action), (1, 0.25, -0.125));
/// let first = &explanation.influences[0];
/// assert_eq!((first.name.as_str(), first.value, first.influence), ("share done", 0.25, -0.125));
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Decisions before this one.
    pub decision: usize,
    /// Share of the run that was done, in [0, 1].
    pub share: f64,
    /// Learning rate of the first step after it, > 0.
    pub lr: f64,
    /// The network's first output, not clipped.
    pub action: f32,
    /// What the action did, in decades: to the residual of a pretrained policy, otherwise to the learning rate.
    pub change: f64,
    /// The residual m after it, in decades; only pretrained policies have one.
    pub residual: Option<f64>,
    /// Every input, that of the largest |influence| first.
    pub influences: Vec<Influence>,
}

impl Explanation {
    /// Explain a decision of `policy`, whose inputs have these `names`.
    ///
    /// # Errors
    /// [`Error::Config`] if the observation, the typical one or the names do not fit the network.
    pub fn new(policy: &Policy, names: &[impl AsRef<str>], decided: &Decided, typical: &[f32]) -> Result<Self> {
        let sizes = influences(policy, &decided.observation, typical)?;
        if names.len() != sizes.len() {
            let message = format!("{} names for {} inputs", names.len(), sizes.len());
            return Err(Error::config("names", message, "give one for each input of the policy"));
        }
        let names = names.iter().map(|name| name.as_ref().to_owned());
        let inputs = names.zip(&decided.observation).zip(sizes);
        let mut influences: Vec<Influence> =
            inputs.map(|((name, value), influence)| Influence { name, value: *value, influence }).collect();
        influences.sort_by(|a, b| b.influence.abs().total_cmp(&a.influence.abs()));
        let Decided { decision, share, lr, action, change, residual, .. } = *decided;
        Ok(Explanation { decision, share, lr, action, change, residual, influences })
    }

    /// "lower", "hold" or "raise": what the action did, where less than 5 % is to hold.
    pub fn word(&self) -> &'static str {
        const SMALL: f64 = 0.02;
        match self.change {
            change if change < -SMALL => "lower",
            change if change > SMALL => "raise",
            _ => "hold",
        }
    }
}
