//! The binary format of CIFAR: records of one (CIFAR-10) or two (CIFAR-100: coarse, fine) label bytes and 3×32×32
//! pixels. Read from the archive, compressed or not; nothing is unpacked to disk.

use crate::nn::Shape;
use crate::task::data::Images;
use crate::{Error, Result};
use std::io::Read;
use std::path::Path;

const PIXELS: usize = 3 * 32 * 32;

/// The label bytes at the beginning of a record.
pub(super) struct Labels {
    /// How many there are.
    pub bytes: usize,
    /// Which of them is used, from 0.
    pub used: usize,
    /// Number of classes that it tells apart.
    pub classes: usize,
}

/// Records of a member file, which holds `expected` of them.
pub(super) fn records(path: &Path, content: &[u8], labels: &Labels, expected: usize) -> Result<Images> {
    let Labels { bytes, used, classes } = *labels;
    let bad = |message: String| Err(Error::data(path, message, "download the archive again"));
    let size = bytes + PIXELS;
    if content.len() != expected * size {
        return bad(format!("{} bytes instead of {expected} records of {size}", content.len()));
    }
    let mut images = Images {
        shape: Shape::image(3, 32, 32),
        classes,
        pixels: Vec::with_capacity(expected * PIXELS),
        labels: Vec::new(),
    };
    for (i, record) in content.chunks_exact(size).enumerate() {
        let label = record[used];
        if usize::from(label) >= classes {
            return bad(format!("label {label} of record {i} is not below {classes}"));
        }
        images.labels.push(label);
        images.pixels.extend_from_slice(&record[bytes..]);
    }
    Ok(images)
}

/// The contents of `members` (by file name) of the tar archive at `path`. Other members are skipped, whatever
/// their names; nothing is written to disk and no member may be longer than `limit` bytes.
pub(super) fn from_archive(path: &Path, archive: impl Read, members: &[&str], limit: u64) -> Result<Vec<Vec<u8>>> {
    let remedy = "download the archive again";
    let mut archive = tar::Archive::new(archive);
    let broken = |e: std::io::Error| Error::data(path, format!("truncated or corrupt archive ({e})"), remedy);
    let mut found: Vec<Option<Vec<u8>>> = vec![None; members.len()];
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.file_name().map(|n| n.to_string_lossy().into_owned());
        let Some(i) = members.iter().position(|m| Some(*m) == name.as_deref()) else { continue };
        let mut content = Vec::new();
        entry.take(limit).read_to_end(&mut content).map_err(broken)?;
        found[i] = Some(content);
    }
    let missing = |i: usize| Error::data(path, format!("the archive has no member {}", members[i]), remedy);
    found.into_iter().enumerate().map(|(i, content)| content.ok_or_else(|| missing(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::data::{DatasetName, catalog};

    fn open(path: &Path) -> Box<dyn Read> {
        catalog::open(path, DatasetName::Cifar100).unwrap()
    }

    #[test]
    fn the_label_in_use_is_taken_and_checked() {
        let (fine, coarse) = (Labels { bytes: 2, used: 1, classes: 100 }, Labels { bytes: 2, used: 0, classes: 20 });
        let mut content = vec![0; 2 * (2 + PIXELS)];
        (content[0], content[1]) = (19, 42);
        let images = records(Path::new("train.bin"), &content, &fine, 2).unwrap();
        assert_eq!(images.labels, [42, 0]);
        assert_eq!(records(Path::new("train.bin"), &content, &coarse, 2).unwrap().labels, [19, 0]);
        content[1] = 100;
        let error = records(Path::new("train.bin"), &content, &fine, 2).unwrap_err();
        assert!(error.to_string().contains("label 100 of record 0"));
        let error = records(Path::new("train.bin"), &content[1..], &fine, 2).unwrap_err();
        assert!(error.to_string().contains("instead of 2 records"));
    }

    #[test]
    fn a_truncated_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cifar.tar.gz");
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        let body: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        header.set_size(body.len() as u64);
        builder.append_data(&mut header, "x/train.bin", &body[..]).unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(from_archive(&path, open(&path), &["train.bin"], u64::MAX).unwrap(), vec![body]);
        assert!(
            from_archive(&path, open(&path), &["test.bin"], u64::MAX)
                .unwrap_err()
                .to_string()
                .contains("no member test.bin")
        );
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        let unpacked = folder.path().join("cifar.tar");
        std::fs::write(&unpacked, &plain).unwrap();
        assert!(from_archive(&unpacked, open(&unpacked), &["train.bin"], u64::MAX).is_ok(), "not compressed");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(
            from_archive(&path, open(&path), &["train.bin"], u64::MAX)
                .unwrap_err()
                .to_string()
                .contains("truncated or corrupt")
        );
    }
}
