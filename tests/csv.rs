//! Tables of the user's own: what is read, what is refused and in which words, and that networks learn from them.

use lrpilot::settings::parse;
use lrpilot::task::data::{CsvConfig, Objective, SplitConfig, Splits, Table, Targets};
use lrpilot::task::{ConfiguredTask, SupervisedConfig, TaskConfig, TaskSource as _};
use lrpilot::{Error, Hyperparameters, Result};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::Path;

/// Read `content` as a file that `options`, keys of `[task.csv]`, describe.
fn read(content: &[u8], options: &str, objective: Objective) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.csv");
    std::fs::write(&path, content).unwrap();
    let config: CsvConfig = parse(&format!("path = 'my.csv'\n{options}"), "options")?;
    Table::read(&path, &config, objective)
}

fn sizes(train_images: usize, held_back: usize) -> SplitConfig {
    SplitConfig { train_images, val_a: held_back, val_b: held_back, test: held_back, label_noise: 0.0, data_seed: 0 }
}

/// What is wrong with a file, each with its place and its remedy.
#[test]
fn what_is_wrong_is_named_with_row_and_column() {
    let (class, number, auto) = (Objective::Classification, Objective::Regression, Objective::Autoencoder);
    let cases: [(&str, &str, Objective, &[&str]); 17] = [
        ("", "", class, &["my.csv", "row 1: the file is empty"]),
        ("\n\r\n", "", class, &["row 1: the file is empty"]),
        ("a,b\n", "header = true", class, &["row 1: no row follows the header"]),
        (
            "1,2,a\n3,4,b\n\n5,b\n",
            "",
            class,
            &["my.csv: row 4: 2 cells, but the first row has 3", "task.csv.separator"],
        ),
        ("age,kind\n1,a\nx,b\n", "header = true", class, &["row 3, column 1 (`age`): `x` is no finite number"]),
        ("1,a\n1e39,b\n", "", class, &["row 2, column 1: `1e39` is no finite number"]),
        ("1,a\n2,a\n", "", class, &["column 2: every row is of the class `a`", "task.csv.target"]),
        ("1,a\n\"2\n\",?\n3,b\n", "", class, &["row 2, column 2: the target is missing"]),
        ("1,\n2,4\n", "", number, &["row 1, column 2: the target is missing"]),
        ("1,7\n2,nan\n", "", number, &["row 2, column 2: `nan` is no finite number", "regression"]),
        (
            "a,b\n1,2\n",
            "header = true\ntarget = 'c'",
            class,
            &["task.csv.target: `c` is no column", "known are `a`, `b`"],
        ),
        ("1,2\n", "target = 3", class, &["3 is no column of", "the numbers 1 to 2; names"]),
        ("1,2\n", "nominal = [0]", class, &["task.csv.nominal: 0 is no column"]),
        ("a,a\n1,2\n", "header = true\nnominal = ['a']", class, &["columns 1 and 2 are both called `a`"]),
        ("age,k\n1,a\n2,b\n", "", class, &["row 1, column 1: `age` is followed by numbers", "task.csv.header = true"]),
        ("1;2\n3;4\n", "", class, &["no column beside the target", "task.csv.separator"]),
        ("1,2\n", "separator = ';;'", auto, &["task.csv.separator: \";;\" is not one ASCII character"]),
    ];
    for (content, options, objective, words) in cases {
        let error = read(content.as_bytes(), options, objective).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "`{error}` does not say `{word}`");
        }
    }
    let error = read(b"1,2\n3,\xff\n", "", class).unwrap_err().to_string();
    assert!(error.contains("row 2, column 2: it is not UTF-8"), "{error}");
    let many: String = (0..1025).map(|i| format!("1,{i}\n")).collect();
    let error = read(many.as_bytes(), "", class).unwrap_err().to_string();
    assert!(error.contains("column 2: 1025 classes; at most 1024") && error.contains("regression"), "{error}");
    let error = read(b"1,2\n", "target = true", class).unwrap_err().to_string();
    assert!(error.contains("a column's name, or its number counted from 1"), "{error}");
    let config = CsvConfig { path: "x.csv".into(), ..parse("path = ''", "").unwrap() };
    let error = Table::read("/no/such/x.csv".as_ref(), &config, class).unwrap_err();
    assert!(matches!(&error, Error::Data { .. }) && error.to_string().contains("/no/such/x.csv: not there"), "{error}");
}

