//! The rules of the layout: imports go one way, the core touches neither terminal, clock nor environment, and unsafe
//! code is in one file. The check is textual: comments are left out, and everything after the first `#[cfg(test)]`.

use std::fs;
use std::path::{Path, PathBuf};

/// What each folder or file of `src/` may name of the crate, besides itself, [`EVERYWHERE`] and the tests' own imports.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("main", &["cli"]),
    ("lib", &["task", "nn", "env", "agent", "schedule", "run", "report"]),
    ("error", &[]),
    ("keys", &[]),
    ("limits", &[]),
    ("range", &[]),
    ("rng", &[]),
    ("settings", &[]),
    ("nn", &[]),
    ("task", &["nn"]),
    ("env", &["nn", "task"]),
    ("agent", &["nn", "task", "env"]),
    ("store", &["settings"]),
    ("record", &[]),
    ("report", &["record"]),
    ("run", &["nn", "task", "env", "agent", "store", "record", "settings"]),
    ("suite", &["nn", "task", "env", "agent", "run", "store", "record", "settings"]),
];
/// Modules on top of everything else.
const TOP: [&str; 2] = ["paper", "cli"];
const EVERYWHERE: [&str; 7] = ["error", "keys", "limits", "range", "rng", "Error", "Result"];
const CORE_HAS_NOT: [&str; 9] = [
    "println!",
    "eprintln!",
    "print!(",
    "dbg!(",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "std::process::id",
    "\"/proc",
];
/// Files whose strings may hold flags, and why: the paper's document names the command that makes each table.
const MAY_NAME_FLAGS: [&str; 2] = ["paper/evidence.rs", "paper/tables.rs"];
/// The file that knows the names of a run folder's files; the templates and their errors are called like two of them.
const KNOWS_FILE_NAMES: &str = "store/files.rs";
const FILE_NAMES: [&str; 7] = [
    "updates.jsonl",
    "results.jsonl",
    "policy.safetensors",
    "comparison.json",
    "sensitivities.json",
    "responses.json",
    "pilot-seed",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each source file: its path below `src`, its module (first folder or file name), its code without comments and tests.
fn files() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    let describe = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (name, module, code)
    };
    paths.into_iter().map(describe).collect()
}

