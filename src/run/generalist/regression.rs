//! Ridge regression of the best level on a run's facts.

use super::bank::Response;
use lrpilot_core::generalist::{ANCHOR_TERMS, AnchorModel, Term};
use serde::{Deserialize, Serialize};

const TERMS: usize = ANCHOR_TERMS.len();
/// Largest correction by the regression, in decades.
const LIMIT: f64 = 1.5;
/// Parts of the cross-validation.
const FOLDS: usize = 10;

/// A fitted anchor, and how well it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The anchor.
    pub anchor: AnchorModel,
    /// Tasks that it was fitted to; flat ones are left out.
    pub tasks: usize,
    /// Standard deviation of the best levels, in decades.
    pub sd: f64,
    /// Root mean square error of the regression on tasks that were left out (ten-fold), in decades.
    pub left_out_error: f64,
}

/// Fit the anchor to the tasks that are not flat. `ridge` is the penalty for standardised facts, `offset` the decades that
/// are added because a policy can lower what is too high.
///
/// ```
/// use lrpilot::run::generalist::{LEVELS, Response, fit_anchor};
/// // The best level falls by a decade for each decade of steps.
/// let respond = |i: u64| {
///     let log_steps = 2.0 + (i % 5) as f64 * 0.5;
///     let best = 3.0 - log_steps;
///     let mut facts = [Some(0.0); 8];
///     facts[0] = Some(log_steps);
///     let log_losses = LEVELS.iter().map(|level| (level - best).powi(2)).collect();
///     Response { index: i, name: String::new(), facts, log_losses }
/// };
/// let fit = fit_anchor(&(0..100).map(respond).collect::<Vec<_>>(), 1e-6, 0.25);
/// assert!((fit.anchor.terms[0].coefficient + 1.0).abs() < 1e-3 && fit.left_out_error < 1e-3);
/// assert_eq!(fit.anchor.offset, 0.25);
/// ```
pub fn fit_anchor(responses: &[Response], ridge: f64, offset: f64) -> Fit {
    let used: Vec<&Response> = responses.iter().filter(|r| !r.is_flat()).collect();
    let anchor = fit(&used, ridge, offset);
    let levels: Vec<f64> = used.iter().map(|r| r.best_level()).collect();
    let errors = (0..FOLDS).flat_map(|fold| {
        let of_fold = |i: &usize| i % FOLDS == fold;
        let others: Vec<&Response> = (0..used.len()).filter(|i| !of_fold(i)).map(|i| used[i]).collect();
        let model = fit(&others, ridge, 0.0);
        (0..used.len()).filter(of_fold).map(|i| predict(&model, &used[i].facts) - levels[i]).collect::<Vec<_>>()
    });
    let rms = |errors: Vec<f64>| (errors.iter().map(|e| e * e).sum::<f64>() / errors.len().max(1) as f64).sqrt();
    let mean = levels.iter().sum::<f64>() / levels.len().max(1) as f64;
    Fit {
        anchor,
        tasks: used.len(),
        left_out_error: rms(errors.collect()),
        sd: rms(levels.iter().map(|l| l - mean).collect()),
    }
}

fn predict(model: &AnchorModel, facts: &[Option<f64>; TERMS]) -> f64 {
    let part = |(fact, term): (&Option<f64>, &Term)| fact.map_or(0.0, |fact| term.coefficient * (fact - term.mean));
    (model.intercept + facts.iter().zip(&model.terms).map(part).sum::<f64>()).clamp(-model.limit, model.limit)
}

fn fit(responses: &[&Response], ridge: f64, offset: f64) -> AnchorModel {
    let n = responses.len().max(1) as f64;
    let column = |k: usize| responses.iter().filter_map(move |r| r.facts[k]);
    let mean_of = |k: usize| column(k).sum::<f64>() / column(k).count().max(1) as f64;
    let means: [f64; TERMS] = std::array::from_fn(mean_of);
    let centred = |r: &Response, k: usize| r.facts[k].map_or(0.0, |fact| fact - means[k]);
    let sds: [f64; TERMS] =
        std::array::from_fn(|k| (responses.iter().map(|r| centred(r, k).powi(2)).sum::<f64>() / n).sqrt());
    let standard = |r: &Response, k: usize| if sds[k] > 1e-9 { centred(r, k) / sds[k] } else { 0.0 };
    let intercept = responses.iter().map(|r| r.best_level()).sum::<f64>() / n;
    let mut a = [[0.0; TERMS]; TERMS];
    let mut b = [0.0; TERMS];
    for r in responses {
        let x: [f64; TERMS] = std::array::from_fn(|k| standard(r, k));
        let y = r.best_level() - intercept;
        for i in 0..TERMS {
            b[i] += x[i] * y;
            (0..TERMS).for_each(|j| a[i][j] += x[i] * x[j]);
        }
    }
    (0..TERMS).for_each(|i| a[i][i] += ridge);
    let weights = solve(a, b);
    let term = |k: usize| Term { coefficient: if sds[k] > 1e-9 { weights[k] / sds[k] } else { 0.0 }, mean: means[k] };
    AnchorModel { intercept, terms: (0..TERMS).map(term).collect(), limit: LIMIT, offset }
}

/// The solution of a·x = b for a symmetric positive definite a, by Gaussian elimination.
fn solve(mut a: [[f64; TERMS]; TERMS], mut b: [f64; TERMS]) -> [f64; TERMS] {
    for k in 0..TERMS {
        for i in k + 1..TERMS {
            let factor = a[i][k] / a[k][k];
            let row = a[k];
            a[i].iter_mut().zip(row).for_each(|(v, of_k)| *v -= factor * of_k);
            b[i] -= factor * b[k];
        }
    }
    let mut x = [0.0; TERMS];
    for k in (0..TERMS).rev() {
        let known: f64 = (k + 1..TERMS).map(|j| a[k][j] * x[j]).sum();
        x[k] = (b[k] - known) / a[k][k];
    }
    x
}
