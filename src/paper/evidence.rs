//! Finished runs with what is needed to read them, and the few numbers that a set of runs comes to.

use crate::Result;
use crate::paper::names::PartId;
use crate::paper::{Data, Experiment, Part, Runs, Scale};
use crate::record::statistics::estimate;
use crate::record::{Estimate, RunRecord};
use crate::report::format::{count, significant};

/// The runs with what is needed to read them.
pub(super) struct Evidence<'a> {
    pub scale: Scale,
    pub seed: u64,
    pub runs: &'a Runs,
    pub parts: &'a [Part],
}

impl Evidence<'_> {
    /// The runs of a part; none where it was not run.
    pub fn of(&self, id: &PartId) -> &[RunRecord] {
        self.runs.get(id).map_or(&[], Vec::as_slice)
    }

    /// The part, where the plan has it.
    pub fn part(&self, id: &PartId) -> Option<&Part> {
        self.parts.iter().find(|p| p.id == *id)
    }

    /// Epochs of an interval of a part's curves.
    pub fn epochs_per_interval(&self, id: &PartId) -> u64 {
        self.part(id).map_or(1, Part::epochs_per_interval)
    }

    pub fn command(&self, experiments: &[Experiment]) -> String {
        let Evidence { scale, seed, .. } = self;
        let only: String = experiments.iter().map(|e| format!(" --only {}", e.name())).collect();
        format!("lrpilot paper --scale {} --seed {seed}{only}", scale.name())
    }

    pub fn seeds(&self) -> String {
        let last = self.seed + self.scale.seeds() - 1;
        format!("agent seeds {} to {last}, {} fresh seeds for each evaluation", self.seed, self.scale.seeds())
    }

    /// The loss of knowing nothing.
    fn chance_loss(&self, data: Data) -> f64 {
        let classes: f64 = if data == Data::Cifar100 && self.scale != Scale::Smoke { 100.0 } else { 10.0 };
        classes.ln()
    }

    /// Interquartile mean of the final validation loss with its interval, resampled within policies.
    pub fn estimate(&self, records: &[RunRecord], data: Data) -> Result<Option<Estimate>> {
        if records.is_empty() {
            return Ok(None);
        }
        let chance = Some(self.chance_loss(data));
        let losses: Vec<f64> = records.iter().map(|r| r.penalised_loss(chance)).collect();
        let strata: Vec<u64> = records.iter().map(|r| r.policy_seed.unwrap_or(0)).collect();
        estimate(&losses, &strata, self.seed).map(Some)
    }
}

/// Best and mean final loss of a set of runs, as the paper reports them.
pub(super) struct BestAndMean {
    pub best: f64,
    pub average: f64,
    diverged: usize,
    runs: usize,
}

impl BestAndMean {
    /// `None` for no runs.
    pub fn new(records: &[RunRecord]) -> Option<Self> {
        let finite: Vec<f64> = records.iter().map(RunRecord::final_loss).filter(|l| l.is_finite()).collect();
        (!records.is_empty()).then(|| BestAndMean {
            best: finite.iter().copied().fold(f64::NAN, f64::min),
            average: finite.iter().sum::<f64>() / finite.len() as f64,
            diverged: records.len() - finite.len(),
            runs: records.len(),
        })
    }

    /// Best, average, and how many diverged, as text.
    pub fn cells(records: &[RunRecord]) -> [String; 3] {
        match Self::new(records) {
            Some(o) => {
                [significant(o.best), significant(o.average), format!("{} of {}", o.diverged, count(o.runs as u64))]
            }
            None => ["not run", "", ""].map(String::from),
        }
    }
}
