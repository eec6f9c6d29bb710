//! Checkpoints that a crash at any moment cannot spoil.
//!
//! A folder with the two newest checkpoints `NUMBER.postcard` and a file `HEAD`, which lists them newest first in the
//! format of `sha256sum` (so `sha256sum -c HEAD` checks them). A checkpoint exists once `HEAD` lists it.

use super::identity::sha256_hex;
use crate::store::atomic::{publish, write_temporary};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

const HEAD: &str = "HEAD";
const SUFFIX: &str = ".postcard";
/// First bytes of a checkpoint; the number is the format's version.
const MAGIC: &[u8] = b"lrpilot checkpoint 2\n";
const KEPT: usize = 2;
const REMEDY: &str = "restore the folder from a copy, or start again in another folder";

/// The checkpoints in one folder.
///
/// ```
/// use lrpilot::store::checkpoint::Checkpoints;
/// let dir = tempfile::tempdir().unwrap();
/// let checkpoints = Checkpoints::new(dir.path());
/// assert!(checkpoints.load_latest::<Vec<f32>>()?.is_none());
/// checkpoints.save(&vec![1.0f32])?;
/// assert_eq!(checkpoints.load_latest::<Vec<f32>>()?.unwrap().value, [1.0]);
/// # Ok::<(), lrpilot::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
}

/// A checkpoint read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// What was saved.
    pub value: T,
    /// For people: the newest checkpoint was corrupt, and this is the one before it.
    pub warning: Option<String>,
}

/// A line of `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    sha256: String,
    number: u64,
}

/// The moments of a save after which a crash leaves a different folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Written,
    Named,
    HeadWritten,
    HeadNamed,
    Pruned,
}

impl Checkpoints {
    /// The checkpoints in `dir`, which is created by the first save. The caller holds the run folder's lock.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Checkpoints { dir: dir.as_ref().to_owned() }
    }

    /// Save `value` as the newest checkpoint and remove all but the two newest. On return it is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]; the checkpoints there were before are then still good. [`Error::Bug`] if the type cannot be
    /// encoded.
    pub fn save(&self, value: &impl Serialize) -> Result<()> {
        self.save_observed(value, &mut |_| Ok(()))
    }

    /// [`Checkpoints::save`], calling `after` at each step; an error from it is a simulated crash.
    fn save_observed(&self, value: &impl Serialize, after: &mut dyn FnMut(Step) -> Result<()>) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes = postcard::to_extend(value, bytes).map_err(|e| Error::Bug(format!("checkpoint: {e}")))?;
        fs::create_dir_all(&self.dir).map_err(|e| Error::io(&self.dir, e))?;
        let mut entries = self.head()?;
        let number = entries.first().map_or(1, |newest| newest.number + 1);
        let path = self.path(number);

        let temporary = write_temporary(&path, &bytes)?;
        after(Step::Written)?;
        publish(&temporary, &path)?;
        after(Step::Named)?;

        entries.insert(0, Entry { sha256: sha256_hex(&bytes), number });
        entries.truncate(KEPT);
        let head = self.dir.join(HEAD);
        let temporary = write_temporary(&head, render(&entries).as_bytes())?;
        after(Step::HeadWritten)?;
        publish(&temporary, &head)?;
        after(Step::HeadNamed)?;

        self.prune(&entries)?;
        after(Step::Pruned)
    }

    /// The newest checkpoint whose sha256 is right; `None` if nothing was saved yet.
    ///
    /// # Errors
    /// [`Error::Data`] if all are corrupt, `HEAD` is unreadable, or the content is of another version of the program;
    /// [`Error::Io`].
    pub fn load_latest<T: DeserializeOwned>(&self) -> Result<Option<Loaded<T>>> {
        let mut warning = None;
        for entry in self.head()? {
            let path = self.path(entry.number);
            match fs::read(&path) {
                Ok(bytes) if sha256_hex(&bytes) == entry.sha256 => {
                    return Ok(Some(Loaded { value: decode(&bytes, &path)?, warning }));
                }
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io(&path, e)),
            }
            warning = warning
                .or_else(|| Some(format!("{} is missing or corrupt; going back to the one before", path.display())));
        }
        match warning {
            None => Ok(None),
            Some(_) => Err(Error::data(&self.dir, "every checkpoint is missing or corrupt", REMEDY)),
        }
    }

    /// The entries of `HEAD`, newest first; none if there is no such file.
    fn head(&self) -> Result<Vec<Entry>> {
        let path = self.dir.join(HEAD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&path, e)),
        };
        let entries: Option<Vec<Entry>> = String::from_utf8_lossy(&bytes).lines().map(parse_entry).collect();
        match entries {
            Some(entries) if !entries.is_empty() => Ok(entries),
            _ => Err(Error::data(&path, "not a list of checkpoints", REMEDY)),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:08}{SUFFIX}"))
    }

    /// Remove checkpoints that `HEAD` does not list. Nothing else is touched.
    fn prune(&self, kept: &[Entry]) -> Result<()> {
        for file in fs::read_dir(&self.dir).map_err(|e| Error::io(&self.dir, e))? {
            let path = file.map_err(|e| Error::io(&self.dir, e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok());
            if number.is_some_and(|number| kept.iter().all(|entry| entry.number != number)) {
                fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
            }
        }
        Ok(())
    }
}

