//! A run for auditors: everything that another framework needs to train the same network on the same batches.
//!
//! `initial.safetensors` holds the initial weights and buffers under PyTorch's names (`{index in the model}.weight`, …),
//! `data.safetensors` the standardised examples and the batch order of each epoch, `replay.json` the model, optimizer,
//! learning rates and loss curve. Dropout is switched off, since no two frameworks draw the same masks.

use crate::nn::layers::ParamInfo;
use crate::nn::model::{LayerSpec, ModelSpec};
use crate::record::IntervalRecord;
use crate::run::trial::{Record, Trial, run_trial};
use crate::store::atomic::write_atomic;
use crate::task::data::{Examples, Targets};
use crate::task::{ConfiguredTask, Supervised, SupervisedConfig, Task as _};
use crate::{Error, Result};
use lrpilot_core::Schedule;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Serialize)]
struct Replay<'a> {
    task: &'a SupervisedConfig,
    layers: Vec<LayerSpec>,
    seed: u64,
    curve: &'a [IntervalRecord],
}

/// Train one network under `schedule` with dropout off and write what it takes to train it again to `dir`.
///
/// # Errors
/// [`Error::Usage`] if `dir` is not empty, the task trains no network on a data set, its optimizer is not PyTorch's or its interval is not an
/// epoch; [`Error::Data`] if the run diverged (there is nothing to compare then); the task's errors and [`Error::Io`].
pub fn export_replay(dir: &Path, source: &ConfiguredTask, schedule: &Schedule, seed: u64) -> Result<Trial> {
    let (config, splits) = source.supervised().ok_or_else(|| {
        Error::usage("this task trains no network on a data set", "export a supervised task, e.g. digits")
    })?;
    if !config.optimizer.is_in_pytorch() {
        let message = "the optimizer is not one of torch.optim, which replays";
        return Err(Error::usage(message, "choose another optimizer, e.g. sgd"));
    }
    if config.interval_steps.is_some() {
        return Err(Error::usage("task.interval_steps is set", "leave it out: a replay follows whole epochs"));
    }
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty", dir.display());
        return Err(Error::usage(message, "name a new folder; nothing was written"));
    }
    let layers = without_dropout(config.model.layers(splits.train.outputs())?);
    let config = SupervisedConfig { model: ModelSpec::Layers(layers.clone()), ..config.clone() };
    let mut task = Supervised::new(Arc::new(config.clone()), Arc::clone(splits))?;
    task.reset(seed)?;
    let network = task.network();
    let initial = weights(network.param_infos(), &network.params)
        .chain(weights(network.buffer_infos(), &network.buffers))
        .collect::<Vec<_>>();
    let run = run_trial(&mut task, schedule, seed, Record::Everything)?;
    if run.curve.iter().any(|c| !c.val_loss_a.is_finite()) {
        return Err(Error::data(dir, "the run diverged or was rolled back", "use a smaller learning rate"));
    }
    let order: Vec<u32> = (0..run.curve.len() as u64).flat_map(|epoch| task.batch_order(seed, epoch)).collect();
    let mut data = vec![Tensor {
        name: "batch_order".into(),
        dtype: Dtype::U32,
        shape: vec![run.curve.len(), splits.train.len()],
        bytes: order.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }];
    data.extend(examples("train", &splits.train));
    data.extend(examples("val_a", &splits.val_a));
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    write_tensors(&dir.join("initial.safetensors"), &initial)?;
    write_tensors(&dir.join("data.safetensors"), &data)?;
    let replay = Replay { task: &config, layers, seed, curve: &run.curve };
    let json =
        serde_json::to_vec_pretty(&replay).map_err(|e| Error::Bug(format!("a replay cannot be written: {e}")))?;
    write_atomic(&dir.join("replay.json"), &json)?;
    Ok(run)
}

fn without_dropout(layers: Vec<LayerSpec>) -> Vec<LayerSpec> {
    let off = |layer| if matches!(layer, LayerSpec::Dropout { .. }) { LayerSpec::Dropout { p: 0.0 } } else { layer };
    layers.into_iter().map(off).collect()
}

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn weights<'a>(infos: &'a [ParamInfo], values: &'a [f32]) -> impl Iterator<Item = Tensor> + 'a {
    let mut first = 0;
    infos.iter().map(move |info| {
        let range = first..first + info.len();
        first = range.end;
        let bytes = values[range].iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { name: info.name.clone(), dtype: Dtype::F32, shape: info.shape.clone(), bytes }
    })
}

fn examples(name: &str, e: &Examples) -> [Tensor; 2] {
    let shape = vec![e.len(), e.shape.channels, e.shape.height, e.shape.width];
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let (dtype, y_shape, y) = match &e.targets {
        Targets::Classes { labels, .. } => {
            (Dtype::U32, vec![e.len()], labels.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        Targets::Values { width, values } => (Dtype::F32, vec![e.len(), *width], floats(values)),
    };
    [
        Tensor { name: format!("{name}_x"), dtype: Dtype::F32, shape, bytes: floats(&e.x) },
        Tensor { name: format!("{name}_y"), dtype, shape: y_shape, bytes: y },
    ]
}

fn write_tensors(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let bug = |e: &dyn std::fmt::Display| Error::Bug(format!("tensors cannot be written: {e}"));
    let mut views = Vec::new();
    for Tensor { name, dtype, shape, bytes } in tensors {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| bug(&e))?));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| bug(&e))?;
    write_atomic(path, &bytes)
}
