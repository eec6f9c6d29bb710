//! From the description of a task to the task.

use super::data::examples;
use super::drawn::{DrawnTask, NetworkProblem, Problem};
use super::power_law::PowerLaw;
use super::real::RealData;
use crate::nn::model::ModelSpec;
use crate::task::data::{DatasetName, Objective, Splits};
use crate::task::{Supervised, SupervisedConfig, Task, TaskSource, TaskSpec};
use crate::{Error, Result};
use std::sync::Arc;

/// Learning rates of all drawn tasks: no schedule in its senses leaves them.
const LR_BOUNDS: (f64, f64) = (1e-9, 1e3);

/// A drawn task with its data, which all tasks made from it share.
///
/// ```
/// use lrpilot::task::{DistributionConfig, TaskDistribution, TaskSource};
/// let source = TaskDistribution::new(DistributionConfig::default(), None)?.source(4)?;
/// assert_eq!(source.drawn().steps() as u64, source.spec().steps());
/// assert_eq!(source.task(0)?.reset(7)?, source.task(1)?.reset(7)?, "its seed is that of an episode");
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DrawnSource {
    drawn: DrawnTask,
    splits: Option<Arc<Splits>>,
    spec: TaskSpec,
}

impl DrawnSource {
    pub(super) fn new(drawn: DrawnTask, splits: Option<Arc<Splits>>) -> Result<Self> {
        let spec = make(&drawn, splits.as_ref())?.spec().clone();
        Ok(DrawnSource { drawn, splits, spec })
    }

    /// The description.
    pub fn drawn(&self) -> &DrawnTask {
        &self.drawn
    }

    /// The examples, where it has any.
    pub fn splits(&self) -> Option<&Arc<Splits>> {
        self.splits.as_ref()
    }
}

impl TaskSource for DrawnSource {
    fn name(&self) -> &str {
        &self.drawn.name
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        make(&self.drawn, self.splits.as_ref())
    }

    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn identity(&self) -> serde_json::Value {
        serde_json::json!(self.drawn)
    }
}

/// The examples of a drawn task, where it has any.
pub(super) fn splits(drawn: &DrawnTask, real: &RealData) -> Result<Option<Arc<Splits>>> {
    match &drawn.problem {
        Problem::Network(problem) => Ok(Some(Arc::new(examples(problem, drawn.seed, real)?))),
        Problem::PowerLaw(_) => Ok(None),
    }
}

/// The task on its data.
pub(super) fn make(drawn: &DrawnTask, splits: Option<&Arc<Splits>>) -> Result<Box<dyn Task>> {
    let (horizon, interval_steps) = (drawn.horizon, drawn.interval_steps);
    Ok(match (&drawn.problem, splits) {
        (Problem::Network(problem), Some(splits)) => {
            let config = supervised(drawn, problem);
            let task = Supervised::new(Arc::new(config), Arc::clone(splits))?;
            Box::new(task.with_init_gains(problem.net.parameter_gains())?)
        }
        (Problem::PowerLaw(config), _) => {
            Box::new(PowerLaw::new(*config, &drawn.name, horizon, interval_steps, LR_BOUNDS)?)
        }
        (Problem::Network(_), None) => return Err(Error::Bug("a drawn network without data".into())),
    })
}

/// The configuration of a network on data that are in memory, where the name of a data set says nothing.
fn supervised(drawn: &DrawnTask, problem: &NetworkProblem) -> SupervisedConfig {
    SupervisedConfig {
        name: drawn.name.clone(),
        dataset: DatasetName::Digits,
        csv: None,
        objective: Objective::Classification,
        data: problem.split_config(drawn.seed),
        model: ModelSpec::Layers(problem.net.layer_specs(problem.outputs)),
        optimizer: problem.optimizer.clone(),
        batch_size: problem.batch_size,
        interval_steps: Some(drawn.interval_steps),
        horizon: drawn.horizon,
        lr_bounds: LR_BOUNDS,
    }
}
