//! Where tasks come from: one task, or a distribution of tasks sampled by seed.

use crate::rng::{Purpose, derive_seed};
use crate::task::data::{DatasetName, Objective, Splits, Table, load};
use crate::task::{ExternalConfig, NoisyQuadratic, Supervised, SupervisedConfig, Task, TaskConfig, TaskSpec};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Makes tasks, from any thread. Learning, comparison and evaluation all take one of these.
///
/// ```
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// let source = ConfiguredTask::new(&Preset::Digits.config(), None)?;
/// let (mut a, mut b) = (source.task(0)?, source.task(0)?); // two networks on the same data
/// assert_eq!(a.reset(7)?, b.reset(7)?);
/// assert!(!source.varies(), "every seed trains this task");
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub trait TaskSource: Send + Sync {
    /// Name for people.
    fn name(&self) -> &str;

    /// The task that episodes with `seed` train: a pure function of the seed.
    ///
    /// # Errors
    /// The task's own.
    fn task(&self, seed: u64) -> Result<Box<dyn Task>>;

    /// Whether [`TaskSource::task`] gives another task for another seed. A single task is built once and reset.
    fn varies(&self) -> bool {
        false
    }

    /// Facts of the task; of a distribution, those that its policies are sized by (number of groups) or planned with
    /// (horizon).
    fn spec(&self) -> &TaskSpec;

    /// Everything that decides the results of a run on these tasks, for the identity of jobs. Equal identities mean equal
    /// results.
    fn identity(&self) -> serde_json::Value;
}

/// A task described in a configuration: its data are loaded once and shared by all tasks made from it.
#[derive(Clone, Debug)]
pub struct ConfiguredTask {
    config: TaskConfig,
    splits: Option<Arc<Splits>>,
    /// sha256 of a file that the configuration names without saying what is in it.
    content: Option<String>,
    spec: TaskSpec,
}

impl ConfiguredTask {
    /// Load the task's data from below `data_root` (digits and tables with an absolute path need none).
    ///
    /// ```
    /// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
    /// let source = ConfiguredTask::new(&Preset::Digits.config(), None)?;
    /// let mut task = source.task(0)?;
    /// assert!((task.reset(0)?.loss() - 10f64.ln()).abs() < 0.5, "an untrained network knows little more than nothing");
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] for data files, [`Error::Config`] for the task.
    pub fn new(config: &TaskConfig, data_root: Option<&Path>) -> Result<Self> {
        config.check()?;
        let (splits, content) = match config {
            TaskConfig::NoisyQuadratic(_) => (None, None),
            TaskConfig::External(c) => return Err(not_ours(c)),
            TaskConfig::Supervised(c) => {
                let (splits, content) = read(c, data_root)?;
                (Some(Arc::new(splits)), content)
            }
        };
        let spec = make(config, splits.as_ref())?.spec().clone();
        Ok(ConfiguredTask { config: config.clone(), splits, content, spec })
    }

    /// A supervised task on data that are in memory already.
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not fit the data.
    pub fn with_splits(config: SupervisedConfig, splits: Arc<Splits>) -> Result<Self> {
        let (config, splits) = (TaskConfig::Supervised(config), Some(splits));
        let spec = make(&config, splits.as_ref())?.spec().clone();
        Ok(ConfiguredTask { config, splits, content: None, spec })
    }

    /// Another supervised task on the same data (the same data set and splits).
    ///
    /// # Errors
    /// [`Error::Config`] for a model that does not fit the data.
    pub fn with_task(&self, task: &SupervisedConfig) -> Result<Self> {
        let splits = self.splits.clone().ok_or_else(|| Error::Bug("a task without data".into()))?;
        Ok(ConfiguredTask { content: self.content.clone(), ..ConfiguredTask::with_splits(task.clone(), splits)? })
    }

    /// Description and data of a supervised task.
    pub fn supervised(&self) -> Option<(&SupervisedConfig, &Arc<Splits>)> {
        match (&self.config, &self.splits) {
            (TaskConfig::Supervised(config), Some(splits)) => Some((config, splits)),
            _ => None,
        }
    }

    /// The task's configuration.
    pub fn config(&self) -> &TaskConfig {
        &self.config
    }
}

