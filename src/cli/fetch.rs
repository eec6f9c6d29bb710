//! Download a data set: mirrors in turn, a temporary file beside the final one, the checksum of the content, then the
//! final name. A partial download never stands under it.

use crate::report::progress::Progress;
use crate::task::data::{DataFile, DatasetName, verify};
use crate::{Error, Result};
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Bytes copied between two reports of progress.
const CHUNK: usize = 1 << 16;

/// Download what is missing of `name` below `root` and check all of it.
///
/// # Errors
/// [`Error::Data`] if no mirror gives the file, or its content is wrong; [`Error::Io`].
pub fn fetch(name: DatasetName, root: &Path, progress: &dyn Progress) -> Result<()> {
    let folder = root.join(name.folder());
    for file in name.files() {
        if name.find(root, file).is_ok() {
            continue;
        }
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        fetch_file(file, &folder, progress)?;
    }
    verify(name, root)
}

fn fetch_file(file: &DataFile, folder: &Path, progress: &dyn Progress) -> Result<()> {
    let path = folder.join(file.name);
    let mut failures = Vec::new();
    for mirror in file.mirrors {
        let url = format!("{mirror}{}", file.name);
        match download(&url, folder, progress) {
            Ok(temporary) => {
                temporary.as_file().sync_all().map_err(|e| Error::io(&path, e))?;
                temporary.persist(&path).map_err(|e| Error::io(&path, e.error))?;
                return Ok(());
            }
            Err(reason) => failures.push(format!("{url}: {reason}")),
        }
    }
    let remedy = "check the network, or put the file there by hand";
    Err(Error::data(path, format!("cannot be downloaded ({})", failures.join("; ")), remedy))
}

/// The body of `url` in a temporary file, or the reason why not.
fn download(url: &str, folder: &Path, progress: &dyn Progress) -> Result<tempfile::NamedTempFile, String> {
    let mut response = ureq::get(url).call().map_err(|e| e.to_string())?;
    let length = response.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| e.to_string())?;
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
        _ => Ok(file),
    }
}
