//! The HTML page made from synthetic records: complete, offline, safe and small.
//!
//! `LRPILOT_REPORT_DIR=folder cargo test --test report` keeps the page and the picture for looking at.

use lrpilot::record::statistics::estimate;
use lrpilot::record::*;
use lrpilot::record::{Response, Sensitivity};
use lrpilot::report::html::{Origin, ReportInput, render};
use lrpilot::report::svg::{LrSeries, lr_chart};
#[cfg(feature = "cli")]
use lrpilot::report::terminal;
use lrpilot::rng::{Purpose, stream};
use rand::RngExt as _;

const INTERVALS: usize = 30;

/// Learning rate of a made-up method in interval `i`.
fn lr(method: &str, i: usize, jitter: f64) -> f64 {
    let t = i as f64 / INTERVALS as f64;
    match method {
        "pilot" => 0.02 * (1.0 + 4.0 * (t * 8.0).min(1.0)) * (-4.5 * t * t).exp() * (1.0 + 0.4 * (jitter - 0.5)),
        "pilot, replayed" => 0.02 * (1.0 + 4.0 * (t * 8.0).min(1.0)) * (-4.5 * t * t).exp(),
        "mean-LR constant" => 0.04,
        "cosine (tuned)" => 0.05 * (0.5 + 0.5 * (std::f64::consts::PI * t).cos()) + 1e-5,
        "exponential (tuned)" => 0.06 * 0.88f64.powi(i as i32),
        "step (tuned)" => 0.05 * 0.1f64.powi((i / 12) as i32),
        "constant (tuned)" => 0.02,
        "constant 1e-3" => 1e-3,
        _ => 0.3,
    }
}

/// (name, kind, loss at the end, epochs spent)
const METHODS: [(&str, Kind, f64, u64); 9] = [
    ("pilot", Kind::Learned, 0.0712, 48_000),
    ("pilot, replayed", Kind::Control, 0.0744, 48_000),
    ("mean-LR constant", Kind::Control, 0.0921, 48_000),
    ("cosine (tuned)", Kind::Tuned, 0.0745, 48_000),
    ("exponential (tuned)", Kind::Tuned, 0.0782, 47_700),
    ("step (tuned)", Kind::Tuned, 0.0803, 48_000),
    ("constant (tuned)", Kind::Tuned, 0.0894, 46_800),
    ("constant 1e-3", Kind::Default, 0.3112, 0),
    ("constant 0.3", Kind::Default, 0.6213, 0),
];

fn runs(each: usize) -> Vec<RunRecord> {
    let mut rng = stream(5, Purpose::Environment, 0);
    let mut runs = Vec::new();
    for (method, kind, end, _) in METHODS {
        for seed in 0..each {
            let (shift, jitter) = (0.85 + 0.3 * rng.random::<f64>(), rng.random::<f64>());
            let diverged = method == "constant 0.3" && seed % 4 == 0;
            let curve = (1..=INTERVALS).map(|i| {
                let falling = (2.3 - end) * (-(i as f64) / (2.0 + 3.0 * jitter)).exp();
                let loss = if diverged && i > 3 { f64::NAN } else { end * shift + falling };
                IntervalRecord {
                    momentum: None,
                    weight_decay: None,
                    interval: i,
                    lr: lr(method, i - 1, if kind == Kind::Learned { rng.random() } else { 0.5 }),
                    train_loss: 0.8 * loss,
                    val_loss_a: loss,
                    val_loss_b: loss * (0.98 + 0.04 * rng.random::<f64>()),
                    val_accuracy_b: 0.97,
                }
            });
            runs.push(RunRecord {
                job_id: format!("{method}-{seed}"),
                stage: Stage::Compare,
                method: method.into(),
                seed: seed as u64,
                policy_seed: (kind == Kind::Learned).then_some(1 + seed as u64 % 3),
                initial_lr: Some(lr(method, 0, 0.5)),
                curve: curve.collect(),
                diverged,
                at_chance: false,
                test_loss: Some(end * shift),
                extra_forward_passes: 0,
            });
        }
    }
    runs
}

