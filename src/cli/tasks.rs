//! `lrpilot tasks`: everything that a configuration can name.

use super::text::item;
use super::{GlobalArgs, context, error::print, tasks_sample};
use crate::keys::{Choice, Variant};
use crate::nn::model::{MODELS, ModelSpec};
use crate::nn::{LayerSpec, OptimizerSpec};
use crate::task::data::DatasetName;
use crate::task::{Preset, TaskConfig};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use lrpilot_core::schedule::named::NAMED;
use serde::Serialize;
use std::path::Path;

/// Column at which explanations begin.
const COLUMN: usize = 24;

/// Arguments of `tasks`.
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  lrpilot tasks --json\n  lrpilot tasks sample --n 5"
)]
pub struct TasksArgs {
    /// What else to do than to list names.
    #[command(subcommand)]
    pub command: Option<TasksCommand>,
    /// Print one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// The subcommands of `tasks`.
#[derive(Clone, Debug, Subcommand)]
pub enum TasksCommand {
    /// Show tasks of the distribution that a policy for all tasks learns from.
    Sample(tasks_sample::SampleArgs),
}

/// Everything that can be named, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Lists {
    tasks: Vec<TaskLine>,
    models: Vec<Line>,
    layers: Vec<Line>,
    optimizers: Vec<OptimizerLine>,
    schedules: Vec<Line>,
    data_sets: Vec<DataLine>,
}

#[derive(Debug, Serialize)]
struct TaskLine {
    name: &'static str,
    /// None for a task without data.
    data_set: Option<&'static str>,
    model: Option<String>,
    optimizer: &'static str,
    horizon: usize,
    data_present: bool,
    purpose: &'static str,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    purpose: &'static str,
}

#[derive(Debug, Serialize)]
struct OptimizerLine {
    name: &'static str,
    purpose: &'static str,
    /// None for one that finds its own step sizes.
    default_lr: Option<f64>,
}

#[derive(Debug, Serialize)]
struct DataLine {
    name: &'static str,
    purpose: &'static str,
    present: bool,
}

/// Print the lists, or what the subcommand asks for.
///
/// # Errors
/// [`Error::Io`]; those of the subcommand.
pub fn run(args: &TasksArgs, global: &GlobalArgs) -> Result<()> {
    if let Some(TasksCommand::Sample(args)) = &args.command {
        return tasks_sample::run(args, global);
    }
    let lists = lists(&context::data_dir(global))?;
    if args.json {
        let json = serde_json::to_string_pretty(&lists).map_err(|e| Error::Bug(format!("the lists: {e}")))?;
        return print(&json);
    }
    print(&text(&lists))
}

fn lists(root: &Path) -> Result<Lists> {
    let choice = |c: &Choice| Line { name: c.name, purpose: c.purpose };
    let variant = |v: &Variant| Line { name: v.name, purpose: v.purpose };
    let data = |c: &Choice| {
        // Where a file of the user's own is, its task says.
        let present = DatasetName::from_name(c.name).is_none_or(|d| is_present(d, root));
        DataLine { name: c.name, purpose: c.purpose, present }
    };
    Ok(Lists {
        tasks: Preset::ALL.into_iter().map(|preset| task(preset, root)).collect::<Result<_>>()?,
        models: MODELS.iter().map(choice).collect(),
        layers: LayerSpec::VARIANTS.iter().map(variant).collect(),
        optimizers: OptimizerSpec::VARIANTS.iter().map(optimizer).collect::<Result<_>>()?,
        schedules: NAMED.iter().map(|n| Line { name: n.name, purpose: n.purpose }).collect(),
        data_sets: DatasetName::CHOICES.iter().map(data).collect(),
    })
}

fn is_present(dataset: DatasetName, root: &Path) -> bool {
    dataset.files().iter().all(|file| dataset.find(root, file).is_ok())
}

fn task(preset: Preset, root: &Path) -> Result<TaskLine> {
    let config = preset.config();
    let supervised = config.supervised();
    let model = supervised.map(|c| match &c.model {
        ModelSpec::Name(name) => name.clone(),
        ModelSpec::Layers(layers) => format!("{} layers", layers.len()),
    });
    let optimizer = match &config {
        TaskConfig::Supervised(c) => optimizer_name(&c.optimizer)?,
        TaskConfig::NoisyQuadratic(_) | TaskConfig::External(_) => "sgd",
    };
    Ok(TaskLine {
        name: preset.name(),
        data_set: supervised.map(|c| c.dataset.name()),
        model,
        optimizer,
        horizon: config.horizon(),
        data_present: supervised.is_none_or(|c| is_present(c.dataset, root)),
        purpose: preset.purpose(),
    })
}

/// The name by which a configuration asks for the optimizer.
fn optimizer_name(spec: &OptimizerSpec) -> Result<&'static str> {
    let json = serde_json::to_value(spec).map_err(|e| Error::Bug(format!("an optimizer: {e}")))?;
    let found = OptimizerSpec::VARIANTS.iter().find(|v| json["type"] == v.name);
    found.map(|v| v.name).ok_or_else(|| Error::Bug(format!("the optimizer {} is not listed", json["type"])))
}

fn optimizer(variant: &Variant) -> Result<OptimizerLine> {
    let spec: OptimizerSpec = serde_json::from_value(serde_json::json!({ "type": variant.name }))
        .map_err(|e| Error::Bug(format!("the optimizer {}: {e}", variant.name)))?;
    let default_lr = (!spec.finds_lr()).then(|| spec.default_lr());
    Ok(OptimizerLine { name: variant.name, purpose: variant.purpose, default_lr })
}

fn text(lists: &Lists) -> String {
    let mut out = String::from("Tasks (`lrpilot config TASK` prints all of one):\n");
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["task", "data", "model", "optimizer", "horizon", "data there"]);
    for t in &lists.tasks {
        let model = t.model.as_deref().unwrap_or("-");
        let there = if t.data_present { "yes" } else { "no" };
        let data = t.data_set.unwrap_or("none");
        table.add_row([t.name, data, model, t.optimizer, &t.horizon.to_string(), there]);
    }
    out.push_str(&table.trim_fmt());
    out.push('\n');
    lists.tasks.iter().for_each(|t| item(&mut out, COLUMN, t.name, t.purpose));
    section(&mut out, "Models (task.model)", &lists.models);
    section(&mut out, "Layers (task.model as a list)", &lists.layers);
    out.push_str("\nOptimizers (task.optimizer), with the learning rate if none is given:\n");
    for o in &lists.optimizers {
        let lr = o.default_lr.map_or("no LR".into(), |lr| lr.to_string());
        item(&mut out, COLUMN, &format!("{:12}{lr}", o.name), o.purpose);
    }
    section(&mut out, "Schedules (`lrpilot evaluate TASK --schedule NAME`)", &lists.schedules);
    out.push_str("\nData sets (task.dataset; `lrpilot data fetch NAME` downloads one):\n");
    for d in &lists.data_sets {
        let there = if d.present { "there" } else { "not there" };
        item(&mut out, COLUMN, d.name, &format!("{there}: {}", d.purpose));
    }
    out
}

fn section(out: &mut String, title: &str, lines: &[Line]) {
    out.push_str(&format!("\n{title}:\n"));
    lines.iter().for_each(|line| item(out, COLUMN, line.name, line.purpose));
}
