//! The description of a task in a TOML table, and the built-in presets.

use crate::keys::{Allowed, Key, Variant};
use crate::nn::model::{MODELS, ModelSpec};
use crate::nn::{LayerSpec, OptimizerSpec};
use crate::range::{self, Range};
use crate::task::data::{CsvConfig, DatasetName, Objective, SplitConfig};
use crate::task::in_task;
use crate::{Error, Result, limits};
use serde::{Deserialize, Serialize};

/// A task as written in a configuration file.
///
/// ```
/// use lrpilot::task::{Preset, TaskConfig};
/// let TaskConfig::Supervised(digits) = Preset::Digits.config() else { unreachable!() };
/// assert_eq!(digits.batch_size, 50);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskConfig {
    /// A network on a data set.
    Supervised(SupervisedConfig),
    /// The noisy quadratic model of Wu et al. 2018.
    NoisyQuadratic(QuadraticConfig),
    /// A task that is not lrpilot's own; only the program that brings its [`TaskSource`](crate::task::TaskSource) can run
    /// it.
    External(ExternalConfig),
}

/// What a run folder keeps of a task that is not lrpilot's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// Name shown to people.
    pub name: String,
    /// Decision intervals in a run.
    pub horizon: usize,
    /// [`TaskSource::identity`](crate::task::TaskSource::identity) as JSON: a run is not resumed on another task.
    pub identity: String,
}

impl ExternalConfig {
    /// The keys of its table.
    pub const KEYS: &[Key] = &[
        Key::new("name", Allowed::Text, "shown to people"),
        Key::new("horizon", Allowed::Count(1, limits::HORIZON), "decision intervals in a training run, H"),
        Key::new("identity", Allowed::Text, "what decides its results, as JSON; a run is not resumed on another task"),
    ];
}

impl TaskConfig {
    /// The kinds of tasks.
    pub const VARIANTS: &[Variant] = &[
        Variant::new("supervised", "a network on a data set", SupervisedConfig::KEYS),
        Variant::new(
            "noisy-quadratic",
            "the noisy quadratic model, whose best schedule is known",
            QuadraticConfig::KEYS,
        ),
        Variant::new("external", "a task that another program brings; only that one can run it", ExternalConfig::KEYS),
    ];

    /// The table of a supervised task.
    pub fn supervised(&self) -> Option<&SupervisedConfig> {
        match self {
            TaskConfig::Supervised(c) => Some(c),
            TaskConfig::NoisyQuadratic(_) | TaskConfig::External(_) => None,
        }
    }

    /// The name shown to people.
    pub fn name(&self) -> &str {
        match self {
            TaskConfig::Supervised(c) => &c.name,
            TaskConfig::NoisyQuadratic(c) => &c.name,
            TaskConfig::External(c) => &c.name,
        }
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        match self {
            TaskConfig::Supervised(c) => c.check(),
            TaskConfig::NoisyQuadratic(c) => c.check(),
            TaskConfig::External(c) => range::count("task.horizon", c.horizon, 1, limits::HORIZON),
        }
    }

    /// Numbers that a task keeps in memory, estimated from above.
    ///
    /// # Errors
    /// As [`SupervisedConfig::numbers`].
    pub fn numbers(&self) -> Result<u128> {
        match self {
            TaskConfig::Supervised(c) => c.numbers(),
            TaskConfig::NoisyQuadratic(c) => Ok(10 * c.dimensions as u128),
            // Nobody here knows how large it is.
            TaskConfig::External(_) => Ok(0),
        }
    }

    /// Decision intervals in a run, H.
    pub fn horizon(&self) -> usize {
        match self {
            TaskConfig::Supervised(c) => c.horizon,
            TaskConfig::NoisyQuadratic(c) => c.horizon,
            TaskConfig::External(c) => c.horizon,
        }
    }
}

/// A network on a data set. [`SupervisedConfig::KEYS`] has the ranges, and `lrpilot config` prints them with the
/// defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisedConfig {
    /// Name shown to people.
    pub name: String,
    /// Data set.
    pub dataset: DatasetName,
    /// What the network is trained to give.
    #[serde(default, skip_serializing_if = "Objective::is_classification")]
    pub objective: Objective,
    /// The file, for the data set `csv` and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<Box<CsvConfig>>,
    /// Splits, label noise, data seed.
    pub data: SplitConfig,
    /// The model: a name or a list of layers.
    pub model: ModelSpec,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Optimizer steps in a decision interval; one epoch if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_steps: Option<usize>,
    /// Decision intervals in a run.
    pub horizon: usize,
    /// Smallest and largest learning rate.
    #[serde(default = "default_bounds")]
    pub lr_bounds: (f64, f64),
}

