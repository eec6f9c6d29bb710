//! What the convolution methods share: how a kernel slides, and how they hand out the output side of a batch.

use std::ops::Range;

/// How a square kernel slides over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the kernel, ≥ 1.
    pub kernel: usize,
    /// Step between windows, ≥ 1.
    pub stride: usize,
    /// Zeros added on each side of the image.
    pub padding: usize,
}

/// The images on the output side of a convolution. A convolution works on them chunk by chunk; a chunk is an image or some
/// rows of tiles.
pub(crate) enum Images<'a> {
    /// All images of the batch are stored.
    All(&'a mut [f32]),
    /// There is room for the largest chunk only, and each chunk overwrites the one before.
    Chunk(&'a mut [f32]),
}

impl Images<'_> {
    /// The chunk that covers `range` of the batch.
    pub fn chunk(&mut self, range: &Range<usize>) -> &mut [f32] {
        match self {
            Images::All(images) => &mut images[range.clone()],
            Images::Chunk(room) => &mut room[..range.len()],
        }
    }
}
