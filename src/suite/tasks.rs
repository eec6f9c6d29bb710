//! The tasks of a suite as a file describes them, and their data.

use crate::nn::OptimizerSpec;
use crate::store::identity::job_id;
use crate::suite::rescaled::{Rescale, Rescaled};
use crate::task::{ConfiguredTask, Task, TaskConfig, TaskSource, TaskSpec};
use crate::{Error, Result, settings};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when the same task and method give other losses than before.
const RESULTS_VERSION: u32 = 1;

/// A list of tasks on which methods are measured.
///
/// ```
/// use lrpilot::suite::Suite;
/// let sealed = Suite::sealed()?;
/// assert_eq!((sealed.tasks.len(), sealed.tasks[0].steps()), (26, 1_250));
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name for people.
    pub name: String,
    /// Seed from which those of tuning and of the fresh runs follow.
    pub seed: u64,
    /// Where to get the tables that the tasks name, for people who do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<String>,
    /// The tasks, with numbers of their own.
    pub tasks: Vec<SuiteTask>,
}

/// A task of a suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteTask {
    /// Number by which people name it, ≥ 1.
    pub number: usize,
    /// What it tests, in a few words.
    pub regime: String,
    /// Kinds of optimizer, layer or loss that no training of a pretrained policy has seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// Whether its data are among those that policies are pretrained on, in another form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub near: bool,
    /// Other units; see [`Rescaled`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescale: Option<Rescale>,
    /// The task itself; its intervals are for schedules that decide once an interval.
    pub task: TaskConfig,
}

impl Suite {
    /// The sealed suite: 26 tasks that no policy is trained or selected on.
    ///
    /// # Errors
    /// [`Error::Config`] only if the program's own file is wrong.
    pub fn sealed() -> Result<Self> {
        Suite::parse(include_str!("../../assets/suite/suite.toml"), "assets/suite/suite.toml")
    }

    /// Read a suite from the text of the file `place`.
    ///
    /// # Errors
    /// [`Error::Config`] naming place, value and remedy.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let suite: Suite = settings::from_table_and_text(settings::parse(text, place)?, place, text)?;
        for (i, task) in suite.tasks.iter().enumerate() {
            let number = task.number;
            if number == 0 || suite.tasks[..i].iter().any(|other| other.number == number) {
                let message = format!("{number} is no number of its own for the task `{}`", task.task.name());
                return Err(Error::config(place, message, "number the tasks from 1 on, each once"));
            }
            let named = |e: Error| match e {
                Error::Config { place: key, message, remedy } => {
                    Error::config(format!("{place}, task {number}, {key}"), message, remedy)
                }
                other => other,
            };
            task.task.check().map_err(named)?;
            task.rescale.map_or(Ok(()), Rescale::check).map_err(named)?;
        }
        Ok(suite)
    }

    /// The same suite with the tasks called `numbers` alone, in the suite's order.
    ///
    /// # Errors
    /// [`Error::Usage`] for a number that no task has.
    pub fn only(mut self, numbers: &[usize]) -> Result<Self> {
        if let Some(unknown) = numbers.iter().find(|n| self.tasks.iter().all(|task| task.number != **n)) {
            let known: Vec<String> = self.tasks.iter().map(|task| task.number.to_string()).collect();
            let message = format!("the suite has no task {unknown}");
            return Err(Error::usage(message, format!("its tasks are {}", known.join(", "))));
        }
        self.tasks.retain(|task| numbers.contains(&task.number));
        Ok(self)
    }
}

impl SuiteTask {
    /// Optimizer steps in a run, T, where the file says how many steps an interval has; otherwise its intervals.
    pub fn steps(&self) -> u64 {
        let interval = match &self.task {
            TaskConfig::Supervised(c) => c.interval_steps.unwrap_or_else(|| c.steps_per_epoch()),
            TaskConfig::NoisyQuadratic(c) => c.interval_steps,
            TaskConfig::External(_) => 1,
        };
        (self.task.horizon() * interval) as u64
    }
}

/// A task of a suite with its data in memory.
pub struct LoadedTask {
    /// Its description.
    pub task: SuiteTask,
    source: ConfiguredTask,
    spec: TaskSpec,
}

impl LoadedTask {
    /// Load the data from below `data_root`, where the task needs any.
    ///
    /// # Errors
    /// As [`ConfiguredTask::new`]; [`Error::Config`] for a task that cannot be rescaled.
    pub fn new(task: &SuiteTask, data_root: &Path) -> Result<Self> {
        let source = ConfiguredTask::new(&task.task, Some(data_root))?;
        let spec = rescaled(task, source.task(0)?)?.spec().clone();
        Ok(LoadedTask { task: task.clone(), source, spec })
    }

    /// Facts of the task, in its own units.
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// A task to be trained, perhaps with another optimizer.
    ///
    /// # Errors
    /// [`Error::Config`] if the task has no optimizer to be replaced, or its units are of SGD.
    pub fn start(&self, optimizer: Option<&OptimizerSpec>) -> Result<Box<dyn Task>> {
        let Some(optimizer) = optimizer else { return rescaled(&self.task, self.source.task(0)?) };
        let Some((config, _)) = self.source.supervised() else {
            let message = format!("the task `{}` has no optimizer that could be replaced", self.spec.name);
            return Err(Error::config("task.optimizer", message, "leave this method out"));
        };
        let mut config = config.clone();
        config.optimizer = optimizer.clone();
        rescaled(&self.task, self.source.with_task(&config)?.task(0)?)
    }

    /// Whether another optimizer can take the place of the task's own.
    pub fn takes_optimizers(&self) -> bool {
        self.source.supervised().is_some() && self.task.rescale.is_none()
    }

    /// Hash of everything that decides the task's results but method and seed. Its number and what is said about it are
    /// not part of it.
    pub fn identity(&self) -> String {
        let task = self.source.identity();
        job_id(&serde_json::json!({ "version": RESULTS_VERSION, "task": task, "rescale": self.task.rescale }))
    }
}

fn rescaled(task: &SuiteTask, original: Box<dyn Task>) -> Result<Box<dyn Task>> {
    Ok(match task.rescale {
        Some(rescale) => Box::new(Rescaled::new(original, rescale)?),
        None => original,
    })
}
