//! Schedules: the frozen policy. Open-loop and metric-driven ones stand beside it.

pub mod learned;
pub mod metric;
pub mod open_loop;

pub use learned::{Learned, Provenance};
pub use metric::{GreedyLr, MetricDriven, Plateau};
pub use open_loop::OpenLoop;

use crate::{Error, Result};
use std::io::Write as _;
use std::path::Path;

/// Write a file whole or not at all: a temporary file in the same folder, synced, then renamed.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let io = |e| Error::io(path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}
