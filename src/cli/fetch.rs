//! Download a data set: mirrors in turn, a temporary file beside the final one, the checksum of the content, then the
//! final name. A partial download never stands under it.

use crate::record::progress::Progress;
use crate::task::data::{DataFile, DatasetName, is_gzip, verify, verify_file};
use crate::{Error, Result};
use std::io::{Read as _, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;

/// Bytes copied between two reports of progress.
const CHUNK: u64 = 1 << 16;

/// Download what is missing or wrong of `name` below `root`, from `mirrors`, or where there are none from the
/// known ones.
///
/// # Errors
/// [`Error::Data`] if no mirror gives the file with the right content; [`Error::Io`].
pub fn fetch(name: DatasetName, root: &Path, mirrors: &[String], progress: &dyn Progress) -> Result<()> {
    let folder = root.join(name.folder());
    for file in name.files() {
        if let Ok(path) = name.find(root, file) {
            match verify_file(name, file, &path) {
                Ok(()) => continue,
                Err(e) => progress.message(&format!("{e}; it is fetched again")),
            }
        }
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        fetch_file(name, file, &folder, mirrors, progress)?;
    }
    verify(name, root)
}

fn fetch_file(
    name: DatasetName,
    file: &DataFile,
    folder: &Path,
    mirrors: &[String],
    progress: &dyn Progress,
) -> Result<()> {
    let path = folder.join(file.name);
    let mut failures = Vec::new();
    let known: Vec<String> = file.mirrors.iter().map(|m| (*m).to_owned()).collect();
    for mirror in if mirrors.is_empty() { &known } else { mirrors } {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
        match download(&url, name, file, folder, progress) {
            Ok((temporary, arrived)) => {
                let path = folder.join(arrived);
                temporary.as_file().sync_all().map_err(|e| Error::io(&path, e))?;
                temporary.persist(&path).map_err(|e| Error::io(&path, e.error))?;
                return Ok(());
            }
            Err(reason) => failures.push(format!("{url}: {reason}")),
        }
    }
    let remedy = "check the network, name another server with --mirror, or put the file there by hand";
    Err(Error::data(path, format!("cannot be downloaded ({})", failures.join("; ")), remedy))
}

/// The checked content of `url` in a temporary file, and the name that it is to have; an error is the reason why not.
///
/// A server may unpack a file on the way, or have us do it (`Content-Encoding: gzip`). The name then loses its `.gz`,
/// so that it says what the file is.
fn download(
    url: &str,
    name: DatasetName,
    file: &DataFile,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(NamedTempFile, &'static str), String> {
    let mut response = ureq::get(url).call().map_err(|e| e.to_string())?;
    // Where the answer is unpacked on arrival, ureq takes the length away, which is that of what is sent.
    let length = response.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    progress.start(length.unwrap_or(0), url);
    let mut body = response.body_mut().as_reader();
    let mut chunk = Vec::new();
    let mut next = |chunk: &mut Vec<u8>| {
        chunk.clear();
        body.by_ref().take(CHUNK).read_to_end(chunk).map_err(|e| e.to_string())
    };
    next(&mut chunk)?;
    let arrived = if is_gzip(&chunk) || length.is_some() { file.name } else { file.name.trim_end_matches(".gz") };
    let temporary = tempfile::Builder::new().prefix(".fetch-").suffix(arrived).tempfile_in(folder);
    let mut temporary = temporary.map_err(|e| e.to_string())?;
    let mut total = 0;
    while !chunk.is_empty() {
        temporary.write_all(&chunk).map_err(|e| e.to_string())?;
        total += chunk.len() as u64;
        progress.advance(chunk.len() as u64);
        next(&mut chunk)?;
    }
    progress.finish(&format!("{total} bytes"));
    if length.is_some_and(|expected| expected != total) {
        return Err(format!("ended after {total} of {} bytes", length.unwrap_or(0)));
    }
    verify_file(name, file, temporary.path()).map_err(|e| e.to_string())?;
    Ok((temporary, arrived))
}