#[test]
fn splits_that_do_not_fit_are_refused() {
    let error = |content: &str, objective, sizes| {
        let table = read(content.as_bytes(), "", objective).unwrap();
        table.splits(&sizes).unwrap_err().to_string()
    };
    let few = error("1,a\n2,b\n3,a\n", Objective::Classification, sizes(1, 1));
    assert!(few.contains("4 rows are asked for") && few.contains("my.csv has 3"), "{few}");
    let constant = error("1,7\n2,7\n3,7\n4,7\n", Objective::Regression, sizes(1, 1));
    assert!(constant.contains("the target is the same number in all training rows"), "{constant}");
}

/// A header, a byte order mark, quotes, spaces, empty lines and other separators are no part of the cells.
#[test]
fn cells_are_read_as_they_are_meant() {
    let plain = "1,red,a\n2,blue,b\n3,?,a\n,red,b\n";
    let dressed = "\u{feff}n;colour;kind\r\n 1 ;\"red\";a\r\n\r\n2;blue; b\r\n3;?;a\r\n\"\";red;b\r\n";
    let splits = |content: &str, options: &str| {
        read(content.as_bytes(), options, Objective::Classification).unwrap().splits(&sizes(1, 1)).unwrap()
    };
    let wanted = splits(plain, "");
    assert_eq!(wanted.train.shape.len(), 1 + 3, "a number, and two colours beside the missing one");
    for options in ["target = 'kind'", "target = 3", "target = 'last'", "nominal = ['colour']"] {
        let options = format!("separator = ';'\nheader = true\n{options}");
        assert_eq!(splits(dressed, &options), wanted, "{options}");
    }
    assert_eq!(splits(plain, "nominal = [1]").train.shape.len(), 4 + 3, "three numbers as names and a missing one");
    assert_eq!(splits("a,1,red\nb,2,blue\na,3,?\nb,,red\n", "target = 1"), wanted, "the target may stand anywhere");
}

#[test]
fn an_autoencoder_has_every_column_unless_one_is_its_target() {
    let of = |options: &str| {
        let table = read(b"1,2,a\n3,5,b\n2,4,a\n1,0,b\n", options, Objective::Autoencoder).unwrap();
        table.splits(&sizes(1, 1)).unwrap().val_a
    };
    let all = of("");
    assert_eq!((all.shape.len(), all.outputs()), (4, 4));
    assert_eq!(all.targets, Targets::Values { width: 4, values: all.x.clone() });
    assert_eq!(of("target = 'last'").outputs(), 2);
}

proptest! {
    #[test]
    fn no_file_ends_the_program(
        content in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "([0-9a?\"]{0,3}[,\n\r ]){0,40}".prop_map(String::into_bytes),
            "([0-9]{1,2},[0-9.e-]{1,4},[ab?]\n){0,12}".prop_map(String::into_bytes),
        ],
        header: bool,
        target in 0u64..5,
    ) {
        for objective in [Objective::Classification, Objective::Regression, Objective::Autoencoder] {
            if let Ok(table) = read(&content, &format!("header = {header}\ntarget = {target}"), objective)
                && let Ok(splits) = table.splits(&sizes(1, 1))
            {
                let parts = [splits.train, splits.val_a, splits.val_b, splits.test];
                prop_assert!(parts.iter().all(|part| part.x.len() == part.shape.len()));
            }
        }
    }
}

