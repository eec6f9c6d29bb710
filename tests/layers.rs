//! Every layer and model against PyTorch (tests/golden/layers.py).

use lrpilot::nn::model::LayerSpec::{self, *};
use lrpilot::nn::model::{cnn, mlp, resnet};
use lrpilot::nn::{Mode, Network, Shape};
use lrpilot::rng::{Purpose, stream};
use serde_json::Value;

/// The sequence of `fill` in layers.py.
fn fill(n: usize, k: usize) -> Vec<f32> {
    (0..n).map(|i| (((i * 7919 + k * 104_729) % 10_007) as f64 / 5003.0 - 1.0) as f32).collect()
}

fn conv(channels: usize, kernel: usize, stride: usize, padding: usize) -> LayerSpec {
    Conv2d { channels, kernel, stride, padding }
}

/// The cases of layers.py, in its order; dropout is `nn.Identity` there, so its probability is zero here.
fn cases() -> Vec<(&'static str, Shape, usize, Vec<LayerSpec>)> {
    let image = Shape::image;
    let without_dropout = |mut layers: Vec<LayerSpec>| {
        layers.iter_mut().for_each(|l| {
            if let Dropout { p } = l {
                *p = 0.0;
            }
        });
        layers
    };
    vec![
        ("dense-tanh", Shape::flat(5), 3, vec![Dense { units: 4 }, Tanh {}, Dense { units: 2 }]),
        ("conv", image(2, 6, 5), 3, vec![conv(4, 3, 1, 0)]),
        ("conv-padding", image(2, 6, 5), 3, vec![conv(4, 3, 1, 1), Tanh {}]),
        ("conv-stride", image(3, 7, 6), 2, vec![conv(5, 3, 2, 1), Relu {}]),
        ("conv-wide-padding", image(1, 3, 2), 2, vec![conv(2, 2, 3, 4)]),
        ("conv-pointwise", image(3, 4, 4), 2, vec![conv(4, 1, 1, 0)]),
        ("max-pool", image(2, 7, 5), 2, vec![conv(2, 1, 1, 0), MaxPool { size: 2 }]),
        ("max-pool-3", image(2, 7, 5), 2, vec![conv(2, 1, 1, 0), MaxPool { size: 3 }]),
        ("average", image(2, 5, 5), 3, vec![conv(3, 3, 1, 0), GlobalAvgPool {}]),
        ("batch-norm-2d", image(3, 4, 3), 4, vec![conv(3, 1, 1, 0), BatchNorm {}, Relu {}]),
        ("batch-norm-1d", Shape::flat(6), 5, vec![Dense { units: 4 }, BatchNorm {}, Tanh {}]),
        ("residual", image(4, 5, 5), 3, vec![Residual { channels: 4, stride: 1 }]),
        ("residual-stride", image(4, 5, 6), 3, vec![Residual { channels: 6, stride: 2 }]),
        ("mlp", Shape::flat(64), 4, mlp(&[32, 10])),
        ("mnist-cnn", image(1, 28, 28), 2, without_dropout(cnn(10))),
        ("cifar-cnn", image(3, 32, 32), 2, without_dropout(cnn(100))),
        ("resnet", image(3, 32, 32), 2, resnet(10)),
    ]
}

/// Entries of a tensor that layers.py stores: all of a small one, evenly spaced ones of a large one.
const ENTRIES: usize = 300;

/// Compare `values` with a `{norm, entries}` of layers.py, computed there in f64, relative to the root mean square.
#[track_caller]
fn assert_sample(values: &[f32], want: &Value, what: &str) {
    let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let want_norm = want["norm"].as_f64().unwrap();
    assert!((norm - want_norm).abs() <= 1e-5 * want_norm + 1e-6, "{what}: norm {norm}, PyTorch {want_norm}");
    // Sums of f32 products: a few hundred roundings of 6e-8 each, with cancellation.
    let tolerance = 1e-4 * want_norm / (values.len() as f64).sqrt() + 2e-6;
    let entries = want["entries"].as_array().unwrap();
    let chosen: Vec<f32> = values.iter().step_by((values.len() / ENTRIES).max(1)).take(ENTRIES).copied().collect();
    assert_eq!(chosen.len(), entries.len(), "{what}");
    for (i, (got, want)) in chosen.iter().zip(entries).enumerate() {
        let want = want.as_f64().unwrap();
        assert!((f64::from(*got) - want).abs() <= tolerance, "{what}, entry {i}: {got}, PyTorch {want}");
    }
}

