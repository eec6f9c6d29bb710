//! Drawing tasks by seed.

use super::config::{DistributionConfig, Family};
use super::draw;
use super::drawn::DrawnTask;
use super::real::RealData;
use super::source::{self, DrawnSource};
use crate::task::data::Splits;
use crate::task::{Task, TaskSource, TaskSpec};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Examples of this many tasks are kept, because the episodes of a group train the same task at about the same time.
const KEPT: usize = 32;

/// A distribution of tasks.
///
/// ```
/// use lrpilot::task::{DistributionConfig, TaskDistribution, TaskSource};
/// let tasks = TaskDistribution::new(DistributionConfig::default(), None)?;
/// let drawn = tasks.draw(3);
/// let mut task = tasks.task(3)?;
/// assert_eq!(task.spec().horizon, drawn.horizon);
/// assert!(task.reset(0)?.loss().is_finite());
/// assert_ne!(tasks.draw(4), drawn);
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub struct TaskDistribution {
    config: DistributionConfig,
    /// The families that there are data for, with their weights.
    families: Vec<(Family, f64)>,
    pub(super) real: RealData,
    recent: Mutex<VecDeque<(u64, Option<Arc<Splits>>)>>,
    spec: TaskSpec,
}

impl TaskDistribution {
    /// A distribution over the families that there are data for below `data_root`: MNIST counts if all of its files are
    /// there, the tables if all of them are, `tabular/NAME.csv`.
    ///
    /// # Errors
    /// [`Error::Config`] for the configuration, or if no family with a weight is left; [`Error::Data`] for a damaged file.
    pub fn new(config: DistributionConfig, data_root: Option<&Path>) -> Result<Self> {
        config.check()?;
        let real = RealData::load(data_root)?;
        let there = |family: &Family| *family != Family::Tables || !real.tables().is_empty();
        let families: Vec<(Family, f64)> =
            Family::ALL.into_iter().filter(there).map(|family| (family, config.families.of(family))).collect();
        if families.iter().all(|(_, weight)| *weight == 0.0) {
            let message = "the tables are not all there, and no other family has a weight";
            return Err(Error::config("distribution.families", message, "name the folder that holds them"));
        }
        let first = draw::draw(0, &config, &families, &real);
        let spec = source::make(&first, source::splits(&first, &real)?.as_ref())?.spec().clone();
        let spec = TaskSpec { name: NAME.into(), ..spec };
        Ok(TaskDistribution { config, families, real, recent: Mutex::default(), spec })
    }

    /// The task that `seed` draws, as a description.
    pub fn draw(&self, seed: u64) -> DrawnTask {
        draw::draw(seed, &self.config, &self.families, &self.real)
    }

    /// The task that `seed` draws, as a source of its own.
    ///
    /// # Errors
    /// [`Error::Bug`] if the draw makes no task.
    pub fn source(&self, seed: u64) -> Result<DrawnSource> {
        let drawn = self.draw(seed);
        let splits = self.splits(&drawn)?;
        DrawnSource::new(drawn, splits)
    }

    /// The families that are drawn, with their share of the draws.
    pub fn families(&self) -> Vec<(Family, f64)> {
        let total: f64 = self.families.iter().map(|(_, weight)| weight).sum();
        self.families.iter().map(|(family, weight)| (*family, weight / total)).collect()
    }

    /// The examples of a task that was drawn from here; those of the last ones are kept.
    fn splits(&self, drawn: &DrawnTask) -> Result<Option<Arc<Splits>>> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, splits)) = recent().iter().find(|(seed, _)| *seed == drawn.seed) {
            return Ok(splits.clone());
        }
        let splits = source::splits(drawn, &self.real)?;
        let mut recent = recent();
        recent.truncate(KEPT - 1);
        recent.push_front((drawn.seed, splits.clone()));
        Ok(splits)
    }
}

/// Name of a distribution for people.
const NAME: &str = "task distribution";

impl TaskSource for TaskDistribution {
    fn name(&self) -> &str {
        NAME
    }

    fn task(&self, seed: u64) -> Result<Box<dyn Task>> {
        let drawn = self.draw(seed);
        source::make(&drawn, self.splits(&drawn)?.as_ref())
    }

    fn varies(&self) -> bool {
        true
    }

    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn identity(&self) -> serde_json::Value {
        let families: Vec<Family> = self.families.iter().map(|(family, _)| *family).collect();
        serde_json::json!({ "distribution": self.config, "families": families, "images": self.real.image_sets() })
    }
}