impl SupervisedConfig {
    /// The keys of a task of the kind `supervised`.
    pub const KEYS: &[Key] = &[
        Key::new("name", Allowed::Text, "name shown to people"),
        Key::new("dataset", Allowed::Name(DatasetName::CHOICES), "the data set"),
        Key::optional(
            "objective",
            Allowed::Name(Objective::CHOICES),
            "what the network is trained to give",
            "classification",
        ),
        Key::optional("csv", Allowed::Table(CsvConfig::KEYS), "The file, for the data set csv and no other.", "none"),
        Key::new(
            "model",
            Allowed::Model(MODELS, LayerSpec::VARIANTS),
            "the network; the last layer has as many units as there are classes, or numbers to predict",
        ),
        Key::new("batch_size", Allowed::Count(1, limits::IMAGES), "examples in a batch"),
        Key::optional(
            "interval_steps",
            Allowed::Count(1, limits::INTERVAL_STEPS),
            "optimizer steps between two decisions",
            "one epoch",
        ),
        Key::new("horizon", Allowed::Count(1, limits::HORIZON), "decision intervals in a training run, H"),
        Key::new("lr_bounds", Allowed::Bounds, "smallest and largest learning rate"),
        Key::new("data", Allowed::Table(SplitConfig::KEYS), "How the images are split; no two parts share one."),
        Key::new(
            "optimizer",
            Allowed::OneOf("type", OptimizerSpec::VARIANTS),
            "The optimizer, with PyTorch's names and defaults.",
        ),
    ];

    /// Optimizer steps of an epoch; the last batch may be smaller.
    pub fn steps_per_epoch(&self) -> usize {
        self.data.train_images.div_ceil(self.batch_size)
    }

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::count("task.batch_size", self.batch_size, 1, limits::IMAGES)?;
        range::count("task.horizon", self.horizon, 1, limits::HORIZON)?;
        range::count("task.interval_steps", self.interval_steps.unwrap_or(1), 1, limits::INTERVAL_STEPS)?;
        range::bounds("task.lr_bounds", self.lr_bounds)?;
        self.data.check()?;
        self.check_data()?;
        self.optimizer.check().map_err(in_task)?;
        range::count("task.model: numbers for a batch", self.numbers()?, 0, limits::NUMBERS)
    }

    /// Whether data set, file, objective and noise go together.
    fn check_data(&self) -> Result<()> {
        let (dataset, objective) = (self.dataset.name(), self.objective.name());
        match &self.csv {
            Some(csv) if self.dataset == DatasetName::Csv => csv.check()?,
            Some(_) => {
                let message = format!("it describes a file, but the data set is {dataset}");
                return Err(Error::config("task.csv", message, "set task.dataset = \"csv\", or leave the table out"));
            }
            None if self.dataset == DatasetName::Csv => {
                let message = "the data set csv has no file";
                return Err(Error::config("task.csv", message, "add the table, with the file's path"));
            }
            None => {}
        }
        if self.objective == Objective::Regression && self.csv.is_none() {
            let message = format!("{dataset} has classes, which are no numbers to predict");
            return Err(Error::config("task.objective", message, "choose classification, or a table of your own"));
        }
        if self.data.label_noise > 0.0 && !self.objective.is_classification() {
            let message = format!("{} of the labels, but the objective is {objective}", self.data.label_noise);
            return Err(Error::config("task.data.label_noise", message, "set it to 0: only classes have labels"));
        }
        Ok(())
    }
}

/// The noisy quadratic model: L(θ) = ½ Σ hᵢ θᵢ², gradients hᵢ(θᵢ − cᵢ) with cᵢ ~ N(0, σᵢ²) (Wu et al. 2018, §2.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuadraticConfig {
    /// Name shown to people.
    pub name: String,
    /// Number of dimensions; curvature hᵢ = 1/i and noise σᵢ² = noise/hᵢ.
    pub dimensions: usize,
    /// Noise scale, ≥ 0.
    pub noise: f64,
    /// Steps in a decision interval.
    pub interval_steps: usize,
    /// Decision intervals in a run.
    pub horizon: usize,
    /// Smallest and largest learning rate.
    pub lr_bounds: (f64, f64),
}

impl Default for QuadraticConfig {
    fn default() -> Self {
        QuadraticConfig {
            name: "noisy-quadratic".into(),
            dimensions: 50,
            noise: 0.1,
            interval_steps: 10,
            horizon: 30,
            lr_bounds: (1e-6, 1.9),
        }
    }
}

