//! From finished runs to the paper's tables, ours beside theirs.

use crate::Result;
use crate::paper::document::{PaperResults, PaperTable};
use crate::paper::evidence::{BestAndMean, Evidence};
use crate::paper::figures::figures;
use crate::paper::names::{Ablation, Agent, KnobTask, Optimizer, PartId, Row, Scheduler};
use crate::paper::plan::{Experiment, Work};
use crate::paper::reported::{Reported, ReportedTable};
use crate::paper::{Data, Part, Runs, Scale};
use crate::record::{Estimate, RunRecord};
use crate::report::format::{count, estimate as estimate_text, learning_rate, significant};
use crate::schedule::distance::{log_area, warped};

/// Tables and figures from whatever was run.
///
/// # Errors
/// [`crate::Error::Bug`] if the transcription of the paper cannot be read.
pub fn results(scale: Scale, seed: u64, runs: &Runs, parts: &[Part], machine: &str) -> Result<PaperResults> {
    let evidence = Evidence { scale, seed, runs, parts };
    let reported = Reported::load()?;
    let mut findings: Vec<String> = reported.general_notes().map(String::from).collect();
    let mut tables = vec![summary_table(&evidence, &reported)?];
    let (mut held, mut judged) = (0, 0);
    for table in &reported.table {
        let (made, below) = method_table(&evidence, &reported, table)?;
        tables.push(made);
        if let (Some(below), Data::Mnist) = (below, table.data) {
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

/// The runs of a row: all of them, and those on fresh seeds.
fn row_runs(e: &Evidence<'_>, table: &ReportedTable, row: Row) -> (Vec<RunRecord>, Vec<RunRecord>) {
    let all_of = |id: &PartId| e.of(id).to_vec();
    match row {
        Row::Agent(agent) => {
            let runs = all_of(&PartId::agent(table.data, agent, table.lr));
            (runs.clone(), runs)
        }
        Row::Scheduled(optimizer) => {
            let mut runs = all_of(&PartId::table_lrs(table.data, optimizer, table.scheduler));
            runs.retain(|r| r.initial_lr == Some(table.lr));
            (runs.clone(), runs)
        }
        Row::Plain(optimizer) => {
            let of = |id: fn(Data, Optimizer, Scheduler) -> PartId| all_of(&id(table.data, optimizer, Scheduler::None));
            (of(PartId::grid), of(PartId::best))
        }
    }
}

/// The experiment that trains on `data`.
fn experiment_of(data: Data) -> Experiment {
    match data {
        Data::Mnist => Experiment::Mnist,
        Data::Cifar100 => Experiment::Cifar,
    }
}

/// One of Tables 2 to 10, and whether lrpilot is at or below every other row.
fn method_table(e: &Evidence<'_>, reported: &Reported, table: &ReportedTable) -> Result<(PaperTable, Option<bool>)> {
    let mut rows = Vec::new();
    let mut estimates: Vec<(String, Estimate)> = Vec::new();
    let ours = ("lrpilot".to_owned(), f64::NAN, f64::NAN, false);
    for (method, best, average, diverges) in table.rows.iter().chain([&ours]) {
        let row = Row::named(method)?;
        let (all, fresh) = row_runs(e, table, row);
        let fresh = e.estimate(&fresh, table.data)?;
        let mut cells = match row {
            Row::Agent(Agent::Lrpilot) => vec!["—".to_owned(); 3],
            _ => vec![significant(*best), significant(*average), if *diverges { "yes" } else { "no" }.into()],
        };
        cells.extend(BestAndMean::cells(&all));
        cells.push(fresh.as_ref().map_or(String::new(), estimate_text));
        rows.push((method.clone(), cells));
        estimates.extend(fresh.map(|f| (method.clone(), f)));
    }
    let (verdict, below) = verdict(table, &estimates);
    let (data, scheduler) = (table.data.title(), table.scheduler.title());
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
        command: e.command(&[experiment_of(table.data)]),
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
    if let (Data::Cifar100, Some(own), Some(schedule)) = (table.data, of("lrpilot"), of("SGD-Sch")) {
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
fn summary_table(e: &Evidence<'_>, reported: &Reported) -> Result<PaperTable> {
    let methods = ["agent", "sgd", "adadelta", "adam", "sgd-sch", "adadelta-sch", "adam-sch", "lrpilot"];
    let mut rows = Vec::new();
    for summary in &reported.summary {
        let number = if summary.data == Data::Mnist { 6 } else { 10 };
        let theirs = |m: &str| summary.losses.get(m).map_or("—".to_owned(), |v| significant(*v));
        rows.push((format!("{} (paper)", summary.data.name()), methods.map(theirs).to_vec()));
        let Some(table) = reported.table.iter().find(|t| t.number == number) else { continue };
        let ours = |m: &str| {
            let (_, fresh) = row_runs(e, table, Row::named(m)?);
            Ok(BestAndMean::new(&fresh).map_or("not run".into(), |o| significant(o.average)))
        };
        rows.push((
            format!("{} (ours, mean)", summary.data.name()),
            methods.into_iter().map(ours).collect::<Result<_>>()?,
        ));
    }
    let columns = ["data"].into_iter().chain(methods).map(String::from).collect();
    Ok(PaperTable {
        title: "Table 1: final loss of each optimizer".into(),
        columns,
        rows,
        verdict: Vec::new(),
        notes: reported.notes(1).map(String::from).collect(),
        command: e.command(&[Experiment::Mnist, Experiment::Cifar]),
        seeds: e.seeds(),
    })
}

/// A table of parts: label and identifier; those that were not run are left out.
fn part_table(
    e: &Evidence<'_>,
    title: &str,
    experiment: Experiment,
    rows: &[(String, PartId)],
) -> Result<Option<PaperTable>> {
    let mut made = Vec::new();
    for (label, id) in rows {
        let records = e.of(id);
        let Some(estimate) = e.estimate(records, Data::Mnist)? else { continue };
        let mut cells = BestAndMean::cells(records).to_vec();
        cells.push(estimate_text(&estimate));
        made.push((label.clone(), cells));
    }
    let columns = ["method", "best", "average", "diverged", "fresh seeds, IQM [95 %]"].map(String::from).to_vec();
    Ok((!made.is_empty()).then(|| PaperTable {
        title: title.into(),
        columns,
        rows: made,
        command: e.command(&[experiment]),
        seeds: e.seeds(),
        ..PaperTable::default()
    }))
}

fn extra_tables(e: &Evidence<'_>) -> Result<Vec<PaperTable>> {
    let row = |label: &str, id: PartId| (label.to_owned(), id);
    let best = |optimizer| PartId::best(Data::Mnist, optimizer, Scheduler::None);
    let agent = |who| PartId::agent(Data::Mnist, who, Scale::MNIST_LR);
    let mut grids = Vec::new();
    for optimizer in Optimizer::OF_GRIDS {
        for scheduler in Scheduler::ALL {
            let label = format!("{}, {}", optimizer.name(), scheduler.name());
            grids.push((label, PartId::best(Data::Mnist, optimizer, scheduler)));
        }
    }
    let mut steps = vec![row(&format!("agent, {} steps", count(e.scale.budget())), agent(Agent::Paper))];
    for n in e.scale.step_budgets().into_iter().skip(1) {
        steps.push(row(&format!("agent, {} steps", count(n)), PartId::steps(n)));
    }
    let mut ablations = vec![row("agent as in Table 3", agent(Agent::Paper))];
    ablations.extend(Ablation::ALL.map(|ablation| (ablation.title(), PartId::ablation(ablation))));
    let sls = [
        row("SLS", PartId::line_search()),
        row("agent", agent(Agent::Paper)),
        row("lrpilot", agent(Agent::Lrpilot)),
        row("SGD, best learning rate of the grid", best(Optimizer::Sgd)),
    ];
    let mut knobs = Vec::new();
    for task in KnobTask::BOTH {
        knobs.push(row(&format!("{}, learning rate alone", task.title()), PartId::knobs(task, false)));
        knobs.push(row(&format!("{}, three actions", task.title()), PartId::knobs(task, true)));
    }
    let mut optimizers = Vec::new();
    for optimizer in Optimizer::ALL {
        let name = optimizer.name();
        optimizers.push(row(&format!("lrpilot over {name}"), PartId::over(optimizer)));
        optimizers.push(row(&format!("{name}, best learning rate of the grid"), best(optimizer)));
    }
    let tables = [
        ("Grid search at an equal budget: the best learning rate again on fresh seeds", Experiment::Mnist, &grids[..]),
        ("A.6: the paper's agent after more steps", Experiment::Steps, &steps),
        ("A.7: stochastic line search", Experiment::Sls, &sls),
        ("A.8: ablations of the paper's agent", Experiment::Ablations, &ablations),
        ("Momentum and weight decay as further actions", Experiment::Knobs, &knobs),
        ("Any optimizer", Experiment::Optimizers, &optimizers),
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
    let id = PartId::line_search();
    let (runs, task) = (e.of(&id), e.part(&id)?.task()?);
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
    for who in Agent::BOTH {
        let Some(part) = e.part(&PartId::replay(who)) else { continue };
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
        let (command, of_seeds, who) = (e.command(&[Experiment::Replay]), e.seeds(), who.title());
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
                log_area as fn(&[f64], &[f64]) -> lrpilot_core::Result<f64>,
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