/// The data of a supervised task, and the checksum of its file if that is the user's own.
fn read(config: &SupervisedConfig, data_root: Option<&Path>) -> Result<(Splits, Option<String>)> {
    let needs_none = match &config.csv {
        Some(csv) => csv.path.is_absolute(),
        None => config.dataset == DatasetName::Digits,
    };
    let root = match data_root {
        _ if needs_none => Path::new(""),
        Some(root) => root,
        None => {
            let message = format!("the data set {} needs a data folder", config.dataset.name());
            return Err(Error::config("task.dataset", message, "name the folder that holds it"));
        }
    };
    if let Some(csv) = &config.csv {
        let table = Table::read(&root.join(&csv.path), csv, config.objective)?;
        return Ok((table.splits(&config.data)?, Some(table.sha256().to_owned())));
    }
    let splits = Splits::new(&load(config.dataset, root)?, &config.data)?;
    Ok((if config.objective == Objective::Autoencoder { splits.autoencoding() } else { splits }, None))
}

fn not_ours(config: &ExternalConfig) -> Error {
    let message = format!("the task `{}` is not one of lrpilot's own", config.name);
    Error::config("task.kind", message, "run it with the program that brings it")
}

fn make(config: &TaskConfig, splits: Option<&Arc<Splits>>) -> Result<Box<dyn Task>> {
    Ok(match (config, splits) {
        (TaskConfig::Supervised(c), Some(splits)) => {
            Box::new(Supervised::new(Arc::new(c.clone()), Arc::clone(splits))?)
        }
        (TaskConfig::NoisyQuadratic(c), _) => Box::new(NoisyQuadratic::new(c.clone())?),
        (TaskConfig::Supervised(_), None) => return Err(Error::Bug("a supervised task without data".into())),
        (TaskConfig::External(c), _) => return Err(not_ours(c)),
    })
}

impl TaskSource for ConfiguredTask {
    fn name(&self) -> &str {
        self.config.name()
    }

    fn task(&self, _: u64) -> Result<Box<dyn Task>> {
        make(&self.config, self.splits.as_ref())
    }

    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn identity(&self) -> serde_json::Value {
        let mut identity = serde_json::json!(self.config);
        if let (Some(content), Some(fields)) = (&self.content, identity.as_object_mut()) {
            fields.insert("content_sha256".into(), content.as_str().into());
        }
        identity
    }
}

/// A distribution: each seed draws one of several sources, all with the same probability.
pub struct TaskMixture {
    name: String,
    sources: Vec<Box<dyn TaskSource>>,
}

impl TaskMixture {
    /// A mixture of at least one source.
    ///
    /// ```
    /// use lrpilot::task::{ConfiguredTask, QuadraticConfig, TaskConfig, TaskMixture, TaskSource};
    /// let quadratic = |dimensions| {
    ///     let config = QuadraticConfig { name: format!("{dimensions}"), dimensions, ..QuadraticConfig::default() };
    ///     ConfiguredTask::new(&TaskConfig::NoisyQuadratic(config), None).map(|t| Box::new(t) as Box<dyn TaskSource>)
    /// };
    /// let mixture = TaskMixture::new("quadratics", vec![quadratic(3)?, quadratic(5)?])?;
    /// let drawn = |seed| mixture.task(seed).map(|t| t.spec().name.clone());
    /// assert_eq!(drawn(7)?, drawn(7)?);
    /// assert!((0..20).any(|seed| drawn(seed).unwrap() == "3") && (0..20).any(|seed| drawn(seed).unwrap() == "5"));
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] without sources.
    pub fn new(name: impl Into<String>, sources: Vec<Box<dyn TaskSource>>) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::config("task", "a mixture of no tasks", "give at least one"));
        }
        Ok(TaskMixture { name: name.into(), sources })
    }
}

impl TaskSource for TaskMixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn task(&self, seed: u64) -> Result<Box<dyn Task>> {
        let drawn = derive_seed(seed, Purpose::TaskDraw, 0) % self.sources.len() as u64;
        self.sources[drawn as usize].task(seed)
    }

    fn varies(&self) -> bool {
        true
    }

    fn spec(&self) -> &TaskSpec {
        self.sources[0].spec()
    }

    fn identity(&self) -> serde_json::Value {
        serde_json::Value::Array(self.sources.iter().map(|s| s.identity()).collect())
    }
}