impl QuadraticConfig {
    /// The keys of a task of the kind `noisy-quadratic`.
    pub const KEYS: &[Key] = &[
        Key::new("name", Allowed::Text, "name shown to people"),
        Key::new(
            "dimensions",
            Allowed::Count(1, limits::DIMENSIONS),
            "dimensions; the curvature of dimension i is 1/i",
        ),
        Key::new("noise", Allowed::Number(Range::NotNegative), "scale of the gradient noise"),
        Key::new("interval_steps", Allowed::Count(1, limits::INTERVAL_STEPS), "steps between two decisions"),
        Key::new("horizon", Allowed::Count(1, limits::HORIZON), "decision intervals in a training run, H"),
        Key::new("lr_bounds", Allowed::Bounds, "smallest and largest learning rate"),
    ];

    /// Check what the types do not say.
    ///
    /// # Errors
    /// [`crate::Error::Config`] naming the key, the value and the remedy.
    pub fn check(&self) -> Result<()> {
        range::count("task.dimensions", self.dimensions, 1, limits::DIMENSIONS)?;
        range::count("task.interval_steps", self.interval_steps, 1, limits::INTERVAL_STEPS)?;
        range::count("task.horizon", self.horizon, 1, limits::HORIZON)?;
        range::check("task.noise", self.noise, Range::NotNegative)?;
        range::bounds("task.lr_bounds", self.lr_bounds)
    }
}

fn default_bounds() -> (f64, f64) {
    (1e-6, 1.0)
}

/// The built-in tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 8×8 digits, 20 % of the training labels noised, MLP 64–32–32–10, SGD with momentum 0.9, 50 epochs.
    Digits,
    /// The same without label noise: flat in the LR.
    DigitsClean,
    /// 5,000 MNIST images, MLP 784–128–10.
    MnistMlp,
    /// 500 MNIST images, the convnet of the PyTorch MNIST example.
    MnistCnn,
    /// The noisy quadratic model.
    NoisyQuadratic,
}

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 5] =
        [Preset::Digits, Preset::DigitsClean, Preset::MnistMlp, Preset::MnistCnn, Preset::NoisyQuadratic];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Digits => "digits",
            Preset::DigitsClean => "digits-clean",
            Preset::MnistMlp => "mnist-mlp",
            Preset::MnistCnn => "mnist-cnn",
            Preset::NoisyQuadratic => "noisy-quadratic",
        }
    }

    /// What it is for, in a line.
    pub fn purpose(self) -> &'static str {
        match self {
            Preset::Digits => "8×8 digits with a fifth of the training labels wrong: the task of the demo",
            Preset::DigitsClean => "the same without wrong labels, where many learning rates do equally well",
            Preset::MnistMlp => "5,000 MNIST images with a fifth of the labels wrong, a perceptron",
            Preset::MnistCnn => "500 MNIST images with a fifth of the labels wrong, a convolutional network",
            Preset::NoisyQuadratic => "the noisy quadratic model, whose best schedule is known",
        }
    }

    /// The preset called `name`.
    pub fn from_name(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Its configuration.
    pub fn config(self) -> TaskConfig {
        let momentum = OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        let supervised = |dataset, data, model: &str, batch_size, horizon| {
            TaskConfig::Supervised(SupervisedConfig {
                name: self.name().into(),
                dataset,
                objective: Objective::Classification,
                csv: None,
                data,
                model: ModelSpec::Name(model.into()),
                optimizer: momentum.clone(),
                batch_size,
                interval_steps: None,
                horizon,
                lr_bounds: default_bounds(),
            })
        };
        let digits = |label_noise| SplitConfig {
            train_images: 1000,
            val_a: 250,
            val_b: 250,
            test: 297,
            label_noise,
            data_seed: 0,
        };
        let mnist = |train_images, held_back| SplitConfig {
            train_images,
            val_a: held_back,
            val_b: held_back,
            test: 2 * held_back,
            label_noise: 0.2,
            data_seed: 0,
        };
        match self {
            Preset::Digits => supervised(DatasetName::Digits, digits(0.2), "mlp-32-32", 50, 50),
            Preset::DigitsClean => supervised(DatasetName::Digits, digits(0.0), "mlp-32-32", 50, 50),
            Preset::MnistMlp => supervised(DatasetName::Mnist, mnist(5000, 1000), "mlp-128", 64, 20),
            Preset::MnistCnn => supervised(DatasetName::Mnist, mnist(500, 250), "mnist-cnn", 50, 10),
            Preset::NoisyQuadratic => TaskConfig::NoisyQuadratic(QuadraticConfig::default()),
        }
    }
}
