//! What a comparison set out to show, whether it did, and when a policy has paid for itself.
//!
//! All of it is decided on the test split, at which nothing has looked before: validation B has chosen policies and
//! learning rates.

use crate::Result;
use crate::record::statistics::estimate;
use crate::record::{BreakEven, Claim, Estimate, Kind, MethodResult, RunRecord};

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
    chance_loss: Option<f64>,
    seed: u64,
) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == Kind::Learned) {
        for (other, wanted) in rivals {
            let difference = paired_difference(&learned.name, &other.name, runs, chance_loss, seed)?;
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

/// Paired difference of test loss, learned − other, averaged over policy seeds for each evaluation seed.
fn paired_difference(
    learned: &str,
    other: &str,
    runs: &[RunRecord],
    chance_loss: Option<f64>,
    seed: u64,
) -> Result<Estimate> {
    let mean_of = |name: &str, run_seed: u64| {
        let of_seed = || runs.iter().filter(|r| r.method == name && r.seed == run_seed);
        of_seed().map(|r| r.penalised_test_loss(chance_loss)).sum::<f64>() / of_seed().count().max(1) as f64
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
        statement: format!("{}: test loss {relation} {}", learned.name, other.name),
        held,
        evidence: format!(
            "test loss {:.4} against {:.4}; paired difference {iqm:+.4} [{lo:+.4}, {hi:+.4}]: {verdict}",
            learned.test_loss.iqm, other.test_loss.iqm
        ),
    }
}

/// Tuning anew costs its budget for each task trained; a policy costs its budget once.
pub(super) fn break_even(methods: &[MethodResult], horizon: usize) -> Vec<BreakEven> {
    let mut all = Vec::new();
    for learned in methods.iter().filter(|m| m.kind == Kind::Learned) {
        for other in methods.iter().filter(|m| m.kind == Kind::Tuned) {
            let (once, each) = (learned.epochs_spent, other.epochs_spent);
            let no_worse = learned.test_loss.lo <= other.test_loss.hi;
            let trainings = (no_worse && each > 0).then(|| once.div_ceil(each));
            let how = if no_worse {
                format!("{once} epochs once against {each} epochs of tuning for every training of {horizon} epochs")
            } else {
                "its test loss is above the other's interval".to_owned()
            };
            all.push(BreakEven { method: other.name.clone(), trainings, how });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate_of(iqm: f64) -> Estimate {
        Estimate { iqm, lo: iqm - 0.1, hi: iqm + 0.1, values: vec![iqm] }
    }

    /// A method whose validation loss is `loss` and whose test loss is `test`.
    fn method(name: &str, kind: Kind, loss: f64, test: f64) -> MethodResult {
        MethodResult {
            name: name.into(),
            kind,
            epochs_spent: 300,
            runs: 1,
            diverged: 0,
            final_val_loss: estimate_of(loss),
            best_val_loss: estimate_of(loss),
            test_loss: estimate_of(test),
            initial_lr: None,
        }
    }

    /// The validation losses say the opposite of the test losses, and are not asked.
    #[test]
    fn claims_and_break_even_are_about_the_test_loss() {
        let methods = [method("ours", Kind::Learned, 1.0, 3.0), method("step", Kind::Tuned, 2.0, 2.0)];
        let run = |name: &str, loss: f64| RunRecord {
            job_id: name.into(),
            stage: crate::record::Stage::Compare,
            method: name.into(),
            seed: 1,
            policy_seed: None,
            initial_lr: None,
            curve: Vec::new(),
            diverged: false,
            at_chance: false,
            test_loss: Some(loss),
            extra_forward_passes: 0,
        };
        let runs = [run("ours", 3.0), run("step", 2.0)];
        let difference = paired_difference("ours", "step", &runs, Some(2.3), 0).unwrap();
        assert_eq!((difference.iqm, difference.lo), (1.0, 1.0));
        let claim = claim(&methods[0], &methods[1], Wanted::NotAbove, &difference);
        assert_eq!(claim.statement, "ours: test loss at or below, within the interval, step");
        assert!(!claim.held && claim.evidence.starts_with("test loss 3.0000 against 2.0000; "), "{claim:?}");
        assert!(claim.evidence.ends_with("+1.0000 [+1.0000, +1.0000]: clearly higher"), "{claim:?}");
        assert_eq!(break_even(&methods, 10)[0].trainings, None);
    }

    #[test]
    fn a_negative_mean_is_below_and_an_interval_around_zero_is_not_above() {
        let ours = method("ours", Kind::Learned, 1.0, 1.0);
        let held =
            |wanted, iqm, lo, hi| claim(&ours, &ours, wanted, &Estimate { iqm, lo, hi, values: Vec::new() }).held;
        assert!(held(Wanted::Below, -0.1, -0.2, 0.1) && !held(Wanted::Below, 0.0, -0.1, 0.1));
        assert!(held(Wanted::NotAbove, 0.1, 0.0, 0.2) && !held(Wanted::NotAbove, 0.2, 0.1, 0.3));
    }
}
