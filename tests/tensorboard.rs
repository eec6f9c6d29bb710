//! Event files: our own reading of the format, and TensorBoard's.

use lrpilot::Error;
use lrpilot::record::UpdateRecord;
use lrpilot::record::tensorboard::{EventWriter, decode, file_name};
use std::path::Path;
use std::process::Command;

fn update(number: usize) -> UpdateRecord {
    UpdateRecord {
        policy_seed: 1,
        update: number,
        env_steps: 1000 * number as u64,
        mean_return: (number != 2).then_some(0.5 * number as f64),
        mean_final_val_loss: (number != 2).then_some(0.25),
        diverged: 0,
        clip_fraction: 0.125,
        approx_kl: 0.0625,
        policy_loss: -0.5,
        value_loss: 2.0,
        explained_variance: 0.75,
        action_sd: 0.375,
    }
}

fn write(path: &Path, updates: impl IntoIterator<Item = usize>) {
    let mut writer = EventWriter::open(path, 100.0).unwrap();
    for number in updates {
        writer.update(&update(number), 100.0 + number as f64).unwrap();
    }
}

#[test]
fn what_was_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy-1").join(file_name(100, "host"));
    write(&path, 1..=3);
    let content = std::fs::read(&path).unwrap();
    let (events, length) = decode(&content);
    assert_eq!(length, content.len());
    assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
    assert_eq!(events.iter().map(|e| e.step).collect::<Vec<_>>(), [0, 1000, 2000, 3000]);
    let tags = |i: usize| events[i].summary.as_ref().unwrap().value.iter().map(|v| v.tag.clone()).collect::<Vec<_>>();
    assert!(tags(1).contains(&"rollout/mean_return".into()));
    assert!(!tags(2).contains(&"rollout/mean_return".into()), "no episode ended in update 2");
}

#[test]
fn any_torn_tail_is_cut_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    write(&path, 1..=3);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        write(&path, 1..=3); // repeats what is still there
        assert_eq!(std::fs::read(&path).unwrap(), whole, "after a tear at byte {length}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    write(&path, 1..=2);
    let whole = std::fs::read(&path).unwrap();
    let intact = decode(&whole).0.len();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        assert!(decode(&damaged).0.len() < intact, "byte {byte}");
    }
}

#[test]
fn another_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "a file of somebody else, longer than a header would be, and no events in it";
    std::fs::write(&path, text).unwrap();
    assert!(matches!(EventWriter::open(&path, 0.0), Err(Error::Data { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// Needs a Python with `tensorboard`, named by LRPILOT_PYTHON.
#[test]
fn tensorboard_reads_it() {
    let Some(python) = std::env::var_os("LRPILOT_PYTHON") else {
        println!("skipped: LRPILOT_PYTHON does not name a Python that has tensorboard");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file_name(100, "host"));
    write(&path, 1..=2);
    // A tear in between, as after a crash.
    let mut content = std::fs::read(&path).unwrap();
    content.truncate(content.len() - 5);
    std::fs::write(&path, content).unwrap();
    write(&path, 1..=3);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/read_events.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scalars: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        scalars["rollout/mean_return"],
        serde_json::json!([[101.0, 1000, 0.5], [103.0, 3000, 1.5]]),
        "{scalars}"
    );
    assert_eq!(
        scalars["train/explained_variance"],
        serde_json::json!([[101.0, 1000, 0.75], [102.0, 2000, 0.75], [103.0, 3000, 0.75]])
    );
    assert_eq!(scalars["rollout/diverged"][0], serde_json::json!([101.0, 1000, 0.0]), "zero is a value too");
    assert_eq!(scalars.as_object().unwrap().len(), 9);
}