/// First names of the paths `crate::a::…` and `crate::{a::…, b}` in `code`.
fn crate_names(code: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(name(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn names_are_found_in_groups() {
    let code = "use crate::{Error, nn::{self, layer::Layer}, task::Task};\nlet x = crate::rng::stream();";
    assert_eq!(crate_names(code), ["Error", "nn", "task", "rng"]);
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (file, module, code) in files() {
        if TOP.contains(&module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{file}: the module `{module}` is not known to this test; say above what it may use"));
            continue;
        };
        for used in crate_names(&code) {
            let always = used == module || EVERYWHERE.contains(&used.as_str());
            if !always && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{file} uses crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_has_no_terminal_clock_or_environment() {
    let mut wrong = Vec::new();
    for (file, module, code) in files() {
        if module == "cli" || module == "main" {
            continue;
        }
        wrong.extend(CORE_HAS_NOT.iter().filter(|word| code.contains(**word)).map(|word| format!("{file}: {word}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The string literals of `code`, which has no comments, without their quotation marks. Character literals that hold a
/// quotation mark are stepped over.
fn strings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = code.replace("'\"'", "").replace("b'\"'", "").chars().collect::<Vec<_>>().into_iter();
    while let Some(c) = chars.next() {
        if c != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            text.push(c);
            text.extend((c == '\\').then(|| chars.next()).flatten());
        }
        found.push(text);
    }
    found
}

/// Whether a command-line flag stands in `text`: two dashes and a letter, at the beginning or after a space or backtick.
fn names_a_flag(text: &str) -> bool {
    text.match_indices("--").any(|(at, dashes)| {
        let before = text[..at].chars().next_back();
        let after = text[at + dashes.len()..].chars().next();
        before.is_none_or(|c| " `(".contains(c)) && after.is_some_and(|c| c.is_ascii_alphabetic())
    })
}

#[test]
fn flags_are_found_in_strings() {
    let code = r#"let a = f("x\"y", '"', "choose another --out"); let b = "a -- b"; let c = "--set";"#;
    assert_eq!(strings(code), [r#"x\"y"#, "choose another --out", "a -- b", "--set"]);
    let with: Vec<bool> = strings(code).iter().map(|text| names_a_flag(text)).collect();
    assert_eq!(with, [false, true, false, true]);
}

/// The library is called from other programs, where a flag means nothing.
#[test]
fn the_library_names_no_flags() {
    let mut wrong = Vec::new();
    for (file, module, code) in files() {
        if module == "cli" || module == "main" || MAY_NAME_FLAGS.contains(&file.as_str()) {
            continue;
        }
        wrong.extend(strings(&code).into_iter().filter(|s| names_a_flag(s)).map(|s| format!("{file}: {s:?}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_of_a_run_folders_files_are_in_one_file() {
    let mut wrong = Vec::new();
    for (file, _, code) in files() {
        let named = |text: &String| FILE_NAMES.contains(&text.as_str());
        if file != KNOWS_FILE_NAMES {
            wrong.extend(strings(&code).into_iter().filter(named).map(|name| format!("{file}: {name}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_one_file() {
    let is_unsafe = |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let with: Vec<String> = files().into_iter().filter(|(_, _, code)| is_unsafe(code)).map(|(file, ..)| file).collect();
    assert_eq!(with, ["nn/kernels/gemm.rs"]);
}

/// Every path `crate::a::b` in `code`, with groups written out: `crate::{a::{b, c}, d}` gives `a::b`, `a::c` and `d`.
fn crate_paths(code: &str) -> Vec<String> {
    fn expand(prefix: &str, text: &str, found: &mut Vec<String>) {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        let whole = format!("{prefix}{path}");
        if !rest.starts_with('{') || !path.is_empty() && !path.ends_with("::") {
            found.push(whole.trim_end_matches("::").to_owned());
            return;
        }
        let (mut depth, mut start) = (0, 1);
        for (at, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return expand(&whole, rest[start..at].trim(), found),
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    expand(&whole, rest[start..at].trim(), found);
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    code.split("crate::").skip(1).for_each(|rest| expand("", rest, &mut found));
    found
}

#[test]
fn paths_are_found_in_groups() {
    let code = "use crate::{Error, nn::{self, layer::Layer}};\nlet x = crate::rng::stream();";
    assert_eq!(crate_paths(code), ["Error", "nn::self", "nn::layer::Layer", "rng::stream"]);
}

/// Which files each file imports from, both as module paths (`nn::layers::dense`). The front page and the table of
/// contents of the command line name everything and are left out.
fn imports() -> Vec<(String, Vec<String>)> {
    let module = |file: &str| {
        let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
        path.replace('/', "::")
    };
    let files: Vec<_> = files().into_iter().map(|(file, _, code)| (module(&file), code)).collect();
    let names: Vec<&str> =
        files.iter().map(|(name, _)| name.as_str()).filter(|n| !["lib", "main"].contains(n)).collect();
    let file_of = |path: &str| {
        let holds =
            |name: &&&str| path == **name || path.strip_prefix(**name).is_some_and(|rest| rest.starts_with("::"));
        names.iter().filter(holds).max_by_key(|name| name.len()).map(|name| (*name).to_owned())
    };
    let of_file = |(name, code): &(String, String)| {
        let used = crate_paths(code).iter().filter_map(|path| file_of(path)).filter(|used| used != name).collect();
        (name.clone(), used)
    };
    files.iter().filter(|(name, _)| !["lib", "main", "cli"].contains(&name.as_str())).map(of_file).collect()
}

#[test]
fn no_two_files_import_each_other() {
    let imports = imports();
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (vec![from], vec![from]);
        while let Some(at) = open.pop() {
            for next in imports.iter().filter(|(name, _)| name == at).flat_map(|(_, used)| used) {
                if next == to {
                    return true;
                }
                if !seen.contains(&next.as_str()) {
                    seen.push(next);
                    open.push(next);
                }
            }
        }
        false
    };
    let circles: Vec<&str> = imports.iter().map(|(name, _)| name.as_str()).filter(|name| reaches(name, name)).collect();
    assert!(circles.is_empty(), "these files are in circles of imports: {circles:?}");
}
