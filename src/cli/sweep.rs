//! `lrpilot sweep export`: the job of a cluster whose tasks share a comparison or a run of the suite.
//!
//! Both kinds of job give each task a number, by which `lrpilot compare --index` or `lrpilot suite run --index` takes its share. A task that is started
//! again, because it was killed or its machine was lost, goes on with the folder of its share.

use super::command::{CommandLine, quote};
use super::error::print;
use super::suite::SuiteCommand;
use super::{Cli, Command};
use crate::{Error, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// The subcommands of `sweep`.
#[derive(Clone, Debug, Subcommand)]
pub enum SweepCommand {
    /// Print the job; nothing is run.
    #[command(subcommand)]
    Export(ExportCommand),
}

/// Kinds of clusters.
#[derive(Clone, Debug, Subcommand)]
pub enum ExportCommand {
    /// A script for sbatch: an array job of Slurm.
    Slurm(SlurmArgs),
    /// A manifest (JSON) for kubectl: an Indexed Job of Kubernetes.
    K8s(K8sArgs),
}

/// What is split into how many tasks.
#[derive(Clone, Debug, Args)]
pub struct SplitArgs {
    /// Tasks that share the work.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::whole::<u16>(1..=10_000))]
    pub workers: u16,
    /// The command that would do the whole work: `compare POLICY --task TASK --out DIR …` or `suite run POLICY --out DIR …`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Arguments of `sweep export slurm`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  lrpilot sweep export slurm --workers 8 -- compare p.safetensors --task digits --out runs/digits > digits.sh\n  sbatch digits.sh"
)]
pub struct SlurmArgs {
    /// What is split.
    #[command(flatten)]
    pub split: SplitArgs,
}

/// Arguments of `sweep export k8s`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  lrpilot sweep export k8s --workers 8 --image registry/lrpilot --claim runs -- compare p.safetensors --task digits --out digits > digits.json\n  kubectl apply -f digits.json"
)]
pub struct K8sArgs {
    /// Image of the containers, with lrpilot on its path.
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    pub image: String,
    /// Persistent volume claim that all tasks can write to; it is their working directory.
    #[arg(long, value_name = "NAME", value_parser = claim_name)]
    pub claim: String,
    /// Name of the Job.
    #[arg(long, value_name = "NAME", default_value = "lrpilot", value_parser = job_name)]
    pub name: String,
    /// What is split.
    #[command(flatten)]
    pub split: SplitArgs,
}

/// Print the job.
///
/// # Errors
/// [`Error::Usage`] if the command is none that can be split.
pub fn run(command: &SweepCommand) -> Result<()> {
    let SweepCommand::Export(command) = command;
    match command {
        ExportCommand::Slurm(args) => print(&slurm(&Split::new(&args.split)?)),
        ExportCommand::K8s(args) => print(&k8s(args, &Split::new(&args.split)?)?),
    }
}

/// A command that is to be split.
struct Split {
    command: CommandLine,
    out: PathBuf,
    shares: PathBuf,
    workers: u16,
}

impl Split {
    fn new(args: &SplitArgs) -> Result<Self> {
        let out = out_of_whole(&args.command)?;
        let mut shares = out.clone().into_os_string();
        shares.push("-shares");
        Ok(Split { command: CommandLine::of_words(&args.command), out, shares: shares.into(), workers: args.workers })
    }

    /// What one task does; `number` is the variable that holds its number.
    fn script(&self, number: &str) -> String {
        let shares = quote(self.shares.as_os_str());
        let (before, behind) = self.command.around(OUT);
        let of = self.workers;
        format!(
            "share={shares}/\"${number}\"\n\
             if [ -e \"$share/config.toml\" ]; then exec lrpilot runs resume \"$share\"; fi\n\
             exec {before} {OUT} \"$share\" --index \"${number}\" --of {of}{behind}"
        )
    }

