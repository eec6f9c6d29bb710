//! A training step allocates nothing after the first, so that thousands of runs share no allocator lock and each one's
//! memory is known.

use lrpilot::nn::{LayerSpec, Mode, Network, Optimizer, OptimizerSpec, Shape, loss::cross_entropy, model};
use lrpilot::rng::{Purpose, stream};
use lrpilot::task::data::{Examples, Targets};

/// Allocations of this thread in each of three training steps.
fn allocations(input: Shape, layers: &[LayerSpec], optimizer: &str) -> [u64; 3] {
    let batch = 4;
    let mut net = Network::new(input, layers, batch).unwrap();
    net.init(&mut stream(0, Purpose::Weights, 0));
    let spec: OptimizerSpec = toml::from_str(&format!("type = \"{optimizer}\"")).unwrap();
    let mut optimizer = Optimizer::new(spec, net.params.len());
    let (x, targets) = (vec![0.5; batch * input.len()], vec![1; batch]);
    [0, 1, 2].map(|step| {
        let mut rng = stream(0, Purpose::Dropout, step);
        let info = allocation_counter::measure(|| {
            net.forward(&x, batch, &mut Mode::Train(&mut rng));
            net.backward(&x, batch, |y, dy| cross_entropy(y, &targets, 10, Some(dy)));
            optimizer.step(&mut net.params, &net.grads, 0.1);
        });
        info.count_total
    })
}

#[test]
fn no_step_allocates_after_the_first() {
    let models = [
        ("mlp", Shape::flat(64), model::mlp(&[32, 10])),
        ("mnist-cnn", Shape::image(1, 28, 28), model::cnn(10)),
        ("resnet", Shape::image(3, 32, 32), model::resnet(10)),
    ];
    for (name, input, layers) in models {
        for optimizer in OptimizerSpec::VARIANTS.iter().map(|variant| variant.name) {
            let counts = allocations(input, &layers, optimizer);
            assert_eq!(counts[1..], [0, 0], "{name} with {optimizer}");
        }
    }
}

/// A regression is as quiet: copying the batch, forward, the mean squared error, backward, optimizer.
#[test]
fn no_step_of_a_regression_allocates() {
    let targets = Targets::Values { width: 2, values: vec![0.5; 12] };
    let examples = Examples { shape: Shape::flat(3), x: vec![0.25; 18], targets };
    let mut net = Network::new(examples.shape, &model::mlp(&[8, 2]), 4).unwrap();
    let mut optimizer = Optimizer::new(OptimizerSpec::default(), net.params.len());
    let (mut x, mut targets) = ([0.0; 12], examples.targets.zeros(4));
    let mut step = || {
        examples.gather(&[5, 0, 3, 1], &mut x, &mut targets);
        net.forward(&x, 4, &mut Mode::Eval);
        net.backward(&x, 4, |y, dy| targets.loss(0..4, y, Some(dy)));
        optimizer.step(&mut net.params, &net.grads, 0.1);
    };
    step();
    assert_eq!(allocation_counter::measure(step).count_total, 0);
}

/// The counter counts: without this the test above could not fail.
#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![0u8; 10]))).count_total, 1);
}