fn comparison(runs: &[RunRecord]) -> Comparison {
    let method = |&(name, kind, _, epochs_spent): &(&str, Kind, f64, u64)| {
        let own: Vec<&RunRecord> = runs.iter().filter(|r| r.method == name).collect();
        let strata: Vec<u64> = own.iter().map(|r| r.policy_seed.unwrap_or(0)).collect();
        let of = |value: &dyn Fn(&RunRecord) -> f64| {
            let values: Vec<f64> =
                own.iter().map(|r| value(r)).map(|v| if v.is_finite() { v } else { 10f64.ln() }).collect();
            estimate(&values, &strata, 1).unwrap()
        };
        MethodResult {
            name: name.into(),
            kind,
            epochs_spent,
            runs: own.len(),
            diverged: own.iter().filter(|r| r.diverged).count(),
            final_val_loss: of(&|r| r.curve[INTERVALS - 1].val_loss_b),
            best_val_loss: of(&|r| r.curve.iter().map(|c| c.val_loss_b).fold(f64::INFINITY, f64::min)),
            test_loss: of(&|r| r.test_loss.unwrap_or(f64::NAN)),
            initial_lr: (kind != Kind::Learned).then(|| lr(name, 0, 0.5)),
        }
    };
    let claim =
        |statement: &str, held, evidence: &str| Claim { statement: statement.into(), held, evidence: evidence.into() };
    let break_even =
        |method: &str, trainings, how: &str| BreakEven { method: method.into(), trainings, how: how.into() };
    Comparison {
        task: "digits-mlp".into(),
        budget_epochs: 48_000,
        methods: METHODS.iter().map(method).collect(),
        claims: vec![
            claim(
                "The learned policy ends below the best default",
                true,
                "0.07136 [0.07020, 0.07263] against 0.3113 [0.3046, 0.3177]",
            ),
            claim(
                "The learned policy ends below the best tuned schedule",
                false,
                "paired difference −0.0011 [−0.0041, 0.0019]",
            ),
        ],
        break_even: vec![
            break_even(
                "cosine (tuned)",
                Some(2),
                "the policy cost 48 000 epochs once, tuning costs 48 000 for each new task",
            ),
            break_even("constant 1e-3", None, "costs nothing to tune"),
        ],
        command: "lrpilot demo --seed 1".into(),
    }
}

fn updates() -> Vec<UpdateRecord> {
    let mut rng = stream(6, Purpose::Environment, 0);
    let mut updates = Vec::new();
    for policy_seed in 1..=3 {
        for update in 1..=120 {
            let learned = 1.0 - (-(update as f64) / 30.0).exp();
            let ended = update % 17 != 0;
            updates.push(UpdateRecord {
                policy_seed,
                update,
                env_steps: 400 * update as u64,
                mean_return: ended.then(|| -1.0 + 3.2 * learned + 0.3 * rng.random::<f64>()),
                mean_final_val_loss: ended.then(|| 0.07 + 0.5 * (1.0 - learned) + 0.03 * rng.random::<f64>()),
                diverged: 0,
                clip_fraction: 0.1,
                approx_kl: 0.01,
                policy_loss: -0.01,
                value_loss: 0.1,
                explained_variance: 0.8,
                action_sd: 0.3,
            });
        }
    }
    updates
}

