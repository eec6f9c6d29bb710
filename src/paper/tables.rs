//! From finished runs to the paper's tables, ours beside theirs.

use crate::Result;
use crate::paper::document::{PaperResults, PaperTable};
use crate::paper::figures::figures;
use crate::paper::plan::{Work, grid_optimizers, lr_name};
use crate::paper::reported::Reported;
use crate::paper::reported::ReportedTable;
use crate::paper::{Data, Part, Runs, Scale};
use crate::record::statistics::{estimate, replace_non_finite};
use crate::record::{Estimate, RunRecord};
use crate::report::format::{count, estimate as estimate_text, learning_rate, significant};
use crate::schedule::distance::{log_area, warped};

/// The runs with what is needed to read them.
pub(super) struct Evidence<'a> {
    pub scale: Scale,
    pub seed: u64,
    pub runs: &'a Runs,
    pub parts: &'a [Part],
}

/// What a set of runs comes to.
struct Outcome {
    best: f64,
    average: f64,
    diverged: usize,
    runs: usize,
}

impl Evidence<'_> {
    /// The runs of a part; none where it was not run.
    pub fn of(&self, id: &str) -> &[RunRecord] {
        self.runs.get(id).map_or(&[], Vec::as_slice)
    }

    /// Epochs of an interval of a part's curves.
    pub fn epochs_per_interval(&self, id: &str) -> u64 {
        self.parts.iter().find(|p| p.id == id).map_or(1, Part::epochs_per_interval)
    }

    pub fn command(&self, experiment: &str) -> String {
        let Evidence { scale, seed, .. } = self;
        format!("lrpilot paper --scale {} --seed {seed} --only {experiment}", scale.name())
    }

    pub fn seeds(&self) -> String {
        let last = self.seed + self.scale.seeds() - 1;
        format!("agent seeds {} to {last}, {} fresh seeds for each evaluation", self.seed, self.scale.seeds())
    }

    /// Ten times the loss of knowing nothing: what a diverged run counts as in an interquartile mean.
    fn penalty(&self, data: &str) -> f64 {
        let classes: f64 = if data == Data::Cifar100.name() && self.scale != Scale::Smoke { 100.0 } else { 10.0 };
        10.0 * classes.ln()
    }

    /// Interquartile mean of the final validation loss with its interval, resampled within policies.
    fn estimate(&self, records: &[RunRecord], data: &str) -> Result<Option<Estimate>> {
        if records.is_empty() {
            return Ok(None);
        }
        let losses: Vec<f64> = records.iter().map(RunRecord::final_loss).collect();
        let strata: Vec<u64> = records.iter().map(|r| r.policy_seed.unwrap_or(0)).collect();
        estimate(&replace_non_finite(&losses, self.penalty(data)), &strata, self.seed).map(Some)
    }
}

impl Outcome {
    fn new(records: &[RunRecord]) -> Option<Outcome> {
        let finite: Vec<f64> = records.iter().map(RunRecord::final_loss).filter(|l| l.is_finite()).collect();
        (!records.is_empty()).then(|| Outcome {
            best: finite.iter().copied().fold(f64::NAN, f64::min),
            average: finite.iter().sum::<f64>() / finite.len() as f64,
            diverged: records.len() - finite.len(),
            runs: records.len(),
        })
    }

    fn cells(outcome: Option<&Outcome>) -> [String; 3] {
        match outcome {
            Some(o) => {
                [significant(o.best), significant(o.average), format!("{} of {}", o.diverged, count(o.runs as u64))]
            }
            None => ["not run", "", ""].map(String::from),
        }
    }
}

