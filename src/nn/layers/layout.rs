//! Changes of memory layout: outside of a network images are `[channel][row][column]` as in PyTorch, inside they are
//! `[row][column][channel]`.

use crate::nn::kernels::gemm::transpose;
use crate::nn::layers::{Layer, Mode, Pass};
use crate::nn::model::Shape;

/// How the values of an image lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[channel][row][column]` (`torch.contiguous_format`).
    ChannelsFirst,
    /// `[row][column][channel]` (`torch.channels_last`).
    ChannelsLast,
}

impl Layout {
    fn other(self) -> Self {
        match self {
            Layout::ChannelsFirst => Layout::ChannelsLast,
            Layout::ChannelsLast => Layout::ChannelsFirst,
        }
    }
}

/// A layer that copies its input to the other layout.
pub struct ChangeLayout {
    shape: Shape,
    to: Layout,
}

impl ChangeLayout {
    /// A layer for examples of shape `shape`, from the other layout to `to`.
    pub fn new(shape: Shape, to: Layout) -> Self {
        ChangeLayout { shape, to }
    }

    /// Whether the two layouts differ for examples of this shape.
    pub fn matters(shape: Shape) -> bool {
        shape.channels > 1 && shape.positions() > 1
    }

    /// Copies every image of `from`, which has the other layout, to `to` in the layout `layout`.
    fn copy(&self, layout: Layout, from: &[f32], to: &mut [f32]) {
        let (channels, positions) = (self.shape.channels, self.shape.positions());
        let (rows, columns) = match layout {
            Layout::ChannelsFirst => (positions, channels),
            Layout::ChannelsLast => (channels, positions),
        };
        for (from, to) in from.chunks_exact(self.shape.len()).zip(to.chunks_exact_mut(self.shape.len())) {
            transpose(from, rows, columns, to);
        }
    }
}

impl Layer for ChangeLayout {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        self.copy(self.to, pass.x, y);
    }

    fn backward(&mut self, _: Pass<'_>, _: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, _: &mut [f32]) {
        if let Some(dx) = dx {
            self.copy(self.to.other(), dy, dx);
        }
    }
}
