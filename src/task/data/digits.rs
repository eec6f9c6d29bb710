//! The embedded digits.

use crate::nn::Shape;
use crate::task::data::{Dataset, DatasetName, Images};
use crate::{Error, Result};
use std::io::Read as _;

static COMPRESSED: &[u8] = include_bytes!("../../../assets/digits/digits.bin.gz");
const COUNT: usize = 1797;
const PIXELS: usize = 64;

/// The 1,797 digits.
pub(super) fn load() -> Result<Dataset> {
    let mut records = Vec::with_capacity(COUNT * (PIXELS + 1));
    let read = flate2::read::GzDecoder::new(COMPRESSED).read_to_end(&mut records);
    if read.is_err() || records.len() != COUNT * (PIXELS + 1) {
        return Err(Error::Bug("the embedded digits cannot be read".into()));
    }
    let pixels = records.chunks_exact(PIXELS + 1).flat_map(|r| &r[..PIXELS]).copied().collect();
    let labels = records.chunks_exact(PIXELS + 1).map(|r| r[PIXELS]).collect();
    let train = Images { shape: Shape::image(1, 8, 8), classes: 10, pixels, labels };
    Ok(Dataset { name: DatasetName::Digits, train, test: None })
}

#[cfg(test)]
mod tests {
    /// Counts of each class as published with scikit-learn's `load_digits` (178, 182, 177, …) and pixel range 0..=16.
    #[test]
    fn has_the_published_counts() {
        let digits = super::load().unwrap().train;
        let mut counts = [0; 10];
        digits.labels.iter().for_each(|l| counts[usize::from(*l)] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(digits.pixels.iter().max(), Some(&16));
        assert_eq!(&digits.pixels[..8], &[0, 0, 5, 13, 9, 1, 0, 0]);
    }
}
