//! The IDX format of MNIST: big-endian magic (0, 0, type, dimensions), sizes, then the bytes.

use crate::nn::Shape;
use crate::task::data::Images;
use crate::{Error, Result};
use std::path::Path;

const UNSIGNED_BYTE: u8 = 8;

/// Split decompressed IDX content into its sizes and its bytes, checking everything. `path` is for messages.
fn parse<'a>(path: &Path, content: &'a [u8], dimensions: usize) -> Result<(Vec<usize>, &'a [u8])> {
    let bad = |message: String| Err(Error::data(path, message, "download the file again"));
    let header = 4 + 4 * dimensions;
    if content.len() < header {
        return bad(format!("truncated: {} bytes are less than the header of {header}", content.len()));
    }
    let magic = [0, 0, UNSIGNED_BYTE, dimensions as u8];
    if content[..4] != magic {
        return bad(format!("wrong magic number {:02x?} instead of {magic:02x?}", &content[..4]));
    }
    let size = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize;
    let sizes: Vec<usize> = content[4..header].chunks_exact(4).map(size).collect();
    let Some(expected) = sizes.iter().try_fold(1usize, |n, s| n.checked_mul(*s)) else {
        return bad(format!("impossible sizes {sizes:?}"));
    };
    let body = &content[header..];
    if body.len() < expected {
        return bad(format!("truncated: {} bytes follow the header instead of {expected}", body.len()));
    }
    if body.len() > expected {
        return bad(format!("{} bytes too many after the data", body.len() - expected));
    }
    Ok((sizes, body))
}

/// Join an image file and a label file, both decompressed.
pub(super) fn images(images: (&Path, &[u8]), labels: (&Path, &[u8]), classes: usize) -> Result<Images> {
    let (sizes, pixels) = parse(images.0, images.1, 3)?;
    let (label_sizes, label_bytes) = parse(labels.0, labels.1, 1)?;
    if label_sizes[0] != sizes[0] {
        let message = format!("{} labels for {} images in {}", label_sizes[0], sizes[0], images.0.display());
        return Err(Error::data(labels.0, message, "download both files again"));
    }
    if let Some(i) = label_bytes.iter().position(|l| usize::from(*l) >= classes) {
        let message = format!("label {} at position {i} is not below {classes}", label_bytes[i]);
        return Err(Error::data(labels.0, message, "download the file again"));
    }
    let shape = Shape::image(1, sizes[1], sizes[2]);
    Ok(Images { shape, classes, pixels: pixels.to_vec(), labels: label_bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(magic_dims: u8, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let mut v = vec![0, 0, 8, magic_dims];
        sizes.iter().for_each(|s| v.extend(s.to_be_bytes()));
        v.extend(body);
        v
    }

    fn read(image_file: &[u8], label_file: &[u8]) -> Result<Images> {
        images((Path::new("images"), image_file), (Path::new("labels"), label_file), 10)
    }

    #[test]
    fn reads_a_good_pair() {
        let read = read(&idx(3, &[2, 1, 2], &[1, 2, 3, 4]), &idx(1, &[2], &[7, 9])).unwrap();
        assert_eq!((read.pixels, read.labels), (vec![1, 2, 3, 4], vec![7, 9]));
    }

    #[test]
    fn every_way_to_be_wrong_is_named() {
        let good_images = idx(3, &[2, 1, 2], &[1, 2, 3, 4]);
        let good_labels = idx(1, &[2], &[7, 9]);
        let cases: [(&[u8], &[u8], &str); 8] = [
            (&good_images[..9], &good_labels, "truncated: 9 bytes are less than the header"),
            (&good_images[..18], &good_labels, "truncated: 2 bytes follow the header instead of 4"),
            (&idx(3, &[2, 1, 2], &[0; 6]), &good_labels, "2 bytes too many"),
            (&idx(2, &[2, 1, 2], &[0; 4]), &good_labels, "wrong magic number"),
            (&good_images, &idx(1, &[3], &[0; 3]), "3 labels for 2 images"),
            (&good_images, &idx(1, &[2], &[0, 10]), "label 10 at position 1"),
            (&idx(3, &[u32::MAX, u32::MAX, u32::MAX], &[]), &good_labels, "impossible sizes"),
            (&good_images, &[], "truncated: 0 bytes"),
        ];
        for (image_file, label_file, message) in cases {
            let error = read(image_file, label_file).unwrap_err();
            assert!(error.to_string().contains(message), "`{error}` does not say `{message}`");
            assert_eq!(error.exit_code(), 65);
        }
    }
}
