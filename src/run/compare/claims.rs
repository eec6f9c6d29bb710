//! What a comparison set out to show, whether it did, and when a policy has paid for itself.

use crate::Result;
use crate::record::statistics::estimate;
use crate::record::{BreakEven, Claim, Estimate, Kind, MethodResult, RunRecord};
use crate::task::TaskSpec;

/// What is claimed of a learned policy's loss against another method's, over runs paired by seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The mean difference is negative.
    Below,
    /// The interval of the mean difference does not lie above zero.
    NotAbove,
}

/// What the comparison set out to show, and whether it did: each learned policy against each of `rivals`.
pub(super) fn claims(
    methods: &[MethodResult],
    rivals: &[(&MethodResult, Wanted)],
    runs: &[RunRecord],
    spec: &TaskSpec,
    seed: u64,
) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == Kind::Learned) {
        for (other, wanted) in rivals {
            let difference = paired_difference(&learned.name, &other.name, runs, spec, seed)?;
            claims.push(claim(learned, other, *wanted, &difference));
        }
        claims.push(Claim {
            statement: format!("{}: no run diverges or sticks at chance", learned.name),
            held: learned.diverged == 0,
            evidence: format!("{} of {} runs", learned.diverged, learned.runs),
        });
    }
    Ok(claims)
}

/// Paired difference of final validation loss, learned − other, averaged over policy seeds for each child seed.
fn paired_difference(learned: &str, other: &str, runs: &[RunRecord], spec: &TaskSpec, seed: u64) -> Result<Estimate> {
    let mean_of = |name: &str, child: u64| {
        let of_seed = || runs.iter().filter(|r| r.method == name && r.seed == child);
        of_seed().map(|r| r.penalised_loss(spec.chance_loss)).sum::<f64>() / of_seed().count().max(1) as f64
    };
    let mut seeds: Vec<u64> = runs.iter().filter(|r| r.method == learned).map(|r| r.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let differences: Vec<f64> = seeds.iter().map(|s| mean_of(learned, *s) - mean_of(other, *s)).collect();
    estimate(&differences, &vec![0; differences.len()], seed)
}

fn claim(learned: &MethodResult, other: &MethodResult, wanted: Wanted, difference: &Estimate) -> Claim {
    let Estimate { iqm, lo, hi, values: _ } = *difference;
    let (relation, held) = match wanted {
        Wanted::Below => ("below", iqm < 0.0),
        Wanted::NotAbove => ("at or below, within the interval,", lo <= 0.0),
    };
    let verdict = match (lo, hi) {
        (_, hi) if hi < 0.0 => "clearly lower",
        (lo, _) if lo > 0.0 => "clearly higher",
        _ => "a difference within noise",
    };
    Claim {
        statement: format!("{}: final validation loss {relation} {}", learned.name, other.name),
        held,
        evidence: format!(
            "{:.4} against {:.4}; paired difference {iqm:+.4} [{lo:+.4}, {hi:+.4}]: {verdict}",
            learned.final_val_loss.iqm, other.final_val_loss.iqm
        ),
    }
}

/// Tuning anew costs its budget for each task trained; a policy costs its budget once.
pub(super) fn break_even(methods: &[MethodResult], horizon: usize) -> Vec<BreakEven> {
    let mut all = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == Kind::Learned) {
        for other in methods.iter().filter(|m| m.kind == Kind::Tuned) {
            let (once, each) = (learned.epochs_spent, other.epochs_spent);
            let no_worse = learned.final_val_loss.lo <= other.final_val_loss.hi;
            let trainings = (no_worse && each > 0).then(|| once.div_ceil(each));
            let how = if no_worse {
                format!("{once} epochs once against {each} epochs of tuning for every training of {horizon} epochs")
            } else {
                "its final validation loss is above the other's interval".to_owned()
            };
            all.push(BreakEven { method: other.name.clone(), trainings, how });
        }
    }
    all
}
