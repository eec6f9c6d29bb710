//! Tasks to choose between policies with: other data sets, sizes and lengths than those that policies learn from.

use super::config::DistributionConfig;
use super::data::DataDraw;
use super::draw;
use super::drawn::{DrawnTask, Net, NetworkProblem, Problem, Sizes};
use super::real::{ImageDraw, ImageSet, RealData};
use super::source::{self, DrawnSource};
use super::task_distribution::TaskDistribution;
use crate::Result;
use crate::nn::OptimizerSpec;
use std::path::Path;

const SGD: OptimizerSpec = OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
const MOMENTUM: OptimizerSpec = OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
const NESTEROV: OptimizerSpec = OptimizerSpec::Sgd { momentum: 0.95, nesterov: true, weight_decay: 0.0 };
const ADAM: OptimizerSpec = OptimizerSpec::Adam { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0 };
const ADAMW: OptimizerSpec = OptimizerSpec::Adamw { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 };
const RMSPROP: OptimizerSpec =
    OptimizerSpec::Rmsprop { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 };

/// Generated tasks at the end of the list.
const GENERATED: u64 = 12;

/// A line of the list of real tasks.
struct Line {
    data: &'static str,
    train: usize,
    noise: f64,
    channels: &'static [usize],
    layers: usize,
    width: usize,
    optimizer: OptimizerSpec,
    batch_size: usize,
    horizon: usize,
    interval_steps: usize,
}

const fn line(
    data: &'static str,
    (train, noise): (usize, f64),
    (layers, width): (usize, usize),
    (optimizer, batch_size): (OptimizerSpec, usize),
    (horizon, interval_steps): (usize, usize),
) -> Line {
    Line { data, train, noise, channels: &[], layers, width, optimizer, batch_size, horizon, interval_steps }
}

/// The same with convolutions in front.
const fn convolutional(channels: &'static [usize], line: Line) -> Line {
    Line { channels, ..line }
}

/// Each is outside the training distribution at least in its length (fewer than 32 steps or more than 4,000), its width (more
/// than 96) or its number of decisions (more than 60).
const REAL: [Line; 28] = [
    line("vehicle", (400, 0.0), (1, 128), (SGD, 16), (40, 25)),
    line("vehicle", (400, 0.3), (2, 64), (MOMENTUM, 32), (75, 60)),
    line("vehicle", (400, 0.0), (2, 128), (ADAM, 20), (6, 14)),
    line("chess", (1500, 0.0), (1, 128), (RMSPROP, 64), (5, 16)),
    line("chess", (1500, 0.2), (2, 128), (ADAM, 50), (30, 50)),
    line("chess", (600, 0.0), (1, 32), (NESTEROV, 32), (80, 60)),
    line("german", (500, 0.0), (1, 64), (MOMENTUM, 25), (80, 15)),
    line("german", (500, 0.0), (2, 128), (ADAMW, 50), (20, 40)),
    line("ring", (1000, 0.0), (2, 32), (SGD, 32), (100, 45)),
    line("ring", (2000, 0.1), (1, 128), (ADAM, 64), (25, 40)),
    line("wdbc", (284, 0.1), (1, 128), (ADAM, 16), (20, 30)),
    line("wdbc", (284, 0.0), (1, 32), (SGD, 32), (70, 10)),
    line("banana", (1000, 0.0), (2, 128), (NESTEROV, 64), (30, 30)),
    line("banana", (400, 0.25), (3, 32), (RMSPROP, 32), (65, 65)),
    line("led7digit", (250, 0.0), (1, 128), (SGD, 25), (25, 20)),
    line("led7digit", (250, 0.0), (1, 32), (MOMENTUM, 25), (100, 10)),
    line("digits", (1000, 0.2), (2, 32), (MOMENTUM, 50), (100, 50)),
    line("digits", (1000, 0.0), (1, 128), (SGD, 50), (30, 30)),
    line("digits", (400, 0.0), (2, 128), (ADAMW, 40), (6, 10)),
    line("digits", (700, 0.35), (1, 128), (RMSPROP, 32), (40, 30)),
    line("mnist-12", (2000, 0.0), (1, 128), (MOMENTUM, 64), (20, 40)),
    line("mnist-12", (1000, 0.2), (2, 64), (ADAM, 64), (75, 20)),
    line("mnist-8", (4000, 0.0), (2, 128), (NESTEROV, 128), (5, 12)),
    line("mnist-8", (3000, 0.1), (1, 48), (SGD, 32), (80, 60)),
    convolutional(&[8, 16], line("digits", (1000, 0.1), (1, 32), (MOMENTUM, 32), (65, 20))),
    convolutional(&[16], line("digits", (1200, 0.0), (1, 128), (ADAM, 64), (20, 15))),
    convolutional(&[8, 8], line("mnist-12", (2000, 0.0), (1, 128), (SGD, 64), (30, 20))),
    convolutional(&[12], line("mnist-12", (1000, 0.2), (1, 64), (NESTEROV, 32), (70, 10))),
];

/// The tasks that there are data for below `data_root`: up to 28 on real tables and images, then 12 drawn ones that are longer
/// and wider than any of the default distribution. The list is fixed.
///
/// ```
/// use lrpilot::task::{TaskSource, selection_tasks};
/// let tasks = selection_tasks(None)?;
/// assert_eq!(tasks.len(), 6 + 12, "without a data folder there are the digits");
/// assert!(tasks[0].name().starts_with("digits"));
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Data`] for a damaged file.
pub fn selection_tasks(data_root: Option<&Path>) -> Result<Vec<DrawnSource>> {
    let tasks = TaskDistribution::new(DistributionConfig::larger(), data_root)?;
    let real = REAL.iter().enumerate().filter_map(|(i, line)| described(i as u64, line, &tasks.real));
    let real = real.map(|drawn| {
        let splits = source::splits(&drawn, &tasks.real)?;
        DrawnSource::new(drawn, splits)
    });
    real.chain((0..GENERATED).map(|seed| tasks.source(seed))).collect()
}

/// The description of a line, if its data are there.
fn described(index: u64, line: &Line, real: &RealData) -> Option<DrawnTask> {
    let image_set = [ImageSet::Digits, ImageSet::Mnist8, ImageSet::Mnist12].into_iter().find(|s| s.name() == line.data);
    let data = match image_set {
        Some(set) => {
            DataDraw::Images(ImageDraw { set, classes: 10, rows: set.side(), columns: set.side(), rotated: false })
        }
        None => DataDraw::Table { name: line.data.into() },
    };
    let (features, outputs, Some(available @ 1..)) = draw::shape(&data, real) else { return None };
    let held_back = available - line.train;
    let val_a = (held_back / 4).min(500);
    let sizes = Sizes { train: line.train, val_a, val_b: (held_back / 2).min(2000), test: (held_back / 4).min(1000) };
    let init_gains = vec![1.0; line.channels.len() + line.layers + 1];
    let net = Net {
        channels: line.channels.to_vec(),
        layers: line.layers,
        width: line.width,
        tanh: false,
        batch_norm: false,
        dropout: 0.0,
        init_gains,
    };
    let problem = NetworkProblem {
        data,
        features,
        outputs,
        sizes,
        label_noise: line.noise,
        input_scale: 1.0,
        net,
        optimizer: line.optimizer.clone(),
        batch_size: line.batch_size,
    };
    Some(DrawnTask {
        name: format!("{} {}, {} steps", line.data, problem.optimizer_name(), line.horizon * line.interval_steps),
        seed: index,
        horizon: line.horizon,
        interval_steps: line.interval_steps,
        problem: Problem::Network(Box::new(problem)),
    })
}