/// Tables and figures from whatever was run.
///
/// # Errors
/// [`crate::Error::Bug`] if the transcription of the paper cannot be read.
pub fn results(scale: Scale, seed: u64, runs: &Runs, parts: &[Part], machine: &str) -> Result<PaperResults> {
    let evidence = Evidence { scale, seed, runs, parts };
    let reported = Reported::load()?;
    let mut findings: Vec<String> = reported.general_notes().map(String::from).collect();
    let mut tables = vec![summary_table(&evidence, &reported)];
    let (mut held, mut judged) = (0, 0);
    for table in &reported.table {
        let (made, below) = method_table(&evidence, &reported, table)?;
        tables.push(made);
        if let (Some(below), "mnist") = (below, table.data.as_str()) {
            judged += 1;
            held += usize::from(below);
        }
    }
    if judged > 0 {
        findings.push(format!(
            "lrpilot's final validation loss is at or below that of every other row in {held} of {judged} MNIST tables \
             (interquartile means on fresh seeds)."
        ));
    }
    tables.extend(extra_tables(&evidence)?);
    findings.push(
        "Ours: validation loss after the last epoch. \"Best\" and \"average\" are over the runs of a row (for SGD, \
         Adadelta and Adam: 100 learning rates on one seed, whose smallest loss is a lucky one); the last column runs \
         the best learning rate again on fresh seeds. Diverged: the loss is not finite; such runs are left out of the \
         average, and count as ten times chance in the last column."
            .into(),
    );
    findings.push(format!(
        "lrpilot's agents decide every {} epochs. They train as many epochs as the paper's agents, on MNIST on episodes that \
         start within a factor of two of the anchor, a learning rate that the untrained network tells. An initial learning \
         rate further from it than that is replaced by it, so the same policies stand in all MNIST tables, and rows whose \
         learning rate is replaced are the same runs: they are one result, not several. On CIFAR-100 they start from the \
         table's learning rate, as the paper's agents do, and a loss above the untrained network's costs no more than that.",
        evidence.scale.decision_epochs()
    ));
    let figures = figures(&evidence);
    Ok(PaperResults { scale: scale.description().into(), machine: machine.into(), findings, tables, figures })
}

/// The identifiers of a row: all its runs, and those on fresh seeds.
fn row_parts(table: &ReportedTable, method: &str) -> (String, String) {
    let (data, lr) = (&table.data, lr_name(table.lr));
    let lower = method.to_lowercase();
    match lower.strip_suffix("-sch") {
        _ if lower == "agent" || lower == "lrpilot" => {
            let id = format!("{data}/{lower}/{lr}");
            (id.clone(), id)
        }
        Some(optimizer) => {
            let id = format!("{data}/{optimizer}/{}/runs", table.scheduler);
            (id.clone(), id)
        }
        None => (format!("{data}/{lower}/none/grid"), format!("{data}/{lower}/none/best")),
    }
}

fn at_lr(records: &[RunRecord], table: &ReportedTable, id: &str) -> Vec<RunRecord> {
    let all = !id.ends_with("/runs");
    records.iter().filter(|r| all || r.initial_lr == Some(table.lr)).cloned().collect()
}

/// One of Tables 2 to 10, and whether lrpilot is at or below every other row.
fn method_table(e: &Evidence<'_>, reported: &Reported, table: &ReportedTable) -> Result<(PaperTable, Option<bool>)> {
    let mut rows = Vec::new();
    let mut estimates: Vec<(String, Estimate)> = Vec::new();
    let ours = ("lrpilot".to_owned(), f64::NAN, f64::NAN, false);
    for (method, best, average, diverges) in table.rows.iter().chain([&ours]) {
        let (all_id, fresh_id) = row_parts(table, method);
        let all = at_lr(e.of(&all_id), table, &all_id);
        let fresh = e.estimate(&at_lr(e.of(&fresh_id), table, &fresh_id), &table.data)?;
        let mut cells = match method.as_str() {
            "lrpilot" => vec!["—".to_owned(); 3],
            _ => vec![significant(*best), significant(*average), if *diverges { "yes" } else { "no" }.into()],
        };
        cells.extend(Outcome::cells(Outcome::new(&all).as_ref()));
        cells.push(fresh.as_ref().map_or(String::new(), estimate_text));
        rows.push((method.clone(), cells));
        estimates.extend(fresh.map(|f| (method.clone(), f)));
    }
    let (verdict, below) = verdict(table, &estimates);
    let scheduler = if table.scheduler == "one-cycle" { "OneCycleLR" } else { "ConstantLR" };
    let data = if table.data == "mnist" { "MNIST" } else { "CIFAR-100" };
    let made = PaperTable {
        title: format!("Table {}: {data}, {scheduler}, learning rate {}", table.number, learning_rate(table.lr)),
        columns: [
            "method",
            "paper: best",
            "paper: average",
            "paper: diverges",
            "ours: best",
            "ours: average",
            "ours: diverged",
            "ours: fresh seeds, IQM [95 %]",
        ]
        .map(String::from)
        .to_vec(),
        rows,
        verdict,
        notes: reported.notes(table.number).map(String::from).collect(),
        command: e.command(&table.data),
        seeds: e.seeds(),
    };
    Ok((made, below))
}

