//! Models with names, as lists of layers.

use crate::nn::layers::LayerSpec::{self, BatchNorm, Conv2d, Dense, Dropout, GlobalAvgPool, MaxPool, Relu, Residual};
use crate::{Error, Result};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The model of a task file: `model = "mnist-cnn"`, or a list of layers `model = [{ type = "dense", units = 32 }, …]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ModelSpec {
    /// A name known to [`named`].
    Name(String),
    /// The layers themselves.
    Layers(Vec<LayerSpec>),
}

impl<'de> Deserialize<'de> for ModelSpec {
    /// By hand, because a derived untagged enum cannot say which key of which layer is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrLayers;
        impl<'de> Visitor<'de> for NameOrLayers {
            type Value = ModelSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a model or a list of layers")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ModelSpec, E> {
                Ok(ModelSpec::Name(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<ModelSpec, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(seq)).map(ModelSpec::Layers)
            }
        }
        deserializer.deserialize_any(NameOrLayers)
    }
}

impl ModelSpec {
    /// The layers, for `classes` outputs; a list of layers is taken as it is.
    ///
    /// # Errors
    /// As [`named`].
    pub fn layers(&self, classes: usize) -> Result<Vec<LayerSpec>> {
        match self {
            ModelSpec::Name(name) => named(name, classes),
            ModelSpec::Layers(layers) => Ok(layers.clone()),
        }
    }
}

/// The layers of the model called `name` for `classes` outputs: `mlp-128-64` (any hidden widths), `mnist-cnn`,
/// `cifar-cnn` or `resnet`.
///
/// # Errors
/// [`Error::Config`] listing the names, if there is none such.
///
/// ```
/// let layers = lrpilot::nn::model::named("mlp-32", 10)?;
/// assert_eq!(layers, lrpilot::nn::model::mlp(&[32, 10]));
/// assert!(lrpilot::nn::model::named("vgg", 10).is_err());
/// # Ok::<(), lrpilot::Error>(())
/// ```
pub fn named(name: &str, classes: usize) -> Result<Vec<LayerSpec>> {
    let hidden = name.strip_prefix("mlp-").and_then(|w| w.split('-').map(|n| n.parse().ok()).collect());
    match (name, hidden) {
        (_, Some(hidden)) => {
            let mut widths: Vec<usize> = hidden;
            widths.push(classes);
            Ok(mlp(&widths))
        }
        // The two differ in the shape of their input alone.
        ("mnist-cnn" | "cifar-cnn", _) => Ok(cnn(classes)),
        ("resnet", _) => Ok(resnet(classes)),
        _ => Err(Error::config(
            "model",
            format!("there is no model {name:?}"),
            "use mlp-WIDTH[-WIDTH…], mnist-cnn, cifar-cnn or resnet, or give a list of layers",
        )),
    }
}

/// Dense layers of these widths with ReLU between them.
pub fn mlp(widths: &[usize]) -> Vec<LayerSpec> {
    let mut layers: Vec<_> = widths.iter().flat_map(|&units| [Dense { units }, Relu {}]).collect();
    layers.pop();
    layers
}

/// The convolutional network of PyTorch's MNIST example.
pub fn cnn(classes: usize) -> Vec<LayerSpec> {
    let conv = |channels| Conv2d { channels, kernel: 3, stride: 1, padding: 0 };
    vec![
        conv(32),
        Relu {},
        conv(64),
        Relu {},
        MaxPool { size: 2 },
        Dropout { p: 0.25 },
        Dense { units: 128 },
        Relu {},
        Dropout { p: 0.5 },
        Dense { units: classes },
    ]
}

/// A small residual network: three basic blocks of 16, 32 and 64 channels.
pub fn resnet(classes: usize) -> Vec<LayerSpec> {
    vec![
        Conv2d { channels: 16, kernel: 3, stride: 1, padding: 1 },
        BatchNorm {},
        Relu {},
        Residual { channels: 16, stride: 1 },
        Residual { channels: 32, stride: 2 },
        Residual { channels: 64, stride: 2 },
        GlobalAvgPool {},
        Dense { units: classes },
    ]
}
