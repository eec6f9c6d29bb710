//! The distribution of tasks: draws are pure functions of seeds, in their ranges, and can be trained.

use lrpilot::nn::OptimizerSpec;
use lrpilot::task::data::Targets;
use lrpilot::task::distribution::{DataDraw, DrawnTask, Family, NetworkProblem, Problem};
use lrpilot::task::{DistributionConfig, FamilyWeights, TaskDistribution, TaskSource, selection_tasks};
use lrpilot_core::Hyperparameters;
use std::collections::HashMap;
use std::path::PathBuf;

const DRAWS: u64 = 300;

/// The folder with real data, which tests may lack.
fn data_root() -> Option<PathBuf> {
    let root = std::env::var_os("LRPILOT_DATA").map(PathBuf::from);
    if root.is_none() {
        eprintln!("LRPILOT_DATA names no data folder: only made-up data and digits are looked at");
    }
    root
}

fn tasks() -> TaskDistribution {
    TaskDistribution::new(DistributionConfig::default(), data_root().as_deref()).unwrap()
}

fn network(drawn: &DrawnTask) -> Option<&NetworkProblem> {
    match &drawn.problem {
        Problem::Network(network) => Some(network),
        Problem::PowerLaw(_) => None,
    }
}

#[test]
fn a_seed_is_a_task() {
    let (one, other) = (tasks(), tasks());
    assert_eq!(one.identity(), other.identity());
    let mut different = 0;
    for seed in 0..40 {
        let drawn = one.draw(seed);
        assert_eq!(drawn, other.draw(seed));
        let text = serde_json::to_string(&drawn).unwrap();
        assert_eq!(serde_json::from_str::<DrawnTask>(&text).unwrap(), drawn, "a description is whole in JSON");
        // Made from the sampler, from a source of its own and from the other sampler, in another order.
        let mut made = [one.task(seed), one.source(seed).and_then(|s| s.task(9)), other.task(seed)].map(Result::unwrap);
        let runs = made.each_mut().map(|task| {
            let probe = task.reset(5).unwrap();
            (probe, task.advance_steps(3, &|_| 1e-3, &Hyperparameters::lr(1e-3)).unwrap())
        });
        assert!(runs.iter().all(|run| *run == runs[0]), "{}", drawn.name);
        different += usize::from(one.task(seed + 1).unwrap().reset(5).unwrap() != runs[0].0);
    }
    assert_eq!(different, 40);
}

#[test]
fn every_draw_can_be_trained() {
    let tasks = tasks();
    for seed in 0..DRAWS {
        let drawn = tasks.draw(seed);
        let mut task = tasks.task(seed).unwrap();
        let probe = task.reset(seed).unwrap();
        assert!(probe.loss().is_finite() && !probe.diverged, "{drawn:?}: {probe:?}");
        assert_eq!(task.spec().steps(), drawn.steps() as u64);
        let spec = task.spec().clone();
        let trained = task.advance(&Hyperparameters::lr(1e-3 * spec.run().anchor_lr(&probe))).unwrap();
        assert!(trained.loss().is_finite() && !trained.diverged && trained.steps == spec.steps_per_interval as u64);
        for split in [lrpilot::Split::ValidationB, lrpilot::Split::Test] {
            assert!(task.evaluate(split).unwrap().0.is_finite(), "{drawn:?}");
        }
    }
}