/// What both sets of numbers say about the agent, and ours about lrpilot.
fn verdict(table: &ReportedTable, ours: &[(String, Estimate)]) -> (Vec<String>, Option<bool>) {
    let theirs = |method: &str| table.rows.iter().find(|r| r.0 == method).map_or(f64::NAN, |r| r.1);
    let rival = table.rows.iter().filter(|r| r.0 != "Agent").min_by(|a, b| a.1.total_cmp(&b.1));
    let mut sentences = Vec::new();
    if let Some((method, best, ..)) = rival {
        let relation = if theirs("Agent") <= *best { "at or below" } else { "above" };
        sentences.push(format!(
            "Paper: the agent's {} is {relation} the best other row, {method} at {}.",
            significant(theirs("Agent")),
            significant(*best)
        ));
    }
    let of = |name: &str| ours.iter().find(|(method, _)| method == name).map(|(_, e)| e);
    let mut below = None;
    for (name, left_out) in [("Agent", "lrpilot"), ("lrpilot", "")] {
        let others = ours.iter().filter(|(method, _)| method != name && method != left_out);
        let (Some(own), Some((rival, best))) = (of(name), others.min_by(|a, b| a.1.iqm.total_cmp(&b.1.iqm))) else {
            continue;
        };
        let relation = relation(own, best);
        let who = if name == "Agent" { "the paper's agent" } else { name };
        sentences.push(format!(
            "Ours: {who} at {} is {relation} the best other row, {rival} at {}.",
            significant(own.iqm),
            significant(best.iqm)
        ));
        if name == "lrpilot" {
            below = Some(own.iqm <= best.iqm);
        }
    }
    // The best rows end at one loss there: what an agent has to match is a schedule that needs none.
    if let ("cifar-100", Some(own), Some(schedule)) = (table.data.as_str(), of("lrpilot"), of("SGD-Sch")) {
        sentences.push(format!(
            "Ours: lrpilot at {} is {} SGD with OneCycleLR at {}.",
            significant(own.iqm),
            relation(own, schedule),
            significant(schedule.iqm)
        ));
    }
    (sentences, below)
}

fn relation(own: &Estimate, other: &Estimate) -> &'static str {
    match own {
        o if o.hi < other.lo => "clearly below",
        o if o.iqm <= other.iqm => "at or below, intervals overlapping,",
        o if o.lo <= other.hi => "above, intervals overlapping,",
        _ => "clearly above",
    }
}

/// Table 1: one learning rate for each data set, "-Sch" being OneCycleLR (Tables 6 and 10 have the same runs).
fn summary_table(e: &Evidence<'_>, reported: &Reported) -> PaperTable {
    let methods = ["agent", "sgd", "adadelta", "adam", "sgd-sch", "adadelta-sch", "adam-sch", "lrpilot"];
    let mut rows = Vec::new();
    for summary in &reported.summary {
        let number = if summary.data == "mnist" { 6 } else { 10 };
        let theirs = |m: &str| summary.losses.get(m).map_or("—".to_owned(), |v| significant(*v));
        rows.push((format!("{} (paper)", summary.data), methods.map(theirs).to_vec()));
        let Some(table) = reported.table.iter().find(|t| t.number == number) else { continue };
        let ours = |m: &str| {
            let (_, id) = row_parts(table, m);
            let outcome = Outcome::new(&at_lr(e.of(&id), table, &id));
            outcome.map_or("not run".into(), |o| significant(o.average))
        };
        rows.push((format!("{} (ours, mean)", summary.data), methods.map(ours).to_vec()));
    }
    let columns = ["data"].into_iter().chain(methods).map(String::from).collect();
    PaperTable {
        title: "Table 1: final loss of each optimizer".into(),
        columns,
        rows,
        verdict: Vec::new(),
        notes: reported.notes(1).map(String::from).collect(),
        command: e.command("mnist --only cifar-100"),
        seeds: e.seeds(),
    }
}

