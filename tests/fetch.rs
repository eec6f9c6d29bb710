//! `lrpilot data fetch` against a server on this machine.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};

/// What the server does with a request for a path: a body, and how much of it is sent.
type Answer = Option<(Vec<u8>, usize)>;

/// A server whose answers `answer` gives; returns its address and the paths asked for so far.
fn serve(answer: impl Fn(&str) -> Answer + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/files/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            let path = first.split(' ').nth(1).unwrap().to_owned();
            // The request ends with an empty line.
            lines.take_while(|l| l.as_ref().is_ok_and(|l| !l.is_empty())).for_each(drop);
            let sent = match answer(&path) {
                None => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                Some((body, part)) => {
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..part]))
                }
            };
            seen.lock().unwrap().push(path);
            // A client that has seen enough may hang up.
            let _ = sent;
        }
    });
    (address, asked)
}

fn fetch(folder: &Path, mirrors: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.args(["data", "fetch", "mnist", "--data-dir"]).arg(folder).env_remove("LRPILOT_DATA");
    command.args(mirrors.iter().flat_map(|m| ["--mirror", m]));
    command.output().unwrap()
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

#[track_caller]
fn assert_refused(output: &Output, folder: &Path, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert_eq!(files(folder), Vec::<PathBuf>::new());
}

/// "abc" as gzip, so that only the checksum is wrong.
fn other_content() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"abc").unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_a_server_does_wrong_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, _) = serve(|_| None);
    assert_refused(
        &fetch(folder.path(), &[&missing]),
        folder.path(),
        &["train-images-idx3-ubyte.gz", "404", "--mirror"],
    );
    let (short, _) = serve(|_| Some((vec![7; 100_000], 70_000)));
    assert_refused(&fetch(folder.path(), &[&short]), folder.path(), &["train-images-idx3-ubyte.gz"]);
    let (wrong, _) = serve(|_| Some((other_content(), other_content().len())));
    // sha256 of "abc": FIPS 180-2, appendix B.1
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_refused(&fetch(folder.path(), &[&wrong]), folder.path(), &["wrong checksum", sum]);
    let (garbage, _) = serve(|_| Some((vec![7; 100], 100)));
    assert_refused(&fetch(folder.path(), &[&garbage]), folder.path(), &["gzip"]);
    assert_refused(&fetch(folder.path(), &["http://127.0.0.1:1/"]), folder.path(), &["http://127.0.0.1:1/"]);
}

/// With the real files: the second mirror is used where the first fails, what is there already is not asked for, and a
/// damaged file is replaced.
#[test]
fn real_files_arrive_whole() {
    let Some(root) = std::env::var_os("LRPILOT_DATA").map(PathBuf::from) else {
        println!("skipped: LRPILOT_DATA does not name a folder with data sets");
        return;
    };
    let source = root.join("mnist");
    if !source.join("t10k-labels-idx1-ubyte.gz").exists() {
        println!("skipped: no mnist/*.gz in LRPILOT_DATA");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (missing, _) = serve(|_| None);
    let (good, asked) = serve(move |path| {
        let body = std::fs::read(source.join(path.strip_prefix("/files/")?)).ok()?;
        let length = body.len();
        Some((body, length))
    });
    let succeed = || {
        let output = fetch(folder.path(), &[&missing, &good]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::mem::take(&mut *asked.lock().unwrap())
    };
    assert_eq!(succeed().len(), 4);
    assert_eq!(files(folder.path()).len(), 4);
    assert_eq!(succeed(), Vec::<String>::new());
    let labels = folder.path().join("mnist/t10k-labels-idx1-ubyte.gz");
    std::fs::write(&labels, other_content()).unwrap();
    assert_eq!(succeed(), ["/files/t10k-labels-idx1-ubyte.gz"]);
}
