//! Scalars as TensorBoard event files, resumable.
//!
//! One folder per policy seed (TensorBoard calls it a run) with these tags against environment steps:
//!
//! | tag | meaning |
//! |---|---|
//! | `rollout/mean_return` | mean return of the episodes that ended in the update; absent if none did |
//! | `rollout/final_val_loss` | mean final validation-A loss of those episodes; absent if none ended |
//! | `rollout/diverged` | how many of them diverged or rolled back |
//! | `train/policy_loss`, `train/value_loss` | losses of PPO |
//! | `train/clip_fraction` | fraction of samples whose ratio was clipped |
//! | `train/approx_kl` | mean of r − 1 − ln r |
//! | `train/explained_variance` | 1 − Var(returns − values) / Var(returns) |
//! | `policy/action_sd` | mean standard deviation of the policy |
//!
//! The file is a sequence of TFRecords (length, masked CRC-32C of the length, payload, masked CRC-32C of the payload),
//! each holding an `Event` protocol buffer; the few fields used are declared here by hand. Deliberately not here:
//! the clock and host name (given by the caller), histograms, images.

use crate::record::UpdateRecord;
use crate::{Error, Result};
use prost::Message;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// `tensorflow.Event`, the fields that scalars need.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Step on the horizontal axis.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// `brain.Event:2`, in the first event of a file only.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    /// Values, in every other event.
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// One value for each tag.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// `tensorflow.Summary.Value`, a scalar.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Name of the curve.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// The number; optional because it is a member of a `oneof`, so 0 is written too.
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

const VERSION: &str = "brain.Event:2";
/// Bytes around a payload: length (8), its CRC (4), the payload's CRC (4).
const FRAME: usize = 16;

/// The name TensorBoard looks for: `events.out.tfevents.<seconds since 1970>.<host>`. Characters of the host name that
/// do not belong in a file name become `_`.
///
/// ```
/// assert_eq!(lrpilot::record::tensorboard::file_name(1700000000, "a/b"), "events.out.tfevents.1700000000.a_b");
/// ```
pub fn file_name(seconds: u64, host: &str) -> String {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect();
    format!("events.out.tfevents.{seconds}.{host}")
}

/// CRC-32C, rotated and shifted so that data which contains its own CRC does not check trivially.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + FRAME);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(payload);
    record.extend(masked_crc(payload).to_le_bytes());
    record
}

/// The payload at the start of `bytes`; `None` if the record is cut off or a CRC does not match.
fn unframe(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(..8)?;
    if bytes.get(8..12)? != masked_crc(length).to_le_bytes() {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let payload = bytes.get(12..)?.get(..length)?;
    let crc = bytes.get(12 + length..)?.get(..4)?;
    (crc == masked_crc(payload).to_le_bytes()).then_some(payload)
}

/// The events of a file's content up to the first damaged or cut-off record, and how many bytes they take.
///
/// ```
/// let (events, length) = lrpilot::record::tensorboard::decode(b"torn");
/// assert!(events.is_empty() && length == 0);
/// ```
pub fn decode(bytes: &[u8]) -> (Vec<Event>, usize) {
    let (mut events, mut offset) = (Vec::new(), 0);
    while let Some(payload) = unframe(&bytes[offset..]) {
        let Ok(event) = Event::decode(payload) else { break };
        events.push(event);
        offset += payload.len() + FRAME;
    }
    (events, offset)
}

/// Writes scalars to one event file.
///
/// A file that exists is continued: what a crash left half-written at its end is cut off, and steps that are already
/// there are skipped, so a resumed run that repeats some updates writes each once.
///
/// ```
/// use lrpilot::record::tensorboard::{EventWriter, decode, file_name};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join(file_name(1_700_000_000, "host"));
/// let mut writer = EventWriter::open(&path, 1.7e9)?;
/// writer.scalars(1, 1.7e9, &[("rollout/mean_return", 0.5)])?;
/// assert_eq!(EventWriter::open(&path, 1.7e9)?.last_step(), Some(1));
/// assert_eq!(decode(&std::fs::read(&path)?).0.len(), 2); // the file version, then the scalar
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    last_step: Option<i64>,
}

