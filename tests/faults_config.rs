//! Configuration values that are wrong, and results that are: what is said, and that nothing else happens.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use std::path::Path;
use std::process::Output;

/// One update of one interval: a run of a moment.
const SMALL: [&str; 6] = [
    "task.horizon=1",
    "learn.epochs=100",
    "learn.environments=1",
    "learn.candidates=1",
    "learn.selection_seeds=1",
    "ppo.n_steps=1",
];

fn lrpilot(args: &[&str], set: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.args(args).args(set.iter().flat_map(|s| ["--set", s])).output().unwrap()
}

fn evaluate(set: &[&str]) -> Output {
    lrpilot(&["evaluate", "digits", "--schedule", "constant", "--lr", "0.001"], set)
}

fn learn(out: &Path, set: &[&str], more: &[&str]) -> Output {
    let all: Vec<&str> = SMALL.iter().chain(set).copied().collect();
    lrpilot(&[&["learn", "digits", "--progress", "json", "--out", out.to_str().unwrap()], more].concat(), &all)
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    for rust in ["u64", "usize", "f64", "enum", "invalid type", "variant"] {
        assert!(!message.contains(rust), "`{rust}` is in: {message}");
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn numbers_that_are_too_large_are_refused_before_anything_is_allocated() {
    let huge = [
        ("task.data={train_images=100,val_a=9223372036854775807,val_b=9223372036854775807,test=20}", "task.data.val_a"),
        ("task.horizon=1000000000000000000", "task.horizon"),
        ("task.interval_steps=1000000000000000000", "task.interval_steps"),
        ("task.batch_size=1000000000000000000", "task.batch_size"),
        ("task.model=\"mlp-99999999999\"", "task.model[0].units"),
        ("task.model=\"mlp-900000-900000\"", "task.model[2]"),
        ("task.model=[{type=\"conv2d\",channels=99999999,kernel=3}]", "task.model[0].channels"),
        ("task.model=[{type=\"conv2d\",channels=999999,kernel=1,padding=99999}]", "task.model[0]"),
        ("task.model=[{type=\"residual\",channels=999999}]", "task.model[0]"),
        ("ppo.n_steps=4611686018427387904", "ppo.n_steps"),
        ("ppo.batch_size=4611686018427387904", "ppo.batch_size"),
        ("ppo.hidden=[65536,65536]", "ppo.hidden"),
        ("ppo.hidden=[4611686018427387904]", "ppo.hidden"),
        ("learn.environments=4611686018427387904", "learn.environments"),
        ("task.optimizer={type=\"schedule-free-sgd\",warmup_steps=99999999}", "task.optimizer.warmup_steps"),
        ("learn.candidates=4611686018427387904", "learn.candidates"),
        ("learn.selection_seeds=4611686018427387904", "learn.selection_seeds"),
        ("learn.epochs=4611686018427387904", "learn.epochs"),
        ("seed=9223372036854775808", "seed"),
    ];
    for (setting, place) in huge {
        refused(&evaluate(&[setting]), 78, &[place, "at most"]);
    }
    refused(&evaluate(&["learn.environments=99999", "ppo.n_steps=99999"]), 78, &["learn.environments × ppo.n_steps"]);
    let quadratic = ["evaluate", "noisy-quadratic", "--schedule", "constant"];
    refused(&lrpilot(&quadratic, &["task.dimensions=4611686018427387904"]), 78, &["task.dimensions", "at most"]);
    refused(&lrpilot(&[&quadratic[..], &["--threads", "65535"]].concat(), &[]), 64, &["65535", "at most 1024"]);
    let demo = ["demo", "--task", "noisy-quadratic", "--out", "never-made"];
    refused(&lrpilot(&demo, &["task.horizon=4611686018427387904"]), 78, &["task.horizon", "at most"]);
    assert!(!Path::new("never-made").exists());
}

/// NaN, infinity and what is outside the documented range, by the whole name of the key.
#[test]
fn floats_out_of_range_are_refused_by_name() {
    let wrong = [
        ("env.reward={type=\"log-improvement\",epsilon=X}", "env.reward.epsilon", &["-5.0", "0.0"][..]),
        ("env.reward={type=\"paper\",gamma=X,lambda=1.0}", "env.reward.gamma", &["-1.0"]),
        ("env.reward={type=\"paper\",gamma=1.0,lambda=X}", "env.reward.lambda", &["-1.0"]),
        ("env.on_divergence={type=\"roll-back\",factor=X,reward=-0.2}", "env.on_divergence.factor", &["0.0", "1.0"]),
        ("env.on_divergence={type=\"roll-back\",factor=0.1,reward=X}", "env.on_divergence.reward", &["0.5"]),
        ("env.action={type=\"multiplicative\",step=X}", "env.action.step", &["0.0", "-1.0"]),
        ("env.action={type=\"anchored\",base=[0.1],alpha=X}", "env.action.alpha", &["0.0"]),
        ("env.action={type=\"anchored\",base=[0.1,X],alpha=1.0}", "env.action.base[1]", &["0.0", "-0.1"]),
        ("env.initial_lr={type=\"fixed\",lr=X}", "env.initial_lr.lr", &["0.0"]),
        ("env.initial_lr={type=\"near-anchor\",decades=X}", "env.initial_lr.decades", &["-1.0"]),
        ("env.initial_lr={type=\"log-uniform\",min=X,max=0.1}", "env.initial_lr", &["0.0", "0.1"]),
        ("env.knobs=[{knob=\"momentum\",min=X,max=0.9}]", "env.hyperparameters.momentum", &["-0.1", "0.95"]),
        ("env.knobs=[{knob=\"weight-decay\",min=1e-6,max=X}]", "env.hyperparameters.weight-decay.max", &["0.0"]),
        ("task.data.label_noise=X", "task.data.label_noise", &["-0.1", "1.1"]),
        ("task.optimizer.momentum=X", "task.optimizer.momentum", &["-0.1", "1.0"]),
        ("task.optimizer.weight_decay=X", "task.optimizer.weight_decay", &["-0.1"]),
        ("task.optimizer={type=\"adam\",betas=[0.9,X]}", "task.optimizer.betas", &["1.0"]),
        ("task.optimizer={type=\"sls\",gamma=X}", "task.optimizer.gamma", &["0.5"]),
        ("task.optimizer={type=\"nadam\",momentum_decay=X}", "task.optimizer.momentum_decay", &["-0.1"]),
        ("task.optimizer={type=\"prodigy\",d0=X}", "task.optimizer.d0", &["0.0"]),
        ("task.optimizer={type=\"prodigy\",d_coef=X}", "task.optimizer.d_coef", &["0.0"]),
        ("task.optimizer={type=\"schedule-free-sgd\",momentum=X}", "task.optimizer.momentum", &["0.0", "1.0"]),
        ("task.optimizer={type=\"schedule-free-adamw\",betas=[X,0.9]}", "task.optimizer.betas", &["0.0", "1.0"]),
        ("task.lr_bounds=[1e-6,X]", "task.lr_bounds", &["0.0"]),
        ("ppo.gamma=X", "ppo.gamma", &["-0.1", "1.1"]),
        ("ppo.log_std_init=X", "ppo.log_std_init", &[]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (setting, place, values) in wrong {
        for value in ["nan", "inf", "-inf"].iter().chain(values) {
            refused(&learn(&out, &[&setting.replace('X', value)], &[]), 78, &[&format!("error: {place}")]);
        }
    }
    let noise = lrpilot(&["evaluate", "noisy-quadratic", "--schedule", "constant"], &["task.noise=nan"]);
    refused(&noise, 78, &["task.noise: NaN"]);
    assert!(!out.exists());
}

#[test]
fn wrong_entries_of_layers_and_optimizers_are_named() {
    let set = [
        ("task.model=[{type=\"dense\",units=10},{type=\"dense\",unitz=3}]", "task.model[1]: unknown key `unitz`"),
        ("task.model=[{type=\"dense\",units=\"a\"}]", "task.model[0].units: \"a\" is not a whole number ≥ 0"),
        ("task.model=[{type=\"dense\"}]", "task.model[0]: the key `units` is missing"),
        ("task.model=[{type=\"dens\",units=3}]", "task.model[0]: unknown name `dens`"),
        ("task.model=3", "task.model: 3 is not the name of a model or a list of layers"),
        ("task.model=[{type=\"dense\",units=0}]", "task.model[0].units: 0 is not a whole number ≥ 1"),
        ("task.optimizer={type=\"sgd\",momentun=0.9}", "task.optimizer: unknown key `momentun`"),
        ("task.optimizer=3", "task.optimizer: 3 is not a table"),
        ("ppo.squash=3", "ppo.squash: "),
        ("task.horizon=-3", "task.horizon: -3 is not a whole number ≥ 0"),
    ];
    for (setting, words) in set {
        refused(&evaluate(&[setting]), 78, &[words]);
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("t.toml"), folder.path().join("out"));
    let learn = || lrpilot(&["learn", file.to_str().unwrap(), "--out", out.to_str().unwrap()], &[]);
    let text = "[task]\nname = \"t\"\nkind = \"supervised\"\ndataset = \"digits\"\nbatch_size = 10\nhorizon = 1\n\
                model = [\n  { type = \"dense\", units = 3 },\n  { type = \"dense\", unit = 10 },\n]\n\
                [task.data]\ntrain_images = 100\nval_a = 10\nval_b = 10\ntest = 10\n";
    std::fs::write(&file, text).unwrap();
    refused(&learn(), 78, &["t.toml, line 9, task.model[1]: unknown key `unit`; did you mean `units`?"]);
    std::fs::write(&file, b"seed = 1\n# \xff\n").unwrap();
    refused(&learn(), 78, &["t.toml, line 2: byte 12 is not UTF-8"]);
    assert!(!out.exists());
}

/// The last of 20 batches holds one example, on which batch normalisation has no gradient.
#[test]
fn one_tiny_batch_is_no_dead_network() {
    let model = r#"task.model=[{type="dense",units=32},{type="batch-norm"},{type="relu"},{type="dense",units=10}]"#;
    let table = succeeded(&evaluate(&["task.data.train_images=951", model]));
    let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[5], "trained", "{table}");
    // 950 images end at 0.4999.
    assert!(row[3].parse::<f64>().unwrap() < 0.6, "{table}");
}

#[test]
fn the_last_column_means_what_it_says() {
    let digits = succeeded(&lrpilot(&["evaluate", "digits", "--schedule", "constant"], &["task.horizon=1"]));
    assert!(digits.trim_end().ends_with("at chance"), "{digits}");
    let quadratic = ["evaluate", "noisy-quadratic", "--schedule", "constant", "--lr", "100"];
    let table = succeeded(&lrpilot(&quadratic, &["task.dimensions=3", "task.horizon=3"]));
    assert!(table.trim_end().ends_with("worse than untrained"), "{table}");
    assert!(table.contains('e') && table.lines().all(|l| l.chars().count() < 100), "{table}");
    let table = succeeded(&lrpilot(&quadratic, &["task.dimensions=3", "task.horizon=30"]));
    assert!(table.trim_end().ends_with("diverged"), "{table}");
}

#[test]
fn seeds_are_taken_as_typed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    refused(&learn(&out, &[], &["--seed", "9223372036854775808"]), 64, &["9223372036854775808", "9223372036854775807"]);
    let paper = ["paper", "--seed", "18446744073709551615", "--out", out.to_str().unwrap()];
    refused(&lrpilot(&paper, &[]), 64, &["18446744073709551615", "at most"]);
    let demo = |seed| ["demo", "--seed", seed, "--out", out.to_str().unwrap()];
    refused(&lrpilot(&demo("9223372036854775807"), &[]), 64, &["at most 9223372036854775805"]);
    refused(&lrpilot(&demo("-1"), &[]), 64, &["-1", "at most"]);
    assert!(!out.exists());
    succeeded(&learn(&out, &[], &["--seed", "9223372036854775807"]));
    assert!(std::fs::read_to_string(out.join("config.toml")).unwrap().starts_with("seed = 9223372036854775807"));
}

/// A flag that is not given changes no configuration.
#[test]
fn demo_takes_the_seed_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let demo = ["demo", "--task", "noisy-quadratic", "--policy-seeds", "1", "--evaluation-seeds", "1"];
    let set = [&SMALL[..], &["seed=7", "task.dimensions=2", "task.interval_steps=1"]].concat();
    succeeded(&lrpilot(&[&demo[..], &["--out", out.to_str().unwrap()]].concat(), &set));
    assert!(std::fs::read_to_string(out.join("config.toml")).unwrap().starts_with("seed = 7\n"));
}

#[test]
fn a_diverged_policy_is_an_error_that_names_the_learning_rate() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = learn(&out, &["ppo.learning_rate=100", "learn.epochs=60"], &[]);
    refused(&output, 78, &["ppo.learning_rate: the policy diverged", "smaller"]);
    assert!(!out.join("policy.safetensors").exists());
}

/// Once for a learning, and only where it changes something.
#[test]
fn a_replaced_initial_lr_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str, lr: &str| {
        let set = format!("env.initial_lr={{type=\"fixed\",lr={lr}}}");
        let output = learn(&folder.path().join(name), &[&set], &[]);
        succeeded(&output);
        String::from_utf8_lossy(&output.stderr).matches("episodes start from the anchor instead").count()
    };
    assert_eq!((told("far", "1e-5"), told("near", "0.01")), (1, 0));
}

#[test]
fn missing_records_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeeded(&learn(&out, &["learn.epochs=4"], &[]));
    std::fs::remove_file(out.join("policy.safetensors")).unwrap();
    std::fs::remove_file(out.join("updates.jsonl")).unwrap();
    // Four epochs but for the one of the selection.
    let words = ["updates.jsonl: 3 records are missing", "update 3", "another folder"];
    refused(&learn(&out, &["learn.epochs=4"], &["--resume"]), 65, &words);
}
