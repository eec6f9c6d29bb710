//! From records to the few numbers that a chart needs: medians and quartiles. Independent of how charts are drawn.

use super::table::sorted;
use crate::record::statistics::quantile;
use crate::record::{Comparison, IntervalRecord, Kind, RunRecord, Stage, UpdateRecord};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Points of a curve that a chart keeps at most; longer ones are thinned or averaged.
const POINTS_MAX: usize = 400;
/// Runs drawn one by one in a history, at most.
const HISTORY_RUNS_MAX: usize = 24;
/// Histories drawn at most.
const HISTORIES_MAX: usize = 12;

/// A chart of several curves over common horizontal positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// Heading.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_label: String,
    /// Name of the vertical axis.
    pub y_label: String,
    /// Whether the vertical axis is logarithmic at first.
    pub log: bool,
    /// Whether the values are learning rates (written in scientific notation).
    pub lr: bool,
    /// What a screen reader says instead.
    pub summary: String,
    /// Horizontal positions, increasing.
    #[serde(serialize_with = "short_numbers")]
    pub x: Vec<f64>,
    /// The curves.
    pub series: Vec<Series>,
}

/// A curve, perhaps with a band. NaN is a gap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Name for people.
    pub name: String,
    /// What the curve is of, which decides its colour.
    pub kind: CurveKind,
    /// Whether it is drawn at first.
    pub shown: bool,
    /// The curve.
    #[serde(serialize_with = "short_numbers")]
    pub mid: Vec<f64>,
    /// Lower end of the band; empty for none.
    #[serde(serialize_with = "short_numbers")]
    pub lo: Vec<f64>,
    /// Upper end of the band; empty for none.
    #[serde(serialize_with = "short_numbers")]
    pub hi: Vec<f64>,
}

/// What a curve is of. In JSON: `learned`, `tuned`, …, `run`, `seed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveKind {
    /// One training run, in a history.
    Run,
    /// One policy, in a chart of its training.
    Seed,
    /// A method of the comparison, over its runs.
    #[serde(untagged)]
    Method(Kind),
}

/// Numbers with 5 significant digits (charts show less), NaN and infinity as null.
fn short_numbers<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().map(|&v| {
        let short: Option<f64> = v.is_finite().then(|| format!("{v:.4e}").parse().unwrap_or(v));
        short
    }))
}

/// Runs by method, in the order of the comparison's table, each with its kind.
struct Methods<'a>(Vec<(String, Kind, Vec<&'a RunRecord>)>);

impl<'a> Methods<'a> {
    /// Only runs of the stage `compare`, if there are any: tuning runs would mix settings.
    fn new(runs: &'a [RunRecord], comparison: Option<&Comparison>) -> Self {
        let compared = runs.iter().any(|r| r.stage == Stage::Compare);
        let mut by_name = BTreeMap::<&str, Vec<&RunRecord>>::new();
        for run in runs.iter().filter(|r| !compared || r.stage == Stage::Compare) {
            by_name.entry(&run.method).or_default().push(run);
        }
        let mut methods = Vec::new();
        for method in comparison.map(sorted).unwrap_or_default() {
            if let Some(runs) = by_name.remove(method.name.as_str()) {
                methods.push((method.name.clone(), method.kind, runs));
            }
        }
        // Methods that the comparison does not know, learned ones first.
        let mut others: Vec<_> = by_name.into_iter().collect();
        others.sort_by_key(|(_, runs)| runs.iter().all(|r| r.policy_seed.is_none()));
        for (name, runs) in others {
            let kind = if runs.iter().any(|r| r.policy_seed.is_some()) { Kind::Learned } else { Kind::Default };
            methods.push((name.to_owned(), kind, runs));
        }
        Methods(methods)
    }
}

/// Validation-B loss, then learning rate, against interval: the median over each method's runs with the band between
/// the quartiles. A loss that is not finite counts as infinitely bad, so diverged runs lift the band instead of leaving;
/// a learning rate is only taken where there is one.
pub fn method_charts(runs: &[RunRecord], comparison: Option<&Comparison>) -> Vec<Chart> {
    let methods = Methods::new(runs, comparison);
    let intervals = runs.iter().map(|r| r.curve.len()).max().unwrap_or(0);
    if methods.0.is_empty() || intervals == 0 {
        return Vec::new();
    }
    let kept = thinned(intervals);
    let chart = |title: &str, y_label: &str, lr: bool, value: fn(&IntervalRecord) -> f64| {
        let mut of_kind = BTreeMap::<Kind, usize>::new();
        let mut series = Vec::new();
        for (name, kind, runs) in &methods.0 {
            let [lo, mid, hi] = quartiles(runs, &kept, value, (!lr).then_some(f64::INFINITY));
            let nth = of_kind.entry(*kind).or_default();
            *nth += 1;
            // With many methods only the best of each kind at first (they come sorted).
            let shown = methods.0.len() <= 7 || *kind == Kind::Learned || *nth <= 2;
            series.push(Series { name: name.clone(), kind: CurveKind::Method(*kind), shown, mid, lo, hi });
        }
        let ends: Vec<String> = series
            .iter()
            .filter_map(|s| s.mid.last().map(|v| format!("{} {}", s.name, super::format::significant(*v))))
            .collect();
        Chart {
            title: title.into(),
            x_label: "interval".into(),
            y_label: y_label.into(),
            log: true,
            lr,
            summary: format!("{title} against interval. Medians after the last interval: {}.", ends.join(", ")),
            x: kept.iter().map(|i| (i + 1) as f64).collect(),
            series,
        }
    };
    vec![
        chart("Validation loss", "loss on validation B", false, |i| i.val_loss_b),
        chart("Learning rate", "learning rate", true, |i| i.lr),
    ]
}

