//! The paper's figures from finished runs.

use crate::paper::document::PaperFigure;
use crate::paper::evidence::Evidence;
use crate::paper::names::{Ablation, Agent, Optimizer, PartId, Scheduler};
use crate::paper::plan::Experiment;
use crate::paper::{Data, Scale};
use crate::record::{IntervalRecord, RunRecord};
use crate::report::format::{count, learning_rate};
use crate::report::svg::LrSeries;

/// What is drawn of a run.
type Value = fn(&IntervalRecord) -> f64;

const LOSS: (Value, &str, &str) = (|c| c.val_loss_b, "loss", "validation loss");
const LR: (Value, &str, &str) = (|c| c.lr, "lr", "learning rate");

/// All figures that the runs allow.
pub(super) fn figures(e: &Evidence<'_>) -> Vec<PaperFigure> {
    let mut figures = Vec::new();
    figures.extend(grid_figure(
        e,
        1,
        0.0,
        "Losses of the grid search with SGD on MNIST, one thin line for each of the \
        learning rates from 1e-6 to 1; the best one is named.",
    ));
    figures.extend(cifar_figure(e));
    for (number, budget) in [3, 4, 5].into_iter().zip(e.scale.step_budgets()) {
        let id = if number == 3 { mnist_agent(Agent::Paper) } else { PartId::steps(budget) };
        let caption = format!("The paper's agent on MNIST after {} steps: one run of each policy.", count(budget));
        figures.extend(agent_figures(e, number, &id, Experiment::Steps, &caption));
    }
    figures.extend(line_search_figures(e));
    figures.extend(grid_figure(e, 7, 1e-3, "As figure 1, over the learning rates from 1e-3 to 1."));
    let caption = "The paper's agent with the reward −validation loss: one run of each policy.";
    let ablation = agent_figures(e, 8, &PartId::ablation(Ablation::ValidationLoss), Experiment::Ablations, caption);
    figures.extend(ablation.into_iter().map(|f| match f.name.ends_with("-lr") {
        true => PaperFigure { name: "figure-9-lr".into(), title: f.title.replace("Figure 8", "Figure 9"), ..f },
        false => f,
    }));
    let caption = "For comparison: lrpilot from the same initial learning rate, one run of each policy.";
    figures.extend(agent_figures(e, 0, &mnist_agent(Agent::Lrpilot), Experiment::Mnist, caption));
    figures
}

/// Agents on MNIST from the learning rate of the single experiments.
fn mnist_agent(who: Agent) -> PartId {
    PartId::agent(Data::Mnist, who, Scale::MNIST_LR)
}

/// The curve of a run of the part `id`.
fn series(e: &Evidence<'_>, id: &PartId, name: &str, run: &RunRecord, value: Value) -> LrSeries {
    let epochs = e.epochs_per_interval(id);
    let points = run.curve.iter().map(|c| ((c.interval as u64 * epochs) as f64, value(c))).collect();
    LrSeries { name: name.to_owned(), points }
}

fn figure(e: &Evidence<'_>, name: &str, title: &str, caption: &str, experiment: Experiment) -> PaperFigure {
    PaperFigure {
        name: name.into(),
        title: title.into(),
        caption: caption.into(),
        x_label: "epoch".into(),
        command: e.command(&[experiment]),
        seeds: e.seeds(),
        ..PaperFigure::default()
    }
}

/// Thin lines for a grid from `smallest` up, and its best run by name.
fn grid_figure(e: &Evidence<'_>, number: u32, smallest: f64, caption: &str) -> Option<PaperFigure> {
    let id = &PartId::grid(Data::Mnist, Optimizer::Sgd, Scheduler::None);
    let runs: Vec<&RunRecord> = e.of(id).iter().filter(|r| r.initial_lr.is_some_and(|lr| lr >= smallest)).collect();
    let best =
        runs.iter().filter(|r| r.final_loss().is_finite()).min_by(|a, b| a.final_loss().total_cmp(&b.final_loss()))?;
    let title = format!("Figure {number}: grid search for SGD");
    let mut made = figure(e, &format!("figure-{number}-loss"), &title, caption, Experiment::Mnist);
    made.y_label = LOSS.2.into();
    made.series = runs.iter().map(|r| series(e, id, "", r, LOSS.0)).collect();
    let name = best.initial_lr.map_or(String::new(), |lr| format!("best: {}", learning_rate(lr)));
    made.series.push(series(e, id, &name, best, LOSS.0));
    Some(made)
}

