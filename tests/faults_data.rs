//! Data files that are whole but packed in another way, and data folders that are not there. The real files are used
//! where `LRPILOT_DATA` says that they are.
#![cfg(feature = "cli")]

use assert_cmd::Command;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

const LABELS: &str = "t10k-labels-idx1-ubyte.gz";

fn data(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lrpilot"));
    command.arg("data").args(args).arg("--data-dir").arg(folder).output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The real file below `LRPILOT_DATA`; says so where there is none.
fn real(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("LRPILOT_DATA").map(|root| PathBuf::from(root).join(name)).filter(|p| p.exists());
    if found.is_none() {
        println!("skipped: no {name} in LRPILOT_DATA");
    }
    found
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    MultiGzDecoder::new(packed).read_to_end(&mut content).unwrap();
    content
}

/// A folder with the real MNIST in which the test labels are missing.
fn mnist_without_labels() -> Option<(tempfile::TempDir, PathBuf)> {
    let source = real("mnist")?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mnist")).unwrap();
    for name in ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"] {
        std::fs::copy(source.join(name), folder.path().join("mnist").join(name)).unwrap();
    }
    Some((folder, source.join(LABELS)))
}

/// RFC 1952, §2.2: "A gzip file consists of a series of members".
#[test]
fn a_gzip_file_of_several_members_is_read() {
    let Some((folder, labels)) = mnist_without_labels() else { return };
    let content = unpacked(&std::fs::read(labels).unwrap());
    let members = content.chunks(content.len() / 3 + 1).flat_map(gzip).collect::<Vec<u8>>();
    std::fs::write(folder.path().join("mnist").join(LABELS), members).unwrap();
    assert_eq!(succeeded(&data(folder.path(), &["verify", "mnist"])), "mnist: good\n");
}

#[test]
fn what_is_listed_is_read() {
    let Some(archive) = real("cifar-100-binary.tar.gz") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cifar-100-binary.tar"), unpacked(&std::fs::read(archive).unwrap())).unwrap();
    let listed = succeeded(&data(folder.path(), &["list"]));
    let row = listed.lines().find(|l| l.contains("cifar-100 ")).unwrap();
    assert!(row.contains("yes") && row.contains("cifar-100-binary.tar"), "{listed}");
    assert_eq!(succeeded(&data(folder.path(), &["verify", "cifar-100"])), "cifar-100: good\n");
}

/// A server that says `Content-Encoding: gzip` of `body`.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.take_while(|l| l.as_ref().is_ok_and(|l| !l.is_empty())).for_each(drop);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            // A client that has seen enough may hang up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

/// Either the file itself is what is called encoded, or it was compressed once more on the way. Its name says afterwards
/// whether it is compressed.
#[test]
fn an_encoded_answer_is_fetched() {
    let Some((folder, labels)) = mnist_without_labels() else { return };
    let file = std::fs::read(labels).unwrap();
    for (body, name) in [(file.clone(), LABELS.trim_end_matches(".gz")), (gzip(&file), LABELS)] {
        let address = serve(body);
        succeeded(&data(folder.path(), &["fetch", "mnist", "--mirror", &address]));
        succeeded(&data(folder.path(), &["verify", "mnist"]));
        let path = folder.path().join("mnist").join(name);
        let expected = if name == LABELS { file.clone() } else { unpacked(&file) };
        assert!(std::fs::read(&path).unwrap() == expected, "{name} is not what it is called");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    for (args, place, words) in [
        (&["list"][..], &missing, "does not exist; correct --data-dir"),
        (&["verify"], &missing, "does not exist; correct --data-dir"),
        (&["fetch", "digits"], &missing, "digits is part of the program; there is nothing to fetch"),
    ] {
        let output = data(place, args);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains(words), "{message}");
        assert!(args[0] == "fetch" || message.contains("none"), "{message}");
    }
    assert!(!missing.exists());
}