/// Which of `n` positions to keep: all, or every k-th and the last.
fn thinned(n: usize) -> Vec<usize> {
    let stride = n.div_ceil(POINTS_MAX).max(1);
    let mut kept: Vec<usize> = (0..n).step_by(stride).collect();
    if n > 0 && kept.last() != Some(&(n - 1)) {
        kept.push(n - 1);
    }
    kept
}

/// Lower quartile, median, upper quartile of `value` at the kept intervals. Where a run has no finite value, because it
/// diverged there or before, it counts as `diverged` if that is given and else leaves the sample; so does a run that was
/// only shorter.
fn quartiles(
    runs: &[&RunRecord],
    kept: &[usize],
    value: fn(&IntervalRecord) -> f64,
    diverged: Option<f64>,
) -> [Vec<f64>; 3] {
    let mut bands = [Vec::new(), Vec::new(), Vec::new()];
    let mut sample = Vec::with_capacity(runs.len());
    for &i in kept {
        sample.clear();
        sample.extend(runs.iter().filter_map(|run| match run.curve.get(i).map(value) {
            Some(v) if v.is_finite() => Some(v),
            None if !run.diverged => None,
            _ => diverged,
        }));
        sample.sort_unstable_by(f64::total_cmp);
        for (band, q) in bands.iter_mut().zip([0.25, 0.5, 0.75]) {
            band.push(quantile(&sample, q));
        }
    }
    bands
}

/// The learning rates that each learned policy chose, a chart for each method and policy seed, a curve for each run (24
/// at most, spread over all runs). Also returns how many charts were left out because there were more than 12.
pub fn histories(runs: &[RunRecord], comparison: Option<&Comparison>) -> (Vec<Chart>, usize) {
    let mut groups = Vec::new();
    for (name, kind, runs) in Methods::new(runs, comparison).0 {
        let mut by_seed = BTreeMap::<u64, Vec<&RunRecord>>::new();
        for run in runs.into_iter().filter(|_| kind == Kind::Learned) {
            if let Some(seed) = run.policy_seed {
                by_seed.entry(seed).or_default().push(run);
            }
        }
        groups.extend(by_seed.into_iter().map(|(seed, runs)| (name.clone(), seed, runs)));
    }
    let left_out = groups.len().saturating_sub(HISTORIES_MAX);
    let charts = groups.into_iter().take(HISTORIES_MAX).map(|(name, seed, runs)| history(&name, seed, &runs));
    (charts.collect(), left_out)
}

fn history(method: &str, policy_seed: u64, runs: &[&RunRecord]) -> Chart {
    let kept = thinned(runs.iter().map(|r| r.curve.len()).max().unwrap_or(0));
    let count = runs.len().min(HISTORY_RUNS_MAX);
    let curve = |run: &RunRecord| Series {
        name: format!("run seed {}", run.seed),
        kind: CurveKind::Run,
        shown: true,
        mid: kept.iter().map(|&i| run.curve.get(i).map_or(f64::NAN, |c| c.lr)).collect(),
        lo: Vec::new(),
        hi: Vec::new(),
    };
    let title = format!("{method}, policy seed {policy_seed}");
    let shown = if count < runs.len() {
        format!("{count} of {} runs", runs.len())
    } else {
        format!("{count} run{}", if count == 1 { "" } else { "s" })
    };
    Chart {
        title: format!("{title} ({shown})"),
        x_label: "interval".into(),
        y_label: "learning rate".into(),
        log: true,
        lr: true,
        summary: format!("Learning rate in each interval of {shown} under {title}."),
        x: kept.iter().map(|i| (i + 1) as f64).collect(),
        series: (0..count).map(|i| curve(runs[i * runs.len() / count])).collect(),
    }
}

/// Mean return, then mean final validation-A loss, against environment steps, a curve for each policy seed. Empty where
/// no episode ended. Above 400 updates, neighbours are averaged.
pub fn training_charts(updates: &[UpdateRecord]) -> Vec<Chart> {
    let mut seeds = BTreeMap::<u64, Vec<&UpdateRecord>>::new();
    for update in updates {
        seeds.entry(update.policy_seed).or_default().push(update);
    }
    seeds.values_mut().for_each(|updates| updates.sort_by_key(|u| u.env_steps));
    let charts = [
        training_chart(&seeds, "Return during training", "mean return of episodes", false, |u| u.mean_return),
        training_chart(&seeds, "Final loss during training", "final loss on validation A", true, |u| {
            u.mean_final_val_loss
        }),
    ];
    charts.into_iter().flatten().collect()
}