/// One run of each policy, loss and learning rate.
fn agent_figures(
    e: &Evidence<'_>,
    number: u32,
    id: &PartId,
    experiment: Experiment,
    caption: &str,
) -> Vec<PaperFigure> {
    let runs = e.of(id);
    let Some(first) = runs.first() else { return Vec::new() };
    let of_policies: Vec<&RunRecord> = runs.iter().filter(|r| r.seed == first.seed).collect();
    let (title, file) = match number {
        0 => ("lrpilot".to_owned(), "lrpilot".to_owned()),
        n => (format!("Figure {n}"), format!("figure-{n}")),
    };
    let make = |(value, short, label): (Value, &str, &str)| {
        let mut made = figure(e, &format!("{file}-{short}"), &format!("{title}: {label}"), caption, experiment);
        made.y_label = label.into();
        let name = |r: &RunRecord| format!("policy {}", r.policy_seed.unwrap_or(0));
        made.series = of_policies.iter().map(|r| series(e, id, &name(r), r, value)).collect();
        made
    };
    vec![make(LOSS), make(LR)]
}

/// Top of figure 2, about twice chance: losses beyond any scale would leave nothing to be seen of the others.
const CIFAR_TOP: f64 = 10.0;

/// Figure 2: the agents and the best run of each optimizer's grid on CIFAR-100.
fn cifar_figure(e: &Evidence<'_>) -> Option<PaperFigure> {
    let caption = "CIFAR-100: the first policy of both agents on the first fresh seed, and the best learning rate of \
                   each optimizer's grid on the same seed; thin: the grids' runs that end below 10. Losses above 10 are \
                   drawn there.";
    let mut made = figure(e, "figure-2-loss", "Figure 2: validation loss on CIFAR-100", caption, Experiment::Cifar);
    made.y_label = LOSS.2.into();
    let agent = |who| PartId::agent(Data::Cifar100, who, Scale::CIFAR_LR);
    let best = |optimizer| PartId::best(Data::Cifar100, optimizer, Scheduler::None);
    let named = [
        ("lrpilot", agent(Agent::Lrpilot)),
        ("paper's agent", agent(Agent::Paper)),
        ("SGD", best(Optimizer::Sgd)),
        ("Adadelta", best(Optimizer::Adadelta)),
        ("Adam", best(Optimizer::Adam)),
    ];
    for (name, id) in &named {
        made.series.extend(e.of(id).first().map(|r| series(e, id, name, r, LOSS.0)));
    }
    for optimizer in [Optimizer::Sgd, Optimizer::Adadelta, Optimizer::Adam] {
        let id = PartId::grid(Data::Cifar100, optimizer, Scheduler::None);
        let grid = e.of(&id).iter().filter(|r| r.final_loss() < CIFAR_TOP);
        made.series.extend(grid.map(|r| series(e, &id, "", r, LOSS.0)));
    }
    for (_, loss) in made.series.iter_mut().flat_map(|s| &mut s.points) {
        *loss = if *loss > CIFAR_TOP { CIFAR_TOP } else { *loss };
    }
    (!made.series.is_empty()).then_some(made)
}

/// Figure 6: line search, agent and lrpilot, loss and learning rate.
fn line_search_figures(e: &Evidence<'_>) -> Vec<PaperFigure> {
    let named = [
        ("lrpilot", mnist_agent(Agent::Lrpilot)),
        ("SLS", PartId::line_search()),
        ("paper's agent", mnist_agent(Agent::Paper)),
    ];
    if e.of(&PartId::line_search()).is_empty() {
        return Vec::new();
    }
    let caption = "Stochastic line search (mean step size of each epoch), the first policy of both agents, one seed.";
    let make = |(value, short, label): (Value, &str, &str)| {
        let title = format!("Figure 6: {label}");
        let mut made = figure(e, &format!("figure-6-{short}"), &title, caption, Experiment::Sls);
        made.y_label = label.into();
        let runs = named.iter().filter_map(|(name, id)| Some((name, id, e.of(id).first()?)));
        made.series = runs.map(|(name, id, run)| series(e, id, name, run, value)).collect();
        made
    };
    vec![make(LOSS), make(LR)]
}
