//! Drawing the description of a task.

use super::config::{DistributionConfig, Family};
use super::data::DataDraw;
use super::drawn::{DrawnTask, Net, NetworkProblem, Problem, Sizes};
use super::power_law::PowerLawConfig;
use super::real::{ImageDraw, RealData};
use super::sampling::{chance, choose, log_count, log_uniform, uniform};
use super::teacher::Function;
use crate::nn::OptimizerSpec;
use crate::rng::{Purpose, Rng, stream};
use rand::RngExt as _;

/// Decision intervals of a training.
const HORIZON: (usize, usize) = (3, 60);
const BATCH: (usize, usize) = (8, 256);
const VAL_A: (usize, usize) = (50, 1000);
const CHANNELS: (usize, usize) = (2, 16);
/// A cost above the cap is answered by new draws from ranges whose upper ends fall by this factor each time.
const SHRINK: f64 = 0.8;

/// The task that `seed` draws from the families that have a weight in `families`.
pub(super) fn draw(seed: u64, config: &DistributionConfig, families: &[(Family, f64)], real: &RealData) -> DrawnTask {
    let mut rng = stream(seed, Purpose::TaskDraw, 1);
    let family = weighted(&mut rng, families);
    let range = if family == Family::PowerLaw { config.power_law_steps } else { config.steps };
    let steps = log_count(&mut rng, range.0, range.1);
    let horizon = log_count(&mut rng, HORIZON.0, HORIZON.1);
    let mut interval_steps = ((steps as f64 / horizon as f64).round() as usize).max(1);
    let problem = match family {
        Family::PowerLaw => Problem::PowerLaw(power_law(&mut rng)),
        _ => Problem::Network(Box::new(network(&mut rng, config, family, real, horizon, &mut interval_steps))),
    };
    let what = match &problem {
        Problem::Network(network) => network.data.name(),
        Problem::PowerLaw(_) => Family::PowerLaw.name(),
    };
    DrawnTask { name: format!("{what} {seed}"), seed, horizon, interval_steps, problem }
}

fn weighted(rng: &mut Rng, families: &[(Family, f64)]) -> Family {
    let total: f64 = families.iter().map(|(_, weight)| weight).sum();
    let mut rest = total * rng.random::<f64>();
    for (family, weight) in families {
        if rest < *weight {
            return *family;
        }
        rest -= weight;
    }
    // Rounding may leave a rest; the last family with a weight takes it.
    families.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(Family::Synthetic, |(family, _)| *family)
}

/// A problem with a network. `interval_steps` becomes smaller only where even the smallest network would cost too much.
fn network(
    rng: &mut Rng,
    config: &DistributionConfig,
    family: Family,
    real: &RealData,
    horizon: usize,
    interval_steps: &mut usize,
) -> NetworkProblem {
    let data = match family {
        Family::Images => images(rng, real),
        Family::Tables => table(rng, real),
        Family::Regression => regression(rng),
        Family::Synthetic | Family::PowerLaw => synthetic(rng),
    };
    let (features, outputs, available) = shape(&data, real);
    let sizes = sizes(rng, config, available);
    let classifies = family != Family::Regression;
    let label_noise = if classifies && chance(rng, config.noisy) { uniform(rng, 0.05, 0.4) } else { 0.0 };
    let input_scale = log_uniform(rng, 0.3, 3.0);
    let in_place = matches!(data, DataDraw::Images(ImageDraw { rotated: false, .. }));
    let convolutions = if in_place && chance(rng, config.convolutional) { rng.random_range(1..=2) } else { 0 };
    let (net, optimizer) = (net(rng, config, convolutions), optimizer(rng));
    let mut problem =
        NetworkProblem { data, features, outputs, sizes, label_noise, input_scale, net, optimizer, batch_size: 0 };
    // Narrow networks and small batches come before short trainings, so that long ones stay as frequent as they are drawn.
    let mut top = 1.0;
    loop {
        let shrunk = |(lo, hi): (usize, usize)| (lo, ((hi as f64 * top) as usize).max(lo));
        let (width, batch, channels) = (shrunk(config.width), shrunk(BATCH), shrunk(CHANNELS));
        problem.net.width = log_count(rng, width.0, width.1);
        problem.net.channels = (0..convolutions).map(|_| log_count(rng, channels.0, channels.1)).collect();
        problem.batch_size = log_count(rng, batch.0, batch.1).min(sizes.train);
        if problem.flops(horizon * *interval_steps) <= config.max_flops {
            return problem;
        }
        if (width.1, batch.1) != (config.width.0, BATCH.0) {
            top *= SHRINK;
        } else if *interval_steps > 1 {
            *interval_steps = (*interval_steps as f64 * SHRINK) as usize;
        } else {
            return problem;
        }
    }
}

