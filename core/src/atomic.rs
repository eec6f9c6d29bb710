//! Writing a file so that a crash leaves either the old content or the new, never a mixture.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Replace the content of `path`: temporary file beside it → write → fsync → rename → fsync of the folder.
///
/// The temporary name is fixed (`.NAME.tmp`), so what a crash leaves behind is overwritten by the next attempt; the
/// caller sees to it that nobody else writes the same file.
///
/// ```
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("policy.txt");
/// lrpilot_core::atomic::write_atomic(&path, b"new")?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"new");
/// # Ok::<(), lrpilot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] naming the file; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = write_temporary(path, bytes)?;
    publish(&temporary, path)
}

/// The first half of [`write_atomic`]: the content is safely on disk, under a temporary name.
pub fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let temporary = temporary_path(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Error::io(path, e))?;
    Ok(temporary)
}

/// The second half: the content gets its name, and the name is safely on disk.
pub fn publish(temporary: &Path, path: &Path) -> Result<()> {
    fs::rename(temporary, path).map_err(|e| Error::io(path, e))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Where the content of `path` is while it is being written.
pub fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Make the names in a folder durable. Only Unix can open a folder for this.
pub fn sync_folder(dir: &Path) -> Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if cfg!(unix) {
        File::open(dir).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(dir, e))?;
    }
    Ok(())
}
