//! Download a data set: mirrors in turn, a temporary file beside the final one, the checksum of the content, then the
//! final name. A partial download never stands under it.

use crate::record::progress::Progress;
use crate::task::data::{DataFile, DatasetName, verify, verify_file};
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Bytes copied between two reports of progress.
const CHUNK: usize = 1 << 16;

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
        // The ending tells how the content is packed.
        let temporary = tempfile::Builder::new().prefix(".fetch-").suffix(file.name).tempfile_in(folder);
        let mut temporary = temporary.map_err(|e| Error::io(folder, e))?;
        let checked = download(&url, temporary.as_file_mut(), progress)
            .and_then(|()| verify_file(name, file, temporary.path()).map_err(|e| e.to_string()));
        match checked {
            Ok(()) => {
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

/// Write the body of `url` to `file`; an error is the reason why not.
fn download(url: &str, file: &mut File, progress: &dyn Progress) -> Result<(), String> {
    let mut response = ureq::get(url).call().map_err(|e| e.to_string())?;
    let length = response.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    progress.start(length.unwrap_or(0), url);
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; CHUNK];
    let mut total = 0u64;
    loop {
        let n = body.read(&mut buffer).map_err(|e| e.to_string())?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(|e| e.to_string())?;
        total += n as u64;
        progress.advance(n as u64);
    }
    progress.finish(&format!("{total} bytes"));
    match length {
        Some(expected) if expected != total => Err(format!("ended after {total} of {expected} bytes")),
        _ => Ok(()),
    }
}