/// A table of parts: label and identifier; those that were not run are left out.
fn part_table(
    e: &Evidence<'_>,
    title: &str,
    experiment: &str,
    rows: &[(String, String)],
) -> Result<Option<PaperTable>> {
    let mut made = Vec::new();
    for (label, id) in rows {
        let records = e.of(id);
        let Some(estimate) = e.estimate(records, Data::Mnist.name())? else { continue };
        let mut cells = Outcome::cells(Outcome::new(records).as_ref()).to_vec();
        cells.push(estimate_text(&estimate));
        made.push((label.clone(), cells));
    }
    let columns = ["method", "best", "average", "diverged", "fresh seeds, IQM [95 %]"].map(String::from).to_vec();
    Ok((!made.is_empty()).then(|| PaperTable {
        title: title.into(),
        columns,
        rows: made,
        command: e.command(experiment),
        seeds: e.seeds(),
        ..PaperTable::default()
    }))
}

fn extra_tables(e: &Evidence<'_>) -> Result<Vec<PaperTable>> {
    let row = |label: &str, id: &str| (label.to_owned(), id.to_owned());
    let budget = e.scale.budget();
    let mut grids = Vec::new();
    for (optimizer, _) in grid_optimizers() {
        for schedule in ["none", "constant-lr", "one-cycle"] {
            grids.push(row(&format!("{optimizer}, {schedule}"), &format!("mnist/{optimizer}/{schedule}/best")));
        }
    }
    let mut steps = vec![row(&format!("agent, {} steps", count(budget)), "mnist/agent/1e-3")];
    for n in e.scale.step_budgets().into_iter().skip(1) {
        steps.push(row(&format!("agent, {} steps", count(n)), &format!("mnist/agent/{n}-steps")));
    }
    let ablations = [
        row("agent as in Table 3", "mnist/agent/1e-3"),
        row("λ = 0", "mnist/agent/lambda-0"),
        row("reward −validation loss", "mnist/agent/validation-loss"),
        row("agent's learning rate 0.01", "mnist/agent/agent-lr-0.01"),
        row("agent's learning rate 0.05", "mnist/agent/agent-lr-0.05"),
        row("agent's learning rate 0.1", "mnist/agent/agent-lr-0.1"),
    ];
    let mut sls = vec![row("SLS", "mnist/sls"), row("agent", "mnist/agent/1e-3"), row("lrpilot", "mnist/lrpilot/1e-3")];
    sls.push(row("SGD, best learning rate of the grid", "mnist/sgd/none/best"));
    let knobs = [
        row("SGD with momentum, learning rate alone", "mnist/lrpilot/sgd-momentum/lr"),
        row("SGD with momentum, three actions", "mnist/lrpilot/sgd-momentum/knobs"),
        row("Adam, learning rate alone", "mnist/lrpilot/adam/lr"),
        row("Adam, three actions", "mnist/lrpilot/adam/knobs"),
    ];
    let mut optimizers = Vec::new();
    for name in ["sgd", "adam", "adamw", "adadelta", "adagrad", "rmsprop"] {
        let id = if name == "adam" { "mnist/lrpilot/adam/lr".into() } else { format!("mnist/lrpilot/{name}") };
        optimizers.push(row(&format!("lrpilot over {name}"), &id));
        optimizers.push(row(&format!("{name}, best learning rate of the grid"), &format!("mnist/{name}/none/best")));
    }
    let tables = [
        ("Grid search at an equal budget: the best learning rate again on fresh seeds", "mnist", &grids[..]),
        ("A.6: the paper's agent after more steps", "steps", &steps),
        ("A.7: stochastic line search", "sls", &sls),
        ("A.8: ablations of the paper's agent", "ablations", &ablations),
        ("Momentum and weight decay as further actions", "knobs", &knobs),
        ("Any optimizer", "optimizers", &optimizers),
    ];
    let mut made = Vec::new();
    for (title, experiment, rows) in tables {
        made.extend(part_table(e, title, experiment, rows)?);
    }
    if let Some(table) = made.iter_mut().find(|t| t.title.starts_with("A.7")) {
        table.verdict.extend(line_search_cost(e));
    }
    made.extend(replay_tables(e));
    Ok(made)
}