fn input(runs_each: usize) -> ReportInput {
    let runs = runs(runs_each);
    let sensitivity = |feature: &str, sensitivity| Sensitivity { feature: feature.into(), sensitivity };
    let response = |name: &str, action: fn(f32) -> f32| Response {
        name: name.into(),
        influence: 0.2,
        typical: 0.5,
        curve: (0..=10).map(|i| i as f32 / 10.0).map(|x| (x, action(x))).collect(),
        seen: vec![0.0, 0.4, 0.5, 1.0],
    };
    ReportInput {
        title: "A learned schedule for digits".into(),
        comparison: Some(comparison(&runs)),
        runs,
        updates: updates(),
        sensitivities: vec![
            sensitivity("training progress", -0.41),
            sensitivity("log learning rate", -0.22),
            sensitivity("change of training loss", 0.17),
            sensitivity("validation loss minus training loss", -0.06),
            sensitivity("gradient norm, layer 1", 0.02),
        ],
        responses: vec![
            response("training progress", |x| 0.3 - 0.6 * x),
            response("log learning rate", |x| 0.2 * (3.0 * x).sin()),
        ],
        origin: Origin {
            command: "lrpilot demo --seed 1".into(),
            version: "lrpilot 0.1.0".into(),
            machine: "2 cores, x86-64".into(),
        },
    }
}

/// Keep what was made if the environment asks for it.
fn keep(name: &str, content: &str) {
    if let Some(folder) = std::env::var_os("LRPILOT_REPORT_DIR") {
        std::fs::write(std::path::Path::new(&folder).join(name), content).unwrap();
    }
}