    /// The command that puts the shares together.
    fn merge(&self) -> String {
        let shares = quote(self.shares.as_os_str());
        format!("lrpilot runs merge {shares}/* {OUT} {}", quote(self.out.as_os_str()))
    }
}

const OUT: &str = "--out";

/// The folder of the whole run that `words` stand for.
fn out_of_whole(words: &[String]) -> Result<PathBuf> {
    let shown = CommandLine::of_words(words);
    let refused = |why: &str| {
        let remedy = "give a whole command behind --, such as: compare POLICY --task TASK --out DIR, or: suite run POLICY --out DIR";
        Err(Error::usage(format!("`{shown}` cannot be split: {why}"), remedy))
    };
    let parsed = Cli::try_parse_from(std::iter::once("lrpilot").chain(words.iter().map(String::as_str)));
    let (out, share, resume) = match parsed.map(|cli| cli.command) {
        Err(error) => {
            // What clap says first: a sentence, perhaps with a list below it.
            let text = error.to_string();
            let first = text.trim_start_matches("error: ").lines().take_while(|line| !line.is_empty());
            return refused(&first.map(str::trim).collect::<Vec<_>>().join(" "));
        }
        Ok(Command::Compare(args)) => (args.out, args.share, args.resume),
        Ok(Command::Suite(SuiteCommand::Run(args))) => (args.out, args.share, args.resume),
        Ok(_) => return refused("only `compare` and `suite run` can"),
    };
    match (share.index, resume) {
        (Some(_), _) => refused("it is a share itself"),
        (_, true) => refused("it goes on with a run"),
        (None, false) => Ok(out),
    }
}

fn slurm(split: &Split) -> String {
    let (command, merge, last) = (&split.command, split.merge(), split.workers - 1);
    let script = split.script("SLURM_ARRAY_TASK_ID");
    format!(
        "#!/bin/sh\n\
         #SBATCH --job-name=lrpilot\n\
         #SBATCH --array=0-{last}\n\
         #SBATCH --requeue\n\
         #SBATCH --open-mode=append\n\
         # The tasks of this array share the jobs of\n\
         #   {command}\n\
         # Submit it with sbatch where that command would be typed. When all tasks have ended, type there\n\
         #   {merge}\n\
         {script}\n"
    )
}

fn k8s(args: &K8sArgs, split: &Split) -> Result<String> {
    let mount = "/runs";
    let manifest = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": args.name,
            "annotations": { "lrpilot/command": split.command.to_string(), "lrpilot/merge": split.merge() },
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": split.workers,
            "parallelism": split.workers,
            "backoffLimit": 3 * u32::from(split.workers),
            "template": { "spec": {
                "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "share",
                    "image": args.image,
                    "command": ["/bin/sh", "-c", split.script("JOB_COMPLETION_INDEX")],
                    "workingDir": mount,
                    "resources": { "requests": { "cpu": "1" }, "limits": { "cpu": "1" } },
                    "volumeMounts": [{ "name": "runs", "mountPath": mount }],
                }],
                "volumes": [{ "name": "runs", "persistentVolumeClaim": { "claimName": args.claim } }],
            } },
        },
    });
    serde_json::to_string_pretty(&manifest).map_err(|e| Error::Bug(format!("the manifest is not JSON: {e}")))
}

/// A name as Kubernetes takes it for a Job: a DNS label (RFC 1123).
fn job_name(text: &str) -> Result<String, String> {
    match text.len() <= 63 && is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("not a name of Kubernetes; give at most 63 of a-z, 0-9 and -, with no - at an end".to_owned()),
    }
}

/// A name as Kubernetes takes it for a claim: a DNS subdomain (RFC 1123).
fn claim_name(text: &str) -> Result<String, String> {
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err("not a name of Kubernetes; give at most 253 of a-z, 0-9, - and ., with no - at an end".to_owned()),
    }
}

fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

/// The name of an image: one word.
fn image(text: &str) -> Result<String, String> {
    match !text.is_empty() && !text.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => Err("not the name of an image; give one such as registry/lrpilot:1".to_owned()),
    }
}
