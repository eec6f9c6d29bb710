//! What a method of a comparison is, and which part of the work a run belongs to.

use serde::{Deserialize, Serialize};

/// What a method of a comparison is. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A frozen policy of ours.
    Learned,
    /// A policy that comes with lrpilot and has never seen the task.
    Pretrained,
    /// Something without the policy's knowledge: its schedule replayed blindly, its mean LR, the policy before learning.
    Control,
    /// A standard schedule whose initial LR was tuned.
    Tuned,
    /// The LR that turns out best on the runs of the evaluation themselves.
    Hindsight,
    /// A standard schedule from the optimizer's default LR.
    Default,
    /// A policy of the paper's formulation.
    Paper,
}

impl Kind {
    /// All kinds, in the order of the table.
    pub const ALL: [Kind; 7] =
        [Kind::Learned, Kind::Pretrained, Kind::Control, Kind::Tuned, Kind::Hindsight, Kind::Default, Kind::Paper];

    /// The name in files.
    ///
    /// ```
    /// assert_eq!(lrpilot::record::Kind::Hindsight.name(), "hindsight");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Kind::Learned => "learned",
            Kind::Pretrained => "pretrained",
            Kind::Control => "control",
            Kind::Tuned => "tuned",
            Kind::Hindsight => "hindsight",
            Kind::Default => "default",
            Kind::Paper => "paper",
        }
    }

    /// What methods of this kind are, as part of a sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Kind::Learned => "learned policies",
            Kind::Pretrained => "a policy that comes with lrpilot and has never seen the task",
            Kind::Control => "controls made from them",
            Kind::Tuned => "schedules tuned with the same budget",
            Kind::Hindsight => "the constant LR that turned out best on these very runs",
            Kind::Default => "schedules with default settings",
            Kind::Paper => "policies of the paper's formulation",
        }
    }
}

/// The part of the work that a run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A point of a grid of initial LRs.
    Tune,
    /// The run of a policy whose LRs are replayed on other seeds.
    ReplaySource,
    /// The evaluation of a method on a fresh seed.
    Compare,
    /// An experiment of the paper.
    Paper,
    /// The trial of a candidate for a policy.
    Select,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The strings are those in the files of version 0.1.0, which had no pretrained policy.
    #[test]
    fn kinds_and_stages_are_written_as_ever() {
        let kinds = r#"["learned","pretrained","control","tuned","hindsight","default","paper"]"#;
        assert_eq!(serde_json::to_string(&Kind::ALL).unwrap(), kinds);
        assert_eq!(serde_json::to_string(&Kind::ALL.map(Kind::name)).unwrap(), kinds);
        let stages = [Stage::Tune, Stage::ReplaySource, Stage::Compare, Stage::Paper];
        assert_eq!(serde_json::to_string(&stages).unwrap(), r#"["tune","replay-source","compare","paper"]"#);
        assert!(Kind::ALL.is_sorted());
    }
}