impl EventWriter {
    /// Create the file at `path` (and its folder), or continue it. `wall_time` is in seconds since 1970.
    ///
    /// Errors: the operating system's, and a file that is not an event file, which is left as it is.
    pub fn open(path: impl AsRef<Path>, wall_time: f64) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let failed = |source| Error::io(&path, source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let content = std::fs::read(&path).map_err(failed)?;
        let (events, intact) = decode(&content);
        let header = Event { wall_time, step: 0, file_version: Some(VERSION.into()), summary: None };
        let ours = match events.first() {
            Some(first) => first.file_version.as_deref() == Some(VERSION),
            // A torn header is shorter than a whole one; anything longer was never ours.
            None => content.len() < frame(&header.encode_to_vec()).len(),
        };
        if !ours {
            return Err(Error::data(path, "this is not a TensorBoard event file", "move it away or name another file"));
        }
        file.set_len(intact as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let last_step = events.iter().filter(|e| e.summary.is_some()).map(|e| e.step).max();
        let mut writer = EventWriter { file, path, last_step };
        if events.is_empty() {
            writer.append(&header)?;
        }
        Ok(writer)
    }

    /// The largest step in the file.
    pub fn last_step(&self) -> Option<i64> {
        self.last_step
    }

    /// Write `(tag, value)` pairs at `step`; nothing if the file already reaches that step. NaN is written as NaN.
    pub fn scalars(&mut self, step: i64, wall_time: f64, values: &[(&str, f64)]) -> Result<()> {
        if self.last_step.is_some_and(|last| step <= last) {
            return Ok(());
        }
        let value = |&(tag, v): &(&str, f64)| Value { tag: tag.into(), simple_value: Some(v as f32) };
        let summary = Some(Summary { value: values.iter().map(value).collect() });
        self.append(&Event { wall_time, step, file_version: None, summary })?;
        self.last_step = Some(step);
        Ok(())
    }

    /// Write the tags of the module's table for one update, at its environment steps.
    pub fn update(&mut self, update: &UpdateRecord, wall_time: f64) -> Result<()> {
        let UpdateRecord {
            policy_seed: _,
            update: _,
            env_steps,
            mean_return,
            mean_final_val_loss,
            diverged,
            clip_fraction,
            approx_kl,
            policy_loss,
            value_loss,
            explained_variance,
            action_sd,
        } = update;
        let mut values = vec![
            ("rollout/diverged", *diverged as f64),
            ("train/policy_loss", *policy_loss),
            ("train/value_loss", *value_loss),
            ("train/clip_fraction", *clip_fraction),
            ("train/approx_kl", *approx_kl),
            ("train/explained_variance", *explained_variance),
            ("policy/action_sd", *action_sd),
        ];
        values.extend(mean_return.map(|v| ("rollout/mean_return", v)));
        values.extend(mean_final_val_loss.map(|v| ("rollout/final_val_loss", v)));
        self.scalars(i64::try_from(*env_steps).unwrap_or(i64::MAX), wall_time, &values)
    }

    /// One write for the whole record, so that at most the last one can be torn.
    fn append(&mut self, event: &Event) -> Result<()> {
        self.file.write_all(&frame(&event.encode_to_vec())).map_err(|e| Error::io(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C of 32 zero bytes is 0x8a9136aa (RFC 3720, B.4); masked, ((c >> 15) | (c << 17)) + 0xa282ead8 modulo 2³².
    #[test]
    fn crc_is_castagnoli_and_masked() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked_crc(&[0; 32]), 0x0fd7_fffa);
    }

    /// The bytes of an event written out by hand from the protocol buffer encoding: field number × 8 + wire type.
    #[test]
    fn event_bytes_are_the_wire_format() {
        let value = Value { tag: "a".into(), simple_value: Some(0.0) };
        let event =
            Event { wall_time: 1.0, step: 3, file_version: None, summary: Some(Summary { value: vec![value] }) };
        let expected = [
            &[0x09][..], // field 1, 64 bits: wall_time
            &1f64.to_le_bytes(),
            &[0x10, 3],                                            // field 2, varint: step
            &[0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0, 0], // field 5: summary, value, tag, simple_value = 0
        ]
        .concat();
        assert_eq!(event.encode_to_vec(), expected);
    }
}
