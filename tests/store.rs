//! The record store survives what a crash or a disk can do to its file.

use lrpilot::store::journal::{self, Store};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

type Record = (u64, String);

fn filled(records: &[Record]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.jsonl");
    let mut store = Store::open(&path).unwrap();
    records.iter().for_each(|record| store.append(record).unwrap());
    store.sync().unwrap();
    (dir, path)
}

fn three() -> Vec<Record> {
    vec![(1, "a".into()), (2, "β\n\"".into()), (3, String::new())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut at any byte, the file opens with the records whose lines are whole, and goes on from there.
    #[test]
    fn a_cut_file_opens_with_a_prefix(records in prop::collection::vec((any::<u64>(), ".{0,12}"), 0..6)) {
        let (_dir, path) = filled(&records);
        let whole = fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let lines = whole[..length].iter().filter(|&&b| b == b'\n').count();
            let mut store: Store<Record> = Store::open(&path).unwrap();
            prop_assert_eq!(store.read_all().unwrap(), &records[..lines]);
            let added = (7, "added".to_owned());
            store.append(&added).unwrap();
            prop_assert_eq!(store.len(), lines + 1);
            prop_assert_eq!(store.read_all().unwrap().pop(), Some(added));
        }
    }

    /// Any changed byte is noticed: an error, or a cut tail; never another record.
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let (_dir, path) = filled(&three());
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&path, &bytes).unwrap();
        if let Ok(store) = Store::<Record>::open(&path) {
            let read = store.read_all().unwrap();
            prop_assert!(read.len() < 3 && three().starts_with(&read), "{read:?}");
        }
    }
}

/// CRC-32C of `[1,"a"]` from a bitwise loop over the reflected polynomial 0x82f63b78.
#[test]
fn lines_are_json_with_the_checksum_of_the_record() {
    let (_dir, path) = filled(&three()[..1]);
    let mut crc = !0u32;
    for byte in br#"[1,"a"]"# {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)));
    }
    let expected = format!("{{\"crc32c\":\"{:08x}\",\"record\":[1,\"a\"]}}\n", !crc);
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn a_bad_line_in_the_middle_is_an_error_and_nothing_is_cut() {
    let (_dir, path) = filled(&three());
    let text = fs::read_to_string(&path).unwrap().replace("β", "b");
    fs::write(&path, &text).unwrap();
    let error = Store::<Record>::open(&path).unwrap_err();
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().contains("line 2 is corrupt"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn zeros_at_the_end_are_cut_and_reported() {
    let (_dir, path) = filled(&three());
    let good = fs::read(&path).unwrap();
    fs::write(&path, [good.as_slice(), &[0; 512]].concat()).unwrap();
    assert_eq!(journal::read::<Record>(&path).unwrap(), three());
    let store: Store<Record> = Store::open(&path).unwrap();
    assert_eq!((store.cut_bytes(), store.len()), (512, 3));
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn other_files_and_other_records_are_refused() {
    let (dir, path) = filled(&three());
    assert!(journal::read::<Vec<u64>>(&path).unwrap_err().to_string().contains("line 1 is not a record of this kind"));
    let other = dir.path().join("notes.txt");
    fs::write(&other, "my notes\n").unwrap();
    assert_eq!(Store::<Record>::open(&other).unwrap_err().exit_code(), 65);
    assert_eq!(fs::read_to_string(&other).unwrap(), "my notes\n");
}

#[test]
fn one_writer_and_any_reader() {
    let (_dir, path) = filled(&three());
    let mut writer: Store<Record> = Store::open(&path).unwrap();
    assert_eq!(Store::<Record>::open(&path).unwrap_err().exit_code(), 64);
    assert_eq!(journal::read::<Record>(&path).unwrap(), three());
    writer.truncate(1).unwrap();
    writer.append(&(9, "after".into())).unwrap();
    assert_eq!(writer.read_all().unwrap(), [three()[0].clone(), (9, "after".into())]);
}

#[test]
fn ten_thousand_records_come_back() {
    let records: Vec<Record> = (0..10_000).map(|i| (i, format!("record {i}"))).collect();
    let (_dir, path) = filled(&records);
    assert_eq!(Store::<Record>::open(&path).unwrap().read_all().unwrap(), records);
}
