//! The anchor of a pretrained policy: a learning rate from facts of the run and the untrained network, by regression.

use crate::control::anchor::{AnchorRule, OptimizerFamily};
use crate::range::{Range, check};
use crate::{Error, Measurement, Result, RunSpec};
use serde::{Deserialize, Serialize};

/// The facts that the regression goes by, in order. Logarithms are decimal: a coefficient is in decades of the learning
/// rate for a decade of the fact. `log10+ x` is 0 where x < 1.
pub const ANCHOR_TERMS: [&str; 8] = [
    "log10 steps",
    "log10 batch size",
    "log10 examples",
    "log10+ (epochs/5)",
    "log10 parameters",
    "momentum: log10 1/(1 - mu)",
    "adaptive",
    "adaptive: log10 steps",
];

/// Regression of the anchor: A = A₀·10^r with r = intercept + Σ coefficient·(fact − mean), limited, plus an offset.
///
/// A₀ is 0.01·(1 − μ) times the geometric mean over groups of ‖w‖/‖g‖ for SGD with momentum μ, and 0.01 times the root
/// mean square of the weights for Adam and its kin (0.1 for Adagrad, 10 for Adadelta), as far as the probe tells them.
///
/// ```
/// use lrpilot_core::generalist::AnchorModel;
/// use lrpilot_core::{Group, Measurement, OptimizerFamily, RunSpec};
/// let model = AnchorModel::plain(); // r = 0
/// let run = RunSpec::new(10, OptimizerFamily::Sgd { momentum: 0.9 }, vec![Group::new("w", 100)]);
/// let probe = Measurement { weight_norms: vec![2.0], grad_norms: vec![1.0], ..Measurement::default() };
/// assert!((model.anchor(&run, &probe).unwrap() - 0.002).abs() < 1e-12);
/// assert_eq!(model.anchor(&run, &Measurement::default()), None, "nothing is known of weights and gradients");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorModel {
    /// r where every fact is at its mean, in decades.
    pub intercept: f64,
    /// One for each of [`ANCHOR_TERMS`].
    pub terms: Vec<Term>,
    /// Largest |r| of the regression, in decades: it must not lead far from what was measured.
    pub limit: f64,
    /// Decades added to r, because a policy sees in the run what is too high, but not what is too low.
    pub offset: f64,
}

/// One fact's part in the regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Decades of the learning rate by decade of the fact.
    pub coefficient: f64,
    /// Mean of the fact over the runs that the regression was made from. An absent fact counts as the mean.
    pub mean: f64,
}

impl AnchorModel {
    /// No regression: A = A₀.
    pub fn plain() -> Self {
        let none = Term { coefficient: 0.0, mean: 0.0 };
        AnchorModel { intercept: 0.0, terms: vec![none; ANCHOR_TERMS.len()], limit: 1.5, offset: 0.0 }
    }

    /// The anchor, clamped to the run's bounds; `None` where the probe has no norms.
    pub fn anchor(&self, run: &RunSpec, probe: &Measurement) -> Option<f64> {
        let start = AnchorModel::start(run, probe)?;
        let lr = start * 10f64.powf(self.decades(run));
        lr.is_finite().then(|| lr.clamp(run.lr_bounds.0, run.lr_bounds.1))
    }

    /// A₀; `None` where the probe has no norms, or norms that are not finite.
    pub fn start(run: &RunSpec, probe: &Measurement) -> Option<f64> {
        let rule = match run.facts.optimizer {
            Some(OptimizerFamily::Sgd { momentum }) => AnchorRule::WeightOverGradient(0.01 * (1.0 - momentum)),
            Some(family) => AnchorRule::of(family),
            None => run.anchor,
        };
        rule.measured(probe, &run.groups)
    }

    /// r with the offset, in decades.
    pub fn decades(&self, run: &RunSpec) -> f64 {
        let part = |(fact, term): (Option<f64>, &Term)| fact.map_or(0.0, |fact| term.coefficient * (fact - term.mean));
        let r = self.intercept + AnchorModel::facts(run).into_iter().zip(&self.terms).map(part).sum::<f64>();
        r.clamp(-self.limit, self.limit) + self.offset
    }

    /// The facts of a run, in the order of [`ANCHOR_TERMS`]; `None` where one is not known. In a stream, of which no size
    /// is known, no example comes twice.
    pub fn facts(run: &RunSpec) -> [Option<f64>; ANCHOR_TERMS.len()] {
        let facts = &run.facts;
        let (steps, batch) = (facts.steps.map(|v| v as f64), facts.batch_size.map(|v| v as f64));
        let examples = facts.examples.map(|v| v as f64).or(steps.zip(batch).map(|(steps, batch)| steps * batch));
        let epochs = steps.zip(batch).zip(examples).map(|((steps, batch), examples)| steps * batch / examples);
        let parameters: usize = run.groups.iter().map(|g| g.size).sum();
        let (momentum, adaptive) = match facts.optimizer {
            Some(OptimizerFamily::Sgd { momentum }) => (Some(-(1.0 - momentum).log10()), Some(0.0)),
            Some(_) => (Some(0.0), Some(1.0)),
            None => (None, None),
        };
        let decades = |v: Option<f64>| v.map(f64::log10);
        [
            decades(steps),
            decades(batch),
            decades(examples),
            epochs.map(|epochs| (epochs / 5.0).max(1.0).log10()),
            (parameters > 0).then(|| (parameters as f64).log10()),
            momentum,
            adaptive,
            decades(steps).zip(adaptive).map(|(steps, adaptive)| adaptive * steps),
        ]
    }

    /// Check numbers and lengths.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        let (have, want) = (self.terms.len(), ANCHOR_TERMS.len());
        if have != want {
            return Err(Error::config("anchor.terms", format!("{have} terms, not {want}"), "give one for each fact"));
        }
        check("anchor.intercept", self.intercept, Range::Finite)?;
        check("anchor.offset", self.offset, Range::Finite)?;
        check("anchor.limit", self.limit, Range::NotNegative)?;
        self.terms.iter().try_for_each(|term| {
            check("anchor.terms.coefficient", term.coefficient, Range::Finite)?;
            check("anchor.terms.mean", term.mean, Range::Finite)
        })
    }
}
