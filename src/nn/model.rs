//! What a model is, as a task file describes it: shapes, layers, and models with names.

use crate::keys::{Allowed, Choice, Key, Variant};
use crate::range::Range;
use crate::{Error, Result, limits};
use LayerSpec::{BatchNorm, Conv2d, Dense, Dropout, GlobalAvgPool, MaxPool, Relu, Residual};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The shape of one example: channels × height × width, whatever the layout in memory. A flat vector of `n` features is
/// `n × 1 × 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels, or features of a flat vector.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A flat vector of `features` numbers.
    pub const fn flat(features: usize) -> Self {
        Shape { channels: features, height: 1, width: 1 }
    }

    /// An image.
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Shape { channels, height, width }
    }

    /// Numbers per example.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an example has no numbers.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Positions of an image; 1 for a flat vector.
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Numbers in a row, where the channels of a position are neighbours.
    pub const fn row_len(&self) -> usize {
        self.width * self.channels
    }
}

/// One entry of a model description. In TOML: `{ type = "dense", units = 32 }`.
///
/// A dense layer flattens its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerSpec {
    /// `y = x·Wᵀ + b` (`torch.nn.Linear`).
    Dense {
        /// Output features, ≥ 1.
        units: usize,
    },
    /// Cross-correlation (`torch.nn.Conv2d`).
    Conv2d {
        /// Output channels, ≥ 1.
        channels: usize,
        /// Side of the square kernel, ≥ 1.
        kernel: usize,
        /// Step between windows, ≥ 1.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros added on each side.
        #[serde(default)]
        padding: usize,
    },
    /// `max(x, 0)`.
    Relu {},
    /// Hyperbolic tangent.
    Tanh {},
    /// Maximum over disjoint `size × size` windows (`torch.nn.MaxPool2d(size)`).
    MaxPool {
        /// Side of the window, ≥ 1.
        size: usize,
    },
    /// Mean over each channel's positions (`torch.nn.AdaptiveAvgPool2d(1)`).
    GlobalAvgPool {},
    /// While training, zeroes each value with probability `p` and multiplies the others by 1/(1−p) (`torch.nn.Dropout`).
    Dropout {
        /// Probability of a zero, in [0, 1).
        p: f32,
    },
    /// Batch normalisation per channel (`torch.nn.BatchNorm2d` / `BatchNorm1d`: eps 1e-5, momentum 0.1, affine).
    BatchNorm {},
    /// Two 3×3 convolutions with batch normalisation and a skip connection (the ResNet basic block). Where channels or stride
    /// change, the skip is a 1×1 convolution with batch normalisation.
    Residual {
        /// Output channels, ≥ 1.
        channels: usize,
        /// Stride of the first convolution, ≥ 1.
        #[serde(default = "one")]
        stride: usize,
    },
}

impl LayerSpec {
    /// The layers with their keys.
    pub const VARIANTS: &[Variant] = &[
        Variant::new(
            "dense",
            "every input to every output (Linear); it flattens images",
            &[Key::new("units", Allowed::Count(1, limits::WIDTH), "numbers that it gives")],
        ),
        Variant::new(
            "conv2d",
            "convolution with a square kernel (Conv2d)",
            &[
                CHANNELS,
                Key::new("kernel", Allowed::Count(1, limits::WIDTH), "side of the kernel"),
                Key::new("stride", Allowed::Count(1, limits::WIDTH), "step between windows"),
                Key::new("padding", Allowed::Count(0, limits::WIDTH), "zeros added on each side"),
            ],
        ),
        Variant::new("relu", "max(x, 0) (ReLU)", &[]),
        Variant::new("tanh", "hyperbolic tangent (Tanh)", &[]),
        Variant::new(
            "max-pool",
            "maximum over windows that do not overlap (MaxPool2d)",
            &[Key::new("size", Allowed::Count(1, limits::WIDTH), "side of the window")],
        ),
        Variant::new("global-avg-pool", "mean over each channel (AdaptiveAvgPool2d(1))", &[]),
        Variant::new(
            "dropout",
            "zeroes values at random while the network trains (Dropout)",
            &[Key::new("p", Allowed::Number(Range::BelowOne), "probability of a zero")],
        ),
        Variant::new("batch-norm", "batch normalisation of each channel (BatchNorm1d, BatchNorm2d)", &[]),
        Variant::new(
            "residual",
            "two 3×3 convolutions with batch normalisation and a skip connection (the basic block of ResNet)",
            &[CHANNELS, Key::new("stride", Allowed::Count(1, limits::WIDTH), "stride of the first convolution")],
        ),
    ];
}

const CHANNELS: Key = Key::new("channels", Allowed::Count(1, limits::WIDTH), "channels that it gives");

/// The names that [`named`] knows.
pub const MODELS: &[Choice] = &[
    Choice::new("mlp-WIDTH[-WIDTH…]", "dense layers of these widths, with ReLU between them; e.g. mlp-128-64"),
    Choice::new("mnist-cnn", "the network of PyTorch's MNIST example"),
    Choice::new("cifar-cnn", "the same for images in colour"),
    Choice::new("resnet", "three residual blocks of 16, 32 and 64 channels"),
];

fn one() -> usize {
    1
}

/// An elementwise function that is fused into the layer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

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
    /// It is written by hand, because a derived untagged enum cannot say which key of which layer is wrong.
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
    /// The layers for `classes` outputs. A list of layers is returned unchanged.
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
/// [`Error::Config`] listing the names, if no model is called `name`.
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
        // The two differ only in the shape of their input.
        ("mnist-cnn" | "cifar-cnn", _) => Ok(cnn(classes)),
        ("resnet", _) => Ok(resnet(classes)),
        _ => Err(Error::config(
            "model",
            format!("there is no model {name:?}"),
            format!("use {}", Allowed::Model(MODELS, LayerSpec::VARIANTS).words()),
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