#[test]
fn draws_are_in_their_ranges() {
    let (tasks, config) = (tasks(), DistributionConfig::default());
    let within = |value: f64, lo: f64, hi: f64| (lo..=hi).contains(&value);
    let mut optimizers = HashMap::<&str, usize>::new();
    let (mut networks, mut classifiers, mut noisy, mut longest) = (0, 0, 0, 0);
    for seed in 0..4000 {
        let drawn = tasks.draw(seed);
        assert!(within(drawn.horizon as f64, 3.0, 60.0), "{drawn:?}");
        let Some(n) = network(&drawn) else { continue };
        networks += 1;
        assert!(drawn.flops() <= config.max_flops, "{drawn:?}");
        // An interval is rounded to whole steps, by a third of itself at most.
        let (steps, sizes) = (drawn.steps() as f64, n.sizes);
        assert!(within(steps, 32.0 * 0.66, 4000.0 * 1.34), "{drawn:?}");
        longest = longest.max(drawn.steps());
        let real = matches!(n.data, DataDraw::Table { .. });
        assert!(sizes.train <= 4000 && (sizes.train >= 100 || real), "{drawn:?}");
        assert!(within(sizes.val_a as f64, 50.0, 1000.0) && sizes.val_b <= 2000 && sizes.test <= 500, "{drawn:?}");
        assert!(sizes.val_b >= 1000 || !matches!(drawn.family(), Family::Synthetic | Family::Regression), "{drawn:?}");
        assert!(n.batch_size <= sizes.train.min(256) && n.batch_size >= 8, "{drawn:?}");
        assert!(within(n.net.width as f64, 8.0, 96.0) && within(n.net.layers as f64, 1.0, 4.0), "{drawn:?}");
        assert!(within(n.input_scale, 0.3, 3.0), "{drawn:?}");
        *optimizers.entry(n.optimizer_name()).or_default() += 1;
        match n.optimizer {
            OptimizerSpec::Sgd { momentum, .. } if momentum != 0.0 => assert!((0.5..=0.997).contains(&momentum)),
            OptimizerSpec::Adamw { weight_decay, .. } => assert!(within(weight_decay, 1e-4, 0.1)),
            _ => {}
        }
        if drawn.family() == Family::Regression {
            assert_eq!(n.label_noise, 0.0);
        } else {
            classifiers += 1;
            noisy += usize::from(n.label_noise > 0.0);
            assert!(n.label_noise == 0.0 || within(n.label_noise, 0.05, 0.4), "{drawn:?}");
        }
    }
    assert!(longest > 3500, "long trainings survive the cap");
    let near = |count: usize, all: usize, share: f64| {
        let sd = (all as f64 * share * (1.0 - share)).sqrt();
        (count as f64 - all as f64 * share).abs() < 4.0 * sd
    };
    assert!(near(noisy, classifiers, 0.5), "{noisy} of {classifiers}");
    assert_eq!(optimizers.len(), 6);
    assert!(optimizers.values().all(|count| near(*count, networks, 1.0 / 6.0)), "{optimizers:?}");
}

/// Convolutions see the image; where the pixels are rotated or cut off their places, there are none.
#[test]
fn images_in_their_places_have_convolutions_more_often_than_not() {
    let only = FamilyWeights { synthetic: 0.0, images: 1.0, regression: 0.0, power_law: 0.0, tables: 0.0 };
    let tasks = TaskDistribution::new(DistributionConfig { families: only, ..Default::default() }, None).unwrap();
    let (mut in_place, mut convolutional) = (0, 0);
    for seed in 0..1000 {
        let drawn = tasks.draw(seed);
        let n = network(&drawn).unwrap();
        let DataDraw::Images(images) = &n.data else { panic!("another family has no weight") };
        assert!(n.net.channels.iter().all(|c| (2..=16).contains(c)) && n.net.channels.len() <= 2, "{drawn:?}");
        assert_eq!(n.net.init_gains.len(), n.net.channels.len() + n.net.layers + 1);
        if images.rotated {
            assert!(n.net.channels.is_empty(), "{drawn:?}");
            continue;
        }
        in_place += 1;
        if !n.net.channels.is_empty() {
            convolutional += 1;
            let shape = tasks.source(seed).unwrap().splits().unwrap().train.shape;
            assert_eq!((shape.channels, shape.height, shape.width), (1, images.rows, images.columns));
        }
    }
    let sd = (f64::from(in_place) * 0.24).sqrt();
    assert!((f64::from(convolutional) - 0.6 * f64::from(in_place)).abs() < 4.0 * sd, "{convolutional} of {in_place}");
}