fn net(rng: &mut Rng, config: &DistributionConfig, convolutions: usize) -> Net {
    let layers = log_count(rng, config.layers.0, config.layers.1);
    let tanh = chance(rng, 0.3);
    let batch_norm = chance(rng, 0.15);
    let dropout = if chance(rng, 0.1) { uniform(rng, 0.05, 0.5) as f32 } else { 0.0 };
    let gain = log_uniform(rng, 0.5, 2.0);
    // Factors of product 1 leave the function of a ReLU network without biases as it is, but not how fast layers learn.
    let mut decades = vec![0.0; convolutions + layers + 1];
    if chance(rng, 0.3) {
        decades.iter_mut().for_each(|d| *d = rng.random_range(-0.5..0.5));
        let mean = decades.iter().sum::<f64>() / decades.len() as f64;
        decades.iter_mut().for_each(|d| *d -= mean);
    }
    let init_gains = decades.into_iter().map(|d: f64| (gain * 10f64.powf(d)) as f32).collect();
    Net { channels: Vec::new(), layers, width: 0, tanh, batch_norm, dropout, init_gains }
}

fn optimizer(rng: &mut Rng) -> OptimizerSpec {
    let adam = ((0.9, 0.999), 1e-8);
    match rng.random_range(0..6) {
        0 => OptimizerSpec::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        1 => OptimizerSpec::Sgd { momentum: momentum(rng) as f32, nesterov: false, weight_decay: 0.0 },
        2 => OptimizerSpec::Sgd { momentum: momentum(rng) as f32, nesterov: true, weight_decay: 0.0 },
        3 => OptimizerSpec::Adam { betas: adam.0, eps: adam.1, weight_decay: 0.0 },
        4 => OptimizerSpec::Adamw { betas: adam.0, eps: adam.1, weight_decay: log_uniform(rng, 1e-4, 0.1) },
        _ => OptimizerSpec::Rmsprop { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 },
    }
}

/// μ with 1 − μ uniform in the logarithm, rounded as people write it.
fn momentum(rng: &mut Rng) -> f64 {
    let rest = log_uniform(rng, 0.003, 0.5);
    ((1.0 - rest) * 1e4).round() / 1e4
}

fn synthetic(rng: &mut Rng) -> DataDraw {
    let features = log_count(rng, 4, 128);
    let classes = log_count(rng, 2, 30);
    let condition = log_uniform(rng, 1.0, 100.0);
    let kind = rng.random_range(0..5);
    if kind == 0 {
        let (modes, separation) = (rng.random_range(1..=4), log_uniform(rng, 0.3, 2.0));
        return DataDraw::Mixture { features, classes, modes, separation, condition };
    }
    let sharpness = chance(rng, 0.5).then(|| log_uniform(rng, 1.0, 10.0));
    let function = match kind {
        1 => mlp(rng),
        2 => Function::Linear {},
        3 => fourier(rng),
        _ => {
            let fields = log_count(rng, 2, 16);
            let (values, exponent) = (log_count(rng, 3, 128 / fields), uniform(rng, 0.0, 1.5));
            return DataDraw::Sparse { fields, values, exponent, classes, sharpness };
        }
    };
    DataDraw::Teacher { features, classes, function, sharpness, condition }
}

fn mlp(rng: &mut Rng) -> Function {
    Function::Mlp { hidden: log_count(rng, 4, 64), gain: log_uniform(rng, 0.5, 4.0) }
}