/// A task on `content`, with `more` keys.
fn task(folder: &Path, content: &str, more: &str) -> Result<ConfiguredTask> {
    std::fs::write(folder.join("my.csv"), content).unwrap();
    let config: SupervisedConfig = parse(
        &format!(
            "name = 'mine'\ndataset = 'csv'\noptimizer = {{ type = 'sgd', momentum = 0.9 }}\nhorizon = 30\n{more}\n
            [csv]\npath = 'my.csv'"
        ),
        "task",
    )?;
    ConfiguredTask::new(&TaskConfig::Supervised(config), Some(folder))
}

/// Validation losses of the untrained network and after `intervals`, and the last accuracy.
fn trained(source: &ConfiguredTask, lr: f64, intervals: usize) -> (f64, f64, f64) {
    let mut task = source.task(0).unwrap();
    let before = task.reset(0).unwrap();
    let mut last = before.clone();
    for _ in 0..intervals {
        last = task.advance(&Hyperparameters::lr(lr)).unwrap();
    }
    (before.loss(), last.loss(), last.val_accuracy.unwrap_or(0.0))
}

const LINEAR: &str = "objective = 'regression'\nmodel = [{ type = 'dense', units = 1 }]\nbatch_size = 20
    data = { train_images = 200, val_a = 50, val_b = 50, test = 50 }";

/// y = 3a − 2b + 1 is a linear map of the inputs, so a dense layer finds it; knowing nothing costs the variance, which is 1.
#[test]
fn a_regression_finds_a_linear_map() {
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..350).map(|i| (f64::from(i * 37 % 101), f64::from(i * 53 % 89)));
    let content: String = rows.map(|(a, b)| format!("{a},{b},{}\n", 3.0 * a - 2.0 * b + 1.0)).collect();
    let source = task(folder.path(), &content, LINEAR).unwrap();
    let chance = source.spec().chance_loss.unwrap();
    assert!((chance - 1.0).abs() < 1e-5, "{chance}");
    let (before, after, accuracy) = trained(&source, 0.05, 20);
    assert!(before > 0.1 && after < 1e-8, "{before} {after}");
    assert_eq!(accuracy, 0.0);
}

#[test]
fn an_autoencoders_loss_falls() {
    let config = "name = 'auto'\ndataset = 'digits'\nobjective = 'autoencoder'\nmodel = 'mlp-24'\nbatch_size = 50
        horizon = 10\ndata = { train_images = 500, val_a = 100, val_b = 100, test = 100 }
        optimizer = { type = 'adam' }";
    let config: SupervisedConfig = parse(config, "task").unwrap();
    let source = ConfiguredTask::new(&TaskConfig::Supervised(config), None).unwrap();
    let chance = source.spec().chance_loss.unwrap();
    let (before, after, _) = trained(&source, 3e-3, 10);
    assert!(before > chance && after < 0.6 * chance, "{before} {after}, at chance {chance}");
}

/// 300 classes, each a point of a grid: of which a network learns in a second what takes the loss far below that of 300 guesses.
#[test]
fn hundreds_of_classes_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let content = (0..1800).fold(String::new(), |mut text, i| {
        let class = i % 300;
        let _ = writeln!(text, "{},{},k{class}", class % 20, class / 20);
        text
    });
    let more =
        "model = 'mlp-64'\nbatch_size = 20\ndata = { train_images = 1200, val_a = 200, val_b = 200, test = 200 }";
    let source = task(folder.path(), &content, more).unwrap();
    assert_eq!(source.spec().chance_loss, Some(300f64.ln()));
    let (before, after, accuracy) = trained(&source, 0.1, 30);
    assert!(before > 5.0 && after < 0.6 * before && accuracy > 0.1, "{before} {after} {accuracy}");
}