#[test]
fn equal_to_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("golden/layers.json")).unwrap();
    for (name, shape, batch, layers) in cases() {
        let want = &golden[name];
        let mut net = Network::new(shape, &layers, batch).unwrap();
        let infos = net.param_infos().to_vec();
        let mut at = 0;
        for (k, info) in infos.iter().enumerate() {
            let fan_in = info.len() as f64 / info.shape[0] as f64;
            let scale = if info.shape.len() == 1 { 1.0 } else { (1.7 / fan_in.sqrt()) as f32 };
            let values = fill(info.len(), k + 1);
            net.params[at..at + values.len()].iter_mut().zip(values).for_each(|(p, v)| *p = v * scale);
            at += info.len();
        }
        let x = fill(batch * shape.len(), 0);
        let mut rng = stream(0, Purpose::Dropout, 0);
        let y = net.forward(&x, batch, &mut Mode::Train(&mut rng)).to_vec();
        assert_sample(&y, &want["output"], &format!("{name} output"));
        let weights = fill(y.len(), 99);
        net.backward(&x, batch, |_, dy| {
            dy.copy_from_slice(&weights);
            0.0
        });
        let named = |infos: &[lrpilot::nn::layers::ParamInfo], values: &[f32], key: &str| {
            assert_eq!(infos.len(), want[key].as_object().unwrap().len(), "{name} {key}");
            let mut rest = values;
            for info in infos {
                let (values, tail) = rest.split_at(info.len());
                assert_sample(values, &want[key][&info.name], &format!("{name} {key} {}", info.name));
                rest = tail;
            }
        };
        named(&infos, &net.grads, "gradients");
        named(net.buffer_infos(), &net.buffers, "buffers");
        let y = net.forward(&x, batch, &mut Mode::Eval).to_vec();
        assert_sample(&y, &want["eval"], &format!("{name} eval"));
    }
}

#[test]
fn dropout_keeps_the_mean_and_the_share() {
    let n = 100_000;
    let mut net = Network::new(Shape::flat(n), &[Dropout { p: 0.25 }], 1).unwrap();
    let x = vec![1.0; n];
    let mut rng = stream(1, Purpose::Dropout, 0);
    let y = net.forward(&x, 1, &mut Mode::Train(&mut rng)).to_vec();
    let zeros = y.iter().filter(|v| **v == 0.0).count() as f64;
    // Binomial: standard deviation √(n·p·(1−p)); five of them.
    assert!((zeros - 0.25 * n as f64).abs() < 5.0 * (n as f64 * 0.1875).sqrt(), "{zeros}");
    assert!(y.iter().all(|v| *v == 0.0 || *v == 1.0 / 0.75));
    assert_eq!(net.forward(&x, 1, &mut Mode::Eval), &x[..]);
}

#[test]
fn nan_reaches_the_output() {
    for (name, shape, batch, layers) in cases() {
        let mut net = Network::new(shape, &layers, batch).unwrap();
        net.init(&mut stream(0, Purpose::Weights, 0));
        let mut x = fill(batch * shape.len(), 0);
        // In the middle of an image, which no window leaves out.
        let middle = (shape.height / 2 - shape.height / 4) * shape.width + shape.width / 2;
        x[middle.min(shape.len() - 1)] = f32::NAN;
        if name == "conv-wide-padding" {
            x.fill(f32::NAN);
        }
        let mut rng = stream(0, Purpose::Dropout, 0);
        let y = net.forward(&x, batch, &mut Mode::Train(&mut rng));
        assert!(y.iter().any(|v| v.is_nan()), "{name}");
    }
}

#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let bad = [
        conv(0, 3, 1, 0),
        conv(4, 0, 1, 0),
        conv(4, 3, 0, 0),
        conv(4, 9, 1, 1),
        conv(4, 3, 1, usize::MAX),
        MaxPool { size: 0 },
        MaxPool { size: 5 },
        Dropout { p: 1.0 },
        Dropout { p: -0.1 },
        Dropout { p: f32::NAN },
        Dense { units: 0 },
        Residual { channels: 0, stride: 1 },
        Residual { channels: 2, stride: 0 },
    ];
    for spec in bad {
        let error = Network::new(Shape::image(2, 4, 4), std::slice::from_ref(&spec), 2).err();
        assert!(error.is_some_and(|e| e.to_string().contains("model[0]")), "{spec:?}");
    }
}