#[test]
fn families_come_as_often_as_they_weigh() {
    let tasks = tasks();
    let families = tasks.families();
    assert!((families.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
    let drawn: Vec<Family> = (0..4000).map(|seed| tasks.draw(seed).family()).collect();
    for (family, share) in families {
        let count = drawn.iter().filter(|f| **f == family).count() as f64 / 4000.0;
        assert!((count - share).abs() < 4.0 * (share * (1.0 - share) / 4000.0).sqrt(), "{}: {count}", family.name());
    }
}

#[test]
fn a_family_without_data_leaves_its_weight_to_the_others() {
    let alone = TaskDistribution::new(DistributionConfig::default(), None).unwrap();
    let share = |family| alone.families().iter().find(|(f, _)| *f == family).map(|(_, share)| *share);
    assert_eq!(share(Family::Tables), None);
    assert!((share(Family::Images).unwrap() - 0.25 / 0.9).abs() < 1e-12);
    assert!(!alone.identity().to_string().contains("\"tables\"]"));
    let none = FamilyWeights { synthetic: 0.0, images: 0.0, regression: 0.0, power_law: 0.0, tables: 1.0 };
    let only_tables = DistributionConfig { families: none, ..DistributionConfig::default() };
    let error = TaskDistribution::new(only_tables, None).err().unwrap();
    assert!(error.to_string().contains("tables are not all there"), "{error}");
}

#[test]
fn noise_is_on_training_labels_alone() {
    let noisy =
        TaskDistribution::new(DistributionConfig { noisy: 1.0, ..DistributionConfig::default() }, None).unwrap();
    let clean =
        TaskDistribution::new(DistributionConfig { noisy: 0.0, ..DistributionConfig::default() }, None).unwrap();
    let mut compared = 0;
    for seed in 0..60 {
        let (drawn, twin) = (noisy.draw(seed), clean.draw(seed));
        let (Some(a), Some(b)) = (network(&drawn), network(&twin)) else { continue };
        // Without the number for the noise, the later draws differ; the data are the same.
        if a.label_noise == 0.0 || (&a.data, a.sizes) != (&b.data, b.sizes) {
            continue;
        }
        let [a_splits, b_splits] = [&noisy, &clean].map(|t| t.source(seed).unwrap().splits().unwrap().clone());
        let labels = |targets: &Targets| match targets {
            Targets::Classes { labels, .. } => labels.clone(),
            Targets::Values { .. } => panic!("a classifier with values"),
        };
        let (x, y) = (labels(&a_splits.train.targets), labels(&b_splits.train.targets));
        let changed = x.iter().zip(&y).filter(|(a, b)| a != b).count();
        assert_eq!(changed, (a.label_noise * a.sizes.train as f64) as usize, "{}", drawn.name);
        assert_eq!(a_splits.val_a.targets, b_splits.val_a.targets);
        assert_eq!(a_splits.val_b.targets, b_splits.val_b.targets);
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

/// Made-up classes are neither all the same nor unlearnable from what a policy sees: no class holds nearly everything.
#[test]
fn classes_are_mixed() {
    let only = FamilyWeights { synthetic: 1.0, images: 0.0, regression: 0.0, power_law: 0.0, tables: 0.0 };
    let tasks = TaskDistribution::new(DistributionConfig { families: only, ..Default::default() }, None).unwrap();
    let mut largest = Vec::new();
    for seed in 0..60 {
        let source = tasks.source(seed).unwrap();
        let Targets::Classes { count, labels } = &source.splits().unwrap().val_b.targets else { panic!("no classes") };
        let most = (0..*count as u32).map(|c| labels.iter().filter(|l| **l == c).count()).max().unwrap();
        largest.push(most as f64 / labels.len() as f64);
    }
    largest.sort_by(f64::total_cmp);
    assert!(largest[30] < 0.6 && largest[57] < 0.95, "{largest:?}");
}

/// Drawn power laws end, on average over many runs, at the loss of their closed form, and go on from a saved state.
#[test]
fn power_laws_follow_their_closed_form() {
    let only = FamilyWeights { synthetic: 0.0, images: 0.0, regression: 0.0, power_law: 1.0, tables: 0.0 };
    let tasks = TaskDistribution::new(DistributionConfig { families: only, ..Default::default() }, None).unwrap();
    for seed in 0..4 {
        let Problem::PowerLaw(config) = tasks.draw(seed).problem else { panic!("another family has no weight") };
        // A hundredth of the largest rate that is stable without momentum and noise; the curvatures are at most 1.
        let lr = |step: u64| 0.02 * (1.0 - config.momentum) * (1.0 - step as f64 / 60.0);
        let mut task = tasks.task(seed).unwrap();
        let losses: Vec<f64> = (0..400)
            .map(|run| {
                task.reset(run).unwrap();
                task.advance_steps(60, &lr, &Hyperparameters::lr(0.0)).unwrap().loss()
            })
            .collect();
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let error = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        let want = config.expected_loss(&(0..60).map(lr).collect::<Vec<_>>());
        assert!((mean - want).abs() < 4.0 * error, "{config:?}: {mean} ± {error} for {want}");
        assert!(want < 0.98 * config.expected_loss(&[]) && error < 0.02 * want, "{config:?}: it could not tell");

        let saved = task.save().unwrap();
        let first = task.advance(&Hyperparameters::lr(0.01)).unwrap();
        let mut other = tasks.task(seed).unwrap();
        other.load(&saved).unwrap();
        assert_eq!(other.advance(&Hyperparameters::lr(0.01)).unwrap(), first);
    }
}

#[test]
fn selection_tasks_are_outside_the_distribution() {
    let root = data_root();
    let tasks = selection_tasks(root.as_deref()).unwrap();
    assert_eq!(tasks.len(), if root.is_some() { 28 + 12 } else { 6 + 12 });
    for task in &tasks {
        let drawn = task.drawn();
        let outside_in_length = !(32..=4000).contains(&drawn.steps()) || !(3..=60).contains(&drawn.horizon);
        let wide = network(drawn).is_some_and(|n| n.net.width > 96);
        assert!(outside_in_length || wide, "{drawn:?}");
        let mut task = task.task(0).unwrap();
        assert!(task.reset(0).unwrap().loss().is_finite(), "{drawn:?}");
    }
    let names: std::collections::HashSet<&str> = tasks.iter().map(|t| t.name()).collect();
    assert_eq!(names.len(), tasks.len());
}
