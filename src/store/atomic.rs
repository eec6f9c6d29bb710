//! Files that appear whole: those of [`lrpilot_core::atomic`] with this crate's error.

use crate::Result;
pub(crate) use lrpilot_core::atomic::temporary_path;
use std::path::{Path, PathBuf};

/// Replace the content of `path`, so that a crash leaves either the old content or the new.
///
/// # Errors
/// [`crate::Error::Io`] naming the file; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(lrpilot_core::atomic::write_atomic(path, bytes)?)
}

/// The first half of [`write_atomic`]: the content is safely on disk, under a temporary name.
pub(crate) fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    Ok(lrpilot_core::atomic::write_temporary(path, bytes)?)
}

/// The second half: the content gets its name, and the name is safely on disk.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<()> {
    Ok(lrpilot_core::atomic::publish(temporary, path)?)
}