fn render(entries: &[Entry]) -> String {
    entries.iter().map(|Entry { sha256, number }| format!("{sha256}  {number:08}{SUFFIX}\n")).collect()
}

fn parse_entry(line: &str) -> Option<Entry> {
    let (sha256, name) = line.split_once("  ")?;
    let number = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (sha256.len() == 64).then(|| Entry { sha256: sha256.to_owned(), number })
}

fn decode<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T> {
    let other_version =
        || Error::data(path, "a checkpoint of another version of lrpilot", "resume with the version that wrote it");
    let body = bytes.strip_prefix(MAGIC).ok_or_else(other_version)?;
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(other_version()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 5] = [Step::Written, Step::Named, Step::HeadWritten, Step::HeadNamed, Step::Pruned];

    fn crash_at(checkpoints: &Checkpoints, value: &u64, step: Step) {
        let mut crash = |at| if at == step { Err(Error::Bug("crash".into())) } else { Ok(()) };
        checkpoints.save_observed(value, &mut crash).unwrap_err();
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whatever the step of the crash and however many saves went before: the value is the old one until HEAD has its
    /// name and the new one afterwards, and the next save works.
    #[test]
    fn crash_at_each_step() {
        for saved_before in 0..4u64 {
            for step in STEPS {
                let dir = tempfile::tempdir().unwrap();
                let checkpoints = Checkpoints::new(dir.path());
                (1..=saved_before).for_each(|value| checkpoints.save(&value).unwrap());
                crash_at(&checkpoints, &100, step);

                let old = (saved_before > 0).then_some(saved_before);
                let expected = if step >= Step::HeadNamed { Some(100) } else { old };
                let loaded = checkpoints.load_latest::<u64>().unwrap();
                assert!(loaded.iter().all(|l| l.warning.is_none()));
                assert_eq!(loaded.map(|l| l.value), expected, "{saved_before} {step:?}");

                checkpoints.save(&200u64).unwrap();
                assert_eq!(checkpoints.load_latest::<u64>().unwrap().unwrap().value, 200);
                let count = if expected.is_some() { 2 } else { 1 };
                assert_eq!(files(dir.path()).len(), count + 1, "{saved_before} {step:?}: {:?}", files(dir.path()));
            }
        }
    }

    #[test]
    fn corrupt_newest_falls_back_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path());
        (1..=3u64).for_each(|value| checkpoints.save(&value).unwrap());
        assert_eq!(files(dir.path()), ["00000002.postcard", "00000003.postcard", "HEAD"]);
        let whole = fs::read(checkpoints.path(3)).unwrap();
        for length in 0..whole.len() {
            fs::write(checkpoints.path(3), &whole[..length]).unwrap();
            let loaded = checkpoints.load_latest::<u64>().unwrap().unwrap();
            assert_eq!(loaded.value, 2);
            assert!(loaded.warning.unwrap().contains("00000003.postcard is missing or corrupt"));
        }
        fs::remove_file(checkpoints.path(3)).unwrap();
        assert_eq!(checkpoints.load_latest::<u64>().unwrap().unwrap().value, 2);
        fs::remove_file(checkpoints.path(2)).unwrap();
        assert_eq!(checkpoints.load_latest::<u64>().unwrap_err().exit_code(), 65);
    }

    #[test]
    fn another_type_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path());
        checkpoints.save(&(1u64, 2u64)).unwrap();
        let message = checkpoints.load_latest::<u64>().unwrap_err().to_string();
        assert!(message.contains("another version"), "{message}");
        fs::write(dir.path().join(HEAD), "nonsense").unwrap();
        assert_eq!(checkpoints.load_latest::<u64>().unwrap_err().exit_code(), 65);
    }
}