fn fourier(rng: &mut Rng) -> Function {
    Function::Fourier { waves: log_count(rng, 4, 64), frequency: log_uniform(rng, 0.5, 3.0) }
}

fn images(rng: &mut Rng, real: &RealData) -> DataDraw {
    let set = choose(rng, real.image_sets());
    let classes = if chance(rng, 0.5) { 10 } else { rng.random_range(2..10) };
    let side = set.side();
    let (rows, columns) = if chance(rng, 0.5) {
        (side, side)
    } else {
        (rng.random_range(side / 2..=side), rng.random_range(side / 2..=side))
    };
    DataDraw::Images(ImageDraw { set, classes, rows, columns, rotated: chance(rng, 0.5) })
}

fn table(rng: &mut Rng, real: &RealData) -> DataDraw {
    let tables = real.tables();
    DataDraw::Table { name: tables[rng.random_range(0..tables.len())].name.to_owned() }
}

fn regression(rng: &mut Rng) -> DataDraw {
    let features = log_count(rng, 4, 128);
    let noisy = chance(rng, 0.5);
    if chance(rng, 0.5) {
        let noise = if noisy { uniform(rng, 0.1, 1.0) } else { 0.0 };
        return DataDraw::Autoencoder { features, exponent: uniform(rng, 0.5, 2.0), noise };
    }
    let function = match rng.random_range(0..3) {
        0 => mlp(rng),
        1 => Function::Linear {},
        _ => fourier(rng),
    };
    let noise = if noisy { uniform(rng, 0.1, 1.0) } else { 0.0 };
    DataDraw::Regression { features, exponent: uniform(rng, 0.0, 1.5), outputs: log_count(rng, 1, 8), function, noise }
}

fn power_law(rng: &mut Rng) -> PowerLawConfig {
    PowerLawConfig {
        dimensions: log_count(rng, 16, 256),
        capacity: uniform(rng, 1.1, 3.0),
        source: log_uniform(rng, 0.3, 2.0),
        noise: if chance(rng, 0.3) { 0.0 } else { log_uniform(rng, 1e-3, 1.0) },
        batch_size: log_count(rng, BATCH.0, BATCH.1),
        momentum: if chance(rng, 0.5) { 0.0 } else { momentum(rng) },
    }
}

/// Inputs and outputs of the network, and how many examples there are; none for as many as are asked for.
pub(super) fn shape(data: &DataDraw, real: &RealData) -> (usize, usize, Option<usize>) {
    match *data {
        DataDraw::Mixture { features, classes, .. } | DataDraw::Teacher { features, classes, .. } => {
            (features, classes, None)
        }
        DataDraw::Sparse { fields, values, classes, .. } => (fields * values, classes, None),
        DataDraw::Images(ImageDraw { set, classes, rows, columns, .. }) => {
            (rows * columns, classes, Some(real.image_count(set)))
        }
        DataDraw::Table { ref name } => {
            let table = real.tables().iter().find(|table| table.name == *name);
            table.map_or((0, 0, None), |t| (t.features, t.classes, Some(t.table.len())))
        }
        DataDraw::Regression { features, outputs, .. } => (features, outputs, None),
        DataDraw::Autoencoder { features, .. } => (features, features, None),
    }
}

/// Parts of so many examples: a quarter at most for validation B, a fifth for A, an eighth for the test.
fn sizes(rng: &mut Rng, config: &DistributionConfig, available: Option<usize>) -> Sizes {
    let at_most = |n: usize, share: usize| available.map_or(n, |all| n.min(all / share));
    let val_a = log_count(rng, VAL_A.0, VAL_A.1);
    let val_a = at_most(val_a, 5);
    let val_b = at_most(rng.random_range(1000..=2000), 4);
    let test = at_most(500, 8);
    let rest = available.map_or(config.examples.1, |all| all - val_a - val_b - test);
    let train = log_count(rng, config.examples.0.min(rest), config.examples.1.min(rest));
    Sizes { train, val_a, val_b, test }
}
