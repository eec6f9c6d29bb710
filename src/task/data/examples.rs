//! Examples ready for a network: inputs, and what it is to give for them.

use crate::nn::Shape;
use crate::nn::loss::{cross_entropy, mse};
use std::ops::Range;

/// What a network is to give for each example.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Class indices, each below `count`; the loss is the cross-entropy.
    Classes {
        /// Number of classes, 1 to 1024.
        count: usize,
        /// Class of each example.
        labels: Vec<u32>,
    },
    /// `width` numbers for each example, `[n][width]`; the loss is the mean squared error.
    Values {
        /// Numbers for an example, ≥ 1.
        width: usize,
        /// All numbers, example by example.
        values: Vec<f32>,
    },
}

impl Targets {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values { width, values } => values.len() / width,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Outputs of a network for an example: the number of classes, or the number of values.
    pub fn outputs(&self) -> usize {
        match self {
            Targets::Classes { count, .. } => *count,
            Targets::Values { width, .. } => *width,
        }
    }

    /// Targets of the same kind for `n` examples, all zero: room for a batch.
    pub fn zeros(&self, n: usize) -> Targets {
        match self {
            Targets::Classes { count, .. } => Targets::Classes { count: *count, labels: vec![0; n] },
            Targets::Values { width, .. } => Targets::Values { width: *width, values: vec![0.0; n * width] },
        }
    }

    /// Mean loss of a network's `outputs: [examples.len()][self.outputs()]` for `examples`. Writes its gradient, unless
    /// `gradient` is `None`.
    ///
    /// # Panics
    /// If an example does not exist, or as [`cross_entropy`] does.
    ///
    /// ```
    /// use lrpilot::task::data::Targets;
    /// let values = Targets::Values { width: 1, values: vec![0.0, 3.0] };
    /// assert_eq!(values.loss(0..2, &[1.0, 3.0], None), 0.5);
    /// let classes = Targets::Classes { count: 2, labels: vec![1] };
    /// assert!((classes.loss(0..1, &[0.0, 0.0], None) - 2f64.ln()).abs() < 1e-6);
    /// ```
    pub fn loss(&self, examples: Range<usize>, outputs: &[f32], gradient: Option<&mut [f32]>) -> f64 {
        match self {
            Targets::Classes { count, labels } => cross_entropy(outputs, &labels[examples], *count, gradient),
            Targets::Values { width, values } => {
                mse(outputs, &values[examples.start * width..examples.end * width], gradient)
            }
        }
    }

    /// How many of `examples` have the largest of their `outputs` at their class; 0 of values.
    pub fn correct(&self, examples: Range<usize>, outputs: &[f32]) -> usize {
        match self {
            Targets::Classes { count, labels } => {
                let rows = outputs.chunks_exact(*count).zip(&labels[examples]);
                rows.filter(|(row, label)| argmax(row) == **label as usize).count()
            }
            Targets::Values { .. } => 0,
        }
    }

    /// Loss of the best answer that is the same for every example, where it is no loss of 0: of classes that occur equally
    /// often the logarithm of their number, of values their variance.
    ///
    /// ```
    /// use lrpilot::task::data::Targets;
    /// let values = Targets::Values { width: 2, values: vec![0.0, 1.0, 4.0, 1.0] };
    /// assert_eq!(values.chance_loss(), Some(2.0)); // the mean of 4 and 0
    /// ```
    pub fn chance_loss(&self) -> Option<f64> {
        let loss = match self {
            Targets::Classes { count, .. } => (*count as f64).ln(),
            Targets::Values { width, values } => {
                let n = self.len() as f64;
                let column = |c: usize| values.iter().skip(c).step_by(*width).map(|v| f64::from(*v));
                let variance = |c: usize| {
                    let mean = column(c).sum::<f64>() / n;
                    column(c).map(|v| (v - mean).powi(2)).sum::<f64>() / n
                };
                (0..*width).map(variance).sum::<f64>() / *width as f64
            }
        };
        (loss > 0.0).then_some(loss)
    }

    /// Copy the targets of the examples `chosen` to the beginning of `to`.
    fn gather(&self, chosen: &[u32], to: &mut Targets) {
        match (self, to) {
            (Targets::Classes { labels, .. }, Targets::Classes { labels: to, .. }) => {
                to[..chosen.len()].iter_mut().zip(chosen).for_each(|(to, i)| *to = labels[*i as usize]);
            }
            (Targets::Values { width, values }, Targets::Values { values: to, .. }) => {
                for (to, &example) in to[..chosen.len() * width].chunks_exact_mut(*width).zip(chosen) {
                    to.copy_from_slice(&values[example as usize * width..][..*width]);
                }
            }
            _ => panic!("the room for a batch is for targets of the other kind"),
        }
    }
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Examples ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// Shape of an example.
    pub shape: Shape,
    /// Standardised inputs, `[n][shape.len()]`.
    pub x: Vec<f32>,
    /// What the network is to give for each.
    pub targets: Targets,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Outputs of a network for an example: the number of classes, or the number of values.
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// Copy the examples `chosen`, in this order, to the beginnings of `x: [·][shape.len()]` and `targets`, which
    /// [`Targets::zeros`] makes room for.
    ///
    /// # Panics
    /// If an example does not exist, there is too little room, or `targets` are of another kind.
    ///
    /// ```
    /// use lrpilot::{nn::Shape, task::data::{Examples, Targets}};
    /// let targets = Targets::Classes { count: 2, labels: vec![0, 1, 0] };
    /// let examples = Examples { shape: Shape::flat(1), x: vec![0.1, 0.2, 0.3], targets };
    /// let (mut x, mut targets) = ([0.0; 2], examples.targets.zeros(2));
    /// examples.gather(&[2, 1], &mut x, &mut targets);
    /// assert_eq!((x, targets), ([0.3, 0.2], Targets::Classes { count: 2, labels: vec![0, 1] }));
    /// ```
    pub fn gather(&self, chosen: &[u32], x: &mut [f32], targets: &mut Targets) {
        let width = self.shape.len();
        let x = &mut x[..chosen.len() * width];
        // One value a kilobyte of every example, so that the waits for memory overlap instead of following each other.
        let mut bits = 0;
        for first in (256..width).step_by(256) {
            chosen.iter().for_each(|example| bits ^= self.x[*example as usize * width + first].to_bits());
        }
        std::hint::black_box(bits);
        for (&example, x) in chosen.iter().zip(x.chunks_exact_mut(width)) {
            x.copy_from_slice(&self.x[example as usize * width..][..width]);
        }
        self.targets.gather(chosen, targets);
    }
}
