//! Results on disk, one JSON line per record, safe against being killed at any moment.
//!
//! A line is `{"crc32c":"1a2b3c4d","record":{…}}`: plain JSON lines for grep and jq. The checksum (CRC-32C, eight
//! lower-case hex digits) is over the bytes of `…`, braces included, as they stand in the file. A record is there once
//! its line has its newline.
//!
//! Durability: an append is one write to the operating system, so it survives the death of the process at any moment.
//! Only [`Store::sync`] waits for the disk; a power cut may lose what was appended since, which is then computed again.
//! Call it before writing anything that takes the records for granted, such as a checkpoint.

use crate::store::atomic::write_atomic;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

const BEFORE_CRC: &[u8] = b"{\"crc32c\":\"";
const BEFORE_RECORD: &[u8] = b"\",\"record\":";
const CRC_DIGITS: usize = 8;

/// An append-only file of records of type `R`, with one writer.
///
/// ```
/// use lrpilot::store::journal::Store;
/// let dir = tempfile::tempdir().unwrap();
/// let mut store = Store::open(&dir.path().join("results.jsonl"))?;
/// store.append(&(1, "one".to_owned()))?;
/// store.append(&(2, "two".to_owned()))?;
/// assert_eq!(store.read_all()?, [(1, "one".to_owned()), (2, "two".to_owned())]);
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Debug)]
pub struct Store<R> {
    path: PathBuf,
    file: File,
    /// Byte at which each record's line ends.
    ends: Vec<u64>,
    cut_bytes: u64,
    record: PhantomData<fn(R) -> R>,
}

impl<R: Serialize + DeserializeOwned> Store<R> {
    /// Open or create the file, and cut off a torn or corrupt tail (see [`Store::cut_bytes`]).
    ///
    /// # Errors
    /// [`Error::Usage`] if another writer has it open; [`Error::Data`] naming the line if a corrupt line is followed by
    /// a good one, or if the file was never a store; [`Error::Io`]. In these cases the file is left as it is.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::usage(
                    format!("{} is being written by another process", path.display()),
                    "wait until it has ended, or choose another folder",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let ends: Vec<u64> = scan(&bytes, path)?.iter().map(|line| line.end as u64).collect();
        let good = ends.last().copied().unwrap_or(0);
        let cut_bytes = bytes.len() as u64 - good;
        if cut_bytes > 0 {
            file.set_len(good).map_err(io)?;
        }
        Ok(Store { path: path.to_owned(), file, ends, cut_bytes, record: PhantomData })
    }

    /// Bytes of a torn or corrupt tail that [`Store::open`] cut off; 0 normally.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Add a record at the end.
    ///
    /// # Errors
    /// [`Error::Io`], e.g. disk full; the file then ends with the last whole record. [`Error::Bug`] if the record
    /// cannot be JSON.
    pub fn append(&mut self, record: &R) -> Result<()> {
        let line = line_of(record)?;
        let end = self.end();
        let written = self.file.seek(SeekFrom::Start(end)).and_then(|_| self.file.write_all(line.as_bytes()));
        if let Err(e) = written {
            // Should this fail too, the next append overwrites the torn line and the next open cuts it.
            let _ = self.file.set_len(end);
            return Err(Error::io(&self.path, e));
        }
        self.ends.push(end + line.len() as u64);
        Ok(())
    }

    /// Wait until everything appended is on disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }

    /// Keep the first `records` records only: for going back to a checkpoint that is older than the newest record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn truncate(&mut self, records: usize) -> Result<()> {
        self.ends.truncate(records);
        self.file.set_len(self.end()).map_err(|e| Error::io(&self.path, e))
    }

    /// End the work with `records` in the place of everything that the file holds, whole or not at all.
    ///
    /// ```
    /// use lrpilot::store::journal::{Store, read};
    /// let dir = tempfile::tempdir().unwrap();
    /// let path = dir.path().join("results.jsonl");
    /// let mut store = Store::open(&path)?;
    /// store.append(&2)?;
    /// store.append(&1)?;
    /// store.replace(&[1, 2])?;
    /// assert_eq!(read::<i32>(&path)?, [1, 2]);
    /// # Ok::<(), lrpilot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::append`]; the file is then as it was.
    pub fn replace(self, records: &[R]) -> Result<()> {
        let lines = records.iter().map(line_of).collect::<Result<String>>()?;
        write_atomic(&self.path, lines.as_bytes())
    }

    /// All records in the order of appending.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read_all(&self) -> Result<Vec<R>> {
        read(&self.path)
    }

    fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

fn line_of<R: Serialize>(record: &R) -> Result<String> {
    let json = serde_json::to_string(record).map_err(|e| Error::Bug(format!("record is not JSON: {e}")))?;
    Ok(format!("{{\"crc32c\":\"{:08x}\",\"record\":{json}}}\n", crc32c::crc32c(json.as_bytes())))
}

/// The records of a store that may be in use elsewhere. Reads only: a torn or corrupt tail is left out, not cut off.
///
/// # Errors
/// [`Error::Data`] naming the line if it is corrupt and not the tail, or holds another kind of record; [`Error::Io`].
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let parse = |(i, line): (usize, &Line<'_>)| {
        serde_json::from_slice(line.json).map_err(|e| {
            let message = format!("line {} is not a record of this kind: {e}", i + 1);
            Error::data(path, message, "read it with the version of lrpilot that wrote it")
        })
    };
    scan(&bytes, path)?.iter().enumerate().map(parse).collect()
}

/// A good line: its record's JSON, and where the line ends in the file.
struct Line<'a> {
    json: &'a [u8],
    end: usize,
}

/// The good lines up to the tail. Bad lines with nothing good after them are the tail: a crash may leave half a line,
/// or blocks of zeros or of other content.
fn scan<'a>(bytes: &'a [u8], path: &Path) -> Result<Vec<Line<'a>>> {
    let mut good = Vec::new();
    let mut first_bad = None;
    let mut end = 0;
    for (i, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        end += line.len();
        match (checked(line), first_bad) {
            (Some(json), None) => good.push(Line { json, end }),
            (Some(_), Some(number)) => {
                let message = format!("line {number} is corrupt, and line {} after it is not", i + 1);
                return Err(Error::data(path, message, "restore the file, or delete that line to compute it again"));
            }
            (None, _) => first_bad = first_bad.or(Some(i + 1)),
        }
    }
    let common = bytes.len().min(BEFORE_CRC.len());
    if good.is_empty() && bytes[..common] != BEFORE_CRC[..common] && bytes.iter().any(|&b| b != 0) {
        return Err(Error::data(
            path,
            "not a file of records written by lrpilot",
            "move it away, or choose another folder",
        ));
    }
    Ok(good)
}

/// The JSON of a line's record if the line is whole and its checksum right.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(BEFORE_CRC)?.strip_suffix(b"}\n")?;
    let (crc, rest) = rest.split_at_checked(CRC_DIGITS)?;
    let json = rest.strip_prefix(BEFORE_RECORD)?;
    (crc == format!("{:08x}", crc32c::crc32c(json)).as_bytes()).then_some(json)
}
