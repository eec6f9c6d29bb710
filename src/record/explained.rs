//! Why a policy decided as it did in a few training runs.

use lrpilot_core::explain::Explanation;
use serde::{Deserialize, Serialize};

/// A policy on a task, explained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Name of the task.
    pub task: String,
    /// Runs in the order of the seeds that were asked for.
    pub runs: Vec<ExplainedRun>,
    /// Every input, that of the largest influence first.
    pub inputs: Vec<Response>,
}

/// One training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRun {
    /// Seed of initial weights and batch order.
    pub seed: u64,
    /// Decisions in their order.
    pub decisions: Vec<ExplainedDecision>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedDecision {
    /// What was done, and what each input did to it.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// Return that the value network expects from there on, where there is such a network.
    pub value: Option<f32>,
}

/// How a policy answers to one input: the action as a function of it, with the others at their mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Name of the input.
    pub name: String,
    /// Mean of |influence| over the decisions.
    pub influence: f32,
    /// Mean over the decisions.
    pub typical: f32,
    /// (input, action) with the input increasing over the range that was seen; none for an input that never changed.
    pub curve: Vec<(f32, f32)>,
    /// Where the input was at the decisions: increasing, each value once, 200 of them at most.
    pub seen: Vec<f32>,
}