fn training_chart(
    seeds: &BTreeMap<u64, Vec<&UpdateRecord>>,
    title: &str,
    y_label: &str,
    log: bool,
    value: fn(&UpdateRecord) -> Option<f64>,
) -> Option<Chart> {
    let group = seeds.values().map(Vec::len).max()?.div_ceil(POINTS_MAX).max(1);
    // A curve per seed as (steps → mean of the group), then all curves over the union of steps.
    let curves: Vec<(u64, BTreeMap<u64, f64>)> = seeds
        .iter()
        .map(|(&seed, updates)| {
            let points = updates.chunks(group).filter_map(|chunk| {
                let values: Vec<f64> = chunk.iter().filter_map(|u| value(u)).filter(|v| v.is_finite()).collect();
                let last = chunk.last()?.env_steps;
                (!values.is_empty()).then(|| (last, values.iter().sum::<f64>() / values.len() as f64))
            });
            (seed, points.collect())
        })
        .collect();
    let mut steps: Vec<u64> = curves.iter().flat_map(|(_, points)| points.keys().copied()).collect();
    steps.sort_unstable();
    steps.dedup();
    if steps.is_empty() {
        return None;
    }
    let series = curves.iter().map(|(seed, points)| Series {
        name: format!("policy seed {seed}"),
        kind: CurveKind::Seed,
        shown: true,
        mid: steps.iter().map(|s| points.get(s).copied().unwrap_or(f64::NAN)).collect(),
        lo: Vec::new(),
        hi: Vec::new(),
    });
    Some(Chart {
        title: title.into(),
        x_label: "intervals trained".into(),
        y_label: y_label.into(),
        log,
        lr: false,
        summary: format!("{title}, {} policy seeds, {} intervals trained.", seeds.len(), steps[steps.len() - 1]),
        x: steps.iter().map(|&s| s as f64).collect(),
        series: series.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, losses: &[f64], diverged: bool) -> RunRecord {
        let interval = |(i, &loss): (usize, &f64)| IntervalRecord {
            interval: i + 1,
            lr: 0.01,
            momentum: None,
            weight_decay: None,
            train_loss: loss,
            val_loss_a: loss,
            val_loss_b: loss,
            val_accuracy_b: 0.5,
        };
        RunRecord {
            job_id: seed.to_string(),
            stage: Stage::Compare,
            method: "pilot".into(),
            seed,
            policy_seed: Some(seed % 2),
            initial_lr: None,
            curve: losses.iter().enumerate().map(interval).collect(),
            diverged,
            at_chance: false,
            test_loss: None,
            extra_forward_passes: 0,
        }
    }

    #[test]
    fn diverged_runs_count_as_infinitely_bad_and_short_ones_leave() {
        let runs =
            [run(1, &[1.0, 2.0], false), run(2, &[2.0, f64::NAN], true), run(3, &[3.0], true), run(4, &[4.0], false)];
        let chart = &method_charts(&runs, None)[0];
        let series = &chart.series[0];
        assert_eq!(series.mid[0], 2.5);
        // Second interval: 2 and two infinities; the run that was only short is out.
        assert_eq!((series.lo[1], series.mid[1]), (f64::INFINITY, f64::INFINITY));
        let json = serde_json::to_value(series).unwrap();
        assert_eq!(json["mid"], serde_json::json!([2.5, null]));
        let rates = &method_charts(&runs, None)[1].series[0];
        assert_eq!((rates.lo[1], rates.hi[1]), (0.01, 0.01), "a run that ended has no learning rate");
    }

    #[test]
    fn tuning_runs_stay_out_of_the_curves() {
        let mut tuned = run(9, &[9.0], false);
        tuned.stage = Stage::Tune;
        assert_eq!(method_charts(&[run(1, &[1.0], false), tuned], None)[0].series[0].mid, [1.0]);
    }

    #[test]
    fn histories_are_per_policy_seed_and_limited() {
        let runs: Vec<_> = (0..100).map(|seed| run(seed, &[1.0], false)).collect();
        let (charts, left_out) = histories(&runs, None);
        assert_eq!((charts.len(), left_out), (2, 0));
        assert_eq!(charts[0].series.len(), HISTORY_RUNS_MAX);
        assert_eq!(charts[1].title, "pilot, policy seed 1 (24 of 50 runs)");
    }

    #[test]
    fn long_curves_are_thinned_to_the_ends() {
        let kept = thinned(100_001);
        assert!(kept.len() <= POINTS_MAX + 1);
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 100_000));
        assert_eq!(thinned(3), [0, 1, 2]);
        assert!(thinned(0).is_empty());
    }
}