#[test]
fn page_has_every_part_and_nothing_from_outside() {
    let input = input(30);
    let page = render(&input).unwrap();
    keep("report.html", &page);
    for part in [
        "1 of 2 claims made beforehand held.",
        "<th scope=\"row\">pilot</th>",
        "✗ did not hold",
        "data-chart=\"0\"",
        "policy seed 3 (10 runs)",
        "Return during training",
        "change of training loss",
        "after 2 trainings",
        "2 cores, x86-64",
        "Copyright (c) 2022 Leon Sorokin",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    for outside in ["http:", "https:", "src=", "@import", "url(", "<link", "<iframe"] {
        assert!(!page.contains(outside), "{outside} at {:?}", page.find(outside));
    }
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn text_from_outside_cannot_become_markup() {
    const EVIL: &str = "</script><script>alert('x')</script><!--<b title=\"q\">";
    let mut input = input(2);
    input.title = EVIL.into();
    input.sensitivities[0].feature = EVIL.into();
    input.responses[0].name = EVIL.into();
    input.origin.machine = EVIL.into();
    let comparison = input.comparison.as_mut().unwrap();
    comparison.methods[0].name = EVIL.into();
    comparison.claims[0].evidence = EVIL.into();
    input.runs.iter_mut().filter(|r| r.method == "pilot").for_each(|r| r.method = EVIL.into());
    let page = render(&input).unwrap();
    assert!(!page.contains("<script>alert") && !page.contains("<b title"));
    // One element for the numbers, one for uPlot, one for the page's own script.
    assert_eq!(page.matches("</script").count(), 3);
    // The charts still carry the name, as data.
    let json = page.split_once("id=\"charts\">").unwrap().1.split_once("</script>").unwrap().0;
    let charts: serde_json::Value = serde_json::from_str(json).unwrap();
    let names: Vec<_> = charts[0]["series"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert!(names.contains(&EVIL.into()), "{names:?}");
}

#[test]
fn ten_thousand_runs_stay_a_small_page() {
    let mut many = input(2);
    many.runs = runs(1112);
    assert!(many.runs.len() > 10_000);
    let page = render(&many).unwrap();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn parts_that_are_missing_leave_their_section_out() {
    let page =
        render(&ReportInput { title: "Only training".into(), updates: updates(), ..Default::default() }).unwrap();
    assert!(page.contains("Return during training"));
    for absent in [
        "id=\"comparison\"",
        "id=\"claims\"",
        "id=\"curves\"",
        "id=\"sensitivity\"",
        "id=\"responses\"",
        "id=\"origin\"",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn one_diverged_run_without_a_comparison_is_enough() {
    let mut run = runs(1).swap_remove(0);
    run.diverged = true;
    run.curve.truncate(1);
    run.curve[0].val_loss_b = f64::NAN;
    let page = render(&ReportInput { title: "One".into(), runs: vec![run], ..Default::default() }).unwrap();
    keep("one.html", &page);
    assert!(page.contains("policy seed 1 (1 run)"));
    assert!(page.contains("\"mid\":[null]"));
}

#[test]
fn same_records_same_bytes() {
    assert_eq!(render(&input(5)).unwrap(), render(&input(5)).unwrap());
}

#[test]
fn picture_shows_each_schedule() {
    let series = |name: &str| {
        let points: Vec<_> = (0..INTERVALS).map(|i| (i as f64 + 1.0, lr(name, i, 0.5))).collect();
        LrSeries { name: name.into(), points }
    };
    let schedules = ["cosine (tuned)", "exponential (tuned)", "step (tuned)", "constant (tuned)"];
    let mut all = vec![series("pilot")];
    all.extend(schedules.map(series));
    let svg = lr_chart(&all);
    keep("schedules.svg", &svg);
    assert_eq!(svg.matches("class=\"line\"").count(), 5);
    for name in schedules {
        assert!(svg.contains(&format!(">{name}</text>")), "{name}");
    }
}

/// The comparison of `lrpilot demo --seed 0` as version 0.1.0 wrote it, without the values of single runs.
#[cfg(feature = "cli")]
fn demo() -> Comparison {
    serde_json::from_str(include_str!("golden/comparison_0_1_0.json")).unwrap()
}

/// Widest line, counted in characters; all of them are one column wide.
#[cfg(feature = "cli")]
fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap()
}

#[cfg(feature = "cli")]
#[test]
fn the_terminal_shows_the_demo_in_80_columns() {
    let mut comparison = demo();
    let text = terminal::text(&comparison, false);
    keep("terminal.txt", &text);
    assert!(widest(&text) <= 80, "{text}");
    for method in &comparison.methods {
        assert!(text.lines().any(|line| line.starts_with(&format!(" {} ", method.name))), "{} in\n{text}", method.name);
    }
    // Its IQMs of test loss and validation loss, the latter the README's number.
    let ours = text.lines().find(|line| line.starts_with(" lrpilot ")).unwrap();
    assert!(ours.contains("0.3981 [0.3942, 0.4016]") && ours.trim_end().ends_with("0.4081"), "{ours}");
    assert!(text.contains("mean of the middle half") && text.contains("Rows stand by kind"));
    for claim in &comparison.claims {
        assert!(text.contains(&format!("✓ {}", claim.statement.split(',').next().unwrap())), "{text}");
    }
    assert!(text.contains("break-even against one-cycle (tuned): after 1 training"));
    assert!(!text.contains("diverged "), "no run did");
    comparison.methods[3].diverged = 7;
    comparison.methods[0].test_loss.lo = 1.234e-7;
    let text = terminal::text(&comparison, false);
    assert!(widest(&text) <= 80 && text.contains("diverged") && text.contains("[1.234e-7, 0.4016]"), "{text}");
}

#[cfg(feature = "cli")]
#[test]
fn the_wide_table_has_every_column() {
    let comparison = demo();
    let text = terminal::text(&comparison, true);
    let of = |method: &MethodResult| lrpilot::report::table::cells(method);
    for method in &comparison.methods {
        let line = text.lines().find(|line| line.starts_with(&format!(" {} ", method.name))).unwrap();
        assert!(of(method).iter().all(|cell| line.contains(cell)), "{line}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn a_claim_that_did_not_hold_says_so() {
    let mut comparison = demo();
    comparison.claims[0].held = false;
    let text = terminal::text(&comparison, false);
    let statement = &comparison.claims[0].statement;
    assert!(text.contains(&format!("✗ {statement}\n  did not hold: 0.4081 against")), "{text}");
}