/// What the line search costs beside SGD.
fn line_search_cost(e: &Evidence<'_>) -> Option<String> {
    let runs = e.of("mnist/sls");
    let task = e.parts.iter().find(|p| p.id == "mnist/sls")?.task()?;
    let steps = (task.steps_per_epoch() * task.horizon * runs.len()) as f64;
    let extra: u64 = runs.iter().map(|r| r.extra_forward_passes).sum();
    let per_step = extra as f64 / steps;
    (!runs.is_empty()).then(|| {
        format!(
            "SLS takes {per_step:.2} extra forward passes for each optimizer step; at a third of a training step each, a \
             run costs {:.2} times one of SGD.",
            1.0 + per_step / 3.0
        )
    })
}

/// Replays of the schedule found on seed i on seed j, and how far the schedules are from each other.
fn replay_tables(e: &Evidence<'_>) -> Vec<PaperTable> {
    let mut tables = Vec::new();
    for method in ["agent", "lrpilot"] {
        let Some(part) = e.parts.iter().find(|p| p.id == format!("mnist/{method}/replay")) else { continue };
        let (Work::Replay { agent, seeds, .. }, runs) = (&part.work, e.of(&part.id)) else { continue };
        if runs.is_empty() {
            continue;
        }
        let columns = |first: &str| {
            let numbers = (1..=seeds.len()).map(|j| format!("seed {j}"));
            std::iter::once(first.to_owned()).chain(numbers).collect::<Vec<_>>()
        };
        let loss = |i: u64, j: u64| {
            runs.iter().find(|r| r.policy_seed == Some(i) && r.seed == j).map_or(f64::NAN, RunRecord::final_loss)
        };
        let label = |i: usize| format!("schedule of seed {}", i + 1);
        let matrix = |cell: &dyn Fn(u64, u64) -> f64| -> Vec<(String, Vec<String>)> {
            let row = |i: &u64| seeds.iter().map(|j| significant(cell(*i, *j))).collect();
            seeds.iter().enumerate().map(|(n, i)| (label(n), row(i))).collect()
        };
        let first = e.of(agent).first().and_then(|r| r.policy_seed);
        let lrs = |seed: u64| -> Vec<f64> {
            let run = e.of(agent).iter().find(|r| r.policy_seed == first && r.seed == seed);
            run.map_or(Vec::new(), |r| r.curve.iter().map(|c| c.lr).collect())
        };
        let (command, of_seeds) = (e.command("replay"), e.seeds());
        let who = if method == "agent" { "the paper's agent" } else { "lrpilot" };
        tables.push(PaperTable {
            title: format!("A.7: schedules of {who} found on one seed, replayed on another (final validation loss)"),
            columns: columns("replayed on"),
            rows: matrix(&loss),
            command: command.clone(),
            seeds: of_seeds.clone(),
            ..PaperTable::default()
        });
        for (name, distance) in [
            (
                "log-area: mean distance of log10 LR at the same time, in decades",
                log_area as fn(&[f64], &[f64]) -> Result<f64>,
            ),
            ("time-warped: the same along the best warping path within a tenth of the run", |a, b| warped(a, b, 0.1)),
        ] {
            tables.push(PaperTable {
                title: format!("A.7: distance between schedules of {who}, {name}"),
                columns: columns("between"),
                rows: matrix(&|i, j| distance(&lrs(i), &lrs(j)).unwrap_or(f64::NAN)),
                command: command.clone(),
                seeds: of_seeds.clone(),
                ..PaperTable::default()
            });
        }
    }
    tables
}