/// The same task on another file is another task; the same content anywhere is the same.
#[test]
fn the_identity_is_that_of_the_content() {
    let identity = |content: &str| {
        let folder = tempfile::tempdir().unwrap();
        task(
            folder.path(),
            content,
            &LINEAR
                .replace("200, val_a = 50, val_b = 50, test = 50", "3, val_a = 1, val_b = 1, test = 1")
                .replace("20\n", "2\n"),
        )
        .unwrap()
        .identity()
    };
    let rows = "1,2\n2,4\n3,6\n4,8\n5,10\n6,12\n";
    assert_eq!(identity(rows), identity(rows));
    assert_ne!(identity(rows), identity(&rows.replace("12", "13")));
    let digits = ConfiguredTask::new(&lrpilot::task::Preset::Digits.config(), None).unwrap().identity();
    for absent in ["content_sha256", "objective", "csv"] {
        assert!(digits.get(absent).is_none(), "{absent} would make old results those of another task");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let digits = "name = 'x'\nmodel = 'mlp-8'\nbatch_size = 1\nhorizon = 1\n";
    let with = |dataset: &str, more: &str, noise: f64| {
        let data = format!("data = {{ train_images = 1, val_a = 1, val_b = 1, test = 1, label_noise = {noise} }}");
        let config: SupervisedConfig =
            parse(&format!("{digits}dataset = '{dataset}'\n{data}\n{more}"), "task").unwrap();
        config.check().unwrap_err().to_string()
    };
    for (error, words) in [
        (with("digits", "csv = { path = 'a.csv' }", 0.0), "task.csv: it describes a file, but the data set is digits"),
        (with("csv", "", 0.0), "task.csv: the data set csv has no file"),
        (with("digits", "objective = 'regression'", 0.0), "task.objective: digits has classes"),
        (with("digits", "objective = 'autoencoder'", 0.2), "task.data.label_noise: 0.2 of the labels"),
    ] {
        assert!(error.contains(words), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let wide = LINEAR
        .replace("units = 1", "units = 2")
        .replace("200, val_a = 50, val_b = 50, test = 50", "20, val_a = 1, val_b = 1, test = 1");
    let rows: String = (0..30).map(|i| format!("{i},{i}\n")).collect();
    let error = task(folder.path(), &rows, &wide).unwrap_err().to_string();
    assert!(error.contains("2 outputs for 1 target values"), "{error}");
    // The size of a network on a table is checked once its columns are known.
    let huge = wide
        .replace("units = 2", "units = 1000000 }, { type = 'dense', units = 1000000 }, { type = 'dense', units = 1");
    let error = task(folder.path(), &rows, &huge).unwrap_err().to_string();
    assert!(error.contains("task.model[1]: numbers in it"), "{error}");
}

/// Columns, inputs and classes of sets from UCI, whose checksums are in `tests/data/tabular.sha256`: numbers and letters,
/// names and numbers mixed, names alone.
#[test]
fn real_tables_are_read() {
    let Some(root) = std::env::var_os("LRPILOT_DATA") else {
        println!("skipped: LRPILOT_DATA does not name a folder with tables");
        return;
    };
    for (name, rows, inputs, classes) in
        [("letter", 20_000, 16, 26), ("german", 1000, 61, 2), ("mushroom", 5644, 98, 2), ("wdbc", 569, 30, 2)]
    {
        let relative = format!("tabular/{name}.csv");
        let path = Path::new(&root).join(&relative);
        let Ok(content) = std::fs::read(&path) else {
            println!("skipped: {} is not there", path.display());
            continue;
        };
        let found: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        let known = include_str!("data/tabular.sha256");
        assert!(known.lines().any(|line| line == format!("{found}  {relative}")), "{relative} is another file");
        let config: CsvConfig = parse(&format!("path = '{relative}'"), "").unwrap();
        let table = Table::read(&path, &config, Objective::Classification).unwrap();
        assert_eq!(table.sha256(), found);
        let Splits { train, .. } = table.splits(&sizes(300, 50)).unwrap();
        assert_eq!((table.len(), train.shape.len(), train.outputs()), (rows, inputs, classes), "{name}");
    }
}
