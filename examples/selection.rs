//! Pretrained policies side by side on the tasks that they are chosen on: each against the base run of the first.
//!
//! `cargo run --release --example selection -- POLICY…` reads the data sets below `LRPILOT_DATA`. A score is the mean over
//! tasks and seeds of ln(loss/loss of the base run), as a ratio: less is better.

use lrpilot::run::generalist::Scorer;
use lrpilot::task::selection_tasks;
use lrpilot::{Error, Result, RunContext, Schedule};
use lrpilot_core::generalist::Generalist;
use std::path::Path;
use std::sync::Arc;

const SEEDS: usize = 3;

fn main() -> Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let policies = files.iter().map(|f| Ok(Generalist::load(Path::new(f))?)).collect::<Result<Vec<_>>>()?;
    let Some(first) = policies.first() else {
        return Err(Error::usage("there is no policy to score", "name the files of policies"));
    };
    let root = std::env::var_os("LRPILOT_DATA").map(std::path::PathBuf::from);
    let tasks = selection_tasks(root.as_deref())?.into_iter().map(|task| Arc::new(task) as _).collect();
    let context = RunContext::local();
    let scorer = Scorer::new(tasks, SEEDS, 1, &Schedule::generalist(first.base_run()), &context)?;
    let mut scores = Vec::new();
    for (file, policy) in files.iter().zip(&policies) {
        for (name, policy) in [(file.clone(), policy.clone()), (format!("{file}, base run"), policy.base_run())] {
            let score = scorer.score(&Schedule::generalist(policy), &context)?;
            println!("{name}: mean {:.4}, interquartile mean {:.4}", score.mean, score.iqm);
            scores.push(score);
        }
    }
    for (i, task) in scorer.names().iter().enumerate() {
        let ratios: Vec<String> = scores.iter().map(|s| format!("{:6.3}", s.tasks[i])).collect();
        println!("{task:40} {}", ratios.join(" "));
    }
    Ok(())
}
